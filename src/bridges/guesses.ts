import { isIPv6 } from 'node:net';
import type { Clock } from '../lib/clock.ts';

/** Wrong tokens an address or a name may be tried with before it has to wait, and how long it waits at first and at most, ms. */
const freeGuesses = 10;
const firstWait = 10_000;
const longestWait = 15 * 60_000;

/** Addresses and names remembered; the one that was silent longest is forgotten first. */
const mostRemembered = 4096;

/** Counts wrong guesses by where they come from and by whom they say they are. */
export interface Guesses {
  /** ms that guesses of these are refused unlooked at; 0 where they are looked at. */
  wait(keys: readonly string[]): number;
  /** One more of each. */
  wrong(keys: readonly string[]): void;
}

export function createGuesses(clock: Clock): Guesses {
  const remembered = new Map<string, { readonly wrong: number; readonly until: number }>();
  return {
    wait: keys => Math.max(0, ...keys.map(key => (remembered.get(key)?.until ?? 0) - clock.monotonic())),
    wrong(keys) {
      for (const key of keys) {
        const wrong = (remembered.get(key)?.wrong ?? 0) + 1;
        remembered.delete(key);
        remembered.set(key, { wrong, until: lockedUntil(wrong, clock.monotonic()) });
        if (remembered.size > mostRemembered) {
          remembered.delete(remembered.keys().next().value ?? '');
        }
      }
    },
  };
}

function lockedUntil(wrong: number, now: number): number {
  return wrong < freeGuesses
    ? 0
    : now + Math.min(firstWait * 2 ** Math.min(wrong - freeGuesses, 20), longestWait);
}

/** Who holds one IPv6 address holds its /64: both count as one place. */
export function placeOf(remote: string): string {
  if (remote.startsWith('::ffff:') || !isIPv6(remote)) {
    return remote;
  }
  const [head = '', tail] = remote.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups =
    tail === undefined ? front : [...front, ...Array(8 - front.length - back.length).fill('0'), ...back];
  return `${groups.slice(0, 4).join(':')}::/64`;
}
