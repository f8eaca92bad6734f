import {
  type BinaryData,
  type JsonValue,
  latestTime,
  mostHubs,
  type Priority,
  priorities,
} from '../../gateway/message.ts';
import { fromHex } from '../../lib/bytes.ts';
import { isGatewayError } from '../../lib/errors.ts';
import { decode, encode, Float, type MsgpackValue } from '../../lib/msgpack.ts';
import { fields } from '../../mesh/lxmf/fields.ts';
import type { LxmfFields } from '../../mesh/lxmf/message.ts';

/**
 * What of a Message LXMF has no field for, in LXMF's custom fields. Every key is left out where there
 * is nothing to say, and all three fields where no key is left.
 *
 *     custom type  "klp/1"
 *     custom data  map {type: text, data: any value}
 *     custom meta  map {priority, expires: ms epoch, correlation, thread, via: list of hashes 16, made: bool,
 *                       author: text, lead: int}
 *
 * `data` that is bytes with a media type is a map of exactly {mediaType: text, bytes: bin}.
 */
export interface KlpPart {
  readonly type?: string | undefined;
  readonly data?: JsonValue | BinaryData | undefined;
  readonly priority?: Priority | undefined;
  readonly expiresAt?: number | undefined;
  readonly correlation?: string | undefined;
  readonly thread?: string | undefined;
  readonly via?: readonly string[] | undefined;
  /** The content was made from the data for people with plain clients, and is nothing the sender wrote. */
  readonly madeText?: boolean | undefined;
  /** Who spoke, where the message leaves under another name: a room's, the hub's. */
  readonly author?: string | undefined;
  /** Bytes at the beginning of the content that were put there for plain clients: the author's name, a word about the kind. */
  readonly lead?: number | undefined;
}

const typeName = 'klp/1';
const maxDepth = 24;
const longestText = 256;
const hubShape = /^[0-9a-f]{32}$/;
const typeShape = /^[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+$/;

/** The custom fields of a part; none where it says nothing. */
export function encodeKlp(part: KlpPart): ReadonlyMap<number, Uint8Array> {
  const data = mapOf({ type: part.type, data: part.data === undefined ? undefined : toMsgpack(part.data) });
  const meta = mapOf({
    priority: part.priority,
    expires: part.expiresAt === undefined ? undefined : Math.round(part.expiresAt),
    correlation: part.correlation,
    thread: part.thread,
    via: part.via?.length ? part.via.filter(hub => hubShape.test(hub)).map(hub => fromHex(hub)) : undefined,
    made: part.madeText || undefined,
    author: part.author,
    lead: part.lead || undefined,
  });
  const made = new Map<number, Uint8Array>();
  if (data.size + meta.size > 0) {
    made.set(fields.customType, encode(typeName));
    made.set(fields.customData, encode(data));
    if (meta.size > 0) {
      made.set(fields.customMeta, encode(meta));
    }
  }
  return made;
}

/** The part in a message's custom fields; undefined where they hold something else, which is then not ours to read. */
export function decodeKlp(of: LxmfFields): KlpPart | undefined {
  try {
    if (textOf(value(of, fields.customType)) !== typeName) {
      return undefined;
    }
    const data = value(of, fields.customData) ?? new Map();
    const meta = value(of, fields.customMeta) ?? new Map();
    if (!(data instanceof Map) || !(meta instanceof Map)) {
      return undefined;
    }
    const type = textOf(data.get('type'));
    const body = data.get('data');
    return {
      type: type !== undefined && typeShape.test(type) ? type : undefined,
      data: body === undefined ? undefined : fromMsgpack(body),
      priority: priorities.find(priority => priority === meta.get('priority')),
      expiresAt: timeOf(meta.get('expires')),
      correlation: textOf(meta.get('correlation')),
      thread: textOf(meta.get('thread')),
      via: hubsOf(meta.get('via')),
      madeText: meta.get('made') === true,
      author: textOf(meta.get('author')),
      lead: lengthOf(meta.get('lead')),
    };
  } catch (error) {
    if (isGatewayError(error)) {
      return undefined;
    }
    throw error;
  }
}

/** Whether `data` is bytes with a media type rather than any JSON value. */
export function isBinary(data: JsonValue | BinaryData): data is BinaryData {
  return (
    typeof data === 'object' &&
    data !== null &&
    !Array.isArray(data) &&
    Object.keys(data).length === 2 &&
    'mediaType' in data &&
    'base64' in data &&
    typeof data.mediaType === 'string' &&
    typeof data.base64 === 'string'
  );
}

function toMsgpack(data: JsonValue | BinaryData): MsgpackValue {
  const bytes = isBinary(data) ? fromBase64(data.base64) : undefined;
  return bytes === undefined
    ? fromJson(data as JsonValue)
    : mapOf({ mediaType: (data as BinaryData).mediaType, bytes });
}

function fromMsgpack(data: MsgpackValue): JsonValue | BinaryData {
  if (data instanceof Map && data.size === 2) {
    const mediaType = data.get('mediaType');
    const bytes = data.get('bytes');
    if (typeof mediaType === 'string' && bytes instanceof Uint8Array) {
      return { mediaType, base64: bytes.toBase64() };
    }
  }
  return toJson(data);
}

function fromJson(json: JsonValue): MsgpackValue {
  if (typeof json !== 'object' || json === null) {
    return json;
  }
  if (Array.isArray(json)) {
    return json.map(fromJson);
  }
  return new Map(Object.entries(json).map(([key, item]) => [key, fromJson(item)]));
}

/** JSON of any msgpack value; what JSON cannot say becomes the nearest it can: bytes are base64. */
function toJson(data: MsgpackValue): JsonValue {
  if (data === null || typeof data === 'boolean' || typeof data === 'string') {
    return data;
  }
  if (typeof data === 'number' || typeof data === 'bigint') {
    return Number(data);
  }
  if (data instanceof Float) {
    return Number.isFinite(data.value) ? data.value : null;
  }
  if (data instanceof Uint8Array) {
    return data.toBase64();
  }
  if (Array.isArray(data)) {
    return data.map(toJson);
  }
  if (data instanceof Map) {
    return Object.fromEntries([...data].map(([key, item]) => [String(toJson(key)), toJson(item)]));
  }
  return null;
}

/** The bytes of a base64 text, or undefined where it is none. */
export function fromBase64(text: string): Uint8Array | undefined {
  try {
    return Uint8Array.fromBase64(text);
  } catch {
    return undefined;
  }
}

function mapOf(entries: Readonly<Record<string, MsgpackValue | undefined>>): Map<MsgpackValue, MsgpackValue> {
  const map = new Map<MsgpackValue, MsgpackValue>();
  for (const [key, item] of Object.entries(entries)) {
    if (item !== undefined) {
      map.set(key, item);
    }
  }
  return map;
}

function value(of: LxmfFields, number: number): MsgpackValue | undefined {
  const raw = of.get(number);
  return raw === undefined ? undefined : decode(raw, { maxDepth });
}

function textOf(item: MsgpackValue | undefined): string | undefined {
  if (typeof item === 'string') {
    return item.slice(0, longestText);
  }
  return item instanceof Uint8Array ? new TextDecoder().decode(item.subarray(0, longestText)) : undefined;
}

function lengthOf(item: MsgpackValue | undefined): number | undefined {
  return typeof item === 'number' && Number.isInteger(item) && item > 0 ? item : undefined;
}

/** ms epoch, whole; undefined for what no clock says. */
function timeOf(item: MsgpackValue | undefined): number | undefined {
  const number = item instanceof Float ? item.value : item;
  return typeof number === 'number' && number >= 1 && number <= latestTime ? Math.round(number) : undefined;
}

/** The first `mostHubs` of a list: a list that is full goes no further, whatever was behind. */
function hubsOf(item: MsgpackValue | undefined): readonly string[] | undefined {
  if (!Array.isArray(item)) {
    return undefined;
  }
  return item
    .slice(0, mostHubs)
    .flatMap(hub => (hub instanceof Uint8Array && hub.length === 16 ? [hub.toHex()] : []));
}
