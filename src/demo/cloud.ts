import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A notes service that can go away: what the shipped definition `notes` is about. */
export interface Cloud extends AsyncDisposable {
  readonly url: string;
  /** Titles of what it has. */
  titles(): readonly string[];
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
}

interface Note {
  readonly id: string;
  readonly title: string;
  readonly [key: string]: unknown;
}

/** Bytes of a note. */
const bodyLimit = 64 * 1024;

export async function startCloud(): Promise<Cloud> {
  const notes: Note[] = [];
  const answered = new Map<string, Note>();
  let server: Server | undefined;
  let port = 0;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').split('?')[0];
    if (path === '/v1/ping') {
      send(response, 200, { pong: true });
    } else if (path === '/v1/notes' && request.method === 'POST') {
      const key = String(request.headers['idempotency-key'] ?? randomUUID());
      const note = answered.get(key) ?? written(JSON.parse(await bodyOf(request)) as Partial<Note>);
      if (!answered.has(key)) {
        answered.set(key, note);
        notes.unshift(note);
      }
      send(response, 201, note, { location: `/v1/notes/${note.id}` });
    } else if (path === '/v1/notes') {
      send(response, 200, { items: notes, total: notes.length, next: null });
    } else {
      const note = notes.find(({ id }) => path === `/v1/notes/${id}`);
      send(response, note === undefined ? 404 : 200, note ?? { type: 'about:blank', status: 404 });
    }
  }

  const cloud: Cloud = {
    get url() {
      return `http://127.0.0.1:${port}`;
    },
    titles: () => notes.map(({ title }) => title),
    async goAway() {
      server?.closeAllConnections();
      server?.close();
      server = undefined;
    },
    async comeBack() {
      server = createServer((request, response) => {
        answer(request, response).catch(() => send(response, 400, { type: 'about:blank', status: 400 }));
      }).listen(port, '127.0.0.1');
      await once(server, 'listening');
      port = (server.address() as AddressInfo).port;
    },
    [Symbol.asyncDispose]: () => cloud.goAway(),
  };
  await cloud.comeBack();
  return cloud;
}

function written(draft: Partial<Note>): Note {
  const now = new Date().toISOString();
  const blank = { text: '', tags: [], status: 'open', parent: null };
  return { ...blank, title: '', ...draft, id: randomUUID(), createdAt: now, updatedAt: now };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk;
    if (text.length > bodyLimit) {
      break;
    }
  }
  return text;
}

function send(response: ServerResponse, status: number, body: object, headers: object = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}
