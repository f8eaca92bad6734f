import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Counters } from '../../../src/lib/counters.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { generateIdentity, type PublicIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { type InboundLink, InboundRoom, type LinkLimits } from '../../../src/mesh/reticulum/link-room.ts';
import { seededRandom } from '../../sim/random.ts';

interface FakeLink extends InboundLink {
  readonly iface: { readonly name: string };
  remote: PublicIdentity | undefined;
  usedAt: number;
  ended: 'closed' | 'lost' | undefined;
}

/** A room, and links in it that end when they are told to. */
class Scene {
  readonly counters = new Counters();
  readonly room: InboundRoom<FakeLink>;
  readonly requested = new Set<FakeLink>();
  readonly established = new Set<FakeLink>();

  constructor(limits: LinkLimits) {
    this.room = new InboundRoom(limits, this.counters);
  }

  /** Undefined where it is refused. */
  request(name: string, now: number): FakeLink | undefined {
    try {
      this.room.makeWay(name, now);
    } catch (error) {
      assert.ok(isGatewayError(error, 'store/full'));
      return undefined;
    }
    const end = (ended: FakeLink['ended']) => {
      link.ended = ended;
      this.requested.delete(link);
      this.established.delete(link);
      this.room.delete(link);
    };
    const link: FakeLink = {
      iface: { name },
      remote: undefined,
      usedAt: now,
      ended: undefined,
      close: () => end('closed'),
      lost: () => end('lost'),
    };
    this.room.requested(link);
    this.requested.add(link);
    return link;
  }

  establish(link: FakeLink, now: number): boolean {
    link.usedAt = now;
    this.requested.delete(link);
    if (!this.room.established(link, now)) {
      link.close();
      return false;
    }
    this.established.add(link);
    return true;
  }

  open(name: string, now: number, remote?: PublicIdentity): FakeLink | undefined {
    const link = this.request(name, now);
    if (link === undefined || !this.establish(link, now)) {
      return undefined;
    }
    link.remote = remote;
    return link;
  }

  count(name: string): number {
    return [...this.established].filter(({ iface }) => iface.name === name).length;
  }
}

const limits = { inbound: 8, handshakes: 6, handshakesPerInterface: 4 };
const random = seededRandom(5);
const people = Array.from({ length: 8 }, () => generateIdentity(random).public);

describe('the room for links from outside', () => {
  test('a flood of requests over one interface costs the handshakes of no other', () => {
    const scene = new Scene(limits);
    const calm = scene.request('calm', 0)!;
    for (let i = 0; i < 100; i++) {
      scene.request('flood', i);
    }
    assert.equal(calm.ended, undefined);
    assert.equal(scene.requested.size, 5);
    assert.equal(scene.counters.get('link/handshake-gave-way'), 96);
    assert.ok(scene.establish(calm, 200));
  });

  test('where handshakes are too many in all, those of the interface with most give way', () => {
    const scene = new Scene(limits);
    for (let i = 0; i < 4; i++) {
      scene.request('flood', i);
    }
    const calm = [scene.request('one', 5), scene.request('two', 6), scene.request('three', 7)];
    assert.deepEqual(
      calm.map(link => link?.ended),
      [undefined, undefined, undefined],
    );
    assert.equal([...scene.requested].filter(({ iface }) => iface.name === 'flood').length, 3);
  });

  test('a request that is never established pushes out no link', () => {
    const scene = new Scene(limits);
    const links = Array.from({ length: 8 }, (_, i) => scene.open('lan', i));
    for (let i = 0; i < 50; i++) {
      scene.request('flood', 100_000 + i);
    }
    assert.ok(links.every(link => link?.ended === undefined));
  });

  test('an interface that holds all links makes room for others, whatever it does with them', () => {
    const scene = new Scene(limits);
    for (let i = 0; i < 8; i++) {
      assert.ok(scene.open('greedy', i));
    }
    assert.equal(scene.open('greedy', 100), undefined, 'its own are all in use');
    for (let i = 0; i < 4; i++) {
      assert.ok(scene.open('calm', 200 + i));
    }
    assert.deepEqual([scene.count('greedy'), scene.count('calm')], [4, 4]);
    assert.equal(scene.open('calm', 300), undefined, 'half is its share');
    assert.equal(scene.open('greedy', 300), undefined);
    assert.equal(scene.counters.get('link/gave-way'), 4);
  });

  test('over one interface only what was not used for 30 s gives way, the one unused longest first', () => {
    const scene = new Scene(limits);
    const links = Array.from({ length: 8 }, (_, i) => scene.open('lan', i)!);
    links[0]!.usedAt = 20_000;
    assert.equal(scene.open('lan', 29_000), undefined);
    assert.ok(scene.open('lan', 40_000));
    assert.deepEqual(
      links.map(({ ended }) => ended),
      [undefined, 'closed', undefined, undefined, undefined, undefined, undefined, undefined],
    );
  });

  test('a link of an Identity stays longer than one of nobody, or of an Identity with many', () => {
    const scene = new Scene(limits);
    const alone = scene.open('lan', 0, people[0])!;
    const many = Array.from({ length: 5 }, (_, i) => scene.open('lan', 10 + i, people[1])!);
    const nobody = Array.from({ length: 2 }, (_, i) => scene.open('lan', 20 + i)!);
    // Who claims many Identities at once is somebody different each time: no more can be told.
    for (let i = 0; i < 3; i++) {
      assert.ok(scene.open('lan', 100_000 + i, people[2 + i]));
    }
    assert.equal(alone.ended, undefined);
    assert.equal(
      many.filter(({ ended }) => ended !== undefined).length,
      1,
      'until it has only as many as one may',
    );
    assert.ok(nobody.every(({ ended }) => ended === 'closed'));
  });

  test('whatever comes, the bounds hold, and who has less than the largest share gets in', () => {
    const step = fc.record({
      act: fc.constantFrom('request', 'establish', 'use', 'identify', 'end', 'wait'),
      name: fc.constantFrom('a', 'b', 'c', 'd'),
      pick: fc.nat(100),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), steps => {
        const scene = new Scene(limits);
        let now = 0;
        for (const { act, name, pick } of steps) {
          now += 1;
          const picked = [...scene.established][pick % Math.max(1, scene.established.size)];
          if (act === 'wait') {
            now += 40_000;
          } else if (act === 'request') {
            scene.request(name, now);
          } else if (act === 'establish') {
            const waiting = [...scene.requested].find(({ iface }) => iface.name === name);
            const most = Math.max(...['a', 'b', 'c', 'd'].map(one => scene.count(one)));
            const behind = scene.count(name) + 1 < most;
            if (waiting !== undefined && !scene.establish(waiting, now)) {
              assert.ok(!behind, `${name} was refused though it has less than others`);
            }
          } else if (act === 'use' && picked !== undefined) {
            picked.usedAt = now;
          } else if (act === 'identify' && picked !== undefined) {
            picked.remote ??= people[pick % people.length];
          } else if (act === 'end') {
            picked?.close();
          }
          assert.ok(scene.established.size <= limits.inbound);
          assert.ok(scene.requested.size <= limits.handshakes);
          for (const one of ['a', 'b', 'c', 'd']) {
            const half = [...scene.requested].filter(({ iface }) => iface.name === one).length;
            assert.ok(half <= limits.handshakesPerInterface);
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});
