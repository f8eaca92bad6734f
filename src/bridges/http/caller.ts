import type { FastifyRequest } from 'fastify';
import type { Client } from '../../gateway/desk.ts';
import { GatewayError } from '../../lib/errors.ts';
import { requireScope } from '../access.ts';
import type { Caller } from './audited.ts';
import type { Audience, RouteParts } from './route.ts';

const nobody: Client = { id: '', name: '', scopes: [], rooms: [] };

/** The client that calls, and how it came. */
export function callerOf(
  audience: Audience,
  request: FastifyRequest,
  { listener, access, logins, desk }: Pick<RouteParts, 'listener' | 'access' | 'logins' | 'desk'>,
): Caller {
  if (audience === 'public') {
    return { client: nobody, door: 'token' };
  }
  const header = request.headers.authorization;
  const login = header === undefined ? logins.find(request.raw, request.ip) : undefined;
  if (login !== undefined) {
    desk.clients.used(login.client.id, request.ip);
    listener.prove(request.raw);
    return { client: login.client, door: 'page', login };
  }
  if (header === undefined && listener.isControl(request.raw)) {
    listener.prove(request.raw);
    return { client: access.owner(), door: 'control' };
  }
  const client = access.bearer(header, request.ip);
  listener.prove(request.raw);
  return { client, door: 'token' };
}

/**
 * The caller once its body has come, which may be minutes after its head: with the rights it has by now. Throws
 * `request/unauthenticated` and `request/forbidden`; what was taken from a thief ends what the thief has begun.
 */
export function callerStill(
  audience: Audience,
  { client, login }: Caller,
  { clients }: RouteParts['desk'],
): Client {
  if (audience === 'public') {
    return client;
  }
  if (login?.ended.aborted === true) {
    throw new GatewayError('request/unauthenticated', 'the log-in was ended');
  }
  const now = clients.current(client);
  requireScope(now, audience);
  return now;
}
