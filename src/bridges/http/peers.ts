import { z } from 'zod';
import type { Desk } from '../../gateway/desk.ts';
import { addressSchema, peerJson, peerSchema } from '../schema.ts';
import { pageAnswer, pageSchema } from './page.ts';
import { integerParam, type Route, route } from './route.ts';

/** The Directory: who was heard on the mesh and elsewhere. */
export function peerRoutes(desk: Desk): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/peers',
      summary: 'Everybody the hub has heard of',
      tag: 'peers',
      audience: ['peers:read'],
      query: z.strictObject({
        search: z.string().min(1).max(100).exactOptional().describe('part of a name or address'),
        order: z
          .enum(['address', 'seen'])
          .exactOptional()
          .describe('by address (the default), or the one heard last first'),
        // A cursor of this list holds an address.
        after: z.string().max(800).exactOptional().describe('a cursor from an earlier answer'),
        limit: integerParam(1, 200, 'default 50'),
      }),
      responses: {
        200: {
          description: 'a page',
          schema: pageSchema(peerSchema),
        },
      },
      handle: ({ client, query, request }) =>
        pageAnswer(request, desk.directory.list(client, query), peerJson),
    }),
    route({
      method: 'GET',
      path: '/v1/peers/{address}',
      summary: 'One of them',
      tag: 'peers',
      audience: ['peers:read'],
      params: z.strictObject({ address: addressSchema }),
      responses: { 200: { description: 'the peer', schema: peerSchema } },
      handle: ({ client, params }) => ({
        status: 200,
        json: peerJson(desk.directory.get(client, params.address)),
      }),
    }),
  ];
}
