import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Client, Desk } from '../../gateway/desk.ts';
import type { Clock } from '../../lib/clock.ts';
import { Deadlines } from '../../lib/deadlines.ts';
import { type Access, requireScope } from '../access.ts';
import type { Listener } from '../listener.ts';
import { hasTwoHosts } from '../origin.ts';
import { fieldsOf, type RateKind, type Rates } from '../rate.ts';
import { check, messageDraftSchema, messageViewJson, messageViewText, plainDraft } from '../schema.ts';
import { type Fields, listed } from '../short-way.ts';
import { slowest } from './blobs.ts';
import { endedEarly, jsonOf, textOf } from './body.ts';
import { idempotencyKey } from './idempotency.ts';
import { mediaTypeOf } from './legacy/fields.ts';
import { posted } from './messages.ts';
import { tooSlow } from './route.ts';

/** Bytes of a body that goes the short way: a message without files has fewer. */
const shortBody = 16 * 1024;
const jsonType = 'application/json; charset=utf-8';
const kinds: readonly RateKind[] = ['requests', 'sends'];
const scopes = ['messages:send'] as const;
const none: Fields = [];

export interface ShortPostParts {
  readonly desk: Pick<Desk, 'messages'>;
  readonly clock: Clock;
  readonly access: Access;
  readonly rates: Rates;
  /** Whether pages of other origins may call: then what an answer says depends on who asks. */
  readonly cors: boolean;
}

/**
 * `POST /v1/messages` as programs send it, a small JSON body with a token and nothing that would need a closer look: the same
 * checks in the same order, the same record and the same answers as by its route, without the framework around them.
 */
export function addShortPost(listener: Pick<Listener, 'shortWays' | 'prove'>, parts: ShortPostParts): void {
  const { shortWays } = listener;
  const { desk, clock, access, rates } = parts;
  const deadlines = new Deadlines(clock, slowest);
  const origin = parts.cors ? ['vary', 'Origin'] : none;
  const always = ['vary', parts.cors ? 'Origin, accept' : 'accept', 'content-type', jsonType];

  async function post(
    request: IncomingMessage,
    response: ServerResponse,
    given: { readonly client: Client; readonly body: Uint8Array; readonly key: string | undefined },
    left: Fields,
  ): Promise<void> {
    const fail = (error: unknown) => shortWays.fail(request, response, error, [...origin, ...left]);
    const cancel = deadlines.after(() => fail(tooSlow()));
    try {
      const value = jsonOf(textOf(given.body));
      const draft = plainDraft(value) ?? check(messageDraftSchema, value);
      const result = await desk.messages.post(given.client, draft, given.key);
      const where = listed(posted(result));
      const { message, json } = result;
      const text =
        json === undefined ? JSON.stringify(messageViewJson(message)) : messageViewText(json, message);
      shortWays.answer(request, response, 201, [...left, ...always, ...where], text);
    } catch (error) {
      fail(error);
    } finally {
      cancel();
    }
  }

  shortWays.add('/v1/messages', (request, response) => {
    const from = request.socket.remoteAddress;
    const { authorization } = request.headers;
    if (from === undefined || authorization === undefined || !isPlain(request)) {
      return false;
    }
    let left = none;
    try {
      const client = access.bearerOn(request.socket, authorization, from);
      listener.prove(request);
      left = listed(rates.charge(client, from, kinds));
      requireScope(client, scopes);
      const key = idempotencyKey(header(request, 'idempotency-key'));
      whole(
        request,
        body => void post(request, response, { client, body, key }, left),
        () => shortWays.fail(request, response, endedEarly(), [...origin, ...left]),
      );
    } catch (error) {
      shortWays.fail(request, response, error, [...origin, ...left, ...listed(fieldsOf(error))]);
    }
    return true;
  });
}

/** Whether nothing about the request asks for more than the short way knows. */
function isPlain(request: IncomingMessage): boolean {
  const { headers } = request;
  const length = lengthOf(request);
  return (
    length > 0 &&
    length <= shortBody &&
    headers['content-encoding'] === undefined &&
    headers.origin === undefined &&
    headers['sec-fetch-site'] === undefined &&
    !hasTwoHosts(request) &&
    (headers.accept === undefined || headers.accept === '*/*' || headers.accept === 'application/json') &&
    (headers['content-type'] === 'application/json' || mediaTypeOf(request) === 'application/json')
  );
}

function header({ headers }: IncomingMessage, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/**
 * Calls back with the whole body of a request that says its length, or, where it breaks off, with nothing. It is whole with
 * its last byte: the events that say so once more cost as much as reading it.
 */
function whole(request: IncomingMessage, take: (body: Uint8Array) => void, lose: () => void): void {
  const length = lengthOf(request);
  let body: Buffer | undefined;
  request.on('data', (chunk: Buffer) => {
    body = body === undefined ? chunk : Buffer.concat([body, chunk]);
    if (body.length === length) {
      take(body);
    }
  });
  request.on('close', () => {
    if (body?.length !== length) {
      lose();
    }
  });
}

function lengthOf({ headers }: IncomingMessage): number {
  return Number(headers['content-length'] ?? 0);
}
