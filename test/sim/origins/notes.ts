import { createHash, randomUUID } from 'node:crypto';
import { type Origin, type OriginAnswer, type OriginRequest, startOrigin } from './origin.ts';

/** A note as the cloud keeps it. */
export interface Note {
  readonly id: string;
  readonly title: string;
  readonly text: string;
  readonly tags: readonly string[];
  readonly status: 'open' | 'done';
  /** Another note this one answers. */
  readonly parent: string | null;
  readonly createdAt: string;
  readonly updatedAt: string;
}

export interface NotesOrigin extends Origin {
  /** The notes of a user, newest first. */
  notes(user?: string): readonly Note[];
  /** A change made somewhere else. `request/not-found` is an exception here. */
  edit(user: string, id: string, change: Partial<Note>): void;
  add(user: string, note?: Partial<Note>): Note;
  remove(user: string, id: string): void;
  /** Writes that took effect, oldest first: `POST <id>`, `PUT <id>`, … */
  readonly effects: readonly string[];
  /** Tokens that are not good any more, or good again. */
  revoke(token: string): void;
  allow(token: string, user: string): void;
}

export interface NotesOriginOptions {
  /** Whether a repeated Idempotency-Key gives the first answer. */
  readonly idempotency?: boolean;
  /** Whether answers carry an ETag and If-Match is heeded. */
  readonly etags?: boolean;
  /** What a new note is said to be at, instead of the truth. */
  readonly location?: string;
  /** Token → user. */
  readonly users?: Readonly<Record<string, string>>;
}

/**
 * A notes service as there are many: each user has own notes, kept by bearer token; a list with a filter and pages, items
 * with ETag and If-Match, writes with Idempotency-Key where it is switched on.
 */
export async function startNotesOrigin(options: NotesOriginOptions = {}): Promise<NotesOrigin> {
  const { idempotency = true, etags = true } = options;
  const users = new Map(Object.entries(options.users ?? { 'token-alice': 'alice', 'token-bob': 'bob' }));
  const shelves = new Map<string, Map<string, Note>>();
  const answers = new Map<string, { fingerprint: string; answer: OriginAnswer }>();
  const effects: string[] = [];
  let clock = Date.UTC(2026, 0, 1);
  const now = () => {
    clock += 1000;
    return new Date(clock).toISOString();
  };
  const shelf = (user: string) => shelves.getOrInsertComputed(user, () => new Map());

  const etagOf = (note: Note) =>
    `"${createHash('sha256').update(JSON.stringify(note)).digest('hex').slice(0, 16)}"`;
  const item = (status: number, note: Note, more: Readonly<Record<string, string>> = {}): OriginAnswer => ({
    status,
    headers: {
      'cache-control': 'private, max-age=0, must-revalidate',
      ...(etags ? { etag: etagOf(note) } : {}),
      ...more,
    },
    body: note,
  });

  const answer = (request: OriginRequest): OriginAnswer => {
    const [version, kind, id, more] = request.pieces;
    if (version === 'v1' && kind === 'ping' && id === undefined) {
      return { status: 200, headers: { 'cache-control': 'no-store' }, body: { pong: true } };
    }
    const user = users.get(/^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '');
    if (user === undefined) {
      return { status: 401, headers: { 'www-authenticate': 'Bearer' }, body: { error: 'who are you?' } };
    }
    if (version !== 'v1' || kind !== 'notes' || more !== undefined) {
      return { status: 404, body: { error: 'not found' } };
    }
    return remembering(user, request, () =>
      id === undefined ? collection(user, request) : one(user, id, request),
    );
  };

  /** One answer a key, and another body under it is refused. */
  const remembering = (user: string, request: OriginRequest, act: () => OriginAnswer): OriginAnswer => {
    const key = request.headers['idempotency-key'];
    if (!idempotency || typeof key !== 'string' || request.method === 'GET' || request.method === 'HEAD') {
      return act();
    }
    const slot = `${user} ${key}`;
    const fingerprint = `${request.method} ${request.path} ${request.body}`;
    const known = answers.get(slot);
    if (known !== undefined) {
      return known.fingerprint === fingerprint
        ? known.answer
        : { status: 422, body: { error: 'another request under the same key' } };
    }
    const given = act();
    if (given.status < 300) {
      answers.set(slot, { fingerprint, answer: given });
    }
    return given;
  };

  const collection = (user: string, request: OriginRequest): OriginAnswer => {
    const notes = shelf(user);
    if (request.method === 'GET' || request.method === 'HEAD') {
      const tag = request.query.get('tag');
      const limit = Math.min(Math.max(Number(request.query.get('limit') ?? 50) || 50, 1), 200);
      const cursor = Number(request.query.get('cursor') ?? 0) || 0;
      const all = [...notes.values()].reverse().filter(note => tag === null || note.tags.includes(tag));
      const end = cursor + limit;
      const body = {
        items: all.slice(cursor, end),
        total: all.length,
        next: end < all.length ? String(end) : null,
      };
      return {
        status: 200,
        headers: {
          'cache-control': 'private, max-age=0, must-revalidate',
          ...(etags ? { etag: listTag(body) } : {}),
        },
        body,
      };
    }
    if (request.method !== 'POST') {
      return { status: 405, headers: { allow: 'GET, HEAD, POST' }, body: { error: 'method not allowed' } };
    }
    const draft = draftOf(request.body, true);
    if (typeof draft === 'string') {
      return { status: 400, body: { error: draft } };
    }
    const note = put(user, { ...blank(), ...draft });
    effects.push(`POST ${note.id}`);
    return item(201, note, { location: options.location ?? `/v1/notes/${note.id}` });
  };

  const one = (user: string, id: string, request: OriginRequest): OriginAnswer => {
    const notes = shelf(user);
    const note = notes.get(id);
    if (note === undefined) {
      return { status: 404, body: { error: 'no such note' } };
    }
    if (request.method === 'GET' || request.method === 'HEAD') {
      const match = request.headers['if-none-match'];
      return etags && match === etagOf(note) ? { ...item(304, note), body: undefined } : item(200, note);
    }
    const wanted = request.headers['if-match'];
    if (etags && wanted !== undefined && wanted !== '*' && wanted !== etagOf(note)) {
      return { ...item(412, note), body: { error: 'changed since', current: note } };
    }
    switch (request.method) {
      case 'PUT':
      case 'PATCH': {
        const draft = draftOf(request.body, request.method === 'PUT');
        if (typeof draft === 'string') {
          return { status: 400, body: { error: draft } };
        }
        const base = request.method === 'PUT' ? { ...blank(), id, createdAt: note.createdAt } : note;
        const changed = { ...base, ...draft, updatedAt: now() };
        notes.set(id, changed);
        effects.push(`${request.method} ${id}`);
        return item(200, changed);
      }
      case 'DELETE':
        notes.delete(id);
        effects.push(`DELETE ${id}`);
        return { status: 204 };
      default:
        return { status: 405, headers: { allow: 'GET, HEAD, PUT, PATCH, DELETE' }, body: { error: 'no' } };
    }
  };

  const blank = (): Note => {
    const at = now();
    return {
      id: randomUUID(),
      title: '',
      text: '',
      tags: [],
      status: 'open',
      parent: null,
      createdAt: at,
      updatedAt: at,
    };
  };
  const put = (user: string, note: Note): Note => {
    shelf(user).set(note.id, note);
    return note;
  };

  const origin = await startOrigin(answer);
  return {
    ...origin,
    effects,
    notes: (user = 'alice') => [...shelf(user).values()].reverse(),
    edit(user, id, change) {
      const note = shelf(user).get(id);
      if (note === undefined) {
        throw new Error(`no note ${id}`);
      }
      shelf(user).set(id, { ...note, ...change, updatedAt: now() });
    },
    add: (user, note = {}) => put(user, { ...blank(), title: 'a note', ...note }),
    remove(user, id) {
      shelf(user).delete(id);
    },
    revoke(token) {
      users.delete(token);
    },
    allow(token, user) {
      users.set(token, user);
    },
  };
}

function listTag(body: unknown): string {
  return `"${createHash('sha256').update(JSON.stringify(body)).digest('hex').slice(0, 16)}"`;
}

/** The fields a client may set, or what is wrong with them. */
function draftOf(body: string, whole: boolean): Partial<Note> | string {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return 'not JSON';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return 'not an object';
  }
  const { title, text, tags, status, parent, ...rest } = value as Record<string, unknown>;
  if (Object.keys(rest).length > 0) {
    return `unknown field ${Object.keys(rest)[0]}`;
  }
  if (title === undefined ? whole : typeof title !== 'string' || title === '' || title.length > 200) {
    return 'title: 1 to 200 characters';
  }
  if (text !== undefined && typeof text !== 'string') {
    return 'text: a string';
  }
  if (tags !== undefined && !(Array.isArray(tags) && tags.every(tag => typeof tag === 'string'))) {
    return 'tags: strings';
  }
  if (status !== undefined && status !== 'open' && status !== 'done') {
    return 'status: open or done';
  }
  if (parent !== undefined && parent !== null && typeof parent !== 'string') {
    return 'parent: an id or null';
  }
  return value as Partial<Note>;
}
