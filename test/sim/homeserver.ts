import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { FakePusher } from './homeserver-pusher.ts';
import { type FakeEvent, FakeRooms, Refusal } from './homeserver-rooms.ts';

export type { FakeEvent } from './homeserver-rooms.ts';

export interface FakeRegistration {
  readonly id: string;
  readonly as_token: string;
  readonly hs_token: string;
}

export interface FakeOptions {
  readonly registration: FakeRegistration;
  readonly serverName?: string;
  /** Where the appservice listens. */
  readonly appservice: () => string;
  readonly backoff?: number;
}

const prefix = '_kos_';

type Body = Record<string, unknown>;
type Route = (call: {
  readonly user: string;
  readonly device: string | undefined;
  readonly args: readonly string[];
  readonly query: URLSearchParams;
  readonly body: Body;
  readonly raw: Buffer;
  readonly key: string;
  readonly request: IncomingMessage;
}) => unknown;

/** A file as an answer. */
class File {
  readonly bytes: Buffer;
  readonly mediaType: string;

  constructor(bytes: Buffer, mediaType: string) {
    this.bytes = bytes;
    this.mediaType = mediaType;
  }
}

/**
 * A homeserver in memory that speaks HTTP, for fast tests: what the bridge uses of the client-server API, an appservice
 * pusher, and the traps of Synapse. Its "database" survives `kill`, its memory does not.
 */
export class FakeHomeserver implements AsyncDisposable {
  readonly serverName: string;
  readonly rooms: FakeRooms;
  readonly pusher: FakePusher;
  readonly receipts: { readonly room: string; readonly event: string; readonly user: string }[] = [];
  readonly requests: string[] = [];
  /** ms before each answer. */
  slow = 0;
  /** Answers the next requests like this, before they do anything: `[status, errcode, more?]`. */
  readonly failures: (readonly [match: RegExp, refusal: Refusal])[] = [];
  /** Does what the next matching request asks, and breaks the connection instead of answering. */
  readonly dropAnswers: RegExp[] = [];
  readonly names = new Map<string, string>();
  readonly media = new Map<string, File>();
  readonly #registration: FakeRegistration;
  readonly #appservice: () => string;
  readonly #users = new Set<string>();
  readonly #devices = new Set<string>();
  /** Transaction ids of devices, in the database; without one, in memory. */
  readonly #sent = new Map<string, string>();
  readonly #sentInMemory = new Map<string, string>();
  readonly #routes: readonly (readonly [method: string, pattern: RegExp, route: Route])[];
  #server: Server | undefined;
  #port = 0;
  readonly #polls = new Set<() => void>();

  constructor(options: FakeOptions) {
    this.serverName = options.serverName ?? 'home.test';
    this.#registration = options.registration;
    this.#appservice = options.appservice;
    this.rooms = new FakeRooms(this.serverName);
    this.pusher = new FakePusher({
      url: options.appservice,
      hsToken: () => options.registration.hs_token,
      backoff: options.backoff ?? 50,
    });
    this.rooms.onEvent = event => this.#interested(event) && this.pusher.push(event);
    this.#routes = this.#makeRoutes();
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<this> {
    const server = createServer((request, response) => void this.#serve(request, response));
    await new Promise<void>(resolve => server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
    this.pusher.start();
    return this;
  }

  /** SIGKILL: connections break, memory is gone. */
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    this.pusher.kill();
    this.#sentInMemory.clear();
    server?.closeAllConnections();
    for (const end of this.#polls) {
      end();
    }
    await new Promise(resolve => (server === undefined ? resolve(undefined) : server.close(resolve)));
  }

  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** As if it had been set up anew, with the same registration. */
  forgetEverything(): void {
    this.rooms.clear();
    this.#users.clear();
    this.#devices.clear();
    this.#sent.clear();
    this.names.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }

  /** A person of this homeserver; what they do happens at once. */
  person(name: string) {
    const userId = `@${name}:${this.serverName}`;
    const { rooms } = this;
    this.#users.add(userId);
    return {
      userId,
      say: (room: string, text: string, more: Body = {}) =>
        rooms.add(room, {
          type: 'm.room.message',
          sender: userId,
          content: { msgtype: 'm.text', body: text, ...more },
        }),
      send: (
        room: string,
        type: string,
        content: Body,
        more: { redacts?: string; state_key?: string } = {},
      ) => rooms.add(room, { type, sender: userId, content, ...more }),
      create: (invite: readonly string[], direct = true) =>
        rooms.create(userId, { preset: 'private_chat', invite, is_direct: direct }),
      join: (room: string) => rooms.join(room, userId),
      leave: (room: string) => rooms.leave(room, userId),
      invite: (room: string, other: string) => rooms.invite(room, userId, other),
      read: (room: string, event: string) =>
        this.pusher.pushEphemeral({
          type: 'm.receipt',
          room_id: room,
          content: { [event]: { 'm.read': { [userId]: { ts: 1 } } } },
        }),
      /** Rooms they are invited to, oldest first. */
      invitations: () => rooms.all().filter(room => rooms.membership(room, userId) === 'invite'),
    };
  }

  /** Messages that people see in a room, oldest first. */
  shown(room: string): readonly FakeEvent[] {
    return this.rooms.events(room).filter(({ type }) => type === 'm.room.message');
  }

  upload(bytes: Uint8Array, mediaType: string): string {
    const id = randomBytes(12).toString('hex');
    this.media.set(id, new File(Buffer.from(bytes), mediaType));
    return `mxc://${this.serverName}/${id}`;
  }

  #interested(event: FakeEvent): boolean {
    const mine = (user: string) => user.startsWith(`@${prefix}`) && user.endsWith(`:${this.serverName}`);
    return (
      mine(event.sender) ||
      mine(event.state_key ?? '') ||
      this.rooms.members(event.room_id).some(user => mine(user))
    );
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) {
        chunks.push(chunk as Buffer);
      }
    } catch {
      return;
    }
    const raw = Buffer.concat(chunks);
    const url = new URL(request.url ?? '/', 'http://homeserver');
    const line = `${request.method} ${url.pathname}`;
    this.requests.push(line);
    if (this.slow > 0) {
      await new Promise(resolve => setTimeout(resolve, this.slow));
    }
    try {
      const answer = await this.#answer(request, url, raw, line);
      const drop = this.dropAnswers.findIndex(match => match.test(line));
      if (drop >= 0) {
        this.dropAnswers.splice(drop, 1);
        request.socket.destroy();
        return;
      }
      if (answer instanceof File) {
        response.writeHead(200, { 'content-type': answer.mediaType, 'content-length': answer.bytes.length });
        response.end(answer.bytes);
      } else {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify(answer ?? {}));
      }
    } catch (error) {
      const { status, errcode, message, more } =
        error instanceof Refusal ? error : new Refusal(500, 'M_UNKNOWN', String(error));
      const wait = more.retry_after_ms;
      const headers: Record<string, string | number> = { 'content-type': 'application/json' };
      if (typeof wait === 'number') {
        headers['retry-after'] = Math.ceil(wait / 1000);
      }
      response.writeHead(status, headers);
      response.end(JSON.stringify({ errcode, error: message, ...more }));
    }
  }

  async #answer(request: IncomingMessage, url: URL, raw: Buffer, line: string): Promise<unknown> {
    if (url.pathname === '/_matrix/client/versions') {
      return { versions: ['v1.15'] };
    }
    const failing = this.failures.findIndex(([match]) => match.test(line));
    if (failing >= 0) {
      throw this.failures.splice(failing, 1)[0]?.[1];
    }
    if (request.headers.authorization !== `Bearer ${this.#registration.as_token}`) {
      throw new Refusal(401, 'M_UNKNOWN_TOKEN', 'Invalid access token passed.');
    }
    for (const [method, pattern, route] of this.#routes) {
      const found = pattern.exec(url.pathname);
      if (found === null || method !== request.method) {
        continue;
      }
      const args = found.slice(1).map(part => decodeURIComponent(part));
      const json = /json/.test(request.headers['content-type'] ?? '');
      const body = json && raw.length > 0 ? (JSON.parse(raw.toString()) as Body) : {};
      const user = url.searchParams.get('user_id') ?? `@${prefix}bot:${this.serverName}`;
      const device = url.searchParams.get('device_id') ?? undefined;
      const registering = url.pathname.endsWith('/register');
      if (!user.startsWith(`@${prefix}`) || !user.endsWith(`:${this.serverName}`)) {
        throw new Refusal(403, 'M_FORBIDDEN', 'Application service cannot masquerade as this user.');
      }
      if (!registering && !user.startsWith(`@${prefix}bot:`) && !this.#users.has(user)) {
        throw new Refusal(403, 'M_FORBIDDEN', `Application service has not registered this user (${user})`);
      }
      if (device !== undefined && !this.#devices.has(`${user} ${device}`)) {
        throw new Refusal(
          400,
          'M_UNKNOWN_DEVICE',
          'Application service trying to use a device that does not exist',
        );
      }
      return await route({
        user,
        device,
        args,
        query: url.searchParams,
        body,
        raw,
        key: url.pathname,
        request,
      });
    }
    throw new Refusal(404, 'M_UNRECOGNIZED', 'Unrecognized request');
  }

  /** Once for each path: neither the user nor the body is part of the key. */
  #once(key: string, device: string | undefined, run: () => string): { event_id: string } {
    const known = this.#sent.get(key) ?? this.#sentInMemory.get(key);
    if (known !== undefined) {
      return { event_id: known };
    }
    const event = run();
    (device === undefined ? this.#sentInMemory : this.#sent).set(key, event);
    return { event_id: event };
  }

  #makeRoutes(): readonly (readonly [string, RegExp, Route])[] {
    const { rooms } = this;
    const at = (path: string) => new RegExp(`^${path.replaceAll(':x', '([^/]+)')}$`);
    const v3 = '/_matrix/client/v3';
    return [
      [
        'POST',
        at(`${v3}/register`),
        ({ body }) => {
          const user = `@${body.username}:${this.serverName}`;
          if (!String(body.username).startsWith(prefix)) {
            throw new Refusal(400, 'M_EXCLUSIVE', 'Invalid user localpart for this application service.');
          }
          if (this.#users.has(user)) {
            throw new Refusal(400, 'M_USER_IN_USE', 'User ID already taken.');
          }
          this.#users.add(user);
          return { user_id: user };
        },
      ],
      ['PUT', at(`${v3}/devices/:x`), ({ user, args }) => void this.#devices.add(`${user} ${args[0]}`)],
      ['GET', at(`${v3}/account/whoami`), ({ user, device }) => ({ user_id: user, device_id: device })],
      [
        'PUT',
        at(`${v3}/profile/:x/displayname`),
        ({ args, body }) => void this.names.set(args[0] ?? '', String(body.displayname)),
      ],
      [
        'GET',
        at(`${v3}/profile/:x/displayname`),
        ({ args }) => ({ displayname: this.names.get(args[0] ?? '') }),
      ],
      ['POST', at(`${v3}/createRoom`), ({ user, body }) => ({ room_id: rooms.create(user, body) })],
      [
        'GET',
        at(`${v3}/directory/room/:x`),
        async ({ args }) => {
          const alias = args[0] ?? '';
          // As Synapse does: whoever looks, the appservice is asked, and waited for.
          if (!rooms.aliases.has(alias) && alias.startsWith(`#${prefix}`)) {
            await this.#ask(`/rooms/${encodeURIComponent(alias)}`);
          }
          const room = rooms.aliases.get(alias);
          if (room === undefined) {
            throw new Refusal(404, 'M_NOT_FOUND', 'Room alias not found');
          }
          return { room_id: room, servers: [this.serverName] };
        },
      ],
      ['DELETE', at(`${v3}/directory/room/:x`), ({ args }) => void rooms.aliases.delete(args[0] ?? '')],
      ['POST', at(`${v3}/join/:x`), ({ user, args }) => ({ room_id: rooms.join(args[0] ?? '', user) })],
      [
        'POST',
        at(`${v3}/rooms/:x/invite`),
        ({ user, args, body }) => rooms.invite(args[0] ?? '', user, String(body.user_id)),
      ],
      ['POST', at(`${v3}/rooms/:x/leave`), ({ user, args }) => rooms.leave(args[0] ?? '', user)],
      [
        'PUT',
        at(`${v3}/rooms/:x/send/:x/:x`),
        ({ user, device, args: [room = '', type = ''], query, body, key }) =>
          this.#once(key, device, () => {
            const ts = query.get('ts');
            if (ts !== null && !/^\d+$/.test(ts)) {
              throw new Refusal(400, 'M_INVALID_PARAM', 'ts must be a positive integer');
            }
            return rooms.add(room, {
              type,
              sender: user,
              content: body,
              ...(ts === null ? {} : { ts: Number(ts) }),
            }).event_id;
          }),
      ],
      [
        'PUT',
        at(`${v3}/rooms/:x/redact/:x/:x`),
        ({ user, device, args: [room = '', redacts = ''], key }) =>
          this.#once(
            key,
            device,
            () =>
              rooms.add(room, { type: 'm.room.redaction', sender: user, content: { redacts }, redacts })
                .event_id,
          ),
      ],
      [
        'GET',
        at(`${v3}/rooms/:x/state/:x/(.*)`),
        ({ args: [room = '', type = '', key = ''] }) => rooms.state(room, type, key)?.content ?? {},
      ],
      [
        'PUT',
        at(`${v3}/rooms/:x/state/:x/(.*)`),
        ({ user, args: [room = '', type = '', key = ''], body }) => ({
          event_id: rooms.add(room, { type, sender: user, content: body, state_key: key }).event_id,
        }),
      ],
      [
        'GET',
        at(`${v3}/rooms/:x/messages`),
        ({ user, args, query }) => this.#messages(user, args[0] ?? '', query),
      ],
      [
        'GET',
        at(`${v3}/rooms/:x/event/:x`),
        ({ args: [room = '', id = ''] }) => {
          const event = rooms.events(room).find(({ event_id }) => event_id === id);
          if (event === undefined) {
            throw new Refusal(404, 'M_NOT_FOUND', 'Event not found.');
          }
          return event;
        },
      ],
      [
        'POST',
        at(`${v3}/rooms/:x/receipt/m.read/:x`),
        ({ user, args: [room = '', event = ''] }) => void this.receipts.push({ room, event, user }),
      ],
      [
        'POST',
        at('/_matrix/media/v3/upload'),
        ({ raw, request }) => ({
          content_uri: this.upload(raw, request.headers['content-type'] ?? 'application/octet-stream'),
        }),
      ],
      [
        'GET',
        at('/_matrix/client/v1/media/download/:x/:x'),
        ({ args }) => {
          const file = this.media.get(args[1] ?? '');
          if (file === undefined) {
            throw new Refusal(404, 'M_NOT_FOUND', 'Not found');
          }
          return file;
        },
      ],
      ['POST', at('/_matrix/client/v1/appservice/:x/ping'), ({ body }) => this.#ping(body)],
      ['GET', at(`${v3}/sync`), ({ user, query }) => this.#sync(user, query)],
    ];
  }

  /** Tokens are positions between events, as the numbers of events before them. */
  #messages(user: string, room: string, query: URLSearchParams): unknown {
    if (this.rooms.membership(room, user) !== 'join') {
      throw new Refusal(403, 'M_FORBIDDEN', `User ${user} not in room ${room}`);
    }
    const events = this.rooms.events(room);
    const limit = Number(query.get('limit') ?? 10);
    const forward = query.get('dir') === 'f';
    const from = query.get('from');
    if (from !== null && !/^t\d+$/.test(from)) {
      throw new Refusal(400, 'M_INVALID_PARAM', 'Invalid token');
    }
    const start = from === null ? (forward ? 0 : events.length) : Number(from.slice(1));
    const end = forward ? Math.min(start + limit, events.length) : Math.max(start - limit, 0);
    const chunk = forward ? events.slice(start, end) : events.slice(end, start).reverse();
    return { start: `t${start}`, chunk, ...(chunk.length === 0 ? {} : { end: `t${end}` }) };
  }

  async #ask(path: string): Promise<void> {
    try {
      const answer = await fetch(`${this.#appservice()}/_matrix/app/v1${path}`, {
        headers: { authorization: `Bearer ${this.#registration.hs_token}` },
      });
      await answer.text();
    } catch {
      // Nobody there is the same as no.
    }
  }

  async #ping(body: Body): Promise<unknown> {
    let status = 0;
    try {
      const answer = await fetch(`${this.#appservice()}/_matrix/app/v1/ping`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${this.#registration.hs_token}`,
          'content-type': 'application/json',
        },
        body: JSON.stringify(body),
      });
      status = answer.status;
      await answer.text();
    } catch {
      throw new Refusal(502, 'M_CONNECTION_FAILED', 'Connection refused');
    }
    if (status !== 200) {
      throw new Refusal(502, 'M_BAD_STATUS', 'bad status', { status });
    }
    this.pusher.flush();
    return { duration_ms: 1 };
  }

  async #sync(user: string, query: URLSearchParams): Promise<unknown> {
    if (user.startsWith(`@${prefix}bot:`)) {
      throw new Refusal(500, 'M_UNKNOWN', 'Internal server error');
    }
    const wait = Number(query.get('timeout') ?? 0);
    await new Promise<void>(resolve => {
      const end = () => {
        clearTimeout(timer);
        this.#polls.delete(end);
        resolve();
      };
      const timer = setTimeout(end, wait);
      this.#polls.add(end);
    });
    const invite = Object.fromEntries(
      this.rooms.all().flatMap(room => {
        const event = this.rooms.state(room, 'm.room.member', user);
        const { type, sender, content, state_key } = event ?? {};
        return content?.membership === 'invite'
          ? [[room, { invite_state: { events: [{ type, sender, content, state_key }] } }]]
          : [];
      }),
    );
    const blocked = /"rooms":\[\]/.test(query.get('filter') ?? '');
    return { next_batch: 's1', ...(blocked ? {} : { rooms: { invite } }) };
  }
}
