import { GatewayError } from '../../lib/errors.ts';
import { captive } from './captive.ts';
import type { Fields } from './fields.ts';
import { without } from './fields.ts';
import { failureOf, isGrave } from './origin-failure.ts';
import { unconditional } from './rfc9111/validation.ts';
import type { Service } from './service.ts';

/** Whose replica a request is about, and whether the service has taken these credentials. */
export interface Standing {
  readonly partition: string;
  /** Hash of the credentials; undefined where there are none. */
  readonly token?: string;
  /** The service took them, lately enough to be served what is stored. Without credentials always true. */
  readonly trusted: boolean;
  /** Several people read this partition. */
  readonly shared: boolean;
}

/** Tokens and the partitions they open. */
export interface Trust {
  /** Where a claim speaks for a token not seen before, the service is asked first. */
  standing(headers: Fields): Promise<Standing>;
  /** The service answered a request with these credentials. */
  learn(standing: Standing, headers: Fields, status: number): void;
  /** The same of a request that was made later than it was asked for. */
  learnLater(headers: Fields, status: number): void;
}

/** ms between two notes that a token is still good; and after a proof that failed, until it is tried again. */
const noteEvery = 10 * 60_000;
/** ms between two notes to the queue that a token known before is good, and how many tokens are remembered for it. */
const tellEvery = 60_000;
const mostTold = 1000;
const refusedFor = 60_000;
const mostRefused = 1000;
/** ms that a client with a new token waits for the service to vouch for it. */
const proofTimeout = 3000;

export function createTrust(service: Service): Trust {
  const { definition, cache, clock, origin, link } = service;
  const { identity } = definition;
  const proving = new Map<string, Promise<boolean>>();
  const refused = new Map<string, number>();
  const told = new Map<string, number>();

  /** A write may wait for just this token: refused before, or known since before a restart. */
  function tell(token: string, partition: string, headers: Fields): void {
    const now = clock.monotonic();
    if (now < (told.get(token) ?? 0)) {
      return;
    }
    if (told.size >= mostTold) {
      told.clear();
    }
    told.set(token, now + tellEvery);
    service.onCredentials(partition, headers);
  }

  const isTrusted = (goodAt: number | undefined) =>
    goodAt !== undefined &&
    identity.offlineAuth === 'last-good' &&
    clock.now() - goodAt <= identity.offlineAuthFor;

  async function prove(hash: string, headers: Fields): Promise<boolean> {
    const path = identity.subject?.proof ?? '/';
    const until = refused.get(hash) ?? 0;
    if (link.away || clock.monotonic() < until) {
      return false;
    }
    try {
      const answer = await origin.send(
        {
          method: 'GET',
          path,
          headers: without(unconditional(headers), 'range', 'expect', 'content-length', 'content-type'),
        },
        { headersTimeout: proofTimeout },
      );
      answer.body.destroy();
      const { types } = definition.upstream.expect;
      const fake = captive(answer.status, answer.headers, { base: origin.base, ...(types && { types }) });
      const good = fake === undefined && answer.status >= 200 && answer.status < 300;
      if (!good && refused.size < mostRefused) {
        refused.set(hash, clock.monotonic() + refusedFor);
      }
      return good;
    } catch (error) {
      const cause = failureOf(error);
      link.tell({ on: 'failure', grave: isGrave(cause), reason: (error as Error).message });
      return false;
    }
  }

  const trust: Trust = {
    async standing(headers) {
      const asker = service.askerOf(headers);
      if (!asker.credentials) {
        return { partition: asker.hash, trusted: true, shared: true };
      }
      const { hash, claimed } = asker;
      const known = cache.token(definition.id, hash);
      if (known !== undefined) {
        return { partition: known.partition, token: hash, trusted: isTrusted(known.goodAt), shared: false };
      }
      if (claimed !== undefined) {
        const proof = proving.getOrInsertComputed(hash, () =>
          prove(hash, headers).finally(() => proving.delete(hash)),
        );
        if (await proof) {
          cache.setToken(definition.id, hash, { partition: claimed, goodAt: clock.now() });
          service.onCredentials(claimed, headers);
          return { partition: claimed, token: hash, trusted: isTrusted(clock.now()), shared: false };
        }
      }
      return { partition: hash, token: hash, trusted: false, shared: false };
    },
    learn(standing, headers, status) {
      const { token, partition } = standing;
      if (token === undefined) {
        return;
      }
      const known = cache.token(definition.id, token);
      if (status === 401) {
        if (known !== undefined) {
          cache.setToken(definition.id, token, { partition, goodAt: 0 });
        }
        return;
      }
      if (status === 403 || status >= 500) {
        return;
      }
      // A claim is believed by its proof alone: a page open to everybody would answer a forged one as well.
      if (known === undefined && service.askerOf(headers).claimed !== undefined) {
        return;
      }
      const now = clock.now();
      if (known === undefined || now - known.goodAt > noteEvery) {
        cache.setToken(definition.id, token, { partition, goodAt: now });
      }
      if (known === undefined) {
        service.onCredentials(partition, headers);
      } else if (status >= 200 && status < 300) {
        tell(token, partition, headers);
      }
    },
    learnLater(headers, status) {
      const { credentials, hash } = service.askerOf(headers);
      if (credentials) {
        const partition = cache.token(definition.id, hash)?.partition ?? hash;
        trust.learn({ partition, token: hash, trusted: false, shared: false }, headers, status);
      }
    },
  };
  return trust;
}

/** Credentials that the service is not known to have taken, while it cannot be asked. */
export function untrusted(): GatewayError {
  return new GatewayError(
    'request/unauthenticated',
    'offline, and the service has not taken these credentials before',
  );
}
