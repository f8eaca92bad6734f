import { z } from 'zod';
import type { Desk } from '../../gateway/desk.ts';
import { queueStates, type ReplicaDesk } from '../../gateway/replicas/contract.ts';
import { GatewayError } from '../../lib/errors.ts';
import { pageAnswer, pageSchema } from './page.ts';
import { integerParam, type Route, route } from './route.ts';

const time = z.int().min(0);

const replicaSchema = z
  .looseObject({
    id: z.string(),
    title: z.string(),
    link: z.enum(['online', 'suspect', 'offline', 'forced']).describe('forced is offline by hand'),
    since: time,
    reason: z.string().exactOptional(),
    lastGoodAt: time.exactOptional().describe('when the origin answered last'),
    cached: z.looseObject({ entries: z.int(), bytes: z.int() }),
    queue: z.looseObject({ waiting: z.int(), blocked: z.int(), conflicts: z.int() }),
  })
  .meta({ id: 'Replica' });

const operationSchema = z
  .looseObject({
    id: z.string(),
    service: z.string(),
    method: z.string(),
    path: z.string(),
    state: z.enum(queueStates),
    reason: z.string().exactOptional(),
    attempts: z.int(),
    nextAt: time.exactOptional(),
    createdAt: time,
    conflict: z
      .looseObject({
        base: z.string().exactOptional(),
        mine: z.string().exactOptional(),
        theirs: z.string().exactOptional(),
      })
      .exactOptional()
      .describe('what it was, what is asked for here, what the origin has: JSON as text'),
  })
  .meta({ id: 'ReplicaOperation' });

const idSchema = z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'the id of a replica');
const service = z.strictObject({ id: idSchema });
const operation = z.strictObject({ id: idSchema, operation: z.string().min(1).max(64) });
const done = { 200: { description: 'the operation as it is now', schema: operationSchema } };

/** The replicas of cloud services: how they are, and what waits in their queues. */
export function replicaRoutes(desk: Desk): Route[] {
  /** Looked up late: the table is described without a desk. */
  const replicas = (): ReplicaDesk => {
    if (desk.replicas === undefined) {
      throw new GatewayError('request/not-found', 'this hub has no replicas');
    }
    return desk.replicas;
  };
  return [
    route({
      method: 'GET',
      path: '/v1/replicas',
      summary: 'The replicas of cloud services: reachable or not, what is kept, what waits',
      tag: 'replicas',
      audience: ['mesh:read'],
      responses: {
        200: {
          description: 'all of them',
          schema: z.looseObject({ items: z.array(replicaSchema), cursor: z.null() }),
        },
      },
      handle: () => ({ status: 200, json: { items: desk.replicas?.list() ?? [], cursor: null } }),
    }),
    route({
      method: 'POST',
      path: '/v1/replicas/{id}/link',
      summary: 'Take a replica offline by hand, or let it go online again',
      tag: 'replicas',
      audience: ['admin'],
      params: service,
      body: z.strictObject({ offline: z.boolean() }),
      responses: { 200: { description: 'the replica as it is now', schema: replicaSchema } },
      handle({ params, body }) {
        replicas().force(params.id, body.offline);
        return {
          status: 200,
          json: replicas()
            .list()
            .find(({ id }) => id === params.id),
        };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/replicas/{id}/queue',
      summary: 'Writes that wait for the cloud or for a decision, oldest first',
      tag: 'replicas',
      audience: ['admin'],
      params: service,
      query: z.strictObject({
        after: z.string().min(1).max(64).exactOptional().describe('the cursor of an earlier answer'),
        limit: integerParam(1, 200, 'default 50'),
      }),
      responses: { 200: { description: 'a page', schema: pageSchema(operationSchema) } },
      handle({ params, query, request }) {
        const rows = replicas().queue(params.id);
        // What was the last is over meanwhile: the list has moved up, and begins again.
        const first = rows.findIndex(({ id }) => id === query.after) + 1;
        const items = rows.slice(first, first + (query.limit ?? 50));
        const more = first + items.length < rows.length;
        return pageAnswer(request, { items, cursor: more ? (items.at(-1)?.id ?? null) : null }, one => one);
      },
    }),
    route({
      method: 'POST',
      path: '/v1/replicas/{id}/queue/{operation}/retry',
      summary: 'Try a waiting write now',
      tag: 'replicas',
      audience: ['admin'],
      params: operation,
      responses: done,
      handle: async ({ params }) => ({
        status: 200,
        json: await replicas().retry(params.id, params.operation),
      }),
    }),
    route({
      method: 'POST',
      path: '/v1/replicas/{id}/queue/{operation}/resolve',
      summary: 'Decide what a conflict, an ambiguous or a refused write is to become',
      tag: 'replicas',
      audience: ['admin'],
      params: operation,
      body: z.strictObject({ how: z.enum(['mine', 'theirs', 'discard', 'sent', 'not-sent']) }),
      responses: done,
      handle: async ({ params, body }) => ({
        status: 200,
        json: await replicas().resolve(params.id, params.operation, body.how),
      }),
    }),
    route({
      method: 'DELETE',
      path: '/v1/replicas/{id}/queue/{operation}',
      summary: 'Discard a waiting write',
      tag: 'replicas',
      audience: ['admin'],
      params: operation,
      responses: done,
      handle: async ({ params }) => ({
        status: 200,
        json: await replicas().resolve(params.id, params.operation, 'discard'),
      }),
    }),
  ];
}
