import type { FastifyRequest } from 'fastify';
import type { Client } from '../../../gateway/desk.ts';
import type { Access } from '../../access.ts';

/** The password of a Basic header, which is a token here; undefined for another header. */
function basicPassword(header: string | undefined): string | undefined {
  const pair = /^basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(header ?? '')?.[1];
  if (pair === undefined) {
    return undefined;
  }
  const text = Buffer.from(pair, 'base64').toString('utf8');
  return text.slice(text.indexOf(':') + 1);
}

/** The client whose token is a bearer, or the password of Basic with whatever name. Throws as `Access` does. */
export function holderOf(
  access: Access,
  header: string | undefined,
  { ip }: Pick<FastifyRequest, 'ip'>,
): Client {
  const password = basicPassword(header);
  return password === undefined ? access.bearer(header, ip) : access.client(password, ip);
}
