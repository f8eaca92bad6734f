import { z } from 'zod';
import type { AsyncChannel } from '../asyncapi.ts';
import { klpSchema } from '../klp.ts';
import { problemSchema } from '../problems.ts';
import { eventSchema, messageSchema, messageViewSchema } from '../schema.ts';
import { clientExamples, hubExamples } from './examples.ts';
import { clientFrames } from './frames.ts';

/** What the hub says on a WebSocket, by `op`. */
export const hubFrames = {
  hello: z.looseObject({
    op: z.literal('hello'),
    hub: z.string().describe('identity hash'),
    cursor: z.string().describe('where the stream begins'),
    client: z.string().describe('who the token is of: app:<name>'),
  }),
  subscribed: z.looseObject({
    op: z.literal('subscribed'),
    id: z.string().describe('that of the subscription'),
    cursor: z
      .string()
      .describe('the last event the filters before were asked about; this one counts after it'),
    replaced: z.literal(true).exactOptional().describe('a filter of this id was there'),
  }),
  unsubscribed: z.looseObject({
    op: z.literal('unsubscribed'),
    id: z.string().describe('that of the subscription'),
    cursor: z
      .string()
      .describe('the last event it was asked about; with no other, the stream stands still here'),
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
  subscribe:
    'shows the events that the filter lets through, or puts this filter in the place of the one of the same id; all together each event once',
  unsubscribe: 'ends a subscription; without any, the stream stands still until the next',
  send: 'a message to send; acknowledged once it is on disk',
  seen: 'every inbox message up to this event is delivered',
} as const;

const answers = {
  hello: 'the token is good',
  subscribed: 'the filter counts: the answer to subscribe, before any event that it shows',
  unsubscribed: 'the subscription is over: no event that only it showed comes after this',
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
      'One JSON object a frame; a client passes over ops and members that it does not know. Close codes: 4001 no valid token or no longer, 4008 too slow, 4009 cursor expired, 1008 too many wrong frames, 1009 a frame over 2 MiB, 1011 a fault of the gateway, 1012 the gateway restarts, 1013 too many sockets or wrong tokens: later.',
    messages: [
      ...(Object.keys(clientFrames) as (keyof typeof clientFrames)[]).map(op => ({
        name: `ws.client.${op}`,
        summary: abouts[op],
        from: 'client' as const,
        schema: clientFrames[op],
        examples: clientExamples[op],
      })),
      ...(Object.keys(hubFrames) as (keyof typeof hubFrames)[]).map(op => ({
        name: `ws.hub.${op}`,
        summary: answers[op],
        from: 'hub' as const,
        schema: hubFrames[op],
        examples: hubExamples[op],
      })),
    ],
  };
}
