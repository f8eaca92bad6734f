import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyRequest } from 'fastify';
import type { Client } from '../../../../gateway/desk.ts';
import { codeOf, GatewayError } from '../../../../lib/errors.ts';
import { requireScope } from '../../../access.ts';
import type { Listener } from '../../../listener.ts';
import { slowest } from '../../blobs.ts';
import { bytesType } from '../../offer.ts';
import { type Answer, type Call, type Route, route } from '../../route.ts';
import { holderOf } from '../credentials.ts';
import { isMediaType } from '../fields.ts';
import type { LegacyParts } from '../send.ts';
import { type Asked, askedIn, readObject } from './asked.ts';
import { accountOf, configOf } from './facts.ts';
import { noteOf } from './note.ts';
import { publish } from './publish.ts';
import { refusal, refusalAnswer } from './refusal.ts';
import { forms, notesOf, streamNotes } from './stream.ts';
import { type Subscription, subscriptionOf } from './subscription.ts';
import { requireReadable, type Topic, topicOf, topicsOf } from './topics.ts';
import { queryOf, wordsOf } from './words.ts';

type Handle = (
  call: Call<undefined, undefined, undefined>,
  at: Readonly<Record<string, string>>,
) => Promise<Answer> | Answer;

/**
 * ntfy below `prefix` (empty for the root of a listener): publishing by POST, PUT and GET and as JSON, with files; reading
 * as JSON lines, events, text and WebSocket, by poll or as a stream. A topic is a room, or whom the configuration names. The token is a
 * bearer, the password of Basic, or either in `?auth=`.
 * Source: docs.ntfy.sh/publish and /subscribe/api; ntfy 2.13, server/server.go.
 */
export function ntfyRoutes(parts: LegacyParts, prefix: string): Route[] {
  const operation = (method: 'GET' | 'POST' | 'PUT', path: string, summary: string, handle: Handle): Route =>
    route({
      method,
      path: `${prefix}${path}`,
      summary,
      tag: 'messages',
      audience: 'public',
      undocumented: true,
      anyQuery: true,
      live: true,
      ...(method !== 'GET' && { body: 'raw' as const, timeout: slowest }),
      responses: { 200: { description: 'as ntfy answers' } },
      async handle(call) {
        try {
          return await handle(call, call.request.params as Readonly<Record<string, string>>);
        } catch (error) {
          const answer = refusalAnswer(error);
          parts.counters.add(`http/refused/${codeOf(error)}`);
          return answer;
        }
      },
    });

  const topics = () => parts.config.ntfy?.topics ?? {};

  /** The caller, counted. */
  function sender(request: FastifyRequest): Client {
    const { rates } = parts;
    const client = ntfyHolder(parts, request.raw, request.ip);
    rates.charge(client, request.ip, ['requests', 'sends']);
    requireScope(client, ['messages:send']);
    return client;
  }

  async function published(
    request: FastifyRequest,
    client: Client,
    topic: Topic,
    asked: Asked,
    body?: IncomingMessage,
  ): Promise<Answer> {
    const { desk, counters } = parts;
    const message = await publish(desk, client, topic, asked, body);
    counters.add('legacy/ntfy/accepted');
    return json(noteOf(topic.name, message, baseOf(parts, request.raw, prefix)));
  }

  const put: Handle = ({ request }, { topic = '' }) => {
    const client = sender(request);
    return published(request, client, topicOf(topic, topics()), askedIn(request), request.raw);
  };

  const putObject: Handle = async ({ request }) => {
    const client = sender(request);
    const { topic, asked } = await readObject(request.raw);
    return published(request, client, topicOf(topic, topics()), asked);
  };

  const reading = (form: keyof typeof forms): Handle => {
    return async ({ request, signal }, { topics: names = '' }) => {
      const all = parts;
      const { client, subscription } = reader(all, request.raw, request.ip, names);
      const base = baseOf(all, request.raw, prefix);
      // A poll ends by itself.
      const session = subscription.poll ? undefined : all.sessions.open(client);
      return {
        status: 200,
        async take(response) {
          using _open = session;
          // Nothing is waited for where it ends by itself: whoever has closed its side only wants to read.
          const ends = session === undefined ? closeOf(response) : AbortSignal.any([signal, session.signal]);
          const notes = notesOf(all, client, base, subscription, ends);
          await streamNotes(all, subscription, notes, forms[form], response, ends);
        },
      };
    };
  };

  const roots = prefix === '' ? ['/'] : ['', '/'];
  return [
    ...roots.flatMap(path =>
      (['POST', 'PUT'] as const).map(method => operation(method, path, 'Publish JSON as to ntfy', putObject)),
    ),
    operation('POST', '/{topic}', 'Publish as to ntfy', put),
    operation('PUT', '/{topic}', 'Publish as to ntfy', put),
    operation('GET', '/{topic}', 'What a topic is, for UnifiedPush', ({ request }) => {
      if (wordsOf(request.raw).flag('unifiedpush', 'up') !== true) {
        throw new GatewayError('request/not-found', 'page not found: there is no web app here');
      }
      return json({ unifiedpush: { version: 1 } });
    }),
    ...['publish', 'send', 'trigger'].map(verb =>
      operation('GET', `/{topic}/${verb}`, 'Publish as to ntfy', ({ request }, { topic = '' }) => {
        const client = sender(request);
        return published(request, client, topicOf(topic, topics()), askedIn(request));
      }),
    ),
    ...(['json', 'sse', 'raw'] as const).map(form =>
      operation('GET', `/{topics}/${form}`, 'Read as from ntfy', reading(form)),
    ),
    operation(
      'GET',
      '/{topics}/auth',
      'Whether topics may be read',
      ({ request }, { topics: names = '' }) => {
        reader(parts, request.raw, request.ip, names);
        return json({ success: true });
      },
    ),
    operation('GET', '/{topics}/ws', 'Read as from ntfy, over WebSocket', () => {
      throw refusal(40016);
    }),
    operation('GET', '/file/{name}', 'The file of a notification', async ({ request }, { name = '' }) => {
      const { desk, rates } = parts;
      const client = ntfyHolder(parts, request.raw, request.ip);
      rates.charge(client, request.ip, ['requests']);
      requireScope(client, ['messages:read']);
      const id = /^([0-9a-f]{32})(?:\.[A-Za-z0-9]{1,16})?$/.exec(name)?.[1];
      const file = id === undefined ? undefined : desk.messages.get(client, id).attachments[0];
      if (file === undefined) {
        throw new GatewayError('request/not-found', 'page not found');
      }
      return {
        status: 200,
        headers: {
          'content-type': contentTypeOf(file.mediaType),
          'content-length': String(file.size),
          // Whatever these bytes are, no browser shall run them beside the owner's session.
          'content-disposition': `attachment; filename*=UTF-8''${encodeURIComponent(file.name.toWellFormed())}`,
          'content-security-policy': "sandbox; default-src 'none'",
        },
        body: file.size === 0 ? '' : await desk.blobs.open(file.sha256),
      };
    }),
    operation('GET', '/v1/health', 'Whether it can be used', () =>
      json({ healthy: parts.desk.health().ready }),
    ),
    operation('GET', '/v1/stats', 'Nothing is counted here', () => json({ messages: 0, messages_rate: 0 })),
    operation('GET', '/v1/config', 'What clients may offer', ({ request }) =>
      json(configOf(baseOf(parts, request.raw, prefix))),
    ),
    operation('GET', '/config.js', 'The same for the web app of ntfy', ({ request }) => ({
      status: 200,
      headers: { 'content-type': 'text/javascript; charset=utf-8' },
      body: `// Generated for the web app of ntfy\nvar config = ${JSON.stringify(configOf(baseOf(parts, request.raw, prefix)))};\n`,
    })),
    operation('GET', '/v1/account', 'Who calls', ({ request }) => {
      const { rates, config } = parts;
      const { headers } = request;
      if (headers.authorization === undefined && queryOf(request.url).get('auth') === null) {
        return json(accountOf({ username: '*', role: 'anonymous' }, config));
      }
      const client = ntfyHolder(parts, request.raw, request.ip);
      rates.charge(client, request.ip, ['requests']);
      const role = client.scopes.includes('admin') ? 'admin' : 'user';
      return json(accountOf({ username: client.name, role }, config));
    }),
  ];
}

/** WebSockets of the same place. Before `listen`. */
export function addNtfySockets(listener: Listener, parts: LegacyParts, prefix: string): void {
  const shape = new RegExp(`^${RegExp.escape(prefix)}/([^/]+)/ws$`);
  listener.onUpgrade(shape, (request, socket, head) => {
    const all = parts;
    const names = shape.exec(request.url?.split('?', 1)[0] ?? '')?.[1] ?? '';
    const { client, subscription } = reader(
      all,
      request,
      request.socket.remoteAddress ?? '',
      names.replaceAll(/%2c/gi, ','),
    );
    const session = all.sessions.open(client);
    const closed = new AbortController();
    socket.once('close', () => {
      closed.abort();
      session[Symbol.dispose]();
    });
    listener.keep(request);
    const ends = AbortSignal.any([closed.signal, session.signal, listener.closing]);
    const base = baseOf(all, request, prefix);
    // Loaded where it is used; whoever has gone by then is not served.
    Promise.all([import('ws'), import('./socket.ts')])
      .then(async ([{ WebSocketServer }, { serveNotes }]) => {
        if (closed.signal.aborted) {
          return;
        }
        const server = new WebSocketServer({
          noServer: true,
          clientTracking: false,
          maxPayload: 1024,
          perMessageDeflate: false,
        });
        const accepted = await new Promise<import('ws').WebSocket>(resolve =>
          server.handleUpgrade(request, socket, head, resolve),
        );
        const notes = notesOf(all, client, base, subscription, ends);
        await serveNotes(accepted, subscription, notes, all, ends);
      })
      .catch(error => {
        all.log.warn({ path: `${prefix}/{topics}/ws`, error }, 'a stream broke');
        socket.destroy();
      });
  });
}

/** Who reads, and what. Counted; throws where it may not. */
function reader(
  parts: LegacyParts,
  raw: IncomingMessage,
  ip: string,
  names: string,
): { readonly client: Client; readonly subscription: Subscription } {
  const { rates, desk, clock, config } = parts;
  const client = ntfyHolder(parts, raw, ip);
  rates.charge(client, ip, ['requests']);
  requireScope(client, ['messages:read']);
  const topics = topicsOf(names, config.ntfy?.topics ?? {});
  for (const topic of topics) {
    requireReadable(desk, client, topic);
  }
  return { client, subscription: subscriptionOf(names, topics, wordsOf(raw), clock.now()) };
}

/** `?auth=` is the whole header in base64, for those who cannot send one; it goes before the header. */
function ntfyHolder({ access, prove }: LegacyParts, raw: IncomingMessage, ip: string): Client {
  const query = queryOf(raw.url);
  const asked = query.get('auth') ?? query.get('authorization');
  const header =
    asked === null ? raw.headers.authorization : Buffer.from(asked, 'base64url').toString('latin1').trim();
  const client = holderOf(access, header, { ip });
  prove?.(raw);
  return client;
}

/** Where clients find this, for the addresses of files: as configured, or as they called it. */
function baseOf({ config }: LegacyParts, { headers: { host } }: IncomingMessage, prefix: string): string {
  const own = /^[\w.:[\]-]{1,255}$/.test(host ?? '') ? host : 'localhost';
  return config.ntfy?.baseUrl ?? `http://${own}${prefix}`;
}

/** What the sender says that a file is, as far as a header can say it: other networks have other words. */
function contentTypeOf(mediaType: string): string {
  const [type = ''] = mediaType.split(';', 1);
  return isMediaType(type.trim()) && /^[ -~]+$/.test(mediaType) ? mediaType : bytesType;
}

/** Aborted when nothing more can be said. */
function closeOf(response: ServerResponse): AbortSignal {
  const closed = new AbortController();
  response.once('close', () => closed.abort());
  return closed.signal;
}

function json(value: unknown): Answer {
  return {
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: `${JSON.stringify(value)}\n`,
  };
}
