export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };
export type JsonObject = { readonly [name: string]: Json };

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a JSON pointer leads to, or undefined. Source: RFC 6901. */
export function pointed(value: Json | undefined, pointer: string): Json | undefined {
  let at = value;
  for (const name of namesOf(pointer)) {
    if (Array.isArray(at)) {
      at = /^(?:0|[1-9]\d{0,8})$/.test(name) ? (at as readonly Json[])[Number(name)] : undefined;
    } else if (isObject(at) && Object.hasOwn(at, name)) {
      at = at[name];
    } else {
      return undefined;
    }
  }
  return at;
}

/** A copy with another value where the pointer leads; members on the way are made, an array on the way stays as it is. */
export function withPointed(value: Json | undefined, pointer: string, put: Json): Json {
  const set = (at: Json | undefined, names: readonly string[]): Json => {
    const [name, ...rest] = names;
    if (name === undefined) {
      return put;
    }
    if (Array.isArray(at) || name === '__proto__') {
      return at as Json;
    }
    const object = isObject(at) ? at : {};
    return { ...object, [name]: set(Object.hasOwn(object, name) ? object[name] : undefined, rest) };
  };
  return set(value, namesOf(pointer));
}

function namesOf(pointer: string): readonly string[] {
  return pointer
    .split('/')
    .slice(1)
    .map(name => name.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** Whether two values are the same JSON; the order of members does not count. */
export function sameJson(a: Json | undefined, b: Json | undefined): boolean {
  if (Array.isArray(a)) {
    return (
      Array.isArray(b) &&
      a.length === b.length &&
      a.every((item, at) => sameJson(item, (b as readonly Json[])[at]))
    );
  }
  if (isObject(a)) {
    const names = Object.keys(a);
    return (
      isObject(b) &&
      names.length === Object.keys(b).length &&
      names.every(name => Object.hasOwn(b, name) && sameJson(a[name], b[name]))
    );
  }
  return a === b;
}

/** A merge patch laid over a value. Source: RFC 7396 §2. */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) {
    return patch;
  }
  const merged: Record<string, Json> = { ...(isObject(target) ? target : {}) };
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) {
      delete merged[name];
    } else if (name !== '__proto__') {
      merged[name] = mergePatch(Object.hasOwn(merged, name) ? merged[name] : undefined, value);
    }
  }
  return merged;
}
