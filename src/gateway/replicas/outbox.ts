import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { orderedId } from '../ids.ts';
import type { GivenId, NewOperation, OperationChange, OutboxParts } from '../store/outbox-table.ts';
import type { Store } from '../store/store.ts';
import { idsIn, pathWithIds } from './idmap.ts';
import {
  isHeld,
  isOver,
  type Operation,
  type OperationFacts,
  type OperationStatus,
  shifted,
} from './outbox-operation.ts';
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

/** Bytes of opened bodies kept in memory. */
const openedBytes = 8 * 1024 * 1024;

export type PartName = keyof OutboxParts;
export type Parts = { readonly [N in PartName]?: Part };

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
  const { store, seal, clock, random, log, counters } = options;
  const limits = { ...outboxLimits, ...options.limits };
  const operations = new Map<number, Operation>();
  const byId = new Map<string, number>();
  const byKey = new Map<string, number>();
  const byPartition = new Map<string, Set<number>>();
  const byCollection = new Map<string, Set<number>>();
  const given = new Map<string, Map<string, string>>();
  const pending = new Map<string, Map<string, number>>();
  const listeners = new Set<(operation: Operation) => void>();
  const changing = new Map<number, Promise<unknown>>();
  const opened = new Map<string, { part: Part | undefined; bytes: number }>();
  let openedTotal = 0;
  /** Operations not over, in their order, and what they take. */
  const open = new Set<number>();
  const openOf = new Map<string, number>();
  const openBytes = new Map<string, number>();
  let overBytes = 0;
  const noIds: ReadonlyMap<string, string> = new Map();
  const nonePending: ReadonlyMap<string, number> = new Map();

  const scope = (service: string, partition: string) => `${service} ${partition}`;
  const list = (at: Operation, collection: string) => `${scope(at.service, at.partition)} ${collection}`;

  function index(operation: Operation): void {
    const { seq, service, partition, facts } = operation;
    operations.set(seq, operation);
    byId.set(operation.id, seq);
    if (operation.clientKey !== undefined) {
      byKey.set(operation.clientKey, seq);
    }
    byPartition.getOrInsertComputed(scope(service, partition), () => new Set()).add(seq);
    indexCollection(operation);
    if (facts.effect === 'create' && facts.item !== undefined && !isOver(operation.status)) {
      pending.getOrInsertComputed(scope(service, partition), () => new Map()).set(facts.item, seq);
    }
    if (isOver(operation.status)) {
      overBytes += operation.bytes;
    } else {
      count(operation, 1);
    }
  }

  function count(operation: Operation, by: 1 | -1): void {
    const { seq, service, partition, bytes } = operation;
    if (by === 1) {
      open.add(seq);
    } else {
      open.delete(seq);
    }
    const own = scope(service, partition);
    const left = (openOf.get(own) ?? 0) + by;
    if (left === 0) {
      openOf.delete(own);
    } else {
      openOf.set(own, left);
    }
    openBytes.set(service, (openBytes.get(service) ?? 0) + by * bytes);
  }

  /** Under the path its list has now: a list below an item changes its path with the item's id. */
  function indexCollection(operation: Operation): void {
    const { collection } = operation.facts;
    if (collection !== undefined) {
      const key = list(operation, nowCalled(operation, collection));
      byCollection.getOrInsertComputed(key, () => new Set()).add(operation.seq);
    }
  }

  function nowCalled({ service, partition }: Operation, path: string): string {
    return pathWithIds(path, given.get(scope(service, partition)) ?? noIds);
  }

  function unindex(operation: Operation): void {
    const { seq, service, partition, facts } = operation;
    operations.delete(seq);
    byId.delete(operation.id);
    if (operation.clientKey !== undefined) {
      byKey.delete(operation.clientKey);
    }
    drop(byPartition, scope(service, partition), seq);
    if (facts.collection !== undefined) {
      drop(byCollection, list(operation, facts.collection), seq);
      drop(byCollection, list(operation, nowCalled(operation, facts.collection)), seq);
    }
    settleId(operation);
    forgetOpened(seq);
    if (isOver(operation.status)) {
      overBytes -= operation.bytes;
    } else {
      count(operation, -1);
    }
  }

  function settleId({ service, partition, facts }: Operation): void {
    const own = pending.get(scope(service, partition));
    if (facts.effect === 'create' && facts.item !== undefined) {
      own?.delete(facts.item);
    }
  }

  function replace(before: Operation, after: Operation): void {
    operations.set(after.seq, after);
    if (isOver(before.status)) {
      return;
    }
    if (isOver(after.status)) {
      count(before, -1);
      overBytes += after.bytes;
      settleId(after);
    } else {
      openBytes.set(after.service, (openBytes.get(after.service) ?? 0) + after.bytes - before.bytes);
    }
  }

  function forgetOpened(seq: number): void {
    for (const name of partNames) {
      const key = `${seq} ${name}`;
      openedTotal -= opened.get(key)?.bytes ?? 0;
      opened.delete(key);
    }
  }

  function remember(key: string, part: Part | undefined): void {
    const bytes = (part?.body.length ?? 0) + 512;
    opened.set(key, { part, bytes });
    openedTotal += bytes;
    for (const [oldest, { bytes: freed }] of opened) {
      if (openedTotal <= openedBytes) {
        break;
      }
      opened.delete(oldest);
      openedTotal -= freed;
    }
  }

  function sealed(id: string, parts: { readonly [N in PartName]?: Part | null }): Partial<OutboxParts> {
    return Object.fromEntries(
      Object.entries(parts).map(([name, part]) => [
        name,
        part === null || part === undefined
          ? name === 'request'
            ? new Uint8Array()
            : null
          : seal.seal(part, `${id} ${name}`),
      ]),
    );
  }

  function changeOf(after: Operation, parts: Partial<OutboxParts> = {}): OperationChange {
    return {
      seq: after.seq,
      state: after.status.state,
      nextAt: after.status.nextAt ?? null,
      status: JSON.stringify(after.status),
      ...parts,
    };
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

  function readGiven(): void {
    given.clear();
    for (const { service, partition, provisional, given: now } of store.outbox.givenIds()) {
      given.getOrInsertComputed(scope(service, partition), () => new Map()).set(provisional, now);
    }
  }

  /** Provisional ids too many, the oldest first; not those that an operation to be sent names in its path or comes after. */
  function idsTooMany(): readonly Pick<GivenId, 'service' | 'partition' | 'provisional'>[] {
    const total = given.values().reduce((sum, { size }) => sum + size, 0);
    const share = total <= limits.ids ? Number.POSITIVE_INFINITY : Math.floor(limits.ids / given.size);
    const most = Math.min(limits.idsPerPartition, share);
    return [...given].flatMap(([own, ids]) => {
      if (ids.size <= most) {
        return [];
      }
      const [service = '', partition = ''] = own.split(' ');
      const needed = new Set(
        some(byPartition.get(own))
          .filter(({ status }) => !isOver(status))
          .flatMap(({ facts }) => [
            ...idsIn(facts.path, undefined, ids),
            ...facts.after.map(seq => operations.get(seq)?.facts.item),
          ]),
      );
      return [...ids.keys()]
        .slice(0, ids.size - most)
        .filter(provisional => !needed.has(provisional))
        .map(provisional => ({ service, partition, provisional }));
    });
  }

  readGiven();
  for (const row of store.outbox.operations()) {
    index({
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

  const some = (seqs: Iterable<number> | undefined) =>
    [...(seqs ?? [])].sort((a, b) => a - b).map(seq => operations.get(seq) as Operation);

  const outbox: Outbox = {
    get: seq => operations.get(seq),
    find: id => operations.get(byId.get(id) ?? -1),
    byKey: key => operations.get(byKey.get(key) ?? -1),
    of(service, partition) {
      return partition === undefined
        ? [...operations.values()].filter(operation => operation.service === service)
        : some(byPartition.get(scope(service, partition)));
    },
    waits: (service, partition) => openOf.has(scope(service, partition)),
    touching: (service, partition, collection) =>
      some(byCollection.get(`${scope(service, partition)} ${collection}`)),
    all: () => operations.values(),
    *open() {
      for (const seq of open) {
        yield operations.get(seq) as Operation;
      }
    },
    givenIds: (service, partition) => given.get(scope(service, partition)) ?? noIds,
    pendingIds: (service, partition) => pending.get(scope(service, partition)) ?? nonePending,
    part(operation, name) {
      const key = `${operation.seq} ${name}`;
      const known = opened.get(key);
      if (known !== undefined) {
        return known.part;
      }
      const bytes = store.outbox.parts(operation.seq)?.[name];
      let part: Part | undefined;
      if (bytes !== undefined && bytes !== null && bytes.length > 0) {
        try {
          part = seal.open(bytes, `${operation.id} ${name}`);
        } catch (error) {
          // It is shown and held like any other, but for what nobody can read.
          counters.add('replica/outbox/unreadable');
          log.error(
            { operation: operation.id.slice(-8), code: codeOf(error) },
            'a queued write cannot be opened',
          );
        }
      }
      remember(key, part);
      return part;
    },
    async add(fresh) {
      const { service, partition, clientKey, state, parts, budget } = fresh;
      const id = orderedId(clock, random);
      const columns = sealed(id, parts);
      const bytes = sizeOf(columns);
      const taken = (openBytes.get(service) ?? 0) + bytes;
      const waiting = openOf.get(scope(service, partition)) ?? 0;
      if (open.size >= limits.operations || waiting >= limits.perPartition || taken > budget) {
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
      index(operation);
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
        const columns = sealed(before.id, parts);
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
        forgetOpened(before.seq);
        for (const id of mapped) {
          given.getOrInsertComputed(scope(service, partition), () => new Map()).set(id.provisional, id.given);
        }
        if (mapped.length > 0) {
          some(byPartition.get(scope(service, partition))).forEach(indexCollection);
        }
        replace(before, grown);
        for (const { was, is } of also) {
          replace(was, is);
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
          unindex(now);
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
      const all = [...operations.values()].filter(({ status }) => (status.history.at(-1)?.at ?? 0) >= since);
      return alone(
        all.map(({ seq }) => seq),
        async () => {
          const moved = all.flatMap(({ seq }) => {
            const now = operations.get(seq);
            return now === undefined ? [] : [{ ...now, status: shifted(now.status, since, by) }];
          });
          await store.committer.commit('outbox.write', { changes: moved.map(each => changeOf(each)) });
          for (const operation of moved) {
            operations.set(operation.seq, operation);
          }
        },
      );
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    isCrowded: () => overBytes > limits.overBytes,
    async sweep(mayForget) {
      const now = clock.now();
      const over = [...operations.values()].filter(({ status }) => isOver(status));
      const named = new Set(
        [...operations.values()].flatMap(({ status, facts }) => (isOver(status) ? [] : facts.after)),
      );
      let left = over.length;
      let bytes = overBytes;
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
        forgetIds: { before: now - limits.idAge, ids: idsTooMany() },
      });
      gone.forEach(unindex);
      if (store.outbox.countGiven() !== given.values().reduce((sum, { size }) => sum + size, 0)) {
        readGiven();
      }
    },
  };
  return outbox;
}

const partNames: readonly PartName[] = ['request', 'base', 'answer', 'outcome', 'theirs'];

function drop<K>(sets: Map<K, Set<number>>, key: K, seq: number): void {
  const set = sets.get(key);
  set?.delete(seq);
  if (set?.size === 0) {
    sets.delete(key);
  }
}

function sizeOf(parts: Partial<OutboxParts>): number {
  return Object.values(parts).reduce((sum, bytes) => sum + (bytes?.length ?? 0), 0);
}
