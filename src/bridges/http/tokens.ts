import { z } from 'zod';
import type { ClientView } from '../../gateway/client.ts';
import { scopes as allScopes, type Desk } from '../../gateway/desk.ts';
import { roleNames, roles } from '../../gateway/roles.ts';
import { roomNameSchema } from '../../gateway/route-schema.ts';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import { inThePast, scopeSchema, timeSchema } from '../schema.ts';
import { preconditions, requireVersion, versionTag } from './precondition.ts';
import { type Route, route } from './route.ts';

const roleSchema = z
  .enum(roleNames)
  .describe(`a bundle of scopes: ${roleNames.map(role => `${role} ${roles[role].join(' ')}`).join('; ')}`);

export const clientSchema = z
  .looseObject({
    id: z.string(),
    name: z.string(),
    scopes: z.array(scopeSchema),
    role: z.enum(roleNames).exactOptional().describe('where the scopes come from'),
    rooms: z.array(z.string()),
    identity: z.literal('own').exactOptional().describe('it has addresses of its own on the mesh'),
    addresses: z.array(z.string()).exactOptional().describe('its own on the mesh, announced under its name'),
    expiresAt: z.int().exactOptional(),
    createdAt: z.int(),
    rotatedAt: z.int().exactOptional().describe('when it was given its newest token'),
    previousUntil: z.int().exactOptional().describe('until then a token that was replaced is good as well'),
    lastUsedAt: z.int().exactOptional(),
    lastUsedFrom: z.string().exactOptional().describe('the address it was last used from'),
    revokedAt: z.int().exactOptional(),
  })
  .meta({ id: 'Client' });

const withToken = z.looseObject({ ...clientSchema.shape, token: z.string() }).meta({ id: 'ClientWithToken' });

const nameSchema = z
  .string()
  .regex(/^[a-z0-9-]{1,32}$/, 'lower-case letters, digits and hyphens, at most 32');

const scopesSchema = z.array(scopeSchema).min(1).max(16);
const roomsSchema = z.array(roomNameSchema).max(64).describe('rooms it is a member of');

const draftSchema = z
  .strictObject({
    name: nameSchema.describe('its holder is app:<name>; never given again, even after revocation'),
    scopes: scopesSchema.exactOptional().describe('either these or a role'),
    role: roleSchema.exactOptional(),
    rooms: roomsSchema.exactOptional().describe('rooms it is a member of; default [hub]'),
    identity: z
      .enum(['own', 'hub'])
      .exactOptional()
      .describe(
        'own: an LXMF address of its own, announced under its name until it is revoked; default hub: it sends under the address of the hub',
      ),
    expiresAt: timeSchema.exactOptional().describe('ms since 1970; default never'),
  })
  .refine(({ scopes, role }) => (scopes === undefined) !== (role === undefined), {
    path: ['scopes'],
    error: 'either scopes or a role',
    when: ({ value }) => typeof value === 'object' && value !== null,
  })
  .meta({ id: 'ClientDraft', oneOf: [{ required: ['scopes'] }, { required: ['role'] }] });

const changeSchema = z
  .strictObject({
    scopes: scopesSchema.exactOptional().describe('these and no role'),
    role: roleSchema.exactOptional(),
    rooms: roomsSchema.exactOptional(),
    expiresAt: timeSchema.nullable().exactOptional().describe('ms since 1970; null: never'),
  })
  .refine(({ scopes, role }) => scopes === undefined || role === undefined, {
    path: ['scopes'],
    error: 'either scopes or a role',
    when: ({ value }) => typeof value === 'object' && value !== null,
  })
  .meta({ id: 'ClientChange', not: { required: ['scopes', 'role'] } });

/** s that a token is good after it was replaced, by default and at most. */
const usualGrace = 24 * 60 * 60;
const longestGrace = 30 * usualGrace;

const rotationSchema = z
  .strictObject({
    grace: z
      .int()
      .min(0)
      .max(longestGrace)
      .default(usualGrace)
      .describe('seconds that the token it has now is good as well; 0: no more, and its streams end'),
  })
  .meta({ id: 'Rotation' });

/** Whoever has a good token. */
const anyScope = allScopes;

const params = z.strictObject({ id: nameSchema.describe('the name or the id of the client') });

/** Clients and their tokens; for the owner, and what a client may see and do of its own. */
export function tokenRoutes(desk: Desk, clock: Clock): Route[] {
  const inTime = (expiresAt: number | null | undefined) => {
    if (typeof expiresAt === 'number' && expiresAt <= clock.now()) {
      throw inThePast('expiresAt');
    }
  };
  const rotated = async (id: string, grace: number) => {
    const { client, token } = await desk.clients.rotate(id, grace * 1000);
    return { status: 200, audit: { target: client.name }, json: { ...clientJson(client), token } };
  };
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
          schema: withToken,
          headers: { Location: 'where the client can be looked at' },
          links: {
            getTokensId: { id: '$response.body#/id' },
            patchTokensId: { id: '$response.body#/id' },
            postTokensIdRotate: { id: '$response.body#/id' },
            deleteTokensId: { id: '$response.body#/id' },
          },
        },
      },
      async handle({ body }) {
        const { role, scopes = role === undefined ? [] : roles[role], ...draft } = body;
        inTime(draft.expiresAt);
        const { client, token } = await desk.clients.create({ ...draft, scopes, ...(role && { role }) });
        return {
          status: 201,
          headers: { location: `/v1/tokens/${client.name}` },
          json: { ...clientJson(found(desk, client.id)), token },
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
          schema: z.looseObject({ items: z.array(clientSchema), cursor: z.null() }),
        },
      },
      handle: () => ({ status: 200, json: { items: desk.clients.list().map(clientJson), cursor: null } }),
    }),
    route({
      method: 'GET',
      path: '/v1/tokens/{id}',
      summary: 'A client, by its name or id',
      tag: 'tokens',
      audience: ['admin'],
      params,
      responses: { 200: { description: 'the client', schema: clientSchema } },
      handle: ({ params: { id } }) => answerOf(found(desk, id)),
    }),
    route({
      method: 'PATCH',
      path: '/v1/tokens/{id}',
      summary: 'Change the rights of a client; its streams end, and it connects again with what it has now',
      tag: 'tokens',
      audience: ['admin'],
      audit: 'tokens.change',
      params,
      headers: ifMatch,
      body: changeSchema,
      responses: { 200: { description: 'the client as it is now', schema: clientSchema } },
      async handle({ params: { id }, body, header }) {
        inTime(body.expiresAt);
        requireVersion(header('if-match'), String(found(desk, id).version));
        return answerOf(await desk.clients.change(id, body));
      },
    }),
    route({
      method: 'POST',
      path: '/v1/tokens/{id}/rotate',
      summary: 'Give a client another token, shown this once; the one it has is good for a while',
      tag: 'tokens',
      audience: ['admin'],
      audit: 'tokens.rotate',
      params,
      body: rotationSchema,
      optionalBody: true,
      responses: { 200: { description: 'the client and its new token', schema: withToken } },
      handle: ({ params: { id }, body }) => rotated(id, body.grace),
    }),
    route({
      method: 'DELETE',
      path: '/v1/tokens/{id}',
      summary: 'Revoke a token, by the name or id of its client; its streams end',
      tag: 'tokens',
      audience: ['admin'],
      audit: 'tokens.revoke',
      params,
      headers: ifMatch,
      responses: { 204: { description: 'revoked' } },
      async handle({ params: { id }, header }) {
        requireVersion(header('if-match'), String(found(desk, id).version));
        await desk.clients.revoke(id);
        return { status: 204 };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/me',
      summary: 'The client that calls: what it may do, until when, and how it was last used',
      tag: 'tokens',
      audience: anyScope,
      responses: { 200: { description: 'the client', schema: clientSchema } },
      handle: ({ client }) => ({ status: 200, json: clientJson(found(desk, client.id)) }),
    }),
    route({
      method: 'POST',
      path: '/v1/me/rotate',
      summary:
        'Give the client that calls another token, shown this once; the one it has is good for a while',
      tag: 'tokens',
      audience: anyScope,
      audit: 'tokens.rotate',
      body: rotationSchema,
      optionalBody: true,
      responses: { 200: { description: 'the client and its new token', schema: withToken } },
      handle: ({ client, body }) => rotated(client.id, body.grace),
    }),
  ];
}

/** The version before the hash: members that change by being used are no change by others. */
function answerOf(client: ClientView) {
  const json = clientJson(client);
  return {
    status: 200,
    json,
    headers: { etag: versionTag(String(client.version), json) },
  };
}

const ifMatch = { 'If-Match': preconditions['If-Match'] };

function found(desk: Desk, nameOrId: string): ClientView {
  const client = desk.clients.find(nameOrId);
  if (client === undefined) {
    throw new GatewayError('request/not-found', 'no such client');
  }
  return client;
}

function clientJson(client: ClientView) {
  return Object.fromEntries(
    Object.keys(clientSchema.shape).flatMap(key => {
      const value = client[key as keyof ClientView];
      return value === undefined ? [] : [[key, value]];
    }),
  );
}
