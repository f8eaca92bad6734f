import { createHash } from 'node:crypto';
import { concat, equal, Reader, utf8 } from '../../lib/bytes.ts';

/** How far multicasts of discovery go; what is wider than the link needs routers that forward them. */
export const scopes = { link: '2', admin: '4', site: '5', organisation: '8', global: 'e' } as const;
export type Scope = keyof typeof scopes;

/** Whether the multicast address says that an authority has assigned it; none has. */
export const addressTypes = { permanent: '0', temporary: '1' } as const;
export type AddressType = keyof typeof addressTypes;

/** Who finds each other on a LAN: the same in all of it. */
export interface Group {
  /** Any text. */
  readonly name: string;
  readonly scope: Scope;
  readonly addressType: AddressType;
}

/** Bytes of a discovery token. */
export const tokenLength = 32;

/**
 * The IPv6 multicast address on which a group finds its members:
 *
 *     ff | address type 1 digit | scope 1 digit | 0 | bytes 2 to 13 of SHA-256(group), in six groups
 *
 * Source: RNS 1.5.7, AutoInterface; checked against it (test/vectors/lan.json).
 */
export function multicastAddress({ name, scope, addressType }: Group): string {
  const hash = sha256(utf8(name));
  const groups = [2, 4, 6, 8, 10, 12].map(at => (((hash[at] ?? 0) << 8) | (hash[at + 1] ?? 0)).toString(16));
  return `ff${addressTypes[addressType]}${scopes[scope]}:0:${groups.join(':')}`;
}

/**
 * What a member says of itself, every 1.6 s to the group and now and then to each peer, 32 B:
 *
 *     SHA-256(group ‖ own link-local address as text, without the adapter)
 *
 * It tells members from strangers, and nothing more: whoever knows the group's name can make it.
 *
 * Source: RNS 1.5.7, AutoInterface; checked against it (test/vectors/lan.json).
 */
export function tokenOf(group: string | Uint8Array, address: string): Uint8Array {
  return sha256(concat(typeof group === 'string' ? utf8(group) : group, utf8(address)));
}

/** The token in a discovery datagram; what follows it is not for us. Throws `wire/truncated`. */
export function decodeToken(datagram: Uint8Array): Uint8Array {
  return new Reader(datagram).take(tokenLength, 'discovery token');
}

/** Whether the token is what a member of the group at that address says. */
export function isTokenOf(token: Uint8Array, group: string, address: string): boolean {
  return equal(token, tokenOf(group, address));
}

function sha256(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest();
}
