import { z } from 'zod';
import { type Desk, listedStates, type MessageView } from '../../gateway/desk.ts';
import type { Clock } from '../../lib/clock.ts';
import { klpSchema, klpType } from '../klp.ts';
import {
  addressSchema,
  conversationJson,
  conversationSchema,
  deliveryItemJson,
  deliveryItemSchema,
  deliveryJson,
  deliverySchema,
  messageIdSchema,
  messageViewJson,
  messageViewSchema,
} from '../schema.ts';
import { slowest } from './blobs.ts';
import { draftTypes, readDraft } from './draft-body.ts';
import { idempotencyKey, idempotent, replayed } from './idempotency.ts';
import { whereKnown } from './offer.ts';
import { pageAnswer, pageSchema } from './page.ts';
import { messageAnswer, textType } from './plain.ts';
import { cursorOf, integerParam, type Route, route } from './route.ts';

const earlier = 'a cursor from an earlier answer';
const accept = { Accept: `application/json, ${klpType} (an envelope) or ${textType} (lines for scripts)` };
const idParams = z.strictObject({ id: messageIdSchema });

/** Sending, looking at and calling back messages. */
export function messageRoutes(desk: Desk, clock: Clock): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/messages',
      summary: 'Send a message; answered once it is on disk',
      tag: 'messages',
      audience: ['messages:send'],
      headers: {
        ...accept,
        ...idempotent('sends nothing'),
      },
      body: 'raw',
      bodyTypes: draftTypes,
      timeout: slowest,
      responses: {
        201: {
          description: 'accepted and durable; as text its id alone',
          schema: messageViewSchema,
          also: { [klpType]: klpSchema, [textType]: null },
          headers: {
            Location: 'where the message and its deliveries can be read',
            ...replayed,
          },
          links: {
            getMessagesId: { id: '$response.body#/id' },
            deleteMessagesId: { id: '$response.body#/id' },
            postDeliveriesIdRetry: { id: '$response.body#/deliveries/0/id' },
            deleteDeliveriesId: { id: '$response.body#/deliveries/0/id' },
          },
        },
      },
      async handle({ client, request, header, mediaType }) {
        const given = idempotencyKey(header('idempotency-key'));
        const { draft, key, asked } = await readDraft({ desk, clock }, client, request);
        const result = await desk.messages.post(client, draft, given ?? key, asked);
        return messageAnswer(mediaType, 201, result.message, posted(result));
      },
    }),
    route({
      method: 'GET',
      path: '/v1/messages',
      summary: 'Messages the client may see, newest first',
      tag: 'messages',
      audience: ['messages:read'],
      query: z.strictObject({
        room: z.string().min(1).max(64).exactOptional().describe('name of a room'),
        peer: addressSchema.exactOptional().describe('from or to this address'),
        type: z.string().min(1).max(64).exactOptional(),
        after: cursorOf(earlier, 'message'),
        limit: integerParam(1, 200, 'default 50'),
      }),
      responses: {
        200: {
          description: 'a page',
          schema: pageSchema(messageViewSchema),
        },
      },
      handle: ({ client, query, request }) =>
        pageAnswer(request, desk.messages.list(client, query), messageViewJson),
    }),
    route({
      method: 'GET',
      path: '/v1/conversations',
      summary: 'With whom there were messages, the newest first; a later page may name one again',
      tag: 'messages',
      audience: ['messages:read'],
      query: z.strictObject({
        after: cursorOf(earlier, 'message'),
        limit: integerParam(1, 200, 'default 50'),
      }),
      responses: { 200: { description: 'a page', schema: pageSchema(conversationSchema) } },
      handle: ({ client, query, request }) =>
        pageAnswer(request, desk.messages.conversations(client, query), conversationJson),
    }),
    route({
      method: 'GET',
      path: '/v1/deliveries',
      summary: 'What waits and why, oldest first, or what ended in vain, newest first',
      tag: 'messages',
      audience: ['messages:read'],
      query: z.strictObject({
        state: z
          .enum(listedStates)
          .exactOptional()
          .describe(
            'default queued, which holds sending too; what lies in the inbox of an app is not listed',
          ),
        after: cursorOf(earlier, 'delivery'),
        limit: integerParam(1, 200, 'default 50'),
      }),
      responses: {
        200: {
          description: 'a page',
          schema: pageSchema(deliveryItemSchema),
        },
      },
      handle: ({ client, query, request }) =>
        pageAnswer(request, desk.deliveries.list(client, query), deliveryItemJson),
    }),
    route({
      method: 'POST',
      path: '/v1/deliveries/{id}/retry',
      summary: 'Send again what failed or is ambiguous; try what waits now',
      tag: 'messages',
      audience: ['messages:send'],
      params: idParams,
      responses: { 200: { description: 'the delivery as it is now', schema: deliverySchema } },
      handle: async ({ client, params }) => ({
        status: 200,
        json: deliveryJson(await desk.deliveries.retry(client, params.id)),
      }),
    }),
    route({
      method: 'DELETE',
      path: '/v1/deliveries/{id}',
      summary: 'Call back one that waits, or settle an ambiguous one',
      tag: 'messages',
      audience: ['messages:send'],
      params: idParams,
      responses: { 200: { description: 'the delivery as it is now', schema: deliverySchema } },
      handle: async ({ client, params }) => ({
        status: 200,
        json: deliveryJson(await desk.deliveries.cancel(client, params.id)),
      }),
    }),
    route({
      method: 'GET',
      path: '/v1/messages/{id}',
      summary: 'A message with its deliveries and their history',
      tag: 'messages',
      audience: ['messages:read'],
      params: idParams,
      headers: { ...accept, ...whereKnown },
      responses: {
        200: {
          description: 'the message; as text a line of it and one of each delivery',
          headers: {
            ETag: 'its tag, of the JSON',
            'Last-Modified': 'when it was last changed, once nothing of it waits',
          },
          schema: messageViewSchema,
          also: { [klpType]: klpSchema, [textType]: null },
        },
      },
      handle({ client, params, mediaType }) {
        const message = desk.messages.get(client, params.id);
        return { ...messageAnswer(mediaType, 200, message), changed: changedAt(message) };
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/messages/{id}',
      summary: 'Cancel what is still queued of a message',
      tag: 'messages',
      audience: ['messages:send'],
      params: idParams,
      responses: { 200: { description: 'the message as it is now', schema: messageViewSchema } },
      handle: async ({ client, params }) => ({
        status: 200,
        json: messageViewJson(await desk.messages.cancel(client, params.id)),
      }),
    }),
  ];
}

/** When something of a message was last changed. Undefined while a delivery waits: its next attempt moves without a time. */
function changedAt({ acceptedAt, deliveries }: MessageView): number | undefined {
  const waits = deliveries.some(({ state }) => state === 'queued' || state === 'sending');
  const times = deliveries.flatMap(({ history }) => history.map(({ at }) => at));
  return waits ? undefined : Math.max(acceptedAt, ...times);
}

/** Headers that tell where a posted message is, and whether it was there before. */
export function posted({ message, repeated }: Awaited<ReturnType<Desk['messages']['post']>>) {
  return {
    location: `/v1/messages/${message.id}`,
    ...(repeated && { 'idempotency-replayed': 'true' }),
  };
}
