import { toHex } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import { decode, encode, Float, type MsgpackValue } from '../../lib/msgpack.ts';
import { hashLength } from './packet.ts';

/**
 * A list of blackholed Identities, as it is published, answered and stored:
 *
 *     { identity hash 16: { "source": identity hash 16, "until": s epoch or nil, "reason": text or nil }, … }
 *
 * `source` says who put the Identity on a list first; it is a claim of whoever gives the list.
 *
 * Source: RNS 1.5.7, seen by exchanging lists with it (test/interop/management.test.ts).
 */
export interface Blackholed {
  /** 16 B. */
  readonly identityHash: Uint8Array;
  /** 16 B: who put it on a list first. */
  readonly origin: Uint8Array;
  /** ms epoch from which it is heard again; undefined for never. */
  readonly until: number | undefined;
  /** At most 256 characters. */
  readonly reason: string | undefined;
}

/** Identities on one list. */
export const blackholedMost = 10_000;
/** Characters of a reason. */
export const reasonLongest = 256;
/** Bytes of a list that is looked at: four times what a full one of ours takes. */
export const blackholeListLongest = 4 * 1024 * 1024;

/** The list as a msgpack value. */
export function blackholeListValue(entries: Iterable<Blackholed>): MsgpackValue {
  const list = new Map<MsgpackValue, MsgpackValue>();
  for (const { identityHash, origin, until, reason } of entries) {
    list.set(
      identityHash,
      new Map<MsgpackValue, MsgpackValue>([
        ['source', origin],
        ['until', until === undefined ? null : new Float(until / 1000)],
        ['reason', reason ?? null],
      ]),
    );
  }
  return list;
}

/** Fresh bytes of a list. */
export function encodeBlackholeList(entries: Iterable<Blackholed>): Uint8Array {
  return encode(blackholeListValue(entries));
}

/** What bytes hold; see `readBlackholeList`. Throws `wire/*`. */
export function decodeBlackholeList(bytes: Uint8Array, origin: Uint8Array): Blackholed[] {
  const limits = { maxDepth: 4, maxBytes: blackholeListLongest };
  return readBlackholeList(decode(bytes, limits), origin);
}

/**
 * The entries of a list that was answered by `origin` (16 B), who stands for those without a source. What is
 * under a key that is no identity hash is left out, as is all beyond 10,000; a reason that is too long is cut.
 * The bytes are copies. Throws `wire/malformed` for what is no list.
 */
export function readBlackholeList(value: MsgpackValue, origin: Uint8Array): Blackholed[] {
  if (!(value instanceof Map)) {
    throw new GatewayError('wire/malformed', 'a blackhole list is a map');
  }
  const entries = new Map<string, Blackholed>();
  for (const [key, facts] of value as ReadonlyMap<MsgpackValue, MsgpackValue>) {
    if (!(key instanceof Uint8Array) || key.length !== hashLength || entries.size >= blackholedMost) {
      continue;
    }
    const of = facts instanceof Map ? (facts as ReadonlyMap<MsgpackValue, MsgpackValue>) : nothing;
    const source = of.get('source');
    const reason = of.get('reason');
    entries.set(toHex(key), {
      identityHash: new Uint8Array(key),
      origin: new Uint8Array(source instanceof Uint8Array && source.length === hashLength ? source : origin),
      until: timeOf(of.get('until')),
      reason: typeof reason === 'string' && reason !== '' ? shortened(reason) : undefined,
    });
  }
  return [...entries.values()];
}

const nothing: ReadonlyMap<MsgpackValue, MsgpackValue> = new Map();

/** ms epoch of a time in s; undefined where there is none, or one that never comes. */
function timeOf(value: MsgpackValue | undefined): number | undefined {
  const seconds = value instanceof Float ? value.value : typeof value === 'bigint' ? Number(value) : value;
  if (typeof seconds !== 'number' || !Number.isFinite(seconds)) {
    return undefined;
  }
  const time = Math.round(seconds * 1000);
  return Number.isSafeInteger(time) ? time : undefined;
}

function shortened(text: string): string {
  return text.length <= reasonLongest ? text : text.slice(0, reasonLongest).toWellFormed();
}
