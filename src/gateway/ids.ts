import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';

/**
 * 32 hex digits nobody has had before: 12 of the time in ms, 20 of chance. What is made one after the other lies side
 * by side in an index, so that a commit touches one page of it and not one for each row.
 */
export function orderedId(clock: Clock, random: Random): string {
  return clock.now().toString(16).padStart(12, '0').slice(-12) + random.bytes(10).toHex();
}
