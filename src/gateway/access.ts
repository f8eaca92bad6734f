import { GatewayError } from '../lib/errors.ts';
import type { Client, Scope } from './desk.ts';

/** Whether the client holds the scope; `admin` is all of them. */
export function holds(client: Client, scope: Scope): boolean {
  return client.scopes.includes(scope) || client.scopes.includes('admin');
}

/** Throws `request/forbidden` unless the client holds the scope. */
export function requireScope(client: Client, scope: Scope): void {
  if (!holds(client, scope)) {
    throw new GatewayError('request/forbidden', `needs the scope ${scope}`, { detail: { scope } });
  }
}

/** The limit of a page: 1 to 200, 50 where none is given. Throws `request/invalid`. */
export function pageLimit(limit: number | undefined): number {
  const size = limit ?? 50;
  if (!Number.isInteger(size) || size < 1 || size > 200) {
    const detail = 'a whole number from 1 to 200';
    throw new GatewayError('request/invalid', `limit: ${detail}`, {
      errors: [{ pointer: '/limit', detail }],
    });
  }
  return size;
}
