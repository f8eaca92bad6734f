import type { ServerResponse } from 'node:http';
import type { Client } from '../../../../gateway/desk.ts';
import { toHex } from '../../../../lib/bytes.ts';
import type { Clock } from '../../../../lib/clock.ts';
import type { Counters } from '../../../../lib/counters.ts';
import type { Random } from '../../../../lib/random.ts';
import { type FollowParts, followEvents } from '../../../follow.ts';
import { pour } from '../../pour.ts';
import { isSilent, type Note, noteOf } from './note.ts';
import { type Place, past } from './past.ts';
import type { Subscription } from './subscription.ts';
import { topicFor } from './topics.ts';

/** ms between two signs of life, as ntfy has it. */
const keepalive = 45_000;

export interface StreamParts extends FollowParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly counters: Counters;
}

/** A way to write notes. */
export interface Form {
  readonly mediaType: string;
  encode(note: Note): string;
}

/** What `/json`, `/sse` and `/raw` give. Source: docs.ntfy.sh/subscribe/api; ntfy, server/server.go `handleSubscribeSSE`. */
export const forms: Readonly<Record<'json' | 'sse' | 'raw', Form>> = {
  json: {
    mediaType: 'application/x-ndjson; charset=utf-8',
    encode: note => `${JSON.stringify(note)}\n`,
  },
  sse: {
    mediaType: 'text/event-stream; charset=utf-8',
    encode: note =>
      note.event === 'message'
        ? `data: ${JSON.stringify(note)}\n\n`
        : `event: ${note.event}\ndata: ${JSON.stringify(note)}\n\n`,
  },
  raw: {
    mediaType: 'text/plain; charset=utf-8',
    encode: note => (note.event === 'message' ? `${(note.message ?? '').replaceAll('\n', ' ')}\n` : '\n'),
  },
};

/** The note that opens a stream, or shows that it lives: with an id as ntfy's are, of twelve letters and digits. */
export function signOf(
  event: 'open' | 'keepalive',
  names: string,
  { clock, random }: Pick<StreamParts, 'clock' | 'random'>,
): Note {
  return { id: toHex(random.bytes(6)), time: Math.floor(clock.now() / 1000), event, topic: names };
}

/** All that a subscription shows, batch after batch: what was said already, then, unless it polls, what is being said, none of it twice. */
export async function* notesOf(
  parts: FollowParts,
  client: Client,
  base: string,
  subscription: Subscription,
  signal: AbortSignal,
): AsyncGenerator<readonly Note[], void, undefined> {
  // Before the past is read, so that nothing falls between them; what is in both is in the set.
  const cursor = parts.desk.events.cursor;
  let both = new Set<string>();
  let newest = 0;
  for await (const notes of past(parts, { client, base }, subscription, signal)) {
    for (const { id, time } of notes) {
      both.add(id);
      newest = time;
    }
    yield notes;
  }
  if (subscription.poll) {
    return;
  }
  for await (const notes of live(parts, { client, base }, subscription, cursor, signal)) {
    yield both.size === 0 ? notes : notes.filter(({ id }) => !both.has(id));
    if ((notes.at(-1)?.time ?? 0) > newest + 60) {
      both = new Set();
    }
  }
}

/** What is being said, batch after batch, from an event cursor on; ends with the signal. Waits while the reader does. */
async function* live(
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
      if (topic === undefined || message === undefined || isSilent(message)) {
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

/** Writes a subscription to a response until either ends; a poll has no signs of life. A reader that takes nothing for long is closed. */
export async function streamNotes(
  parts: StreamParts,
  { names, poll }: Pick<Subscription, 'names' | 'poll'>,
  notes: AsyncIterable<readonly Note[]>,
  { mediaType, encode }: Form,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const { clock, counters } = parts;
  response.writeHead(200, {
    'content-type': mediaType,
    ...(!poll && { 'x-accel-buffering': 'no', connection: 'close' }),
  });
  const beat = () => {
    if (!response.writableNeedDrain) {
      response.write(encode(signOf('keepalive', names, parts)));
    }
    cancel = clock.after(keepalive, beat);
  };
  let cancel = () => {};
  if (!poll) {
    response.write(encode(signOf('open', names, parts)));
    cancel = clock.after(keepalive, beat);
  }
  try {
    const onSlow = () => counters.add('legacy/ntfy/slow');
    await pour(response, notes, batch => batch.values().map(encode), { clock, signal, onSlow });
  } finally {
    cancel();
  }
}
