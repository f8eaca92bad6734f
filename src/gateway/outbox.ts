import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf, type ErrorCode, GatewayError, isGatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import type { Bridge, DeliveryId, LaterProgress } from './bridge.ts';
import type { DeliveryInput } from './delivery.ts';
import type { DeliveryView } from './desk.ts';
import type { Limits } from './limits.ts';
import type { Address } from './message.ts';
import type { Recipient } from './router.ts';
import type { OpenDelivery } from './store/delivery-table.ts';
import type { Store } from './store/store.ts';
import {
  type Attempt,
  append,
  type BridgeLines,
  createBridgeLines,
  type Entry,
  lineOf,
  nextReady,
  place,
  removeEntry,
  type WaitingLine,
} from './waiting-line.ts';

export interface OutboxOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly limits: Limits;
  readonly bridges: readonly Bridge[];
}

/** Codes with which another attempt would only fail again. */
const finalCodes: ReadonlySet<ErrorCode> = new Set(['bridge/rejected', 'mesh/too-large', 'mesh/rejected']);

/** ms between two looks for what has run out of time. */
const expirySweep = 1000;
/** Writes that may wait for the disk before an attempt waits for its own. */
const writesAhead = 1000;
/** States that are written again after a while where the disk was full, and ms until then. */
const lateWrites = 10_000;
const lateDelay = 5000;
/** Attempts of one bridge that may end at once before the rest of the program has its turn. */
const burst = 32;
/** ms a cancel waits for the attempt under way to end. */
const cancelPatience = 1000;
/** ms a stop waits for all of them. */
const stopPatience = 2000;

/**
 * Works off the deliveries: in order per destination, the most urgent destination first, as many at once as
 * a bridge carries. What it knows is rebuilt from the rows at a start, and every change is written to them.
 * Only where the far side cannot tell a repeat does an attempt wait until its beginning is on disk;
 * everywhere else the writes ride in group commits behind it.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #bridges = new Map<string, BridgeLines>();
  readonly #byId = new Map<DeliveryId, { line: WaitingLine; entry: Entry }>();
  readonly #reserved = new Map<Address, number>();
  #reservedTotal = 0;
  #nextExpiry = Number.POSITIVE_INFINITY;
  #cancelSweep: (() => void) | undefined;
  #stopped = false;
  /** What was accepted before `restore` was done: it goes behind what was there before. */
  #early: OpenDelivery[] | undefined = [];
  #ended = 0;
  #late = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
    for (const bridge of options.bridges) {
      this.#bridges.set(bridge.name, createBridgeLines(bridge));
    }
  }

  /** Deliveries not over. */
  get size(): number {
    return this.#byId.size;
  }

  /** Takes up what an earlier process left: attempts of unknown outcome are queued again or held as ambiguous. */
  async restore(): Promise<void> {
    const { store, clock } = this.#options;
    const rows = store.read.openDeliveries();
    const restarted = await Promise.all(
      rows.map(async row => {
        if (row.underway === 0) {
          return row;
        }
        const deduplicates = this.#bridges.get(row.bridge)?.bridge.carries.deduplicates ?? false;
        const state = await store.committer.commit('delivery.advance', {
          id: row.id,
          input: { on: 'restart', deduplicates },
          at: clock.now(),
        });
        return state === 'ambiguous' ? undefined : row;
      }),
    );
    const early = this.#early ?? [];
    this.#early = undefined;
    this.add([...restarted.filter(row => row !== undefined), ...early]);
  }

  /**
   * Makes sure there is room for deliveries about to be accepted and keeps it until the function it
   * returns is called. Throws `store/full`.
   */
  reserve(recipients: readonly Recipient[]): () => void {
    const { limits, counters } = this.#options;
    const far = recipients.filter(({ bridge }) => bridge !== 'app');
    const full = (what: string) => {
      counters.add('outbox/full');
      return new GatewayError('store/full', what, { retryable: true });
    };
    if (this.#byId.size + this.#reservedTotal + far.length > limits.queuedTotal) {
      throw full(`${limits.queuedTotal} deliveries wait already`);
    }
    for (const { bridge, address } of far) {
      const waiting = this.#bridges.get(bridge)?.lines.get(address)?.entries.length ?? 0;
      if (waiting + (this.#reserved.get(address) ?? 0) >= limits.queuedPerDestination) {
        throw full(`${limits.queuedPerDestination} deliveries wait for ${address} already`);
      }
    }
    const count = (by: 1 | -1) => {
      this.#reservedTotal += by * far.length;
      for (const { address } of far) {
        const left = (this.#reserved.get(address) ?? 0) + by;
        if (left === 0) {
          this.#reserved.delete(address);
        } else {
          this.#reserved.set(address, left);
        }
      }
    };
    count(1);
    let kept = true;
    return () => {
      if (kept) {
        kept = false;
        count(-1);
      }
    };
  }

  /** Deliveries that are on disk, in their order. */
  add(rows: readonly OpenDelivery[]): void {
    if (this.#early !== undefined) {
      this.#early.push(...rows);
      return;
    }
    const touched = new Set<BridgeLines>();
    for (const row of rows) {
      const bridge = this.#bridges.get(row.bridge);
      if (bridge === undefined || this.#byId.has(row.id)) {
        continue;
      }
      const line = lineOf(bridge, row.recipient);
      const entry: Entry = {
        id: row.id,
        message: row.message,
        priority: row.priority,
        expiresAt: row.expires_at,
        attempts: row.attempts,
        bugs: 0,
      };
      append(line, entry);
      this.#byId.set(row.id, { line, entry });
      this.#expect(entry.expiresAt);
      place(line);
      touched.add(bridge);
    }
    for (const bridge of touched) {
      this.#pump(bridge);
    }
  }

  /** The bridge can deliver: everything that waits for it is tried. */
  up(name: string): void {
    const bridge = this.#bridges.get(name);
    if (bridge !== undefined) {
      bridge.down = undefined;
      for (const line of bridge.lines.values()) {
        this.#letGo(line);
      }
      this.#pump(bridge);
    }
  }

  /** The bridge cannot deliver, and why. */
  down(name: string, reason: string): void {
    const bridge = this.#bridges.get(name);
    if (bridge !== undefined) {
      bridge.down = reason;
    }
  }

  /** What waits for this address is tried at once. */
  reachable(name: string, to: Address): void {
    const line = this.#bridges.get(name)?.lines.get(to);
    if (line === undefined) {
      return;
    }
    if (line.attempt !== undefined) {
      line.attempt.again = true;
    }
    this.#letGo(line);
    this.#pump(line.bridge);
  }

  /** Why a delivery waits, as its bridge says. */
  explain(id: DeliveryId, reason: string): void {
    const known = this.#byId.get(id);
    if (known === undefined) {
      return;
    }
    known.line.reason = reason;
    if (known.line.attempt?.entry === known.entry) {
      known.line.attempt.explained = true;
    }
    this.#write(id, { on: 'explain', reason });
  }

  /** What the far side says of a delivery; resolves when it is on disk. */
  async report(id: DeliveryId, progress: LaterProgress): Promise<void> {
    const known = this.#byId.get(id);
    const attempt = known?.line.attempt?.entry === known?.entry ? known?.line.attempt : undefined;
    if (known !== undefined && progress.state !== 'sent') {
      if (attempt !== undefined) {
        attempt.settled = true;
        attempt.controller.abort(new GatewayError('bridge/unavailable', 'the far side has spoken already'));
      } else {
        this.#finish(known.line, known.entry);
      }
    } else if (known !== undefined && attempt === undefined) {
      this.#finish(known.line, known.entry);
    }
    await this.#commit(
      id,
      progress.state === 'failed'
        ? { on: 'fail', code: progress.code, reason: progress.reason }
        : { on: 'progress', state: progress.state, underway: attempt !== undefined },
    );
  }

  /** Calls back what has not left: waiting entries, and attempts that only wait for something. */
  async cancel(ids: readonly DeliveryId[]): Promise<void> {
    await Promise.all(
      ids.map(async id => {
        const known = this.#byId.get(id);
        const attempt = known?.line.attempt;
        if (known === undefined || attempt?.entry !== known.entry) {
          if (known !== undefined) {
            this.#finish(known.line, known.entry);
          }
          await this.#commit(id, { on: 'cancel' });
          return;
        }
        if (attempt.explained) {
          attempt.ending = { on: 'cancel' };
          attempt.controller.abort(new GatewayError('request/conflict', 'cancelled'));
          await this.#within(attempt.done, cancelPatience);
        }
      }),
    );
  }

  /** The delivery with the reason that is not in its row: its bridge is down, or others are before it. */
  explained(view: DeliveryView): DeliveryView {
    const known = this.#byId.get(view.id);
    if (known === undefined || view.state !== 'queued') {
      return view;
    }
    const { line, entry } = known;
    if (line.bridge.down !== undefined) {
      return { ...view, reason: `${view.bridge}: ${line.bridge.down}` };
    }
    const head = line.entries[0];
    if (view.reason !== undefined || head === undefined || head === entry) {
      return view;
    }
    return { ...view, reason: line.reason ?? 'others for the same address go first' };
  }

  /** Ends every attempt and begins no more; what they leave is in their rows. */
  async stop(reason: unknown): Promise<void> {
    this.#stopped = true;
    this.#cancelSweep?.();
    const attempts: Promise<void>[] = [];
    for (const bridge of this.#bridges.values()) {
      for (const line of bridge.lines.values()) {
        line.held?.();
        if (line.attempt !== undefined) {
          line.attempt.controller.abort(reason);
          attempts.push(line.attempt.done);
        }
      }
    }
    await this.#within(Promise.all(attempts), stopPatience);
  }

  /** Waits for it, but not for ever: a bridge may be slow to heed its signal. */
  async #within(done: Promise<unknown>, patience: number): Promise<void> {
    const waited = new AbortController();
    await Promise.race([done, this.#options.clock.sleep(patience, waited.signal).catch(() => undefined)]);
    waited.abort();
  }

  #letGo(line: WaitingLine): void {
    line.held?.();
    line.held = undefined;
    line.failures = 0;
    place(line);
  }

  #pump(bridge: BridgeLines): void {
    while (!this.#stopped && bridge.down === undefined && bridge.active < bridge.bridge.carries.concurrency) {
      const line = nextReady(bridge);
      const entry = line?.entries[0];
      if (line === undefined || entry === undefined) {
        return;
      }
      if (entry.expiresAt <= this.#options.clock.now()) {
        this.#finish(line, entry);
        this.#write(entry.id, { on: 'expire' });
        continue;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      const attempt: Attempt = {
        entry,
        controller: new AbortController(),
        done: promise,
        explained: false,
        settled: false,
        again: false,
      };
      line.attempt = attempt;
      bridge.active += 1;
      place(line);
      void this.#attempt(line, attempt).finally(() => {
        line.attempt = undefined;
        bridge.active -= 1;
        place(line);
        resolve();
        this.#ended += 1;
        if (this.#ended % burst === 0) {
          setImmediate(() => this.#pump(bridge));
        } else {
          this.#pump(bridge);
        }
      });
    }
  }

  async #attempt(line: WaitingLine, attempt: Attempt): Promise<void> {
    const { store, counters } = this.#options;
    const { bridge } = line.bridge;
    const { entry } = attempt;
    try {
      entry.attempts += 1;
      const begun = this.#commit(entry.id, { on: 'attempt' });
      if (bridge.carries.deduplicates && store.committer.waiting < writesAhead) {
        begun.catch(error => this.#unwritten(error));
      } else {
        await begun;
      }
      const message = store.read.message(entry.message);
      if (message === undefined) {
        throw new GatewayError('bridge/rejected', 'the message is not kept any more');
      }
      const remembered = store.read.remembered(entry.id);
      const progress = await bridge.deliver(
        {
          id: entry.id,
          to: line.to,
          attempt: entry.attempts,
          message,
          ...(remembered === undefined ? {} : { remembered }),
        },
        attempt.controller.signal,
      );
      this.#finish(line, entry);
      line.failures = 0;
      line.reason = undefined;
      counters.add(`outbox/${progress.state}`);
      this.#write(entry.id, { on: 'progress', state: progress.state }, progress.remoteId);
    } catch (error) {
      this.#failed(line, attempt, error);
    }
  }

  /** What becomes of a delivery whose attempt ended without success. */
  #failed(line: WaitingLine, attempt: Attempt, error: unknown): void {
    const { log, counters, clock, limits } = this.#options;
    const { entry } = attempt;
    if (attempt.settled) {
      this.#finish(line, entry);
      return;
    }
    if (this.#stopped) {
      if (line.bridge.bridge.carries.deduplicates) {
        this.#write(entry.id, { on: 'wait', reason: 'the gateway is stopping' });
      }
      return;
    }
    if (attempt.ending !== undefined) {
      this.#finish(line, entry);
      this.#write(entry.id, attempt.ending);
      return;
    }
    const code = codeOf(error);
    const reason = isGatewayError(error) ? error.message : 'a mistake in this program, see the log';
    counters.add(`outbox/failure/${code}`);
    if (isGatewayError(error)) {
      entry.bugs = 0;
    } else {
      entry.bugs += 1;
      log.error(
        { bridge: line.bridge.bridge.name, delivery: entry.id.slice(0, 8), error },
        'a bug ended an attempt',
      );
    }
    if (isFinal(error) || entry.bugs >= limits.bugAttempts) {
      this.#finish(line, entry);
      this.#write(entry.id, { on: 'fail', code, reason });
      return;
    }
    line.reason = reason;
    line.failures += 1;
    const delay = attempt.again ? 0 : this.#backoff(line.failures);
    if (delay > 0) {
      line.held = clock.after(delay, () => {
        line.held = undefined;
        place(line);
        this.#pump(line.bridge);
      });
    }
    this.#write(entry.id, { on: 'wait', reason, code, nextAt: clock.now() + Math.round(delay) });
  }

  #backoff(failures: number): number {
    const { firstRetry, longestRetry } = this.#options.limits;
    const ceiling = Math.min(firstRetry * 2 ** Math.min(failures - 1, 30), longestRetry);
    return ceiling / 2 + (this.#options.random.fraction() * ceiling) / 2;
  }

  #finish(line: WaitingLine, entry: Entry): void {
    removeEntry(line, entry);
    this.#byId.delete(entry.id);
    place(line);
  }

  #expect(expiresAt: number): void {
    if (expiresAt < this.#nextExpiry) {
      this.#nextExpiry = expiresAt;
      this.#cancelSweep?.();
      const delay = Math.max(expiresAt - this.#options.clock.now(), 0);
      this.#cancelSweep = this.#options.clock.after(delay, () => this.#expire());
    }
  }

  #expire(): void {
    const { clock } = this.#options;
    const now = clock.now();
    let next = Number.POSITIVE_INFINITY;
    for (const { line, entry } of [...this.#byId.values()]) {
      if (entry.expiresAt > now) {
        next = Math.min(next, entry.expiresAt);
      } else if (line.attempt?.entry === entry) {
        line.attempt.ending ??= { on: 'expire' };
        line.attempt.controller.abort(new GatewayError('mesh/timeout', 'expired'));
      } else {
        this.#finish(line, entry);
        this.#write(entry.id, { on: 'expire' });
      }
    }
    this.#nextExpiry = Number.POSITIVE_INFINITY;
    if (next < Number.POSITIVE_INFINITY && !this.#stopped) {
      this.#expect(Math.max(next, now + expirySweep));
    }
  }

  #commit(id: DeliveryId, input: DeliveryInput, remoteId?: string): Promise<unknown> {
    const { store, clock } = this.#options;
    return store.committer.commit('delivery.advance', {
      id,
      input,
      at: clock.now(),
      ...(remoteId === undefined ? {} : { remoteId }),
    });
  }

  #write(id: DeliveryId, input: DeliveryInput, remoteId?: string): void {
    this.#commit(id, input, remoteId).catch(error => {
      this.#unwritten(error);
      if (isGatewayError(error) && error.retryable && this.#late < lateWrites && !this.#stopped) {
        this.#late += 1;
        this.#options.clock.after(lateDelay, () => {
          this.#late -= 1;
          this.#write(id, input, remoteId);
        });
      }
    });
  }

  /** A state that could not be written: the row keeps an older one, and a restart goes on from there. */
  #unwritten(error: unknown): void {
    this.#options.counters.add('outbox/unwritten');
    this.#options.log.warn({ code: codeOf(error) }, 'a delivery state could not be written');
  }
}

function isFinal(error: unknown): boolean {
  return (
    isGatewayError(error) &&
    (finalCodes.has(error.code) || error.code.startsWith('request/') || error.code.startsWith('wire/'))
  );
}
