import type { Counters } from '../lib/counters.ts';
import { codeOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';

/**
 * The end of a promise chain nobody waits for: a rejection without one would end the process. Whatever comes
 * here is a bug; it is counted under `name` and logged, and costs nothing else.
 */
export function lastResort(
  name: 'ws/internal' | 'mqtt.internal',
  what: string,
  { log, counters }: { readonly log: Log; readonly counters: Counters },
): (error: unknown) => void {
  return error => {
    counters.add(name);
    log.error({ what, code: codeOf(error), error }, 'a failure that nothing expected');
  };
}
