import type { LinkAt, LinkState } from './contract.ts';

/**
 * Whether a service can be reached, as a state machine. One failed request is never offline: it takes a probe.
 *
 *              three failures in 30 s,
 *              a refusal, or slowness               probe fails
 *     online ─────────────────────────▶ suspect ─────────────────▶ offline ◀─┐ probe fails: later again
 *        ▲ ▲        answer, good probe     │       answer, good probe  │  └────┘
 *        │ └───────────────────────────────┘                          │
 *        └─────────────────────────────────────────────────────────────┘
 *     forced: by hand, from anywhere; given up it becomes suspect, and is probed
 */
export interface Link extends LinkState {
  /** Times of failures not forgotten, ms epoch. */
  readonly failures: readonly number[];
  /** A probe is under way. */
  readonly probing: boolean;
  /** Failed probes in a row. */
  readonly failedProbes: number;
}

export type LinkInput =
  /** The service answered, and it was the service. */
  | { readonly on: 'answer' }
  /** A request failed; `grave` where nobody is there (refused, no such host, broken certificate, another's page). */
  | { readonly on: 'failure'; readonly grave: boolean; readonly reason: string }
  /** A request has waited long enough to ask whether anybody is there. */
  | { readonly on: 'slow' }
  | { readonly on: 'probed'; readonly good: boolean; readonly reason?: string }
  | { readonly on: 'due' }
  | { readonly on: 'force'; readonly offline: boolean };

/** A hasty probe has somebody waiting for what it finds. */
export type LinkEffect =
  | { readonly do: 'probe'; readonly hasty: boolean }
  | { readonly do: 'wake'; readonly at: number };

/** How far apart three failures may be, ms. */
const window = 30_000;
const many = 3;
/** ms until the second probe while offline; doubles up to the definition's `probe.every`. */
const firstProbe = 1000;

export function startLink(now: number): Link {
  return { at: 'online', since: now, failures: [], probing: false, failedProbes: 0 };
}

/** The next state and what is to be done. `every` is the longest wait between probes, ms. */
export function stepLink(
  link: Link,
  input: LinkInput,
  now: number,
  every: number,
): readonly [Link, readonly LinkEffect[]] {
  switch (input.on) {
    case 'force':
      if (input.offline) {
        return [move(link, 'forced', now, 'switched off by hand'), []];
      }
      return link.at === 'forced' ? probe(move(link, 'suspect', now, 'switched on again')) : [link, []];
    case 'answer': {
      const heard = { ...link, lastGoodAt: now };
      return link.at === 'forced' ? [heard, []] : [up(heard, now), []];
    }
    case 'failure': {
      if (link.at !== 'online') {
        return [link, []];
      }
      const failures = [...link.failures.filter(at => now - at < window), now];
      return input.grave || failures.length >= many
        ? probe(move({ ...link, failures }, 'suspect', now, input.reason))
        : [{ ...link, failures }, []];
    }
    case 'slow':
      return link.at === 'online' ? probe(move(link, 'suspect', now, 'slow to answer')) : [link, []];
    case 'due':
      return link.at === 'offline' || link.at === 'online' ? probe(link) : [link, []];
    case 'probed': {
      if (link.at === 'forced') {
        return [{ ...link, probing: false }, []];
      }
      if (input.good) {
        return [{ ...up({ ...link, lastGoodAt: now }, now), probing: false }, []];
      }
      if (link.at === 'online') {
        // Nobody missed anything yet: it is one failure, and looked at again.
        const reason = input.reason ?? 'no answer';
        return probe(move({ ...link, probing: false }, 'suspect', now, reason));
      }
      const failedProbes = link.failedProbes + 1;
      const nextProbeAt = now + Math.min(firstProbe * 2 ** Math.min(failedProbes - 1, 20), every);
      const down = move(link, 'offline', now, input.reason ?? 'no answer');
      return [{ ...down, probing: false, failedProbes, nextProbeAt }, [{ do: 'wake', at: nextProbeAt }]];
    }
  }
}

function up(link: Link, now: number): Link {
  const { reason: _, nextProbeAt: __, ...rest } = link;
  const since = link.at === 'online' ? link.since : now;
  return { ...rest, at: 'online', since, failures: [], failedProbes: 0 };
}

function move(link: Link, at: LinkAt, now: number, reason: string): Link {
  const { nextProbeAt: _, ...rest } = link;
  return { ...rest, at, since: link.at === at ? link.since : now, reason };
}

function probe(link: Link): readonly [Link, readonly LinkEffect[]] {
  return link.probing
    ? [link, []]
    : [{ ...link, probing: true }, [{ do: 'probe', hasty: link.at === 'suspect' }]];
}
