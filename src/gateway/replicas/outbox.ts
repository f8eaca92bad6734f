import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { orderedId } from '../ids.ts';
import type { NewOperation, OperationChange, OutboxParts } from '../store/outbox-table.ts';
import type { Store } from '../store/store.ts';
import { OperationIndex } from './outbox-index.ts';
import {
  isHeld,
  isOver,
  type Operation,
  type OperationFacts,
  type OperationStatus,
  shifted,
} from './outbox-operation.ts';
import { type PartName, PartShelf, type Parts } from './outbox-parts.ts';
import type { Part, Seal } from './outbox-seal.ts';
import { type ReplayInput, step } from './replay.ts';

/** Bounds of the queue of a hub; docs/limits.md has the reasons. */
export interface OutboxLimits {
  /** Operations not over, in all and of one user of one service. */
  readonly operations: number;
  readonly perPartition: number;
  /** Operations that are over and still kept (twice as many where stored answers are older), and ms they are kept. */
  readonly over: number;
  readonly overAge: number;
  /** Bytes of operations that are over; twice as many where stored answers are older. */
  readonly overBytes: number;
  /** ms a provisional id is known. */
  readonly idAge: number;
  /** Provisional ids known, in all and of one user of one service; those that what waits names are known beside them. */
  readonly ids: number;
  readonly idsPerPartition: number;
}

const day = 24 * 60 * 60 * 1000;

export const outboxLimits: OutboxLimits = {
  operations: 10_000,
  perPartition: 5000,
  over: 5000,
  overAge: 45 * day,
  overBytes: 64 * 1024 * 1024,
  idAge: 90 * day,
  ids: 50_000,
  idsPerPartition: 10_000,
};

export interface NewParts {
  readonly facts: Omit<OperationFacts, 'key'> & { readonly key?: string };
  readonly service: string;
  readonly partition: string;
  readonly clientKey: string | undefined;
  readonly state: 'queued' | 'inflight';
  readonly parts: Parts & { readonly request: Part };
  /** Bytes that queued writes of the service may take. */
  readonly budget: number;
}

/**
 * The operations of a hub: rows on disk, their sealed parts read on demand, and an index of the rest in memory. Every
 * change is on disk before it is seen here.
 */
export interface Outbox {
  get(seq: number): Operation | undefined;
  find(id: string): Operation | undefined;
  byKey(clientKey: string): Operation | undefined;
  /** Operations of a user, or of everybody, oldest first. */
  of(service: string, partition?: string): readonly Operation[];
  /** Whether a user has operations that are not over. */
  waits(service: string, partition: string): boolean;
  /** Those that touch a list or its items, oldest first. */
  touching(service: string, partition: string, collection: string): readonly Operation[];
  all(): Iterable<Operation>;
  /** Operations that are not over, oldest first. */
  open(): Iterable<Operation>;
  /** Provisional id → what the origin gave, of a user; empty where there is none. */
  givenIds(service: string, partition: string): ReadonlyMap<string, string>;
  /** Provisional id → operation that makes it, of a user, where it has not been given yet. */
  pendingIds(service: string, partition: string): ReadonlyMap<string, number>;
  part(operation: Operation, name: PartName): Part | undefined;
  /** Durable when it resolves. Throws `store/full`, `store/unavailable`. */
  add(operation: NewParts): Promise<Operation>;
  /**
   * Applies an input; undefined where it does not apply any more. `parts` go with it, null takes one away; `other`
   * are inputs to other operations in the same transaction.
   */
  apply(
    operation: Operation,
    input: ReplayInput,
    options?: {
      readonly parts?: { readonly [N in PartName]?: Part | null };
      /** Nobody was told a provisional id: none is remembered. */
      readonly untold?: boolean;
      readonly other?: readonly { readonly operation: Operation; readonly input: ReplayInput }[];
    },
  ): Promise<Operation | undefined>;
  remove(operation: Operation): Promise<void>;
  /** Whether an operation must wait for a person's word on one before it. */
  isBlocked(operation: Operation): boolean;
  /** Times noted since a moment move with a clock that was set. */
  shift(since: number, by: number): Promise<void>;
  /** Called after every change. */
  onChange(listener: (operation: Operation) => void): () => void;
  /** Whether what is over takes more than it may. */
  isCrowded(): boolean;
  /** Forgets what is over, where `mayForget` agrees or the bounds leave no choice. */
  sweep(mayForget: (operation: Operation) => boolean): Promise<void>;
}

export interface OutboxOptions {
  readonly store: Pick<Store, 'committer' | 'outbox'>;
  readonly seal: Seal;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly limits?: Partial<OutboxLimits>;
}

/** Reads every row. Throws `store/unavailable`. */
export function openOutbox(options: OutboxOptions): Outbox {
  const { store, clock, random, counters } = options;
  const limits = { ...outboxLimits, ...options.limits };
  const operations = new OperationIndex();
  const shelf = new PartShelf(options);
  const listeners = new Set<(operation: Operation) => void>();
  const changing = new Map<number, Promise<unknown>>();

  function changeOf(after: Operation, parts: Partial<OutboxParts> = {}): OperationChange {
    return {
      seq: after.seq,
      state: after.status.state,
      nextAt: after.status.nextAt ?? null,
      status: JSON.stringify(after.status),
      ...parts,
    };
  }

  function drop(operation: Operation): void {
    operations.remove(operation);
    shelf.forget(operation.seq);
  }

  function tell(operation: Operation): void {
    counters.add(`replica/outbox/${operation.status.state}`);
    for (const listener of listeners) {
      listener(operation);
    }
  }

  /** Changes of one operation follow one another: each starts from what the one before has written. */
  async function alone<T>(seqs: readonly number[], act: () => Promise<T>): Promise<T> {
    const before = Promise.allSettled(seqs.map(seq => changing.get(seq)));
    const done = before.then(act);
    const settled = done.catch(() => undefined);
    for (const seq of seqs) {
      changing.set(seq, settled);
    }
    try {
      return await done;
    } finally {
      for (const seq of seqs) {
        if (changing.get(seq) === settled) {
          changing.delete(seq);
        }
      }
    }
  }

  function advanced(operation: Operation, input: ReplayInput): Operation | undefined {
    const status = step(operation.status, input, clock.now(), { fraction: random.fraction() });
    return status === undefined ? undefined : { ...operation, status };
  }

  operations.readGiven(store.outbox.givenIds());
  for (const row of store.outbox.operations()) {
    operations.add({
      seq: row.seq,
      id: row.id,
      service: row.service,
      partition: row.partition,
      clientKey: row.client_key ?? undefined,
      facts: JSON.parse(row.facts) as OperationFacts,
      status: JSON.parse(row.status) as OperationStatus,
      bytes: row.bytes,
    });
  }

  return {
    get: seq => operations.get(seq),
    find: id => operations.find(id),
    byKey: key => operations.byKey(key),
    of(service, partition) {
      return partition === undefined
        ? [...operations.all()].filter(operation => operation.service === service)
        : operations.ofPartition(service, partition);
    },
    waits: (service, partition) => operations.openOf(service, partition) > 0,
    touching: (service, partition, collection) => operations.touching(service, partition, collection),
    all: () => operations.all(),
    open: () => operations.open(),
    givenIds: (service, partition) => operations.givenIds(service, partition),
    pendingIds: (service, partition) => operations.pendingIds(service, partition),
    part: (operation, name) => shelf.read(operation, name),
    async add(fresh) {
      const { service, partition, clientKey, state, parts, budget } = fresh;
      const id = orderedId(clock, random);
      const columns = shelf.sealed(id, parts);
      const bytes = sizeOf(columns);
      const taken = operations.openBytes(service) + bytes;
      const waiting = operations.openOf(service, partition);
      if (operations.openCount >= limits.operations || waiting >= limits.perPartition || taken > budget) {
        counters.add('replica/outbox/full');
        throw new GatewayError('store/full', `the queue of ${service} is full: the write is not kept`, {
          retryable: true,
          detail: { service, retryAfter: 60 },
        });
      }
      const now = clock.now();
      const facts: OperationFacts = { key: id, ...fresh.facts };
      const status: OperationStatus = {
        state,
        attempts: state === 'inflight' ? 1 : 0,
        failures: 0,
        ...(state === 'inflight' && { sentAt: now }),
        history: [{ state, at: now }],
      };
      const row: NewOperation = {
        id,
        service,
        partition,
        state,
        nextAt: null,
        clientKey: clientKey ?? null,
        facts: JSON.stringify(facts),
        status: JSON.stringify(status),
        base: null,
        answer: null,
        outcome: null,
        theirs: null,
        ...columns,
        request: columns.request as Uint8Array,
      };
      const seq = (await store.committer.commit('outbox.write', { add: row })) as number;
      const operation: Operation = { seq, id, service, partition, clientKey, facts, status, bytes };
      operations.add(operation);
      tell(operation);
      return operation;
    },
    apply(operation, input, { parts = {}, untold = false, other = [] } = {}) {
      const all = [operation.seq, ...other.map(each => each.operation.seq)];
      return alone(all, async () => {
        const before = operations.get(operation.seq);
        const after = before === undefined ? undefined : advanced(before, input);
        if (before === undefined || after === undefined) {
          return undefined;
        }
        const columns = shelf.sealed(before.id, parts);
        const emptied = parts.request === null && parts.base === null && parts.answer === null;
        const grown = { ...after, bytes: (emptied ? 0 : before.bytes) + sizeOf(columns) };
        const also = other.flatMap(each => {
          const was = operations.get(each.operation.seq);
          const is = was === undefined ? undefined : advanced(was, each.input);
          return was === undefined || is === undefined ? [] : [{ was, is }];
        });
        const { service, partition, facts, status } = after;
        const mapped =
          !untold && facts.effect === 'create' && facts.item !== undefined && status.given !== undefined
            ? [{ service, partition, provisional: facts.item, given: status.given, at: clock.now() }]
            : [];
        await store.committer.commit('outbox.write', {
          changes: [changeOf(grown, columns), ...also.map(({ is }) => changeOf(is))],
          ids: mapped,
        });
        shelf.forget(before.seq);
        if (mapped.length > 0) {
          operations.give(service, partition, mapped);
        }
        operations.replace(before, grown);
        for (const { was, is } of also) {
          operations.replace(was, is);
        }
        tell(grown);
        for (const { is } of also) {
          tell(is);
        }
        return grown;
      });
    },
    remove: operation =>
      alone([operation.seq], async () => {
        await store.committer.commit('outbox.write', { remove: [operation.seq] });
        const now = operations.get(operation.seq);
        if (now !== undefined) {
          drop(now);
        }
      }),
    isBlocked(operation) {
      const seen = new Set<number>();
      const holds = (seq: number): boolean => {
        const before = operations.get(seq);
        if (before === undefined || isOver(before.status) || seen.has(seq)) {
          return false;
        }
        seen.add(seq);
        return isHeld(before.status) || before.facts.after.some(holds);
      };
      return !isOver(operation.status) && operation.facts.after.some(holds);
    },
    shift(since, by) {
      const all = [...operations.all()].filter(({ status }) => (status.history.at(-1)?.at ?? 0) >= since);
      return alone(
        all.map(({ seq }) => seq),
        async () => {
          const moved = all.flatMap(({ seq }) => {
            const now = operations.get(seq);
            return now === undefined ? [] : [{ ...now, status: shifted(now.status, since, by) }];
          });
          await store.committer.commit('outbox.write', { changes: moved.map(each => changeOf(each)) });
          for (const operation of moved) {
            const was = operations.get(operation.seq);
            if (was !== undefined) {
              operations.replace(was, operation);
            }
          }
        },
      );
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    isCrowded: () => operations.overBytes > limits.overBytes,
    async sweep(mayForget) {
      const now = clock.now();
      const over = [...operations.all()].filter(({ status }) => isOver(status));
      const named = new Set(
        [...operations.all()].flatMap(({ status, facts }) => (isOver(status) ? [] : facts.after)),
      );
      let left = over.length;
      let bytes = operations.overBytes;
      const gone = over.filter(operation => {
        const at = operation.status.history.at(-1)?.at ?? 0;
        const many = left > limits.over || bytes > limits.overBytes;
        const settled = mayForget(operation) && (now - at > day || many);
        // What something stored is older than covers it: it goes last of all.
        const far = left > 2 * limits.over || bytes > 2 * limits.overBytes;
        const goes = !named.has(operation.seq) && (settled || far || now - at > limits.overAge);
        left -= goes ? 1 : 0;
        bytes -= goes ? operation.bytes : 0;
        return goes;
      });
      await store.committer.commit('outbox.write', {
        remove: gone.map(({ seq }) => seq),
        forgetIds: { before: now - limits.idAge, ids: operations.idsTooMany(limits) },
      });
      gone.forEach(drop);
      if (store.outbox.countGiven() !== operations.givenCount) {
        operations.readGiven(store.outbox.givenIds());
      }
    },
  };
}

function sizeOf(parts: Partial<OutboxParts>): number {
  return Object.values(parts).reduce((sum, bytes) => sum + (bytes?.length ?? 0), 0);
}
