import { z } from 'zod';
import type { Desk } from '../../gateway/desk.ts';
import { consents, type Peer, type PeerPatch, trusts } from '../../gateway/society-contract.ts';
import { addressSchema, peerJson, peerSchema } from '../schema.ts';
import { pageAnswer, pageSchema } from './page.ts';
import { conditionsOf, preconditions, tagged } from './precondition.ts';
import { integerParam, type Route, route } from './route.ts';

const farShape = /^(?:lxmf|mqtt|matrix|kmesh):/;

const patchSchema = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .max(64)
      .nullable()
      .exactOptional()
      .describe("the owner's own name for it, over the one that is heard; null takes it away"),
    trust: z
      .enum(trusts)
      .nullable()
      .exactOptional()
      .describe('to find it by; it is not forgotten for strangers, and nothing else follows'),
    consent: z
      .enum(consents)
      .nullable()
      .exactOptional()
      .describe('refused: rooms and routes have nothing for it; given: it need not be asked into rooms'),
    blocked: z.boolean().exactOptional().describe('nothing is taken from it and nothing goes to it'),
  })
  .meta({ id: 'PeerPatch' });

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
        q: z.string().min(1).max(100).exactOptional().describe('part of a name or address'),
        search: z.string().min(1).max(100).exactOptional().describe('the same as q'),
        trust: z.enum(trusts).exactOptional().describe('only those the owner has marked so'),
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
      handle({ client, query: { q, ...query }, request }) {
        const search = q ?? query.search;
        const wanted = { ...query, ...(search === undefined ? {} : { search }) };
        return pageAnswer(request, desk.directory.list(client, wanted), peerJson);
      },
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
    route({
      method: 'PATCH',
      path: '/v1/peers/{address}',
      summary:
        'What the owner says of whoever has the address, heard or not: a name, trust, consent, a block',
      tag: 'peers',
      audience: ['admin'],
      params: z.strictObject({ address: addressSchema.regex(farShape, 'an address of a far side') }),
      headers: { 'If-Match': preconditions['If-Match'] },
      body: patchSchema,
      responses: {
        200: { description: 'as it is now', schema: peerSchema, headers: { ETag: 'its tag, for If-Match' } },
      },
      async handle(call) {
        const { client, params, body } = call;
        const guard = conditionsOf<Peer>(call, peerJson);
        return tagged(
          200,
          peerJson(await desk.directory.change(client, params.address, body as PeerPatch, guard)),
        );
      },
    }),
  ];
}
