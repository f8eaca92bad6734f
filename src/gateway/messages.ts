import { createHash } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Random } from '../lib/random.ts';
import type { AcceptedMessage, Acceptor } from './acceptor.ts';
import { holds, pageLimit, requireScope } from './access.ts';
import { refusal } from './bounds.ts';
import type { BlobStore, Incoming } from './bridge.ts';
import type { Clients } from './client.ts';
import type { ListConversations } from './conversations.ts';
import type { Cursors } from './cursor.ts';
import type { Client, MessageDraft, Messages, MessageView } from './desk.ts';
import { orderedId } from './ids.ts';
import type { Limits } from './limits.ts';
import type { Attachment, JsonValue, Message, MessageId } from './message.ts';
import type { Outbox } from './outbox.ts';
import { fitting } from './page-bytes.ts';
import { viewOf } from './store/delivery-table.ts';
import type { Store } from './store/store.ts';
import type { WaitingBlobs } from './waiting-blobs.ts';

export interface MessagesOptions {
  readonly store: Store;
  readonly clients: Pick<Clients, 'current'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: Limits;
  readonly acceptor: Acceptor;
  readonly outbox: Outbox;
  readonly cursors: Cursors;
  readonly blobs: BlobStore;
  readonly waitingBlobs: WaitingBlobs;
  readonly mayReadBlob: (client: Client, sha256: string) => boolean;
  /** Rooms the client is a member of. */
  readonly roomsOf: (client: Client) => readonly string[];
  readonly roomExists: (room: string) => boolean;
  readonly conversations: ListConversations;
}

/** What an app says, and what it may see of what was said. */
export interface MessageDesk extends Messages {
  /** Whether the client sent it, received it, is in its room, or is an admin. */
  maySee(client: Client, message: Message): boolean;
}

const longestKey = 255;

export function createMessages(options: MessagesOptions): MessageDesk {
  const { store, clock, outbox, cursors, limits } = options;
  const addressOf = (client: Client) => `app:${client.name}`;

  function maySee(client: Client, message: Message): boolean {
    const address = addressOf(client);
    return (
      holds(client, 'admin') ||
      message.from === address ||
      (holds(client, 'messages:read') &&
        (options.roomsOf(client).includes(message.to.replace(/^room:/, '')) ||
          store.read.deliveriesOf(message.id).some(row => row.recipient === address)))
    );
  }

  /** Who gets a message is the business of its sender; others see their own delivery. */
  function view(client: Client, message: Message): MessageView {
    const all = holds(client, 'admin') || message.from === addressOf(client);
    const deliveries = store.read
      .deliveriesOf(message.id)
      .filter(row => all || row.recipient === addressOf(client))
      .map(row => outbox.explained(viewOf(row)));
    return { ...message, deliveries };
  }

  function find(client: Client, id: MessageId): Message {
    const message = store.read.message(id);
    if (message === undefined || !maySee(client, message)) {
      throw new GatewayError('request/not-found', 'no such message');
    }
    return message;
  }

  async function attachmentsOf(
    client: Client,
    given: NonNullable<MessageDraft['attachments']>,
  ): Promise<Attachment[]> {
    if (given.length > limits.attachments) {
      throw refusal('request/too-large', '/attachments', `${limits.attachments} at most`);
    }
    const attachments: Attachment[] = [];
    for (const [index, one] of given.entries()) {
      const mediaType = one.mediaType ?? 'application/octet-stream';
      if ('sha256' in one) {
        const size = options.mayReadBlob(client, one.sha256)
          ? await options.blobs.size(one.sha256)
          : undefined;
        if (size === undefined) {
          throw refusal('request/not-found', `/attachments/${index}/sha256`, 'no such blob');
        }
        attachments.push({ name: one.name, mediaType, size, sha256: one.sha256 });
        continue;
      }
      if (one.base64.length > Math.ceil(limits.inlineAttachment / 3) * 4) {
        throw refusal(
          'request/too-large',
          `/attachments/${index}/base64`,
          `${limits.inlineAttachment} bytes at most; put larger ones to /v1/blobs`,
        );
      }
      const { sha256, size } = await options.waitingBlobs.put(
        client.name,
        Buffer.from(one.base64, 'base64'),
        limits.inlineAttachment,
      );
      attachments.push({ name: one.name, mediaType, size, sha256 });
    }
    return attachments;
  }

  function stored(client: Client, id: MessageId): MessageView {
    const message = store.read.message(id);
    if (message === undefined) {
      throw new GatewayError('request/not-found', 'the message is not kept any more');
    }
    return view(client, message);
  }

  function checkKey(key: string | undefined): void {
    if (key !== undefined && (key.length === 0 || key.length > longestKey)) {
      throw refusal('request/invalid', '/idempotencyKey', `1 to ${longestKey} characters`);
    }
  }

  /** The message that a key was used for, where it was for this one. */
  function firstUnder(remoteId: string, fingerprint: Buffer | undefined): MessageId | undefined {
    const first = store.read.knownAs('app', remoteId);
    if (first !== undefined && (first.fingerprint === null || !fingerprint?.equals(first.fingerprint))) {
      throw new GatewayError('request/idempotency-mismatch', 'the key was used for another message');
    }
    return first?.message;
  }

  async function incomingOf(client: Client, draft: MessageDraft, remoteId: string): Promise<Incoming> {
    if (draft.expiresAt !== undefined && draft.expiresAt <= clock.now()) {
      throw refusal(
        'request/conflict',
        '/expiresAt',
        'lies in the past; it is meant in milliseconds since 1970',
      );
    }
    if (draft.inReplyTo !== undefined) {
      const earlier = store.read.message(draft.inReplyTo);
      if (earlier === undefined || !maySee(client, earlier)) {
        throw refusal('request/not-found', '/inReplyTo', 'no such message');
      }
    }
    const attachments = draft.attachments === undefined ? [] : await attachmentsOf(client, draft.attachments);
    const { type = 'chat.message', text = '' } = draft;
    return { ...draft, remoteId, from: addressOf(client), type, text, attachments, assurance: 'hub' };
  }

  function nameBlobs(all: readonly Incoming[]): void {
    options.waitingBlobs.named(all.flatMap(one => one.attachments?.map(({ sha256 }) => sha256) ?? []));
  }

  function shown(client: Client, { id, repeated, fresh }: AcceptedMessage) {
    if (fresh === undefined) {
      return { message: stored(client, id), repeated };
    }
    const { message, json, deliveries } = fresh;
    const explained = deliveries.map(one => outbox.explained(one));
    return { message: { ...message, deliveries: explained }, json, repeated };
  }

  function postedAs(client: Client, key: string): readonly MessageView[] {
    const found: MessageView[] = [];
    for (let index = 0; ; index++) {
      const known = store.read.knownAs('app', `${client.name}/${partOf(key, index)}`);
      if (known === undefined) {
        return found;
      }
      found.push(stored(client, known.message));
    }
  }

  return {
    maySee,
    async post(caller, draft, key, asked) {
      const client = options.clients.current(caller);
      requireScope(client, 'messages:send');
      checkKey(key);
      // Without a key nobody can say it again.
      const remoteId = key === undefined ? orderedId(clock, options.random) : `${client.name}/${key}`;
      const fingerprint = key === undefined ? undefined : fingerprintOf(asked ?? draft);
      const first = key === undefined ? undefined : firstUnder(remoteId, fingerprint);
      if (first !== undefined) {
        return { message: stored(client, first), repeated: true };
      }
      const incoming = await incomingOf(client, draft, remoteId);
      const accepted = await options.acceptor.accept('app', incoming, {
        fingerprint,
        once: key === undefined,
      });
      nameBlobs([incoming]);
      return shown(client, accepted);
    },
    async postAll(caller, drafts, given, asked) {
      const client = options.clients.current(caller);
      requireScope(client, 'messages:send');
      checkKey(given);
      const key = given ?? orderedId(clock, options.random);
      const fingerprint = fingerprintOf(asked ?? drafts);
      if (firstUnder(`${client.name}/${partOf(key, 0)}`, fingerprint) !== undefined) {
        return { key, messages: postedAs(client, key), repeated: true };
      }
      const all: Incoming[] = [];
      for (const [index, draft] of drafts.entries()) {
        all.push(await incomingOf(client, draft, `${client.name}/${partOf(key, index)}`));
      }
      const accepted = await options.acceptor.acceptAll('app', all, { fingerprint });
      nameBlobs(all);
      return {
        key,
        messages: accepted.map(one => shown(client, one).message),
        repeated: accepted[0]?.repeated === true,
      };
    },
    postedAs,
    get: (client, id) => view(client, find(client, id)),
    list(client, query) {
      requireScope(client, 'messages:read');
      const limit = pageLimit(query.limit);
      const { rows, seqs, floor } = store.read.messages({
        before: query.after === undefined ? Number.MAX_SAFE_INTEGER : cursors.decode('message', query.after),
        limit: limit + 1,
        ...(query.room === undefined ? {} : { recipient: `room:${query.room}` }),
        ...(query.peer === undefined ? {} : { peer: query.peer }),
        ...(query.type === undefined ? {} : { type: query.type }),
        ...(holds(client, 'admin')
          ? {}
          : { viewer: { address: addressOf(client), rooms: options.roomsOf(client) } }),
      });
      // What was said in a room that is gone is there for admins.
      const isLost = query.room !== undefined && !options.roomExists(query.room);
      const isEmpty = seqs.length === 0 && floor === 0 && query.after === undefined;
      if (isLost && (!holds(client, 'admin') || isEmpty)) {
        throw new GatewayError('request/not-found', `there is no room ${query.room}`);
      }
      // A damaged message is passed over, and hides none behind it.
      const last = seqs.length > limit ? seqs[limit - 1] : undefined;
      const whole = last === undefined ? rows : rows.filter(({ seq }) => seq >= last);
      const page = whole.slice(0, fitting(whole.map(({ message }) => message)));
      const cut = page.length < whole.length ? page.at(-1)?.seq : undefined;
      // Where the filter was not through with all, a page may be short or empty and yet not the last.
      const next = cut ?? last ?? floor;
      return {
        items: page.map(({ message }) => view(client, message)),
        cursor: next > 0 ? cursors.encode('message', next) : null,
      };
    },
    conversations: options.conversations,
    async cancel(client, id) {
      const message = find(client, id);
      if (message.from !== addressOf(client) && !holds(client, 'admin')) {
        throw new GatewayError('request/forbidden', 'only its sender may cancel a message');
      }
      const waiting = store.read
        .deliveriesOf(id)
        .filter(row => row.state === 'queued' || row.state === 'sending');
      await outbox.cancel(waiting.map(row => row.id));
      return stored(client, id);
    },
  };
}

/** One of those that were posted together: no key that a client gives has this character in it. */
function partOf(key: string, index: number): string {
  return `${key}\n${index}`;
}

function fingerprintOf(draft: object): Buffer {
  return createHash('sha256')
    .update(canonical(draft as unknown as JsonValue))
    .digest();
}

/**
 * JSON with its keys in order, so that the same body has the same fingerprint however it was written. Not `canonicalJson`: here
 * keys that are whole numbers come first, by their value (`2` before `10`), as an object keeps them, and the fingerprints of what
 * was posted before are on disk.
 */
function canonical(value: JsonValue): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
