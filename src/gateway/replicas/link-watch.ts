import type { Cancel, Clock } from '../../lib/clock.ts';
import type { LinkState } from './contract.ts';
import { type Link, type LinkInput, startLink, stepLink } from './link.ts';

/** What a probe found. */
export interface Probed {
  readonly good: boolean;
  readonly reason?: string;
}

export interface LinkWatchParts {
  readonly clock: Clock;
  /** Longest wait between probes, ms. */
  readonly every: number;
  readonly probe: (hasty: boolean, signal: AbortSignal) => Promise<Probed>;
  readonly onChange: (state: LinkState) => void;
}

/** A link that is watched: carries out what its state machine asks for. */
export interface LinkWatch extends Disposable {
  readonly state: LinkState;
  /** Nothing is sent to the service: answers come from what is stored. */
  readonly away: boolean;
  tell(input: LinkInput): void;
  /** Resolves when it is known whether the service is there, or the signal is aborted. */
  settled(signal: AbortSignal): Promise<void>;
  /** Called at each change; returns the way to stop. */
  onChange(listener: () => void): Cancel;
}

export function watchLink(parts: LinkWatchParts): LinkWatch {
  const { clock, every } = parts;
  const stop = new AbortController();
  const listeners = new Set<() => void>();
  let link: Link = startLink(clock.now());
  let timer: Cancel | undefined;

  function tell(input: LinkInput): void {
    if (stop.signal.aborted) {
      return;
    }
    const before = link;
    const [next, effects] = stepLink(link, input, clock.now(), every);
    link = next;
    if (next.at !== 'offline') {
      timer?.();
    }
    for (const effect of effects) {
      if (effect.do === 'probe') {
        void probe(effect.hasty);
      } else {
        timer?.();
        timer = clock.after(effect.at - clock.now(), () => tell({ on: 'due' }));
      }
    }
    if (before.at !== next.at || before.reason !== next.reason) {
      parts.onChange(next);
      for (const listener of [...listeners]) {
        listener();
      }
    }
  }

  async function probe(hasty: boolean): Promise<void> {
    const found = await parts.probe(hasty, stop.signal);
    tell({ on: 'probed', ...found });
  }

  const away = () => link.at === 'offline' || link.at === 'forced';
  return {
    get state() {
      return link;
    },
    get away() {
      return away();
    },
    tell,
    async settled(signal) {
      if (link.at !== 'suspect' || signal.aborted) {
        return;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      const look = () => link.at !== 'suspect' && resolve();
      listeners.add(look);
      signal.addEventListener('abort', () => resolve(), { once: true });
      await promise;
      listeners.delete(look);
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    [Symbol.dispose]() {
      stop.abort();
      timer?.();
      listeners.clear();
    },
  };
}
