import { checkAnswer } from './captive.ts';
import type { Exchange } from './exchange.ts';
import { field, joined, without } from './fields.ts';
import { headOf, keepAnswer, lasting } from './keeping.ts';
import type { OriginAnswer } from './origin.ts';
import { failureOf, isGrave } from './origin-failure.ts';
import type { ReadPolicy } from './policy.ts';
import { mayStore } from './rfc9111/storable.ts';
import { conditional, confirmedBy, unconditional, updated } from './rfc9111/validation.ts';
import type { Service } from './service.ts';
import type { CacheEntry } from './store/cache-entry.ts';
import { type Taken, takeBody } from './taken.ts';
import type { Standing, Trust } from './trust.ts';

/** The question of one client: what it asks, who it is, what holds for it. */
export interface Question {
  readonly exchange: Exchange;
  readonly standing: Standing;
  readonly policy: ReadPolicy;
}

/** What a request to the service for a stored answer came to. */
export type Landing =
  /** It is in the store now; `status` is what the service said. */
  | { readonly at: 'stored'; readonly entry: CacheEntry; readonly fwdStatus: number }
  /** It is not to be kept, or a client is to see it before it is: it goes to the one who asked. */
  | { readonly at: 'passing'; readonly answer: OriginAnswer; readonly taken?: Taken }
  /** The service is in trouble. */
  | { readonly at: 'trouble'; readonly answer: OriginAnswer };

/** One request to the service that several clients may wait for. */
export interface Flight {
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

/** Requests under way to one service for answers that may be kept. */
export interface Flights {
  get(key: string): Flight | undefined;
  launch(
    question: Question,
    key: string,
    entries: readonly CacheEntry[],
    chosen: CacheEntry | undefined,
  ): Flight;
  /** A flight nobody waits for as its leader: what it lands with is dropped where it is not kept. */
  release(flight: Flight): void;
  /** Somebody waited in vain for this; `isCool` for a while. */
  cooled(key: string): void;
  isCool(key: string): boolean;
  /** A request failed: the link hears of it. */
  failed(error: unknown): void;
}

export function createFlights(service: Service, trust: Trust): Flights {
  const { definition, cache, clock, link, origin, counters, budget } = service;
  const { id } = definition;
  const { maxEntry } = definition.storage;
  const flights = new Map<string, Flight>();
  const cool = new Map<string, number>();

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
        failedWith(error);
        end();
      },
    );
    void over.then(() => flights.delete(key));
    return flight;
  }

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
      headers: without(headers, 'expect'),
      client: exchange.client,
    };
    const answer = await origin.send(request, { signal, onInformation: exchange.inform });
    checkAnswer(service, answer, chosen);
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
        const head = headOf(id, question, entry.status, updated(entry.headers, answer.headers), answer);
        const renewed = { ...head, vary: entry.vary, size: entry.size };
        cache.update(lasting(renewed, question));
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
        return keepAnswer(service, question, entries, answer, body);
      }
      counters.add('replica/not-stored/too-large');
      return undefined;
    });
    kept.then(end, end);
    if (chosen === undefined) {
      kept.catch(error => failedWith(error));
      return { at: 'passing', answer, taken };
    }
    // Somebody could be given the older one: nothing is shown before it is whole.
    const entry = await kept;
    return entry === undefined
      ? { at: 'passing', answer, taken }
      : { at: 'stored', entry, fwdStatus: answer.status };
  }

  function failedWith(error: unknown): void {
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

  return {
    get: key => flights.get(key),
    launch,
    release,
    cooled,
    isCool,
    failed: failedWith,
  };
}

/** Requests with the same key get the same answer as far as anybody can tell before it comes. */
export function flightKey({ exchange, standing }: Question): string {
  const { headers } = exchange;
  const said = ['accept', 'accept-language', 'accept-encoding', 'range', 'if-range'].map(
    name => joined(headers, name) ?? '',
  );
  // Until the service has taken them, credentials are not mixed with others that lead to the same partition.
  return JSON.stringify([standing.partition, standing.token, exchange.path, ...said]);
}
