import type { LookupAddress } from 'node:dns';
import { BlockList, isIP, isIPv6 } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Lookup } from '../../lib/names.ts';
import { embeddedIPv4, isPublicAddress } from '../../lib/public-address.ts';
import { networkOf } from './config.ts';

/**
 * Decides where webhooks may go. What a name leads to is looked up once for a connection, judged, and is what is
 * connected to: between the two the name cannot come to mean something else.
 */
export interface Guard {
  /** Why this address may not be called; undefined where it may. */
  refusal(address: string, secure: boolean): string | undefined;
  /**
   * Throws `request/forbidden` (pointer `/url`) for a URL that can be known now not to be allowed. A name that cannot be
   * looked up now passes: each attempt asks again.
   */
  check(url: URL): Promise<void>;
  /** What a URL's name leads to now, whether or not it may be called; why not, where it leads nowhere. */
  find(url: URL): Promise<Found>;
  /**
   * The `lookup` of a connection: it gives allowed addresses only, of those that were found before or else of a name that is
   * looked up, or fails with `detail.cause` `blocked`.
   */
  lookup(
    secure: boolean,
    found?: readonly LookupAddress[],
  ): (hostname: string, options: LookupOptions, callback: LookupCallback) => void;
}

export type Found =
  | { readonly addresses: readonly LookupAddress[] }
  | { readonly error: NodeJS.ErrnoException };

interface LookupOptions {
  readonly all?: boolean;
}
type LookupCallback = (
  error: Error | null,
  address?: string | readonly LookupAddress[],
  family?: number,
) => void;

export interface GuardParts {
  readonly clock: Clock;
  readonly lookup: Lookup;
  readonly allowPrivate: readonly string[];
  /** ms a name is waited for. */
  readonly patience: number;
}

/** What is no machine's address, whatever the configuration allows: it would be many machines, or this one by another name. */
const nobodys = new BlockList();
nobodys.addSubnet('0.0.0.0', 8, 'ipv4');
nobodys.addSubnet('224.0.0.0', 4, 'ipv4');
nobodys.addAddress('255.255.255.255', 'ipv4');
nobodys.addAddress('::', 'ipv6');
nobodys.addSubnet('ff00::', 8, 'ipv6');

export function createGuard(parts: GuardParts): Guard {
  const allowed = new BlockList();
  for (const text of parts.allowPrivate) {
    const network = networkOf(text);
    if (network !== undefined) {
      allowed.addSubnet(network.address, network.bits, network.family);
    }
  }

  function refusal(address: string, secure: boolean): string | undefined {
    const bare = address.replace(/%.*$/, '');
    const plain = isIPv6(bare) ? (embeddedIPv4(bare) ?? bare) : bare;
    const family = isIPv6(plain) ? 'ipv6' : 'ipv4';
    if (nobodys.check(plain, family)) {
      return `${plain} is no address of one machine`;
    }
    if (allowed.check(plain, family)) {
      return undefined;
    }
    const line = `allowPrivate: ['${plain}/${family === 'ipv4' ? 32 : 128}']`;
    if (!isPublicAddress(plain)) {
      return `${plain} is not an address of the public internet; to allow it, the configuration needs it under bridges.webhook, ${line}`;
    }
    return secure
      ? undefined
      : `http goes to networks of bridges.webhook.allowPrivate only, and ${plain} is in none of them; use https`;
  }

  /** The allowed among the addresses; throws where there is none, with the first one's reason. */
  function sift(addresses: readonly LookupAddress[], secure: boolean): readonly LookupAddress[] {
    const good = addresses.filter(({ address }) => refusal(address, secure) === undefined);
    if (good.length === 0) {
      const [first] = addresses;
      const reason =
        first === undefined ? 'its name leads nowhere' : (refusal(first.address, secure) ?? 'not allowed');
      throw new GatewayError('bridge/unavailable', reason, { detail: { cause: 'blocked' } });
    }
    return good;
  }

  /** Resolves once, in time, whatever the lookup does. */
  async function lookUp(hostname: string): Promise<Found> {
    const { promise, resolve } = Promise.withResolvers<Found>();
    const cancel = parts.clock.after(parts.patience, () =>
      resolve({ error: Object.assign(new Error('no answer in time'), { code: 'EAI_AGAIN' }) }),
    );
    parts.lookup(hostname, (error, addresses) => resolve(error === null ? { addresses } : { error }));
    const found = await promise;
    cancel();
    return found;
  }

  async function find(url: URL): Promise<Found> {
    const hostname = hostOf(url);
    const family = isIP(hostname);
    return family === 0 ? await lookUp(hostname) : { addresses: [{ address: hostname, family }] };
  }

  return {
    refusal,
    async check(url) {
      const found = await find(url);
      if ('error' in found) {
        return;
      }
      try {
        sift(found.addresses, url.protocol === 'https:');
      } catch (error) {
        const detail = (error as GatewayError).message;
        throw new GatewayError('request/forbidden', `/url: ${detail}`, {
          errors: [{ pointer: '/url', detail }],
        });
      }
    },
    find,
    lookup: (secure, before) => (hostname, options, callback) => {
      const take = (found: Found) => {
        if ('error' in found) {
          callback(found.error);
          return;
        }
        try {
          const good = sift(found.addresses, secure);
          if (options.all === true) {
            callback(null, good);
          } else {
            callback(null, good[0]?.address ?? '', good[0]?.family ?? 4);
          }
        } catch (refused) {
          callback(refused as Error);
        }
      };
      if (before === undefined) {
        void lookUp(hostname).then(take);
      } else {
        setImmediate(() => take({ addresses: before }));
      }
    },
  };
}

/** The name or address of a URL, an IPv6 one without brackets. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

/** A URL of an endpoint; throws `wire/unsupported` (pointer `/url`) where the text is none. */
export function endpointUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    const detail = 'not a URL that can be called: its host or its port is none';
    throw new GatewayError('wire/unsupported', `/url: ${detail}`, { errors: [{ pointer: '/url', detail }] });
  }
  return url;
}
