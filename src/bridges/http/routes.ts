import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { Desk } from '../../gateway/desk.ts';
import type { RouteRule } from '../../gateway/route-rule.ts';
import { ruleIdSchema, ruleShape } from '../../gateway/route-schema.ts';
import type { RouteView } from '../../gateway/society-contract.ts';
import { GatewayError } from '../../lib/errors.ts';
import { messageDraftSchema } from '../schema.ts';
import { idempotencyKey, idempotent, keyedId, replayed } from './idempotency.ts';
import { conditionsOf, preconditions, tagged } from './precondition.ts';
import { type Route, route } from './route.ts';

const viewShape = {
  ...ruleShape,
  id: z.string(),
  enabled: z.boolean(),
  source: z.enum(['config', 'api']).describe('one of the configuration is only switched off and on here'),
};

const ruleSchema = z.looseObject(viewShape).meta({ id: 'RouteRule' });

const countedSchema = z
  .looseObject({
    ...viewShape,
    passed: z.int().describe('deliveries it made since the start, or since it was changed'),
    leftOut: z.int().describe('those it did not make because of maxRate; they are not made later'),
  })
  .meta({ id: 'Route' });

const { id: _, ...keys } = ruleShape;
const draftSchema = z.strictObject(ruleShape).meta({ id: 'RouteDraft' });
const settingSchema = z.strictObject(keys).meta({ id: 'RouteSetting' });
/** Null takes a member away. */
const patchSchema = z
  .strictObject(
    Object.fromEntries(
      Object.entries(keys).map(([key, schema]) => [
        key,
        key === 'from' || key === 'to' ? schema.optional() : schema.nullable().optional(),
      ]),
    ),
  )
  .meta({ id: 'RoutePatch' });

const trialSchema = z
  .looseObject({
    to: z.string().describe('where it would be said'),
    matches: z.array(z.looseObject({ id: z.string(), adds: z.int() })).describe('rules that match it'),
    recipients: z
      .array(
        z.looseObject({
          to: z.string(),
          bridge: z.string(),
          route: z.string().exactOptional().describe('the rule that adds it'),
          priority: z.string(),
          type: z.string(),
          text: z.string(),
          title: z.string().exactOptional(),
          passes: z.boolean().describe('false where maxRate has no place for it now'),
        }),
      )
      .describe('who would get it, and what they would read'),
  })
  .meta({ id: 'RouteTrial' });

const { to, type, text, title, data, priority } = messageDraftSchema.shape;
const testSchema = z
  .strictObject({
    message: z.strictObject({
      from: to.describe('whose message it would be'),
      to: to.exactOptional().describe('default room:sensors for a reading, else room:hub'),
      type,
      text,
      title,
      data,
      priority,
    }),
  })
  .meta({ id: 'RouteTest' });

const params = z.strictObject({ id: ruleIdSchema });
const headers = { ETag: 'its tag, for If-Match' };
const answer = { description: 'as it is now', schema: ruleSchema, headers };

/** Rules that add recipients, as the configuration says and as they were made here; for admins. */
export function ruleRoutes(desk: Desk): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/routes',
      summary: "Rules that add recipients to what comes to the hub's own rooms, and what came of them",
      tag: 'rooms',
      audience: ['admin'],
      responses: {
        200: {
          description: 'in the order in which they are asked',
          schema: z.looseObject({ items: z.array(countedSchema), cursor: z.null() }),
        },
      },
      handle: () => ({ status: 200, json: { items: desk.routes.list(), cursor: null } }),
    }),
    route({
      method: 'POST',
      path: '/v1/routes',
      summary: 'Make a rule; it is there after a restart, too',
      tag: 'rooms',
      audience: ['admin'],
      headers: idempotent('makes no second rule'),
      body: draftSchema,
      responses: {
        201: { ...answer, headers: { ...headers, Location: 'its path', ...replayed } },
        409: { description: 'there is a rule of this id' },
        422: { description: 'the key was used for another rule, or that has been changed since' },
      },
      async handle({ client, header, body: { id, ...rule } }) {
        const key = idempotencyKey(header('idempotency-key'));
        const own = id ?? (key && `k-${keyedId(client, key).slice(0, 24)}`);
        const first = key && desk.routes.list().find(one => one.id === own);
        if (first && isSame(first, rule)) {
          const again = { location: `/v1/routes/${first.id}`, 'idempotency-replayed': 'true' };
          return tagged(201, settingOf(first), again);
        }
        if (first && id === undefined) {
          throw new GatewayError('request/idempotency-mismatch', 'the key was used for another rule');
        }
        const made = await desk.routes.create(own, rule as RouteRule);
        return tagged(201, settingOf(made), { location: `/v1/routes/${made.id}` });
      },
    }),
    route({
      method: 'POST',
      path: '/v1/route-test',
      summary: 'What the rules would do with a message; nothing is sent',
      tag: 'rooms',
      audience: ['admin'],
      body: testSchema,
      responses: { 200: { description: 'what would become of it', schema: trialSchema } },
      handle({ body: { message } }) {
        const { type: kind = 'chat.message', text: words = '', ...rest } = message;
        const place = kind === 'sensor.reading' ? 'room:sensors' : 'room:hub';
        return { status: 200, json: desk.routes.test({ to: place, ...rest, type: kind, text: words }) };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/routes/{id}',
      summary: 'One rule',
      tag: 'rooms',
      audience: ['admin'],
      params,
      responses: { 200: { description: 'the rule', schema: ruleSchema, headers } },
      handle: ({ params: { id } }) => ({ status: 200, json: settingOf(desk.routes.get(id)) }),
    }),
    route({
      method: 'PUT',
      path: '/v1/routes/{id}',
      summary: 'Make a rule exactly so, whether it is there or not',
      tag: 'rooms',
      audience: ['admin'],
      params,
      headers: preconditions,
      body: settingSchema,
      responses: {
        200: answer,
        201: { ...answer, description: 'it is made', headers: { ...headers, Location: 'its path' } },
        409: { description: 'one of the configuration, of which only enabled changes' },
      },
      async handle(call) {
        const { id } = call.params;
        const guard = conditionsOf<RouteView>(call, settingOf);
        const { route: rule, made } = await desk.routes.put(id, call.body as RouteRule, guard);
        return tagged(made ? 201 : 200, settingOf(rule), made ? { location: `/v1/routes/${id}` } : {});
      },
    }),
    route({
      method: 'PATCH',
      path: '/v1/routes/{id}',
      summary:
        'Change some of a rule: what is absent stays, null takes a member away; of one of the configuration only enabled',
      tag: 'rooms',
      audience: ['admin'],
      params,
      headers: { 'If-Match': preconditions['If-Match'] },
      body: patchSchema,
      responses: { 200: answer },
      async handle(call) {
        const guard = conditionsOf<RouteView>(call, settingOf);
        return tagged(200, settingOf(await desk.routes.change(call.params.id, call.body, guard)));
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/routes/{id}',
      summary: 'Take a rule away',
      tag: 'rooms',
      audience: ['admin'],
      params,
      headers: { 'If-Match': preconditions['If-Match'] },
      responses: {
        204: { description: 'it is gone' },
        409: { description: 'the configuration names it: it can be switched off' },
      },
      async handle(call) {
        await desk.routes.remove(call.params.id, conditionsOf<RouteView>(call, settingOf));
        return { status: 204 };
      },
    }),
  ];
}

function isSame(first: RouteView, rule: object): boolean {
  const { id: _id, source: _source, ...wanted } = settingOf(first);
  return isDeepStrictEqual(wanted, { enabled: true, ...rule });
}

/** A rule as JSON shows it; what came of it is in the list, and is no part of what is changed. */
function settingOf({ passed: _passed, leftOut: _leftOut, ...rule }: RouteView) {
  return rule;
}
