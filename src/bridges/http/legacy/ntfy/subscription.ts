import { levelOf } from './asked.ts';
import type { Note } from './note.ts';
import { refusal } from './refusal.ts';
import type { Topic } from './topics.ts';
import type { Words } from './words.ts';

/** From where on the past is wanted. */
export type Since =
  | { readonly at: 'none' | 'all' | 'latest' }
  /** ms since 1970 */
  | { readonly at: 'time'; readonly from: number }
  | { readonly at: 'id'; readonly id: string };

/** What somebody wants to read. */
export interface Subscription {
  /** As the path says them. */
  readonly names: string;
  readonly topics: readonly Topic[];
  /** Only what is there already. */
  readonly poll: boolean;
  readonly since: Since;
  readonly passes: (note: Note) => boolean;
}

/** Reads the parameters of a subscription. Throws ntfy's 40007 and 40008. Source: docs.ntfy.sh/subscribe/api, "List of all parameters". */
export function subscriptionOf(
  names: string,
  topics: readonly Topic[],
  words: Words,
  now: number,
): Subscription {
  const poll = words.flag('poll', 'po') === true;
  // Nothing is scheduled here, so that `scheduled` adds nothing.
  return {
    names,
    topics,
    poll,
    since: sinceOf(words.text('since', 'si'), poll, now),
    passes: filterOf(words),
  };
}

const units: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

function sinceOf(text: string | undefined, poll: boolean, now: number): Since {
  if (text === undefined) {
    return { at: poll ? 'all' : 'none' };
  }
  if (text === 'all' || text === 'none' || text === 'latest') {
    return { at: text };
  }
  // Twelve characters are what ids of ntfy have: one of another server is not known here, and all is given.
  if (/^(?:[0-9a-f]{32}|[A-Za-z0-9]{12})$/.test(text)) {
    return { at: 'id', id: text };
  }
  if (/^\d{1,11}$/.test(text)) {
    return { at: 'time', from: Number(text) * 1000 };
  }
  if (!/^(?:\d{1,9}(?:\.\d{1,9})?(?:ns|us|µs|ms|s|m|h|d)){1,8}$/.test(text)) {
    throw refusal(40008);
  }
  const span = [...text.matchAll(/([\d.]+)(\D+)/g)].reduce(
    (sum, [, number, unit]) => sum + Number(number) * (units[unit ?? ''] ?? 0),
    0,
  );
  return { at: 'time', from: now - span };
}

function filterOf(words: Words): (note: Note) => boolean {
  const id = words.text('id');
  const message = words.text('message', 'm');
  const title = words.text('title', 't', 'ti');
  const tags = words.list('tags', 'tag', 'ta');
  const levels = words.list('priority', 'prio', 'p').map(one => levelOf(one));
  return note =>
    (id === undefined || note.id === id) &&
    (message === undefined || note.message === message) &&
    (title === undefined || note.title === title) &&
    (levels.length === 0 || levels.includes(note.priority ?? 3)) &&
    tags.every(tag => note.tags?.includes(tag) === true);
}
