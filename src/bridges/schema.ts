import { z } from 'zod';
import {
  type Conversation,
  type DeliveryItem,
  type DeliveryView,
  deliveryStates,
  eventKinds,
  type GatewayEvent,
  type MessageDraft,
  type MessageView,
  scopes,
} from '../gateway/desk.ts';
import {
  assurances,
  type BinaryData,
  type JsonValue,
  latestTime,
  type Message,
  priorities,
} from '../gateway/message.ts';
import { consents, type Peer, trusts } from '../gateway/society-contract.ts';
import { type FieldError, GatewayError } from '../lib/errors.ts';
import { deepestJson, escapePointer, isObject } from './json.ts';

/** Bytes of one attachment given inside a message; larger ones go by `POST /v1/blobs`. */
export const inlineAttachmentBytes = 256 * 1024;

const base64 = (bytes: number) =>
  z
    .base64({ error: 'base64 with padding' })
    .max(Math.ceil(bytes / 3) * 4, `at most ${bytes} bytes of base64`);

const addressShape =
  /^(?:(?:lxmf|webhook):[0-9a-f]{32}|app:[a-z0-9-]{1,32}|room:[a-z0-9][a-z0-9-]{0,31}|(?:mqtt|matrix|kmesh):[^\s\p{Cc}]+)$/u;
const addressLength = 512;
/** Fields that a message has no member for. */
const mostNative = 32;
/** Characters. */
const textLength = 256 * 1024;

export const addressSchema = z
  .string()
  .max(addressLength)
  .regex(addressShape, 'an address: lxmf:<32 hex digits>, app:<client name>, room:<name>, mqtt:<topic> …')
  .meta({
    id: 'Address',
    examples: ['lxmf:0123456789abcdef0123456789abcdef', 'app:notice-board', 'room:hub'],
  });

export const messageIdSchema = z
  .string()
  .regex(/^[0-9a-f]{32}$/, '32 lower-case hex digits')
  .meta({ id: 'MessageId' });

export const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/, '64 lower-case hex digits');

const typeSchema = z
  .string()
  .max(64)
  .regex(/^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/, 'dotted lower-case, such as chat.message');

export const timeSchema = z.int().min(0).max(latestTime).describe('ms since 1970');
/** The name of a file, without folders. */
export const fileName = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[^/\\\p{Cc}]+$/u, 'a file name without a path');
/** What a file is. */
export const mediaType = z
  .string()
  .max(127)
  .regex(
    /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:\s*;\s*[\w!#$&^.+-]+=(?:[\w!#$&^.+-]+|"[^"\p{Cc}]*"))*$/u,
    'a media type',
  );

const dataSchema: z.ZodType<JsonValue | BinaryData> = (z.unknown() as z.ZodType<JsonValue | BinaryData>)
  .refine(value => isShallow(value, deepestJson), `nested more than ${deepestJson} deep`)
  .refine(value => !looksBinary(value) || z.base64().safeParse(value.base64).success, 'base64 with padding')
  .describe('any JSON value; bytes as {mediaType, base64}');

const draftAttachment = z.union(
  [
    z.strictObject({ name: fileName, mediaType: mediaType.exactOptional(), sha256: sha256Schema }),
    z.strictObject({
      name: fileName,
      mediaType: mediaType.exactOptional(),
      base64: base64(inlineAttachmentBytes),
    }),
  ],
  {
    error: `{name, mediaType?, sha256} of a blob, or {name, mediaType?, base64} of up to ${inlineAttachmentBytes} bytes`,
  },
);

/**
 * What a client may say of a message it sends: the body of `POST /v1/messages`, of `{op:"send"}` and,
 * without `to`, of `mesh/{destination}/tx`. Strict: `from` and everything else the hub decides is refused.
 */
export const messageDraftSchema = z
  .strictObject({
    to: addressSchema,
    type: typeSchema.exactOptional().describe('default chat.message'),
    text: z.string().max(textLength).exactOptional().describe('what a person reads'),
    title: z.string().max(1_000).exactOptional(),
    data: dataSchema.exactOptional(),
    attachments: z.array(draftAttachment).max(32).exactOptional(),
    inReplyTo: messageIdSchema.exactOptional(),
    thread: z.string().min(1).max(255).exactOptional(),
    correlation: z
      .string()
      .min(1)
      .max(255)
      .exactOptional()
      .describe('given back with every change of a delivery'),
    priority: z.enum(priorities).exactOptional().describe('default normal'),
    expiresAt: timeSchema.exactOptional().describe('ms since 1970; default seven days from now'),
    sentAt: timeSchema.exactOptional().describe("ms since 1970 by the sender's own clock; default now"),
    native: z
      .preprocess(
        // Before each of them is looked at: a body may have two hundred thousand.
        (value, { addIssue }) => {
          if (!isObject(value) || Object.keys(value).length <= mostNative) {
            return value;
          }
          addIssue(`at most ${mostNative} fields`);
          return z.NEVER;
        },
        z.record(
          z
            .string()
            .regex(
              /^(?:lxmf:[0-9]{1,3}|klp:(?:envelope|payload))$/,
              'lxmf:<field number>, klp:envelope or klp:payload',
            ),
          base64(64 * 1024),
        ),
      )
      .exactOptional()
      .describe(
        'what a message has no member for: LXMF fields as base64 of the msgpack value, members of KLP envelopes as base64 of JSON',
      ),
  })
  .meta({ id: 'MessageDraft' });

/**
 * A draft of an address and words alone, as most are, checked as `messageDraftSchema` does and sooner. Undefined for all others,
 * right or wrong.
 */
export function plainDraft(value: unknown): MessageDraft | undefined {
  if (!isObject(value) || Object.keys(value).some(key => key !== 'to' && key !== 'text')) {
    return undefined;
  }
  const { to, text } = value;
  return typeof to === 'string' &&
    to.length <= addressLength &&
    addressShape.test(to) &&
    (typeof text === 'string' ? text.length <= textLength : !('text' in value))
    ? (value as unknown as MessageDraft)
    : undefined;
}

const attachmentSchema = z
  .looseObject({ name: z.string(), mediaType: z.string(), size: z.int(), sha256: sha256Schema })
  .meta({ id: 'Attachment' });

const messageShape = {
  id: messageIdSchema,
  type: z.string(),
  from: z.string(),
  to: z.string(),
  sentAt: timeSchema.describe("ms since 1970 by the sender's clock"),
  acceptedAt: timeSchema.describe("ms since 1970 by this hub's clock"),
  expiresAt: timeSchema,
  priority: z.enum(priorities),
  text: z.string().describe('what a person reads; empty if nothing'),
  title: z.string().exactOptional(),
  data: z.unknown().exactOptional().describe('any JSON value; bytes as {mediaType, base64}'),
  attachments: z.array(attachmentSchema),
  inReplyTo: messageIdSchema.exactOptional(),
  thread: z.string().exactOptional(),
  correlation: z.string().exactOptional(),
  via: z.array(z.string()).describe('identity hashes of the hubs it came through'),
  assurance: z.enum(assurances).describe('who vouches for from: a signature, this hub, nobody'),
  author: z
    .looseObject({ name: z.string() })
    .exactOptional()
    .describe('who spoke, where from is a room of another hub: what that room claims, vouched for by nobody'),
  native: z.record(z.string(), z.string()).exactOptional(),
};

export const messageSchema = z.looseObject(messageShape).meta({ id: 'Message' });

const deliveryShape = {
  id: z.string(),
  to: z.string(),
  bridge: z.string(),
  state: z.enum(deliveryStates),
  reason: z.string().exactOptional().describe('why it waits or failed, for people'),
  code: z.string().exactOptional(),
  attempts: z.int().min(0),
  nextAt: timeSchema.exactOptional(),
  history: z.array(
    z.looseObject({ state: z.enum(deliveryStates), at: timeSchema, reason: z.string().exactOptional() }),
  ),
};

export const deliverySchema = z.looseObject(deliveryShape).meta({ id: 'Delivery' });

export const messageViewSchema = z
  .looseObject({ ...messageShape, deliveries: z.array(deliverySchema) })
  .meta({ id: 'MessageWithDeliveries' });

const briefShape = {
  id: messageIdSchema,
  type: z.string(),
  from: z.string(),
  to: z.string(),
  text: z.string().describe('its first 240 characters'),
  acceptedAt: timeSchema,
  expiresAt: timeSchema,
  priority: z.enum(priorities),
  attachments: z.int().min(0).describe('how many'),
};

const briefSchema = z.looseObject(briefShape).meta({ id: 'MessageBrief' });

export const conversationSchema = z
  .looseObject({ address: z.string(), name: z.string().exactOptional(), last: briefSchema })
  .meta({ id: 'Conversation' });

export const deliveryItemSchema = z
  .looseObject({ ...deliveryShape, message: briefSchema })
  .meta({ id: 'DeliveryWithMessage' });

export const peerSchema = z
  .looseObject({
    address: z.string(),
    name: z.string().exactOptional(),
    heardName: z.string().exactOptional().describe('the name that was heard, where the owner has another'),
    lastSeen: timeSchema.exactOptional().describe('absent where it was never heard'),
    hops: z.int().min(0).exactOptional(),
    trust: z.enum(trusts).exactOptional().describe('what the owner thinks of it'),
    consent: z.enum(consents).exactOptional().describe('what it has said of getting what is said in rooms'),
    blocked: z.literal(true).exactOptional().describe('nothing is taken from it and nothing goes to it'),
    avatar: z
      .looseObject({ icon: z.string(), foreground: z.string(), background: z.string() })
      .exactOptional()
      .describe(
        'what it looks like, as its own messages say: a symbol of Material Design Icons, two colours',
      ),
  })
  .meta({ id: 'Peer' });

export const serviceSchema = z
  .looseObject({
    name: z.string(),
    state: z.enum(['starting', 'up', 'waiting', 'stopped']),
    since: timeSchema,
    reason: z.string().exactOptional(),
    code: z.string().exactOptional(),
    bugs: z.int().min(0),
  })
  .meta({ id: 'Service' });

export const failureSchema = z.looseObject({ name: z.string(), reason: z.string(), since: timeSchema });

export const healthSchema = z
  .looseObject({
    ready: z.boolean(),
    services: z.array(serviceSchema),
    queued: z.int().min(0).describe('deliveries not yet at an end'),
    failures: z.array(failureSchema),
  })
  .meta({ id: 'Health' });

const eventDeliverySchema = z.looseObject({
  ...deliveryShape,
  message: messageIdSchema,
  correlation: z.string().exactOptional(),
});

/** One event as SSE and WebSocket show it. */
export const eventSchema = z
  .looseObject({
    cursor: z.string(),
    at: timeSchema,
    kind: z.enum(eventKinds),
    message: messageSchema.exactOptional(),
    delivery: eventDeliverySchema.exactOptional(),
    peer: peerSchema.exactOptional(),
    room: z.looseObject({ name: z.string() }).exactOptional().describe('as it is now, or {name, gone: true}'),
    route: z.unknown().exactOptional().describe('as it is now, or {id, gone: true}'),
    interface: serviceSchema.exactOptional(),
    path: z.unknown().exactOptional(),
    link: z.unknown().exactOptional(),
    health: healthSchema.exactOptional(),
  })
  .meta({ id: 'Event' });

export const scopeSchema = z.enum(scopes);

/** The value as the schema gives it. Throws `request/invalid` with every mistake in `errors`. */
export function check<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const { value: checked, errors } = mistakesOf(schema, value);
  if (errors.length > 0) {
    throw invalid(errors);
  }
  return checked as z.output<S>;
}

/** The `request/invalid` that tells these mistakes, in its message and one by one. */
export function invalid(errors: readonly FieldError[]): GatewayError {
  const words = errors.map(({ pointer, detail }) => `${pointer === '' ? 'the body' : pointer}: ${detail}`);
  return new GatewayError('request/invalid', words.join('; ').slice(0, 500), { errors });
}

/** What a time that is over by this hub's clock is answered with: the same request may have been good a while ago. */
export function inThePast(member: string): GatewayError {
  const detail = 'lies in the past; it is meant in milliseconds since 1970';
  return new GatewayError('request/conflict', `${member}: ${detail}`, {
    errors: [{ pointer: `/${member}`, detail }],
  });
}

/** The parsed value and every mistake in it; pointers begin with `at`. For callers that check several parts at once. */
export function mistakesOf<S extends z.ZodType>(
  schema: S,
  value: unknown,
  at = '',
): { readonly value?: z.output<S>; readonly errors: readonly FieldError[] } {
  const result = schema.safeParse(value);
  return result.success
    ? { value: result.data, errors: [] }
    : { errors: result.error.issues.flatMap(issue => fieldErrors(issue, at)).slice(0, mostMistakes) };
}

/** More mistakes than a person reads; a body of a million wrong members must not be answered with a million lines. */
const mostMistakes = 50;

function fieldErrors(issue: z.core.$ZodIssue, at: string): FieldError[] {
  const pointer = [at, ...issue.path.map(step => escapePointer(String(step)))].join('/');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.slice(0, mostMistakes).map(key => ({
      pointer: `${pointer}/${escapePointer(key.slice(0, 100))}`,
      detail: 'not known here',
    }));
  }
  return [{ pointer, detail: issue.message }];
}

/** A message as JSON shows it: the members of the schema in its order, and nothing a store may have put beside them. */
export function messageJson(message: Message): Message {
  return {
    ...pick(message, messageShape),
    attachments: message.attachments.map(attachment => pick(attachment, attachmentSchema.shape)),
  };
}

/** A delivery as JSON shows it. */
export function deliveryJson(delivery: DeliveryView): DeliveryView {
  return pick(delivery, deliveryShape);
}

/** A message with its deliveries. */
export function messageViewJson(view: MessageView): MessageView {
  return { ...messageJson(view), deliveries: view.deliveries.map(deliveryJson) };
}

/** The text of the same, where the JSON of the message is there already, its members as the schema has them. */
export function messageViewText(json: string, { deliveries }: Pick<MessageView, 'deliveries'>): string {
  return `${json.slice(0, -1)},"deliveries":${JSON.stringify(deliveries.map(deliveryJson))}}`;
}

/** A delivery with what it is of. */
export function deliveryItemJson(item: DeliveryItem): DeliveryItem {
  return { ...pick(item, deliveryShape), message: pick(item.message, briefShape) };
}

/** A conversation as JSON shows it. */
export function conversationJson(one: Conversation): Conversation {
  return { ...pick(one, conversationSchema.shape), last: pick(one.last, briefShape) };
}

/** A peer of the Directory as JSON shows it. */
export function peerJson(peer: Peer): Peer {
  return pick(peer, peerSchema.shape);
}

/** An event as SSE and WebSocket show it. */
export function eventJson(event: GatewayEvent): GatewayEvent {
  return {
    ...pick(event, eventSchema.shape),
    ...(event.message && { message: messageJson(event.message) }),
    ...(event.delivery && { delivery: pick(event.delivery, eventDeliverySchema.shape) }),
    ...(event.peer && { peer: peerJson(event.peer) }),
  };
}

/** The members of `source` that `shape` names and that are there. */
function pick<T extends object>(source: T, shape: Readonly<Record<string, unknown>>): T {
  const result: Record<string, unknown> = {};
  for (const key of Object.keys(shape)) {
    const value = source[key as keyof T];
    if (value !== undefined) {
      result[key] = value;
    }
  }
  return result as T;
}

function looksBinary(value: unknown): value is { mediaType: string; base64: string } {
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.keys(value).length === 2 &&
    'base64' in value &&
    'mediaType' in value &&
    typeof value.base64 === 'string' &&
    typeof value.mediaType === 'string'
  );
}

function isShallow(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) {
    return true;
  }
  return levels > 0 && Object.values(value).every(member => isShallow(member, levels - 1));
}
