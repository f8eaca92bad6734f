import type { Incoming } from '../../gateway/bridge.ts';
import { defaultLimits } from '../../gateway/limits.ts';
import { type BinaryData, type JsonValue, latestTime, shownName } from '../../gateway/message.ts';
import type { Avatar } from '../../gateway/society-contract.ts';
import { isGatewayError } from '../../lib/errors.ts';
import { decode, type MsgpackValue } from '../../lib/msgpack.ts';
import { fields, relationKeys } from '../../mesh/lxmf/fields.ts';
import type { LxmfFields, LxmfMessage } from '../../mesh/lxmf/message.ts';
import { decodeKlp, type KlpPart } from './klp.ts';
import { audioOf, fileName, imageOf, mediaTypeOf } from './media.ts';
import { type Native, toNative } from './native.ts';

/** A file that came in a message, before its bytes are in the blob store. */
export interface IncomingFile {
  readonly name: string;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** The message another one answers or reacts to, by its LXMF id (64 hex), and the field that says so. */
export interface Relation {
  readonly id: string;
  readonly field: number;
}

/** What a Message can take of an LXMF message; the bridge adds addresses, blobs and resolved relations. */
export interface Reading
  extends Pick<
    Incoming,
    'type' | 'text' | 'title' | 'data' | 'thread' | 'correlation' | 'priority' | 'author'
  > {
  readonly files: readonly IncomingFile[];
  readonly relation?: Relation;
  /** ms epoch; undefined where the sender's clock says nothing sensible. */
  readonly sentAt?: number;
  readonly expiresAt?: number;
  readonly via?: readonly string[];
  readonly native?: Native;
  /** What the sender looks like; kept as its field, too. */
  readonly avatar?: Avatar;
}

/** Files taken of one message: what the switch takes by default. */
const mostFiles = defaultLimits.attachments;
const maxDepth = 8;
const messageIdLength = 32;
const longestThread = 64;

/** Reads every field that has a place in a Message; the rest, and what does not have its field's shape, stays native. */
export function readMessage(message: LxmfMessage): Reading {
  const read = new Set<number | string>();
  const take = <T>(field: number, shape: (value: MsgpackValue) => T | undefined): T | undefined => {
    const taken = readField(message.fields, field, shape);
    if (taken !== undefined) {
      read.add(field);
    }
    return taken;
  };
  const klp = decodeKlp(message.fields);
  if (klp !== undefined) {
    for (const field of [fields.customType, fields.customData, fields.customMeta]) {
      read.add(field);
    }
  }
  const image = take(fields.image, imageFile);
  const audio = take(fields.audio, audioFile);
  const listed = take(fields.attachments, fileList);
  const shown = [...(image ?? []), ...(audio ?? [])];
  const files = [...(listed?.files.slice(0, mostFiles - shown.length) ?? []), ...shown];
  const leftOut = (listed?.count ?? 0) + shown.length - files.length;
  const reaction = take(fields.reaction, reactionOf);
  const replyTo = take(fields.replyTo, idOf);
  const quote =
    klp?.data === undefined && reaction === undefined ? take(fields.replyQuote, textOf) : undefined;
  const thread = take(fields.thread, threadOf) ?? klp?.thread;
  const content = noted(klp?.madeText ? '' : lossyText(afterLead(message.content, klp)), leftOut);
  const title = lossyText(message.title);
  const avatar = readField(message.fields, fields.icon, avatarOf);
  const author = klp?.author === undefined ? undefined : shownName(klp.author);
  return {
    ...body(content, klp, reaction?.content, quote),
    ...(title === '' ? {} : { title }),
    files,
    ...relation(reaction?.id, replyTo),
    ...(thread === undefined ? {} : { thread }),
    ...(klp?.correlation === undefined ? {} : { correlation: klp.correlation }),
    ...(klp?.priority === undefined ? {} : { priority: klp.priority }),
    ...(klp?.expiresAt === undefined ? {} : { expiresAt: klp.expiresAt }),
    ...(klp?.via === undefined ? {} : { via: klp.via }),
    ...(author === undefined ? {} : { author: { name: author } }),
    ...sentAt(message.timestamp),
    ...(avatar === undefined ? {} : { avatar }),
    ...native(message.fields, read),
  };
}

/** A reaction reads as its own text where the sender wrote none; `data` always has it. */
function body(
  content: string,
  klp: KlpPart | undefined,
  reaction: string | undefined,
  quote: string | undefined,
): { type: string; text: string; data?: JsonValue | BinaryData } {
  if (reaction !== undefined) {
    return {
      type: 'chat.reaction',
      text: content === '' ? reaction : content,
      data: klp?.data === undefined ? { reaction } : klp.data,
    };
  }
  const quoted = quote === undefined ? undefined : { quote };
  const data = klp?.data === undefined ? quoted : klp.data;
  return { type: klp?.type ?? 'chat.message', text: content, ...(data === undefined ? {} : { data }) };
}

/** The content without what another hub put before it for plain clients; all of it where that cannot be. */
function afterLead(content: Uint8Array, klp: KlpPart | undefined): Uint8Array {
  const lead = klp?.lead ?? 0;
  const begins = content[lead];
  const whole = lead === content.length || (begins !== undefined && (begins & 0xc0) !== 0x80);
  return whole ? content.subarray(lead) : content;
}

/** The text with a line of ours about files that were not taken. */
function noted(text: string, leftOut: number): string {
  if (leftOut <= 0) {
    return text;
  }
  const note = `(${leftOut} more ${leftOut === 1 ? 'file was' : 'files were'} left out)`;
  return text === '' ? note : `${text}\n${note}`;
}

function relation(reaction: string | undefined, replyTo: string | undefined): { relation?: Relation } {
  if (reaction !== undefined) {
    return { relation: { id: reaction, field: fields.reaction } };
  }
  return replyTo === undefined ? {} : { relation: { id: replyTo, field: fields.replyTo } };
}

function sentAt(timestamp: number): { sentAt?: number } {
  const at = Math.round(timestamp * 1000);
  return at > 0 && at <= latestTime ? { sentAt: at } : {};
}

function native(of: LxmfFields, read: ReadonlySet<number | string>): { native?: Native } {
  const kept = toNative(of, read);
  return kept === undefined ? {} : { native: kept };
}

function readField<T>(
  of: LxmfFields,
  field: number,
  shape: (value: MsgpackValue) => T | undefined,
): T | undefined {
  const raw = of.get(field);
  if (raw === undefined) {
    return undefined;
  }
  try {
    return shape(decode(raw, { maxDepth }));
  } catch (error) {
    if (isGatewayError(error)) {
      return undefined;
    }
    throw error;
  }
}

/** The first files of a list, and how many it holds: the rest is not looked at. */
function fileList(value: MsgpackValue): { files: IncomingFile[]; count: number } | undefined {
  if (!Array.isArray(value)) {
    return undefined;
  }
  const files: IncomingFile[] = [];
  for (const item of value.slice(0, mostFiles)) {
    const [name, bytes] = Array.isArray(item) ? item : [];
    const text = name === undefined ? undefined : textOf(name);
    if (text === undefined || !(bytes instanceof Uint8Array)) {
      return undefined;
    }
    const shown = fileName(text);
    files.push({ name: shown, mediaType: mediaTypeOf(shown), bytes });
  }
  return { files, count: value.length };
}

function imageFile(value: MsgpackValue): [IncomingFile] | undefined {
  const [type, bytes] = Array.isArray(value) ? value : [];
  const text = type === undefined ? undefined : textOf(type);
  return text !== undefined && bytes instanceof Uint8Array ? [{ ...imageOf(text), bytes }] : undefined;
}

function audioFile(value: MsgpackValue): [IncomingFile] | undefined {
  const [mode, bytes] = Array.isArray(value) ? value : [];
  const known = typeof mode === 'number' && mode >= 0 && mode <= 0xff;
  return known && bytes instanceof Uint8Array ? [{ ...audioOf(mode), bytes }] : undefined;
}

function reactionOf(value: MsgpackValue): { id: string; content: string } | undefined {
  if (!(value instanceof Map)) {
    return undefined;
  }
  const id = idOf(value.get(relationKeys.message) ?? null);
  const content = textOf(value.get(relationKeys.content) ?? null);
  return id === undefined || content === undefined ? undefined : { id, content };
}

/** Symbol, foreground and background: a name of Material Design Icons, and three bytes of colour each. */
function avatarOf(value: MsgpackValue): Avatar | undefined {
  const [name, foreground, background] = Array.isArray(value) ? value : [];
  const icon = name === undefined ? undefined : textOf(name);
  const isIcon = icon !== undefined && /^[a-z0-9-]{1,64}$/.test(icon);
  return isIcon && isColour(foreground) && isColour(background)
    ? { icon, foreground: `#${foreground.toHex()}`, background: `#${background.toHex()}` }
    : undefined;
}

function isColour(value: MsgpackValue | undefined): value is Uint8Array {
  return value instanceof Uint8Array && value.length === 3;
}

function idOf(value: MsgpackValue): string | undefined {
  return value instanceof Uint8Array && value.length === messageIdLength ? value.toHex() : undefined;
}

function threadOf(value: MsgpackValue): string | undefined {
  const fits = value instanceof Uint8Array && value.length > 0 && value.length <= longestThread;
  return fits ? value.toHex() : undefined;
}

function textOf(value: MsgpackValue): string | undefined {
  return value instanceof Uint8Array ? lossyText(value) : typeof value === 'string' ? value : undefined;
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Text of bytes that ought to be UTF-8; what is not becomes U+FFFD. */
function lossyText(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
