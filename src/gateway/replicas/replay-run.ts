import type { Cancel, Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { ReplicaHost } from './contract.ts';
import type { Fields } from './fields.ts';
import { pathWithIds } from './idmap.ts';
import type { Outbox } from './outbox.ts';
import { jsonOf } from './outbox-answer.ts';
import { isHeld, isOver, type Operation } from './outbox-operation.ts';
import { bare, type WriteServices } from './outbox-service.ts';
import { longestRetryAfter } from './replay.ts';
import { attempt, isRepeatable, type Outcome } from './replay-send.ts';

/** Attempts under way at once to one service: clients of now go first. */
const perService = 4;
/** ms within which, by chance, the first attempt follows a service's return: a whole village comes back at once. */
const returnJitter = 2000;
/** ms between two looks for what is old. */
const sweepEvery = 10 * 60 * 1000;
/** The same, where what is old takes too much. */
const crowdedEvery = 60 * 1000;
/** ms that attempts under way are waited for at the end. */
const endPatience = 2000;

export interface ReplayOptions {
  readonly host: ReplicaHost;
  readonly outbox: Outbox;
  readonly services: WriteServices;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly returnJitter?: number;
}

export interface Replay {
  /** Replays until the signal. */
  run(signal: AbortSignal): Promise<void>;
  /** The first attempt of an operation that was added as `inflight`: its client waits for it. */
  sendNow(operation: Operation): {
    readonly outcome: Promise<Outcome>;
    /** The client goes, with an answer of its own; false where the outcome is there already. */
    leave(): boolean;
  };
  /** Resolves when the operation is not under way any more. */
  settled(operation: Operation): Promise<void>;
  /** Looks what can be sent. */
  wake(): void;
}

/**
 * Works the operations off: in each lane the oldest first and one at a time. What is held lets the others pass, except
 * those that depend on it. Nothing is remembered here that is not in the rows: after a restart, and at each change of
 * a link, everything is looked at again.
 */
export function createReplay(options: ReplayOptions): Replay {
  const { host, outbox, services, clock, random, log, counters } = options;
  const jitter = options.returnJitter ?? returnJitter;
  const credentials = new Map<string, Fields>();
  const resumeAt = new Map<string, number>();
  const wasOnline = new Map<string, boolean>();
  const underway = new Map<number, Promise<void>>();
  const active = new Map<string, number>();
  let stop: AbortSignal | undefined;
  let timer: Cancel | undefined;
  let looking = false;
  let sweepAt = 0;
  let sweptAt = Number.NEGATIVE_INFINITY;

  const scope = (service: string, partition: string) => `${service} ${partition}`;
  const sending = {
    host,
    outbox,
    clock,
    reads: host.reads,
    credentials: (service: string, partition: string) => credentials.get(scope(service, partition)),
  };

  function wake(): void {
    if (!looking && stop !== undefined && !stop.aborted) {
      looking = true;
      setImmediate(() => {
        looking = false;
        look();
      });
    }
  }

  function look(): void {
    if (stop === undefined || stop.aborted) {
      return;
    }
    const now = clock.now();
    let next = Number.POSITIVE_INFINITY;
    const decided = new Set<string>();
    for (const operation of outbox.open()) {
      const { status, facts, service } = operation;
      if (isHeld(status)) {
        continue;
      }
      if (status.state !== 'inflight' && facts.expiresAt <= now) {
        void change(operation, () => outbox.apply(operation, { on: 'expire' }));
        continue;
      }
      if (decided.has(facts.lane) || outbox.isBlocked(operation)) {
        continue;
      }
      decided.add(facts.lane);
      // Its row may still say queued while it is being written that it is sent.
      if (status.state !== 'queued' || underway.has(operation.seq) || !isAfter(operation)) {
        continue;
      }
      next = Math.min(next, facts.expiresAt);
      const link = host.link(service);
      if (link.at !== 'online' || services(service) === undefined) {
        continue;
      }
      const due = dueAt(operation, link.since);
      if (due - now > longestRetryAfter) {
        // Noted by a clock that was wrong: nobody can have asked for that.
        start(operation);
        continue;
      }
      if (due > now) {
        next = Math.min(next, due);
      } else if ((active.get(service) ?? 0) < perService) {
        start(operation);
      }
    }
    timer?.();
    timer = undefined;
    if (now >= sweepAt || (outbox.isCrowded() && now - sweptAt >= crowdedEvery)) {
      sweptAt = now;
      sweepAt = now + sweepEvery;
      void sweep();
    }
    timer = clock.after(Math.max(1, Math.min(next, sweepAt) - now), wake);
  }

  /** Whether everything it comes after has ended. */
  function isAfter({ facts }: Operation): boolean {
    return facts.after.every(seq => {
      const before = outbox.get(seq);
      return before === undefined || isOver(before.status);
    });
  }

  /** A service that came back is tried at once, whatever its absence had made the wait. */
  function dueAt({ status, service }: Operation, since: number): number {
    const failedAt = status.history.at(-1)?.at ?? 0;
    const own = status.waits === 'link' && since > failedAt ? 0 : (status.nextAt ?? 0);
    return Math.max(own, resumeAt.get(service) ?? 0);
  }

  function start(operation: Operation): void {
    void track(operation, async () => {
      const sent = await outbox.apply(operation, { on: 'send' });
      const service = services(operation.service);
      if (sent === undefined || service === undefined || stop?.aborted) {
        return;
      }
      const outcome = await outcomeOf(sent, false);
      if (stop?.aborted && outcome.input.on === 'lost') {
        // Cut off by our own end: the row says inflight, and the next start knows what that means.
        return;
      }
      await record(sent, outcome);
    });
  }

  async function outcomeOf(operation: Operation, blind: boolean): Promise<Outcome> {
    const service = services(operation.service);
    if (service === undefined) {
      return { input: { on: 'unsent', reason: 'the service is not configured any more' } };
    }
    counters.add('replica/replay/attempt');
    try {
      return await attempt(operation, service, sending, {
        blind,
        ...(stop !== undefined && { signal: stop }),
      });
    } catch (error) {
      log.error(
        { service: operation.service, operation: operation.id.slice(-8), error },
        'a bug ended an attempt',
      );
      return {
        input: {
          on: 'lost',
          reason: 'the attempt failed here; the log says more',
          again: isRepeatable(operation, service),
        },
      };
    }
  }

  async function record(
    operation: Operation,
    { input, parts = {} }: Outcome,
    untold = false,
  ): Promise<Operation | undefined> {
    const over = input.on === 'done';
    const item = parts.outcome === undefined ? undefined : jsonOf(parts.outcome);
    const after = await outbox.apply(operation, input, {
      untold,
      parts: {
        ...parts,
        ...(over && { base: null, answer: null }),
        // What the origin said the item is makes the request superfluous, which holds a token.
        ...(over && (item !== undefined || operation.facts.effect === 'delete') && { request: null }),
      },
    });
    if (after !== undefined) {
      log.info(
        {
          service: after.service,
          operation: after.id.slice(-8),
          state: after.status.state,
          reason: after.status.reason,
        },
        'a queued write moved on',
      );
      if (over) {
        invalidate(after);
      }
    }
    return after;
  }

  function invalidate(operation: Operation): void {
    const { service, partition, facts, status } = operation;
    const known = services(service);
    if (known === undefined) {
      return;
    }
    const path = bare(pathWithIds(facts.path, outbox.givenIds(service, partition)));
    const paths = new Set([path, ...known.policies.of(facts.method, facts.path).write.invalidates]);
    if (facts.collection !== undefined) {
      const collection = pathWithIds(facts.collection, outbox.givenIds(service, partition));
      if (status.given !== undefined) {
        paths.add(`${collection}/${encodeURIComponent(status.given)}`);
      }
      for (const each of host.reads.pathsBelow(service, partition, collection, 256)) {
        if (bare(each) === collection) {
          paths.add(each);
        }
      }
      paths.add(collection);
    }
    host.reads.invalidate(service, partition, [...paths]);
  }

  /** Keeps count of an attempt; what it could not write down is tried again by looking. */
  function track(operation: Operation, run: () => Promise<void>): Promise<void> {
    const { seq, service } = operation;
    active.set(service, (active.get(service) ?? 0) + 1);
    const done = change(operation, run).finally(() => {
      underway.delete(seq);
      active.set(service, (active.get(service) ?? 1) - 1);
      wake();
    });
    underway.set(seq, done);
    return done;
  }

  async function change(operation: Operation, run: () => Promise<unknown>): Promise<void> {
    try {
      await run();
    } catch (error) {
      counters.add('replica/outbox/unwritten');
      log.error({ service: operation.service, code: codeOf(error), error }, 'the queue cannot be written');
      // Until the store takes it again: the row says inflight, which is recovered as a lost answer.
      await clock.sleep(5000, stop).catch(() => undefined);
      const now = outbox.get(operation.seq);
      if (now?.status.state === 'inflight' && !stop?.aborted) {
        await recover(now).catch(() => undefined);
      }
    }
  }

  async function recover(operation: Operation): Promise<void> {
    const service = services(operation.service);
    const again = service !== undefined && isRepeatable(operation, service);
    await outbox.apply(operation, {
      on: 'lost',
      reason: 'the gateway was stopped while it was sent',
      again,
    });
  }

  async function sweep(): Promise<void> {
    try {
      const settledOnes = new Set<number>();
      const oldest = new Map<string, Promise<number>>();
      for (const operation of outbox.all()) {
        if (isOver(operation.status) && (await isSettled(operation, oldest))) {
          settledOnes.add(operation.seq);
        }
      }
      await outbox.sweep(({ seq }) => settledOnes.has(seq));
    } catch (error) {
      log.warn({ code: codeOf(error), error }, 'the queue cannot be swept');
    }
  }

  /** Whether every stored answer was asked for after it was done. `oldest` remembers, by list, when the oldest was. */
  async function isSettled(
    { service, partition, facts, status }: Operation,
    oldest: Map<string, Promise<number>>,
  ): Promise<boolean> {
    if (facts.collection === undefined || status.doneAt === undefined) {
      return true;
    }
    const list = pathWithIds(facts.collection, outbox.givenIds(service, partition));
    const at = oldest.getOrInsertComputed(`${scope(service, partition)} ${list}`, () =>
      oldestBelow(service, partition, list),
    );
    return (await at) > status.doneAt;
  }

  async function oldestBelow(service: string, partition: string, list: string): Promise<number> {
    let oldest = Number.POSITIVE_INFINITY;
    for (const path of host.reads.pathsBelow(service, partition, list, 256)) {
      const stored = await host.reads.stored(service, partition, path);
      oldest = Math.min(oldest, stored?.asOf ?? oldest);
    }
    return oldest;
  }

  return {
    wake,
    async settled(operation) {
      await underway.get(operation.seq);
    },
    sendNow(operation) {
      const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
      let left = false;
      let here = false;
      void track(operation, async () => {
        try {
          const outcome = await outcomeOf(operation, true);
          here = true;
          const { on } = outcome.input;
          if (!left && on === 'refused') {
            // The client hears the refusal itself: there is nothing to keep.
            await outbox.remove(operation);
          } else {
            await record(operation, outcome, !left);
          }
          resolve(outcome);
        } catch (error) {
          reject(error);
          throw error;
        }
      });
      promise.catch(() => undefined);
      return {
        outcome: promise,
        leave() {
          left ||= !here;
          return left;
        },
      };
    },
    async run(signal) {
      stop = signal;
      const onLink = host.onLink((service, link) => {
        const online = link.at === 'online';
        if (online && wasOnline.get(service) === false) {
          resumeAt.set(service, clock.now() + random.fraction() * jitter);
        }
        wasOnline.set(service, online);
        wake();
      });
      const onCredentials = host.onCredentials((service, partition, headers) => {
        // Only for who has something waiting: others bring their own when they write.
        if (!outbox.waits(service, partition)) {
          credentials.delete(scope(service, partition));
          return;
        }
        credentials.set(scope(service, partition), headers);
        for (const operation of outbox.of(service, partition)) {
          if (operation.status.state === 'needs-auth') {
            void change(operation, () => outbox.apply(operation, { on: 'credentials' }));
          }
        }
      });
      const onChange = outbox.onChange(wake);
      for (const operation of [...outbox.all()]) {
        if (operation.status.state === 'inflight' && !underway.has(operation.seq)) {
          await change(operation, () => recover(operation));
        }
      }
      wake();
      if (!signal.aborted) {
        await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }));
      }
      onLink();
      onCredentials();
      onChange();
      timer?.();
      const waited = new AbortController();
      await Promise.race([
        Promise.allSettled(underway.values()),
        clock.sleep(endPatience, waited.signal).catch(() => undefined),
      ]);
      waited.abort();
    },
  };
}
