import { type FieldError, GatewayError } from '../lib/errors.ts';
import type { ClientChange, ClientDraft } from './client.ts';
import { type Scope, scopes } from './desk.ts';
import { isTime } from './message.ts';

/** Throws `request/invalid` with every mistake of a draft. */
export function checkDraft(draft: ClientDraft, now: number): void {
  const name = /^[a-z0-9-]{1,32}$/.test(draft.name)
    ? []
    : [{ pointer: '/name', detail: '1 to 32 lower-case letters, digits and hyphens' }];
  refuse([...name, ...scopeMistakes(draft.scopes), ...timeMistakes(draft.expiresAt, now)]);
}

/** Throws `request/invalid` with every mistake of a change. */
export function checkChange(change: ClientChange, now: number): void {
  refuse([
    ...scopeMistakes(change.scopes ?? []),
    // It may be ended at once, but not made to have ended before.
    ...timeMistakes(change.expiresAt ?? undefined, now),
  ]);
}

function scopeMistakes(given: readonly Scope[]): FieldError[] {
  return given.flatMap((scope, index) =>
    scopes.includes(scope) ? [] : [{ pointer: `/scopes/${index}`, detail: `one of ${scopes.join(', ')}` }],
  );
}

function timeMistakes(time: number | undefined, now: number): FieldError[] {
  if (time === undefined) {
    return [];
  }
  if (!isTime(time)) {
    return [{ pointer: '/expiresAt', detail: 'milliseconds since 1970, a whole number' }];
  }
  return time <= now ? [{ pointer: '/expiresAt', detail: 'lies in the past' }] : [];
}

function refuse(errors: readonly FieldError[]): void {
  if (errors.length > 0) {
    throw new GatewayError('request/invalid', 'this client cannot be made so', { errors });
  }
}
