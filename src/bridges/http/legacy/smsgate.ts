import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { MessageDraft, MessageView } from '../../../gateway/desk.ts';
import type { Priority } from '../../../gateway/message.ts';
import { GatewayError, isGatewayError } from '../../../lib/errors.ts';
import { requireScope } from '../../access.ts';
import { parseJson } from '../../json.ts';
import { problemHeaders, problemOf } from '../../problems.ts';
import { fileName, invalid, mediaType, mistakesOf } from '../../schema.ts';
import { jsonBytes, readText } from '../body.ts';
import { type Answer, type Route, route } from '../route.ts';
import { holderOf } from './credentials.ts';
import { failureOf, mostRecipients, numberOf, sendToAll, stateOf, together } from './recipients.ts';
import type { LegacyParts } from './send.ts';

const idShape = /^[A-Za-z0-9_-]{1,64}$/;

const attachmentSchema = z.object({
  contentType: mediaType,
  name: fileName.nullish(),
  data: z.base64().max(384 * 1024),
});

/** What is not said here is about a SIM card and a phone, and is read over. */
const orderSchema = z.object({
  id: z.string().regex(idShape, 'letters, digits, _ and -, at most 64').nullish(),
  phoneNumbers: z.array(z.string().min(1).max(512)).min(1).max(mostRecipients),
  message: z.string().min(1).nullish(),
  textMessage: z.object({ text: z.string().min(1) }).nullish(),
  mmsMessage: z
    .object({
      subject: z.string().max(1000).nullish(),
      text: z.string().nullish(),
      attachments: z.array(attachmentSchema).max(32).nullish(),
    })
    .nullish(),
  priority: z.int().min(-128).max(127).nullish(),
  ttl: z
    .int()
    .min(1)
    .max(366 * 24 * 3600)
    .nullish(),
  validUntil: z.iso.datetime({ offset: true, local: true }).nullish(),
  isEncrypted: z.literal(false, 'encrypted texts could be read by nobody there').nullish(),
  dataMessage: z.null('data messages are for phones').optional(),
  scheduleAt: z.null('what is sent goes at once').optional(),
});

type SmsOrder = z.output<typeof orderSchema>;

/**
 * `/3rdparty/v1/messages`, the interface of SMS Gateway for Android and its cloud: POST sends a text to several numbers,
 * all of them or none; GET tells how far it got and DELETE calls it back, by the id of either side. The password (or the
 * bearer) is a token of the hub; `message` in the path does as well, as older clients say.
 * Source: SMS Gateway for Android, integration API; its clients for Python 4.3 and JavaScript 3.0.
 */
export function smsgateRoutes(parts: LegacyParts): Route[] {
  /** Its errors are an object with a message. */
  const operation = (
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    summary: string,
    handle: (request: FastifyRequest, id: string) => Promise<Answer> | Answer,
  ): Route =>
    route({
      method,
      path: `/3rdparty/v1${path}`,
      summary,
      tag: 'messages',
      audience: 'public',
      undocumented: true,
      live: true,
      anyQuery: true,
      ...(method === 'POST' && { body: 'raw' as const }),
      responses: { 200: { description: 'how far it got' } },
      async handle({ request }) {
        try {
          const { id = '' } = request.params as { readonly id?: string };
          return await handle(request, id);
        } catch (error) {
          if (!isGatewayError(error)) {
            throw error;
          }
          parts.counters.add(`http/refused/${error.code}`);
          const { status, detail, errors = [] } = problemOf(error);
          const mistakes = errors.map(({ pointer, detail }) => `${pointer.slice(1)}: ${detail}`);
          return {
            status: statuses[status] ?? status,
            headers: problemHeaders(error),
            json: { message: mistakes.length > 0 ? mistakes.join('; ') : detail },
          };
        }
      },
    });

  const holder = (request: FastifyRequest, scope: 'messages:read' | 'messages:send') => {
    const { access, rates } = parts;
    const client = holderOf(access, request.headers.authorization, request);
    rates.charge(client, request.ip, request.method === 'POST' ? ['requests', 'sends'] : ['requests']);
    requireScope(client, [scope]);
    return client;
  };

  const send = async (request: FastifyRequest): Promise<Answer> => {
    const client = holder(request, 'messages:send');
    const { value, errors } = mistakesOf(orderSchema, parseJson(await readText(request.raw, jsonBytes)));
    if (value === undefined) {
      throw invalid(errors);
    }
    const { clock, ...rest } = parts;
    const { phoneNumbers: numbers, id } = value;
    const draft = draftOf(value, clock.now());
    const key = id ? `sms/${id}` : undefined;
    const sent = await sendToAll(rest, client, request, { numbers, draft, key, asked: value });
    rest.counters.add('legacy/smsgate/accepted');
    const name = id ?? sent.key;
    return {
      status: 202,
      headers: { location: `/3rdparty/v1/messages/${name}` },
      json: viewOf(name, rest.desk.hub.id, sent.messages, numbers),
    };
  };

  /** By the client's id, by the one it was given, or by that of a single message. */
  const find = (request: FastifyRequest, id: string, scope: 'messages:read' | 'messages:send') => {
    const client = holder(request, scope);
    const { desk } = parts;
    if (!idShape.test(id)) {
      throw new GatewayError('request/not-found', 'no such message');
    }
    const own = desk.messages.postedAs(client, `sms/${id}`);
    const found = own.length > 0 ? own : desk.messages.postedAs(client, id);
    if (found.length === 0) {
      throw new GatewayError('request/not-found', 'no such message');
    }
    return { client, desk, found };
  };

  const show = (id: string, found: readonly MessageView[]): Answer => {
    const { desk, config } = parts;
    const known = config.sms?.numbers ?? {};
    return {
      status: 200,
      json: viewOf(
        id,
        desk.hub.id,
        found,
        found.map(one => numberOf(known, one)),
      ),
    };
  };

  return [
    ...['/messages', '/message'].flatMap(path => [
      operation('POST', path, 'Send as through SMS Gateway for Android', send),
      operation('GET', `${path}/{id}`, 'How far it got', (request, id) =>
        show(id, find(request, id, 'messages:read').found),
      ),
      operation('DELETE', `${path}/{id}`, 'Call back what waits', async (request, id) => {
        const { client, desk, found } = find(request, id, 'messages:send');
        const now: MessageView[] = [];
        for (const one of found) {
          now.push(await desk.messages.cancel(client, one.id));
        }
        return show(id, now);
      }),
    ]),
    operation('GET', '/devices', 'The hub, as a phone', request => {
      holder(request, 'messages:send');
      const { desk, clock } = parts;
      const at = new Date(clock.now()).toISOString();
      const { id, name } = desk.hub;
      return { status: 200, json: [{ id, name, createdAt: at, updatedAt: at, lastSeen: at }] };
    }),
    operation('GET', '/health', 'Whether it can be used', () => {
      const { desk } = parts;
      const { ready } = desk.health();
      return {
        status: ready ? 200 : 503,
        json: { status: ready ? 'pass' : 'fail', version: desk.hub.version, releaseId: 0, checks: {} },
      };
    }),
  ];
}

function draftOf(order: SmsOrder, now: number): Omit<MessageDraft, 'to'> {
  const { message, textMessage, mmsMessage, priority, ttl, validUntil } = order;
  const given = [message, textMessage, mmsMessage].filter(one => one !== null && one !== undefined);
  if (given.length !== 1) {
    throw new GatewayError('request/invalid', 'exactly one of textMessage, mmsMessage and message');
  }
  if (ttl && validUntil) {
    throw new GatewayError('request/invalid', 'either ttl or validUntil');
  }
  const until = validUntil ? Date.parse(validUntil) : ttl ? now + ttl * 1000 : undefined;
  const attachments = (mmsMessage?.attachments ?? []).map(({ name, contentType, data }, index) => ({
    name: name ?? `attachment-${index + 1}`,
    mediaType: contentType,
    base64: data,
  }));
  return {
    text: message ?? textMessage?.text ?? mmsMessage?.text ?? '',
    priority: levelOf(priority ?? 0),
    ...(mmsMessage?.subject && { title: mmsMessage.subject }),
    ...(attachments.length > 0 && { attachments }),
    ...(until !== undefined && { expiresAt: until }),
  };
}

/** What its clients know instead: another text under the same id is a conflict. */
const statuses: Readonly<Record<number, number>> = { 415: 400, 422: 409 };

/** From -128 to 127; from 100 on it passes what slows others. */
function levelOf(priority: number): Priority {
  if (priority >= 100) {
    return 'critical';
  }
  return priority > 0 ? 'high' : priority < 0 ? 'bulk' : 'normal';
}

function viewOf(id: string, deviceId: string, messages: readonly MessageView[], numbers: readonly string[]) {
  const recipients = messages.map((message, index) => ({
    phoneNumber: numbers[index] ?? message.to,
    state: stateOf(message),
    error: failureOf(message) ?? null,
  }));
  const state = together(recipients.map(one => one.state));
  const accepted = new Date(messages[0]?.acceptedAt ?? 0).toISOString();
  const changes = messages.flatMap(({ deliveries }) =>
    deliveries.map(({ history }) => history.at(-1)?.at ?? 0),
  );
  return {
    id,
    deviceId,
    state,
    isHashed: false,
    isEncrypted: false,
    recipients,
    states: {
      Pending: accepted,
      ...(state !== 'Pending' &&
        changes.length > 0 && { [state]: new Date(Math.max(...changes)).toISOString() }),
    },
    createdAt: accepted,
  };
}
