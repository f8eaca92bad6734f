import type { Clock } from '../../lib/clock.ts';
import type { Traffic } from './traffic.ts';

/** bit/s over an interface lately, all of it, announces and path requests; and how many of those a second. */
export interface Speed {
  readonly rx: number;
  readonly tx: number;
  readonly rxAnnounce: number;
  readonly txAnnounce: number;
  readonly rxPathRequest: number;
  readonly txPathRequest: number;
  readonly rxAnnounces: number;
  readonly txAnnounces: number;
  readonly rxPathRequests: number;
  readonly txPathRequests: number;
  readonly rxPackets: number;
  readonly txPackets: number;
}

/** ms between two samples at least: over less a speed says nothing. */
const shortest = 1000;

/** Nothing was seen to move yet. */
export const standing: Speed = {
  rx: 0,
  tx: 0,
  rxAnnounce: 0,
  txAnnounce: 0,
  rxPathRequest: 0,
  txPathRequest: 0,
  rxAnnounces: 0,
  txAnnounces: 0,
  rxPathRequests: 0,
  txPathRequests: 0,
  rxPackets: 0,
  txPackets: 0,
};

interface Sample {
  readonly at: number;
  readonly traffic: Traffic;
  readonly speed: Speed;
}

/** Speeds since the last time somebody asked: nobody asks, nothing is measured. */
export class Speeds {
  readonly #clock: Clock;
  readonly #samples = new WeakMap<object, Sample>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Of what counts so much now; nought the first time. */
  of(what: object, traffic: Traffic): Speed {
    const at = this.#clock.monotonic();
    const before = this.#samples.get(what);
    const seconds = before === undefined ? 0 : (at - before.at) / 1000;
    if (before !== undefined && seconds * 1000 < shortest) {
      return before.speed;
    }
    const speed = before === undefined ? standing : speedOf(before.traffic, traffic, seconds);
    this.#samples.set(what, { at, traffic, speed });
    return speed;
  }
}

function speedOf(before: Traffic, now: Traffic, seconds: number): Speed {
  const rate = (key: keyof Traffic, bits = 8) => Math.max(0, ((now[key] - before[key]) * bits) / seconds);
  return {
    rx: rate('rxBytes'),
    tx: rate('txBytes'),
    rxAnnounce: rate('rxAnnounceBytes'),
    txAnnounce: rate('txAnnounceBytes'),
    rxPathRequest: rate('rxPathRequestBytes'),
    txPathRequest: rate('txPathRequestBytes'),
    rxAnnounces: rate('rxAnnounces', 1),
    txAnnounces: rate('txAnnounces', 1),
    rxPathRequests: rate('rxPathRequests', 1),
    txPathRequests: rate('txPathRequests', 1),
    rxPackets: rate('rxPackets', 1),
    txPackets: rate('txPackets', 1),
  };
}
