import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import type { Log } from '../lib/log.ts';
import { encode } from '../lib/msgpack.ts';
import type { Random } from '../lib/random.ts';
import { type ServiceHealth, supervise } from '../lib/service.ts';
import { interfaceStats, type NodeFacts, pathStats, rateStats } from '../mesh/reticulum/interface-stats.ts';
import { placeOf, type SharedInstanceConfig, sharedInstanceInterface } from '../radio/local-config.ts';
import { LocalServer } from '../radio/local-server.ts';
import { addressOfPlace, placeInWords } from '../radio/local-socket.ts';
import type { LiveInterfaces } from './live-interfaces.ts';
import type { Mesh } from './mesh.ts';
import { createNodeStatus } from './node-facts.ts';
import { answerCall } from './rpc/answers.ts';
import { openRpcKey } from './rpc/key.ts';
import { RpcServer } from './rpc/server.ts';

export interface SharedInstanceParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly mesh: Mesh;
  readonly interfaces: LiveInterfaces;
  /** Whether packets of others are passed on. */
  readonly forwards: boolean;
  /** The facts with what else is known of the node. */
  readonly completed: (facts: NodeFacts) => NodeFacts;
  /** Folder of everything the gateway keeps. */
  readonly data: string;
  readonly report: (health: ServiceHealth) => void;
}

/** What programs of this machine use the hub by. */
export interface SharedInstance {
  /** Its parts, by the names their health is told under. */
  readonly names: readonly string[];
  /** TCP ports of packets and of control, where there are any and while they are open. */
  readonly ports: { readonly port: number | undefined; readonly controlPort: number | undefined };
  /** Serves until the signal; resolves when everything is closed. */
  run(signal: AbortSignal): Promise<void>;
}

const controlName = `${sharedInstanceInterface}-control`;

/** Throws `config/invalid` where an interface has its name, or its key cannot be read. */
export function openSharedInstance(config: SharedInstanceConfig, parts: SharedInstanceParts): SharedInstance {
  const { clock, random, log, counters, mesh, interfaces, forwards, report } = parts;
  const { transport, blackhole } = mesh;
  const place = placeOf(config);
  const controlPlace = 'name' in place ? { name: `${place.name}/rpc` } : { port: config.controlPort ?? 0 };
  const server = new LocalServer(
    { name: sharedInstanceInterface, place, maxPrograms: config.maxPrograms },
    { clock, random, counters },
  );
  const attachment = transport.attach(server, { local: 'programs' });
  const status = createNodeStatus({ clock, transport, interfaces, forwards, sharedPlace: place });
  const control = new RpcServer({
    clock,
    random,
    log,
    counters,
    listen: addressOfPlace(controlPlace),
    where: placeInWords(controlPlace),
    key: openRpcKey(parts.data, transport.identity),
    answer: async call =>
      encode(
        await answerCall(call, {
          log,
          counters,
          transport,
          blackhole,
          interfaces,
          mayManage: config.interfaceManagement,
          status: () => interfaceStats(parts.completed(status.facts())),
          paths: maxHops => pathStats(transport.paths(), status.titleOf, { maxHops }),
          rates: () => rateStats(transport.announceRates()),
          titleOf: status.titleOf,
          ownTitle: status.titleOf(sharedInstanceInterface),
        }),
      ),
  });
  const services = [
    attachment.service,
    { name: controlName, run: (ready: () => void, signal: AbortSignal) => control.run(ready, signal) },
  ];
  return {
    names: services.map(({ name }) => name),
    get ports() {
      return { port: server.port, controlPort: control.port };
    },
    async run(signal) {
      const supervision = { clock, random, log, signal, onChange: report };
      await Promise.all(services.map(service => supervise(service, supervision)));
    },
  };
}
