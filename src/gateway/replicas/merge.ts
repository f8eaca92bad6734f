import { isObject, type Json, type JsonObject, sameJson } from './pointer.ts';
import type { WritePolicy } from './policy.ts';

type Rules = WritePolicy['merge'];

/**
 * Two changes of one base laid together: what only one side changed is taken, what both changed alike too; where they
 * differ, the rule of that pointer decides. `mine` may leave members out: those were not changed. Undefined where no
 * rule settles it, which a person must.
 */
export function mergeThree(
  base: JsonObject,
  mine: JsonObject,
  theirs: JsonObject,
  rules: Rules,
): JsonObject | undefined {
  const merged: Record<string, Json> = {};
  for (const name of Object.keys(mine)) {
    const value = mergedMember(
      base[name],
      mine[name],
      theirs[name],
      `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`,
      rules,
    );
    if (value === unsettled) {
      return undefined;
    }
    if (value !== undefined) {
      merged[name] = value;
    }
  }
  return merged;
}

const unsettled = Symbol('unsettled');

function mergedMember(
  base: Json | undefined,
  mine: Json | undefined,
  theirs: Json | undefined,
  pointer: string,
  rules: Rules,
): Json | undefined | typeof unsettled {
  if (sameJson(mine, theirs) || sameJson(theirs, base)) {
    return mine;
  }
  if (sameJson(mine, base)) {
    return theirs;
  }
  switch (rules[pointer]) {
    case 'mine':
      return mine;
    case 'theirs':
      return theirs;
    case 'max':
      return numbers(mine, theirs) ? Math.max(mine as number, theirs as number) : unsettled;
    case 'min':
      return numbers(mine, theirs) ? Math.min(mine as number, theirs as number) : unsettled;
    case 'counter':
      return numbers(mine, theirs) && (base === undefined || typeof base === 'number')
        ? (theirs as number) + ((mine as number) - ((base as number | undefined) ?? 0))
        : unsettled;
    case 'append':
      return typeof mine === 'string' &&
        typeof theirs === 'string' &&
        typeof base === 'string' &&
        mine.startsWith(base)
        ? theirs + mine.slice(base.length)
        : unsettled;
    case 'union':
      return united(base, mine, theirs);
    case 'hold':
      return unsettled;
    case undefined:
      break;
  }
  if (isObject(base) && isObject(mine) && isObject(theirs)) {
    const merged: Record<string, Json> = {};
    for (const name of new Set([...Object.keys(mine), ...Object.keys(theirs)])) {
      const value = mergedMember(base[name], mine[name], theirs[name], `${pointer}/${name}`, rules);
      if (value === unsettled) {
        return unsettled;
      }
      if (value !== undefined) {
        merged[name] = value;
      }
    }
    return merged;
  }
  return unsettled;
}

function numbers(a: Json | undefined, b: Json | undefined): boolean {
  return typeof a === 'number' && typeof b === 'number';
}

/** What either side has, without what either side took away. */
function united(
  base: Json | undefined,
  mine: Json | undefined,
  theirs: Json | undefined,
): Json | typeof unsettled {
  if (!Array.isArray(mine) || !Array.isArray(theirs)) {
    return unsettled;
  }
  const before = (Array.isArray(base) ? base : []) as readonly Json[];
  const has = (list: readonly Json[], item: Json) => list.some(each => sameJson(each, item));
  const removed = (item: Json) => has(before, item) && (!has(mine, item) || !has(theirs, item));
  const all: Json[] = [];
  for (const item of [...(theirs as readonly Json[]), ...(mine as readonly Json[])]) {
    if (!has(all, item) && !removed(item)) {
      all.push(item);
    }
  }
  return all;
}
