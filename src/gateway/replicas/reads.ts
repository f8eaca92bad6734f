import { GatewayError } from '../../lib/errors.ts';
import { captive, mediaType } from './captive.ts';
import type { Exchange, Reply } from './exchange.ts';
import { type Fields, field, joined, without } from './fields.ts';
import { forwarded } from './labels.ts';
import { failed, failureOf, isGrave, type OriginAnswer } from './origin.ts';
import type { ReadPolicy } from './policy.ts';
import { combine, partFields, partOf } from './rfc9111/range.ts';
import { judge, onlyIfCached, type Reuse } from './rfc9111/reuse.ts';
import { mayStore } from './rfc9111/storable.ts';
import { conditional, confirmedBy, sameStrongTag, unconditional, updated } from './rfc9111/validation.ts';
import { varyKey, varyNames } from './rfc9111/vary.ts';
import type { Service } from './service.ts';
import type { CacheEntry } from './store/cache.ts';
import type { EntryHead } from './store/cache-job.ts';
import { storedReply } from './stored-reply.ts';
import { type Taken, takeBody } from './taken.ts';
import { type Standing, type Trust, untrusted } from './trust.ts';
import { chosenOf } from './variants.ts';

/** The question of one client: what it asks, who it is, what holds for it. */
export interface Question {
  readonly exchange: Exchange;
  readonly standing: Standing;
  readonly policy: ReadPolicy;
}

/** What a request to the service for a stored answer came to. */
type Landing =
  /** It is in the store now; `status` is what the service said. */
  | { readonly at: 'stored'; readonly entry: CacheEntry; readonly fwdStatus: number }
  /** It is not to be kept, or a client is to see it before it is: it goes to the one who asked. */
  | { readonly at: 'passing'; readonly answer: OriginAnswer; readonly taken?: Taken }
  /** The service is in trouble. */
  | { readonly at: 'trouble'; readonly answer: OriginAnswer };

/** One request to the service that several clients may wait for. */
interface Flight {
  readonly landing: Promise<Landing>;
  /** Resolves when nothing of it is under way any more and the store has what it gets. */
  readonly over: Promise<void>;
  readonly stop: AbortController;
  /** Clients that wait for it now. */
  waiters: number;
  /** Somebody has waited for it as long as people wait: the others need not. */
  late: boolean;
}

/** Statuses for which an older answer stands in. Source: RFC 5861 §4. */
const trouble: ReadonlySet<number> = new Set([500, 502, 503, 504]);
/** ms that the next clients do not wait for an answer that failed to come in time, and how many are remembered. */
const coolFor = 10_000;
const mostCool = 1000;
const mostVariants = 16;

/** Answers the GET and HEAD requests of a service from what is stored, the service, or both. */
export interface Reads {
  answer(question: Question): Promise<Reply>;
}

export function createReads(service: Service, trust: Trust): Reads {
  const { definition, cache, clock, link, origin, counters, budget } = service;
  const { id } = definition;
  const { maxEntry } = definition.storage;
  const flights = new Map<string, Flight>();
  const cool = new Map<string, number>();

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
    if (chosen === undefined && isKnownAbsent(question)) {
      throw new GatewayError('request/not-found', 'offline, and not in the list, which is complete');
    }
    throw miss(service, 'the service cannot be reached and nothing usable is stored');
  }

  /** An item of a collection that is stored whole and does not have it. */
  function isKnownAbsent({ exchange, standing }: Question): boolean {
    const match = service.policies.resourceOf(exchange.path);
    if (match?.kind !== 'item' || !match.resource.complete) {
      return false;
    }
    const collection = exchange.path.split('?', 1)[0]?.replace(/\/[^/]*$/, '') ?? '';
    return cache.select(id, standing.partition, collection).some(({ status }) => status === 200);
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
    const flight = joinedFlight ?? launch(question, key, entries, chosen);
    const standIn = () => (chosen !== undefined && standsIn(question, chosen) ? chosen : undefined);

    if (standIn() !== undefined && (flight.late || link.state.at === 'suspect' || isCool(key))) {
      if (joinedFlight === undefined) {
        release(flight);
      }
      return standing(question, chosen as CacheEntry, flight.late ? 'slow' : 'suspect');
    }
    const outcome = await race(question, flight, standIn);
    if (outcome === 'slow') {
      flight.late = true;
      cooled(key);
      if (joinedFlight === undefined) {
        release(flight);
      }
      return standing(question, chosen as CacheEntry, link.away ? 'offline' : 'slow');
    }
    if (outcome === 'gone') {
      if (joinedFlight === undefined) {
        release(flight);
      }
      if (flight.waiters === 0 && !flight.late) {
        flight.stop.abort(failed('aborted', 'nobody waits any more', true));
      }
      throw exchange.signal.reason;
    }
    if (outcome instanceof Error) {
      if (joinedFlight === undefined) {
        release(flight);
      }
      const grace = AbortSignal.any([exchange.signal, delayed(policy.patience - (clock.now() - began))]);
      if (chosen !== undefined && standIn() === undefined) {
        await link.settled(grace);
      }
      cooled(key);
      if (standIn() !== undefined) {
        return standing(question, chosen as CacheEntry, link.away ? 'offline' : failureOf(outcome));
      }
      throw unanswered(service, outcome);
    }
    cool.delete(key);
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
    const watch = link.onChange(() => {
      if (link.away) {
        give();
        // Nothing stored, nobody there: waiting longer tells nothing more.
        resolve(failed('headers', link.state.reason ?? 'nobody answers', true));
      }
    });
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

  function launch(
    question: Question,
    key: string,
    entries: readonly CacheEntry[],
    chosen: CacheEntry | undefined,
  ): Flight {
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    const stop = new AbortController();
    const landing = fly(question, entries, chosen, stop.signal, end);
    const flight: Flight = { landing, over, stop, waiters: 0, late: false };
    flights.set(key, flight);
    landing.then(
      () => cool.delete(key),
      error => {
        tellFailure(error);
        end();
      },
    );
    void over.then(() => flights.delete(key));
    return flight;
  }

  /** A flight nobody waits for as its leader: what it lands with is dropped where it is not kept. */
  function release(flight: Flight): void {
    flight.landing.then(
      landing => {
        if (landing.at === 'passing') {
          const { taken, answer } = landing;
          if (taken === undefined) {
            answer.body.destroy();
          } else {
            taken.whole.then(
              body => body === undefined && taken.drop(),
              () => undefined,
            );
          }
        } else if (landing.at === 'trouble') {
          landing.answer.body.destroy();
        }
      },
      error => service.log.debug({ service: id, code: failureOf(error) }, 'not renewed'),
    );
  }

  /** Asks the service behind the client's back. */
  function behind(question: Question, entries: readonly CacheEntry[], chosen: CacheEntry): void {
    const key = flightKey(question);
    if (!flights.has(key)) {
      release(launch(question, key, entries, chosen));
    }
  }

  async function fly(
    question: Question,
    entries: readonly CacheEntry[],
    chosen: CacheEntry | undefined,
    signal: AbortSignal,
    end: () => void,
  ): Promise<Landing> {
    const { exchange, standing: who, policy } = question;
    const whole = entries.filter(({ status }) => status !== 206);
    const confirmable = chosen?.status === 206 ? undefined : chosen;
    // A copy here is worth more than one answer saved: without one the whole is asked for, and compared here.
    const plain = policy.mode === 'replica' && field(exchange.headers, 'range') === undefined;
    const bare = plain ? unconditional(exchange.headers) : exchange.headers;
    const headers =
      confirmable === undefined
        ? bare
        : without(
            conditional(
              exchange.headers,
              whole.map(each => each.headers),
              confirmable.headers,
            ),
            'range',
          );
    const request = {
      method: 'GET',
      path: exchange.path,
      headers: withoutOwn(headers),
      client: exchange.client,
    };
    const answer = await origin.send(request, { signal, onInformation: exchange.inform });
    checkService(answer, chosen);
    trust.learn(who, exchange.headers, answer.status);
    if (answer.status === 304 && confirmable !== undefined) {
      answer.body.resume();
      const at = confirmedBy(
        answer.headers,
        whole.map(each => each.headers),
        whole.indexOf(confirmable),
      );
      const entry = whole[at];
      if (entry !== undefined) {
        const head = headOf(
          question,
          exchange.path,
          entry.status,
          updated(entry.headers, answer.headers),
          answer,
        );
        const renewed = { ...head, vary: entry.vary, size: entry.size };
        cache.update(renewed);
        service.onStored(who.partition, exchange.path, answer.requestTime);
        end();
        return { at: 'stored', entry: { ...entry, ...renewed, body: entry.body }, fwdStatus: 304 };
      }
      // It speaks of nothing that is here: the whole is asked for.
      return fly(question, [], undefined, signal, end);
    }
    if (trouble.has(answer.status)) {
      answer.body.once('close', end);
      return { at: 'trouble', answer };
    }
    const rules = { shared: who.shared, replica: policy.mode === 'replica', override: policy.override };
    if (!mayStore(request.headers, answer.status, answer.headers, rules)) {
      // Whatever is said now is newer than what is stored.
      if (answer.status === 404 || answer.status === 410) {
        cache.remove(id, who.partition, exchange.path);
      }
      end();
      return { at: 'passing', answer };
    }
    const taken = takeBody(answer, maxEntry, budget);
    const kept = taken.whole.then(body => {
      if (body !== undefined) {
        return keep(question, entries, answer, body);
      }
      counters.add('replica/not-stored/too-large');
      return undefined;
    });
    kept.then(end, end);
    if (chosen === undefined) {
      kept.catch(error => tellFailure(error));
      return { at: 'passing', answer, taken };
    }
    // Somebody could be given the older one: nothing is shown before it is whole.
    const entry = await kept;
    return entry === undefined
      ? { at: 'passing', answer, taken }
      : { at: 'stored', entry, fwdStatus: answer.status };
  }

  /** Puts a whole answer into the store. */
  function keep(
    question: Question,
    entries: readonly CacheEntry[],
    answer: OriginAnswer,
    bytes: Uint8Array,
  ): CacheEntry | undefined {
    const { exchange, standing: who } = question;
    let { status, headers } = answer;
    let body = bytes;
    let part = status === 206 ? partOf(headers) : undefined;
    const length = field(headers, 'content-length');
    if ((length !== undefined && Number(length) !== body.length) || (status === 206 && part === undefined)) {
      return undefined;
    }
    if (part !== undefined) {
      const before = entries.find(
        each => each.status === 206 && sameStrongTag(field(each.headers, 'etag'), field(headers, 'etag')),
      );
      const old = before?.body();
      const oldPart = before && partOf(before.headers);
      if (old instanceof Uint8Array && oldPart !== undefined) {
        const both = combine({ part, bytes: body }, { part: oldPart, bytes: old });
        if (both !== undefined) {
          ({ bytes: body, part } = both);
        }
      }
      const complete = part.first === 0 && part.last === part.total - 1;
      status = complete ? 200 : 206;
      headers = complete
        ? [...without(headers, 'content-range', 'content-length'), ['Content-Length', String(body.length)]]
        : partFields(headers, part, part.total);
    }
    const head = headOf(question, exchange.path, status, headers, answer, part);
    if (entries.length >= mostVariants && !entries.some(({ vary }) => vary === head.vary)) {
      cache.remove(id, who.partition, exchange.path);
    }
    cache.put(head, body);
    service.onStored(who.partition, exchange.path, answer.requestTime);
    return { ...head, size: body.length, body: () => body };
  }

  function headOf(
    { exchange, standing: who, policy }: Question,
    path: string,
    status: number,
    headers: Fields,
    answer: OriginAnswer,
    part?: { readonly first: number; readonly total: number },
  ): EntryHead {
    return {
      service: id,
      partition: who.partition,
      path,
      vary: varyKey(varyNames(headers) ?? [], exchange.headers),
      status,
      headers,
      requestTime: answer.requestTime,
      responseTime: answer.responseTime,
      invalid: false,
      size: 0,
      ...(part !== undefined && { first: part.first, total: part.total }),
      pinned: policy.pin,
    };
  }

  /** Throws where the answer is not the service's. */
  function checkService(answer: OriginAnswer, chosen: CacheEntry | undefined): void {
    const { types } = definition.upstream.expect;
    const fake = captive(
      answer.status,
      answer.headers,
      { base: origin.base, ...(types && { types }) },
      chosen && mediaType(chosen.headers),
    );
    if (fake !== undefined) {
      answer.body.destroy();
      counters.add('replica/captive');
      throw failed('captive', `not itself: ${fake}`, true);
    }
    link.tell({ on: 'answer' });
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
          headers: withoutOwn(exchange.headers),
          ...(exchange.body !== undefined && { body: exchange.body }),
          ...(exchange.trailers !== undefined && { trailers: exchange.trailers }),
          client: exchange.client,
        },
        { signal: exchange.signal, onInformation: exchange.inform },
      );
      checkService(answer, undefined);
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
      tellFailure(error);
      throw unanswered(service, error);
    }
  }

  function tellFailure(error: unknown): void {
    const cause = failureOf(error);
    counters.add(`replica/failure/${cause}`);
    if (cause !== 'aborted' && cause !== 'busy') {
      link.tell({ on: 'failure', grave: isGrave(cause), reason: (error as Error).message });
    }
  }

  function isCool(key: string): boolean {
    const until = cool.get(key);
    return until !== undefined && clock.monotonic() < until;
  }

  function cooled(key: string): void {
    if (cool.size >= mostCool) {
      cool.clear();
    }
    cool.set(key, clock.monotonic() + coolFor);
  }

  function delayed(delay: number): AbortSignal {
    const end = new AbortController();
    clock.after(Math.max(0, delay), () => end.abort());
    return end.signal;
  }

  return { answer };
}

/** Requests with the same key get the same answer as far as anybody can tell before it comes. */
function flightKey({ exchange, standing }: Question): string {
  const { headers } = exchange;
  const said = ['accept', 'accept-language', 'accept-encoding', 'range', 'if-range'].map(
    name => joined(headers, name) ?? '',
  );
  // Until the service has taken them, credentials are not mixed with others that lead to the same partition.
  return JSON.stringify([standing.partition, standing.token, exchange.path, ...said]);
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

/** Conversations with this cache that are no business of the service. */
function withoutOwn(headers: Fields): Fields {
  return without(headers, 'expect');
}

/** There is no answer: 504, and when to come again. */
export function miss(service: Service, detail: string): GatewayError {
  const { state } = service.link;
  const why = service.link.away && state.reason !== undefined ? `${detail} (${state.reason})` : detail;
  return new GatewayError('replica/offline-miss', why, {
    retryable: true,
    detail: whenAgain(service, state),
  });
}

/** The service gave none: 502, or 504 where it was the time. */
export function unanswered(service: Service, error: unknown): GatewayError {
  const cause = failureOf(error);
  const status =
    cause === 'headers' || cause === 'connect' || cause === 'idle' ? 504 : cause === 'busy' ? 503 : 502;
  return new GatewayError('bridge/unavailable', (error as Error).message, {
    retryable: true,
    cause: error,
    detail: {
      ...whenAgain(service, service.link.state),
      status,
      cause,
      sent: (error as GatewayError).detail?.sent,
    },
  });
}

function whenAgain(
  { clock, definition }: Service,
  state: { readonly since: number; readonly nextProbeAt?: number },
): Record<string, unknown> {
  const wait = state.nextProbeAt === undefined ? 5000 : state.nextProbeAt - clock.now();
  return { retryAfter: Math.max(1, wait / 1000), service: definition.id, since: state.since };
}
