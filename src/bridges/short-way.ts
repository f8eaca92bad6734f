import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Counters } from '../lib/counters.ts';
import { problemAnswer } from './problems.ts';

/** What every answer says to browsers, whatever it is. */
export const guardHeaders = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
} as const;

/** Names and values in turn: what an object of so many of them costs is more than the rest of the answer. */
export type Fields = readonly string[];

/** The fields of an object that has few. */
export function listed(fields: Readonly<Record<string, string | number>>): Fields {
  const list: string[] = [];
  for (const name of Object.keys(fields)) {
    list.push(name, String(fields[name]));
  }
  return list;
}

const guards = listed(guardHeaders);

/** Takes a request and answers it by `answer` or `fail`, or gives false and leaves it as it is. */
export type ShortWay = (request: IncomingMessage, response: ServerResponse) => boolean;

/** Ways around the router and its hooks, which cost more than the requests that come by the thousand. */
export interface ShortWays {
  /** Offers POST requests for exactly this target to `way`. */
  add(target: string, way: ShortWay): void;
  /** Whether one has taken it. */
  take: ShortWay;
  /** Answers once: what comes later is not sent. */
  answer(
    request: IncomingMessage,
    response: ServerResponse,
    status: number,
    fields: Fields,
    body: string,
  ): void;
  /** The same with an error, counted and told as an error of a route is. */
  fail(request: IncomingMessage, response: ServerResponse, error: unknown, fields: Fields): void;
}

export function createShortWays(parts: {
  readonly counters: Counters;
  /** Aborted when connections are not to be kept any more. */
  readonly closing: AbortSignal;
  /** By what a request is called in its answer and in the log. */
  readonly idOf: (request: IncomingMessage) => string;
  readonly noteRefusal: (error: unknown, request: string) => void;
}): ShortWays {
  const ways = new Map<string, ShortWay>();

  function send(response: ServerResponse, id: string, status: number, fields: Fields, body: string): void {
    const length = Buffer.byteLength(body);
    const all = ['x-request-id', id, ...guards, ...fields, 'content-length', String(length)];
    response.writeHead(status, parts.closing.aborted ? [...all, 'connection', 'close'] : all);
    // Where each character is a byte, nothing has to be encoded.
    response.end(body, length === body.length ? 'latin1' : 'utf8');
  }

  return {
    add: (target, way) => void ways.set(target, way),
    take(request, response) {
      const way = request.method === 'POST' ? ways.get(request.url ?? '') : undefined;
      const isTaken = way?.(request, response) === true;
      if (isTaken) {
        parts.counters.add('http/short-way');
      }
      return isTaken;
    },
    answer(request, response, status, fields, body) {
      if (!response.headersSent) {
        send(response, parts.idOf(request), status, fields, body);
      }
    },
    fail(request, response, error, fields) {
      if (!response.headersSent) {
        const id = parts.idOf(request);
        parts.noteRefusal(error, id);
        const problem = problemAnswer(request.headers.accept, error);
        const all = [...fields, ...listed(problem.headers)];
        send(response, id, problem.status, all, problem.body);
      }
    },
  };
}
