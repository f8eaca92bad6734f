import type { Reply } from '../../gateway/replicas/exchange.ts';
import type { Fields } from '../../gateway/replicas/fields.ts';
import type { Replicas } from '../../gateway/replicas/replicas.ts';
import { policyTable } from '../../gateway/replicas/table.ts';
import { GatewayError } from '../../lib/errors.ts';

const own = /^\/_replica(?:\/([a-z]+)(?:\/([A-Za-z0-9_-]{1,64})(?:\/([a-z-]{1,16}))?)?)?\/?(?:\?.*)?$/;
const resolutions = ['mine', 'theirs', 'discard', 'sent', 'not-sent'] as const;

/** Whether a path below a service is the gateway's own. */
export function isOwnPath(path: string): boolean {
  return /^\/_replica(?:[/?]|$)/.test(path);
}

/**
 * `_replica/health`, `_replica/queue` (of who asks), `_replica/queue/{id}` and `_replica/policy` of a service; a POST to
 * `_replica/queue/{id}/retry`, or `…/mine`, `theirs`, `discard`, `sent`, `not-sent`, decides about a write of one's own.
 * Throws `request/not-found`, `request/method-not-allowed`, `request/conflict`.
 */
export async function ownReply(
  replicas: Replicas,
  service: string,
  method: string,
  path: string,
  headers: Fields,
): Promise<Reply> {
  const [whole, what, id, verb] = own.exec(path) ?? [];
  if (whole === undefined) {
    throw new GatewayError('request/not-found', 'here are health, queue and policy');
  }
  if (what === 'queue' && id !== undefined && verb !== undefined) {
    return await decide(replicas, service, method, headers, id, verb);
  }
  if (verb !== undefined) {
    throw new GatewayError('request/not-found', 'here are health, queue and policy');
  }
  if (method !== 'GET' && method !== 'HEAD') {
    throw new GatewayError('request/method-not-allowed', 'only to be read', {
      detail: { allow: ['GET', 'HEAD'] },
    });
  }
  switch (what) {
    case undefined:
    case 'health':
      return json(replicas.view(service));
    case 'policy': {
      const definition = replicas.host.definition(service);
      return json({ items: definition === undefined ? [] : policyTable(definition) });
    }
    case 'queue': {
      const { partition } = await replicas.standing(service, headers);
      const rows = replicas.queueOf(service, partition);
      if (id === undefined) {
        return json({ items: rows });
      }
      const row = rows.find(each => each.id === id) ?? replicas.operation(service, id, partition);
      if (row === undefined) {
        throw new GatewayError('request/not-found', 'no such operation of yours');
      }
      return json(row);
    }
    default:
      throw new GatewayError('request/not-found', 'here are health, queue and policy');
  }
}

async function decide(
  replicas: Replicas,
  service: string,
  method: string,
  headers: Fields,
  id: string,
  verb: string,
): Promise<Reply> {
  const how = resolutions.find(each => each === verb);
  if (how === undefined && verb !== 'retry') {
    throw new GatewayError('request/not-found', `retry, ${resolutions.join(', ')}`);
  }
  if (method !== 'POST') {
    throw new GatewayError('request/method-not-allowed', 'only to be posted', {
      detail: { allow: ['POST'] },
    });
  }
  const { partition, trusted } = await replicas.standing(service, headers);
  if (!trusted || replicas.operation(service, id, partition) === undefined) {
    throw new GatewayError('request/not-found', 'no such operation of yours');
  }
  return json(
    how === undefined
      ? await replicas.desk.retry(service, id)
      : await replicas.desk.resolve(service, id, how),
  );
}

function json(value: unknown): Reply {
  const body = Buffer.from(JSON.stringify(value));
  return {
    status: 200,
    headers: [
      ['Content-Type', 'application/json'],
      ['Content-Length', String(body.length)],
      ['Cache-Control', 'no-store'],
    ],
    body,
  };
}
