import { z } from 'zod';
import { assurances, latestTime, type Message, priorities } from '../gateway/message.ts';
import { canonicalJson } from '../lib/canonical-json.ts';
import { GatewayError } from '../lib/errors.ts';
import { isObject, parseJson } from './json.ts';
import { addressSchema, check, messageDraftSchema, messageIdSchema, timeSchema } from './schema.ts';

/**
 * A Message as a KLP envelope (Kind Link Protocol), for programs that speak it:
 *
 *     {protocol, id, type, from, to, timestamp, ttl, priority, payload, route, assurance, …}
 *
 * `timestamp` is `sentAt`, `timestamp + ttl` is `expiresAt`, both ms; `payload` holds what the message says; `route` is
 * `via`. Members that are not known here, such as `signature`, are kept with the message and given back as they came.
 */
export const klpType = 'application/vnd.klp+json';

const protocol = 'klp/1';

/** Where unknown members lie in `Message.native`: base64 of their canonical JSON. */
export const keptEnvelope = 'klp:envelope';
export const keptPayload = 'klp:payload';

const payloadMembers = [
  'text',
  'title',
  'data',
  'attachments',
  'inReplyTo',
  'thread',
  'correlation',
  'native',
  'author',
] as const;
const envelopeMembers: ReadonlySet<string> = new Set([
  'protocol',
  'id',
  'type',
  'from',
  'to',
  'timestamp',
  'ttl',
  'priority',
  'payload',
  'route',
  'assurance',
]);

const draft = messageDraftSchema.shape;
const payloadSchema = z.looseObject({
  text: draft.text,
  title: draft.title,
  data: draft.data,
  attachments: draft.attachments,
  inReplyTo: draft.inReplyTo,
  thread: draft.thread,
  correlation: draft.correlation,
  native: draft.native,
});
const envelopeShape = {
  protocol: z
    .string()
    .regex(/^klp\/1(?:\.[0-9]{1,4})?$/, `${protocol}, or a later one such as ${protocol}.1`)
    .exactOptional(),
  id: z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/, '1 to 255 printable ASCII characters')
    .exactOptional()
    .describe("the sender's own: stands for the Idempotency-Key where there is none"),
  from: addressSchema.exactOptional().describe('the caller itself, or nothing'),
  to: addressSchema,
  type: draft.type,
  timestamp: timeSchema.exactOptional().describe('ms since 1970'),
  ttl: z.int().min(1).max(latestTime).exactOptional().describe('ms from timestamp, or from now'),
  priority: draft.priority,
};
const envelopeSchema = z.looseObject({ ...envelopeShape, payload: payloadSchema.exactOptional() });

/** An envelope as a client may post it, for the document. */
export const klpDraftSchema = z
  .looseObject({
    ...envelopeShape,
    payload: z
      .union([z.string().max(256 * 1024), payloadSchema])
      .exactOptional()
      .describe('what is said: text, or an object with the members of a message; others are kept'),
  })
  .describe('members that are not known are kept')
  .meta({ id: 'KlpDraft' });

/** An envelope as the hub gives it. */
export const klpSchema = z
  .looseObject({
    protocol: z.literal(protocol),
    id: messageIdSchema,
    type: z.string(),
    from: z.string(),
    to: z.string(),
    timestamp: timeSchema.describe("ms since 1970 by the sender's clock"),
    ttl: z.int().min(0).describe('ms from timestamp'),
    priority: z.enum(priorities),
    payload: z.looseObject({ text: z.string().exactOptional(), title: z.string().exactOptional() }),
    route: z.array(z.string()).describe('identity hashes of the hubs it came through'),
    assurance: z.enum(assurances),
  })
  .meta({ id: 'KlpEnvelope' });

/** The envelope of a message. */
export function klpOf(message: Message): Readonly<Record<string, unknown>> {
  const { [keptEnvelope]: envelope, [keptPayload]: payload, ...native } = message.native ?? {};
  const said = { ...message, native: Object.keys(native).length === 0 ? undefined : native };
  return {
    ...keptOf(envelope, name => !envelopeMembers.has(name)),
    protocol,
    id: message.id,
    type: message.type,
    from: message.from,
    to: message.to,
    timestamp: message.sentAt,
    ttl: Math.max(0, message.expiresAt - message.sentAt),
    priority: message.priority,
    payload: {
      ...keptOf(payload, name => !isMember(name)),
      ...Object.fromEntries(
        payloadMembers.flatMap(name => (isSaid(name, said[name]) ? [[name, said[name]]] : [])),
      ),
    },
    route: message.via,
    assurance: message.assurance,
  };
}

/** An envelope in the one form that all writers agree on (RFC 8785). */
export function encodeKlp(message: Message): string {
  return canonicalJson(klpOf(message));
}

/**
 * The message that an envelope asks to be sent, and the key that its id is. Throws `request/invalid` with every mistake of
 * the envelope or of the message, `request/forbidden` for one from somebody else.
 */
export function draftOfKlp(
  value: unknown,
  self: string,
  now: number,
): {
  readonly draft: z.output<typeof messageDraftSchema>;
  readonly key?: string;
  /** The draft without what depends on when it was read, where that is so: by this a repeat is known. */
  readonly asked?: Readonly<Record<string, unknown>>;
} {
  const envelope = check(envelopeSchema, isObject(value) ? withPayload(value) : value);
  const { protocol: _, id, from, to, type, timestamp, ttl, priority, payload = {}, ...others } = envelope;
  if (from !== undefined && from !== self) {
    throw new GatewayError('request/forbidden', `/from: the token says who it is from, ${self}`);
  }
  const { route: _route, assurance: _assurance, ...rest } = others;
  const said = Object.entries(payload).filter(([name]) => isMember(name));
  const native = {
    ...payload.native,
    ...entry(keptEnvelope, rest),
    ...entry(keptPayload, Object.fromEntries(Object.entries(payload).filter(([name]) => !isMember(name)))),
  };
  const asked = {
    // Who spoke is the far room's to claim, not a client's.
    ...Object.fromEntries(said.filter(([name]) => name !== 'author' && name !== 'native')),
    to,
    ...(Object.keys(native).length > 0 && { native }),
    ...(type !== undefined && { type }),
    ...(priority !== undefined && { priority }),
    ...(timestamp !== undefined && { sentAt: timestamp }),
  };
  return {
    draft: check(messageDraftSchema, {
      ...asked,
      ...(ttl !== undefined && { expiresAt: Math.min((timestamp ?? now) + ttl, latestTime) }),
    }),
    ...(id !== undefined && { key: id }),
    ...(ttl !== undefined && timestamp === undefined && { asked: { ...asked, ttl } }),
  };
}

function isMember(name: string): boolean {
  return (payloadMembers as readonly string[]).includes(name);
}

function withPayload(envelope: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { payload } = envelope;
  if (typeof payload === 'string') {
    return { ...envelope, payload: { text: payload } };
  }
  return isObject(payload) && 'attachments' in payload
    ? { ...envelope, payload: { ...payload, attachments: withoutSizes(payload.attachments) } }
    : envelope;
}

/** Attachments as a message shows them are attachments as a draft names them, but for their sizes. */
function withoutSizes(attachments: unknown): unknown {
  return Array.isArray(attachments)
    ? attachments.map(one => {
        const { size: _, ...rest } = isObject(one) ? one : {};
        return isObject(one) ? rest : one;
      })
    : attachments;
}

function entry(name: string, members: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
  return Object.keys(members).length === 0
    ? {}
    : { [name]: Buffer.from(canonicalJson(members)).toString('base64') };
}

/** Unknown members that were kept; none where somebody wrote something else there. */
function keptOf(text: string | undefined, isFree: (name: string) => boolean): Record<string, unknown> {
  try {
    const value = parseJson(Buffer.from(text ?? '', 'base64').toString('utf8') || '{}');
    return isObject(value) ? Object.fromEntries(Object.entries(value).filter(([name]) => isFree(name))) : {};
  } catch {
    return {};
  }
}

/** A message always has a text and attachments, an envelope only where there are any. */
function isSaid(name: string, value: unknown): boolean {
  return name === 'text' || name === 'attachments'
    ? (value as { readonly length: number }).length > 0
    : value !== undefined;
}
