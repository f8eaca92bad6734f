import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Client, Desk, MessageView } from '../../../../gateway/desk.ts';
import type { MessageId } from '../../../../gateway/message.ts';
import { codeOf, isGatewayError } from '../../../../lib/errors.ts';
import { type FollowParts, followEvents } from '../../../follow.ts';
import { type Note, noteOf } from './note.ts';
import { levelOf } from './publish.ts';
import { refusal } from './refusal.ts';
import { type Topic, topicFor } from './topics.ts';
import type { Words } from './words.ts';

/** Messages of the past that one request gives at most, the newest of them. */
const pastMost = 1000;
/** Characters of their texts together: the newest that fit are given. */
const pastText = 8 * 1024 * 1024;
const pageSize = 50;
/** Notes written in one piece, and the characters after which a piece is large enough. */
const batchMost = 32;
const batchText = 256 * 1024;

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

/** What is no notification: who agrees with one, and that one was taken back. */
const silent: ReadonlySet<string> = new Set(['chat.reaction', 'chat.redaction', 'chat.receipt']);

interface Place {
  readonly client: Client;
  /** Where files are found. */
  readonly base: string;
}

/** A message of the past that is wanted, to be read when its turn comes: a thousand texts would be much to hold. */
interface Found {
  readonly id: string;
  readonly topic: string;
  readonly at: number;
  /** Characters. */
  readonly size: number;
}

/**
 * What was said already, oldest first and batch after batch, at most `pastMost`; ends early with the signal. Of what was
 * taken the reader's own part becomes `sent`, as it does on a stream.
 */
export async function* past(
  parts: FollowParts,
  { client, base }: Place,
  subscription: Subscription,
  signal: AbortSignal,
): AsyncGenerator<readonly Note[], void, undefined> {
  const { desk } = parts;
  const found = await findPast(desk, client, subscription, signal);
  for (let index = 0; index < found.length && !signal.aborted; ) {
    const notes: Note[] = [];
    const own: MessageId[] = [];
    for (let text = 0; index < found.length && notes.length < batchMost && text < batchText; index++) {
      const { id, topic } = found[index] as Found;
      const message = messageOf(desk, client, id);
      if (message !== undefined) {
        text += message.text.length;
        notes.push(noteOf(topic, message, base));
        if (message.deliveries.some(({ to, state }) => to === `app:${client.name}` && state === 'queued')) {
          own.push(id);
        }
      }
    }
    yield notes;
    if (own.length > 0) {
      await mark(parts, client, own);
    }
    await nextTurn();
  }
}

/** Other requests have their turn between two pages. */
async function findPast(
  desk: Desk,
  client: Client,
  { topics, since, passes }: Subscription,
  signal: AbortSignal,
): Promise<readonly Found[]> {
  if (since.at === 'none') {
    return [];
  }
  const from =
    since.at === 'time'
      ? since.from
      : since.at === 'id'
        ? (messageOf(desk, client, since.id)?.acceptedAt ?? 0)
        : 0;
  let found: readonly Found[] = [];
  for (const topic of topics) {
    const { address } = topic;
    const where = address.startsWith('room:') ? { room: address.slice('room:'.length) } : { peer: address };
    const most = since.at === 'latest' ? 1 : pastMost;
    const here: Found[] = [];
    let after: string | undefined;
    let taken = 0;
    let text = 0;
    pages: while (!signal.aborted) {
      const { items, cursor } = desk.messages.list(client, {
        ...where,
        limit: pageSize,
        ...(after !== undefined && { after }),
      });
      for (const message of items) {
        const isBefore = message.acceptedAt < from || (since.at === 'id' && message.id === since.id);
        if (isBefore || taken >= most || text > pastText) {
          break pages;
        }
        if (message.to === address && !silent.has(message.type)) {
          taken += 1;
          text += message.text.length;
          if (passes(noteOf(topic.name, message, ''))) {
            const { id, acceptedAt: at } = message;
            here.push({ id, topic: topic.name, at, size: message.text.length });
          }
        }
      }
      if (cursor === null) {
        break;
      }
      after = cursor;
      await nextTurn();
    }
    // Each topic is newest first; the sort keeps the order of what came in the same ms.
    found = newest([...here.reverse(), ...found].sort((a, b) => a.at - b.at));
  }
  return found;
}

/** The last of them that fit into one answer. */
function newest(found: readonly Found[]): readonly Found[] {
  const most = found.slice(-pastMost);
  let text = 0;
  const tooMuch = most.findLastIndex(({ size }) => {
    const isFull = text > pastText;
    text += size;
    return isFull;
  });
  return most.slice(tooMuch + 1);
}

async function mark({ desk, log }: FollowParts, client: Client, ids: readonly MessageId[]): Promise<void> {
  try {
    await desk.inbox.pushed(client, ids);
  } catch (error) {
    log.warn(
      { client: client.name, code: codeOf(error), error },
      'messages that were read cannot be marked as sent',
    );
  }
}

/** Undefined for one that is not there, or not for this client. */
function messageOf(desk: Desk, client: Client, id: string): MessageView | undefined {
  try {
    return desk.messages.get(client, id);
  } catch (error) {
    if (isGatewayError(error, 'request/not-found')) {
      return undefined;
    }
    throw error;
  }
}

/** What is being said, batch after batch, from an event cursor on; ends with the signal. Waits while the reader does. */
export async function* live(
  parts: FollowParts,
  { client, base }: Place,
  { topics, passes }: Subscription,
  cursor: string,
  signal: AbortSignal,
): AsyncGenerator<readonly Note[], void, undefined> {
  for await (const { items, hide } of followEvents(parts, client, cursor, signal)) {
    const notes: Note[] = [];
    for (const event of items) {
      const { kind, message } = event;
      const topic = kind === 'message.accepted' && message ? topicFor(topics, message) : undefined;
      if (topic === undefined || message === undefined || silent.has(message.type)) {
        hide(event);
        continue;
      }
      const note = noteOf(topic.name, message, base);
      if (passes(note)) {
        notes.push(note);
      } else {
        hide(event);
      }
    }
    if (notes.length > 0) {
      yield notes;
    }
  }
}
