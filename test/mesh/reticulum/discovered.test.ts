import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { concat, toHex } from '../../../src/lib/bytes.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { decode, encode, type MsgpackValue } from '../../../src/lib/msgpack.ts';
import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { Discovered, discoveredOfOne } from '../../../src/mesh/reticulum/discovered.ts';
import {
  DiscoveryListener,
  type DiscoveryListenerParts,
} from '../../../src/mesh/reticulum/discovery-listener.ts';
import { publishInterfaces } from '../../../src/mesh/reticulum/discovery-publisher.ts';
import {
  discoveryRounds,
  encodeDiscovery,
  encodeNotice,
  type InterfaceNotice,
} from '../../../src/mesh/reticulum/discovery-wire.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import type { Announced } from '../../../src/mesh/reticulum/lessons.ts';
import { sha256 } from '../../../src/mesh/reticulum/packet.ts';
import { stampValue, workBlock } from '../../../src/mesh/reticulum/stamp.ts';
import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';
import { neighbours, settled, TestNode } from './air.ts';
import { MemoryStorage } from './memory-storage.ts';

const hour = 3_600_000;
const cost = 6;
const notice = (name: string, transportId: Uint8Array = new Uint8Array(16).fill(7)): InterfaceNotice => ({
  type: 'BackboneInterface',
  transport: true,
  transportId,
  implementation: 'kOS',
  version: '0.1.0',
  name,
  reachableOn: 'elm.example',
  port: 4242,
});

function stamped(facts: Uint8Array, least: number): Uint8Array {
  const block = workBlock(sha256(facts), discoveryRounds);
  const random = seededRandom(3);
  for (;;) {
    const stamp = random.bytes(32);
    const value = stampValue(block, stamp);
    if (least === 0 ? value === 0 : value >= least) {
      return concat(facts, stamp);
    }
  }
}

function tableOf(clock: ManualClock, storage = new MemoryStorage(), capacity?: number) {
  const counters = new Counters();
  const more = capacity === undefined ? {} : { capacity };
  return { counters, table: new Discovered({ clock, log: silentLog, counters, storage, ...more }), storage };
}

const heard = (name: string, networkId: Uint8Array = new Uint8Array(16)) => ({
  notice: notice(name),
  facts: encodeNotice(notice(name)),
  networkId,
  value: 16,
  hops: 2,
});

describe('the discovered interfaces', () => {
  test('age, and are forgotten after a week without an announce', async () => {
    const clock = new ManualClock();
    const { table } = tableOf(clock);
    const entry = table.take(heard('elm'));
    assert.equal(table.statusOf(entry), 'available');
    await clock.advance(25 * hour);
    assert.equal(table.statusOf(entry), 'unknown');
    await clock.advance(48 * hour);
    assert.equal(table.statusOf(entry), 'stale');
    assert.equal(table.take(heard('elm')).heardCount, 1);
    assert.equal(table.values().length, 1);
    await clock.advance(169 * hour);
    assert.deepEqual(table.values(), []);
  });

  test('come back with a restart, and what cannot be read is forgotten', async () => {
    const clock = new ManualClock();
    const { table, storage } = tableOf(clock);
    table.take(heard('elm'));
    await table.flush();
    await storage.save('discovered', 'ab'.repeat(32), Uint8Array.of(0x90));
    const again = tableOf(clock, storage);
    const told = (one: Discovered) =>
      one.values().map(({ notice: { name, port }, ...rest }) => ({ ...rest, name, port }));
    assert.deepEqual(told(again.table), told(table));
    assert.equal(again.counters.get('wire/malformed'), 1);
  });

  test('are bounded in all and of one identity; what was heard often outlasts what is new', async () => {
    const clock = new ManualClock();
    const { table } = tableOf(clock, new MemoryStorage(), 80);
    table.take(heard('elm'));
    table.take(heard('elm'));
    const flooder = new Uint8Array(16).fill(1);
    for (let at = 0; at < 100; at++) {
      await clock.advance(1);
      table.take(heard(`flood ${at}`, flooder));
    }
    assert.equal(table.size, discoveredOfOne + 1);
    for (let at = 0; at < 100; at++) {
      await clock.advance(1);
      table.take(heard(`crowd ${at}`, new Uint8Array(16).fill(at + 10)));
    }
    assert.equal(table.size, 80);
    assert.ok(table.values().some(one => one.notice.name === 'elm'));
    assert.ok(table.values().some(one => one.notice.name === 'crowd 99'));
  });
});

/** b listens, a announces what it is given. */
function listening(options: Pick<DiscoveryListenerParts, 'networkIdentity' | 'sources' | 'onKindless'> = {}) {
  const { a, b, clock } = neighbours();
  const discovered = new Discovered({ ...b, log: silentLog });
  const { transport, counters, blackhole } = b;
  const parts = { clock, log: silentLog, counters, transport, blackhole, discovered, cost, ...options };
  const listener = new DiscoveryListener(parts);
  const identity = generateIdentity(a.random);
  const destination = new LocalDestination({
    identity,
    appName: 'rnstransport',
    aspects: ['discovery', 'interface'],
  });
  a.transport.register(destination);
  const announce = async (appData: Uint8Array) => {
    await a.transport.announce(destination, { appData });
    await settled();
  };
  return { a, b, clock, discovered, listener, identity, announce };
}

describe('announces of interfaces', () => {
  test('are kept where their stamp shows the work, and counted where not', async () => {
    const { b, discovered, announce, identity } = listening();
    const facts = encodeNotice(notice('elm'));
    const cheap = encodeDiscovery(stamped(facts, 0), false);
    await announce(cheap);
    await announce(cheap);
    assert.equal(b.counters.get('discovery/stamp-too-cheap'), 2);
    await announce(encodeDiscovery(stamped(facts, cost), false));
    const [entry] = discovered.values();
    assert.equal(entry?.notice.name, 'elm');
    assert.deepEqual([entry.networkId, entry.hops], [identity.hash, 1]);
    assert.ok(entry.value >= cost);
    await announce(encodeDiscovery(stamped(Uint8Array.of(0x90), cost), false));
    await announce(new Uint8Array(20));
    assert.equal(b.counters.get('discovery/malformed'), 2);
  });

  test('that say nothing of their kind are told of, and not kept', async () => {
    const kindless: Uint8Array[] = [];
    const { b, discovered, announce, identity } = listening({ onKindless: id => void kindless.push(id) });
    const facts = decode(encodeNotice(notice('elm')), { maxDepth: 3 }) as Map<MsgpackValue, MsgpackValue>;
    facts.delete(0x00);
    await announce(encodeDiscovery(stamped(encode(facts), cost), false));
    assert.deepEqual(kindless, [identity.hash]);
    assert.deepEqual([discovered.size, b.counters.get('discovery/kindless')], [0, 1]);
    facts.set(0x00, 'ToasterInterface');
    await announce(encodeDiscovery(stamped(encode(facts), cost), false));
    assert.deepEqual([kindless.length, b.counters.get('discovery/malformed')], [1, 1]);
  });

  test('are checked at a rate for each interface, which a flood over one does not take from another', () => {
    const clock = new ManualClock();
    const { table, counters } = tableOf(clock);
    let tell = (_: Announced) => {};
    const listener = new DiscoveryListener({
      clock,
      log: silentLog,
      counters,
      discovered: table,
      blackhole: { has: () => false },
      transport: {
        identity: generateIdentity(seededRandom(30)),
        onAnnounce(listen) {
          tell = listen;
          return () => {};
        },
      },
    });
    const { public: identity } = generateIdentity(seededRandom(31));
    const say = (name: string, interfaceName: string) =>
      tell({
        identity,
        appData: encodeDiscovery(concat(encodeNotice(notice(name)), new Uint8Array(32)), false),
        interfaceName,
      } as unknown as Announced);
    for (let at = 0; at < 100; at++) {
      say(`flood ${at}`, `server/192.0.2.1:${at}`);
    }
    assert.equal(counters.get('discovery/too-many'), 60);
    say('elm', 'radio');
    assert.equal(counters.get('discovery/too-many'), 60);
    assert.equal(counters.get('discovery/stamp-too-cheap'), 41);
    listener.close();
  });

  test('that are sealed are read by those who have the network identity', async () => {
    const networkIdentity = generateIdentity(seededRandom(21));
    const payload = stamped(encodeNotice(notice('elm')), cost);
    const sealed = encodeDiscovery(networkIdentity.public.encrypt(payload, seededRandom(22)), true);
    const inside = listening({ networkIdentity });
    await inside.announce(sealed);
    assert.equal(inside.discovered.size, 1);
    const outside = listening();
    await outside.announce(sealed);
    assert.equal(outside.b.counters.get('discovery/sealed-for-others'), 1);
    const stranger = listening({ networkIdentity: generateIdentity(seededRandom(23)) });
    await stranger.announce(sealed);
    assert.equal(stranger.b.counters.get('discovery/malformed'), 1);
  });

  test('are left where they are our own, blackholed, or of nobody we believe', async () => {
    const own = listening();
    const ownNotice = notice('elm', own.b.transport.identity.hash);
    await own.announce(encodeDiscovery(stamped(encodeNotice(ownNotice), cost), false));
    await own.b.blackhole.add(new Uint8Array(16).fill(7));
    await own.announce(encodeDiscovery(stamped(encodeNotice(notice('elm')), cost), false));
    const believing = listening({ sources: new Set(['00'.repeat(16)]) });
    await believing.announce(encodeDiscovery(stamped(encodeNotice(notice('elm')), cost), false));
    assert.deepEqual([own.discovered.size, believing.discovered.size], [0, 0]);
    assert.equal(own.b.counters.get('discovery/not-wanted'), 2);
  });

  test('that come in a flood cost no more checks than ten a second', async () => {
    const { b, announce, clock } = listening();
    for (let at = 0; at < 60; at++) {
      await announce(encodeDiscovery(stamped(encodeNotice(notice(`elm ${at}`)), 0), false));
      await clock.advance(1);
    }
    assert.equal(b.counters.get('discovery/stamp-too-cheap'), 40);
    assert.equal(b.counters.get('discovery/too-many'), 20);
  });
});

describe('interfaces of ours', () => {
  const publish = (
    node: TestNode,
    published: Parameters<typeof publishInterfaces>[0]['published'],
    more = {},
  ) => {
    const stop = new AbortController();
    const parts = { ...node, random: node.random, log: silentLog, published, ...more };
    return { stop, running: publishInterfaces(parts, stop.signal) };
  };

  test('are no reason to wait for an interface where everything ends already', async () => {
    const node = new TestNode({ clock: new ManualClock() });
    const parts = { ...node, random: node.random, log: silentLog, published: () => [] };
    await publishInterfaces(parts, AbortSignal.abort());
  });

  test('are announced with their stamp, one a minute, each again at its time', async () => {
    const { a, b, clock, discovered } = listening();
    const published = ['north', 'south'].map(name => ({
      name,
      interval: 6 * hour,
      cost,
      sealed: false,
      notice: () => notice(name, a.transport.identity.hash),
    }));
    const { stop, running } = publish(a, () => published);
    await clock.advance(11_000);
    assert.deepEqual(
      discovered.values().map(one => one.notice.name),
      ['north'],
    );
    await clock.advance(60_000);
    assert.equal(discovered.size, 2);
    await clock.advance(6 * hour);
    assert.deepEqual(
      discovered.values().map(one => one.heardCount),
      [1, 1],
    );
    assert.equal(b.counters.get('crypto/bad-signature'), 0);
    stop.abort();
    await running;
  });

  test('of a group are announced under its identity, and heard by others of it', async () => {
    const networkIdentity = generateIdentity(seededRandom(31));
    const { a, b, clock, discovered } = listening({ networkIdentity });
    const of = (node: TestNode, name: string) => () => [
      { name, interval: hour, cost, sealed: true, notice: () => notice(name, node.transport.identity.hash) },
    ];
    const theirs = publish(a, of(a, 'theirs'), { networkIdentity });
    const ours = publish(b, of(b, 'ours'), { networkIdentity });
    await clock.advance(20_000);
    await clock.advance(hour);
    assert.deepEqual(
      discovered.values().map(one => [one.notice.name, toHex(one.networkId)]),
      [['theirs', toHex(networkIdentity.hash)]],
    );
    for (const { stop, running } of [theirs, ours]) {
      stop.abort();
      await running;
    }
  });

  test('that have too much to say are not announced, and that is logged', async () => {
    const { a, clock, discovered } = listening();
    const long = { ...notice('elm'), passphrase: 'x'.repeat(250) };
    const { stop, running } = publish(a, () => [
      { name: 'long', interval: hour, cost, sealed: false, notice: () => long },
      { name: 'down', interval: hour, cost, sealed: false, notice: () => undefined },
    ]);
    await clock.advance(200_000);
    assert.equal(discovered.size, 0);
    stop.abort();
    await running;
  });
});
