import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createListener } from '../../../src/bridges/listener.ts';
import { addAppservice } from '../../../src/bridges/matrix/appservice.ts';
import { createMatrixBridge, type MatrixParts } from '../../../src/bridges/matrix/bridge.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { bridgeContract, type FarSide } from '../../contract/bridge.ts';
import { FakeHomeserver } from '../../sim/homeserver.ts';
import { eventually, ghost, registration } from './rig.ts';

/** As much of a desk as the bridge looks at where nothing was ever said. */
const emptyDesk = {
  hub: { id: '', name: 'Test Street', lxmf: '', version: '', boot: 1 },
  health: () => ({ ready: true, services: [], queued: 0, failures: [] }),
  directory: { list: () => ({ items: [], cursor: null }) },
  events: { cursor: 'e0', read: () => ({ items: [], cursor: 'e0' }), onCommit: () => () => {} },
  messages: {
    get: () => {
      throw new GatewayError('request/not-found', 'nothing here');
    },
  },
} as unknown as ReturnType<MatrixParts['desk']>;

async function farSide(): Promise<FarSide> {
  const dir = await mkdtemp(join(tmpdir(), 'kos-matrix-'));
  const parts = { clock: systemClock, random: systemRandom, log: silentLog, counters: new Counters() };
  const listener = await createListener({ ...parts, host: '127.0.0.1', port: 0 });
  const homeserver = await new FakeHomeserver({
    registration,
    appservice: () => listener.address().url,
  }).start();
  const bridge = createMatrixBridge({
    ...parts,
    desk: () => emptyDesk,
    config: {
      homeserver: homeserver.url,
      serverName: homeserver.serverName,
      registration: 'registration.yaml',
      portals: 'server',
    },
    registration,
    file: join(dir, 'matrix.db'),
  });
  addAppservice(listener, bridge.appservice, parts);
  await listener.listen();
  const alice = homeserver.person('alice');
  let chat: string | undefined;
  return {
    bridge,
    to: 'matrix:@bob:home.test',
    arrived: () =>
      homeserver.rooms
        .all()
        .flatMap(room => homeserver.shown(room))
        .filter(({ sender }) => sender.startsWith('@_kos_'))
        .map(({ content }) => content.body),
    async say(text) {
      chat ??= alice.create([ghost]);
      const room = chat;
      await eventually(() => homeserver.rooms.membership(room, ghost) === 'join');
      await eventually(() => homeserver.pusher.idle);
      alice.say(room, text);
      await eventually(() => homeserver.pusher.idle);
    },
    cut: () => void homeserver.kill(),
    async [Symbol.asyncDispose]() {
      await listener.close();
      bridge[Symbol.dispose]();
      await homeserver[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

bridgeContract('Matrix', farSide);
