import { z } from 'zod';
import type { Desk } from '../../gateway/desk.ts';
import { GatewayError } from '../../lib/errors.ts';
import { type Route, route } from './route.ts';

const blockSchema = z
  .looseObject({
    pattern: z.string().describe('an address; * stands for anything in it'),
    reason: z.string().exactOptional(),
    since: z.int(),
  })
  .meta({ id: 'Block' });

const params = z.strictObject({
  pattern: z
    .string()
    .max(512)
    .regex(
      /^(?:lxmf|mqtt|matrix|kmesh):[^\s\p{Cc}*]*(?:\*[^\s\p{Cc}*]*){0,4}$/u,
      'an address, with * for anything in it, four times at most: lxmf:0123…',
    ),
});

/** Whom nothing is taken from and nothing goes to; for admins. */
export function blockRoutes(desk: Desk): Route[] {
  const find = (pattern: string) => {
    const found = desk.blocks.get(pattern);
    if (found === undefined) {
      throw new GatewayError('request/not-found', 'that is not blocked');
    }
    return found;
  };
  return [
    route({
      method: 'GET',
      path: '/v1/blocks',
      summary: 'Whom nothing is taken from and nothing goes to',
      tag: 'peers',
      audience: ['admin'],
      responses: {
        200: {
          description: 'all of them, by pattern',
          schema: z.looseObject({ items: z.array(blockSchema), cursor: z.null() }),
        },
      },
      handle: () => ({ status: 200, json: { items: desk.blocks.list(), cursor: null } }),
    }),
    route({
      method: 'GET',
      path: '/v1/blocks/{pattern}',
      summary: 'One of them',
      tag: 'peers',
      audience: ['admin'],
      params,
      responses: { 200: { description: 'the block', schema: blockSchema } },
      handle: ({ params: { pattern } }) => ({ status: 200, json: find(pattern) }),
    }),
    route({
      method: 'PUT',
      path: '/v1/blocks/{pattern}',
      summary: 'Take nothing from an address and send nothing to it; what waits for it is cancelled',
      tag: 'peers',
      audience: ['admin'],
      params,
      body: z
        .strictObject({ reason: z.string().max(500).exactOptional().describe('for yourself') })
        .meta({ id: 'BlockDraft' }),
      responses: { 200: { description: 'it is blocked', schema: blockSchema } },
      handle: async ({ params: { pattern }, body }) => ({
        status: 200,
        json: await desk.blocks.add(pattern, body.reason),
      }),
    }),
    route({
      method: 'DELETE',
      path: '/v1/blocks/{pattern}',
      summary: 'Block it no longer',
      tag: 'peers',
      audience: ['admin'],
      params,
      responses: { 204: { description: 'done' } },
      async handle({ params: { pattern } }) {
        await desk.blocks.remove(pattern);
        return { status: 204 };
      },
    }),
  ];
}
