import { z } from 'zod';
import type { GatewayEvent, MessageView } from '../../gateway/desk.ts';
import { filterSchema } from '../event-filter.ts';
import { parseJson } from '../json.ts';
import { type Problem, problemOf } from '../problems.ts';
import { check, eventJson, messageDraftSchema, messageViewJson } from '../schema.ts';

const idSchema = z.string().regex(/^[\x21-\x7e]{1,255}$/, '1 to 255 printable ASCII characters');
const cursorSchema = z.string().max(64);

const clientFrameSchema = z.discriminatedUnion(
  'op',
  [
    z.strictObject({
      op: z.literal('hello'),
      token: z.string().min(1).max(512).exactOptional(),
      after: cursorSchema.exactOptional(),
    }),
    z.strictObject({ op: z.literal('subscribe'), id: idSchema, filter: filterSchema.exactOptional() }),
    z.strictObject({ op: z.literal('send'), id: idSchema, message: messageDraftSchema }),
    z.strictObject({ op: z.literal('seen'), cursor: cursorSchema.min(1) }),
  ],
  { error: 'one of hello, subscribe, send, seen' },
);

/** What a client may say. */
export type ClientFrame = z.output<typeof clientFrameSchema>;

/** What the hub says. */
export type HubFrame =
  | { readonly op: 'hello'; readonly hub: string; readonly cursor: string; readonly client: string }
  | { readonly op: 'ack'; readonly id: string; readonly message: MessageView; readonly replayed?: true }
  | ({ readonly op: 'event' } & GatewayEvent)
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

export function ackFrame(id: string, message: MessageView, repeated: boolean): HubFrame {
  return { op: 'ack', id, message: messageViewJson(message), ...(repeated && { replayed: true }) };
}

export function eventFrame(event: GatewayEvent): HubFrame {
  return { op: 'event', ...eventJson(event) };
}

const encoded = new WeakMap<GatewayEvent, Buffer>();

/** The frame of an event as it goes over the wire: made once for all who get it. */
export function eventBytes(event: GatewayEvent): Buffer {
  let bytes = encoded.get(event);
  if (bytes === undefined) {
    bytes = Buffer.from(JSON.stringify(eventFrame(event)));
    encoded.set(event, bytes);
  }
  return bytes;
}

export function errorFrame(error: unknown, id?: string): ErrorFrame {
  return { op: 'error', ...(id !== undefined && { id }), problem: problemOf(error) };
}
