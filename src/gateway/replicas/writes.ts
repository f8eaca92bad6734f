import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { Store } from '../store/store.ts';
import type { ReplicaHost, ReplicaWrites } from './contract.ts';
import { type OutboxLimits, openOutbox } from './outbox.ts';
import { createSeal } from './outbox-seal.ts';
import { compileServices } from './outbox-service.ts';
import { createWritePath } from './outbox-writes.ts';
import { createProjection } from './projection.ts';
import { createQueue } from './queue.ts';
import { createReplay } from './replay-run.ts';

export interface ReplicaWritesOptions {
  readonly host: ReplicaHost;
  readonly store: Pick<Store, 'committer' | 'outbox'>;
  /** 32 bytes that seal what the queue keeps; they lie in a 0600 file and are never changed while it holds anything. */
  readonly key: Uint8Array;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly limits?: Partial<OutboxLimits>;
  /** ms, at most, that a service which came back is left alone. */
  readonly returnJitter?: number;
}

/** The write side of all replicas of a hub, on the outbox it left. Throws `store/unavailable`. */
export function createReplicaWrites(options: ReplicaWritesOptions): ReplicaWrites {
  const { host, random } = options;
  const seal = createSeal(options.key, random);
  const outbox = openOutbox({ ...options, seal });
  const services = compileServices(host);
  const projection = createProjection(services, outbox, host.reads);
  const replay = createReplay({ ...options, outbox, services });
  return {
    path: createWritePath({ ...options, services, outbox, projection, replay, seal }),
    projection,
    verbs: createQueue(outbox, replay.wake),
    run: replay.run,
    shift: outbox.shift,
    [Symbol.asyncDispose]: async () => {},
  };
}
