import { holds, pageLimit, requireScope } from './access.ts';
import type { Cursors } from './cursor.ts';
import type { Client, Conversation, MessageBrief, Page } from './desk.ts';
import { type Address, type Message, schemeOf } from './message.ts';
import { hubRoom } from './own-rooms.ts';
import type { Store } from './store/store.ts';

/** Messages looked at for one page: a flood of readings, or of what others say, must not hold everybody up. */
const scanned = 4000;
const chunk = 500;
/** Characters of a message's text where it is only told of. */
const briefText = 240;

export interface ConversationsOptions {
  readonly store: Store;
  readonly cursors: Cursors;
  readonly roomsOf: (client: Client) => readonly string[];
  /** The name somebody is known by. */
  readonly nameOf: (address: Address) => string | undefined;
}

/** With whom there were messages, the one spoken with last first. */
export type ListConversations = (
  client: Client,
  query: { readonly after?: string; readonly limit?: number },
) => Page<Conversation>;

/** Walks the messages from the newest on; nothing is kept for it, so that an accept costs nothing more. */
export function createConversations(options: ConversationsOptions): ListConversations {
  const { store, cursors } = options;
  return (client, query) => {
    requireScope(client, 'messages:read');
    const limit = pageLimit(query.limit);
    const me = `app:${client.name}`;
    const viewer = holds(client, 'admin') ? {} : { viewer: { address: me, rooms: options.roomsOf(client) } };
    const found = new Map<Address, number>();
    const end = store.read.newestMessage() + 1;
    let before = query.after === undefined ? end : Math.min(end, cursors.decode('message', query.after));
    for (let looked = 0; looked < scanned && found.size < limit && before > 1; looked += chunk) {
      const floor = Math.max(1, before - chunk);
      for (const { seq, sender, recipient } of store.read.messageHeads({ before, floor, ...viewer })) {
        before = seq;
        found.getOrInsert(otherEnd(me, sender, recipient), seq);
        if (found.size === limit) {
          break;
        }
      }
      if (found.size < limit) {
        before = floor;
      }
    }
    const items = [...found].flatMap(([address, seq]): Conversation[] => {
      const message = store.read.messageAt(seq);
      const name = options.nameOf(address);
      return message === undefined
        ? []
        : [{ address, ...(name !== undefined && { name }), last: briefOf(message) }];
    });
    return { items, cursor: before <= 1 ? null : cursors.encode('message', before) };
  };
}

/**
 * Whose conversation a message belongs to, as its reader sees it: the room it was said in; else the far side of it,
 * and among apps the other one. What came for nobody in particular belongs to who sent it.
 */
export function otherEnd(me: Address, sender: Address, recipient: Address): Address {
  const isLocal = (address: Address) => schemeOf(address) === 'app';
  if (schemeOf(recipient) === 'room') {
    return recipient === `room:${hubRoom}` && !isLocal(sender) ? sender : recipient;
  }
  return isLocal(sender) && sender !== recipient && recipient !== me ? recipient : sender;
}

/** As much of a message as a list shows of it. */
export function briefOf(message: Message): MessageBrief {
  const { id, type, from, to, text, acceptedAt, expiresAt, priority, attachments } = message;
  return {
    id,
    type,
    from,
    to,
    text: text.slice(0, briefText),
    acceptedAt,
    expiresAt,
    priority,
    attachments: attachments.length,
  };
}
