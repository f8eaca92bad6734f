import type { Effect } from './outbox-operation.ts';
import { isObject, type Json, mergePatch, pointed, sameJson, withPointed } from './pointer.ts';

/** Where an item of a resource has what this gateway has to know of it. */
export interface ItemShape {
  readonly id: string;
  readonly integerId: boolean;
  readonly created?: string;
  readonly updated?: string;
  /** Members the service adds to a new item. */
  readonly template: { readonly [name: string]: Json };
  /** Members that only the service sets; a replacement keeps them. */
  readonly kept: readonly string[];
}

/** One operation as the projection sees it. */
export interface Change {
  readonly effect: Effect;
  readonly item: string;
  /** The body the client sent; absent for a deletion. */
  readonly draft?: Json;
  /** ms epoch. */
  readonly at: number;
  /** What the origin said the item is after it, where it has. */
  readonly result?: Json;
}

/** Rows of a list page and what was asked for. */
export interface ListPage {
  readonly rows: readonly Json[];
  /** Whether an item is among what is asked for: undefined where nobody here can say. */
  readonly wants: ((item: Json) => boolean) | undefined;
  /** Whether new items belong on this page, and where. */
  readonly insert: 'prepend' | 'append' | 'none';
  /** Whether there is no other page: an item that is not here is nowhere. */
  readonly whole: boolean;
}

export interface ProjectedList {
  readonly rows: readonly Json[];
  /** How many more there are than before. */
  readonly more: number;
  /** Whether something may be missing because nobody here can evaluate the query. */
  readonly partial: boolean;
  readonly changed: boolean;
}

/** The id of an item as it stands in a path. */
export function idOf(item: Json | undefined, pointer: string): string | undefined {
  const id = pointed(item, pointer);
  return typeof id === 'string' || typeof id === 'number' ? String(id) : undefined;
}

/**
 * An item with the changes to it laid over in their order; undefined where it is not there. Nothing is kept of the
 * outcome: the base and the log of operations are the truth, and this is computed at each read.
 */
export function projectItem(
  base: Json | undefined,
  changes: readonly Change[],
  shape: ItemShape,
): Json | undefined {
  let item = base;
  for (const change of changes) {
    item = applied(item, change, shape);
  }
  return item;
}

function applied(item: Json | undefined, change: Change, shape: ItemShape): Json | undefined {
  const { draft, result } = change;
  if (change.effect === 'delete') {
    return undefined;
  }
  if (result !== undefined) {
    return result;
  }
  switch (change.effect) {
    case 'create':
      return isObject(draft) ? stamped({ ...shape.template, ...draft }, change, shape, true) : undefined;
    case 'replace':
      return isObject(draft) ? replaced(item, draft, change, shape) : item;
    case 'merge':
      return isObject(item) && draft !== undefined
        ? stamped(mergeable(filled(mergePatch(item, draft), shape), item, shape), change, shape, false)
        : item;
    default:
      return item;
  }
}

function replaced(item: Json | undefined, draft: Json, change: Change, shape: ItemShape): Json {
  return stamped(mergeable(filled(draft, shape), item, shape), change, shape, item === undefined);
}

/** What a client leaves out, or takes away, is as the service makes it. */
function filled(item: Json, shape: ItemShape): Json {
  return isObject(item) ? { ...shape.template, ...item } : item;
}

/** What only the service sets stays as it was, whatever a client says. */
function mergeable(value: Json, before: Json | undefined, shape: ItemShape): Json {
  let item = value;
  for (const name of shape.kept) {
    const old = isObject(before) && Object.hasOwn(before, name) ? before[name] : undefined;
    if (old !== undefined && isObject(item)) {
      item = { ...item, [name]: old };
    }
  }
  const created = shape.created === undefined ? undefined : pointed(before, shape.created);
  return created === undefined || shape.created === undefined
    ? item
    : withPointed(item, shape.created, created);
}

function stamped(value: Json, change: Change, shape: ItemShape, fresh: boolean): Json {
  const at = new Date(change.at).toISOString();
  let item = withPointed(value, shape.id, shape.integerId ? Number(change.item) : change.item);
  if (fresh && shape.created !== undefined) {
    item = withPointed(item, shape.created, at);
  }
  if (shape.updated !== undefined) {
    item = withPointed(item, shape.updated, at);
  }
  return item;
}

/** A page of a list with the changes to its items in it. */
export function projectList(page: ListPage, changes: readonly Change[], shape: ItemShape): ProjectedList {
  const rows: (Json | undefined)[] = [...page.rows];
  const places = new Map<string, number>();
  rows.forEach((row, at) => {
    const id = idOf(row, shape.id);
    if (id !== undefined) {
      places.set(id, at);
    }
  });
  const byItem = new Map<string, Change[]>();
  for (const change of changes) {
    byItem.getOrInsertComputed(change.item, () => []).push(change);
  }
  const fresh: Json[] = [];
  let more = 0;
  let partial = false;
  let changed = false;
  for (const [id, own] of byItem) {
    const place = places.get(id);
    if (place !== undefined) {
      const after = projectItem(rows[place], own, shape);
      const stays = after !== undefined && (page.wants?.(after) ?? true);
      changed ||= !stays || !sameJson(after, rows[place]);
      partial ||= after !== undefined && page.wants === undefined;
      rows[place] = stays ? after : undefined;
      more -= stays ? 0 : 1;
      continue;
    }
    // A change of an item that is on another page changes nothing here.
    const isNew = own.some(change => change.effect === 'create');
    const full =
      isNew || (page.whole && own.some(change => change.result !== undefined || change.effect === 'replace'));
    const after = full ? projectItem(undefined, own, shape) : undefined;
    if (after === undefined) {
      continue;
    }
    if (page.wants === undefined) {
      partial = true;
      changed = true;
    } else if (page.wants(after)) {
      more += 1;
      changed = true;
      if (page.insert !== 'none') {
        fresh.push(after);
      }
    }
  }
  const kept = rows.filter(row => row !== undefined);
  return {
    rows: page.insert === 'prepend' ? [...fresh.reverse(), ...kept] : [...kept, ...fresh],
    more,
    partial,
    changed,
  };
}
