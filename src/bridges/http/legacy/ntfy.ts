import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Client, MessageView } from '../../../gateway/desk.ts';
import type { Address, Priority } from '../../../gateway/message.ts';
import { GatewayError } from '../../../lib/errors.ts';
import { requireScope } from '../../access.ts';
import { parseJson } from '../../json.ts';
import { invalid, mistakesOf } from '../../schema.ts';
import { readText } from '../body.ts';
import { type Answer, type Route, route } from '../route.ts';
import { formBytes } from './fields.ts';
import type { LegacyParts } from './send.ts';

const topicShape = /^[-_A-Za-z0-9]{1,64}$/;
const topicSchema = z.string().regex(topicShape, 'letters, digits, _ and -, at most 64');
const publishSchema = z.object({
  topic: topicSchema,
  message: z.string().exactOptional(),
  title: z.string().max(1000).exactOptional(),
  priority: z.int().min(1).max(5).exactOptional(),
  tags: z.array(z.string().max(64)).max(16).exactOptional(),
  click: z.string().max(2048).exactOptional(),
});

const topicParams = z.strictObject({ topic: topicSchema });

type Notification = Omit<z.output<typeof publishSchema>, 'topic'>;

/** Messages that a poll gives at most. */
const pollMost = 200;

/**
 * `/ntfy/<topic>`: publishing as ntfy takes it (the text as the body, the rest in headers; or one JSON object to
 * `/ntfy`), and polling with `/ntfy/<topic>/json?poll=1`. A topic is a room, or whom the configuration names. The token is
 * a bearer, the password of Basic, or `?auth=`. Not built: streams, attachments, delays, actions and e-mail.
 * Source: docs.ntfy.sh/publish and /subscribe/api.
 */
export function ntfyRoutes(parts: () => LegacyParts): Route[] {
  async function publish(
    { ip }: FastifyRequest,
    client: Client,
    topic: string,
    note: Notification,
  ): Promise<Answer> {
    const { desk, config, rates } = parts();
    rates.charge(client, ip, ['sends']);
    requireScope(client, ['messages:send']);
    const { message, title, priority = 3, tags, click } = note;
    const extra = { ...(tags && tags.length > 0 && { tags }), ...(click !== undefined && { click }) };
    const { message: kept } = await desk.messages.post(client, {
      to: addressOf(topic, config.ntfy?.topics ?? {}),
      text: message === undefined || message === '' ? 'triggered' : message,
      priority: levels[priority - 1] ?? 'normal',
      ...(title !== undefined && { title }),
      ...(Object.keys(extra).length > 0 && { data: extra }),
    });
    return { status: 200, json: noteOf(topic, kept) };
  }

  function authenticate(request: FastifyRequest): Client {
    const client = holderOf(request);
    parts().rates.charge(client, request.ip, ['requests']);
    return client;
  }

  function holderOf(request: FastifyRequest): Client {
    const { access } = parts();
    const { authorization } = request.headers;
    const asked = new URL(request.url, 'http://hub').searchParams.get('auth');
    const header =
      authorization ?? (asked === null ? undefined : Buffer.from(asked, 'base64url').toString('latin1'));
    const basic = /^basic +([A-Za-z0-9+/]+=*) *$/i.exec(header ?? '')?.[1];
    if (basic === undefined) {
      return access.bearer(header, request.ip);
    }
    const pair = Buffer.from(basic, 'base64').toString('utf8');
    return access.client(pair.slice(pair.indexOf(':') + 1), request.ip);
  }

  const publishing = (method: 'POST' | 'PUT') =>
    route({
      method,
      path: '/ntfy/{topic}',
      summary: 'Publish as to ntfy',
      tag: 'messages',
      audience: 'public',
      undocumented: true,
      anyQuery: true,
      params: topicParams,
      body: 'raw',
      responses: { 200: { description: 'accepted' } },
      async handle({ request, params }) {
        const client = authenticate(request);
        const words = wordsOf(request);
        const text = await readText(request.raw, formBytes);
        const { value, errors } = mistakesOf(publishSchema, {
          topic: params.topic,
          ...words,
          message: text === '' ? (words.message ?? '') : text,
        });
        if (value === undefined) {
          throw invalid(errors);
        }
        return publish(request, client, params.topic, value);
      },
    });

  return [
    publishing('POST'),
    publishing('PUT'),
    route({
      method: 'POST',
      path: '/ntfy',
      summary: 'Publish JSON as to ntfy',
      tag: 'messages',
      audience: 'public',
      undocumented: true,
      anyQuery: true,
      body: 'raw',
      responses: { 200: { description: 'accepted' } },
      async handle({ request }) {
        const client = authenticate(request);
        const { value, errors } = mistakesOf(
          publishSchema,
          parseJson(await readText(request.raw, formBytes)),
        );
        if (value === undefined) {
          throw invalid(errors);
        }
        return publish(request, client, value.topic, value);
      },
    }),
    route({
      method: 'GET',
      path: '/ntfy/{topic}/json',
      summary: 'Poll as from ntfy',
      tag: 'messages',
      audience: 'public',
      undocumented: true,
      live: true,
      anyQuery: true,
      params: topicParams,
      responses: { 200: { description: 'one message a line' } },
      handle({ request, params }) {
        const { desk, config } = parts();
        const client = authenticate(request);
        const query = new URL(request.url, 'http://hub').searchParams;
        if (!/^(?:1|true|yes)$/i.test(query.get('poll') ?? '')) {
          throw new GatewayError(
            'request/unsupported',
            'only poll=1: subscribe with /v1/events or /v1/ws instead',
          );
        }
        const to = addressOf(params.topic, config.ntfy?.topics ?? {});
        if (!to.startsWith('room:')) {
          throw new GatewayError('request/not-found', 'only the topic of a room can be polled');
        }
        const { items } = desk.messages.list(client, { room: to.slice(5), limit: pollMost });
        const wanted = since(query.get('since') ?? 'all', items);
        const lines = wanted.map(one => `${JSON.stringify(noteOf(params.topic, one))}\n`);
        return {
          status: 200,
          headers: { 'content-type': 'application/x-ndjson; charset=utf-8' },
          body: lines.join(''),
        };
      },
    }),
  ];
}

const levels: readonly Priority[] = ['bulk', 'bulk', 'normal', 'high', 'critical'];
const levelNames: Readonly<Record<string, number>> = {
  min: 1,
  low: 2,
  default: 3,
  high: 4,
  max: 5,
  urgent: 5,
};

function addressOf(topic: string, topics: Readonly<Record<string, Address>>): Address {
  return Object.hasOwn(topics, topic) ? (topics[topic] as Address) : `room:${topic.toLowerCase()}`;
}

/** What headers and the query say of a notification, under any of the names that ntfy takes. */
function wordsOf(request: FastifyRequest): Record<string, unknown> {
  const query = new URL(request.url, 'http://hub').searchParams;
  const word = (...names: readonly string[]) => {
    for (const name of names) {
      const value = request.headers[name] ?? request.headers[`x-${name}`] ?? query.get(name) ?? undefined;
      if (typeof value === 'string' && value !== '') {
        return utf8(value);
      }
    }
    return undefined;
  };
  const priority = word('priority', 'prio', 'p');
  const tags = word('tags', 'tag', 'ta');
  const words = { title: word('title', 'ti', 't'), message: word('message', 'm'), click: word('click') };
  return {
    ...Object.fromEntries(Object.entries(words).filter(([, value]) => value !== undefined)),
    ...(priority !== undefined && { priority: levelNames[priority.toLowerCase()] ?? Number(priority) }),
    ...(tags !== undefined && { tags: tags.split(',').map(one => one.trim()) }),
  };
}

/** Node reads headers as latin1; scripts write UTF-8 into them. */
function utf8(value: string): string {
  const text = Buffer.from(value, 'latin1').toString('utf8');
  return text.includes('\ufffd') ? value : text;
}

/** Oldest first: after a message's id, or from a time, an age (`10m`) or the beginning on. */
function since(from: string, newestFirst: readonly MessageView[]): readonly MessageView[] {
  const items = newestFirst.toReversed();
  const [, number, unit] = /^(\d{1,12})([smhd]?)$/.exec(from) ?? [];
  if (from === 'all') {
    return items;
  }
  if (from === 'latest') {
    return items.slice(-1);
  }
  if (number !== undefined) {
    const newest = items.at(-1)?.acceptedAt ?? 0;
    const span = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[unit ?? ''];
    const start = span === undefined ? Number(number) * 1000 : newest - Number(number) * span;
    return items.filter(({ acceptedAt }) => acceptedAt >= start);
  }
  const at = items.findIndex(({ id }) => id === from);
  return at < 0 ? items : items.slice(at + 1);
}

function noteOf(topic: string, message: MessageView) {
  const level = { bulk: 2, normal: 3, high: 4, critical: 5 }[message.priority];
  const data = message.data as { readonly tags?: unknown; readonly click?: unknown } | undefined;
  return {
    id: message.id,
    time: Math.floor(message.acceptedAt / 1000),
    expires: Math.floor(message.expiresAt / 1000),
    event: 'message',
    topic,
    message: message.text,
    ...(message.title !== undefined && { title: message.title }),
    ...(level !== 3 && { priority: level }),
    ...(Array.isArray(data?.tags) && { tags: data.tags }),
    ...(typeof data?.click === 'string' && { click: data.click }),
  };
}
