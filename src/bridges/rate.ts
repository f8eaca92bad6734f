import type { Client } from '../gateway/desk.ts';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { GatewayError } from '../lib/errors.ts';

/** How many in how many seconds: so many at once, and so many in each such time for long. */
export interface RatePolicy {
  readonly quota: number;
  /** s */
  readonly window: number;
}

/** What a client has left. */
export interface Bucket {
  readonly left: number;
  /** ms, monotonic */
  readonly at: number;
}

export type RateKind = 'requests' | 'sends';

export type RatePolicies = Readonly<Record<RateKind, RatePolicy | null>>;

/** Room for several bursts of a busy program: what is stopped is one that runs away. */
export const ratePolicies: RatePolicies = {
  requests: { quota: 30_000, window: 60 },
  sends: { quota: 15_000, window: 60 },
};

/** Takes one out of a bucket, which fills evenly. `wait` is s until there is one again. */
export function takeOne(
  bucket: Bucket | undefined,
  { quota, window }: RatePolicy,
  now: number,
): { readonly bucket: Bucket; readonly taken: boolean; readonly wait: number } {
  const perMs = quota / (window * 1000);
  const filled =
    bucket === undefined ? quota : Math.min(quota, bucket.left + Math.max(0, now - bucket.at) * perMs);
  const taken = filled >= 1;
  const left = taken ? filled - 1 : filled;
  return { bucket: { left, at: now }, taken, wait: left >= 1 ? 0 : (1 - left) / perMs / 1000 };
}

/** Clients remembered: there are never more in sensible use. */
const mostClients = 4096;

/** How much a client may ask for, over all windows that know it. */
export interface Rates {
  /** Takes one of each kind; the header fields that say what is left. Throws `request/rate-limited` with `detail.fields`. */
  charge(client: Client, remote: string, kinds: readonly RateKind[]): Readonly<Record<string, string>>;
}

/**
 * A bucket for each client and kind. The owner on this machine is not counted: nobody shuts himself out of his own hub.
 * Source: draft-ietf-httpapi-ratelimit-headers-11.
 */
export function createRates({
  clock,
  counters,
  policies = ratePolicies,
}: {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly policies?: RatePolicies;
}): Rates {
  const buckets = new Map<string, Bucket>();
  const nothing = {};
  const policyField = (kinds: readonly RateKind[]) =>
    kinds
      .flatMap(kind => {
        const policy = policies[kind];
        return policy === null ? [] : [`"${kind}";q=${policy.quota};w=${policy.window}`];
      })
      .join(', ');
  const told = { requests: policyField(['requests']), sends: policyField(['requests', 'sends']) };

  return {
    charge(client, remote, kinds) {
      if (client.name === 'owner' && isThisMachine(remote)) {
        return nothing;
      }
      const left: string[] = [];
      let refused: { readonly kind: RateKind; readonly wait: number } | undefined;
      for (const kind of kinds) {
        const policy = policies[kind];
        if (policy === null) {
          continue;
        }
        const name = `${kind} ${client.id}`;
        const { bucket, taken, wait } = takeOne(buckets.get(name), policy, clock.monotonic());
        buckets.set(name, bucket);
        if (buckets.size > mostClients) {
          buckets.delete(buckets.keys().next().value ?? '');
        }
        left.push(`"${kind}";r=${Math.floor(bucket.left)};t=${Math.max(1, Math.ceil(wait))}`);
        if (!taken) {
          refused ??= { kind, wait };
        }
      }
      if (left.length === 0) {
        return nothing;
      }
      const fields = {
        'ratelimit-policy': kinds.includes('sends') ? told.sends : told.requests,
        ratelimit: left.join(', '),
      };
      if (refused !== undefined) {
        counters.add(`rate/${refused.kind}`);
        const { quota = 0, window = 0 } = policies[refused.kind] ?? {};
        throw new GatewayError(
          'request/rate-limited',
          `more than ${quota} ${refused.kind} in ${window} s: slower`,
          { retryable: true, detail: { retryAfter: refused.wait, fields } },
        );
      }
      return fields;
    },
  };
}

/** The header fields that a refusal of `charge` carries; none of another error. */
export function fieldsOf(error: unknown): Readonly<Record<string, string>> {
  const fields = error instanceof GatewayError ? error.detail.fields : undefined;
  return (fields ?? {}) as Readonly<Record<string, string>>;
}

function isThisMachine(remote: string): boolean {
  return remote === '' || remote === '::1' || /^(?:::ffff:)?127\./.test(remote);
}
