import type { GivenId } from '../store/outbox-table.ts';
import { idsIn, pathWithIds } from './idmap.ts';
import { isOver, type Operation } from './outbox-operation.ts';

const noIds: ReadonlyMap<string, string> = new Map();
const nonePending: ReadonlyMap<string, number> = new Map();

/** What the operations of a hub are found by, and what they take: all in memory, of what is on disk. */
export class OperationIndex {
  readonly #operations = new Map<number, Operation>();
  readonly #byId = new Map<string, number>();
  readonly #byKey = new Map<string, number>();
  readonly #byPartition = new Map<string, Set<number>>();
  readonly #byCollection = new Map<string, Set<number>>();
  readonly #given = new Map<string, Map<string, string>>();
  readonly #pending = new Map<string, Map<string, number>>();
  /** Operations not over, in their order, and what they take. */
  readonly #open = new Set<number>();
  readonly #openOf = new Map<string, number>();
  readonly #openBytes = new Map<string, number>();
  #overBytes = 0;

  /** Bytes of operations that are over. */
  get overBytes(): number {
    return this.#overBytes;
  }

  /** Operations that are not over. */
  get openCount(): number {
    return this.#open.size;
  }

  /** Provisional ids known. */
  get givenCount(): number {
    return this.#given.values().reduce((sum, { size }) => sum + size, 0);
  }

  get(seq: number): Operation | undefined {
    return this.#operations.get(seq);
  }

  find(id: string): Operation | undefined {
    return this.#operations.get(this.#byId.get(id) ?? -1);
  }

  byKey(clientKey: string): Operation | undefined {
    return this.#operations.get(this.#byKey.get(clientKey) ?? -1);
  }

  all(): Iterable<Operation> {
    return this.#operations.values();
  }

  /** Operations that are not over, oldest first. */
  *open(): Iterable<Operation> {
    for (const seq of this.#open) {
      yield this.#operations.get(seq) as Operation;
    }
  }

  /** Of a user of a service, oldest first. */
  ofPartition(service: string, partition: string): Operation[] {
    return this.#inOrder(this.#byPartition.get(scope(service, partition)));
  }

  /** Those that touch a list or its items, oldest first. */
  touching(service: string, partition: string, collection: string): Operation[] {
    return this.#inOrder(this.#byCollection.get(`${scope(service, partition)} ${collection}`));
  }

  /** Operations of a user of a service that are not over. */
  openOf(service: string, partition: string): number {
    return this.#openOf.get(scope(service, partition)) ?? 0;
  }

  /** Bytes of operations of a service that are not over. */
  openBytes(service: string): number {
    return this.#openBytes.get(service) ?? 0;
  }

  /** Provisional id → what the origin gave, of a user. */
  givenIds(service: string, partition: string): ReadonlyMap<string, string> {
    return this.#given.get(scope(service, partition)) ?? noIds;
  }

  /** Provisional id → operation that makes it, of a user, where it has not been given yet. */
  pendingIds(service: string, partition: string): ReadonlyMap<string, number> {
    return this.#pending.get(scope(service, partition)) ?? nonePending;
  }

  /** A new one. */
  add(operation: Operation): void {
    const { seq, service, partition, facts } = operation;
    this.#operations.set(seq, operation);
    this.#byId.set(operation.id, seq);
    if (operation.clientKey !== undefined) {
      this.#byKey.set(operation.clientKey, seq);
    }
    this.#byPartition.getOrInsertComputed(scope(service, partition), () => new Set()).add(seq);
    this.#addToList(operation);
    if (facts.effect === 'create' && facts.item !== undefined && !isOver(operation.status)) {
      this.#pending.getOrInsertComputed(scope(service, partition), () => new Map()).set(facts.item, seq);
    }
    if (isOver(operation.status)) {
      this.#overBytes += operation.bytes;
    } else {
      this.#count(operation, 1);
    }
  }

  remove(operation: Operation): void {
    const { seq, service, partition, facts } = operation;
    this.#operations.delete(seq);
    this.#byId.delete(operation.id);
    if (operation.clientKey !== undefined) {
      this.#byKey.delete(operation.clientKey);
    }
    drop(this.#byPartition, scope(service, partition), seq);
    if (facts.collection !== undefined) {
      drop(this.#byCollection, listOf(operation, facts.collection), seq);
      drop(this.#byCollection, listOf(operation, this.#nowCalled(operation, facts.collection)), seq);
    }
    this.#settleId(operation);
    if (isOver(operation.status)) {
      this.#overBytes -= operation.bytes;
    } else {
      this.#count(operation, -1);
    }
  }

  /** The same operation as it is now. */
  replace(before: Operation, after: Operation): void {
    this.#operations.set(after.seq, after);
    if (isOver(before.status)) {
      return;
    }
    if (isOver(after.status)) {
      this.#count(before, -1);
      this.#overBytes += after.bytes;
      this.#settleId(after);
    } else {
      this.#openBytes.set(after.service, this.openBytes(after.service) + after.bytes - before.bytes);
    }
  }

  /** The origin gave ids: lists below an item have another path from now on. */
  give(service: string, partition: string, ids: readonly Pick<GivenId, 'provisional' | 'given'>[]): void {
    const own = this.#given.getOrInsertComputed(scope(service, partition), () => new Map());
    for (const { provisional, given } of ids) {
      own.set(provisional, given);
    }
    for (const operation of this.ofPartition(service, partition)) {
      this.#addToList(operation);
    }
  }

  /** All ids given, and no others. */
  readGiven(ids: Iterable<Pick<GivenId, 'service' | 'partition' | 'provisional' | 'given'>>): void {
    this.#given.clear();
    for (const { service, partition, provisional, given } of ids) {
      this.#given.getOrInsertComputed(scope(service, partition), () => new Map()).set(provisional, given);
    }
  }

  /** Provisional ids too many, the oldest first; not those that an operation to be sent names in its path or comes after. */
  idsTooMany(limits: {
    readonly ids: number;
    readonly idsPerPartition: number;
  }): readonly Pick<GivenId, 'service' | 'partition' | 'provisional'>[] {
    const share =
      this.givenCount <= limits.ids ? Number.POSITIVE_INFINITY : Math.floor(limits.ids / this.#given.size);
    const most = Math.min(limits.idsPerPartition, share);
    return [...this.#given].flatMap(([own, ids]) => {
      if (ids.size <= most) {
        return [];
      }
      const [service = '', partition = ''] = own.split(' ');
      const needed = new Set(
        this.#inOrder(this.#byPartition.get(own))
          .filter(({ status }) => !isOver(status))
          .flatMap(({ facts }) => [
            ...idsIn(facts.path, undefined, ids),
            ...facts.after.map(seq => this.#operations.get(seq)?.facts.item),
          ]),
      );
      return [...ids.keys()]
        .slice(0, ids.size - most)
        .filter(provisional => !needed.has(provisional))
        .map(provisional => ({ service, partition, provisional }));
    });
  }

  #inOrder(seqs: Iterable<number> | undefined): Operation[] {
    return [...(seqs ?? [])].sort((a, b) => a - b).map(seq => this.#operations.get(seq) as Operation);
  }

  #count({ seq, service, partition, bytes }: Operation, by: 1 | -1): void {
    if (by === 1) {
      this.#open.add(seq);
    } else {
      this.#open.delete(seq);
    }
    const own = scope(service, partition);
    const left = (this.#openOf.get(own) ?? 0) + by;
    if (left === 0) {
      this.#openOf.delete(own);
    } else {
      this.#openOf.set(own, left);
    }
    this.#openBytes.set(service, this.openBytes(service) + by * bytes);
  }

  /** Under the path its list has now: a list below an item changes its path with the item's id. */
  #addToList(operation: Operation): void {
    const { collection } = operation.facts;
    if (collection !== undefined) {
      const key = listOf(operation, this.#nowCalled(operation, collection));
      this.#byCollection.getOrInsertComputed(key, () => new Set()).add(operation.seq);
    }
  }

  #nowCalled({ service, partition }: Operation, path: string): string {
    return pathWithIds(path, this.givenIds(service, partition));
  }

  #settleId({ service, partition, facts }: Operation): void {
    if (facts.effect === 'create' && facts.item !== undefined) {
      this.#pending.get(scope(service, partition))?.delete(facts.item);
    }
  }
}

function scope(service: string, partition: string): string {
  return `${service} ${partition}`;
}

function listOf({ service, partition }: Operation, collection: string): string {
  return `${scope(service, partition)} ${collection}`;
}

function drop<K>(sets: Map<K, Set<number>>, key: K, seq: number): void {
  const set = sets.get(key);
  set?.delete(seq);
  if (set?.size === 0) {
    sets.delete(key);
  }
}
