import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Bridge, BridgePort, Delivery, Incoming, Progress } from '../../src/gateway/bridge.ts';
import type { Client, Scope } from '../../src/gateway/desk.ts';
import type { Limits } from '../../src/gateway/limits.ts';
import type { Address } from '../../src/gateway/message.ts';
import type { RouteRule } from '../../src/gateway/route-rule.ts';
import { openStore, type Store, type StoreOptions } from '../../src/gateway/store/store.ts';
import { createSwitch, type Switch } from '../../src/gateway/switch.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { type Log, silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';

/** The hub every test speaks of. */
export const testHub = {
  id: '00112233445566778899aabbccddeeff',
  name: 'Test Street',
  lxmf: 'ffeeddccbbaa99887766554433221100',
  version: '0.0.0',
};

export interface TestSwitchOptions {
  /** `testHub` unless there are several. */
  readonly hub?: typeof testHub;
  readonly bridges?: readonly Bridge[];
  readonly rooms?: Readonly<Record<string, { readonly members: readonly Address[] }>>;
  readonly routes?: readonly RouteRule[];
  readonly clock?: Clock;
  readonly log?: Log;
  readonly limits?: Partial<Limits>;
  /** A directory that outlives the switch, for restarts; a temporary one otherwise. */
  readonly dir?: string;
  /** How its store is opened, where that matters. */
  readonly store?: Omit<StoreOptions, 'dir'>;
}

export interface TestSwitch
  extends AsyncDisposable,
    Pick<Switch, 'desk' | 'report' | 'forget' | 'publish' | 'onHealth' | 'onClockSet'> {
  readonly store: Store;
  readonly counters: Counters;
  readonly dir: string;
  /** The client `owner` and its token. */
  readonly owner: Client;
  readonly ownerToken: string;
  /** Mints a client; all scopes but `admin` unless told. */
  client(
    name: string,
    options?: {
      scopes?: readonly Scope[];
      rooms?: readonly string[];
      expiresAt?: number;
      identity?: 'own' | 'hub';
    },
  ): Promise<{ client: Client; token: string; addresses?: readonly Address[] }>;
  /** Stops everything; disposing does so too. */
  stop(): Promise<void>;
}

/** A whole running switch on a temporary directory. Resolves when its bridges have been started. */
export async function openTestSwitch(options: TestSwitchOptions = {}): Promise<TestSwitch> {
  const stack = new AsyncDisposableStack();
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'kos-test-')));
  if (options.dir === undefined) {
    stack.defer(() => rm(dir, { recursive: true, force: true }));
  }
  const store = stack.use(await openStore({ ...options.store, dir }));
  const counters = new Counters();
  const hub = createSwitch({
    store,
    clock: options.clock ?? systemClock,
    random: systemRandom,
    log: options.log ?? silentLog,
    counters,
    hub: options.hub ?? testHub,
    rooms: options.rooms ?? {},
    routes: options.routes ?? [],
    bridges: options.bridges ?? [],
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
  const ownerToken = testOwnerToken;
  await hub.desk.clients.ensureOwner({ given: ownerToken });
  const owner = hub.desk.clients.authenticate(ownerToken).client as Client;
  const stopping = new AbortController();
  const running = hub.run(stopping.signal);
  stack.defer(async () => {
    stopping.abort();
    await hub.close();
    await running;
  });
  return {
    desk: hub.desk,
    report: hub.report,
    forget: hub.forget,
    publish: hub.publish,
    onHealth: hub.onHealth,
    onClockSet: hub.onClockSet,
    store,
    counters,
    dir,
    owner,
    ownerToken,
    client: (name, { scopes = everyday, ...rest } = {}) => hub.desk.clients.create({ name, scopes, ...rest }),
    stop: () => stack.disposeAsync(),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** The owner's token in every test switch. */
export const testOwnerToken = 'kos_test-owner-token-of-forty-three-letters';

const everyday: readonly Scope[] = [
  'messages:read',
  'messages:send',
  'peers:read',
  'rooms:write',
  'mesh:read',
  'mqtt',
];

/** A far side held in memory: what was delivered to it, and a way to speak as it. */
export interface MemoryBridge extends Bridge {
  readonly delivered: Delivery[];
  /** The port, once it runs. */
  readonly port: Promise<BridgePort>;
  /** Replaces what `deliver` does; it keeps its place in `delivered`. */
  respond: (delivery: Delivery, signal: AbortSignal) => Promise<Progress> | Progress;
  say(incoming: Partial<Incoming> & Pick<Incoming, 'remoteId' | 'to'>): ReturnType<BridgePort['accept']>;
}

export function memoryBridge(name = 'lxmf', carries: Partial<Bridge['carries']> = {}): MemoryBridge {
  const opened = Promise.withResolvers<BridgePort>();
  const bridge: MemoryBridge = {
    name,
    carries: {
      textBytes: 1e6,
      attachmentBytes: 1e8,
      replies: true,
      receipts: true,
      deduplicates: true,
      concurrency: 8,
      ...carries,
    },
    delivered: [],
    port: opened.promise,
    respond: () => ({ state: 'delivered' }),
    async run(port, signal) {
      opened.resolve(port);
      port.ready();
      await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }));
    },
    async deliver(delivery, signal) {
      bridge.delivered.push(delivery);
      return await bridge.respond(delivery, signal);
    },
    async say(incoming) {
      const port = await opened.promise;
      return await port.accept({
        from: `${name}:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`,
        type: 'chat.message',
        text: '',
        assurance: 'signed',
        ...incoming,
      });
    },
  };
  return bridge;
}

/** Reads again until it holds. */
export async function until<T>(read: () => T | undefined | false, what = 'it never held'): Promise<T> {
  for (let turn = 0; turn < 2000; turn++) {
    const value = read();
    if (value !== undefined && value !== false) {
      return value;
    }
    await new Promise(resolve => setTimeout(resolve, 2));
  }
  throw new Error(what);
}
