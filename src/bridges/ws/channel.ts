import { z } from 'zod';
import type { AsyncChannel } from '../asyncapi.ts';
import { klpSchema } from '../klp.ts';
import { problemSchema } from '../problems.ts';
import { eventSchema, messageSchema, messageViewSchema } from '../schema.ts';
import { clientFrames } from './frames.ts';

/** What the hub says on a WebSocket, by `op`. */
export const hubFrames = {
  hello: z.looseObject({
    op: z.literal('hello'),
    hub: z.string().describe('identity hash'),
    cursor: z.string().describe('where the stream begins'),
    client: z.string().describe('who the token is of: app:<name>'),
  }),
  ack: z.looseObject({
    op: z.literal('ack'),
    id: z.string().describe('that of the send'),
    message: z.union([messageViewSchema, klpSchema]),
    replayed: z.literal(true).exactOptional().describe('this id was acknowledged before'),
  }),
  event: eventSchema.extend({
    op: z.literal('event'),
    message: z.union([messageSchema, klpSchema]).exactOptional(),
  }),
  error: z.looseObject({
    op: z.literal('error'),
    id: z.string().exactOptional().describe('that of the frame that was wrong'),
    problem: problemSchema,
  }),
} as const;

const abouts = {
  hello: 'who is calling, and from where on; the first frame, within 10 s',
  subscribe: 'shows the events that the filter lets through; all together each event once',
  send: 'a message to send; acknowledged once it is on disk',
  seen: 'every inbox message up to this event is delivered',
} as const;

const answers = {
  hello: 'the token is good',
  ack: 'the message is on disk',
  event: 'something happened',
  error: 'a frame was wrong; the socket lives on unless it is closed',
} as const;

/** `/v1/ws` for the AsyncAPI document. */
export function wsChannel(): AsyncChannel {
  return {
    id: 'ws',
    address: '/v1/ws',
    server: 'http',
    about:
      'One JSON object a frame. Close codes: 4001 no valid token, 4008 too slow, 4009 cursor expired, 1012 the gateway restarts, 1009 a frame over 2 MiB.',
    messages: [
      ...(Object.keys(clientFrames) as (keyof typeof clientFrames)[]).map(op => ({
        name: `ws.client.${op}`,
        summary: abouts[op],
        from: 'client' as const,
        schema: clientFrames[op],
      })),
      ...(Object.keys(hubFrames) as (keyof typeof hubFrames)[]).map(op => ({
        name: `ws.hub.${op}`,
        summary: answers[op],
        from: 'hub' as const,
        schema: hubFrames[op],
      })),
    ],
  };
}
