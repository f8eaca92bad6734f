import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Client, Desk, MessageView } from '../../../gateway/desk.ts';
import { priorities } from '../../../gateway/message.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Counters } from '../../../lib/counters.ts';
import type { Log } from '../../../lib/log.ts';
import type { Random } from '../../../lib/random.ts';
import { type Access, requireScope } from '../../access.ts';
import type { Rates } from '../../rate.ts';
import { addressSchema, invalid, messageViewJson, mistakesOf } from '../../schema.ts';
import type { Sessions } from '../../sessions.ts';
import type { HttpConfig } from '../config.ts';
import type { Answer, Route } from '../route.ts';
import { fieldRoutes, fieldsOf } from './fields.ts';

const sendSchema = z.strictObject({
  to: addressSchema,
  text: z
    .string()
    .min(1)
    .max(256 * 1024),
  title: z.string().max(1000).exactOptional(),
  type: z.string().max(64).exactOptional(),
  priority: z.enum(priorities).exactOptional(),
  token: z.string().max(512).exactOptional(),
  key: z.string().min(1).max(255).exactOptional(),
});

export interface LegacyParts {
  readonly desk: Desk;
  readonly access: Access;
  readonly rates: Rates;
  readonly sessions: Sessions;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly config: HttpConfig;
  /** Told of a request whose sender has shown a good token: see `Listener`. */
  readonly prove?: (request: IncomingMessage) => void;
}

/** The client whose token stands in the `Authorization` header or among the fields, and may send; it counts as one send. */
export function senderOf(
  { access, rates }: Pick<LegacyParts, 'access' | 'rates'>,
  request: FastifyRequest,
  token: string | undefined,
): Client {
  const header = request.headers.authorization;
  const client =
    header === undefined && token !== undefined
      ? access.client(token, request.ip)
      : access.bearer(header, request.ip);
  rates.charge(client, request.ip, ['requests', 'sends']);
  requireScope(client, ['messages:send']);
  return client;
}

/** `OK <id>` for devices that look for a word, the message for those that ask for JSON. */
function sentAnswer(request: FastifyRequest, message: MessageView): Answer {
  return request.headers.accept?.includes('application/json')
    ? { status: 200, json: messageViewJson(message) }
    : { status: 200, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: `OK ${message.id}\n` };
}

/**
 * `/v1/send`: a whole message in a query or a form, for devices that can do nothing else. Off unless the configuration
 * asks for it: a token in an address gets into the logs of whatever lies between.
 */
export function sendRoutes(parts: LegacyParts): Route[] {
  return fieldRoutes('/v1/send', 'Send a message from a query or a form', async request => {
    const { desk, access, rates, counters } = parts;
    const fields = await fieldsOf(request);
    // Whoever shows a good token is told what else is wrong.
    const token = typeof fields.token === 'string' ? fields.token : undefined;
    const client = senderOf({ access, rates }, request, token);
    const { value, errors } = mistakesOf(sendSchema, fields);
    if (value === undefined) {
      throw invalid(errors);
    }
    const { key, token: _, ...draft } = value;
    const { message } = await desk.messages.post(client, draft, key);
    counters.add('legacy/send/accepted');
    return sentAnswer(request, message);
  });
}
