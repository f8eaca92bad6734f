import { Agent, request } from 'node:http';
import { WebSocket } from 'ws';
import { type Daemon, type DaemonOptions, startDaemon } from '../test/e2e/daemon.ts';
import type { Asked } from './pair.ts';
import type { Sample, Served } from './task.ts';

/** Connections that messages are posted over at once. */
const connections = 16;
/** ms for all messages of a measurement. */
const patience = 120_000;

/** A daemon that listens for other nodes. */
export function startServingHub(options: DaemonOptions = {}): Promise<Daemon> {
  const interfaces = [{ name: 'server', kind: 'tcp-server', host: '127.0.0.1', port: 0 }];
  return startDaemon({ ...options, config: { log: 'warn', interfaces } });
}

/** Where a daemon that listens can be measured from. */
export function servedBy({ ready }: Daemon): Served {
  const address = ready.interfaces.server ?? '';
  return { port: Number(address.slice(address.lastIndexOf(':') + 1)), destination: ready.lxmf };
}

/** A daemon that dials another one. */
export function startDiallingHub(port: number, options: DaemonOptions = {}): Promise<Daemon> {
  const interfaces = [{ name: 'uplink', kind: 'tcp-client', host: '127.0.0.1', port }];
  return startDaemon({ ...options, config: { log: 'warn', interfaces } });
}

/** Two fresh daemons with their stores on disk: each message is posted to one and counts when its event says delivered. */
export async function measureHubs(asked: Asked): Promise<Sample> {
  await using there = await startServingHub();
  const { port } = servedBy(there);
  await using here = await startDiallingHub(port);
  return await measureFrom(here, there, asked);
}

/** Messages from one running daemon to another that it has a path to or can find. */
export async function measureFrom(here: Daemon, there: Daemon, asked: Asked): Promise<Sample> {
  await using client = await HubClient.connect(here);
  const send = (text: string) => client.send(`lxmf:${there.ready.lxmf}`, text);
  const text = 'x'.repeat(asked.size ?? 0);
  // Too long for a single packet, so that there is a link from now on.
  await send('x'.repeat(1000));
  for (let sent = 0; sent < asked.warmup; sent++) {
    await send(text);
  }
  const each: number[] = [];
  let lost = 0;
  const began = performance.now();
  if (asked.mode === 'burst') {
    await Promise.all(
      Array.from({ length: asked.count }, async () => {
        lost += (await send(text)) === 'delivered' ? 0 : 1;
        each.push(performance.now() - began);
      }),
    );
  } else {
    for (let sent = 0; sent < asked.count; sent++) {
      const at = performance.now();
      lost += (await send(text)) === 'delivered' ? 0 : 1;
      each.push(performance.now() - at);
    }
  }
  const total = performance.now() - began;
  if (lost > 0) {
    console.error(`  two hubs lost ${lost} of ${asked.count}`);
  }
  return { each, total, lost };
}

/** The owner of a hub, with connections that stay open and a WebSocket that tells what becomes of messages. */
export class HubClient implements AsyncDisposable {
  readonly #daemon: Daemon;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: connections });
  readonly #socket: WebSocket;
  /** By message id: its end, or who waits for it. */
  readonly #ends = new Map<string, string>();
  readonly #waiting = new Map<string, (state: string) => void>();
  readonly #onFrame = new Set<(length: number) => void>();

  private constructor(daemon: Daemon, socket: WebSocket) {
    this.#daemon = daemon;
    this.#socket = socket;
    socket.on('message', data => {
      const text = String(data);
      const frame = JSON.parse(text) as Frame;
      this.#take(frame);
      if (frame.op === 'event') {
        for (const told of this.#onFrame) {
          told(Buffer.byteLength(text));
        }
        this.#onFrame.clear();
      }
    });
  }

  static async connect(
    daemon: Daemon,
    filter: Readonly<Record<string, readonly string[]>> = { kinds: ['delivery.changed'] },
  ): Promise<HubClient> {
    const socket = new WebSocket(`${daemon.ready.http.replace('http', 'ws')}/v1/ws`, {
      headers: { authorization: `Bearer ${daemon.ready.ownerToken}` },
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.once('open', resolve);
    socket.once('error', reject);
    await promise;
    const client = new HubClient(daemon, socket);
    socket.send(JSON.stringify({ op: 'hello' }));
    socket.send(JSON.stringify({ op: 'subscribe', id: 'all', filter }));
    return client;
  }

  /** Posts a message; resolves with the state its delivery ended in. */
  async send(to: string, text: string): Promise<string> {
    const id = await this.post({ to, text });
    const ended = this.#ends.get(id);
    if (ended !== undefined) {
      this.#ends.delete(id);
      return ended;
    }
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const timer = setTimeout(
      () => reject(new Error(`a message was not delivered:\n${this.#daemon.stderr()}`)),
      patience,
    );
    this.#waiting.set(id, resolve);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.terminate();
    this.#agent.destroy();
  }

  #take(frame: Frame): void {
    const { message, state } = frame.delivery ?? {};
    if (message === undefined || state === undefined || !ends.has(state)) {
      return;
    }
    const waiting = this.#waiting.get(message);
    if (waiting === undefined) {
      this.#ends.set(message, state);
      return;
    }
    this.#waiting.delete(message);
    waiting(state);
  }

  /** The bytes of the next event's text. */
  nextFrame(): Promise<number> {
    return new Promise(resolve => this.#onFrame.add(resolve));
  }

  /** Posts a message; resolves with its id. */
  post(message: { readonly to: string; readonly text: string; readonly type?: string }): Promise<string> {
    const body = JSON.stringify(message);
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const call = request(
      new URL('/v1/messages', this.#daemon.ready.http),
      {
        method: 'POST',
        agent: this.#agent,
        headers: {
          authorization: `Bearer ${this.#daemon.ready.ownerToken}`,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
        },
      },
      response => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode === 201) {
            resolve((JSON.parse(text) as { id: string }).id);
          } else {
            reject(new Error(`POST answered ${response.statusCode}: ${text}`));
          }
        });
      },
    );
    call.on('error', reject);
    call.end(body);
    return promise;
  }
}

interface Frame {
  readonly op: string;
  readonly delivery?: { readonly message: string; readonly state: string };
}

const ends: ReadonlySet<string> = new Set(['delivered', 'failed', 'expired', 'cancelled', 'ambiguous']);
