import type { Clock } from '../lib/clock.ts';
import { codeOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Store } from './store/store.ts';

/** ms between two writes of when clients were last there: what is lost by a kill is no more than this. */
const writeEvery = 60_000;

/** When a client's token was last shown, and from where. */
export interface ClientUse {
  readonly at: number;
  /** An address; empty where the window has none. */
  readonly from: string;
}

/** When each client was last there: known at once, on disk a while later, so that a request costs no write. */
export interface ClientUses {
  of(id: string): ClientUse | undefined;
  used(id: string, from: string): void;
  /** Writes what is not written yet. */
  flush(): Promise<void>;
}

export function createClientUses(
  { store, clock, log }: { readonly store: Store; readonly clock: Clock; readonly log: Log },
  before: Iterable<readonly [string, ClientUse]>,
): ClientUses {
  const uses = new Map<string, ClientUse>(before);
  const unwritten = new Set<string>();
  let cancel: (() => void) | undefined;

  async function flush(): Promise<void> {
    cancel?.();
    cancel = undefined;
    if (unwritten.size === 0) {
      return;
    }
    const rows = [...unwritten].map(id => ({ id, at: 0, from: '', ...uses.get(id) }));
    unwritten.clear();
    try {
      await store.committer.commit('client.used', { uses: rows }, { lazy: true });
    } catch (error) {
      log.debug({ code: codeOf(error) }, 'when clients were last there could not be written');
    }
  }

  return {
    of: id => uses.get(id),
    used(id, from) {
      uses.set(id, { at: clock.now(), from });
      unwritten.add(id);
      cancel ??= clock.after(writeEvery, () => void flush());
    },
    flush,
  };
}
