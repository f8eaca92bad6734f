import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import { createAccess } from '../../../src/bridges/access.ts';
import { createMqttBridge, type MqttBridge } from '../../../src/bridges/mqtt/bridge.ts';
import { type Topics, topicsOf } from '../../../src/bridges/mqtt/topics.ts';
import type { Bridge, BridgePort, Delivery } from '../../../src/gateway/bridge.ts';
import type { DeliveryView, Desk, Scope } from '../../../src/gateway/desk.ts';
import type { Message } from '../../../src/gateway/message.ts';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { type Log, type LogFacts, silentLog } from '../../../src/lib/log.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { openTestSwitch, testHub, until } from '../../gateway/fixture.ts';
import { createMailbox } from '../../mailbox.ts';

/** The mesh as the switch sees it: what goes out is told, what comes in is made up. */
export interface TestMesh {
  readonly port: BridgePort;
  /** The next message that left for the mesh. */
  next(): Promise<Delivery>;
  /** Messages that left and were not looked at. */
  pending(): number;
  /** The peer proves that it has it. */
  prove(delivery: string): void;
  /** A peer writes to the hub; gives the message's id. */
  say(peer: string, text: string, facts?: { inReplyTo?: string }): Promise<string>;
}

export interface Heard {
  readonly topic: string;
  readonly text: string;
  readonly retain: boolean;
  readonly qos: number;
  // biome-ignore lint/suspicious/noExplicitAny: payloads are looked at, not used.
  readonly json: any;
}

/** A real switch with a real broker (by its own clock, if one is given) on free ports, and a mesh made up of one test bridge. */
export interface TestHub extends AsyncDisposable {
  readonly desk: Desk;
  readonly topics: Topics;
  readonly mesh: TestMesh;
  readonly counters: Counters;
  readonly lines: { readonly facts: LogFacts; readonly message: string }[];
  /** Connections that are ended with the hub. */
  readonly opened: MqttClient[];
  readonly port: number;
  readonly tcp: string;
  readonly ws: string;
  tx(destination: string): string;
  token(name: string, scopes: readonly Scope[], rooms?: readonly string[]): Promise<string>;
  connect(
    name: string,
    scopes: readonly Scope[],
    options?: IClientOptions,
    transport?: 'tcp' | 'ws',
    rooms?: readonly string[],
  ): Promise<MqttClient>;
  connectWith(
    name: string,
    token: string,
    options?: IClientOptions,
    early?: (client: MqttClient) => void,
  ): Promise<MqttClient>;
  /** A program on the desk sends a message; gives its id. */
  post(to: string, text: string): Promise<string>;
  delivery(message: string, to?: string): DeliveryView | undefined;
  deliveryState(message: string, to: string): string | undefined;
  sensorReadings(): readonly Message[];
  /** Waits until a commit makes it true. */
  until(condition: () => boolean): Promise<void>;
  /** Stops the broker in good order, or starts another in its place with the same journal. */
  stop(): Promise<void>;
  restart(): Promise<void>;
}

export async function openHub(
  options: { readonly anonymous?: boolean; readonly clock?: Clock } = {},
): Promise<TestHub> {
  const folder = await mkdtemp(join(tmpdir(), 'mqtt-'));
  const counters = new Counters();
  const lines: TestHub['lines'] = [];
  const log: Log = { ...silentLog, warn: (facts, message) => lines.push({ facts, message }) };
  const mesh = testMesh();
  const opened: MqttClient[] = [];

  const start = async () => {
    const bridge: MqttBridge = createMqttBridge({
      get desk() {
        return gateway.desk;
      },
      get access() {
        return createAccess({ clients: gateway.desk.clients, clock: systemClock });
      },
      config: { anonymous: options.anonymous === true, upstream: [] },
      host: '127.0.0.1',
      port: 0,
      file: join(folder, 'mqtt.db'),
      clock: options.clock ?? systemClock,
      random: systemRandom,
      log,
      counters,
    });
    const gateway = await openTestSwitch({ bridges: [mesh.bridge, bridge], dir: folder });
    await until(() => bridge.address());
    return { bridge, gateway };
  };
  let { bridge, gateway } = await start();
  const web: Server = createServer().on('upgrade', (request, socket, head) =>
    bridge.handleUpgrade(request, socket, head),
  );
  await new Promise<void>(resolve => web.listen(0, '127.0.0.1', resolve));
  const topics = topicsOf(testHub.id);
  const admin = gateway.owner;

  const result: TestHub = {
    get desk() {
      return gateway.desk;
    },
    topics,
    mesh,
    counters,
    lines,
    opened,
    get port() {
      return bridge.address()?.port ?? 0;
    },
    get tcp() {
      return `mqtt://127.0.0.1:${bridge.address()?.port}`;
    },
    get ws() {
      return `ws://127.0.0.1:${(web.address() as AddressInfo).port}/mqtt`;
    },
    tx: destination => `${topics.root}/mesh/${destination}/tx`,
    async token(name, scopes, rooms = ['hub']) {
      return (await gateway.desk.clients.create({ name, scopes, rooms })).token;
    },
    async connect(name, scopes, clientOptions = {}, transport = 'tcp', rooms = ['hub']) {
      const token = await result.token(name, scopes, rooms);
      return open(transport === 'ws' ? result.ws : result.tcp, name, token, clientOptions);
    },
    connectWith: (name, token, clientOptions = {}, early) =>
      open(result.tcp, name, token, clientOptions, early),
    async post(to, text) {
      return (await gateway.desk.messages.post(admin, { to, text })).message.id;
    },
    delivery: (message, to) =>
      gateway.desk.messages.get(admin, message).deliveries.find(entry => to === undefined || entry.to === to),
    deliveryState: (message, to) => result.delivery(message, to)?.state,
    sensorReadings: () => gateway.desk.messages.list(admin, { type: 'sensor.reading' }).items,
    until: condition =>
      new Promise(resolve => {
        const look = () => {
          if (condition()) {
            stop();
            resolve();
          }
        };
        const stop = gateway.desk.events.onCommit(look);
        look();
      }),
    stop: () => gateway.stop(),
    async restart() {
      await gateway.stop();
      ({ bridge, gateway } = await start());
    },
    async [Symbol.asyncDispose]() {
      for (const client of opened) {
        client.end(true);
      }
      await gateway.stop();
      web.closeAllConnections();
      await new Promise(resolve => web.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };

  const open = async (
    url: string,
    username: string,
    password: string,
    clientOptions: IClientOptions,
    early?: (client: MqttClient) => void,
  ) => {
    const client = connect(url, {
      username,
      password,
      protocolVersion: 4,
      reconnectPeriod: 0,
      ...clientOptions,
    });
    opened.push(client);
    early?.(client);
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.once('error', reject);
    });
    client.on('error', () => {});
    return client;
  };
  return result;
}

/** What a client hears, in order. */
export function collect(client: MqttClient): {
  readonly seen: Heard[];
  /** The next messages, as many. */
  take(count: number): Promise<Heard[]>;
  /** The next that fits; those before it are passed over. */
  find(fits: (heard: Heard) => boolean): Promise<Heard>;
  all(): readonly Heard[];
} {
  const queue = createMailbox<Heard>();
  const seen: Heard[] = [];
  client.on('message', (topic, payload, { retain, qos }) => {
    const text = payload.toString();
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
    const heard = { topic, text, retain, qos, json };
    seen.push(heard);
    queue.push(heard);
  });
  return {
    seen,
    all: () => seen,
    async take(count) {
      const taken: Heard[] = [];
      while (taken.length < count) {
        taken.push(await queue.take());
      }
      return taken;
    },
    async find(fits) {
      for (;;) {
        const heard = await queue.take();
        if (fits(heard)) {
          return heard;
        }
      }
    },
  };
}

function testMesh(): TestMesh & { readonly bridge: Bridge } {
  const left = createMailbox<Delivery>();
  let port: BridgePort | undefined;
  let said = 0;
  const opened = () => port as BridgePort;
  return {
    get port() {
      return opened();
    },
    next: () => left.take(),
    pending: () => left.size,
    prove: delivery => void opened().report(delivery, { state: 'delivered' }),
    async say(peer, text, facts = {}) {
      said += 1;
      const { id } = await opened().accept({
        remoteId: `${peer}-${said}`,
        from: `lxmf:${peer}`,
        to: `lxmf:${testHub.lxmf}`,
        type: 'chat.message',
        text,
        assurance: 'signed',
        ...facts,
      });
      return id;
    },
    bridge: {
      name: 'lxmf',
      carries: {
        textBytes: 1_000_000,
        attachmentBytes: 1_000_000,
        replies: true,
        receipts: true,
        deduplicates: true,
        concurrency: 16,
      },
      async run(given, signal) {
        port = given;
        given.ready();
        await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }));
      },
      async deliver(delivery) {
        left.push(delivery);
        return { state: 'sent' };
      },
    },
  };
}
