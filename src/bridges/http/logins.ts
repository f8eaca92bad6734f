import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Client, Desk } from '../../gateway/desk.ts';
import { createHubClock } from '../../gateway/hub-clock.ts';
import { storeError } from '../../gateway/store/database.ts';
import type { Cancel, Clock } from '../../lib/clock.ts';
import { codeOf, GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { checkPage, cookieOf, givenCookie, isOfPage, takenCookie } from './login-cookie.ts';
import { type LoginFile, type LoginRecord, loginsText, longestAgent, readLogins } from './login-record.ts';

/** How long a log-in holds, ms: in all, and unused. */
export interface LoginTerms {
  readonly lifetime: number;
  /** Null: it need not be used. */
  readonly idle: number | null;
}

/** Browsers logged in at once, of a client and of all; the one that logged in first gives way. */
const mostOfClient = 32;
const mostLogins = 256;

/** ms between two writes of when log-ins were last used. */
const writeEvery = 60_000;

/** ms between two looks for those that are over, at least and at most. */
const lookLeast = 1000;
const lookMost = 60 * 60_000;

export interface LoginParts {
  readonly desk: Pick<Desk, 'hub' | 'clients'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly file?: LoginFile;
  readonly terms: LoginTerms;
}

/** A browser that is logged in, as the holder of its token may see it. Times are ms epoch. */
export interface LoginView {
  readonly id: string;
  readonly createdAt: number;
  readonly createdFrom: string;
  readonly lastUsedAt: number;
  readonly lastUsedFrom: string;
  /** What the browser calls itself; believed by nobody. */
  readonly userAgent: string;
  /** When it ends unless it is used before; never later than its lifetime has it, or its token. */
  readonly expiresAt: number;
  /** It is the one that asks. */
  readonly current: boolean;
}

/** Who a request of the page is from. */
export interface FoundLogin {
  readonly id: string;
  readonly client: Client;
  readonly ended: AbortSignal;
  /** Something of it stays open: it counts as used until the way to stop is called. */
  hold(): () => void;
}

/** Browsers that have shown a token: each holds a cookie of its own, and the token stays with the person. */
export interface Logins {
  /**
   * A new log-in with this token, which is known to be good, and its `Set-Cookie`. On disk, unless that is full: whoever comes to
   * see what is wrong is let in, and logs in again after a restart.
   */
  open(
    token: string,
    request: IncomingMessage,
    from: string,
  ): { readonly id: string; readonly cookie: string };
  /** Who a request is from; undefined where it carries no log-in that holds. Throws `request/forbidden` for another site's page. */
  find(request: IncomingMessage, from: string): FoundLogin | undefined;
  /**
   * Ends the log-in of a request: which it was, if it had one, and the `Set-Cookie` that takes the cookie away. Throws as `end`
   * does, and as `find`.
   */
  close(request: IncomingMessage): {
    readonly cookie: string;
    readonly closed?: { readonly id: string; readonly name: string };
  };
  /** Those with tokens of a client, the one used last first. */
  list(client: Client, request: IncomingMessage): readonly LoginView[];
  /**
   * Ends log-ins of a client, by id or all but one: how many. They are over at once; throws `store/full`, `store/unavailable`
   * where that is not on disk yet, so that a restart would bring them back.
   */
  end(client: Client, which: { readonly id: string } | { readonly but: string | undefined }): number;
  /** Times move with the machine's clock when that was set. */
  clockSet(): void;
  /** Writes when they were last used, and stops. */
  [Symbol.dispose](): void;
}

interface Login extends LoginRecord {
  createdAt: number;
  usedAt: number;
  usedFrom: string;
  /** Its times are by the clock of this process, which may still be set. */
  readonly isOurs: boolean;
  isUsed: boolean;
  /** What of it is open. */
  held: number;
  readonly ended: AbortController;
}

/** Only hashes are kept, of cookies and of tokens. */
export function createLogins(parts: LoginParts): Logins {
  const { desk, random, log, file, terms } = parts;
  const clock = createHubClock(parts.clock);
  const hub = () => desk.hub.id;
  /** By the hash of the cookie, in the order in which they were opened. */
  const logins = new Map<string, Login>();
  let cancelWrite: Cancel | undefined;

  for (const record of readLogins(file, clock.now(), token => desk.clients.holderOf(token)?.id)) {
    const state = { isOurs: false, isUsed: false, held: 0, ended: new AbortController() };
    logins.set(record.id, { ...record, ...state });
  }

  /** Throws `store/full`, `store/unavailable`; then it is tried again. */
  function save(): void {
    cancelWrite?.();
    cancelWrite = undefined;
    try {
      file?.write(loginsText(logins.values()));
    } catch (cause) {
      cancelWrite = clock.after(writeEvery, saveIfPossible);
      const ours = storeError(cause);
      const code = isGatewayError(ours, 'store/full') ? 'store/full' : 'store/unavailable';
      throw new GatewayError(code, 'which browsers are logged in could not be written', {
        cause,
        retryable: true,
      });
    }
  }

  /** What nobody waits for. */
  function saveIfPossible(): void {
    try {
      save();
    } catch (error) {
      log.warn({ code: codeOf(error) }, 'which browsers are logged in could not be written');
    }
  }

  function drop(gone: readonly Login[]): void {
    for (const { id, ended } of gone) {
      logins.delete(id);
      ended.abort(unauthenticated('the log-in has ended'));
    }
  }

  const endOf = ({ createdAt, usedAt, held }: Login) => {
    const used = held > 0 ? clock.now() : usedAt;
    return Math.min(createdAt + terms.lifetime, used + (terms.idle ?? Number.POSITIVE_INFINITY));
  };
  const holderOf = (login: Login) =>
    endOf(login) > clock.now() ? desk.clients.holderOf(login.token) : undefined;
  const all = () => [...logins.values()];
  const of = (client: Client) => all().filter(login => login.client === client.id && holderOf(login));

  const loginOf = (request: IncomingMessage) => {
    const given = cookieOf(request, hub());
    return given === undefined ? undefined : logins.get(hash(given));
  };

  function use(login: Login, from: string): void {
    login.usedAt = clock.now();
    login.usedFrom = from;
    login.isUsed = true;
    cancelWrite ??= clock.after(writeEvery, saveIfPossible);
  }

  /** What stays open must not outlive its log-in, and what is over need not be kept. */
  function look(): void {
    dropIfAny(all().filter(login => holderOf(login) === undefined));
    lookLater();
  }
  let cancelLook: Cancel = () => {};
  function lookLater(): void {
    cancelLook();
    const next = Math.min(...all().map(endOf)) - clock.now();
    cancelLook = clock.after(Math.min(Math.max(next, lookLeast), lookMost), look);
  }
  lookLater();

  function dropIfAny(gone: readonly Login[]): void {
    if (gone.length > 0) {
      drop(gone);
      // Nobody gets in with them again, whether that is on disk or not.
      saveIfPossible();
    }
  }
  const unwatch = desk.clients.onRevoked(({ id }) => dropIfAny(all().filter(({ client }) => client === id)));

  function viewOf(login: Login, current: boolean): LoginView {
    const { createdAt, createdFrom, usedAt, usedFrom, agent, held } = login;
    const tokenEnds = desk.clients.holderOf(login.token)?.expiresAt ?? Number.POSITIVE_INFINITY;
    return {
      id: nameOf(login),
      createdAt,
      createdFrom,
      lastUsedAt: held > 0 ? clock.now() : usedAt,
      lastUsedFrom: usedFrom,
      userAgent: agent,
      expiresAt: Math.min(endOf(login), tokenEnds),
      current,
    };
  }

  return {
    open(token, request, from) {
      const client = desk.clients.holderOf(hash(token));
      if (client === undefined) {
        throw unauthenticated('the token is not good any more');
      }
      const value = Buffer.from(random.bytes(32)).toString('base64url');
      const now = clock.now();
      const login: Login = {
        id: hash(value),
        token: hash(token),
        client: client.id,
        createdAt: now,
        createdFrom: from,
        usedAt: now,
        usedFrom: from,
        agent: agentOf(request),
        isOurs: true,
        isUsed: true,
        held: 0,
        ended: new AbortController(),
      };
      logins.set(login.id, login);
      drop([...of(client).slice(0, -mostOfClient), ...all().slice(0, -mostLogins)]);
      saveIfPossible();
      lookLater();
      return { id: nameOf(login), cookie: givenCookie(request, hub(), value, terms.lifetime) };
    },
    find(request, from) {
      if (!isOfPage(request) || cookieOf(request, hub()) === undefined) {
        return undefined;
      }
      checkPage(request);
      const login = loginOf(request);
      if (login === undefined) {
        return undefined;
      }
      const client = holderOf(login);
      if (client === undefined) {
        dropIfAny([login]);
        return undefined;
      }
      use(login, from);
      return {
        id: nameOf(login),
        client,
        ended: login.ended.signal,
        hold() {
          login.held += 1;
          return () => {
            login.held -= 1;
            use(login, login.usedFrom);
          };
        },
      };
    },
    close(request) {
      const cookie = takenCookie(hub());
      if (cookieOf(request, hub()) === undefined) {
        return { cookie };
      }
      checkPage(request);
      const login = loginOf(request);
      if (login === undefined) {
        return { cookie };
      }
      drop([login]);
      save();
      return {
        cookie,
        closed: { id: nameOf(login), name: desk.clients.find(login.client)?.name ?? '' },
      };
    },
    list(client, request) {
      const own = isOfPage(request) ? loginOf(request) : undefined;
      const views = of(client).map(login => viewOf(login, login === own));
      return views.sort((a, b) => b.lastUsedAt - a.lastUsedAt || b.createdAt - a.createdAt);
    },
    end(client, which) {
      const isMeant = (name: string) => ('id' in which ? name === which.id : name !== which.but);
      const gone = of(client).filter(login => isMeant(nameOf(login)));
      if (gone.length > 0) {
        drop(gone);
        save();
      }
      return gone.length;
    },
    clockSet() {
      const by = clock.adopt();
      for (const login of logins.values()) {
        login.createdAt += login.isOurs ? by : 0;
        login.usedAt += login.isUsed ? by : 0;
      }
      cancelWrite ??= clock.after(writeEvery, saveIfPossible);
    },
    [Symbol.dispose]() {
      unwatch();
      cancelLook();
      if (cancelWrite !== undefined) {
        saveIfPossible();
      }
      cancelWrite?.();
    },
  };
}

/** What a log-in is called: nothing that leads to its cookie, or to what is kept of that. */
function nameOf({ id }: LoginRecord): string {
  return hash(`log-in ${id}`).slice(0, 32);
}

function agentOf({ headers }: IncomingMessage): string {
  return (headers['user-agent'] ?? '').replaceAll(/[^\x20-\x7e]/g, '?').slice(0, longestAgent);
}

function hash(value: string): string {
  return createHash('sha256').update(value).digest('hex');
}

function unauthenticated(detail: string): GatewayError {
  return new GatewayError('request/unauthenticated', detail, { detail: { token: detail } });
}
