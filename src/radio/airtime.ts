import { Reader, Writer } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import { GatewayError, isGatewayError } from '../lib/errors.ts';
import type { Urgency } from '../mesh/interface.ts';

/** How much of a radio's airtime is used, for people: `GET /v1/mesh/interfaces` shows it. */
export interface AirtimeView {
  /** Percent of the last 15 s that the radio was on the air. */
  readonly shortPercent: number;
  /** Percent of the last hour. */
  readonly longPercent: number;
  /** Percent of an hour that the law of the region allows; 100 where it sets no limit. */
  readonly limitPercent: number;
  /** ms of the last hour. */
  readonly usedMs: number;
  /** ms an hour. */
  readonly budgetMs: number;
  /** ms epoch until when ordinary messages wait, where the budget is used up. */
  readonly until?: number;
}

/** Where a ledger is kept. The bytes are its own; whoever keeps them knows no meaning. */
export interface AirtimeStore {
  load(key: string): Uint8Array | undefined;
  /** Resolves when durable. */
  save(key: string, value: Uint8Array): Promise<void>;
}

/** The time since the machine started, which nobody sets: how long the gateway was away is measured with it. */
export interface MachineTime {
  /** 16 B, another at every start of the machine. */
  readonly bootId: Uint8Array;
  /** ms */
  uptime(): number;
}

export interface AirtimeOptions {
  /** Under which it is kept. */
  readonly key: string;
  /** Part of an hour that may be used, in (0, 1]; 1 is no limit. */
  readonly limit: number;
}

export interface AirtimeParts {
  readonly clock: Clock;
  readonly store?: AirtimeStore | undefined;
  readonly machine?: MachineTime | undefined;
}

/** ms: what the law counts over. */
const window = 3_600_000;
/** ms that are counted as one: what was used in them counts until the last of them is an hour ago. */
const binLength = 60_000;
/** ms between counting a packet and the end of its sending, at most: a radio waits until others are quiet. */
const handOver = 30_000;
/** ms that the radio's own short measure looks back. */
const shortWindow = 15_000;
/** ms booked on disk ahead of their use, so that not every packet waits for the disk. A crash loses as much, never gains. */
const ahead = 2000;
const mostBins = 70;

/**
 * How far into the budget each may go. The last part belongs to what answers others: a proof that is not
 * sent makes them send the whole message again.
 */
const shares: Readonly<Record<AirtimeUse, number>> = {
  answer: 1,
  critical: 0.97,
  high: 0.92,
  normal: 0.85,
  relayed: 0.85,
  bulk: 0.5,
  hearsay: 0.5,
};
/**
 * How much of the budget all that is sent for others may come to, whatever room there is: strangers pay for
 * nothing and must not silence this node. What is told about others ends first, so that their packets still pass.
 */
const sharesOfOthers: Readonly<Partial<Record<AirtimeUse, number>>> = { relayed: 0.4, hearsay: 0.2 };

/** What airtime is used for: messages by their urgency, what answers others, and what is sent for others. */
export type AirtimeUse = Urgency | 'answer' | 'relayed' | 'hearsay';

interface Bin {
  /** By the monotonic clock. */
  readonly start: number;
  used: number;
  /** What is on disk, at least as much as was used. */
  booked: number;
  /** Of what was used, for others. Not stored: after a restart they begin anew, within the budget. */
  others: number;
}

/** Why nothing may be sent now. */
export interface AirtimeWait {
  /** ms until there is room; undefined where there never is: more than the budget of an hour. */
  readonly delay: number | undefined;
}

/**
 * The airtime of one radio over a sliding hour. Counts before the sending and is on disk before it: after
 * a crash it may take more for used than was, never less. Time runs by clocks that nobody sets; over a
 * restart of the machine itself by the wall clock.
 */
export class AirtimeLedger {
  readonly #parts: AirtimeParts;
  readonly #key: string;
  readonly #limit: number;
  readonly #budget: number;
  #bins: Bin[];
  #recent: { readonly at: number; readonly ms: number }[] = [];

  constructor({ key, limit }: AirtimeOptions, parts: AirtimeParts) {
    this.#parts = parts;
    this.#key = key;
    this.#limit = limit;
    this.#budget = limit * window;
    this.#bins = this.#load();
  }

  /** For people; `ms` of an ordinary packet decide whether there is room left. */
  view(ms: number): AirtimeView {
    const used = this.#used();
    const wait = this.wait(ms, 'normal');
    const until = wait?.delay === undefined ? undefined : this.#parts.clock.now() + wait.delay;
    return {
      shortPercent: percent(this.#short() / shortWindow),
      longPercent: percent(used / window),
      limitPercent: percent(this.#limit),
      usedMs: Math.round(used),
      budgetMs: Math.round(this.#budget),
      ...(until === undefined ? {} : { until: Math.ceil(until) }),
    };
  }

  /** What keeps `ms` for this use from being sent now; undefined where nothing does. */
  wait(ms: number, use: AirtimeUse): AirtimeWait | undefined {
    if (this.#limit >= 1) {
      return undefined;
    }
    const waits = [this.#waitFor(ms, shares[use], 'used')];
    const ofOthers = sharesOfOthers[use];
    if (ofOthers !== undefined) {
      waits.push(this.#waitFor(ms, ofOthers, 'others'));
    }
    const [wait, longer] = waits.filter(one => one !== undefined);
    if (wait?.delay === undefined || longer === undefined) {
      return wait;
    }
    return longer.delay === undefined || longer.delay > wait.delay ? longer : wait;
  }

  #waitFor(ms: number, share: number, account: 'used' | 'others'): AirtimeWait | undefined {
    const allowed = this.#budget * share;
    if (ms > allowed) {
      return { delay: undefined };
    }
    this.#expire();
    let over = this.#bins.reduce((sum, bin) => sum + bin[account], 0) + ms - allowed;
    if (over <= 0) {
      return undefined;
    }
    for (const bin of this.#bins) {
      over -= bin[account];
      if (over <= 0) {
        return { delay: Math.max(end(bin) - this.#parts.clock.monotonic(), 1) };
      }
    }
    return { delay: binLength };
  }

  /**
   * Counts `ms` that are about to be sent; durable when it resolves. Rejects with `airtime/exhausted`,
   * retryable, with the ms to wait as `detail.retryAfter`, and with what the store rejects with: then
   * nothing is counted and nothing may be sent.
   */
  async take(ms: number, use: AirtimeUse): Promise<void> {
    const wait = this.wait(ms, use);
    if (wait !== undefined) {
      throw new GatewayError('airtime/exhausted', 'the airtime of this hour is used up', {
        retryable: true,
        detail: { retryAfter: wait.delay },
      });
    }
    const bin = this.#current();
    const forOthers = sharesOfOthers[use] === undefined ? 0 : ms;
    bin.used += ms;
    bin.others += forOthers;
    if (bin.used > bin.booked) {
      const before = bin.booked;
      bin.booked = bin.used + ahead;
      try {
        await this.#parts.store?.save(this.#key, this.#encode());
      } catch (error) {
        bin.used -= ms;
        bin.others -= forOthers;
        bin.booked = before;
        throw error;
      }
    }
    this.#recent.push({ at: this.#parts.clock.monotonic(), ms });
    this.#short();
  }

  #used(): number {
    this.#expire();
    return this.#bins.reduce((sum, bin) => sum + bin.used, 0);
  }

  #short(): number {
    const since = this.#parts.clock.monotonic() - shortWindow;
    this.#recent = this.#recent.filter(({ at }) => at > since);
    return this.#recent.reduce((sum, { ms }) => sum + ms, 0);
  }

  #current(): Bin {
    this.#expire();
    const now = this.#parts.clock.monotonic();
    const last = this.#bins.at(-1);
    if (last !== undefined && now < last.start + binLength) {
      return last;
    }
    const bin = { start: now, used: 0, booked: 0, others: 0 };
    this.#bins.push(bin);
    return bin;
  }

  #expire(): void {
    const now = this.#parts.clock.monotonic();
    this.#bins = this.#bins.filter(bin => end(bin) > now);
  }

  /**
   *     version 1 | boot id 16 | uptime 8 | wall time 8 | bins, oldest first: age of the start 8, ms 4
   */
  #encode(): Uint8Array {
    const { clock, machine } = this.#parts;
    const writer = new Writer(33 + 12 * this.#bins.length).u8(1).raw(machine?.bootId ?? new Uint8Array(16));
    writer.f64(machine?.uptime() ?? 0).f64(clock.now());
    const last = this.#bins.at(-1);
    for (const bin of this.#bins) {
      // Nothing more is sent on the account of a bin that is over.
      writer.f64(clock.monotonic() - bin.start).u32(Math.ceil(bin === last ? bin.booked : bin.used));
    }
    return writer.finish();
  }

  /** What is on disk; where it cannot be read the whole budget is taken for used. */
  #load(): Bin[] {
    const stored = this.#parts.store?.load(this.#key);
    if (stored === undefined) {
      return [];
    }
    const now = this.#parts.clock.monotonic();
    try {
      return this.#decode(stored, now);
    } catch (error) {
      if (!isGatewayError(error)) {
        throw error;
      }
      return [{ start: now, used: this.#budget, booked: this.#budget, others: 0 }];
    }
  }

  #decode(stored: Uint8Array, now: number): Bin[] {
    const { clock, machine } = this.#parts;
    const reader = new Reader(stored);
    if (reader.u8('version') !== 1) {
      throw new GatewayError('wire/unsupported', 'an airtime ledger of another version');
    }
    const bootId = reader.take(16, 'boot id');
    const uptime = reader.f64('uptime');
    const wall = reader.f64('wall time');
    const sameBoot = machine !== undefined && Buffer.compare(bootId, machine.bootId) === 0;
    // A clock that went back, or was never right, must not make anything older than it is.
    const away = Math.max(sameBoot ? machine.uptime() - uptime : clock.now() - wall, 0);
    const bins: Bin[] = [];
    while (reader.left > 0 && bins.length < mostBins) {
      const age = reader.f64('age');
      const booked = reader.u32('booked');
      const known = Number.isFinite(age + away) ? Math.max(age, 0) + away : 0;
      bins.push({ start: now - known, used: booked, booked, others: 0 });
    }
    return bins.sort((a, b) => a.start - b.start);
  }
}

/** When a bin counts no more, by the monotonic clock. */
function end(bin: Bin): number {
  return bin.start + binLength + handOver + window;
}

function percent(part: number): number {
  return Math.round(part * 10_000) / 100;
}
