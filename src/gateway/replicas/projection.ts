import type { Base, BaseReads, Projection, ReplicaRequest, ReplicaResponse } from './contract.ts';
import type { Resource } from './definition.ts';
import { field, without } from './fields.ts';
import { pathWithIds } from './idmap.ts';
import type { Outbox } from './outbox.ts';
import { jsonAnswer, jsonOf } from './outbox-answer.ts';
import { isOver, itemOf, type Operation } from './outbox-operation.ts';
import { bare, collectionOf, type WriteService, type WriteServices } from './outbox-service.ts';
import { isObject, type Json, pointed, withPointed } from './pointer.ts';
import type { ResourceMatch } from './policy.ts';
import { absent, madeAnew, shown } from './projection-answer.ts';
import {
  type Change,
  type ItemShape,
  idOf,
  type ListPage,
  projectItem,
  projectList,
} from './projection-fold.ts';
import { filterOf, isFirstPage, isWhole, rowsOf } from './projection-query.ts';

/** What is known of an item before the operations that wait. */
export interface KnownItem {
  readonly json: Json;
  readonly etag?: string;
  readonly asOf: number;
}

/** The projection, and what the write side itself asks of it. */
export interface ProjectionReads extends Projection {
  /** What the origin last said of an item: its own stored answer, or its row in a stored list, whichever is newer. */
  known(
    service: string,
    partition: string,
    path: string,
    match: ResourceMatch,
  ): Promise<KnownItem | undefined>;
  /** Whether a stored list shows that there is no such item. */
  knownAbsent(service: string, partition: string, path: string, match: ResourceMatch): Promise<boolean>;
  /** The item as a reader sees it now, without an operation that is left out. */
  visible(
    service: string,
    partition: string,
    path: string,
    match: ResourceMatch,
    base: KnownItem | undefined,
  ): { readonly json: Json | undefined; readonly changed: boolean };
}

/** Stored pages of a list that are looked through for an item. */
const pagesLookedAt = 16;

export function createProjection(services: WriteServices, outbox: Outbox, reads: BaseReads): ProjectionReads {
  /** Operations on a list or an item that a reading sent at `asOf` may not show, oldest first. */
  function changesOf(
    service: string,
    partition: string,
    collection: string,
    asOf: number,
    item?: string,
  ): Change[] {
    const given = outbox.givenIds(service, partition);
    const changes: Change[] = [];
    for (const operation of outbox.touching(service, partition, pathWithIds(collection, given))) {
      take(operation);
    }
    return changes;

    function take(operation: Operation): void {
      const { facts, status } = operation;
      const id = itemOf(operation, given);
      if (id === undefined || (item !== undefined && id !== item) || !shows(operation, asOf)) {
        return;
      }
      const request = facts.effect === 'delete' ? undefined : outbox.part(operation, 'request');
      const outcome = status.state === 'done' ? outbox.part(operation, 'outcome') : undefined;
      const result = outcome === undefined ? undefined : resultOf(outcome, operation);
      const draft = request === undefined ? undefined : jsonOf(request);
      changes.push({
        effect: facts.effect,
        item: id,
        at: facts.createdAt,
        ...(draft !== undefined && { draft }),
        ...(result !== undefined && { result }),
      });
    }
  }

  /** Whether a reader must see it on top of what the origin said in a reading sent at `asOf`. */
  function shows({ service, facts, status }: Operation, asOf: number): boolean {
    switch (status.state) {
      case 'discarded':
      case 'expired':
        return false;
      case 'done':
        return status.doneAt !== undefined && asOf <= status.doneAt;
      case 'rejected': {
        const write = services(service)?.policies.of(facts.method, facts.path).write;
        return write?.onReject !== 'revert';
      }
      default:
        return true;
    }
  }

  /** The item as the origin gave it back, where that is what it gave. */
  function resultOf(
    outcome: { headers: ReplicaRequest['headers']; body: Uint8Array },
    { service, facts }: Operation,
  ) {
    const json = jsonOf(outcome);
    const resource = services(service)?.policies.resourceOf(facts.path)?.resource;
    return isObject(json) && resource !== undefined && idOf(json, resource.id.pointer) !== undefined
      ? json
      : undefined;
  }

  async function lists(service: string, partition: string, collection: string) {
    const paths = reads
      .pathsBelow(service, partition, collection, pagesLookedAt * 4)
      .filter(path => bare(path) === collection)
      .slice(0, pagesLookedAt);
    const stored = await Promise.all(
      paths.map(async path => ({ path, base: await reads.stored(service, partition, path) })),
    );
    return stored.flatMap(({ path, base }) =>
      base === undefined ? [] : [{ path, base, json: jsonOf(base) }],
    );
  }

  async function known(
    service: string,
    partition: string,
    path: string,
    match: ResourceMatch,
  ): Promise<KnownItem | undefined> {
    const { resource, id } = match;
    const stored = await reads.stored(service, partition, bare(path));
    const own = stored === undefined ? undefined : jsonOf(stored);
    let best: KnownItem | undefined =
      stored === undefined || own === undefined
        ? undefined
        : { json: own, asOf: stored.asOf, ...tagOf(stored.etag ?? field(stored.headers, 'etag')) };
    for (const { base, json } of await lists(service, partition, collectionOf(path, match))) {
      if (best !== undefined && best.asOf >= base.asOf) {
        continue;
      }
      const row = rowsOf(json, resource)?.find(each => idOf(each, resource.id.pointer) === id);
      if (row !== undefined) {
        best = { json: row, asOf: base.asOf };
      }
    }
    return best;
  }

  async function knownAbsent(service: string, partition: string, path: string, match: ResourceMatch) {
    if (!match.resource.complete) {
      return false;
    }
    const collection = collectionOf(path, match);
    const whole = (await lists(service, partition, collection)).find(
      ({ path: at, json }) => at === collection && isWhole(json, match.resource),
    );
    return (
      whole !== undefined &&
      !rowsOf(whole.json, match.resource)?.some(row => idOf(row, match.resource.id.pointer) === match.id)
    );
  }

  function visible(
    service: string,
    partition: string,
    path: string,
    match: ResourceMatch,
    base: KnownItem | undefined,
  ) {
    const shape = (services(service) as WriteService).shapeOf(match);
    const asOf = base?.asOf ?? Number.NEGATIVE_INFINITY;
    const changes = changesOf(service, partition, collectionOf(path, match), asOf, match.id);
    return { json: projectItem(base?.json, changes, shape), changed: changes.length > 0 };
  }

  function pendingIn(service: string, partition: string, collection: string, item?: string): number {
    const given = outbox.givenIds(service, partition);
    return outbox
      .touching(service, partition, collection)
      .filter(
        operation => !isOver(operation.status) && (item === undefined || itemOf(operation, given) === item),
      ).length;
  }

  async function applyItem(
    request: ReplicaRequest,
    base: Base | undefined,
    match: ResourceMatch,
  ): Promise<ReplicaResponse | undefined> {
    const { service, partition, path } = request;
    const said = base !== undefined && base.status === 200 ? jsonOf(base) : undefined;
    const from: KnownItem | undefined =
      base === undefined
        ? await known(service, partition, path, match)
        : said === undefined
          ? undefined
          : { json: said, asOf: base.asOf, ...tagOf(field(base.headers, 'etag')) };
    if (base !== undefined && said === undefined && base.status !== 404 && base.status !== 410) {
      // The origin said something else than the item or that there is none: it stands.
      return undefined;
    }
    const asOf = base?.asOf ?? from?.asOf ?? Number.NEGATIVE_INFINITY;
    const shape = (services(service) as WriteService).shapeOf(match);
    const collection = collectionOf(path, match);
    const changes = changesOf(service, partition, collection, asOf, match.id);
    const json = projectItem(from?.json, changes, shape);
    const pending = pendingIn(service, partition, collection, match.id);
    if (changes.length === 0) {
      if (base !== undefined) {
        return undefined;
      }
      if (from !== undefined) {
        return shown(request, from.json, [], { state: 'stale', pending, asOf: from.asOf });
      }
      return (await knownAbsent(service, partition, path, match))
        ? absent(match, 'not in the list kept here')
        : undefined;
    }
    if (json === undefined) {
      return changes.at(-1)?.effect === 'delete' || base === undefined
        ? absent(match, 'deleted here; the service will be told')
        : undefined;
    }
    // Only what the origin itself answered is shown under the origin's tag.
    const tag = pending === 0 ? lastTag(service, partition, collection, match.id) : undefined;
    return shown(request, json, base?.headers ?? [], {
      state: 'projected',
      pending,
      ...tagOf(tag),
      ...(Number.isFinite(asOf) && { asOf }),
    });
  }

  function lastTag(service: string, partition: string, collection: string, item: string | undefined) {
    const given = outbox.givenIds(service, partition);
    return outbox
      .touching(service, partition, collection)
      .findLast(
        operation =>
          operation.status.state === 'done' && item !== undefined && itemOf(operation, given) === item,
      )?.status.etag;
  }

  async function applyList(
    request: ReplicaRequest,
    base: Base | undefined,
    match: ResourceMatch,
  ): Promise<ReplicaResponse | undefined> {
    const { service, partition, path } = request;
    const { resource } = match;
    const collection = collectionOf(path, match);
    const query = new URLSearchParams(path.slice(collection.length + 1));
    const start: Base | undefined = base ?? (await derived(service, partition, collection, query, resource));
    if (start === undefined || start.status !== 200) {
      return undefined;
    }
    const json = jsonOf(start);
    const rows = rowsOf(json, resource);
    if (json === undefined || rows === undefined) {
      return undefined;
    }
    const shape: ItemShape = (services(service) as WriteService).shapeOf(match);
    const changes = changesOf(service, partition, collection, start.asOf);
    const page: ListPage = {
      rows,
      wants: filterOf(query, resource),
      insert: isFirstPage(query, resource) ? resource.list.insert : 'none',
      whole: isWhole(json, resource) && isFirstPage(query, resource),
    };
    const list = projectList(page, changes, shape);
    if (!list.changed && base !== undefined) {
      return undefined;
    }
    let body = withPointed(json, resource.list.pointer, list.rows);
    const total = resource.list.total === undefined ? undefined : pointed(json, resource.list.total);
    if (resource.list.total !== undefined && typeof total === 'number') {
      body = withPointed(body, resource.list.total, Math.max(0, total + list.more));
    }
    return shown(request, body, start.headers, {
      state: changes.length === 0 ? 'stale' : list.partial ? 'projected; partial' : 'projected',
      pending: pendingIn(service, partition, collection),
      asOf: start.asOf,
    });
  }

  /** A list nobody asked for yet, out of the whole one, where everything that is asked for can be evaluated here. */
  async function derived(
    service: string,
    partition: string,
    collection: string,
    query: URLSearchParams,
    resource: Resource,
  ): Promise<Base | undefined> {
    const whole = await reads.stored(service, partition, collection);
    const json = whole === undefined ? undefined : jsonOf(whole);
    const rows = rowsOf(json, resource);
    const wants = filterOf(query, resource);
    if (whole === undefined || json === undefined || rows === undefined || wants === undefined) {
      return undefined;
    }
    const kept = rows.filter(wants);
    const { size } = resource.list.page;
    const asked = size === undefined ? undefined : query.get(size);
    const fits = asked === null || asked === undefined || Number(asked) >= kept.length;
    if (!isWhole(json, resource) || !isFirstPage(query, resource) || !fits) {
      return undefined;
    }
    let body = withPointed(json, resource.list.pointer, kept);
    if (resource.list.total !== undefined) {
      body = withPointed(body, resource.list.total, kept.length);
    }
    return { ...jsonAnswer(200, body, without(whole.headers, ...madeAnew)), asOf: whole.asOf };
  }

  return {
    known,
    knownAbsent,
    visible,
    touches(service, partition, path) {
      const match = services(service)?.policies.resourceOf(path);
      if (match === undefined) {
        return false;
      }
      const given = outbox.givenIds(service, partition);
      return outbox
        .touching(service, partition, collectionOf(path, match))
        .some(
          operation =>
            operation.status.state !== 'discarded' &&
            (match.kind === 'collection' ||
              (match.id !== undefined && itemOf(operation, given) === match.id)),
        );
    },
    resolve(service, partition, path) {
      const now = pathWithIds(path, outbox.givenIds(service, partition));
      const pending = outbox.pendingIds(service, partition);
      const local =
        pending.size > 0 &&
        bare(now)
          .split('/')
          .some(piece => pending.has(piece));
      return { path: now, local };
    },
    async apply(request, base) {
      const match = services(request.service)?.policies.resourceOf(request.path);
      if (match === undefined || (request.method !== 'GET' && request.method !== 'HEAD')) {
        return undefined;
      }
      const resolved = {
        ...request,
        path: pathWithIds(request.path, outbox.givenIds(request.service, request.partition)),
      };
      const again = services(request.service)?.policies.resourceOf(resolved.path) ?? match;
      return again.kind === 'item' ? applyItem(resolved, base, again) : applyList(resolved, base, again);
    },
  };
}

function tagOf(etag: string | undefined): { etag?: string } {
  return etag === undefined ? {} : { etag };
}
