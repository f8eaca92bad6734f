import { hash } from 'node:crypto';

/** 32 lower-case hex digits; see `messageId`. */
export type MessageId = string;

/** `lxmf:<32 hex>`, `mqtt:<topic>`, `matrix:…`, `app:<client>`, `room:<name>`, `kmesh:…`: a scheme, a colon and what that scheme calls its own. */
export type Address = string;

/** The origin's own stable id of a message, within its scheme. */
export type RemoteId = string;

export const priorities = ['critical', 'high', 'normal', 'bulk'] as const;
export type Priority = (typeof priorities)[number];

export const assurances = ['signed', 'hub', 'unverified'] as const;
/** Who vouches that `from` is true: a verified signature, this hub's authentication, or nobody. */
export type Assurance = (typeof assurances)[number];

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/** Bytes in `data`: a media type and base64, the form they have in JSON as well. */
export interface BinaryData {
  readonly mediaType: string;
  readonly base64: string;
}

/** A file that goes with a message; its bytes are in the blob store under `sha256`. */
export interface Attachment {
  readonly name: string;
  readonly mediaType: string;
  readonly size: number;
  /** 64 hex digits. */
  readonly sha256: string;
}

/** Who spoke, as somebody else says it. */
export interface Author {
  /** Fit to be shown: a line without control characters, at most 64 of them. */
  readonly name: string;
}

/** The one form of everything that crosses the switch. */
export interface Message {
  readonly id: MessageId;
  /** Dotted lower-case: `chat.message`, `chat.reaction`, `sensor.reading`, … Unknown types pass untouched. */
  readonly type: string;
  readonly from: Address;
  readonly to: Address;
  /** ms epoch by the sender's clock. */
  readonly sentAt: number;
  /** ms epoch by this hub's clock. */
  readonly acceptedAt: number;
  /** ms epoch after which it is of no use. */
  readonly expiresAt: number;
  readonly priority: Priority;
  /** What a person reads; empty if nothing. */
  readonly text: string;
  readonly title?: string;
  /** The machine part: a JSON value, or `BinaryData`. */
  readonly data?: JsonValue | BinaryData;
  readonly attachments: readonly Attachment[];
  readonly inReplyTo?: MessageId;
  readonly thread?: string;
  readonly correlation?: string;
  /** Identity hashes of the hubs it came through. */
  readonly via: readonly string[];
  readonly assurance: Assurance;
  /**
   * Who spoke, where `from` is a room of another hub that passes the message on. It is `from` that claims it, and
   * `assurance` says nothing about it: show it as such, and never as the sender.
   */
  readonly author?: Author;
  /**
   * What the origin's protocol carried that a Message has no member for, kept byte for byte and given
   * back when the message leaves by that protocol again: `lxmf:<field number>` → base64 of the msgpack value.
   */
  readonly native?: Readonly<Record<string, string>>;
}

/** Hubs that a message passes at most: one that has passed so many is told to nobody far away any more. */
export const mostHubs = 16;
/** ms epoch up to which a time that somebody else wrote is believed: the end of the year 9999. */
export const latestTime = 253_402_300_799_999;
/** ms a message is kept for at most, whatever its sender asks for. */
export const longestLifetime = 366 * 24 * 60 * 60 * 1000;
/** Without a word from the sender a message is of use for seven days. */
export const defaultLifetime = 7 * 24 * 60 * 60 * 1000;

/**
 * The id of a message: the first 16 bytes of SHA-256 over (scheme, 0x00, the origin's own stable id),
 * so that the same far message has the same id on every hub. For schemes local to a hub (`app`, `mqtt`) the
 * switch puts the hub's identity hash before it when it accepts the message; bridges do not. What nobody can say again, for
 * it was given no id of its own, has one in the order of time instead: see `orderedId`.
 */
export function messageId(scheme: string, remoteId: RemoteId): MessageId {
  return hash('sha256', `${scheme}\0${remoteId}`).slice(0, 32);
}

/** The scheme of an address: what stands before its first colon, empty if there is none. */
export function schemeOf(address: Address): string {
  const colon = address.indexOf(':');
  return colon < 0 ? '' : address.slice(0, colon);
}

/** What an address says after its scheme. */
export function nameOf(address: Address): string {
  return address.slice(address.indexOf(':') + 1);
}

/** Characters of a name that is shown. */
const longestShownName = 64;

/** A name from somewhere as it may be shown and announced: one line, without control characters or marks that turn the writing; undefined where nothing is left. */
export function shownName(name: string): string | undefined {
  const line = name
    .slice(0, 4 * longestShownName)
    .replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]|\p{Cs}/gu, '')
    .trim();
  const short = [...line].slice(0, longestShownName).join('').trim();
  return short === '' ? undefined : short;
}

/** Whether it is a time that can be stored and read back: whole ms, from 1970 to the end of the year 9999. */
export function isTime(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= latestTime;
}
