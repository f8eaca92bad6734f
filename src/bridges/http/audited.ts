import type { FastifyRequest } from 'fastify';
import type { AuditEntry, Door } from '../../gateway/audit-entry.ts';
import type { Client } from '../../gateway/desk.ts';
import { codeOf, isGatewayError } from '../../lib/errors.ts';
import { isObject } from '../json.ts';
import { problemOf } from '../problems.ts';
import type { FoundLogin } from './logins.ts';
import { operationIdOf } from './operation.ts';
import type { Answer, Route } from './route.ts';

/** Who calls an operation, and how they came. */
export interface Caller {
  readonly client: Client;
  readonly door: Door;
  /** Of a browser. */
  readonly login?: FoundLogin;
}

/** Scopes whose operations change the hub itself: each of them is on the record unless its route says otherwise. */
const recorded: ReadonlySet<string> = new Set(['admin', 'rooms:write', 'mesh:read']);

/** Under which name an operation is on the record; undefined where it is not. */
export function actionOf(one: Route): string | undefined {
  if (one.audit !== undefined) {
    return one.audit === false ? undefined : one.audit;
  }
  const changes = one.method !== 'GET' && one.audience !== 'public';
  return changes && one.audience.some(scope => recorded.has(scope)) ? operationIdOf(one) : undefined;
}

/** The line of what was done. The target is what the answer says it is, the path's parameters, or what was made. */
export function doneEntry(
  action: string,
  { client, door }: Caller,
  request: FastifyRequest,
  call: { readonly params: unknown; readonly body: unknown },
  answer: Answer,
): AuditEntry {
  const { audit } = answer;
  const said = audit === false ? undefined : audit;
  const target = said?.target ?? targetOf(call.params) ?? lastOf(answer.headers?.location);
  const changes = (request.method === 'PATCH' || request.method === 'PUT') && isObject(call.body);
  return {
    actor: said?.actor ?? actorOf(client),
    door: said?.door ?? door,
    from: originOf(door, request),
    action,
    ...(target !== undefined && { target }),
    ...(changes && { keys: Object.keys(call.body as object) }),
    status: answer.status,
  };
}

/** The line of what was refused or failed; undefined for a mere mistake in the request, which asked for nothing. */
export function refusedEntry(
  action: string,
  { client, door }: Caller,
  request: FastifyRequest,
  params: unknown,
  error: unknown,
): AuditEntry | undefined {
  if (isGatewayError(error, 'request/invalid', 'request/unsupported', 'request/too-large')) {
    return undefined;
  }
  const target = targetOf(params);
  return {
    actor: actorOf(client),
    door,
    from: originOf(door, request),
    action,
    ...(target !== undefined && { target }),
    status: problemOf(error).status,
    code: codeOf(error),
  };
}

function actorOf({ name }: Client): string {
  return name === '' ? '' : `app:${name}`;
}

function originOf(door: Door, request: FastifyRequest): string {
  return door === 'control' ? '' : request.ip;
}

function targetOf(params: unknown): string | undefined {
  const values = isObject(params) ? Object.values(params).map(String) : [];
  return values.length === 0 ? undefined : values.join('/');
}

function lastOf(location: string | undefined): string | undefined {
  const last = location?.split('/').at(-1);
  return last === undefined || last === '' ? undefined : decodeURIComponent(last);
}
