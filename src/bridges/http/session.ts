import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { type Client, type Desk, scopes } from '../../gateway/desk.ts';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import type { Access } from '../access.ts';
import { checkOrigin } from '../origin.ts';
import { check, scopeSchema } from '../schema.ts';
import { type Route, route } from './route.ts';

/** ms after which a browser has to show a token again. */
const lifetime = 30 * 24 * 60 * 60 * 1000;

/** Browsers logged in at once; the one that logged in first gives way. */
const mostLogins = 256;

/** Where the log-ins lie over a restart. */
export interface LoginFile {
  read(): string | undefined;
  write(text: string): void;
}

export interface LoginParts {
  readonly desk: Desk;
  readonly clock: Clock;
  readonly random: Random;
  readonly file?: LoginFile;
}

/** Browsers that have shown a token: each holds a cookie of its own, and the token stays with the person. */
export interface Logins {
  /** The `Set-Cookie` of a new log-in with this token, which is known to be good. */
  open(token: string): string;
  /** Who a request of the page is from; undefined where it carries no log-in that holds. Throws `request/forbidden` for another site's page. */
  find(request: IncomingMessage): { readonly client: Client; readonly ended: AbortSignal } | undefined;
  /** Ends the log-in of a request, if it has one; the `Set-Cookie` that takes the cookie away. */
  close(request: IncomingMessage): string;
}

interface Login {
  /** SHA-256 of the token: the log-in lives no longer than it. */
  readonly token: string;
  /** ms epoch. */
  readonly until: number;
  readonly ended: AbortController;
}

const fileSchema = z.array(z.strictObject({ id: z.string(), token: z.string(), until: z.number() }));

/**
 * The cookie counts only beside a header that no other site's page can send without being asked first
 * (`Kos-Page`), and goes to `/v1` alone: neither a page on another port of this host nor what listens there
 * gets anything out of it. Only hashes are kept, of cookies and of tokens.
 */
export function createLogins({ desk, clock, random, file }: LoginParts): Logins {
  const logins = new Map<string, Login>();
  for (const { id, ...login } of readFile(file)) {
    logins.set(id, { ...login, ended: new AbortController() });
  }

  const save = () => {
    const entries = [...logins].map(([id, { token, until }]) => ({ id, token, until }));
    file?.write(JSON.stringify(entries));
  };
  const end = (id: string) => {
    const login = logins.get(id);
    if (login !== undefined) {
      logins.delete(id);
      login.ended.abort(unauthenticated('the log-in has ended'));
      save();
    }
  };
  // Hubs on several ports of one host share its cookies: each looks for its own.
  const name = () => `kos-${desk.hub.id.slice(0, 8)}`;
  const idOf = (request: IncomingMessage) => {
    const given = cookie(request.headers.cookie, name());
    return given === undefined ? undefined : hash(given);
  };

  return {
    open(token) {
      for (const [id, login] of logins) {
        if (login.until <= clock.now() || logins.size >= mostLogins) {
          end(id);
        }
      }
      const value = Buffer.from(random.bytes(32)).toString('base64url');
      const until = clock.now() + lifetime;
      logins.set(hash(value), { token: hash(token), until, ended: new AbortController() });
      save();
      return `${name()}=${value}; Path=/v1; Max-Age=${lifetime / 1000}; HttpOnly; SameSite=Strict`;
    },
    find(request) {
      const id = request.headers['kos-page'] === undefined ? undefined : idOf(request);
      if (id === undefined) {
        return undefined;
      }
      checkPage(request);
      const login = logins.get(id);
      if (login === undefined) {
        return undefined;
      }
      const client = login.until > clock.now() ? desk.clients.holderOf(login.token) : undefined;
      if (client === undefined) {
        end(id);
        return undefined;
      }
      return { client, ended: login.ended.signal };
    },
    close(request) {
      const id = idOf(request);
      if (id !== undefined) {
        checkPage(request);
        end(id);
      }
      return `${name()}=; Path=/v1; Max-Age=0; HttpOnly; SameSite=Strict`;
    },
  };
}

const clientSchema = z.looseObject({
  id: z.string(),
  name: z.string(),
  scopes: z.array(scopeSchema),
  rooms: z.array(z.string()),
  expiresAt: z.int().exactOptional(),
});

/** Logging a browser in and out. */
export function sessionRoutes(parts: { readonly access: Access; readonly logins: Logins }): Route[] {
  const answer = ({ id, name, scopes, rooms, expiresAt }: Client) => ({
    client: { id, name, scopes, rooms, ...(expiresAt !== undefined && { expiresAt }) },
  });
  const schema = z.looseObject({ client: clientSchema });
  return [
    route({
      method: 'POST',
      path: '/v1/session',
      summary: 'Log a browser in with a token; its cookie counts beside the header Kos-Page',
      tag: 'session',
      audience: 'public',
      audit: 'sessions.open',
      body: z.strictObject({ token: z.string().min(1).max(512) }),
      responses: {
        201: { description: 'logged in', schema, headers: { 'Set-Cookie': 'HttpOnly, SameSite=Strict' } },
      },
      handle({ body, request }) {
        checkPage(request.raw);
        const client = parts.access.client(body.token.trim(), request.ip, { door: 'page' });
        return {
          status: 201,
          audit: { actor: `app:${client.name}` },
          headers: { 'set-cookie': parts.logins.open(body.token.trim()) },
          json: answer(client),
        };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/session',
      summary: 'Whose token or log-in this is',
      tag: 'session',
      audience: scopes,
      responses: { 200: { description: 'the client', schema } },
      handle: ({ client }) => ({ status: 200, json: answer(client) }),
    }),
    route({
      method: 'DELETE',
      path: '/v1/session',
      summary: 'Log the browser out; its streams end',
      tag: 'session',
      audience: 'public',
      responses: { 204: { description: 'logged out, or it was not logged in' } },
      handle: ({ request }) => ({
        status: 204,
        headers: { 'set-cookie': parts.logins.close(request.raw) },
      }),
    }),
  ];
}

/** Throws `request/forbidden` where a browser says that the page is another's. */
function checkPage(request: IncomingMessage): void {
  checkOrigin(request, { host: '' });
  const site = request.headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin') {
    throw new GatewayError('request/forbidden', 'not a page of this gateway');
  }
}

function readFile(file: LoginFile | undefined): z.output<typeof fileSchema> {
  try {
    return check(fileSchema, JSON.parse(file?.read() ?? '[]')).slice(-mostLogins);
  } catch {
    // Damaged or of another version: everybody logs in again.
    return [];
  }
}

function cookie(header: string | undefined, name: string): string | undefined {
  const pair = header?.split(';').find(one => one.trim().startsWith(`${name}=`));
  return pair?.slice(pair.indexOf('=') + 1).trim();
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function unauthenticated(detail: string): GatewayError {
  return new GatewayError('request/unauthenticated', detail, { detail: { token: detail } });
}
