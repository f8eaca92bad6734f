import type { ServerResponse } from 'node:http';
import type { Client } from '../../../../gateway/desk.ts';
import type { Clock } from '../../../../lib/clock.ts';
import type { Counters } from '../../../../lib/counters.ts';
import type { FollowParts } from '../../../follow.ts';
import { pour } from '../../pour.ts';
import type { Note } from './note.ts';
import { live, past, type Subscription } from './subscription.ts';

/** ms between two signs of life, as ntfy has it. */
const keepalive = 45_000;

export interface StreamParts extends FollowParts {
  readonly clock: Clock;
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

let signs = 0;

/** The note that opens a stream, or shows that it lives: with an id as ntfy's are, of twelve letters and digits. */
export function signOf(event: 'open' | 'keepalive', names: string, now: number): Note {
  signs = (signs + 1) % 1296;
  const id = `${now.toString(36)}${signs.toString(36).padStart(2, '0')}`.padStart(12, '0').slice(-12);
  return { id, time: Math.floor(now / 1000), event, topic: names };
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
      response.write(encode(signOf('keepalive', names, clock.now())));
    }
    cancel = clock.after(keepalive, beat);
  };
  let cancel = () => {};
  if (!poll) {
    response.write(encode(signOf('open', names, clock.now())));
    cancel = clock.after(keepalive, beat);
  }
  try {
    const onSlow = () => counters.add('legacy/ntfy/slow');
    await pour(response, notes, batch => batch.map(encode).join(''), { clock, signal, onSlow });
  } finally {
    cancel();
  }
}
