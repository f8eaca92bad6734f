import type { Reply } from '../../gateway/replicas/exchange.ts';
import type { Fields } from '../../gateway/replicas/fields.ts';
import type { Replicas } from '../../gateway/replicas/replicas.ts';
import { policyTable } from '../../gateway/replicas/table.ts';
import { GatewayError } from '../../lib/errors.ts';

const own = /^\/_replica(?:\/([a-z]+)(?:\/([A-Za-z0-9_-]{1,64}))?)?\/?(?:\?.*)?$/;

/** Whether a path below a service is the gateway's own. */
export function isOwnPath(path: string): boolean {
  return /^\/_replica(?:[/?]|$)/.test(path);
}

/**
 * `_replica/health`, `_replica/queue` (of who asks), `_replica/queue/{id}` and `_replica/policy` of a service.
 * Throws `request/not-found`, `request/method-not-allowed`.
 */
export async function ownReply(
  replicas: Replicas,
  service: string,
  method: string,
  path: string,
  headers: Fields,
): Promise<Reply> {
  const [whole, what, id] = own.exec(path) ?? [];
  if (whole === undefined) {
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
