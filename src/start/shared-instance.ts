import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import { type ServiceHealth, supervise } from '../lib/service.ts';
import { placeOf, type SharedInstanceConfig, sharedInstanceInterface } from '../radio/local-config.ts';
import { LocalServer } from '../radio/local-server.ts';
import type { Mesh } from './mesh.ts';

export interface SharedInstanceParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly mesh: Mesh;
  readonly report: (health: ServiceHealth) => void;
}

/** What programs of this machine use the hub by. */
export interface SharedInstance {
  /** Its parts, by the names their health is told under. */
  readonly names: readonly string[];
  /** TCP port of the packets, where there is one and while it is open. */
  readonly port: number | undefined;
  /** Serves until the signal; resolves when everything is closed. */
  run(signal: AbortSignal): Promise<void>;
}

/** Throws `config/invalid` where an interface has its name. */
export function openSharedInstance(
  config: SharedInstanceConfig,
  { mesh, report, ...parts }: SharedInstanceParts,
): SharedInstance {
  const server = new LocalServer(
    { name: sharedInstanceInterface, place: placeOf(config), maxPrograms: config.maxPrograms },
    parts,
  );
  const attachment = mesh.transport.attach(server, { local: 'programs' });
  return {
    names: [sharedInstanceInterface],
    get port() {
      return server.port;
    },
    async run(signal) {
      await supervise(attachment.service, { ...parts, signal, onChange: report });
    },
  };
}
