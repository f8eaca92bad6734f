import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../../src/lib/bytes.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { encode } from '../../../src/lib/msgpack.ts';
import { Blackhole } from '../../../src/mesh/reticulum/blackhole.ts';
import {
  type Blackholed,
  blackholedMost,
  decodeBlackholeList,
  encodeBlackholeList,
  readBlackholeList,
} from '../../../src/mesh/reticulum/blackhole-wire.ts';
import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';
import { Air, neighbours, settled, TestNode } from './air.ts';
import { MemoryStorage } from './memory-storage.ts';

const own = new Uint8Array(16).fill(1);
const friend = new Uint8Array(16).fill(2);
const other = new Uint8Array(16).fill(3);
const bad = new Uint8Array(16).fill(0xba);
const worse = new Uint8Array(16).fill(0xbb);

const entry = (identityHash: Uint8Array, more: Partial<Blackholed> = {}): Blackholed => ({
  identityHash,
  origin: friend,
  until: undefined,
  reason: undefined,
  ...more,
});

function open(storage = new MemoryStorage(), sources = [friend], configured: Uint8Array[] = []) {
  const clock = new ManualClock();
  const counters = new Counters();
  const blackhole = new Blackhole({ clock, log: silentLog, counters, storage, own, sources, configured });
  return { clock, storage, counters, blackhole };
}

describe('a blackhole list on the wire', () => {
  test('comes back as it was, times to the millisecond', () => {
    const hash = fc.uint8Array({ minLength: 16, maxLength: 16 });
    const one = fc.record({
      identityHash: hash,
      origin: hash,
      until: fc.option(fc.integer({ min: 0, max: 4e12 }), { nil: undefined }),
      reason: fc.option(fc.string({ minLength: 1, maxLength: 60 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.uniqueArray(one, { selector: e => toHex(e.identityHash), maxLength: 20 }), list => {
        const wellFormed = list.map(e => ({ ...e, reason: e.reason?.toWellFormed() }));
        assert.deepEqual(decodeBlackholeList(encodeBlackholeList(wellFormed), friend), wellFormed);
      }),
    );
  });

  test('is read or refused whatever the bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
        try {
          decodeBlackholeList(bytes, friend);
        } catch (error) {
          assert.ok(isGatewayError(error, 'wire/truncated', 'wire/malformed', 'wire/unsupported'));
        }
      }),
    );
  });

  test('keeps what it understands of entries that are odd, and ten thousand at most', () => {
    const odd = new Map<Uint8Array, unknown>([
      [bad, null],
      [new Uint8Array(4), new Map()],
      [
        worse,
        new Map<string, unknown>([
          ['until', 'soon'],
          ['reason', 'x'.repeat(1000)],
          ['source', 7],
        ]),
      ],
    ]);
    const read = readBlackholeList(odd as never, friend);
    assert.deepEqual(read, [entry(bad), entry(worse, { reason: 'x'.repeat(256) })]);
    const many = Array.from({ length: blackholedMost + 5 }, (_, at) => {
      const hash = new Uint8Array(16);
      new DataView(hash.buffer).setUint32(0, at);
      return entry(hash);
    });
    assert.equal(decodeBlackholeList(encodeBlackholeList(many), friend).length, blackholedMost);
    assert.throws(() => decodeBlackholeList(encode([1]), friend), /is a map/);
  });
});

describe('the blackhole', () => {
  test('is durable before it is told, and comes back with a restart', async () => {
    const { blackhole, storage } = open();
    assert.equal(await blackhole.add(bad, { reason: 'floods' }), true);
    assert.equal(await blackhole.add(bad, { reason: 'still floods' }), false);
    const again = open(storage).blackhole;
    assert.equal(again.get(bad)?.reason, 'still floods');
    assert.deepEqual(again.get(bad)?.source, own);
    storage.refuse = new Error('no disk');
    await assert.rejects(again.add(worse));
    assert.equal(again.has(worse), false);
  });

  test('lets go of what is over', async () => {
    const { blackhole, clock } = open();
    await blackhole.add(bad, { until: clock.now() + 1000 });
    assert.equal(blackhole.has(bad), true);
    await clock.advance(1000);
    assert.equal(blackhole.has(bad), false);
    assert.deepEqual(blackhole.entries(), []);
    await assert.rejects(async () => blackhole.add(bad, { until: clock.now() }), /a time to come/);
  });

  test('takes a source’s whole list in place of the one before, and nobody else’s', async () => {
    const { blackhole, storage } = open();
    await blackhole.replace(friend, [entry(bad), entry(worse)]);
    await blackhole.replace(friend, [entry(worse)]);
    await blackhole.replace(other, [entry(bad)]);
    assert.deepEqual(
      blackhole.entries().map(({ identityHash, source }) => [identityHash, source]),
      [[worse, friend]],
    );
    assert.equal(open(storage, []).blackhole.size, 0, 'a source that is not believed any more');
    await settled();
    assert.equal(open(storage).blackhole.size, 0, 'its list is forgotten');
  });

  test('believes nobody about ourselves, or about what we listed and lifted', async () => {
    const { blackhole } = open();
    await blackhole.replace(friend, [entry(own), entry(bad, { origin: own })]);
    assert.equal(blackhole.size, 0);
    await assert.rejects(async () => blackhole.add(own), /somebody else/);
  });

  test('keeps lifted what was lifted here, whatever a source says, until it is listed here again', async () => {
    const { blackhole, storage } = open();
    await blackhole.replace(friend, [entry(bad)]);
    assert.equal(await blackhole.remove(bad), true);
    await blackhole.replace(friend, [entry(bad)]);
    assert.equal(blackhole.has(bad), false);
    assert.equal(open(storage).blackhole.has(bad), false, 'after a restart too');
    assert.equal(await blackhole.remove(bad), false);
    await blackhole.add(bad);
    assert.equal(blackhole.has(bad), true);
  });

  test('does not lift what the configuration names', async () => {
    const { blackhole } = open(new MemoryStorage(), [], [bad]);
    assert.equal(blackhole.get(bad)?.configured, true);
    await assert.rejects(blackhole.remove(bad), /configuration/);
  });

  test('forgets a stored list that cannot be read, and counts it', async () => {
    const storage = new MemoryStorage();
    await storage.save('blackhole', toHex(own), Uint8Array.of(0xc1));
    const { blackhole, counters } = open(storage);
    assert.equal(blackhole.size, 0);
    assert.equal(counters.get('wire/malformed'), 1);
  });
});

describe('a blackholed identity', () => {
  test('is neither learnt nor passed on, and its paths are dropped', async () => {
    const clock = new ManualClock();
    const [near, far] = [new Air(), new Air()];
    const a = new TestNode({ clock });
    const b = new TestNode({ clock, forwards: true });
    const c = new TestNode({ clock });
    a.use(near.join('a'));
    b.use(near.join('b-near'));
    b.use(far.join('b-far'));
    c.use(far.join('c'));
    const { destination } = a.serve();
    await a.transport.announce(destination);
    await clock.advance(2000);
    assert.equal(c.announces.length, 1);
    await b.blackhole.add(a.transport.identity.hash);
    assert.equal(b.transport.path(destination.hash), undefined);
    await a.transport.announce(destination);
    await clock.advance(2000);
    assert.equal(b.transport.path(destination.hash), undefined);
    assert.equal(b.counters.get('announce/blackholed'), 1);
    assert.equal(c.announces.length, 1);
    await b.blackhole.remove(a.transport.identity.hash);
    await clock.advance(1000);
    await a.transport.announce(destination);
    await clock.advance(2000);
    assert.ok(b.transport.path(destination.hash));
  });

  test('has no paths after a restart', async () => {
    const { a, b, clock } = neighbours();
    const { destination } = a.serve();
    await a.transport.announce(destination);
    await settled();
    await b.transport.close();
    const list = encodeBlackholeList([entry(a.transport.identity.hash)]);
    await b.storage.save('blackhole', toHex(b.transport.identity.hash), list);
    const { storage } = b;
    const again = new TestNode({ clock, storage, identity: b.transport.identity });
    assert.deepEqual([...again.transport.paths()], []);
    assert.ok(again.transport.recall(destination.hash), 'what is known of it stays');
  });

  test('costs a node no signature to leave out', async () => {
    const { a, b } = neighbours();
    const random = seededRandom(5);
    const identity = generateIdentity(random);
    const destination = new LocalDestination({ identity, appName: 'app', aspects: ['x'] });
    a.transport.register(destination);
    await b.blackhole.add(identity.hash);
    await a.transport.announce(destination);
    await settled();
    assert.equal(b.counters.get('announce/blackholed'), 1);
    assert.equal(b.transport.recall(destination.hash), undefined);
  });
});
