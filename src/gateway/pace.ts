import { createHash } from 'node:crypto';
import type { Rate } from './route-rule.ts';

/**
 * How often each of many has passed lately, in bounded memory: at most `rate.count` of each in any `rate.per` ms. Of a rate of
 * more than 16 in its time, passes of the same sixteenth of that are one note: a place may come back up to a
 * sixteenth later, and never earlier.
 */
export interface Pace {
  /** Takes a place for `key`, and gives the way to give it back; undefined where there is none now. */
  take(key: string, now: number): (() => void) | undefined;
  /** Whether there is a place for `key` now. */
  hasPlace(key: string, now: number): boolean;
  /** As many are remembered from now on at most: the one unused longest is forgotten first. */
  limit(most: number): void;
  /** Who is remembered, and notes of all of them. */
  readonly size: { readonly keys: number; readonly notes: number };
}

/** Notes kept of each: one of 16 bytes for a pass, or for the passes of one part of the time. */
const notesMost = 16;
/** Characters of a key that is kept as it is. */
const longestKey = 64;

export function createPace(rate: Rate, most: number): Pace {
  /** Of each the latest pass and the number of passes of every note, one behind the other, oldest first. */
  const notes = new Map<string, readonly number[]>();
  const grain = rate.count > notesMost ? rate.per / notesMost : 0;

  const isSame = (a: number, b: number) =>
    grain === 0 ? a === b : Math.floor(a / grain) === Math.floor(b / grain);

  /** Notes that still count. */
  function recent(key: string, now: number): readonly number[] {
    const all = notes.get(key) ?? [];
    let old = 0;
    while (old < all.length && now - (all[old] ?? 0) >= rate.per) {
      old += 2;
    }
    return old === 0 ? all : all.slice(old);
  }

  function keep(key: string, kept: readonly number[]): void {
    notes.delete(key);
    if (kept.length > 0) {
      notes.set(key, kept);
    }
    forget();
  }

  function forget(): void {
    for (const key of notes.keys()) {
      if (notes.size <= most) {
        return;
      }
      notes.delete(key);
    }
  }

  function giveBack(key: string, at: number): void {
    const kept = [...(notes.get(key) ?? [])];
    for (let index = 0; index < kept.length; index += 2) {
      if (isSame(kept[index] ?? 0, at)) {
        const left = (kept[index + 1] ?? 1) - 1;
        kept.splice(index, 2, ...(left > 0 ? [kept[index] ?? at, left] : []));
        notes.set(key, kept);
        return;
      }
    }
  }

  return {
    take(name, now) {
      const key = keyOf(name);
      const before = recent(key, now);
      if (passesIn(before) >= rate.count) {
        keep(key, before);
        return undefined;
      }
      const last = before.length - 2;
      const joins = last >= 0 && isSame(before[last] ?? 0, now);
      keep(key, joins ? [...before.slice(0, last), now, (before[last + 1] ?? 0) + 1] : [...before, now, 1]);
      return () => giveBack(key, now);
    },
    hasPlace: (name, now) => passesIn(recent(keyOf(name), now)) < rate.count,
    limit(wanted) {
      most = wanted;
      forget();
    },
    get size() {
      const all = [...notes.values()].reduce((sum, { length }) => sum + length / 2, 0);
      return { keys: notes.size, notes: all };
    },
  };
}

function passesIn(notes: readonly number[]): number {
  let sum = 0;
  for (let index = 1; index < notes.length; index += 2) {
    sum += notes[index] ?? 0;
  }
  return sum;
}

/** What others make long does not take more room than its hash. */
function keyOf(name: string): string {
  return name.length <= longestKey ? name : createHash('sha256').update(name).digest('base64');
}
