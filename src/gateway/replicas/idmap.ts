import type { Clock } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';
import { orderedId } from '../ids.ts';
import { isObject, type Json } from './pointer.ts';

/** An id for an item the origin has not seen, of the form its schema asks for. */
export function provisionalId(type: 'string' | 'uuid' | 'integer', clock: Clock, random: Random): string {
  if (type === 'integer') {
    // Below what any service counts, and above what a number can hold exactly.
    const value = Buffer.from(random.bytes(6)).readUIntBE(0, 6);
    return String(-1 - value);
  }
  const id = orderedId(clock, random);
  if (type === 'string') {
    return `tmp_${id.slice(0, 26)}`;
  }
  // UUID version 7: 48 bits of time first. Source: RFC 9562 §5.7.
  const variant = ((Number.parseInt(id[16] as string, 16) & 3) | 8).toString(16);
  return `${id.slice(0, 8)}-${id.slice(8, 12)}-7${id.slice(13, 16)}-${variant}${id.slice(17, 20)}-${id.slice(20, 32)}`;
}

/** How deep a body is looked into. */
const deepest = 64;

/** Every id of `known` that a path, a query or a body names; whole steps, values and strings only. */
export function idsIn(
  path: string,
  body: Json | undefined,
  known: ReadonlyMap<string, unknown>,
): Set<string> {
  const found = new Set<string>();
  if (known.size === 0) {
    return found;
  }
  replaceIds(
    path,
    id => {
      found.add(id);
      return undefined;
    },
    known,
  );
  visit(body, value => known.has(value) && found.add(value), 0);
  return found;
}

function visit(value: Json | undefined, see: (text: string) => void, depth: number): void {
  if (typeof value === 'string' || typeof value === 'number') {
    see(String(value));
  } else if (depth < deepest && Array.isArray(value)) {
    for (const item of value as readonly Json[]) {
      visit(item, see, depth + 1);
    }
  } else if (depth < deepest && isObject(value)) {
    for (const item of Object.values(value)) {
      visit(item, see, depth + 1);
    }
  }
}

/** A path with provisional ids in its steps and query values replaced by what they became. */
export function pathWithIds(path: string, given: ReadonlyMap<string, string>): string {
  return given.size === 0 ? path : replaceIds(path, id => given.get(id), given);
}

function replaceIds(
  path: string,
  become: (id: string) => string | undefined,
  known: ReadonlyMap<string, unknown>,
): string {
  // Delimiters stay in the list, between the pieces.
  return path
    .split(/([/?&=,])/)
    .map(piece => {
      const id = decoded(piece);
      const now = known.has(id) ? become(id) : undefined;
      return now === undefined ? piece : encodeURIComponent(now);
    })
    .join('');
}

function decoded(piece: string): string {
  if (!piece.includes('%')) {
    return piece;
  }
  try {
    return decodeURIComponent(piece);
  } catch {
    return piece;
  }
}

/** A body with provisional ids replaced; the value itself where it names none. */
export function bodyWithIds(body: Json, given: ReadonlyMap<string, string>, depth = 0): Json {
  if (typeof body === 'string') {
    return given.get(body) ?? body;
  }
  if (typeof body === 'number') {
    const now = given.get(String(body));
    return now === undefined ? body : Number(now);
  }
  if (depth < deepest && Array.isArray(body)) {
    return (body as readonly Json[]).map(item => bodyWithIds(item, given, depth + 1));
  }
  if (depth < deepest && isObject(body)) {
    return Object.fromEntries(
      Object.entries(body).map(([name, value]) => [name, bodyWithIds(value, given, depth + 1)]),
    );
  }
  return body;
}
