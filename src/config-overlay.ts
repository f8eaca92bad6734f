import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Tree } from './config-checks.ts';
import { GatewayError } from './lib/errors.ts';

/** Where the data folder keeps what the API changed of the configured interfaces. */
export const overlayFile = 'interfaces.json';

const keys = z.record(z.string(), z.json());
const entrySchema = z.union([
  z.strictObject({ added: keys }),
  z.strictObject({ changed: keys }),
  z.strictObject({ removed: z.literal(true) }),
]);
const overlaySchema = z.record(z.string().max(64), entrySchema);

/** What became of one interface: it is there beside the config file's, or some keys of it are other ones, or it is gone. */
export type OverlayEntry = z.infer<typeof entrySchema>;

/**
 * What was changed through the API, by the name of the interface. It lies over the config file's `interfaces` and is
 * never written into that file, which is its writer's.
 */
export type Overlay = Readonly<Record<string, OverlayEntry>>;

/** Characters of an overlay. */
export const overlayLongest = 256 * 1024;

/** The overlay of a data folder; none without a file. Throws `config/invalid` where it is no good. */
export function readOverlay(data: string): Overlay {
  const path = join(data, overlayFile);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    // Whatever is wrong with the folder itself is told by whoever opens it.
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      return {};
    }
    throw unreadable(path, code ?? String(cause), cause);
  }
  if (text.length > overlayLongest) {
    throw unreadable(path, `more than ${overlayLongest} characters`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw unreadable(path, 'not JSON', cause);
  }
  const { success, data: overlay, error } = overlaySchema.safeParse(value);
  if (!success) {
    const { path: at, message } = error.issues[0]!;
    throw unreadable(path, `${at.join('.')}: ${message}`);
  }
  return overlay;
}

/** A list of interfaces with an overlay laid over it; nothing of either is changed. */
export interface Overlaid {
  readonly interfaces: readonly unknown[];
  /** Where a mistake at `interfaces.<place>.…` of that list really lies: in the file or in the overlay. */
  pointerOf(pointer: string): string;
}

interface Origin {
  /** In the file's list. */
  readonly place?: number;
  /** In the overlay. */
  readonly name?: string;
  /** The keys that are the overlay's; all of them without. */
  readonly keys?: ReadonlySet<string>;
}

/** What is said of an interface that is not in the file is passed over, unless it was added. */
export function overlay(interfaces: readonly unknown[], over: Overlay): Overlaid {
  const laid: unknown[] = [];
  const origins: Origin[] = [];
  const put = (entry: unknown, origin: Origin) => {
    laid.push(entry);
    origins.push(origin);
  };
  const names = new Set<unknown>();
  for (const [place, entry] of interfaces.entries()) {
    const name = nameOf(entry);
    const change = name !== undefined && Object.hasOwn(over, name) ? over[name] : undefined;
    names.add(name);
    if (name === undefined || change === undefined) {
      put(entry, { place });
    } else if ('added' in change) {
      put(change.added, { name });
    } else if ('changed' in change) {
      const keys = new Set(Object.keys(change.changed));
      put(mergePatch(entry, change.changed), { place, name, keys });
    }
  }
  for (const [name, change] of Object.entries(over)) {
    if ('added' in change && !names.has(name)) {
      put(change.added, { name });
    }
  }
  return {
    interfaces: laid,
    pointerOf(pointer) {
      const [, at, key = '', rest = ''] = /^interfaces\.(\d+)(?:\.([^.]+))?(.*)$/.exec(pointer) ?? [];
      const { place, name, keys } = origins[Number(at ?? -1)] ?? {};
      const isOver = name !== undefined && (keys === undefined || keys.has(key));
      const tail = `${key === '' ? '' : `.${key}`}${rest}`;
      return isOver
        ? `${overlayFile}: ${name}${tail}`
        : place === undefined
          ? pointer
          : `interfaces.${place}${tail}`;
    },
  };
}

/** Source: RFC 7396, JSON Merge Patch: null takes a key away, an object goes into the one that is there. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isTree(patch)) {
    return patch;
  }
  const merged = new Map(Object.entries(isTree(target) ? target : {}));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) {
      merged.delete(key);
    } else {
      merged.set(key, mergePatch(merged.get(key), value));
    }
  }
  return Object.fromEntries(merged);
}

/** One patch that does what the second does after the first: a key that is to go stays in it as null. */
export function joinPatches(first: unknown, second: Tree): Tree {
  const joined = new Map(Object.entries(isTree(first) ? first : {}));
  for (const [key, value] of Object.entries(second)) {
    joined.set(key, isTree(value) ? joinPatches(joined.get(key), value) : value);
  }
  return Object.fromEntries(joined);
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function nameOf(entry: unknown): string | undefined {
  const name = isTree(entry) ? entry.name : undefined;
  return typeof name === 'string' ? name : undefined;
}

function unreadable(path: string, detail: string, cause?: unknown): GatewayError {
  return new GatewayError('config/invalid', `${path} cannot be used: ${detail}`, {
    cause,
    errors: [{ pointer: path, detail }],
  });
}
