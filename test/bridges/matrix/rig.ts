import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createListener, type Listener } from '../../../src/bridges/listener.ts';
import { addAppservice } from '../../../src/bridges/matrix/appservice.ts';
import { createMatrixBridge, type MatrixBridge } from '../../../src/bridges/matrix/bridge.ts';
import type { MatrixConfig } from '../../../src/bridges/matrix/config.ts';
import type { Registration } from '../../../src/bridges/matrix/registration.ts';
import type { Address } from '../../../src/gateway/message.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { type Log, silentLog } from '../../../src/lib/log.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import type { ServiceHealth } from '../../../src/lib/service.ts';
import { type MemoryBridge, memoryBridge, openTestSwitch, type TestSwitch } from '../../gateway/fixture.ts';
import { FakeHomeserver } from '../../sim/homeserver.ts';

export const registration: Registration = {
  id: 'kos',
  url: 'http://127.0.0.1:8080',
  as_token: 'as-token-of-the-test-only',
  hs_token: 'hs-token-of-the-test-only',
  sender_localpart: '_kos_bot',
};

export const peer = 'aa'.repeat(16);
export const ghost = `@_kos_${peer}:home.test`;

export interface RigOptions {
  readonly rooms?: Readonly<Record<string, { readonly members: readonly Address[] }>>;
  readonly config?: Partial<MatrixConfig>;
  readonly log?: Log;
}

/** A real switch with the Matrix bridge on a real listener, a mesh held in memory, and a fake homeserver. */
export interface Rig extends AsyncDisposable {
  readonly homeserver: FakeHomeserver;
  readonly hub: TestSwitch;
  readonly mesh: MemoryBridge;
  readonly bridge: MatrixBridge;
  readonly counters: Counters;
  readonly health: ServiceHealth[];
  readonly url: string;
  /** Stops the gateway in good order, or starts it again on the same data. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Waits until the bridge is up. */
  up(): Promise<void>;
  /** What a mesh peer writes, to the hub or elsewhere. */
  hear(text: string, to?: Address, more?: object): Promise<string>;
}

export async function openRig(options: RigOptions = {}): Promise<Rig> {
  const dir = await mkdtemp(join(tmpdir(), 'kos-matrix-'));
  let url = 'http://127.0.0.1:9';
  const homeserver = await new FakeHomeserver({ registration, appservice: () => url }).start();
  const counters = new Counters();
  const health: ServiceHealth[] = [];
  const log = options.log ?? silentLog;
  const parts = { clock: systemClock, random: systemRandom, log, counters };
  let mesh = memoryBridge();
  let bridge: MatrixBridge;
  let hub: TestSwitch;
  let listener: Listener;
  let port = 0;
  let said = 0;
  const rooms = options.rooms ?? {};
  const start = async () => {
    mesh = memoryBridge();
    bridge = createMatrixBridge({
      ...parts,
      desk: () => hub.desk,
      config: {
        homeserver: homeserver.url,
        serverName: homeserver.serverName,
        registration: 'registration.yaml',
        portals: 'server',
        ...options.config,
      },
      registration,
      file: join(dir, 'matrix.db'),
      report: one => health.push(one),
    });
    listener = await createListener({ ...parts, host: '127.0.0.1', port });
    addAppservice(listener, bridge.appservice, parts);
    await listener.listen();
    ({ url, port } = listener.address());
    hub = await openTestSwitch({
      dir,
      bridges: [mesh, bridge],
      rooms,
    });
  };
  const stop = async () => {
    await listener.close();
    await hub.stop();
    bridge[Symbol.dispose]();
  };
  await start();
  return {
    homeserver,
    get hub() {
      return hub;
    },
    get mesh() {
      return mesh;
    },
    get bridge() {
      return bridge;
    },
    counters,
    health,
    get url() {
      return url;
    },
    start,
    stop,
    up: () =>
      eventually(() =>
        hub.desk.health().services.some(({ name, state }) => name === 'matrix' && state === 'up'),
      ),
    async hear(text, to = 'lxmf:ffeeddccbbaa99887766554433221100', more = {}) {
      said += 1;
      const { id } = await mesh.say({ remoteId: `heard-${said}`, from: `lxmf:${peer}`, to, text, ...more });
      return id;
    },
    async [Symbol.asyncDispose]() {
      await stop().catch(() => undefined);
      await homeserver[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Looks again until it holds. */
export async function eventually(holds: () => unknown, what = 'it never held'): Promise<void> {
  for (let turn = 0; turn < 4000; turn++) {
    try {
      if (holds()) {
        return;
      }
    } catch {
      // What is looked for is not there yet.
    }
    await systemClock.sleep(5);
  }
  assert.fail(what);
}
