import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../../src/lib/bytes.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../../src/mesh/reticulum/incoming-budget.ts';
import {
  accepted,
  keepaliveOf,
  type LinkEffect,
  type LinkInput,
  type LinkRole,
  type LinkState,
  requested,
  stepLink,
  wakeAt,
} from '../../../src/mesh/reticulum/link.ts';
import type { LinkPacket } from '../../../src/mesh/reticulum/link-packets.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import { Links } from '../../../src/mesh/reticulum/links.ts';
import { contexts, decodePacket } from '../../../src/mesh/reticulum/packet.ts';
import { neighbours } from './air.ts';
import { type Fate, fill, type Nodes, sound, twoNodes } from './link-nodes.ts';

function initiator(now = 0): LinkState {
  return requested(now, 1, 6000);
}

/** Steps through inputs; the state and what was to be done. */
function run(state: LinkState, ...inputs: readonly (readonly [LinkInput, number])[]) {
  const effects: LinkEffect[] = [];
  for (const [input, now] of inputs) {
    const [next, more] = stepLink(state, input, now);
    state = next;
    effects.push(...more);
  }
  return { state, done: effects.filter(effect => effect.do !== 'wake').map(effect => effect.do), effects };
}

const input: fc.Arbitrary<LinkInput> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<LinkInput>({ on: 'time' }) },
  { weight: 4, arbitrary: fc.boolean().map((authentic): LinkInput => ({ on: 'inbound', authentic })) },
  { weight: 3, arbitrary: fc.constant<LinkInput>({ on: 'outbound' }) },
  { weight: 2, arbitrary: fc.constant<LinkInput>({ on: 'question' }) },
  { weight: 2, arbitrary: fc.constant<LinkInput>({ on: 'proof' }) },
  {
    weight: 2,
    arbitrary: fc.double({ min: 0, max: 1e9, noNaN: true }).map((rtt): LinkInput => ({ on: 'rtt', rtt })),
  },
  { weight: 1, arbitrary: fc.constantFrom<LinkInput>({ on: 'close' }, { on: 'closed' }, { on: 'lost' }) },
);

describe('the states of a link', () => {
  test('an initiator’s proof makes it active and sends the RTT', () => {
    const { state, done } = run(initiator(), [{ on: 'proof' }, 250]);
    assert.equal(state.at, 'active');
    assert.deepEqual(done, ['send-rtt', 'established']);
    assert.equal(state.at === 'active' && state.rtt, 250);
  });

  test('a responder takes the longer of the RTT it measured and the one it is told', () => {
    for (const [told, rtt] of [
      [100, 300],
      [900, 900],
    ] as const) {
      const { state } = run(accepted(0, 1), [{ on: 'rtt', rtt: told }, 300]);
      assert.equal(state.at === 'active' && state.rtt, rtt);
    }
  });

  test('an authentic packet stands in for an RTT that was lost', () => {
    const { done } = run(
      accepted(0, 1),
      [{ on: 'inbound', authentic: false }, 100],
      [{ on: 'inbound', authentic: true }, 200],
    );
    assert.deepEqual(done, ['established']);
  });

  test('without an answer it closes at its deadline: 6 s per hop and the first hop’s time, as responder 360 s more', () => {
    for (const [state, deadline] of [
      [requested(0, 3, 6400), 24_400],
      [accepted(0, 2), 372_000],
    ] as const) {
      assert.equal(wakeAt(state), deadline);
      assert.equal(run(state, [{ on: 'time' }, deadline - 1]).state.at, state.at);
      assert.deepEqual(run(state, [{ on: 'time' }, deadline]).state, { at: 'closed', reason: 'timeout' });
    }
  });

  test('the keepalive is 205.7 round trips, between 5 and 360 s', () => {
    assert.equal(keepaliveOf(1), 5000);
    assert.equal(Math.round(keepaliveOf(100)), 20_571);
    assert.equal(keepaliveOf(5000), 360_000);
  });

  test('an initiator asks after each silent keepalive, goes stale after two, and then closes', () => {
    const { state, done } = run(
      initiator(),
      [{ on: 'proof' }, 10],
      [{ on: 'time' }, 5010],
      [{ on: 'time' }, 10_010],
      [{ on: 'time' }, 10_010 + 40 + 5000],
    );
    assert.deepEqual(done, [
      'send-rtt',
      'established',
      'send-keepalive',
      'send-keepalive',
      'send-close',
      'closed',
    ]);
    assert.deepEqual(state, { at: 'closed', reason: 'timeout' });
  });

  test('anything heard makes a stale link active again', () => {
    const stale = run(initiator(), [{ on: 'proof' }, 10], [{ on: 'time' }, 10_010]).state;
    assert.equal(stale.at, 'stale');
    assert.equal(run(stale, [{ on: 'inbound', authentic: false }, 10_020]).state.at, 'active');
  });

  test('a responder answers a keepalive only when nothing else went out for one period', () => {
    const active = run(accepted(0, 1), [{ on: 'rtt', rtt: 1 }, 10]).state;
    assert.deepEqual(run(active, [{ on: 'question' }, 3999]).done, []);
    assert.deepEqual(run(active, [{ on: 'outbound' }, 3000], [{ on: 'question' }, 5010]).done, []);
  });

  test('a responder answers the first question, which comes one period after its proof, and each that the air hastens', () => {
    const active = run(accepted(0, 1), [{ on: 'rtt', rtt: 1 }, 10]).state;
    const questions = [5005, 10_001, 14_990].map((at): [LinkInput, number] => [{ on: 'question' }, at]);
    assert.deepEqual(run(active, ...questions).done, ['send-keepalive', 'send-keepalive', 'send-keepalive']);
  });

  test('closing tells the other end, unless there is none yet', () => {
    assert.deepEqual(run(initiator(), [{ on: 'close' }, 1]).done, ['closed']);
    assert.deepEqual(run(initiator(), [{ on: 'proof' }, 1], [{ on: 'close' }, 2]).done.slice(2), [
      'send-close',
      'closed',
    ]);
  });

  test('whatever happens, it is closed at most once, stays closed, and left alone always closes', () => {
    const started = fc.constantFrom<LinkRole>('initiator', 'responder');
    fc.assert(
      fc.property(
        started,
        fc.array(fc.tuple(input, fc.integer({ min: 0, max: 40_000 })), { maxLength: 40 }),
        (role, steps) => {
          let state = role === 'initiator' ? initiator() : accepted(0, 1);
          let now = 0;
          let closed = 0;
          const step = (what: LinkInput) => {
            const before = state;
            const [next, effects] = stepLink(state, what, now);
            state = next;
            closed += effects.filter(effect => effect.do === 'closed').length;
            assert.ok(before.at !== 'closed' || state.at === 'closed');
            for (const effect of effects) {
              assert.ok(effect.do !== 'wake' || effect.at === wakeAt(state));
            }
          };
          for (const [what, passed] of steps) {
            now += passed;
            step(what);
          }
          for (let turns = 0; state.at !== 'closed'; turns++) {
            assert.ok(turns < 10, 'never closes');
            const due = wakeAt(state);
            assert.ok(due > now || turns === 0, 'wakes without end');
            now = Math.max(now, due);
            step({ on: 'time' });
          }
          assert.equal(closed, 1);
        },
      ),
    );
  });
});

interface Ends {
  readonly link: Link;
  readonly there: Link;
  readonly got: LinkPacket[];
}

/** A link from a to b; b keeps what comes and proves nothing by itself. */
async function linked(nodes: Nodes, how: { proofStrategy?: 'app' | 'all' | 'none' } = {}): Promise<Ends> {
  const got: LinkPacket[] = [];
  let there: Link | undefined;
  const destination = await nodes.serve(
    {
      onLink: link => {
        there = link;
        return { onPacket: packet => void got.push(packet) };
      },
    },
    how,
  );
  const link = await nodes.until(nodes.open(destination));
  await nodes.clock.advance(5);
  return { link, there: there!, got };
}

const contextsOf = (nodes: Nodes, from: 'a' | 'b') =>
  nodes.packets.filter(one => one.from === from).map(one => decodePacket(one.packet).context);

describe('two nodes of ours and a link between them', () => {
  test('agree on MTU, RTT and id', async () => {
    await using nodes = twoNodes();
    const { link, there } = await linked(nodes);
    assert.equal(toHex(link.id), toHex(there.id));
    assert.equal(link.mtu, 16_384);
    assert.equal(there.mtu, 16_384);
    assert.equal(link.rtt, 2);
    assert.equal(there.rtt, 2);
  });

  test('a slow medium gives a link of 500 bytes', async () => {
    await using nodes = twoNodes({ bitrate: 1200 });
    const { link } = await linked(nodes);
    assert.equal(link.mtu, 500);
    assert.equal(link.mdu, 431);
  });

  test('data goes both ways; the sender hears of it when the receiver proves it, not before', async () => {
    await using nodes = twoNodes();
    const { link, there, got } = await linked(nodes);
    const outcomes: string[] = [];
    const sent = link.send(fill('data', link.mdu), { onReceipt: outcome => outcomes.push(outcome.at) });
    await nodes.clock.advance(50);
    assert.deepEqual(outcomes, []);
    assert.deepEqual(Buffer.from(got[0]!.data), Buffer.from(fill('data', link.mdu)));
    got[0]!.prove();
    assert.equal(await nodes.until(sent), 51);
    assert.deepEqual(outcomes, ['delivered']);
    link.events = { onPacket: packet => packet.prove() };
    assert.equal(await nodes.until(there.send(Uint8Array.of(1))), 2);
  });

  test('what is not proven in time fails with mesh/timeout, and a late proof changes nothing', async () => {
    await using nodes = twoNodes();
    const { link, got } = await linked(nodes);
    const sent = link.send(Uint8Array.of(1));
    await assert.rejects(nodes.until(sent), { code: 'mesh/timeout' });
    got[0]!.prove();
    await nodes.clock.advance(10);
    assert.equal(nodes.a.counters.get('link/proof-of-none'), 1);
  });

  test('a destination that proves all proves before anybody asks', async () => {
    await using nodes = twoNodes();
    const { link } = await linked(nodes, { proofStrategy: 'all' });
    assert.equal(await nodes.until(link.send(Uint8Array.of(1))), 2);
  });

  test('a destination that changes its mind proves what comes after over the links there are', async () => {
    await using nodes = twoNodes();
    const { link, there } = await linked(nodes, { proofStrategy: 'none' });
    const destination = nodes.b.transport.local(there.destinationHash)!;
    destination.proofStrategy = 'all';
    assert.equal(await nodes.until(link.send(Uint8Array.of(1))), 2);
  });

  test('a packet that is repeated is proven again, once it was proven, and handed up once', async () => {
    await using nodes = twoNodes();
    const { link, got } = await linked(nodes);
    nodes.fate = (_, from) => (from === 'a' ? [{ after: 1 }, { after: 3 }, { after: 9 }] : [{ after: 1 }]);
    const before = contextsOf(nodes, 'b').length;
    const sent = link.send(Uint8Array.of(7));
    await nodes.clock.advance(5);
    assert.equal(contextsOf(nodes, 'b').length, before);
    got[0]!.prove();
    await nodes.clock.advance(10);
    assert.equal(contextsOf(nodes, 'b').length, before + 2);
    assert.equal(got.length, 1);
    assert.equal(await sent, 6);
  });

  test('a packet that is repeated again and again is proven some times, and then no more', async () => {
    await using nodes = twoNodes();
    const { link } = await linked(nodes, { proofStrategy: 'all' });
    const copies = Array.from({ length: 100 }, (_, at) => ({ after: 1 + at }));
    nodes.fate = (_, from) => (from === 'a' ? copies : [{ after: 1 }]);
    const before = contextsOf(nodes, 'b').length;
    await nodes.until(link.send(Uint8Array.of(7)));
    await nodes.clock.advance(200);
    assert.equal(contextsOf(nodes, 'b').length, before + 9);
  });

  test('too much for one packet is refused', async () => {
    await using nodes = twoNodes();
    const { link } = await linked(nodes);
    for (const length of [0, link.mdu + 1]) {
      await assert.rejects(link.send(new Uint8Array(length)), { code: 'mesh/too-large' });
    }
  });

  test('the initiator identifies, once and for all', async () => {
    await using nodes = twoNodes();
    const { link, there } = await linked(nodes);
    const heard: string[] = [];
    there.events = { onIdentified: identity => heard.push(toHex(identity.hash)) };
    link.identify(nodes.a.identity);
    link.identify(generateIdentity(nodes.a.random));
    await nodes.clock.advance(5);
    assert.deepEqual(heard, [toHex(nodes.a.identity.hash)]);
    assert.equal(toHex(there.remote!.hash), toHex(nodes.a.identity.hash));
    assert.throws(() => there.identify(nodes.b.identity), { code: 'mesh/rejected' });
  });

  test('either end closes it, and the other hears', async () => {
    for (const side of ['link', 'there'] as const) {
      await using nodes = twoNodes();
      const ends = await linked(nodes);
      const reasons: string[] = [];
      ends.link.events = { onClosed: reason => reasons.push(`a ${reason}`) };
      ends.there.events = { onClosed: reason => reasons.push(`b ${reason}`) };
      const waiting = ends.link.send(Uint8Array.of(1));
      ends[side].close();
      await nodes.clock.advance(5);
      assert.deepEqual(reasons, side === 'link' ? ['a here', 'b there'] : ['b here', 'a there']);
      await assert.rejects(waiting, { code: 'mesh/link-closed' });
      await assert.rejects(ends.link.send(Uint8Array.of(1)), { code: 'mesh/link-closed' });
      assert.equal(nodes.a.links.size + nodes.b.links.size, 0);
    }
  });

  test('an idle link is kept alive by questions and answers', async () => {
    await using nodes = twoNodes();
    const { link, there } = await linked(nodes);
    await nodes.clock.advance(60_000);
    assert.equal(link.state.at, 'active');
    assert.equal(there.state.at, 'active');
    assert.ok(contextsOf(nodes, 'a').includes(contexts.keepalive));
    assert.ok(contextsOf(nodes, 'b').includes(contexts.keepalive));
  });

  test('silence closes both ends', async () => {
    await using nodes = twoNodes();
    await linked(nodes);
    nodes.fate = () => [];
    await nodes.clock.advance(30_000);
    assert.equal(nodes.a.links.size + nodes.b.links.size, 0);
    assert.equal(nodes.a.counters.get('link/closed-timeout'), 1);
  });

  test('says how well it is heard where its medium does, and reckons with the round trip it is told', async () => {
    const { clock, a, b } = neighbours();
    const [here, there] = [a, b].map(node => {
      const parts = { clock, random: node.random, log: silentLog, counters: node.counters };
      const links = new Links({ ...parts, transport: node.transport, budget: new IncomingBudget() });
      node.transport.useLinks(links);
      return links;
    }) as [Links, Links];
    const { destination } = b.serve();
    there.accept(destination, { onLink: () => ({}) });
    await b.transport.announce(destination);
    await clock.advance(10);
    const link = await here.open(destination.hash, { identity: b.transport.identity.public });
    await clock.advance(10);
    const [far] = [...there.all()] as [Link];
    assert.deepEqual(far.quality, { rssi: -90 });
    far.tracksQuality = false;
    assert.equal(far.quality, undefined);
    link.rtt = 500;
    void link.send(fill('data', 10));
    await clock.advance(10);
    assert.equal(link.rtt, 500);
    here.close();
  });

  test('a link does not outlive its interface', async () => {
    await using nodes = twoNodes();
    const { link } = await linked(nodes);
    await nodes.cut();
    assert.deepEqual(link.state, { at: 'closed', reason: 'lost' });
  });

  test('opening fails without a path, without an answer, and when it is given up', async () => {
    await using nodes = twoNodes();
    const destination = await nodes.serve({ onLink: () => ({}) });
    const { identity } = destination;
    await assert.rejects(nodes.a.links.open(new Uint8Array(16), { identity: identity!.public }), {
      code: 'mesh/no-path',
    });
    nodes.fate = () => [];
    await assert.rejects(nodes.until(nodes.open(destination)), { code: 'mesh/timeout' });
    const stop = new AbortController();
    const opening = nodes.open(destination, { signal: stop.signal });
    stop.abort(new Error('not wanted'));
    await assert.rejects(opening, /not wanted/);
    assert.equal(nodes.a.links.size, 0);
  });

  test('a proof by another Identity opens nothing', async () => {
    await using nodes = twoNodes();
    const destination = await nodes.serve({ onLink: () => ({}) });
    const wrong = generateIdentity(nodes.a.random).public;
    await assert.rejects(nodes.until(nodes.open(destination, { identity: wrong })), {
      code: 'mesh/timeout',
    });
    assert.equal(nodes.a.counters.get('crypto/bad-signature'), 1);
  });

  test('a proof in another mode ends the link at once', async () => {
    await using nodes = twoNodes();
    const destination = await nodes.serve({ onLink: () => ({}) });
    nodes.fate = (packet, from) => {
      if (from === 'b') {
        const mode = packet.length - 3;
        packet[mode] = (packet[mode]! & 0x1f) | (2 << 5);
      }
      return [{ after: 1 }];
    };
    await assert.rejects(nodes.until(nodes.open(destination)), { code: 'mesh/link-closed' });
    assert.equal(nodes.a.links.size, 0);
    assert.equal(nodes.a.counters.get('wire/unsupported'), 1);
  });

  test('how well a link is heard is said while that is wanted', async () => {
    await using nodes = twoNodes();
    const { link, there } = await linked(nodes);
    assert.equal(there.quality, undefined);
    there.tracksQuality = true;
    nodes.fate = () => [{ after: 1, quality: { rssi: -80, snr: 4 } }];
    void link.send(Uint8Array.of(1));
    await nodes.clock.advance(5);
    assert.deepEqual(there.quality, { rssi: -80, snr: 4 });
    there.tracksQuality = false;
    assert.equal(there.quality, undefined);
  });

  test('a link has its keys until it closes, and nothing of them from then on', async () => {
    await using nodes = twoNodes();
    const { link, there } = await linked(nodes);
    const all = { pair: true, shared: true, key: true };
    assert.deepEqual([link.held, there.held], [all, all]);
    link.close();
    await nodes.clock.advance(5);
    const none = { pair: false, shared: false, key: false };
    assert.deepEqual([link.held, there.held], [none, none]);
  });

  test('an RTT packet that is lost does not cost the link', async () => {
    await using nodes = twoNodes();
    const got: LinkPacket[] = [];
    const destination = await nodes.serve({ onLink: () => ({ onPacket: packet => void got.push(packet) }) });
    nodes.fate = packet => (decodePacket(packet).context === contexts.linkRtt ? [] : [{ after: 1 }]);
    const link = await nodes.until(nodes.open(destination));
    void link.send(Uint8Array.of(9));
    await nodes.clock.advance(5);
    assert.equal(got.length, 1);
  });

  test('a link asked for with a key that gives no secret is closed with all others', async () => {
    await using nodes = twoNodes();
    const destination = await nodes.serve({ onLink: () => ({}) });
    nodes.fate = packet => {
      if (decodePacket(packet).packetType === 'link-request') {
        packet.fill(0, 19, 19 + 32);
      }
      return [{ after: 1 }];
    };
    nodes.open(destination).catch(() => {});
    await nodes.clock.advance(20);
    nodes.fate = sound;
    const link = await nodes.until(nodes.open(destination));
    assert.equal(nodes.b.links.size, 2);
    nodes.b.links.close();
    await nodes.clock.advance(20);
    assert.equal(nodes.b.links.size, 0);
    assert.equal(link.state.at, 'closed');
  });

  test('half-open links give way to new ones', async () => {
    await using nodes = twoNodes();
    const destination = await nodes.serve({ onLink: () => ({}) });
    nodes.fate = (_, from) => (from === 'a' ? [{ after: 1 }] : []);
    for (let count = 0; count < 140; count++) {
      nodes.open(destination).catch(() => {});
    }
    await nodes.clock.advance(20);
    assert.equal(nodes.b.links.size, 128);
    nodes.fate = sound;
    await nodes.until(nodes.open(destination));
  });

  test('an idle link that nobody identified on gives way when there are too many, and its opener hears', async () => {
    await using nodes = twoNodes({ linkLimits: { inbound: 3, handshakes: 8, handshakesPerInterface: 8 } });
    const destination = await nodes.serve({ onLink: () => ({}) });
    const known = await nodes.until(nodes.open(destination));
    known.identify(nodes.a.identity);
    await nodes.clock.advance(20_000);
    const idle = await nodes.until(nodes.open(destination));
    const used = await nodes.until(nodes.open(destination));
    await nodes.clock.advance(20_000);
    void used.send(Uint8Array.of(1));
    await nodes.clock.advance(20_000);
    const fresh = await nodes.until(nodes.open(destination));
    await nodes.clock.advance(10);
    assert.deepEqual(
      [known, idle, used, fresh].map(({ state }) => state.at),
      ['active', 'closed', 'active', 'active'],
    );
    assert.equal(nodes.b.links.size, 3);
    assert.equal(nodes.b.counters.get('link/gave-way'), 1);
  });

  test('a link is refused where as many as may be are all in use', async () => {
    await using nodes = twoNodes({ linkLimits: { inbound: 2, handshakes: 8, handshakesPerInterface: 8 } });
    let heard = 0;
    const destination = await nodes.serve({
      onLink: () => {
        heard += 1;
        return {};
      },
    });
    await nodes.until(nodes.open(destination));
    // Both are asked for while there is room for one: the one that is established second is closed again.
    const both = await nodes.until(Promise.allSettled([nodes.open(destination), nodes.open(destination)]));
    await nodes.clock.advance(10);
    assert.equal(both.filter(one => one.status === 'fulfilled' && one.value.state.at === 'active').length, 1);
    assert.equal(heard, 2);
    assert.equal(nodes.b.links.size, 2);
    await assert.rejects(nodes.until(nodes.open(destination)), { code: 'mesh/timeout' });
    assert.ok(nodes.b.counters.get('store/full') >= 2);
    await nodes.clock.advance(30_000);
    await nodes.until(nodes.open(destination));
  });

  test('over a medium that loses, repeats and reorders, every send ends and the truth is told', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1e6 }), async seed => {
        await using nodes = twoNodes({ seed });
        const { link, there, got } = await linked(nodes, { proofStrategy: 'all' });
        nodes.fate = lossy(nodes, 0.3);
        const ends = await nodes.until(
          Promise.allSettled(
            Array.from({ length: 20 }, (_, at) => (at % 2 ? link : there).send(Uint8Array.of(at))),
          ),
        );
        for (const [at, end] of ends.entries()) {
          const arrived = got.some(packet => packet.data[0] === at);
          assert.ok(at % 2 === 0 || end.status === 'rejected' || arrived);
          assert.ok(
            end.status === 'fulfilled' || isGatewayError(end.reason, 'mesh/timeout', 'mesh/link-closed'),
          );
        }
        assert.equal(new Set(got.map(packet => packet.data[0])).size, got.length);
      }),
      { numRuns: 10 },
    );
  });
});

/** Loses packets, sends others twice, and lets them overtake each other. */
function lossy(nodes: Nodes, loss: number): Fate {
  const { random } = nodes.a;
  const once = () => ({ after: 1 + Math.floor(random.fraction() * 30) });
  return () => (random.fraction() < loss ? [] : random.fraction() < 0.2 ? [once(), once()] : [once()]);
}
