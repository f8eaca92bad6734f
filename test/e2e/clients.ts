import mqtt, { type MqttClient } from 'mqtt';
import { WebSocket } from 'ws';
import type { Daemon } from './daemon.ts';

/** A message as every window shows it. */
export interface Seen {
  readonly id: string;
  readonly type: string;
  readonly from: string;
  readonly to: string;
  readonly text: string;
  readonly title?: string;
  readonly inReplyTo?: string;
  readonly assurance: string;
  readonly data?: unknown;
  readonly attachments: readonly { name: string; mediaType: string; size: number; sha256: string }[];
  readonly native?: Readonly<Record<string, string>>;
}

export interface Status {
  readonly id: string;
  readonly state: string;
  readonly reason?: string;
}

/** Waits until `check` gives something; says what was missing after `patience` ms. */
export async function eventually<T>(
  what: string,
  check: () => T | undefined | false | Promise<T | undefined | false>,
  patience = 30_000,
): Promise<T> {
  const end = performance.now() + patience;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== false) {
      return value;
    }
    if (performance.now() > end) {
      throw new Error(`never happened: ${what}`);
    }
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

/** A client minted over the API, with whatever it may do. */
export async function mint(
  daemon: Daemon,
  name: string,
  more: Record<string, unknown> = {},
): Promise<string> {
  const answer = await daemon.call<{ token: string }>('POST', '/v1/tokens', {
    body: { name, scopes: ['messages:read', 'messages:send', 'peers:read', 'mqtt'], ...more },
  });
  if (answer.status !== 201) {
    throw new Error(`no token for ${name}: ${JSON.stringify(answer.body)}`);
  }
  return answer.body.token;
}

/** Reads an inbox over REST as a careful app does: it keeps the cursor and so acknowledges what it has. */
export class RestInbox {
  readonly seen: Seen[] = [];
  readonly #daemon: () => Daemon;
  readonly #token: string;
  #cursor: string | undefined;

  constructor(daemon: () => Daemon, token: string) {
    this.#daemon = daemon;
    this.#token = token;
  }

  /** One read; how many messages it brought. */
  async read(wait = 0): Promise<number> {
    const query = new URLSearchParams({ wait: String(wait), limit: '200' });
    if (this.#cursor !== undefined) {
      query.set('after', this.#cursor);
    }
    const answer = await this.#daemon().call<{ items: { message?: Seen }[]; cursor: string }>(
      'GET',
      `/v1/inbox?${query}`,
      { token: this.#token },
    );
    if (answer.status !== 200) {
      throw new Error(`inbox: ${answer.status} ${JSON.stringify(answer.body)}`);
    }
    this.#cursor = answer.body.cursor;
    for (const item of answer.body.items) {
      this.seen.push((item.message ?? item) as Seen);
    }
    return answer.body.items.length;
  }
}

/** A WebSocket client that resumes by cursor, and may lose its connection at any time. */
export class WsClient {
  readonly seen: Seen[] = [];
  readonly statuses: { state: string; message: string }[] = [];
  readonly frames: Record<string, unknown>[] = [];
  #cursor: string | undefined;
  #socket: WebSocket | undefined;

  async connect(daemon: Daemon, token: string, name: string): Promise<void> {
    const socket = new WebSocket(`${daemon.ready.http.replace('http', 'ws')}/v1/ws`, {
      headers: { authorization: `Bearer ${token}` },
    });
    this.#socket = socket;
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    socket.on('message', data => this.#take(JSON.parse(String(data)) as Record<string, unknown>, name));
    socket.on('error', () => {});
    this.send({ op: 'hello', ...(this.#cursor === undefined ? {} : { after: this.#cursor }) });
    this.send({ op: 'subscribe', id: 'all', filter: {} });
  }

  send(frame: object): void {
    this.#socket?.send(JSON.stringify(frame));
  }

  drop(): void {
    this.#socket?.terminate();
  }

  #take(frame: Record<string, unknown>, name: string): void {
    this.frames.push(frame);
    if (frame.op !== 'event') {
      return;
    }
    this.#cursor = frame.cursor as string;
    if (frame.kind === 'message.accepted') {
      const message = frame.message as Seen;
      if (message.from !== `app:${name}`) {
        this.seen.push(message);
        this.send({ op: 'seen', cursor: frame.cursor });
      }
    }
    if (frame.kind === 'delivery.changed') {
      const delivery = frame.delivery as { state: string; message: string };
      this.statuses.push({ state: delivery.state, message: delivery.message });
    }
  }
}

export interface MqttWindow {
  readonly client: MqttClient;
  readonly seen: { topic: string; message: Seen }[];
  readonly statuses: Status[];
  readonly errors: unknown[];
}

/** An MQTT client with a persistent session, subscribed to what comes to it and to what becomes of what it sends. */
export async function connectMqtt(daemon: Daemon, name: string, token: string): Promise<MqttWindow> {
  const client = await mqtt.connectAsync(daemon.ready.mqtt, {
    username: name,
    password: token,
    clientId: name,
    protocolVersion: 4,
    clean: false,
    reconnectPeriod: 0,
  });
  const window: MqttWindow = { client, seen: [], statuses: [], errors: [] };
  client.on('message', (topic, payload) => {
    const value = JSON.parse(payload.toString('utf8'));
    if (topic.endsWith('/rx')) {
      window.seen.push({ topic, message: value as Seen });
    } else if (topic.includes('/mesh/status/')) {
      window.statuses.push(value as Status);
    } else if (topic.endsWith('/err')) {
      window.errors.push(value);
    }
  });
  const base = `kos/v1/${daemon.ready.hub.slice(0, 8)}`;
  await client.subscribeAsync([`${base}/mesh/+/rx`, `${base}/mesh/status/+`, `${base}/err`], { qos: 1 });
  return window;
}

/** The events of a server-sent stream. */
export async function* serverEvents(
  daemon: Daemon,
  token: string,
  signal: AbortSignal,
): AsyncGenerator<{ id: string; event: string; data: Record<string, unknown> }> {
  const response = await fetch(`${daemon.ready.http}/v1/events`, {
    headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream' },
    signal,
  });
  let text = '';
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString('utf8');
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const fields = Object.fromEntries(
        text
          .slice(0, end)
          .split('\n')
          .filter(line => /^(id|event|data):/.test(line))
          .map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]),
      );
      text = text.slice(end + 2);
      if (fields.data !== undefined) {
        yield { id: fields.id ?? '', event: fields.event ?? '', data: JSON.parse(fields.data) };
      }
    }
  }
}
