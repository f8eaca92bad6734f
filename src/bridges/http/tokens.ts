import { z } from 'zod';
import type { Client, Desk } from '../../gateway/desk.ts';
import type { Clock } from '../../lib/clock.ts';
import { inThePast, scopeSchema, timeSchema } from '../schema.ts';
import { type Route, route } from './route.ts';

const clientShape = {
  id: z.string(),
  name: z.string(),
  scopes: z.array(scopeSchema),
  rooms: z.array(z.string()),
  identity: z.literal('own').exactOptional().describe('it has addresses of its own on the mesh'),
  addresses: z.array(z.string()).exactOptional().describe('its own on the mesh, announced under its name'),
  expiresAt: z.int().exactOptional(),
};

const listedSchema = z
  .looseObject({ ...clientShape, createdAt: z.int(), revokedAt: z.int().exactOptional() })
  .meta({ id: 'Client' });

const nameSchema = z
  .string()
  .regex(/^[a-z0-9-]{1,32}$/, 'lower-case letters, digits and hyphens, at most 32');

const draftSchema = z
  .strictObject({
    name: nameSchema.describe('its holder is app:<name>; never given again, even after revocation'),
    scopes: z.array(scopeSchema).min(1).max(16),
    rooms: z
      .array(z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'the name of a room'))
      .max(64)
      .exactOptional()
      .describe('rooms it is a member of; default [hub]'),
    identity: z
      .enum(['own', 'hub'])
      .exactOptional()
      .describe(
        'own: an LXMF address of its own, announced under its name until it is revoked; default hub: it sends under the address of the hub',
      ),
    expiresAt: timeSchema.exactOptional().describe('ms since 1970; default never'),
  })
  .meta({ id: 'ClientDraft' });

/** Clients and their tokens; for the owner. */
export function tokenRoutes(desk: Desk, clock: Clock): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/tokens',
      summary: 'Make a client and its token, which is shown this once',
      tag: 'tokens',
      audience: ['admin'],
      audit: 'tokens.create',
      body: draftSchema,
      responses: {
        201: {
          description: 'the client; only a hash of the token is kept',
          schema: z.looseObject({ ...clientShape, token: z.string() }),
          links: { deleteTokensId: { id: '$response.body#/id' } },
        },
      },
      async handle({ body }) {
        const draft = body;
        if (draft.expiresAt !== undefined && draft.expiresAt <= clock.now()) {
          throw inThePast('expiresAt');
        }
        const { client, token, addresses } = await desk.clients.create(draft);
        return {
          status: 201,
          audit: { target: client.name },
          json: { ...clientJson({ ...client, ...(addresses && { addresses }) }), token },
        };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/tokens',
      summary: 'All clients, revoked ones too',
      tag: 'tokens',
      audience: ['admin'],
      responses: {
        200: {
          description: 'all of them',
          schema: z.looseObject({ items: z.array(listedSchema), cursor: z.null() }),
        },
      },
      handle: () => ({
        status: 200,
        json: {
          items: desk.clients.list().map(client => ({
            ...clientJson(client),
            createdAt: client.createdAt,
            ...(client.revokedAt !== undefined && { revokedAt: client.revokedAt }),
          })),
          cursor: null,
        },
      }),
    }),
    route({
      method: 'DELETE',
      path: '/v1/tokens/{id}',
      summary: 'Revoke a token, by the name or id of its client; its streams end',
      tag: 'tokens',
      audience: ['admin'],
      audit: 'tokens.revoke',
      params: z.strictObject({ id: nameSchema }),
      responses: { 204: { description: 'revoked' } },
      async handle({ params }) {
        await desk.clients.revoke(params.id);
        return { status: 204 };
      },
    }),
  ];
}

function clientJson(client: Client & { readonly addresses?: readonly string[] }) {
  const { id, name, scopes, rooms, identity, addresses, expiresAt } = client;
  return {
    id,
    name,
    scopes,
    rooms,
    ...(identity !== undefined && { identity }),
    ...(addresses !== undefined && { addresses }),
    ...(expiresAt !== undefined && { expiresAt }),
  };
}
