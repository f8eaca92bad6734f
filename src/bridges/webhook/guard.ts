import type { LookupAddress } from 'node:dns';
import { BlockList, isIP, isIPv6 } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import { embeddedIPv4, isPublicAddress } from '../../lib/public-address.ts';
import { networkOf } from './config.ts';

/** All addresses of a name, as `dns.lookup` gives them with `all`. */
export type Lookup = (
  hostname: string,
  callback: (error: NodeJS.ErrnoException | null, addresses: readonly LookupAddress[]) => void,
) => void;

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
  /** The `lookup` of a connection: it gives allowed addresses only, or fails with `detail.cause` `blocked`. */
  lookup(secure: boolean): (hostname: string, options: LookupOptions, callback: LookupCallback) => void;
}

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
  /** ms a check waits for a name. */
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

  async function addressesOf(hostname: string): Promise<readonly LookupAddress[] | undefined> {
    const family = isIP(hostname);
    if (family !== 0) {
      return [{ address: hostname, family }];
    }
    const { promise, resolve } = Promise.withResolvers<readonly LookupAddress[] | undefined>();
    const cancel = parts.clock.after(parts.patience, () => resolve(undefined));
    parts.lookup(hostname, (error, addresses) => resolve(error === null ? addresses : undefined));
    const found = await promise;
    cancel();
    return found;
  }

  return {
    refusal,
    async check(url) {
      const found = await addressesOf(hostOf(url));
      if (found === undefined) {
        return;
      }
      try {
        sift(found, url.protocol === 'https:');
      } catch (error) {
        const detail = (error as GatewayError).message;
        throw new GatewayError('request/forbidden', `/url: ${detail}`, {
          errors: [{ pointer: '/url', detail }],
        });
      }
    },
    lookup: secure => (hostname, options, callback) => {
      parts.lookup(hostname, (error, addresses) => {
        if (error !== null) {
          callback(error);
          return;
        }
        try {
          const good = sift(addresses, secure);
          if (options.all === true) {
            callback(null, good);
          } else {
            callback(null, good[0]?.address ?? '', good[0]?.family ?? 4);
          }
        } catch (refused) {
          callback(refused as Error);
        }
      });
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
