import type { Params } from './command.ts';
import { textOf } from './params.ts';

/** Things that a command made and later commands speak of, each by a name of its own. */
export interface Handles<T> {
  add(thing: T): string;
  /** The thing that a param names; throws when there is none. */
  of(params: Params, name?: string): T;
  take(params: Params, name?: string): T | undefined;
  /** Everything that is still there. */
  all(): readonly T[];
}

/** An empty set of things of one kind; at most `limit` at a time. */
export function createHandles<T>(kind: string, limit = 10_000): Handles<T> {
  const things = new Map<string, T>();
  let made = 0;
  return {
    add: thing => {
      if (things.size >= limit) throw new Error(`more than ${limit} of ${kind} at a time`);
      made += 1;
      const handle = `${kind}-${made}`;
      things.set(handle, thing);
      return handle;
    },
    of: (params, name = 'handle') => {
      const handle = textOf(params, name);
      const thing = things.get(handle);
      if (thing === undefined) throw new Error(`there is no ${kind} named ${handle}`);
      return thing;
    },
    take: (params, name = 'handle') => {
      const handle = textOf(params, name);
      const thing = things.get(handle);
      things.delete(handle);
      return thing;
    },
    all: () => [...things.values()],
  };
}
