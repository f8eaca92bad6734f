import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import type { Log } from '../../lib/log.ts';
import type { BufferBudget } from './buffers.ts';
import type { ReplicaDefinition } from './definition.ts';
import type { Fields } from './fields.ts';
import type { Asker } from './identity.ts';
import type { LinkWatch } from './link-watch.ts';
import type { Origin } from './origin.ts';
import type { Policies } from './policy.ts';
import type { Cache } from './store/cache.ts';

/** One service with everything its requests need. */
export interface Service {
  readonly definition: ReplicaDefinition;
  readonly policies: Policies;
  readonly origin: Origin;
  readonly link: LinkWatch;
  readonly askerOf: (headers: Fields) => Asker;
  readonly cache: Cache;
  readonly budget: BufferBudget;
  /** The same for the bodies of writes that may be kept. */
  readonly uploads: BufferBudget;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** An answer was stored or confirmed; `requestTime` is when it was asked for, ms epoch. */
  readonly onStored: (partition: string, path: string, requestTime: number) => void;
  readonly onCredentials: (partition: string, headers: Fields) => void;
}
