import { z } from 'zod';
import { cursorShape } from '../../gateway/cursor.ts';
import { eventKinds } from '../../gateway/desk.ts';
import {
  type WebhookDesk,
  type WebhookDraft,
  type WebhookPatch,
  type WebhookView,
  webhookFailures,
  webhookStates,
} from '../../gateway/webhooks.ts';
import { filterShape } from '../event-filter.ts';
import { eventSchema, messageSchema } from '../schema.ts';
import { idempotencyKey, idempotent, keyedId, replayed } from './idempotency.ts';
import { type Route, route } from './route.ts';

const timeSchema = z.int().min(0).describe('ms since 1970');
/** In ASCII, and without a user, a password or a part behind #: those are not sent. What of this is a URL is seen later. */
const urlSchema = z
  .string()
  .max(2048)
  .regex(
    /^https?:\/\/(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?][\x21\x22\x24-\x7e]*)?$/,
    'an https or http URL in ASCII, without a user, a password or #',
  )
  .meta({ examples: ['https://board.invalid/hook'] });
const descriptionSchema = z.string().max(256);
const secretSchema = z
  .string()
  .regex(
    /^whsec_(?:[A-Za-z0-9+/]{4}){8,20}(?:(?:[A-Za-z0-9+/]{4})?(?:[A-Za-z0-9+/][AQgw]==)?|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)$/,
    'whsec_ and base64 of 24 to 64 bytes',
  );

const { kinds: eventsSchema, types, peers, rooms } = filterShape;

const draftSchema = z
  .strictObject({
    url: urlSchema.describe('https; http only to networks the configuration allows'),
    events: eventsSchema.describe('kinds of events; default all that the client may see'),
    types: types.describe('types of messages'),
    rooms: rooms.describe('what is said in these rooms'),
    peers: peers.describe('what has to do with these addresses'),
    secret: secretSchema.exactOptional().describe('minted where it is not given'),
    description: descriptionSchema.exactOptional(),
    enabled: z.boolean().exactOptional().describe('default true'),
    acknowledge: z
      .boolean()
      .exactOptional()
      .describe('what the endpoint has taken counts as read from the inbox of the client; default false'),
  })
  .meta({ id: 'WebhookDraft' });

const patchSchema = z
  .strictObject({
    url: urlSchema.exactOptional(),
    events: eventsSchema.unwrap().nullable().exactOptional(),
    types: types.unwrap().nullable().exactOptional(),
    rooms: rooms.unwrap().nullable().exactOptional(),
    peers: peers.unwrap().nullable().exactOptional(),
    description: descriptionSchema.nullable().exactOptional(),
    enabled: z.boolean().exactOptional().describe('true lets it try at once, also where the hub disabled it'),
    acknowledge: z.boolean().exactOptional(),
  })
  .meta({ id: 'WebhookPatch', description: 'what is to change; null takes a member away' });

const attemptShape = {
  at: timeSchema,
  id: z.string().describe('the webhook-id, the same at every attempt'),
  type: z.string().describe('the type of what was sent'),
  state: z
    .enum(['queued', 'sent', 'delivered', 'failed'])
    .describe('delivered: 2xx; sent: 202; queued: it is sent again; failed: 410, or a test'),
  duration: z.int().min(0).describe('ms'),
  status: z.int().exactOptional().describe('of HTTP, where there was an answer'),
  code: z.enum(webhookFailures).exactOptional(),
  reason: z.string().exactOptional().describe('for people'),
};

const attemptSchema = z.looseObject(attemptShape).meta({ id: 'WebhookAttempt' });

const viewShape = {
  id: z.string(),
  client: z.string().describe('whose it is'),
  createdAt: timeSchema,
  url: z.string(),
  events: eventsSchema,
  types,
  rooms,
  peers,
  description: z.string().exactOptional(),
  enabled: z.boolean(),
  acknowledge: z.boolean(),
  state: z
    .enum(webhookStates)
    .describe(
      'idle: told of everything; waiting: for its next attempt; paused: the token has expired, or may not read; disabled: see reason',
    ),
  reason: z.string().exactOptional(),
  cursor: z.string().describe('done up to here: a cursor of /v1/events'),
  pending: z
    .int()
    .min(0)
    .describe('events of the hub behind the cursor, whether the webhook shows them or not'),
  pendingSince: timeSchema.exactOptional().describe('when the oldest of them happened'),
  failures: z.int().min(0).describe('attempts in vain since the last success'),
  failingSince: timeSchema.exactOptional(),
  nextAt: timeSchema.exactOptional(),
  lastSuccessAt: timeSchema.exactOptional(),
  lastFailure: z
    .looseObject({
      at: timeSchema,
      status: attemptShape.status,
      code: attemptShape.code,
      reason: attemptShape.reason,
    })
    .exactOptional(),
  gap: z
    .looseObject({ at: timeSchema, after: z.string() })
    .exactOptional()
    .describe('events behind this cursor were forgotten before they could be sent'),
  secrets: z
    .array(z.looseObject({ createdAt: timeSchema, until: timeSchema.exactOptional() }))
    .describe('what it signs with, without the secrets'),
  attempts: z.array(attemptSchema).describe('the latest, the newest first'),
};

const viewSchema = z.looseObject(viewShape).meta({ id: 'Webhook' });

const withSecret = z
  .looseObject({ ...viewShape, secret: z.string().describe('shown this once') })
  .meta({ id: 'WebhookWithSecret' });

/** What an endpoint gets: `data` by `type`. */
export const payloadSchema = z
  .union([
    z.looseObject({
      type: z.enum(eventKinds),
      timestamp: z.iso.datetime().describe('when it happened'),
      data: eventSchema,
    }),
    z.looseObject({
      type: z.literal('webhook.message'),
      timestamp: z.iso.datetime(),
      data: z.looseObject({ webhook: z.string(), delivery: z.string(), message: messageSchema }),
    }),
    z.looseObject({
      type: z.literal('webhook.gap'),
      timestamp: z.iso.datetime(),
      data: z.looseObject({
        webhook: z.string(),
        after: z.string().describe('events behind this cursor are missing'),
        lastSuccessAt: timeSchema.exactOptional(),
        detail: z.string(),
      }),
    }),
    z.looseObject({
      type: z.literal('webhook.test'),
      timestamp: z.iso.datetime(),
      data: z.looseObject({
        webhook: z.string(),
        client: z.string(),
        hub: z.looseObject({ id: z.string(), name: z.string() }),
      }),
    }),
  ])
  .meta({ id: 'WebhookPayload' });

const one = z.strictObject({ id: z.string().regex(/^[0-9a-f]{32}$/, '32 lower-case hex digits') });
const audience = ['messages:read'] as const;
const tag = 'webhooks';

/** Endpoints of others that are told of events. `webhooks` is asked for when it is needed. */
export function webhookRoutes(webhooks: () => WebhookDesk): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/webhooks',
      summary: 'Have an endpoint told of what the client may see, from now on',
      tag,
      audience,
      audit: 'webhooks.create',
      headers: idempotent('makes no second webhook'),
      body: draftSchema,
      responses: {
        422: { description: 'the key was used for another webhook, or that has been changed since' },
        201: {
          description: 'the webhook and its secret, which is shown this once',
          schema: withSecret,
          headers: { Location: 'where it is', ...replayed },
          links: Object.fromEntries(
            [
              'getWebhooksId',
              'patchWebhooksId',
              'postWebhooksIdTest',
              'postWebhooksIdReplay',
              'postWebhooksIdRotateSecret',
              'deleteWebhooksId',
            ].map(operation => [operation, { id: '$response.body#/id' }]),
          ),
        },
      },
      async handle({ client, body, header }) {
        const key = idempotencyKey(header('idempotency-key'));
        const id = key && keyedId(client, key);
        const { webhook, secret, repeated } = await webhooks().create(client, body as WebhookDraft, id);
        return {
          status: 201,
          headers: {
            location: `/v1/webhooks/${webhook.id}`,
            ...(repeated && { 'idempotency-replayed': 'true' }),
          },
          json: { ...viewJson(webhook), secret },
          ...(repeated && { audit: false }),
        };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/webhooks',
      summary: 'The webhooks of the client, all for an admin, and how they do',
      tag,
      audience,
      responses: {
        200: {
          description: 'all of them, the oldest first',
          schema: z.looseObject({ items: z.array(viewSchema), cursor: z.null() }),
        },
      },
      handle: ({ client }) => ({
        status: 200,
        json: { items: webhooks().list(client).map(viewJson), cursor: null },
      }),
    }),
    route({
      method: 'GET',
      path: '/v1/webhooks/{id}',
      summary: 'One webhook, with its latest attempts',
      tag,
      audience,
      params: one,
      responses: { 200: { description: 'how it is now', schema: viewSchema } },
      handle: ({ client, params }) => ({ status: 200, json: viewJson(webhooks().get(client, params.id)) }),
    }),
    route({
      method: 'PATCH',
      path: '/v1/webhooks/{id}',
      summary: 'Change a webhook; enabled: true also takes up one that the hub has disabled',
      tag,
      audience,
      audit: 'webhooks.change',
      params: one,
      body: patchSchema,
      responses: { 200: { description: 'how it is now', schema: viewSchema } },
      handle: async ({ client, params, body }) => ({
        status: 200,
        json: viewJson(await webhooks().change(client, params.id, body as WebhookPatch)),
      }),
    }),
    route({
      method: 'DELETE',
      path: '/v1/webhooks/{id}',
      summary: 'Tell an endpoint nothing any more',
      tag,
      audience,
      audit: 'webhooks.delete',
      params: one,
      responses: { 204: { description: 'gone' } },
      async handle({ client, params }) {
        await webhooks().remove(client, params.id);
        return { status: 204 };
      },
    }),
    route({
      method: 'POST',
      path: '/v1/webhooks/{id}/test',
      summary: 'Send a webhook.test event now, and say what came of it',
      tag,
      audience,
      params: one,
      timeout: 60_000,
      responses: {
        200: { description: 'what came of it, good or bad', schema: attemptSchema },
      },
      handle: async ({ client, params, signal }) => ({
        status: 200,
        json: await webhooks().test(client, params.id, signal),
      }),
    }),
    route({
      method: 'POST',
      path: '/v1/webhooks/{id}/replay',
      summary: 'Go on behind another event: back, to send again, or forward, to pass over',
      tag,
      audience,
      audit: 'webhooks.replay',
      params: one,
      body: z.union(
        [
          z.strictObject({
            after: z
              .string()
              .regex(cursorShape('event', 'unread'), 'a cursor of /v1/events')
              .describe('a cursor of /v1/events'),
          }),
          z.strictObject({ since: timeSchema.describe('with the first event at or after this time') }),
        ],
        { error: '{after: a cursor} or {since: ms since 1970}' },
      ),
      responses: { 200: { description: 'how it is now', schema: viewSchema } },
      handle: async ({ client, params, body }) => ({
        status: 200,
        json: viewJson(await webhooks().replay(client, params.id, body)),
      }),
    }),
    route({
      method: 'POST',
      path: '/v1/webhooks/{id}/rotate-secret',
      summary: 'Sign with another secret; the one before signs as well for a while',
      tag,
      audience,
      audit: 'webhooks.rotate-secret',
      params: one,
      body: z.strictObject({
        secret: secretSchema.exactOptional().describe('minted where it is not given'),
        grace: z
          .int()
          .min(0)
          .max(7 * 24 * 60 * 60)
          .exactOptional()
          .describe('seconds that the one before is used beside it; default a day'),
      }),
      responses: {
        200: { description: 'the webhook and its new secret, which is shown this once', schema: withSecret },
      },
      async handle({ client, params, body: { grace, ...rest } }) {
        const options = { ...rest, ...(grace !== undefined && { grace: grace * 1000 }) };
        const { webhook, secret } = await webhooks().rotate(client, params.id, options);
        return { status: 200, json: { ...viewJson(webhook), secret } };
      },
    }),
  ];
}

/** A webhook as JSON shows it: the members of the schema in its order, and nothing beside them. */
function viewJson(view: WebhookView): Record<string, unknown> {
  return Object.fromEntries(
    Object.keys(viewShape).flatMap(key => {
      const value = view[key as keyof WebhookView];
      return value === undefined ? [] : [[key, value]];
    }),
  );
}
