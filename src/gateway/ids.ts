import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';

/**
 * 32 hex digits nobody has had before: 12 of the time in ms, 20 of chance. What is made one after the other lies side
 * by side in an index, so that a commit touches one page of it and not one for each row.
 */
export function orderedId(clock: Clock, random: Random): string {
  const now = clock.now();
  const high = Math.floor(now / half);
  // Both are small whole numbers: the digits of a large one cost ten times as much.
  return digits(high % half) + digits(now - high * half) + random.bytes(10).toHex();
}

const half = 2 ** 24;

function digits(value: number): string {
  return value.toString(16).padStart(6, '0');
}
