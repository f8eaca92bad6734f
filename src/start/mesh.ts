import { createCompressor } from '../lib/bzip2/pool.ts';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import type { SignatureThreads } from '../lib/signature-threads.ts';
import { LxmfRouter } from '../mesh/lxmf/router.ts';
import { Blackhole, type BlackholeParts } from '../mesh/reticulum/blackhole.ts';
import type { Identity } from '../mesh/reticulum/identity.ts';
import { IncomingBudget } from '../mesh/reticulum/incoming-budget.ts';
import { Links } from '../mesh/reticulum/links.ts';
import { Transport } from '../mesh/reticulum/transport.ts';
import type { MeshStorage } from '../mesh/storage.ts';

export interface MeshParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly storage: MeshStorage;
  readonly identity: Identity;
  /** Under which other nodes know this one. Default the hub's own. */
  readonly transportIdentity?: Identity;
  /** Whether packets of others are passed on. */
  readonly forwards: boolean;
  /** Whether programs of this machine may use this node. Default false. */
  readonly sharedInstance?: boolean;
  /** See `TransportParts`. */
  readonly threads?: SignatureThreads;
  /** Whose announces are left out, and whose lists of such are believed; identity hashes of 16 B. */
  readonly blackhole?: Pick<BlackholeParts, 'sources' | 'configured'>;
}

/** A Reticulum node with LXMF on top; interfaces are attached to `transport`. */
export interface Mesh extends AsyncDisposable {
  readonly transport: Transport;
  readonly links: Links;
  readonly router: LxmfRouter;
  readonly blackhole: Blackhole;
}

/** Puts the stack together, from the bottom up. */
export function createMesh(parts: MeshParts): Mesh {
  const { clock, log, counters } = parts;
  const blackhole = new Blackhole({ ...parts, ...parts.blackhole, own: parts.identity.hash });
  const transport = new Transport({
    ...parts,
    identity: parts.transportIdentity ?? parts.identity,
    blackhole,
  });
  const compressor = createCompressor({ clock });
  const links = new Links({ ...parts, transport, budget: new IncomingBudget(), compressor, blackhole });
  transport.useLinks(links);
  const router = new LxmfRouter({ clock, log, counters, transport, links });
  return {
    transport,
    links,
    router,
    blackhole,
    async [Symbol.asyncDispose]() {
      router.close();
      links.close();
      await transport.close();
      await compressor.close();
    },
  };
}
