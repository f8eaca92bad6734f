import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Account, Synapse } from './server.ts';

/** A Matrix event as a person's client sees it. */
export interface MatrixEvent {
  readonly event_id: string;
  readonly type: string;
  readonly sender: string;
  readonly origin_server_ts: number;
  readonly state_key?: string;
  readonly redacts?: string;
  // biome-ignore lint/suspicious/noExplicitAny: what is in it is what the tests ask
  readonly content: Readonly<Record<string, any>>;
  readonly unsigned?: Readonly<Record<string, unknown>>;
}

export interface SeenEvent extends MatrixEvent {
  readonly roomId: string;
}

interface SyncAnswer {
  readonly next_batch: string;
  readonly rooms?: {
    readonly join?: Readonly<
      Record<
        string,
        {
          readonly timeline?: { readonly events: readonly MatrixEvent[] };
          readonly state?: { readonly events: readonly MatrixEvent[] };
          readonly ephemeral?: { readonly events: readonly MatrixEvent[] };
        }
      >
    >;
    readonly invite?: Readonly<
      Record<string, { readonly invite_state: { readonly events: readonly MatrixEvent[] } }>
    >;
  };
}

const patience = 30_000;
const syncWait = 10_000;

/** What the homeserver refused, with its own code. */
export class MatrixRefusal extends Error {
  readonly status: number;
  readonly errcode: string;

  constructor(status: number, body: { readonly errcode?: string; readonly error?: string }) {
    super(`${status} ${body.errcode ?? ''} ${body.error ?? ''}`);
    this.status = status;
    this.errcode = body.errcode ?? '';
  }
}

/** Registers a person and starts their client. Dispose it with `await using`. */
export async function startPerson(server: Synapse, name: string): Promise<Person> {
  return new Person(server, await server.registerUser(name));
}

/**
 * A person with a careful client of the plain client-server API: it syncs without end, through restarts of its
 * homeserver, and repeats a request that got no answer under the same transaction id.
 */
export class Person implements AsyncDisposable {
  readonly userId: string;
  readonly #server: Synapse;
  readonly #account: Account;
  readonly #stop = new AbortController();
  readonly #syncing: Promise<void>;
  readonly #seen = new Map<string, SeenEvent>();
  readonly #receipts: { roomId: string; eventId: string; userId: string }[] = [];
  readonly #invites = new Map<string, readonly MatrixEvent[]>();
  #changed = Promise.withResolvers<void>();

  constructor(server: Synapse, account: Account) {
    this.#server = server;
    this.#account = account;
    this.userId = account.userId;
    this.#syncing = this.#sync();
  }

  /** Every event of the rooms they are in, in the order in which their client heard of it, each once. */
  get events(): readonly SeenEvent[] {
    return [...this.#seen.values()];
  }

  /** Read receipts of others, in the order heard. */
  get receipts(): readonly { roomId: string; eventId: string; userId: string }[] {
    return this.#receipts;
  }

  /** Waits for the first event, past or to come, that `wanted` accepts. */
  event(what: string, wanted: (event: SeenEvent) => boolean, wait = patience): Promise<SeenEvent> {
    return this.#until(what, () => this.events.find(wanted), wait);
  }

  /** Waits for a message of somebody else with this text. */
  text(text: string, wait = patience): Promise<SeenEvent> {
    const wanted = (event: SeenEvent) =>
      event.type === 'm.room.message' && event.sender !== this.userId && event.content.body === text;
    return this.event(`the message ${JSON.stringify(text)}`, wanted, wait);
  }

  /** Waits for a read receipt on an event. */
  receipt(eventId: string, wait = patience): Promise<{ readonly userId: string }> {
    return this.#until(
      `a receipt on ${eventId}`,
      () => this.#receipts.find(one => one.eventId === eventId),
      wait,
    );
  }

  /** Waits for an invitation, and gives the room; `by` is who invites. */
  invitation(by?: string, wait = patience): Promise<string> {
    return this.#until(
      `an invitation${by === undefined ? '' : ` by ${by}`}`,
      () => {
        for (const [roomId, state] of this.#invites) {
          const mine = state.find(one => one.type === 'm.room.member' && one.state_key === this.userId);
          if (by === undefined || mine?.sender === by) return roomId;
        }
        return undefined;
      },
      wait,
    );
  }

  /** Makes a room; options are those of createRoom. */
  async createRoom(
    options: { readonly name?: string; readonly invite?: readonly string[]; readonly encrypted?: boolean } & {
      readonly [key: string]: unknown;
    } = {},
  ): Promise<string> {
    const { encrypted, ...more } = options;
    const encryption = { type: 'm.room.encryption', content: { algorithm: 'm.megolm.v1.aes-sha2' } };
    const made = await this.call<{ room_id: string }>('POST', '/v3/createRoom', {
      preset: 'private_chat',
      ...more,
      ...(encrypted === true ? { initial_state: [encryption] } : {}),
    });
    return made.room_id;
  }

  /** A direct chat, as clients make one: with one other person, marked as direct. */
  createDirect(userId: string): Promise<string> {
    return this.createRoom({ is_direct: true, preset: 'trusted_private_chat', invite: [userId] });
  }

  async invite(roomId: string, userId: string): Promise<void> {
    await this.call('POST', `/v3/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: userId });
  }

  /** Joins a room by id or alias; gives its id. */
  async join(room: string): Promise<string> {
    const joined = await this.call<{ room_id: string }>('POST', `/v3/join/${encodeURIComponent(room)}`, {});
    this.#invites.delete(joined.room_id);
    return joined.room_id;
  }

  async leave(roomId: string): Promise<void> {
    await this.call('POST', `/v3/rooms/${encodeURIComponent(roomId)}/leave`, {});
  }

  /** Waits until somebody is in a room. */
  member(roomId: string, userId: string, wait = patience): Promise<SeenEvent> {
    return this.event(
      `${userId} in ${roomId}`,
      event =>
        event.roomId === roomId &&
        event.type === 'm.room.member' &&
        event.state_key === userId &&
        event.content.membership === 'join',
      wait,
    );
  }

  /** Sends any event; gives its id. */
  async sendEvent(roomId: string, type: string, content: object): Promise<string> {
    const room = encodeURIComponent(roomId);
    const path = `/v3/rooms/${room}/send/${encodeURIComponent(type)}/${randomBytes(8).toString('hex')}`;
    return (await this.call<{ event_id: string }>('PUT', path, content)).event_id;
  }

  send(roomId: string, body: string): Promise<string> {
    return this.sendEvent(roomId, 'm.room.message', { msgtype: 'm.text', body });
  }

  reply(roomId: string, to: string, body: string): Promise<string> {
    return this.sendEvent(roomId, 'm.room.message', {
      msgtype: 'm.text',
      body,
      'm.relates_to': { 'm.in_reply_to': { event_id: to } },
    });
  }

  edit(roomId: string, eventId: string, body: string): Promise<string> {
    return this.sendEvent(roomId, 'm.room.message', {
      msgtype: 'm.text',
      body: `* ${body}`,
      'm.new_content': { msgtype: 'm.text', body },
      'm.relates_to': { rel_type: 'm.replace', event_id: eventId },
    });
  }

  react(roomId: string, eventId: string, key: string): Promise<string> {
    return this.sendEvent(roomId, 'm.reaction', {
      'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key },
    });
  }

  async redact(roomId: string, eventId: string): Promise<string> {
    const room = encodeURIComponent(roomId);
    const path = `/v3/rooms/${room}/redact/${encodeURIComponent(eventId)}/${randomBytes(8).toString('hex')}`;
    return (await this.call<{ event_id: string }>('PUT', path, {})).event_id;
  }

  /** Uploads bytes and sends them as an image. */
  async sendImage(roomId: string, bytes: Uint8Array, name: string, mimetype: string): Promise<string> {
    const { content_uri: url } = await this.#request<{ content_uri: string }>(
      'POST',
      `/_matrix/media/v3/upload?filename=${encodeURIComponent(name)}`,
      { body: bytes, type: mimetype },
    );
    return this.sendEvent(roomId, 'm.room.message', {
      msgtype: 'm.image',
      body: name,
      url,
      info: { mimetype, size: bytes.length },
    });
  }

  /** The bytes behind an mxc address. */
  async download(mxc: string): Promise<Buffer> {
    const path = `/_matrix/client/v1/media/download/${mxc.replace('mxc://', '')}`;
    return (await this.#fetch('GET', path, {})) as Buffer;
  }

  /** All events of a room from its beginning, as the homeserver has them now. */
  async timeline(roomId: string): Promise<readonly MatrixEvent[]> {
    const all: MatrixEvent[] = [];
    let from: string | undefined;
    do {
      const query = new URLSearchParams({ dir: 'f', limit: '500', ...(from === undefined ? {} : { from }) });
      const page = await this.call<{ chunk: MatrixEvent[]; end?: string }>(
        'GET',
        `/v3/rooms/${encodeURIComponent(roomId)}/messages?${query}`,
      );
      all.push(...page.chunk);
      from = page.end;
    } while (from !== undefined);
    return all;
  }

  /** A call of the client-server API below /_matrix/client; waits for a homeserver that is away. Throws MatrixRefusal. */
  call<T>(method: string, path: string, body?: object): Promise<T> {
    const json = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    return this.#request<T>(method, `/_matrix/client${path}`, { body: json, type: 'application/json' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#syncing;
  }

  async #request<T>(
    method: string,
    path: string,
    what: { readonly body?: Uint8Array | undefined; readonly type?: string },
  ): Promise<T> {
    const bytes = await this.#fetch(method, path, what);
    return JSON.parse(bytes.toString('utf8')) as T;
  }

  async #fetch(
    method: string,
    path: string,
    what: { readonly body?: Uint8Array | undefined; readonly type?: string },
    wait = 60_000,
  ): Promise<Buffer> {
    const end = performance.now() + wait;
    for (;;) {
      this.#stop.signal.throwIfAborted();
      try {
        const response = await fetch(`${this.#server.url}${path}`, {
          method,
          headers: {
            authorization: `Bearer ${this.#account.accessToken}`,
            ...(what.body === undefined ? {} : { 'content-type': what.type ?? 'application/octet-stream' }),
          },
          ...(what.body === undefined ? {} : { body: Buffer.from(what.body) }),
          signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(30_000)]),
        });
        const bytes = Buffer.from(await response.arrayBuffer());
        if (response.ok) return bytes;
        const refusal = new MatrixRefusal(response.status, parse(bytes));
        if (response.status < 500 && response.status !== 429) throw refusal;
        if (performance.now() > end) throw refusal;
      } catch (error) {
        if (error instanceof MatrixRefusal || this.#stop.signal.aborted || performance.now() > end)
          throw error;
      }
      await sleep(100, undefined, { signal: this.#stop.signal });
    }
  }

  async #sync(): Promise<void> {
    // Everything since the last sync is wanted, however long that was; only a gap of a thousand events would be one.
    const filter = JSON.stringify({ room: { timeline: { limit: 1000 } }, presence: { types: [] } });
    let since: string | undefined;
    while (!this.#stop.signal.aborted) {
      const query = new URLSearchParams({ filter, timeout: String(since === undefined ? 0 : syncWait) });
      if (since !== undefined) query.set('since', since);
      try {
        const answer = await this.#request<SyncAnswer>('GET', `/_matrix/client/v3/sync?${query}`, {});
        since = answer.next_batch;
        this.#take(answer);
      } catch {
        await sleep(100, undefined, { signal: this.#stop.signal }).catch(() => {});
      }
    }
  }

  #take(answer: SyncAnswer): void {
    for (const [roomId, room] of Object.entries(answer.rooms?.join ?? {})) {
      this.#invites.delete(roomId);
      for (const event of [...(room.state?.events ?? []), ...(room.timeline?.events ?? [])]) {
        if (!this.#seen.has(event.event_id)) this.#seen.set(event.event_id, { ...event, roomId });
      }
      for (const event of room.ephemeral?.events ?? []) {
        if (event.type === 'm.receipt') this.#takeReceipts(roomId, event.content);
      }
    }
    for (const [roomId, room] of Object.entries(answer.rooms?.invite ?? {})) {
      this.#invites.set(roomId, room.invite_state.events);
    }
    const changed = this.#changed;
    this.#changed = Promise.withResolvers();
    changed.resolve();
  }

  #takeReceipts(roomId: string, content: Readonly<Record<string, Record<string, object>>>): void {
    for (const [eventId, kinds] of Object.entries(content)) {
      for (const userId of Object.keys(kinds['m.read'] ?? {})) {
        if (userId !== this.userId) this.#receipts.push({ roomId, eventId, userId });
      }
    }
  }

  async #until<T>(what: string, find: () => T | undefined, wait: number): Promise<T> {
    const end = performance.now() + wait;
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      const left = end - performance.now();
      if (left <= 0) {
        const tail = this.events
          .slice(-15)
          .map(one => `  ${one.type} ${one.sender} ${JSON.stringify(one.content)}`);
        throw new Error(`${this.userId} never saw ${what}; the last they saw:\n${tail.join('\n')}`);
      }
      await Promise.race([this.#changed.promise, sleep(Math.min(left, 500))]);
    }
  }
}

function parse(bytes: Buffer): { errcode?: string; error?: string } {
  try {
    return JSON.parse(bytes.toString('utf8')) as { errcode?: string; error?: string };
  } catch {
    return { error: bytes.toString('utf8').slice(0, 200) };
  }
}
