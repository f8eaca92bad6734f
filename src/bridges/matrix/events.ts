/** An event of a room as the homeserver sent it, as far as the bridge reads it. */
export interface RoomEvent {
  readonly id: string;
  readonly room: string;
  readonly type: string;
  readonly sender: string;
  /** ms epoch by its sender's homeserver. */
  readonly at: number;
  /** Present for state events alone. */
  readonly stateKey?: string;
  readonly content: Content;
  /** The event that a redaction removes. */
  readonly redacts?: string;
  /** Bytes of its JSON. */
  readonly size: number;
  /** Its JSON. */
  readonly json: string;
}

/** Content nobody has checked: every reader takes what has the shape it wants. */
export type Content = Readonly<Record<string, unknown>>;

const longestId = 512;

/** Reads an event; undefined where it lacks what every event has. `room` stands in where the answer names it elsewhere. */
export function readEvent(value: unknown, room?: string): RoomEvent | undefined {
  const event = record(value);
  const id = text(event.event_id);
  const of = text(event.room_id) ?? room;
  const type = text(event.type);
  const sender = text(event.sender);
  if (
    id === undefined ||
    of === undefined ||
    type === undefined ||
    sender === undefined ||
    [id, of, type, sender].some(word => word.length > longestId)
  ) {
    return undefined;
  }
  let json: string;
  try {
    json = JSON.stringify({ ...event, room_id: of });
  } catch {
    return undefined;
  }
  const content = record(event.content);
  const stateKey = text(event.state_key);
  const redacts = text(event.redacts) ?? text(content.redacts);
  return {
    id,
    room: of,
    type,
    sender,
    at: time(event.origin_server_ts),
    ...(stateKey === undefined ? {} : { stateKey }),
    content,
    ...(redacts === undefined ? {} : { redacts }),
    size: Buffer.byteLength(json),
    json,
  };
}

/** The object, or an empty one. */
export function record(value: unknown): Content {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Content) : {};
}

/** A text in whole characters, or undefined. */
export function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value.toWellFormed() : undefined;
}

function time(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}

/** What an event says of another one. */
export interface Relations {
  /** Replaced by this one. */
  readonly replaces?: string;
  /** Reacted to, and with what. */
  readonly annotates?: { readonly event: string; readonly key: string };
  readonly repliesTo?: string;
  readonly thread?: string;
}

/** The relations in a content. Source: Matrix specification v1.19, “Client-Server API › Forwarded relations, replies, threads”. */
export function relationsOf(content: Content): Relations {
  const relates = record(content['m.relates_to']);
  const event = text(relates.event_id);
  const key = text(relates.key);
  const repliesTo = text(record(relates['m.in_reply_to']).event_id);
  return {
    ...(relates.rel_type === 'm.replace' && event !== undefined ? { replaces: event } : {}),
    ...(relates.rel_type === 'm.annotation' && event !== undefined && key !== undefined
      ? { annotates: { event, key } }
      : {}),
    ...(repliesTo === undefined ? {} : { repliesTo }),
    ...(relates.rel_type === 'm.thread' && event !== undefined ? { thread: event } : {}),
  };
}
