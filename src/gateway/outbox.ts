import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf, GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import { Attempts, attemptsOf, within } from './attempts.ts';
import type { Bridge, DeliveryId, LaterProgress } from './bridge.ts';
import { type DeliveryInput, isOpen, lastFor } from './delivery.ts';
import { createDeliveryRecord, type DeliveryRecord } from './delivery-record.ts';
import type { DeliveryView } from './desk.ts';
import { createExpiry, type Expiry } from './expiry.ts';
import { type Folding, fold } from './folding.ts';
import { arrivedLate } from './late-word.ts';
import type { Limits } from './limits.ts';
import type { Address, Message, MessageId, RemoteId } from './message.ts';
import { hasMissed } from './missed.ts';
import type { RecentMessages } from './recent-messages.ts';
import { createReservations, type Reservations } from './reservations.ts';
import type { Recipient } from './router.ts';
import type { Words } from './ruling.ts';
import type { SaidNow } from './said-now.ts';
import { sendAgain } from './send-again.ts';
import { type DeliveryRow, type OpenDelivery, statusOf } from './store/delivery-table.ts';
import type { NewDeliveryRow } from './store/new-delivery.ts';
import type { Store } from './store/store.ts';
import {
  type BridgeLines,
  createBridgeLines,
  type Entry,
  insert,
  lineOf,
  place,
  reasonOf,
} from './waiting-line.ts';

export interface OutboxOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly limits: Limits;
  readonly bridges: readonly Bridge[];
  readonly recent: RecentMessages;
}

/** ms a cancel waits for the attempt under way to end. */
const cancelPatience = 1000;

/**
 * Works off the deliveries: in order per destination, the most urgent destination first, as many at once as
 * a bridge carries. What it knows is rebuilt from the rows at a start, and every change is written to them.
 * Only where the far side cannot tell a repeat does an attempt wait until its beginning is on disk;
 * everywhere else the writes ride in group commits behind it.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #bridges = new Map<string, BridgeLines>();
  readonly #byId = new Map<DeliveryId, Entry>();
  readonly #record: DeliveryRecord;
  readonly #reservations: Reservations;
  readonly #expiry: Expiry;
  readonly #attempts: Attempts;
  readonly #changing = new Map<MessageId, number>();
  /** What is being taken up again: its row may say so before it is in its line. */
  readonly #coming = new Map<DeliveryId, Promise<void>>();
  /** What was accepted before `restore` was done: it goes behind what was there before. */
  #early: OpenDelivery[] | undefined = [];
  readonly #restored = Promise.withResolvers<void>();

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#record = createDeliveryRecord(options);
    this.#reservations = createReservations(options.limits, {
      total: () => this.#byId.size,
      of: ({ bridge, address }) => {
        const line = this.#bridges.get(bridge)?.lines.get(address);
        return line === undefined ? 0 : line.entries.length + line.flying.size;
      },
      onFull: () => options.counters.add('outbox/full'),
    });
    this.#attempts = new Attempts({
      ...options,
      record: this.#record,
      onOver: entry => this.#byId.delete(entry.id),
    });
    this.#expiry = createExpiry(options.clock, now => this.#expire(now));
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
    const { store, clock, log, counters } = this.#options;
    const rows = store.read.openDeliveries();
    const restarted = await Promise.all(
      rows.map(async row => {
        if (row.underway === 0) {
          return row;
        }
        const deduplicates = this.#bridges.get(row.bridge)?.bridge.carries.deduplicates ?? false;
        const input = { on: 'restart', deduplicates } as const;
        try {
          const state = await store.committer.commit('delivery.advance', {
            id: row.id,
            inputs: [{ input, at: clock.now() }],
          });
          return state === 'ambiguous' || state === 'cancelled' ? undefined : row;
        } catch (error) {
          // A full disk keeps nothing else from starting: what may be repeated is, and the row follows.
          log.warn({ code: codeOf(error), bridge: row.bridge }, 'a restart could not be written');
          counters.add('outbox/unwritten');
          this.#record.write(row.id, input);
          return deduplicates && !this.#wasLast(row.id) ? row : undefined;
        }
      }),
    );
    const early = this.#early ?? [];
    this.#early = undefined;
    this.add([
      ...restarted
        .filter(row => row !== undefined)
        .map(row => ({ ...row, remembered: true, left: row.left || row.underway })),
      ...early,
    ]);
    this.#restored.resolve();
  }

  /**
   * The store has lost its writer and has another: what was committed without word of it is taken up. Rows behind the
   * truth are left alone: what they lack is still to be written. So are those that are not to go any more: see `strays.ts`.
   */
  recover(isStray: (id: DeliveryId) => boolean): void {
    const rows = this.#options.store.read.openDeliveries();
    const waiting = rows.filter(
      row => row.underway === 0 && !this.#record.isBehind(row.id) && !isStray(row.id),
    );
    this.add(waiting.map(row => ({ ...row, remembered: true })));
  }

  /**
   * Makes sure there is room for deliveries about to be accepted and keeps it until the function it
   * returns is called. Throws `store/full`.
   */
  reserve(recipients: readonly Recipient[]): () => void {
    return this.#reservations.reserve(recipients);
  }

  /** What a message that is about to be accepted does to what waits: see `fold`. */
  fold(message: Message, rows: readonly NewDeliveryRow[], words: ReadonlyMap<DeliveryId, Words>): Folding {
    return fold(message, rows, words, {
      changing: this.#changing,
      store: this.#options.store,
      lineOf: (bridge, address) => this.#bridges.get(bridge)?.lines.get(address),
      onCancelled: entry => this.#attempts.finish(entry),
      suspend: line => this.#attempts.suspend(line),
    });
  }

  /** Deliveries that are on disk, in their order; `remembered` where something may be kept for them there. */
  add(rows: readonly (OpenDelivery & { readonly remembered?: boolean })[]): void {
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
        seq: row.seq,
        line,
        message: row.message,
        priority: row.priority,
        expiresAt: row.expires_at,
        attempts: row.attempts,
        mayRemember: row.remembered === true,
        // Where nobody says when something leaves, whatever was tried may have.
        mayHaveLeft: row.left === 1 || (row.attempts > 0 && bridge.bridge.carries.tellsWhenSent !== true),
        isRewritten: row.rewritten === 1,
        bugs: 0,
        attempt: undefined,
      };
      insert(entry);
      this.#byId.set(row.id, entry);
      this.#expiry.expect(entry.expiresAt);
      if (line.rationed !== undefined && entry.priority < line.rationed) {
        // There may be airtime for this one, and for what is before it.
        this.#attempts.letGo(line);
      }
      place(line);
      touched.add(bridge);
    }
    for (const bridge of touched) {
      this.#attempts.pump(bridge);
    }
  }

  /** The bridge can deliver: everything that waits for it is tried. */
  up(name: string): void {
    const bridge = this.#bridges.get(name);
    if (bridge !== undefined) {
      bridge.down = undefined;
      for (const line of bridge.lines.values()) {
        this.#attempts.letGo(line);
      }
      this.#attempts.pump(bridge);
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
    for (const attempt of attemptsOf(line)) {
      attempt.again = true;
    }
    this.#attempts.letGo(line);
    this.#attempts.pump(line.bridge);
  }

  /**
   * Takes up what had ended in vain, with what it says by now. Resolves when it is on disk; throws `request/conflict` where it
   * changed meanwhile, and what `saidNow` throws.
   */
  async again(row: DeliveryRow, saidNow: SaidNow): Promise<void> {
    const coming = this.#takeUp(row, saidNow);
    this.#coming.set(row.id, coming);
    try {
      await coming;
    } finally {
      this.#coming.delete(row.id);
    }
  }

  async #takeUp(row: DeliveryRow, saidNow: SaidNow): Promise<void> {
    const { store, clock } = this.#options;
    const release = this.reserve([{ bridge: row.bridge, address: row.recipient }]);
    try {
      const isChanging = (target: MessageId) => this.#changing.has(target);
      await sendAgain(row, { store, clock, record: this.#record, saidNow, isChanging });
    } finally {
      release();
    }
    this.add([
      {
        ...row,
        underway: 0,
        remembered: true,
        left: 1,
        rewritten: store.read.rewritten(row.id) === undefined ? 0 : 1,
      },
    ]);
  }

  /** What is ambiguous is over. */
  async settle(id: DeliveryId): Promise<void> {
    await this.#record.commit(id, { on: 'settle' });
  }

  /** Why a delivery waits, as its bridge says. */
  explain(id: DeliveryId, reason: string): void {
    const entry = this.#byId.get(id);
    if (entry === undefined) {
      return;
    }
    entry.line.reason = reason;
    if (entry.attempt !== undefined) {
      entry.attempt.explained = true;
    }
    this.#record.write(id, { on: 'explain', reason }, { lazy: true });
  }

  /** Keeps what must be the same at every attempt; resolves when it is on disk. */
  async remember(id: DeliveryId, bytes: Uint8Array, remoteId?: RemoteId): Promise<void> {
    await this.#options.store.committer.commit('delivery.remember', {
      id,
      bytes,
      ...(remoteId === undefined ? {} : { remoteId }),
    });
  }

  /**
   * What the far side says of a delivery; resolves when it is on disk, or at once for a `sent` while the attempt
   * goes on: nothing follows from it, and the attempt's end tells more.
   */
  async report(id: DeliveryId, progress: LaterProgress): Promise<void> {
    const entry = this.#byId.get(id);
    const attempt = entry?.attempt;
    if (attempt !== undefined && progress.state === 'sent') {
      this.#record.write(id, { on: 'progress', state: 'sent', underway: true }, { lazy: true });
      this.#attempts.left(attempt, progress.alone === true);
      return;
    }
    if (attempt !== undefined) {
      attempt.settled = true;
      attempt.controller.abort(new GatewayError('bridge/unavailable', 'the far side has spoken already'));
    }
    if (progress.state === 'failed') {
      await this.#settle(id, entry, { on: 'fail', code: progress.code, reason: progress.reason });
      return;
    }
    const input = { on: 'progress', state: progress.state } as const;
    const before = entry === undefined && progress.state !== 'sent' ? this.#endOf(id) : undefined;
    if (before === undefined) {
      await this.#settle(id, entry, input);
    } else {
      this.#options.counters.add('outbox/arrived-late');
      const { store, clock } = this.#options;
      this.add(await arrivedLate(before, input, { store, clock, record: this.#record }));
    }
  }

  /** Its row, where that says that it came to nothing. A store that cannot be read says nothing. */
  #endOf(id: DeliveryId): DeliveryRow | undefined {
    try {
      const row = this.#options.store.read.delivery(id);
      return row !== undefined && hasMissed(row.state) ? row : undefined;
    } catch {
      return undefined;
    }
  }

  /**
   * Takes an entry out of its line and writes why; where that cannot be written it goes back to its place. What is behind it does
   * not begin before that is known, but where the far side has it already.
   */
  async #settle(id: DeliveryId, entry: Entry | undefined, input: DeliveryInput): Promise<void> {
    if (entry === undefined) {
      await this.#record.commit(id, input);
      return;
    }
    const hasArrived = input.on === 'progress' && input.state !== 'sent';
    const decided = hasArrived ? () => {} : this.#attempts.suspend(entry.line);
    const done = entry.attempt?.done;
    if (done === undefined) {
      this.#attempts.finish(entry);
    }
    try {
      await this.#record.commit(id, input);
    } catch (error) {
      void (done ?? Promise.resolve()).then(() => {
        this.#putBack(entry);
        decided();
      });
      throw error;
    }
    decided();
  }

  /** Takes out an entry that is not to go any more, whether or not the store can be told so now. */
  async #dropFor(entry: Entry, input: DeliveryInput): Promise<void> {
    this.#attempts.finish(entry);
    try {
      await this.#record.commit(entry.id, input);
    } catch {
      this.#record.write(entry.id, input);
    }
  }

  /** Whether its row says so: a writer that died may have written it all the same. A store that cannot be read says nothing. */
  #isOver(id: DeliveryId): boolean {
    try {
      const row = this.#options.store.read.delivery(id);
      return row === undefined || !isOpen({ state: row.state, underway: row.underway === 1 });
    } catch {
      return false;
    }
  }

  /** Whether no attempt follows the one that was under way: its row says so, or that it is over. As unsure as `#isOver`. */
  #wasLast(id: DeliveryId): boolean {
    try {
      const row = this.#options.store.read.delivery(id);
      return this.#isOver(id) || (row !== undefined && lastFor(statusOf(row)) !== undefined);
    } catch {
      return false;
    }
  }

  #putBack(before: Entry): void {
    const { id, line } = before;
    const bridge = this.#bridges.get(line.bridge.bridge.name);
    if (bridge === undefined || this.#byId.has(id) || this.#isOver(id)) {
      return;
    }
    const entry: Entry = { ...before, line: lineOf(bridge, line.to), mayRemember: true, attempt: undefined };
    this.#byId.set(id, entry);
    insert(entry);
    this.#expiry.expect(entry.expiresAt);
    this.#attempts.hold(entry.line, this.#options.limits.firstRetry);
  }

  /**
   * Calls back what has not left: waiting entries, and attempts that only wait for something. With a reason it is not to go
   * any more: an attempt under way is the last one.
   */
  async cancel(ids: readonly DeliveryId[], reason?: string): Promise<void> {
    const input = { on: 'cancel', ...(reason === undefined ? {} : { reason }) } as const;
    // What an earlier process left is being taken up, and must not go on after its row says that it does not.
    await this.#restored.promise;
    await Promise.all(
      ids.map(async id => {
        const coming = this.#coming.get(id);
        if (coming !== undefined) {
          await coming.catch(() => undefined);
        }
        const entry = this.#byId.get(id);
        const attempt = entry?.attempt;
        if (entry === undefined && this.#record.isBehind(id)) {
          // It is over, and its row is about to say how.
          return;
        }
        if (attempt === undefined) {
          if (entry !== undefined && reason !== undefined) {
            await this.#dropFor(entry, input);
          } else {
            await this.#settle(id, entry, input);
          }
          return;
        }
        if (attempt.explained) {
          attempt.ending = input;
          attempt.controller.abort(new GatewayError('request/conflict', 'cancelled'));
          await within(this.#options.clock, attempt.done, cancelPatience);
        } else if (reason !== undefined && attempt.ending === undefined) {
          attempt.ending = input;
          // A process that dies meanwhile must not forget it.
          this.#record.write(id, { on: 'last', reason });
        }
      }),
    );
  }

  /** The delivery with the reason that is not in its row: its bridge is down or busy, or others are before it. */
  explained(view: DeliveryView): DeliveryView {
    // What lies in an app's inbox never comes by here.
    const entry = view.state === 'queued' && view.bridge !== 'app' ? this.#byId.get(view.id) : undefined;
    if (entry === undefined) {
      return view;
    }
    const { line } = entry;
    if (line.bridge.down !== undefined) {
      return { ...view, reason: `${view.bridge}: ${line.bridge.down}` };
    }
    // A row says itself what the last attempt met.
    const isUnwritten = entry.attempts === 0 || this.#record.isLate(entry.id);
    const reason = view.reason ?? reasonOf(entry, isUnwritten);
    return reason === undefined ? view : { ...view, reason };
  }

  /** Deliveries not over whose row lies after this one, in the order of their acceptance. */
  waiting(after: number, limit: number): DeliveryId[] {
    return [...this.#byId.values()]
      .filter(entry => entry.seq > after)
      .sort((a, b) => a.seq - b.seq)
      .slice(0, limit)
      .map(entry => entry.id);
  }

  /** The clock was set by so many ms: the ends of those that it is about move with it. The rows are moved elsewhere. */
  moveTimes(by: number, moves: (entry: Pick<Entry, 'seq' | 'expiresAt'>) => boolean): void {
    if (by === 0) {
      return;
    }
    for (const entry of this.#byId.values()) {
      if (moves(entry)) {
        entry.expiresAt += by;
      }
      this.#expiry.expect(entry.expiresAt);
    }
  }

  /** Ends every attempt and begins no more; what they leave is in their rows. */
  async stop(reason: unknown): Promise<void> {
    this.#expiry.stop();
    await this.#attempts.stop(this.#bridges.values(), reason);
    await this.#record.stop();
  }

  /** Ends what has run out of time; gives when the next one does. */
  #expire(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const entry of [...this.#byId.values()]) {
      if (entry.expiresAt > now) {
        next = Math.min(next, entry.expiresAt);
      } else if (entry.attempt !== undefined) {
        entry.attempt.ending ??= { on: 'expire' };
        entry.attempt.controller.abort(new GatewayError('mesh/timeout', 'expired'));
      } else {
        this.#attempts.finish(entry);
        this.#record.write(entry.id, { on: 'expire' });
      }
    }
    return next;
  }
}
