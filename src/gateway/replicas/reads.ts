import { miss, unanswered } from './absence.ts';
import { checkAnswer } from './captive.ts';
import type { Reply } from './exchange.ts';
import { type Fields, field, without } from './fields.ts';
import { createFlights, type Flight, flightKey, type Landing, type Question } from './flights.ts';
import { forwarded } from './labels.ts';
import { failed, failureOf } from './origin-failure.ts';
import { judge, onlyIfCached, type Reuse } from './rfc9111/reuse.ts';
import type { Service } from './service.ts';
import type { CacheEntry } from './store/cache-entry.ts';
import { storedReply } from './stored-reply.ts';
import type { Taken } from './taken.ts';
import { type Trust, untrusted } from './trust.ts';
import { chosenOf } from './variants.ts';

/** Answers the GET and HEAD requests of a service from what is stored, the service, or both. */
export interface Reads {
  answer(question: Question): Promise<Reply>;
}

export function createReads(service: Service, trust: Trust): Reads {
  const { definition, cache, clock, link, origin, counters } = service;
  const { id } = definition;
  const flights = createFlights(service, trust);

  async function answer(question: Question): Promise<Reply> {
    const { exchange, standing, policy } = question;
    if (policy.mode === 'bypass') {
      return pass(question, 'bypass');
    }
    const entries = cache.select(id, standing.partition, exchange.path);
    const chosen = chosenOf(entries, exchange.headers);
    const reuse = chosen && judge(chosen, exchange.headers, clock.now(), policy);
    if (chosen !== undefined && reuse !== undefined && standing.trusted) {
      if (reuse.fresh || (reuse.whileRevalidate && !link.away)) {
        const reply = await stored(question, chosen, reuse.fresh ? 'hit' : 'hit; detail=revalidating');
        if (reply !== undefined) {
          cache.touch(chosen);
          counters.add(reuse.fresh ? 'replica/hit' : 'replica/stale');
          if (!reuse.fresh) {
            behind(question, entries, chosen);
          }
          return reply;
        }
      }
    }
    if (onlyIfCached(exchange.headers)) {
      throw miss(service, 'nothing usable is stored, and only that was asked for');
    }
    if (link.away) {
      return away(question, chosen);
    }
    return ask(question, entries, chosen, reuse);
  }

  /** Offline: what is stored, however it is marked, as long as it is not too old. */
  async function away(question: Question, chosen: CacheEntry | undefined): Promise<Reply> {
    if (!question.standing.trusted) {
      throw untrusted();
    }
    if (chosen !== undefined && standsIn(question, chosen)) {
      const reply = await stored(question, chosen, 'hit; detail=offline');
      if (reply !== undefined) {
        counters.add('replica/stale');
        cache.touch(chosen);
        return reply;
      }
    }
    counters.add('replica/miss-offline');
    throw miss(service, 'the service cannot be reached and nothing usable is stored');
  }

  /** Whether an older answer may be served in place of one the service does not give now. */
  function standsIn({ exchange, policy, standing }: Question, chosen: CacheEntry): boolean {
    if (!standing.trusted) {
      return false;
    }
    const reuse = judge(chosen, exchange.headers, clock.now(), policy);
    if (policy.mode === 'replica' && link.away) {
      return clock.now() - chosen.responseTime <= policy.offline;
    }
    return reuse.onError && -reuse.ttl * 1000 <= policy.staleIfError;
  }

  /** Asks the service; an older answer stands in where it fails or is slow. */
  async function ask(
    question: Question,
    entries: readonly CacheEntry[],
    chosen: CacheEntry | undefined,
    reuse: Reuse | undefined,
  ): Promise<Reply> {
    const { exchange, policy } = question;
    const headOnly = exchange.method === 'HEAD' && (chosen === undefined || chosen.status === 206);
    if (headOnly) {
      return pass(question, 'uri-miss');
    }
    const key = flightKey(question);
    const joinedFlight = flights.get(key);
    const began = clock.now();
    const flight = joinedFlight ?? flights.launch(question, key, entries, chosen);
    const standIn = () => (chosen !== undefined && standsIn(question, chosen) ? chosen : undefined);

    if (standIn() !== undefined && (flight.late || link.state.at === 'suspect' || flights.isCool(key))) {
      if (joinedFlight === undefined) {
        flights.release(flight);
      }
      return standing(question, chosen as CacheEntry, flight.late ? 'slow' : 'suspect');
    }
    const outcome = await race(question, flight, standIn);
    if (outcome === 'slow') {
      flight.late = true;
      flights.cooled(key);
      if (joinedFlight === undefined) {
        flights.release(flight);
      }
      return standing(question, chosen as CacheEntry, link.away ? 'offline' : 'slow');
    }
    if (outcome === 'gone') {
      if (joinedFlight === undefined) {
        flights.release(flight);
      }
      if (flight.waiters === 0 && !flight.late) {
        flight.stop.abort(failed('aborted', 'nobody waits any more', true));
      }
      throw exchange.signal.reason;
    }
    if (outcome instanceof Error) {
      if (joinedFlight === undefined) {
        flights.release(flight);
      }
      const grace = AbortSignal.any([exchange.signal, delayed(policy.patience - (clock.now() - began))]);
      if (chosen !== undefined && standIn() === undefined) {
        await link.settled(grace);
      }
      flights.cooled(key);
      if (standIn() !== undefined) {
        return standing(question, chosen as CacheEntry, link.away ? 'offline' : failureOf(outcome));
      }
      throw unanswered(service, outcome);
    }
    return arrived(question, outcome, joinedFlight === undefined, chosen, reuse);
  }

  /** The service said something: to the one who asked, and to those who waited with it. */
  async function arrived(
    question: Question,
    landing: Landing,
    leads: boolean,
    chosen: CacheEntry | undefined,
    reuse: Reuse | undefined,
  ): Promise<Reply> {
    const { exchange, standing: who } = question;
    const why = forwardReason(exchange.headers, chosen, reuse);
    if (landing.at === 'stored') {
      const again = leads
        ? landing.entry
        : chosenOf(cache.select(id, who.partition, exchange.path), exchange.headers);
      const status = `kos; fwd=${why}; fwd-status=${landing.fwdStatus}; stored; ttl={ttl}${leads ? '' : '; collapsed'}`;
      const reply = again === undefined ? undefined : await stored(question, again, status, true);
      counters.add(landing.fwdStatus === 304 ? 'replica/confirmed' : 'replica/stored');
      return reply ?? pass(question, why);
    }
    if (!leads) {
      return landing.at === 'passing' && landing.taken !== undefined
        ? afterwards(question, landing.taken, why)
        : pass(question, why);
    }
    const { answer } = landing;
    if (landing.at === 'trouble' && chosen !== undefined && standsIn(question, chosen)) {
      answer.body.destroy();
      return standing(question, chosen, `status-${answer.status}`);
    }
    const taken = landing.at === 'passing' ? landing.taken : undefined;
    const status = `kos; fwd=${why}; fwd-status=${answer.status}${taken === undefined ? '' : '; stored'}`;
    counters.add('replica/passed');
    return {
      status: answer.status,
      statusMessage: answer.statusMessage,
      headers: forwarded(answer.headers, status),
      body: taken?.stream() ?? answer.body,
      trailers: answer.trailers,
      asOf: answer.requestTime,
    };
  }

  /** Waits with the others until the answer that one client sees already is whole and kept. */
  async function afterwards(question: Question, taken: Taken, why: string): Promise<Reply> {
    const { exchange, standing: who } = question;
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    exchange.signal.addEventListener('abort', () => resolve(), { once: true });
    const body = await Promise.race([taken.whole.catch(() => undefined), gone]);
    const entry = chosenOf(cache.select(id, who.partition, exchange.path), exchange.headers);
    const reply =
      body instanceof Uint8Array && entry !== undefined
        ? await stored(question, entry, `kos; fwd=${why}; stored; ttl={ttl}; collapsed`, true)
        : undefined;
    return reply ?? pass(question, why);
  }

  /** What is stored, in place of what the service does not say. */
  async function standing(question: Question, chosen: CacheEntry, detail: string): Promise<Reply> {
    counters.add('replica/stale');
    cache.touch(chosen);
    const reply = await stored(question, chosen, `hit; detail=${detail}`);
    if (reply === undefined) {
      throw miss(service, 'only another part of it is stored');
    }
    return reply;
  }

  /** An answer from the store; undefined where it holds another part, or its body has gone. */
  async function stored(
    { exchange, policy }: Question,
    entry: CacheEntry,
    status: string,
    whole = false,
  ): Promise<Reply | undefined> {
    const body = await entry.body();
    if (body === undefined) {
      return undefined;
    }
    const { age, ttl, fresh } = judge(entry, whole ? [] : exchange.headers, clock.now(), policy);
    const label = {
      state: fresh || whole ? ('fresh' as const) : ('stale' as const),
      asOf: entry.responseTime,
      age,
      ttl,
      status: whole ? status : `kos; ${status.replace(/^hit/, 'hit; ttl={ttl}')}`,
    };
    const reply = storedReply(exchange.method, exchange.headers, { ...entry, body }, label);
    return reply && { ...reply, asOf: entry.requestTime };
  }

  /** First of: the service's answer, the end of patience where something stands in, the client's leaving. */
  async function race(
    { exchange, policy }: Question,
    flight: Flight,
    standIn: () => CacheEntry | undefined,
  ): Promise<Landing | Error | 'slow' | 'gone'> {
    const { promise, resolve } = Promise.withResolvers<Landing | Error | 'slow' | 'gone'>();
    flight.waiters += 1;
    flight.landing.then(resolve, error => resolve(error as Error));
    const give = () => standIn() !== undefined && resolve('slow');
    // Half of it is left for a probe: two things that nobody answers are no accident.
    const ask = clock.after(policy.patience / 2, () => link.tell({ on: 'slow' }));
    const end = clock.after(policy.patience, give);
    // Without anything to give it is waited on: a slow answer is one, and the link hears of it.
    const watch = link.onChange(() => link.away && give());
    const leave = () => resolve('gone');
    exchange.signal.addEventListener('abort', leave, { once: true });
    try {
      return await promise;
    } finally {
      flight.waiters -= 1;
      ask();
      end();
      watch();
      exchange.signal.removeEventListener('abort', leave);
    }
  }

  /** Asks the service behind the client's back. */
  function behind(question: Question, entries: readonly CacheEntry[], chosen: CacheEntry): void {
    const key = flightKey(question);
    if (flights.get(key) === undefined) {
      flights.release(flights.launch(question, key, entries, chosen));
    }
  }

  /** Through to the service and back, with nothing kept. */
  async function pass(question: Question, why: string): Promise<Reply> {
    const { exchange, standing: who } = question;
    if (link.away) {
      throw who.trusted
        ? miss(service, 'the service cannot be reached, and nothing is stored of this')
        : untrusted();
    }
    counters.add('replica/passed');
    try {
      const answer = await origin.send(
        {
          method: exchange.method,
          path: exchange.path,
          headers: without(exchange.headers, 'expect'),
          ...(exchange.body !== undefined && { body: exchange.body }),
          ...(exchange.trailers !== undefined && { trailers: exchange.trailers }),
          client: exchange.client,
        },
        { signal: exchange.signal, onInformation: exchange.inform },
      );
      checkAnswer(service, answer, undefined);
      trust.learn(who, exchange.headers, answer.status);
      return {
        status: answer.status,
        statusMessage: answer.statusMessage,
        headers: forwarded(answer.headers, `kos; fwd=${why}; fwd-status=${answer.status}`),
        body: answer.body,
        trailers: answer.trailers,
        asOf: answer.requestTime,
      };
    } catch (error) {
      if (exchange.signal.aborted) {
        throw error;
      }
      flights.failed(error);
      throw unanswered(service, error);
    }
  }

  function delayed(delay: number): AbortSignal {
    const end = new AbortController();
    clock.after(Math.max(0, delay), () => end.abort());
    return end.signal;
  }

  return { answer };
}

/** Source: RFC 9211 §2.2. */
function forwardReason(headers: Fields, chosen: CacheEntry | undefined, reuse: Reuse | undefined): string {
  if (chosen === undefined || reuse === undefined) {
    return 'uri-miss';
  }
  return reuse.ttl <= 0 || chosen.invalid
    ? 'stale'
    : chosen.status === 206
      ? 'partial'
      : field(headers, 'cache-control')
        ? 'request'
        : 'stale';
}
