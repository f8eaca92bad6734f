import { toHex, utf8 } from '../../lib/bytes.ts';
import type { DiscoveredInterface } from './discovered.ts';
import { sha256 } from './packet.ts';
import { isOutOfReach, isPrivateAddress } from './reachable-on.ts';

/** What a node connects to by itself. */
export interface AutoconnectPolicy {
  /** Also nodes whose implementation is not among those known to work. */
  readonly unverified: boolean;
  /** Also addresses of private networks, which whoever announces them may know of behind our own walls. */
  readonly privateAddresses: boolean;
}

/** Implementations that are known to work, each from a version on. Source of the first: the rules of RNS 1.5.7. */
const verified: readonly { readonly name: string; readonly from: readonly number[] }[] = [
  { name: 'RNS', from: [1, 5, 2] },
  { name: 'kOS', from: [0, 1] },
];

/** Why a discovered interface is not connected to by itself; undefined where it may be. Source: the rules of RNS 1.5.7, which has none for private networks. */
export function refusalOf({ notice }: DiscoveredInterface, policy: AutoconnectPolicy): string | undefined {
  const { type, transport, implementation, version, reachableOn, port } = notice;
  if (type !== 'BackboneInterface' || reachableOn === undefined || port === undefined) {
    return `a ${type} is not connected to by itself`;
  }
  if (!transport) {
    return 'its node passes on nothing for others';
  }
  if (isOutOfReach(reachableOn)) {
    return `${reachableOn} is out of reach, or this machine itself`;
  }
  if (!policy.privateAddresses && isPrivateAddress(reachableOn)) {
    return `${reachableOn} is an address of a private network`;
  }
  if (policy.unverified) {
    return undefined;
  }
  const known = verified.find(({ name }) => name === implementation);
  const numbers = version === undefined ? undefined : versionOf(version);
  if (known === undefined || numbers === undefined || isBefore(numbers, known.from)) {
    return `${implementation ?? 'an unknown implementation'} ${version ?? ''} is not verified`;
  }
  return undefined;
}

/** Tells one place to connect to from another: hex of 32 B. */
export function endpointKey({ notice }: Pick<DiscoveredInterface, 'notice'>): string {
  const { reachableOn = '', port } = notice;
  return toHex(sha256(utf8(port === undefined ? reachableOn : `${reachableOn}:${port}`)));
}

/** The numbers a version begins with; undefined without any. */
export function versionOf(text: string): number[] | undefined {
  const numbers: number[] = [];
  for (const part of text.trim().split('.')) {
    const digits = /^\d{1,9}/.exec(part)?.[0];
    if (digits === undefined) {
      break;
    }
    numbers.push(Number(digits));
  }
  return numbers.length === 0 ? undefined : numbers;
}

function isBefore(a: readonly number[], b: readonly number[]): boolean {
  for (let at = 0; at < Math.max(a.length, b.length); at++) {
    const [left, right] = [a[at] ?? -1, b[at] ?? -1];
    if (left !== right) {
      return left < right;
    }
  }
  return false;
}
