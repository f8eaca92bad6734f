import { fromUtf8 } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { QueueCounts, QueueRow, QueueVerbs, Resolution } from './contract.ts';
import type { Outbox } from './outbox.ts';
import { isHeld, isOver, type Operation } from './outbox-operation.ts';
import type { ReplayInput } from './replay.ts';

/** Characters of a version that a row shows. */
const shownText = 64 * 1024;

/** What people see of the operations and may do with them. */
export function createQueue(outbox: Outbox, wake: () => void): QueueVerbs {
  function row(operation: Operation): QueueRow {
    const { id, service, facts, status } = operation;
    const blocked = status.state === 'queued' && outbox.isBlocked(operation);
    const reason = blocked ? 'waits for the one before, which a person has to decide about' : status.reason;
    return {
      id,
      service,
      method: facts.method,
      path: facts.path,
      state: blocked ? 'blocked' : status.state,
      attempts: status.attempts,
      createdAt: facts.createdAt,
      ...(reason !== undefined && { reason }),
      ...(status.nextAt !== undefined && { nextAt: status.nextAt }),
      ...(status.state === 'conflict' && { conflict: versions(operation) }),
    };
  }

  function versions(operation: Operation): NonNullable<QueueRow['conflict']> {
    const text = (name: 'base' | 'request' | 'theirs') => {
      const body = outbox.part(operation, name)?.body;
      return body === undefined || body.length === 0 ? undefined : textOf(body);
    };
    const [base, mine, theirs] = [text('base'), text('request'), text('theirs')];
    return {
      ...(base !== undefined && { base }),
      ...(mine !== undefined && { mine }),
      ...(theirs !== undefined && { theirs }),
    };
  }

  function find(service: string, id: string): Operation {
    const operation = outbox.find(id);
    if (operation === undefined || operation.service !== service) {
      throw new GatewayError('request/not-found', `no operation ${id} of ${service}`);
    }
    return operation;
  }

  async function change(operation: Operation, input: ReplayInput): Promise<QueueRow> {
    const { service, partition, facts, status } = operation;
    const cascade =
      input.on === 'discard' && facts.effect === 'create'
        ? dependants(operation).map(each => ({
            operation: each,
            input: { on: 'discard', reason: 'what it changes was discarded' } as const,
          }))
        : [];
    if (cascade.some(({ operation: each }) => each.status.state === 'inflight')) {
      throw new GatewayError('request/conflict', 'one that depends on it is being sent');
    }
    const after = await outbox.apply(operation, input, { other: cascade });
    if (after === undefined) {
      throw new GatewayError('request/conflict', `it is ${status.state}`, { detail: { service, partition } });
    }
    wake();
    return row(after);
  }

  /** Those that cannot be without it, and without those. */
  function dependants({ seq, service, partition }: Operation): readonly Operation[] {
    const found = new Set([seq]);
    return outbox.of(service, partition).filter(each => {
      const depends = !isOver(each.status) && each.facts.after.some(before => found.has(before));
      if (depends) {
        found.add(each.seq);
      }
      return depends;
    });
  }

  const verbs: QueueVerbs = {
    queue: (service, partition) =>
      outbox
        .of(service, partition)
        .filter(({ status }) => !isOver(status))
        .map(row),
    operation(service, id, partition) {
      const operation = outbox.find(id);
      const mine =
        operation !== undefined &&
        operation.service === service &&
        (partition === undefined || operation.partition === partition);
      return mine ? row(operation) : undefined;
    },
    counts(service) {
      const counts: { -readonly [N in keyof QueueCounts]: number } = { waiting: 0, blocked: 0, conflicts: 0 };
      for (const operation of outbox.of(service)) {
        if (isOver(operation.status)) {
          continue;
        }
        if (operation.status.state === 'conflict') {
          counts.conflicts += 1;
        } else if (isHeld(operation.status) || outbox.isBlocked(operation)) {
          counts.blocked += 1;
        } else {
          counts.waiting += 1;
        }
      }
      return counts;
    },
    async retry(service, id) {
      const operation = find(service, id);
      if (operation.status.state === 'ambiguous') {
        throw new GatewayError(
          'request/conflict',
          'nobody knows whether it was done: say sent or not-sent, or discard it',
        );
      }
      return await change(operation, { on: 'retry' });
    },
    async resolve(service, id, how) {
      const operation = find(service, id);
      return await change(operation, inputOf(operation, how));
    },
  };
  return verbs;
}

/** What a person's word means in a state. */
function inputOf({ status }: Operation, how: Resolution): ReplayInput {
  const { state } = status;
  switch (how) {
    case 'discard':
      return { on: 'discard', reason: 'discarded by a person' };
    case 'mine':
      if (state === 'conflict') {
        return { on: 'over' };
      }
      break;
    case 'theirs':
      if (state === 'conflict') {
        return { on: 'discard', reason: 'a person chose the version of the service' };
      }
      break;
    case 'sent':
      if (state === 'ambiguous') {
        return { on: 'done', reason: 'a person said that it was done' };
      }
      break;
    case 'not-sent':
      if (state === 'ambiguous') {
        return { on: 'not-done' };
      }
      break;
  }
  throw new GatewayError('request/conflict', `"${how}" does not settle an operation that is ${state}`);
}

function textOf(body: Uint8Array): string {
  try {
    return fromUtf8(body, 'body').slice(0, shownText);
  } catch {
    return `${body.length} bytes`;
  }
}
