import { createHash } from 'node:crypto';
import { type Address, nameOf, schemeOf } from '../../gateway/message.ts';

/** What every user and alias of this bridge begins with, after its sigil. */
export const prefix = '_kos_';
/** The bot: whoever manages rooms and answers commands. */
export const botLocalpart = `${prefix}bot`;
/** A user whose standing long poll notices that the homeserver is gone: the bot itself cannot sync. */
export const watchLocalpart = `${prefix}watch`;

const longest = 255;

/** What a `matrix:` address names: a person, a room, or a room by its alias. */
export type Target =
  | { readonly kind: 'person'; readonly user: string }
  | { readonly kind: 'room'; readonly room: string }
  | { readonly kind: 'alias'; readonly alias: string };

/** The target of an address; undefined where it is none that can exist. */
export function targetOf(address: Address): Target | undefined {
  const name = nameOf(address);
  if (schemeOf(address) !== 'matrix' || Buffer.byteLength(name) > longest) {
    return undefined;
  }
  if (/^@[!-9;-~]+:[A-Za-z0-9.[\]:-]+$/.test(name)) {
    return { kind: 'person', user: name };
  }
  if (/^![!-~]+$/.test(name)) {
    return { kind: 'room', room: name };
  }
  return /^#[^\s\p{Cc}]+:[A-Za-z0-9.[\]:-]+$/u.test(name) ? { kind: 'alias', alias: name } : undefined;
}

/**
 * The localpart of an address's ghost: 32 hex digits of an LXMF destination hash, or of the SHA-256 of any other
 * address. Always legal, always the same.
 */
export function ghostOf(address: Address): string {
  const hash = schemeOf(address) === 'lxmf' ? nameOf(address) : '';
  return prefix + (/^[0-9a-f]{32}$/.test(hash) ? hash : digest(address));
}

/** The LXMF address that a ghost's localpart stands for where nothing else is known of it. */
export function lxmfOf(localpart: string): Address | undefined {
  const hash = /^_kos_([0-9a-f]{32})$/.exec(localpart)?.[1];
  return hash === undefined ? undefined : `lxmf:${hash}`;
}

/** Localpart of the alias of a configured room. */
export function portalAlias(room: string): string {
  return prefix + room;
}

/** The room of the configuration that an alias's localpart stands for. */
export function roomOfAlias(localpart: string): string | undefined {
  return /^_kos_([a-z0-9][a-z0-9-]{0,31})$/.exec(localpart)?.[1];
}

/** Localpart of the alias by which a direct chat is found again, so that making it twice makes one. */
export function directAlias(ghost: string, person: string): string {
  return `${prefix}dm_${digest(`${ghost} ${person}`)}`;
}

/** `@local:server` → `['local', 'server']`; the same for aliases. */
export function splitId(id: string): readonly [local: string, server: string] {
  const colon = id.indexOf(':');
  return colon < 0 ? [id.slice(1), ''] : [id.slice(1, colon), id.slice(colon + 1)];
}

/** A transaction id that only these parts give: what a homeserver tells repeats by. */
export function transactionId(...parts: readonly (string | number)[]): string {
  return `kos${digest(parts.join('\0'))}`;
}

/** 32 hex digits of SHA-256. */
export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}

/** Whether a user matches one of the patterns, in which `*` stands for anything. */
export function matchesAny(user: string, patterns: readonly string[]): boolean {
  return patterns.some(pattern =>
    new RegExp(`^${pattern.split('*').map(RegExp.escape).join('.*')}$`, 'su').test(user),
  );
}
