import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Client, Desk, MessageView } from '../../../../gateway/desk.ts';
import type { MessageId } from '../../../../gateway/message.ts';
import { codeOf, isGatewayError } from '../../../../lib/errors.ts';
import type { FollowParts } from '../../../follow.ts';
import { isSilent, type Note, noteOf } from './note.ts';
import type { Subscription } from './subscription.ts';

/** Messages of the past that one request gives at most, the newest of them. */
const pastMost = 1000;
/** Characters of their texts together: the newest that fit are given. */
const pastText = 8 * 1024 * 1024;
const pageSize = 50;
/** Notes written in one piece, and the characters after which a piece is large enough. */
const batchMost = 32;
const batchText = 256 * 1024;

/** Who reads, and where. */
export interface Place {
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
        if (message.to === address && !isSilent(message)) {
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
