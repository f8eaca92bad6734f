import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf, GatewayError, isGatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import type { Progress } from './bridge.ts';
import type { DeliveryInput } from './delivery.ts';
import type { DeliveryRecord } from './delivery-record.ts';
import { withWords } from './folding.ts';
import type { Limits } from './limits.ts';
import { type Message, type MessageId, priorities } from './message.ts';
import { missedBy, reasonOfMissed } from './missed.ts';
import type { RecentMessages } from './recent-messages.ts';
import { isChange } from './router.ts';
import type { Store } from './store/store.ts';
import { judge } from './verdict.ts';
import {
  type Attempt,
  type BridgeLines,
  type Entry,
  hasLeftNothing,
  insert,
  nextReady,
  place,
  removeEntry,
  urgencyOf,
  type WaitingLine,
  windowOf,
} from './waiting-line.ts';

export interface AttemptsOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly limits: Limits;
  readonly record: DeliveryRecord;
  readonly recent: RecentMessages;
  /** Nothing is left to do for this one. */
  readonly onOver: (entry: Entry) => void;
}

/** Writes that may wait for the disk before an attempt waits for its own. */
const writesAhead = 1000;
/** Attempts of one bridge that may end at once before the rest of the program has its turn. */
const burst = 32;
/** ms in which the word of a far side comes promptly: where it takes longer, more on the way only makes a queue. */
const prompt = 100;
/** ms a stop waits for all attempts. */
const stopPatience = 2000;

/**
 * Begins attempts, as many at once as each bridge carries, and says what becomes of them. Only where the far side
 * cannot tell a repeat does an attempt wait until its beginning is on disk; everywhere else the writes
 * ride in group commits behind it.
 */
export class Attempts {
  readonly #options: AttemptsOptions;
  #stopped = false;
  #ended = 0;

  constructor(options: AttemptsOptions) {
    this.#options = options;
  }

  /** Begins what can begin. */
  pump(bridge: BridgeLines): void {
    while (!this.#stopped && bridge.down === undefined && bridge.active < bridge.bridge.carries.concurrency) {
      const line = nextReady(bridge);
      const entry = line?.entries[0];
      if (line === undefined || entry === undefined) {
        return;
      }
      if (entry.expiresAt <= this.#options.clock.now()) {
        this.finish(entry);
        this.#options.record.write(entry.id, { on: 'expire' });
      } else {
        this.#begin(entry);
      }
    }
  }

  /** Whatever made the line wait is over. */
  letGo(line: WaitingLine): void {
    line.held?.();
    line.held = undefined;
    line.failures = 0;
    place(line);
  }

  /** Nothing of the line is tried for `delay` ms. */
  hold(line: WaitingLine, delay: number): void {
    line.held?.();
    line.held = this.#options.clock.after(delay, () => {
      line.held = undefined;
      place(line);
      this.pump(line.bridge);
    });
    place(line);
  }

  /** Begins nothing of the line until the function it returns is called, once. */
  suspend(line: WaitingLine): () => void {
    line.undecided += 1;
    place(line);
    return () => {
      line.undecided -= 1;
      place(line);
      this.pump(line.bridge);
    };
  }

  /** The attempt has left: where the far side answers promptly, the next one does not wait for it, unless it goes `alone`. */
  left(attempt: Attempt, alone: boolean): void {
    attempt.entry.mayHaveLeft = true;
    attempt.leftAt ??= this.#options.clock.monotonic();
    const { entry } = attempt;
    const { line } = entry;
    if (!alone && line.attempt === attempt && line.flying.size + 1 < windowOf(line)) {
      line.attempt = undefined;
      line.flying.add(attempt);
      line.bridge.active -= 1;
      removeEntry(entry);
      place(line);
      this.pump(line.bridge);
    }
  }

  /** Takes an entry away for good. */
  finish(entry: Entry): void {
    removeEntry(entry);
    this.#options.onOver(entry);
    place(entry.line);
  }

  /** Ends every attempt and begins no more; what they leave is in their rows. */
  async stop(bridges: Iterable<BridgeLines>, reason: unknown): Promise<void> {
    this.#stopped = true;
    const attempts: Promise<void>[] = [];
    for (const { lines } of bridges) {
      for (const line of lines.values()) {
        line.held?.();
        for (const attempt of attemptsOf(line)) {
          attempt.controller.abort(reason);
          attempts.push(attempt.done);
        }
      }
    }
    await within(this.#options.clock, Promise.all(attempts), stopPatience);
  }

  #begin(entry: Entry): void {
    const { line } = entry;
    const { bridge } = line;
    const { promise, resolve } = Promise.withResolvers<void>();
    const attempt: Attempt = {
      entry,
      controller: new AbortController(),
      done: promise,
      given: false,
      explained: false,
      settled: false,
      again: false,
      leftAt: undefined,
    };
    line.attempt = attempt;
    entry.attempt = attempt;
    bridge.active += 1;
    place(line);
    void this.#run(attempt).finally(() => {
      entry.attempt = undefined;
      if (line.attempt === attempt) {
        line.attempt = undefined;
        bridge.active -= 1;
      }
      line.flying.delete(attempt);
      place(line);
      resolve();
      this.#ended += 1;
      if (this.#ended % burst === 0) {
        setImmediate(() => this.pump(bridge));
      } else {
        this.pump(bridge);
      }
    });
  }

  async #run(attempt: Attempt): Promise<void> {
    const { store, record, recent } = this.#options;
    const { entry } = attempt;
    const { bridge } = entry.line.bridge;
    try {
      const again = entry.mayRemember;
      entry.attempts += 1;
      entry.mayRemember = true;
      if (bridge.carries.deduplicates && store.committer.waiting < writesAhead) {
        record.write(entry.id, { on: 'attempt' }, { lazy: true });
      } else {
        await record.commit(entry.id, { on: 'attempt' });
      }
      if (entry.expiresAt <= this.#options.clock.now()) {
        attempt.ending ??= { on: 'expire' };
      }
      const stored = recent.message(entry.message) ?? store.read.message(entry.message);
      if (stored === undefined) {
        throw new GatewayError('bridge/rejected', 'the message is not kept any more');
      }
      if (isChange(stored) && !entry.mayHaveLeft) {
        const ending = await this.#forNobody(stored, entry);
        if (ending !== undefined) {
          attempt.ending ??= ending;
        }
      }
      if (attempt.ending !== undefined) {
        throw new GatewayError('request/conflict', 'called back before anything of it left');
      }
      attempt.controller.signal.throwIfAborted();
      const message = entry.isRewritten ? withWords(stored, store.read.rewritten(entry.id)) : stored;
      const remembered = again ? this.#remembered(entry) : undefined;
      attempt.given = true;
      entry.mayHaveLeft ||= bridge.carries.tellsWhenSent !== true;
      const progress = await bridge.deliver(
        {
          id: entry.id,
          to: entry.line.to,
          attempt: entry.attempts,
          message,
          urgency: priorities[urgencyOf(entry)] ?? message.priority,
          ...(remembered === undefined ? {} : { remembered }),
        },
        attempt.controller.signal,
      );
      this.#succeeded(attempt, progress);
    } catch (error) {
      this.#failed(attempt, error);
    }
  }

  /** What to make of a change where what it changes has come to nothing there since the change was accepted. */
  async #forNobody(
    { inReplyTo, from, type }: Message & { readonly inReplyTo: MessageId },
    { line }: Entry,
  ): Promise<DeliveryInput | undefined> {
    const { store, record } = this.#options;
    let target = store.read.deliveryTo(inReplyTo, line.to);
    if (target !== undefined && record.isBehind(target.id)) {
      // Its end is being written, and on disk once what is given after it is. A full store keeps nobody from going on.
      const args = { id: target.id, inputs: [] };
      await store.committer.commit('delivery.advance', args).catch(() => undefined);
      target = store.read.deliveryTo(inReplyTo, line.to);
    }
    const tells = line.bridge.bridge.carries.tellsWhenSent === true;
    const missed = target?.sender === from ? missedBy(target, tells) : undefined;
    return missed && { on: 'cancel', reason: reasonOfMissed(missed, type) };
  }

  /** What the attempt must say, if that was settled before: what is new says what it was prepared to. */
  #remembered({ id, message, attempts, isRewritten }: Entry): Uint8Array | undefined {
    const { store, recent } = this.#options;
    const prepared = attempts === 1 && !isRewritten ? recent.prepared(message, id) : undefined;
    return prepared ?? store.read.remembered(id);
  }

  #succeeded(attempt: Attempt, { state, remoteId }: Progress): void {
    const { clock, counters, record } = this.#options;
    const { entry, leftAt } = attempt;
    const { line } = entry;
    this.finish(entry);
    line.reason = undefined;
    line.quick = leftAt !== undefined && clock.monotonic() - leftAt < prompt;
    this.letGo(line);
    counters.add(`outbox/${state}`);
    record.write(entry.id, { on: 'progress', state }, remoteId === undefined ? {} : { remoteId });
  }

  #failed(attempt: Attempt, error: unknown): void {
    const { log, counters, clock, random, limits, record } = this.#options;
    const { entry } = attempt;
    const { line } = entry;
    const { bridge } = line.bridge;
    if (this.#stopped && !attempt.settled) {
      if (attempt.ending !== undefined) {
        record.write(entry.id, attempt.ending);
      } else if (bridge.carries.deduplicates || hasLeftNothing(attempt)) {
        record.write(entry.id, { on: 'wait', reason: 'the gateway is stopping' });
      }
      return;
    }
    const verdict = judge(attempt, error, line.failures, random.fraction(), limits);
    if (verdict.is !== 'settled' && attempt.ending === undefined) {
      counters.add(`outbox/failure/${codeOf(error)}`);
      entry.bugs = isGatewayError(error) ? 0 : entry.bugs + 1;
      if (entry.bugs > 0) {
        log.error({ bridge: bridge.name, delivery: entry.id.slice(-8), error }, 'a bug ended an attempt');
      }
    }
    if (verdict.is !== 'again') {
      this.finish(entry);
      if (verdict.is === 'over') {
        record.write(entry.id, verdict.input);
      }
      return;
    }
    const { reason, code, delay } = verdict;
    line.reason = reason;
    line.rationed = code === 'airtime/exhausted' ? urgencyOf(entry) : undefined;
    line.failures += 1;
    line.quick = false;
    if (line.flying.has(attempt)) {
      insert(entry);
    }
    if (delay > 0) {
      this.hold(line, delay);
    }
    record.write(entry.id, { on: 'wait', reason, code, nextAt: clock.now() + Math.round(delay) });
  }
}

/** Everything under way to the line's address. */
export function attemptsOf(line: WaitingLine): readonly Attempt[] {
  return [...(line.attempt === undefined ? [] : [line.attempt]), ...line.flying];
}

/** Waits for it, but not for ever: a bridge may be slow to heed its signal. */
export async function within(clock: Clock, done: Promise<unknown>, patience: number): Promise<void> {
  const waited = new AbortController();
  await Promise.race([done, clock.sleep(patience, waited.signal).catch(() => undefined)]);
  waited.abort();
}
