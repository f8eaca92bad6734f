import { z } from 'zod';
import { type Client, scopes } from '../../gateway/desk.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Access } from '../access.ts';
import { scopeSchema, timeSchema } from '../schema.ts';
import { checkPage } from './login-cookie.ts';
import type { Logins } from './logins.ts';
import { type Call, type Route, route } from './route.ts';

const clientSchema = z.looseObject({
  id: z.string(),
  name: z.string(),
  scopes: z.array(scopeSchema),
  rooms: z.array(z.string()),
  expiresAt: z.int().exactOptional(),
});

const sessionSchema = z
  .looseObject({
    id: z.string(),
    createdAt: timeSchema,
    createdFrom: z.string().describe('the address the browser logged in from'),
    lastUsedAt: timeSchema,
    lastUsedFrom: z.string(),
    userAgent: z.string().describe('what the browser calls itself'),
    expiresAt: timeSchema.describe('when it ends unless it is used before'),
    current: z.boolean().describe('the browser that asks'),
  })
  .meta({ id: 'Session' });

const params = z.strictObject({ id: z.string().regex(/^[0-9a-f]{32}$/, 'the id of a log-in') });

/** Logging browsers in and out, and looking after those that are. */
export function sessionRoutes(parts: { readonly access: Access; readonly logins: Logins }): Route[] {
  const answer = ({ id, name, scopes, rooms, expiresAt }: Client) => ({
    client: { id, name, scopes, rooms, ...(expiresAt !== undefined && { expiresAt }) },
  });
  const own = ({ client, request }: Call<unknown, unknown, unknown>) =>
    parts.logins.list(client, request.raw);
  const schema = z.looseObject({ client: clientSchema });
  return [
    route({
      method: 'POST',
      path: '/v1/session',
      summary: 'Log a browser in with a token; its cookie counts beside the header Kos-Page',
      tag: 'session',
      audience: 'public',
      audit: 'sessions.open',
      body: z.strictObject({ token: z.string().min(1).max(512) }),
      responses: {
        201: { description: 'logged in', schema, headers: { 'Set-Cookie': 'HttpOnly, SameSite=Strict' } },
      },
      handle({ body, request }) {
        checkPage(request.raw);
        const token = body.token.trim();
        const client = parts.access.client(token, request.ip, { door: 'page' });
        const { id, cookie } = parts.logins.open(token, request.raw, request.ip);
        return {
          status: 201,
          audit: { actor: `app:${client.name}`, door: 'page', target: id },
          headers: { 'set-cookie': cookie },
          json: answer(client),
        };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/session',
      summary: 'Whose token or log-in this is',
      tag: 'session',
      audience: scopes,
      responses: {
        200: {
          description: 'the client, and its log-in where a browser asks',
          schema: z.looseObject({ client: clientSchema, session: sessionSchema.exactOptional() }),
        },
      },
      handle(call) {
        const session = own(call).find(({ current }) => current);
        return { status: 200, json: { ...answer(call.client), ...(session !== undefined && { session }) } };
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/session',
      summary: 'Log the browser out; its streams end',
      tag: 'session',
      audience: 'public',
      audit: 'sessions.close',
      responses: { 204: { description: 'logged out, or it was not logged in' } },
      handle({ request }) {
        const { cookie, closed } = parts.logins.close(request.raw);
        return {
          status: 204,
          headers: { 'set-cookie': cookie },
          audit: closed !== undefined && { actor: `app:${closed.name}`, door: 'page', target: closed.id },
        };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/sessions',
      summary: 'Browsers that are logged in with tokens of the client, the one used last first',
      tag: 'session',
      audience: scopes,
      responses: {
        200: {
          description: 'all of them',
          schema: z.looseObject({ items: z.array(sessionSchema), cursor: z.null() }),
        },
      },
      handle: call => ({ status: 200, json: { items: own(call), cursor: null } }),
    }),
    route({
      method: 'DELETE',
      path: '/v1/sessions/{id}',
      summary: 'End the log-in of a browser; its streams end',
      tag: 'session',
      audience: scopes,
      audit: 'sessions.revoke',
      params,
      responses: { 204: { description: 'it is over' } },
      handle({ client, params: { id } }) {
        if (parts.logins.end(client, { id }) === 0) {
          throw new GatewayError('request/not-found', 'no such log-in');
        }
        return { status: 204 };
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/sessions',
      summary: 'End the log-ins of all browsers of the client, or of all but the one that asks',
      tag: 'session',
      audience: scopes,
      audit: 'sessions.revoke',
      query: z.strictObject({
        keep: z.literal('current').exactOptional().describe('the browser that asks stays logged in'),
      }),
      responses: {
        200: { description: 'they are over', schema: z.looseObject({ ended: z.int().min(0) }) },
      },
      handle(call) {
        const isKept = call.query.keep === 'current';
        const but = isKept ? own(call).find(({ current }) => current)?.id : undefined;
        const ended = parts.logins.end(call.client, { but });
        return { status: 200, json: { ended }, audit: { target: isKept ? 'others' : 'all' } };
      },
    }),
  ];
}
