import { z } from 'zod';
import type { GatewayEvent, MessageView } from '../../gateway/desk.ts';
import type { Message } from '../../gateway/message.ts';
import { filterSchema } from '../event-filter.ts';
import { parseJson } from '../json.ts';
import { klpDraftSchema, klpOf } from '../klp.ts';
import { type Problem, problemOf } from '../problems.ts';
import { check, eventJson, messageDraftSchema, messageViewJson } from '../schema.ts';

const idSchema = z.string().regex(/^[\x21-\x7e]{1,255}$/, '1 to 255 printable ASCII characters');
const cursorSchema = z.string().max(64);

/** What a client may say, by `op`. */
export const clientFrames = {
  hello: z.strictObject({
    op: z.literal('hello'),
    token: z.string().min(1).max(512).exactOptional(),
    after: cursorSchema.exactOptional(),
    form: z
      .enum(['json', 'klp'])
      .exactOptional()
      .describe('klp: messages come as KLP envelopes on this socket'),
  }),
  subscribe: z.strictObject({
    op: z.literal('subscribe'),
    id: idSchema,
    filter: filterSchema.exactOptional().describe('none, or an empty one: all events'),
  }),
  unsubscribe: z.strictObject({ op: z.literal('unsubscribe'), id: idSchema }),
  send: z
    .strictObject({
      op: z.literal('send'),
      id: idSchema.describe('the idempotency key'),
      message: messageDraftSchema.exactOptional(),
      envelope: klpDraftSchema.exactOptional().describe('instead of message'),
    })
    .refine(({ message, envelope }) => (message === undefined) !== (envelope === undefined), {
      error: 'a message or an envelope',
    })
    .meta({ oneOf: [{ required: ['message'] }, { required: ['envelope'] }] }),
  seen: z.strictObject({ op: z.literal('seen'), cursor: cursorSchema.min(1) }),
} as const;

const clientFrameSchema = z.discriminatedUnion(
  'op',
  [
    clientFrames.hello,
    clientFrames.subscribe,
    clientFrames.unsubscribe,
    clientFrames.send,
    clientFrames.seen,
  ],
  { error: `one of ${Object.keys(clientFrames).join(', ')}` },
);

/** What a client may say. */
export type ClientFrame = z.output<typeof clientFrameSchema>;

/** How messages are shown on a socket. */
export type Form = NonNullable<Extract<ClientFrame, { readonly op: 'hello' }>['form']>;

type Envelope = Readonly<Record<string, unknown>>;

/** What the hub says. */
export type HubFrame =
  | { readonly op: 'hello'; readonly hub: string; readonly cursor: string; readonly client: string }
  | {
      readonly op: 'subscribed';
      readonly id: string;
      readonly cursor: string;
      readonly replaced?: true;
    }
  | { readonly op: 'unsubscribed'; readonly id: string; readonly cursor: string }
  | {
      readonly op: 'ack';
      readonly id: string;
      readonly message: MessageView | Envelope;
      readonly replayed?: true;
    }
  | ({ readonly op: 'event' } & Omit<GatewayEvent, 'message'> & { readonly message?: Message | Envelope })
  | ErrorFrame;

export interface ErrorFrame {
  readonly op: 'error';
  readonly id?: string;
  readonly problem: Problem;
}

/** A text frame as a client meant it. Throws `request/invalid` with every mistake. */
export function decodeFrame(text: string): ClientFrame {
  return check(clientFrameSchema, parseJson(text));
}

/** The `id` of a frame that is otherwise wrong, so that its sender knows which one. */
export function idOf(text: string): string | undefined {
  try {
    const { id } = (JSON.parse(text) ?? {}) as { id?: unknown };
    return typeof id === 'string' ? id.slice(0, 255) : undefined;
  } catch {
    return undefined;
  }
}

export function ackFrame(id: string, message: MessageView, repeated: boolean, form: Form = 'json'): HubFrame {
  const shown = form === 'klp' ? klpOf(messageViewJson(message)) : messageViewJson(message);
  return { op: 'ack', id, message: shown, ...(repeated && { replayed: true }) };
}

function eventFrame(event: GatewayEvent, form: Form): HubFrame {
  const frame = eventJson(event);
  return {
    op: 'event',
    ...frame,
    ...(form === 'klp' && frame.message !== undefined && { message: klpOf(frame.message) }),
  };
}

const encoded: Readonly<Record<Form, WeakMap<GatewayEvent, Buffer>>> = {
  json: new WeakMap(),
  klp: new WeakMap(),
};

/** The frame of an event as it goes over the wire, its head included: made once for all who get it in a form. */
export function eventBytes(event: GatewayEvent, form: Form): Buffer {
  const shown = event.message === undefined ? 'json' : form;
  return encoded[shown].getOrInsertComputed(event, () => textFrame(JSON.stringify(eventFrame(event, shown))));
}

/**
 * A whole text frame of a server, which masks nothing: fin and opcode 1; the length in 7 bits, or 126 and 16, or 127 and 64.
 *
 * Source: RFC 6455 §5.2.
 */
export function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const head = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafeSlow(head + length);
  frame[0] = 0x81;
  if (head === 2) {
    frame[1] = length;
  } else if (head === 4) {
    frame[1] = 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame.write(text, head);
  return frame;
}

export function errorFrame(error: unknown, id?: string): ErrorFrame {
  return { op: 'error', ...(id !== undefined && { id }), problem: problemOf(error) };
}
