import type { Clock } from '../lib/clock.ts';

/**
 * The hub's own time: the machine's, until that jumps. A router without a battery starts in 1970, or where it was
 * switched off, and is told the time minutes later: were that taken at once, everything that was accepted before
 * would have run out of time. So `now` goes on as before until `adopt`, and who keeps times moves them with it.
 */
export interface HubClock extends Clock {
  /** ms by which the machine's clock has jumped and this one has not followed yet. */
  readonly jump: number;
  /** Goes with the machine's clock from now on; gives the ms of the jump. */
  adopt(): number;
  /** Whether the time can be true. */
  readonly sure: boolean;
}

/** ms by which a clock may be set without anybody minding: what a time server corrects bit by bit. */
export const jumpLeast = 30_000;
/** Nothing that happens to this program lies before it was written: 2026-01-01. */
export const firstPlausible = 1_767_225_600_000;

export function createHubClock(clock: Clock): HubClock {
  /** The machine's time when `monotonic` was 0, as far as it is believed. */
  let origin = clock.now() - clock.monotonic();
  /** ms that the machine has slept, which `monotonic` does not count. */
  let slept = sleptUntilNow();

  function sleptUntilNow(): number {
    return clock.uptime === undefined ? 0 : clock.uptime() - clock.monotonic();
  }

  /** How far the machine's clock is from where it ought to be. */
  function look(): { readonly wall: number; readonly jump: number } {
    const wall = clock.now();
    const off = wall - clock.monotonic() - origin;
    if (Math.abs(off) < jumpLeast) {
      origin += off;
      return { wall, jump: 0 };
    }
    const asleep = sleptUntilNow() - slept;
    if (Math.abs(off - asleep) < jumpLeast) {
      slept += asleep;
      origin += off;
      return { wall, jump: 0 };
    }
    return { wall, jump: off };
  }

  return {
    now() {
      const { wall, jump } = look();
      // `monotonic` has fractions, and a time is whole ms.
      return Math.floor(wall - jump);
    },
    monotonic: () => clock.monotonic(),
    sleep: (delay, signal) => clock.sleep(delay, signal),
    after: (delay, callback) => clock.after(delay, callback),
    get jump() {
      return look().jump;
    },
    adopt() {
      const { jump } = look();
      origin += jump;
      return jump;
    },
    get sure() {
      return look().wall >= firstPlausible;
    },
  };
}
