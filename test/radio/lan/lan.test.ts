import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import type { Interface } from '../../../src/mesh/interface.ts';
import { multicastAddress, tokenOf } from '../../../src/radio/lan/group.ts';
import { Lan, type LanOptions } from '../../../src/radio/lan/lan.ts';
import type { Datagrams } from '../../../src/radio/network.ts';
import { interfaceContract, type Medium, packetOf, until } from '../../contract/interface.ts';
import { ManualClock } from '../../sim/clock.ts';
import { SimLink, SimMachine } from '../../sim/network.ts';
import { seededRandom } from '../../sim/random.ts';

const group = { name: 'reticulum', scope: 'link', addressType: 'temporary' } as const;
const multicast = multicastAddress(group);
const plain: LanOptions = {
  name: 'lan',
  group,
  adapters: [],
  ignore: [],
  discoveryPort: 29_716,
  dataPort: 42_671,
  maxPeers: 256,
};

/** A hundred times as fast as the wall's. */
const fastClock: Clock = {
  ...systemClock,
  monotonic: () => systemClock.monotonic() * 100,
  sleep: (delay, signal) => systemClock.sleep(delay / 100, signal),
};

/** Another node, made by hand: it hears the group and says what it is told to. */
interface Stranger {
  readonly machine: SimMachine;
  readonly address: string;
  /** Datagrams to the group, to it alone, and packets. */
  readonly heard: {
    readonly group: Uint8Array[];
    readonly alone: Uint8Array[];
    readonly packets: Uint8Array[];
  };
  announce(token?: Uint8Array): Promise<void>;
  tell(where: string, token?: Uint8Array): Promise<void>;
  send(where: string, packet: Uint8Array): Promise<void>;
}

async function stranger(link: SimLink, address: string, answers = false): Promise<Stranger> {
  const machine = new SimMachine();
  machine.plug('e0', link, address);
  const heard = { group: [] as Uint8Array[], alone: [] as Uint8Array[], packets: [] as Uint8Array[] };
  const failed = () => {};
  const here = `${address}%e0`;
  const data: Datagrams = await machine.open({
    address: here,
    port: 42_671,
    receive: bytes => void heard.packets.push(bytes),
    failed,
  });
  const told = await machine.open({
    address: here,
    port: 29_717,
    shared: true,
    receive: bytes => void heard.alone.push(bytes),
    failed,
  });
  await machine.open({
    address: `${multicast}%e0`,
    port: 29_716,
    shared: true,
    join: { group: multicast, adapter: 'e0' },
    receive: (bytes, from) => {
      heard.group.push(bytes);
      const [bare = ''] = from.address.split('%');
      if (answers && bare !== address) {
        void told.send(tokenOf('reticulum', address), 29_717, `${bare}%e0`).catch(() => {});
      }
    },
    failed,
  });
  const own = tokenOf('reticulum', address);
  return {
    machine,
    address,
    heard,
    announce: (token = own) => told.send(token, 29_716, multicast),
    tell: (where, token = own) => told.send(token, 29_717, `${where}%e0`),
    send: (where, packet) => data.send(packet, 42_671, `${where}%e0`),
  };
}

async function medium(): Promise<Medium> {
  const link = new SimLink();
  const machine = new SimMachine();
  const far = await stranger(link, 'fe80::f', true);
  machine.plug('e0', link, 'fe80::1');
  return {
    iface: new Lan(plain, { clock: fastClock, counters: new Counters(), network: machine }),
    async far() {
      far.heard.packets.length = 0;
      return {
        arrived: far.heard.packets,
        send: (...packets) => {
          for (const packet of packets) {
            void far.send('fe80::1', packet);
          }
        },
        cut: () => machine.breakSockets('e0'),
      };
    },
    async [Symbol.asyncDispose]() {
      assert.equal(machine.sockets, 0, 'a socket was left open');
    },
  };
}

interfaceContract('a LAN', medium);

/** A LAN in use, on a clock that is moved by hand. */
class Scene implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly counters = new Counters();
  readonly link = new SimLink();
  readonly machine = new SimMachine();
  readonly lan: Lan;
  readonly peers = new Map<string, Interface>();
  readonly up = new Set<string>();
  readonly ends: string[] = [];
  readonly received: { readonly peer: string; readonly packet: Uint8Array }[] = [];
  hold: Promise<void> | undefined;
  ready = 0;
  failure: Error | undefined;
  readonly #stop = new AbortController();
  readonly #runs = new Set<Promise<void>>();
  #run: Promise<void> | undefined;

  constructor(options: Partial<LanOptions> = {}) {
    this.lan = new Lan(
      { ...plain, ...options },
      { clock: this.clock, counters: this.counters, network: this.machine },
    );
  }

  static async up(options: Partial<LanOptions> = {}): Promise<Scene> {
    const scene = new Scene(options);
    scene.machine.plug('e0', scene.link, 'fe80::1');
    scene.start();
    await scene.pass(10);
    assert.equal(scene.ready, 1);
    return scene;
  }

  start(): void {
    this.failure = undefined;
    this.#run = this.lan
      .run(
        {
          ready: () => void this.ready++,
          receive: () => assert.fail('a LAN receives nothing itself'),
          attach: peer => this.#attach(peer),
        },
        this.#stop.signal,
      )
      .catch(error => {
        this.failure = error;
      });
  }

  /** Time goes on, and what is on the way arrives. */
  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms);
    for (let i = 0; i < 8; i++) {
      await turn();
    }
  }

  async ended(): Promise<void> {
    await this.#run;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#run;
    await Promise.all(this.#runs);
    assert.equal(this.machine.sockets, 0, 'a socket was left open');
    assert.equal(this.clock.waiting, 0, 'a timer was left');
  }

  #attach(peer: Interface): void {
    assert.ok(!this.peers.has(peer.name), `${peer.name} was found twice`);
    this.peers.set(peer.name, peer);
    const run = peer
      .run(
        {
          ready: () => void this.up.add(peer.name),
          receive: packet => {
            this.received.push({ peer: peer.name, packet });
            return this.hold;
          },
          attach() {},
        },
        this.#stop.signal,
      )
      .catch(error => void this.ends.push(error.message))
      .finally(() => {
        this.peers.delete(peer.name);
        this.#runs.delete(run);
      });
    this.#runs.add(run);
  }
}

describe('a LAN', () => {
  test('announces itself to the group at once and every 1.6 s', async () => {
    await using scene = await Scene.up();
    const other = await stranger(scene.link, 'fe80::2');
    await scene.pass(16_000);
    assert.equal(other.heard.group.length, 10);
    assert.deepEqual(other.heard.group[0], tokenOf('reticulum', 'fe80::1'));
  });

  test('takes whoever says its token as a peer, and tells it at once that we are here', async () => {
    await using scene = await Scene.up();
    const other = await stranger(scene.link, 'fe80::2');
    await other.announce();
    await scene.pass(10);
    assert.deepEqual([...scene.peers.keys()], ['lan/e0/fe80::2']);
    assert.deepEqual(other.heard.alone, [tokenOf('reticulum', 'fe80::1')]);
    const peer = scene.peers.get('lan/e0/fe80::2')!;
    assert.equal(peer.mtu, 1196);
    await other.tell('fe80::1');
    await scene.pass(10);
    await peer.send(packetOf(100));
    await other.send('fe80::1', packetOf(200));
    await scene.pass(10);
    assert.deepEqual(other.heard.packets, [packetOf(100)]);
    assert.deepEqual(scene.received, [{ peer: 'lan/e0/fe80::2', packet: packetOf(200) }]);
    assert.deepEqual(scene.counters.snapshot(), {});
  });

  test('sends to a peer once that knows us: it says so to us alone, it sends, or 5 s have passed', async () => {
    await using scene = await Scene.up();
    const [told, spoke, silent] = await Promise.all(
      ['fe80::a', 'fe80::b', 'fe80::c'].map(address => stranger(scene.link, address)),
    );
    const up = () => [...scene.up].map(name => name.at(-1)).sort();
    for (const one of [told!, spoke!, silent!]) {
      await one.announce();
    }
    await scene.pass(10);
    assert.equal(scene.peers.size, 3);
    assert.deepEqual(up(), []);
    await assert.rejects(scene.peers.get('lan/e0/fe80::a')!.send(packetOf(20)), { code: 'radio/offline' });
    await told!.tell('fe80::1');
    await spoke!.send('fe80::1', packetOf(40));
    await scene.pass(10);
    assert.deepEqual(up(), ['a', 'b']);
    assert.equal(scene.received.length, 1);
    await scene.pass(4000);
    assert.deepEqual(up(), ['a', 'b']);
    await scene.pass(3000);
    assert.deepEqual(up(), ['a', 'b', 'c']);
    for (const address of ['a', 'b', 'c']) {
      await scene.peers.get(`lan/e0/fe80::${address}`)!.send(packetOf(20));
    }
  });

  test('takes a peer that does not hear the group, and tells it again every 5.2 s', async () => {
    await using scene = await Scene.up();
    const other = await stranger(scene.link, 'fe80::2');
    scene.link.dropsMulticast = true;
    await other.tell('fe80::1');
    await scene.pass(20_000);
    assert.equal(scene.peers.size, 1);
    assert.equal(other.heard.group.length, 0);
    assert.equal(other.heard.alone.length, 1 + 3);
  });

  test('gives up a peer after 22 s without a word, and takes it again', async () => {
    await using scene = await Scene.up();
    const other = await stranger(scene.link, 'fe80::2');
    await other.announce();
    await scene.pass(20_000);
    await other.send('fe80::1', packetOf(30));
    await scene.pass(20_000);
    assert.equal(scene.peers.size, 1);
    await scene.pass(4000);
    assert.equal(scene.peers.size, 0);
    assert.deepEqual(scene.ends, ['lan/e0/fe80::2 was silent for 22 s']);
    await other.announce();
    await scene.pass(10);
    assert.equal(scene.peers.size, 1);
  });

  test('takes nobody with the token of another group or another address, and counts them', async () => {
    await using scene = await Scene.up();
    const other = await stranger(scene.link, 'fe80::2');
    const abroad = await stranger(scene.link, '2001:db8::2');
    await other.announce(tokenOf('another', 'fe80::2'));
    await other.tell('fe80::1', tokenOf('reticulum', 'fe80::3'));
    await other.announce(tokenOf('reticulum', 'fe80::2').subarray(0, 31));
    await abroad.announce();
    await other.send('fe80::1', packetOf(100));
    await scene.pass(10);
    assert.equal(scene.peers.size, 0);
    assert.deepEqual(scene.counters.snapshot(), {
      'radio/not-link-local': 1,
      'radio/unknown-peer': 1,
      'radio/wrong-token': 2,
      'wire/truncated': 1,
    });
    await other.announce(new Uint8Array([...tokenOf('reticulum', 'fe80::2'), 1, 2, 3]));
    await scene.pass(10);
    assert.equal(scene.peers.size, 1, 'what follows a token is left alone');
  });

  test('takes the longest packet with its access code', async () => {
    await using scene = await Scene.up({ codeSize: 16 });
    const other = await stranger(scene.link, 'fe80::2');
    await other.announce();
    await scene.pass(10);
    for (const length of [1212, 1213]) {
      await other.send('fe80::1', packetOf(length));
    }
    await scene.pass(10);
    assert.deepEqual(
      scene.received.map(({ packet }) => packet.length),
      [1212],
    );
  });

  test('drops what is too short or too long for a packet, and counts it', async () => {
    await using scene = await Scene.up();
    const other = await stranger(scene.link, 'fe80::2');
    await other.announce();
    await scene.pass(10);
    for (const length of [0, 19, 1197, 9000]) {
      await other.send('fe80::1', packetOf(length));
    }
    await other.send('fe80::1', packetOf(1196));
    await scene.pass(10);
    assert.deepEqual(
      scene.received.map(({ packet }) => packet.length),
      [1196],
    );
    assert.deepEqual(scene.counters.snapshot(), { 'wire/malformed': 4 });
  });

  test('gives what comes from two places within 0.75 s once, and what one place repeats each time', async () => {
    await using scene = await Scene.up();
    const one = await stranger(scene.link, 'fe80::2');
    const two = await stranger(scene.link, 'fe80::3');
    await one.announce();
    await two.announce();
    await scene.pass(10);
    await one.send('fe80::1', packetOf(100));
    await one.send('fe80::1', packetOf(100));
    await two.send('fe80::1', packetOf(100));
    await scene.pass(10);
    assert.deepEqual(
      scene.received.map(({ peer }) => peer),
      ['lan/e0/fe80::2', 'lan/e0/fe80::2'],
    );
    assert.equal(scene.counters.get('radio/heard-twice'), 1);
    await scene.pass(1000);
    await two.send('fe80::1', packetOf(100));
    await scene.pass(10);
    assert.equal(scene.received.length, 3);
  });

  test('keeps what comes while the mesh is busy, up to a bound, and counts the rest', async () => {
    await using scene = await Scene.up();
    const other = await stranger(scene.link, 'fe80::2');
    await other.announce();
    await scene.pass(10);
    const busy = Promise.withResolvers<void>();
    scene.hold = busy.promise;
    for (let i = 0; i < 300; i++) {
      await other.send('fe80::1', packetOf(500));
    }
    await scene.pass(10);
    assert.equal(scene.received.length, 1);
    assert.equal(scene.counters.get('radio/intake-full'), 300 - 257);
    scene.hold = undefined;
    busy.resolve();
    await until(() => scene.received.length === 257);
  });
});

test('any datagrams from anybody leave a LAN as it is, and each that is not taken is counted', async () => {
  await using scene = await Scene.up({ maxPeers: 4 });
  const random = seededRandom(9);
  const pick = (below: number) => Math.floor(random.fraction() * below);
  const strangers = await Promise.all(
    Array.from({ length: 8 }, (_, i) => stranger(scene.link, i === 0 ? 'fec0::1' : `fe80::${i + 1}`)),
  );
  for (let round = 0; round < 40; round++) {
    for (let i = 0; i < 50; i++) {
      const one = strangers[pick(strangers.length)]!;
      const own = tokenOf('reticulum', one.address);
      const bytes = [own, own.subarray(0, pick(33)), random.bytes(pick(2000)), random.bytes(32)][pick(4)]!;
      await [one.announce(bytes), one.tell('fe80::1', bytes), one.send('fe80::1', bytes)][pick(3)];
    }
    await scene.pass(pick(3000));
    assert.ok(scene.peers.size <= 4);
  }
  assert.equal(scene.failure, undefined);
  assert.ok(scene.received.every(({ packet }) => packet.length >= 20 && packet.length <= 1196));
  const counted = Object.keys(scene.counters.snapshot());
  for (const name of ['wire/truncated', 'wire/malformed', 'radio/wrong-token', 'radio/not-link-local']) {
    assert.ok(counted.includes(name), `${name} is not among ${counted}`);
  }
});

describe('the peers of a LAN', () => {
  test('are no more than they may be: who never sent a packet gives way, who did stays', async () => {
    await using scene = await Scene.up({ maxPeers: 2 });
    const [one, two, three, four] = await Promise.all(
      ['fe80::a', 'fe80::b', 'fe80::c', 'fe80::d'].map(address => stranger(scene.link, address)),
    );
    await one!.announce();
    await two!.announce();
    await scene.pass(10);
    await one!.send('fe80::1', packetOf(20));
    await scene.pass(10);
    await three!.announce();
    await scene.pass(10);
    assert.deepEqual([...scene.peers.keys()], ['lan/e0/fe80::a', 'lan/e0/fe80::c']);
    assert.equal(scene.counters.get('radio/silent-peer-gave-way'), 1);
    await three!.send('fe80::1', packetOf(20));
    await scene.pass(10);
    await four!.announce();
    await scene.pass(10);
    assert.deepEqual([...scene.peers.keys()], ['lan/e0/fe80::a', 'lan/e0/fe80::c']);
    assert.equal(scene.counters.get('radio/too-many-peers'), 1);
  });

  test('that come in a flood are taken 64 at a time', async () => {
    await using scene = await Scene.up({ maxPeers: 1000 });
    for (let i = 0; i < 200; i++) {
      await (await stranger(scene.link, `fe80::${(4096 + i).toString(16)}`)).announce();
    }
    await scene.pass(10);
    assert.equal(scene.peers.size, 64);
    assert.equal(scene.counters.get('radio/too-many-new-peers'), 200 - 64);
  });

  test('are two where a node is met on two networks, and one goes on when the other breaks', async () => {
    await using scene = await Scene.up();
    const second = new SimLink();
    scene.machine.plug('e1', second, 'fe80::1:1');
    await scene.pass(2000);
    const here = await stranger(scene.link, 'fe80::2');
    const there = await stranger(second, 'fe80::2');
    await here.announce();
    await there.announce();
    await scene.pass(10);
    assert.deepEqual([...scene.peers.keys()].sort(), ['lan/e0/fe80::2', 'lan/e1/fe80::2']);
    scene.machine.unplug('e0');
    await scene.pass(1600);
    assert.deepEqual([...scene.peers.keys()], ['lan/e1/fe80::2']);
    assert.deepEqual(scene.ends, ['e0 is gone, or has another address']);
    await there.tell('fe80::1:1');
    await scene.pass(10);
    await scene.peers.get('lan/e1/fe80::2')!.send(packetOf(50));
    await scene.pass(10);
    assert.equal(there.heard.packets.length, 1);
  });
});

describe('the adapters of a LAN', () => {
  test('may come, change their address and go while it runs', async () => {
    await using scene = await Scene.up();
    scene.machine.plug('e1', new SimLink(), 'fe80::e1');
    await scene.pass(1600);
    assert.equal(scene.machine.sockets, 6);
    scene.machine.plug('e1', new SimLink(), 'fe80::e2');
    await scene.pass(1600);
    assert.deepEqual(
      scene.lan.view?.adapters.map(({ adapter, address, state }) => [adapter, address, state]),
      [
        ['e0', 'fe80::1', 'used'],
        ['e1', 'fe80::e2', 'used'],
      ],
    );
    scene.machine.unplug('e1');
    await scene.pass(1600);
    assert.equal(scene.machine.sockets, 3);
  });

  test('are offline with the reason when none is left', async () => {
    await using scene = await Scene.up({ ignore: ['docker*'] });
    const other = await stranger(scene.link, 'fe80::2');
    await other.announce();
    await scene.pass(10);
    const peer = scene.peers.get('lan/e0/fe80::2')!;
    scene.machine.unplug('e0');
    scene.machine.others.docker0 = [{ address: 'fe80::d', family: 'IPv6', internal: false, scopeid: 9 }];
    scene.machine.others.e1 = [{ address: '192.0.2.1', family: 'IPv4', internal: false }];
    scene.machine.others.lo = [{ address: '::1', family: 'IPv6', internal: true, scopeid: 0 }];
    await scene.pass(1600);
    await scene.ended();
    assert.ok(isGatewayError(scene.failure, 'radio/offline') && scene.failure.retryable);
    assert.equal(
      scene.failure.message,
      'no network adapter to use: docker0 is to be ignored; e1 has no link-local IPv6 address',
    );
    assert.equal(scene.peers.size, 0);
    await assert.rejects(peer.send(packetOf(20)), { code: 'radio/offline' });
    assert.equal(scene.machine.sockets, 0);
    scene.machine.plug('e0', scene.link, 'fe80::1');
    scene.start();
    await scene.pass(10);
    await other.announce();
    await scene.pass(10);
    assert.equal(scene.ready, 2);
    assert.equal(scene.peers.size, 1);
  });

  test('are passed over with the reason while another program has the port, and taken when it is free', async () => {
    await using scene = await Scene.up();
    scene.machine.plug('e1', scene.link, 'fe80::e1');
    const other = await scene.machine.open({
      address: 'fe80::e1%e1',
      port: 42_671,
      receive() {},
      failed() {},
    });
    await scene.pass(3200);
    assert.deepEqual(scene.lan.view?.adapters[1], {
      adapter: 'e1',
      state: 'failed',
      reason: 'UDP port 42671: the port is in use by another program',
    });
    assert.equal(scene.counters.get('radio/adapter-failed'), 2);
    assert.equal(scene.machine.sockets, 4, 'what was opened of it is closed');
    await other.close();
    await scene.pass(1600);
    assert.equal(scene.lan.view?.adapters[1]?.state, 'used');
  });

  test('are opened anew when a socket breaks', async () => {
    await using scene = await Scene.up();
    const other = await stranger(scene.link, 'fe80::2');
    await other.announce();
    await scene.pass(10);
    scene.machine.breakSockets('e0');
    assert.deepEqual(scene.lan.view?.adapters, [{ adapter: 'e0', state: 'failed', reason: 'broken' }]);
    await scene.pass(1600);
    assert.deepEqual(scene.ends, ['e0 broken']);
    assert.equal(scene.lan.view?.adapters[0]?.state, 'used');
    await other.announce();
    await scene.pass(10);
    assert.equal(scene.peers.size, 1);
  });

  test('are said to be deaf while nothing comes back from the group', async () => {
    await using scene = await Scene.up();
    scene.link.dropsMulticast = true;
    await scene.pass(6500);
    assert.equal(scene.lan.view?.adapters[0]?.state, 'used');
    await scene.pass(1600);
    assert.equal(scene.lan.view?.adapters[0]?.state, 'deaf');
    assert.match(scene.lan.view?.adapters[0]?.reason ?? '', /firewall/);
    scene.link.dropsMulticast = false;
    await scene.pass(1600);
    assert.equal(scene.lan.view?.adapters[0]?.state, 'used');
    assert.equal(scene.counters.get('radio/deaf-adapter'), 1);
  });

  test('join the group again where the kernel forgot that they had', async () => {
    await using scene = await Scene.up();
    scene.machine.forgetGroups();
    const other = await stranger(scene.link, 'fe80::2');
    await other.announce();
    await scene.pass(10);
    assert.equal(scene.peers.size, 0);
    await scene.pass(8100);
    await other.announce();
    await scene.pass(10);
    assert.equal(scene.peers.size, 1);
  });

  for (const seed of [1, 2, 3]) {
    test(`may be unplugged and plugged in 30 times at any moment (seed ${seed})`, async () => {
      await using scene = await Scene.up();
      const random = seededRandom(seed);
      const other = await stranger(scene.link, 'fe80::2', true);
      for (let i = 0; i < 30; i++) {
        await scene.pass(Math.floor(random.fraction() * 4000));
        const peer = scene.peers.get('lan/e0/fe80::2');
        const sending = peer?.send(packetOf(100)).catch(error => assert.equal(error.code, 'radio/offline'));
        scene.machine.unplug('e0');
        await sending;
        for (let left = Math.floor(random.fraction() * 5); left > 0; left--) {
          await turn();
        }
        await scene.pass(Math.floor(random.fraction() * 4000));
        scene.machine.plug('e0', scene.link, random.fraction() < 0.5 ? 'fe80::1' : `fe80::1:${i + 1}`);
        if (scene.failure !== undefined) {
          assert.ok(isGatewayError(scene.failure, 'radio/offline'), String(scene.failure));
          scene.start();
        }
      }
      if (scene.failure !== undefined) {
        scene.start();
      }
      await scene.pass(5000);
      if (scene.failure !== undefined) {
        scene.start();
        await scene.pass(5000);
      }
      assert.equal(scene.peers.size, 1);
      assert.equal(scene.machine.sockets, 3);
      const before = other.heard.packets.length;
      await [...scene.peers.values()][0]!.send(packetOf(100));
      await scene.pass(10);
      assert.equal(other.heard.packets.length, before + 1);
    });
  }
});
