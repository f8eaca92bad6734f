import { randomBytes } from 'node:crypto';

/** What a homeserver refuses, as it says so. */
export class Refusal extends Error {
  readonly status: number;
  readonly errcode: string;
  readonly more: Readonly<Record<string, unknown>>;

  constructor(
    status: number,
    errcode: string,
    message: string,
    more: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
    this.status = status;
    this.errcode = errcode;
    this.more = more;
  }
}

export interface FakeEvent {
  readonly event_id: string;
  readonly room_id: string;
  readonly type: string;
  readonly sender: string;
  readonly origin_server_ts: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it.
  content: Record<string, any>;
  readonly state_key?: string;
  readonly redacts?: string;
}

export interface Draft {
  readonly type: string;
  readonly sender: string;
  readonly content: Record<string, unknown>;
  readonly state_key?: string;
  readonly redacts?: string;
  readonly ts?: number;
}

const longestEvent = 65_536;

/** Rooms of a fake homeserver, with what Synapse checks of events: sizes, numbers, surrogates, membership. */
export class FakeRooms {
  readonly #serverName: string;
  readonly #rooms = new Map<string, FakeEvent[]>();
  readonly aliases = new Map<string, string>();
  /** Called with every new event. */
  onEvent: (event: FakeEvent) => void = () => {};
  #count = 0;

  constructor(serverName: string) {
    this.#serverName = serverName;
  }

  clear(): void {
    this.#rooms.clear();
    this.aliases.clear();
  }

  create(creator: string, body: Record<string, unknown>): string {
    const alias =
      typeof body.room_alias_name === 'string' ? `#${body.room_alias_name}:${this.#serverName}` : undefined;
    if (alias !== undefined && this.aliases.has(alias)) {
      throw new Refusal(400, 'M_ROOM_IN_USE', 'Room alias already taken');
    }
    const room = `!${randomBytes(12).toString('base64url')}`;
    this.#rooms.set(room, []);
    if (alias !== undefined) {
      this.aliases.set(alias, room);
    }
    const open = body.preset === 'public_chat';
    this.add(
      room,
      {
        type: 'm.room.create',
        sender: creator,
        content: { room_version: '12', ...(body.creation_content as object | undefined) },
        state_key: '',
      },
      true,
    );
    this.add(room, member(creator, creator, 'join'), true);
    this.add(
      room,
      { type: 'm.room.power_levels', sender: creator, content: { users: {} }, state_key: '' },
      true,
    );
    this.add(
      room,
      {
        type: 'm.room.join_rules',
        sender: creator,
        content: { join_rule: open ? 'public' : 'invite' },
        state_key: '',
      },
      true,
    );
    for (const person of (body.invite as string[] | undefined) ?? []) {
      this.invite(room, creator, person, body.is_direct === true);
    }
    return room;
  }

  events(room: string): readonly FakeEvent[] {
    const events = this.#rooms.get(room);
    if (events === undefined) {
      throw new Refusal(404, 'M_NOT_FOUND', 'Unknown room');
    }
    return events;
  }

  all(): readonly string[] {
    return [...this.#rooms.keys()];
  }

  membership(room: string, user: string): string {
    const events = this.events(room);
    const last = events.findLast(event => event.type === 'm.room.member' && event.state_key === user);
    return String(last?.content.membership ?? 'leave');
  }

  members(room: string): readonly string[] {
    const users = new Set(
      this.events(room).flatMap(event => (event.type === 'm.room.member' ? [event.state_key ?? ''] : [])),
    );
    return [...users].filter(user => this.membership(room, user) === 'join');
  }

  state(room: string, type: string, key: string): FakeEvent | undefined {
    return this.events(room).findLast(event => event.type === type && event.state_key === key);
  }

  invite(room: string, by: string, person: string, direct = false): void {
    this.#mustBeIn(room, by);
    if (this.membership(room, person) === 'join') {
      throw new Refusal(403, 'M_FORBIDDEN', `${person} is already in the room.`);
    }
    const event = member(by, person, 'invite');
    this.add(room, { ...event, content: { ...event.content, ...(direct ? { is_direct: true } : {}) } }, true);
  }

  join(roomOrAlias: string, user: string): string {
    const room = this.aliases.get(roomOrAlias) ?? roomOrAlias;
    const now = this.membership(room, user);
    if (now === 'join') {
      return room;
    }
    const open = this.state(room, 'm.room.join_rules', '')?.content.join_rule === 'public';
    if (now !== 'invite' && !open) {
      throw new Refusal(403, 'M_FORBIDDEN', 'You are not invited to this room.');
    }
    this.add(room, member(user, user, 'join'), true);
    return room;
  }

  leave(room: string, user: string, by = user): void {
    this.add(room, member(by, user, 'leave'), true);
  }

  add(room: string, draft: Draft, asServer = false): FakeEvent {
    const { ts, ...rest } = draft;
    if (!asServer) {
      this.#mustBeIn(room, draft.sender);
      checkContent(draft.content);
      const relates = draft.content['m.relates_to'] as Record<string, unknown> | undefined;
      const same = this.events(room).some(
        ({ type, sender, content }) =>
          type === 'm.reaction' &&
          draft.type === type &&
          sender === draft.sender &&
          content['m.relates_to']?.event_id === relates?.event_id &&
          content['m.relates_to']?.key === relates?.key,
      );
      if (same) {
        throw new Refusal(400, 'M_DUPLICATE_ANNOTATION', "Can't send same reaction twice");
      }
    }
    this.#count += 1;
    const event: FakeEvent = {
      event_id: `$${randomBytes(24).toString('base64url')}`,
      room_id: room,
      origin_server_ts: ts ?? 1_760_000_000_000 + this.#count,
      ...rest,
    };
    if (JSON.stringify(event).length > longestEvent) {
      throw new Refusal(413, 'M_TOO_LARGE', 'event too large');
    }
    (this.events(room) as FakeEvent[]).push(event);
    if (draft.redacts !== undefined) {
      const target = this.events(room).find(({ event_id }) => event_id === draft.redacts);
      if (target !== undefined) {
        target.content = {};
      }
    }
    this.onEvent(event);
    return event;
  }

  #mustBeIn(room: string, user: string): void {
    if (this.membership(room, user) !== 'join') {
      throw new Refusal(403, 'M_FORBIDDEN', `User ${user} not in room ${room}`);
    }
  }
}

function member(by: string, user: string, membership: string): Draft & { readonly state_key: string } {
  return { type: 'm.room.member', sender: by, content: { membership }, state_key: user };
}

/** Numbers must be whole and small; a lone surrogate breaks the server. */
function checkContent(value: unknown): void {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) {
    throw new Refusal(400, 'M_BAD_JSON', 'Bad JSON value: float or integer out of range');
  }
  if (typeof value === 'string' && !value.isWellFormed()) {
    throw new Refusal(500, 'M_UNKNOWN', 'Internal server error');
  }
  if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      checkContent(key);
      checkContent(item);
    }
  }
}
