import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { equal, fromUtf8, toHex, utf8 } from '../../src/lib/bytes.ts';
import { isGatewayError } from '../../src/lib/errors.ts';
import { encodeMessage } from '../../src/mesh/lxmf/message.ts';
import type { MessageType } from '../../src/mesh/reticulum/channel-message.ts';
import type { Link } from '../../src/mesh/reticulum/link-session.ts';
import { Cable } from './cable.ts';
import { ManualClock } from './clock.ts';
import { Ether } from './ether.ts';
import { type Port, SimNode } from './node.ts';
import { seededRandom } from './random.ts';

const minute = 60_000;
const said: MessageType<string> = { type: 0x0101, encode: utf8, decode: bytes => fromUtf8(bytes, 'message') };

/** Six nodes in a row: a fast connection, a slow radio, a connection that is not the same both ways, a radio, a connection. */
function row(seed: number) {
  const clock = new ManualClock();
  const random = seededRandom(seed);
  const medium = { clock, random };
  const radio = (bitrate: number) => {
    const ether = new Ether({ ...medium, bitrate, mtu: 508, loss: 0.01, latency: 10 });
    return [ether.join('left'), ether.join('right')] as const;
  };
  const media = [
    new Cable(['left', 'right'], medium).ends,
    radio(9600),
    new Cable(['left', 'right'], { ...medium, bitrates: [1_000_000, 100_000], latency: 80 }).ends,
    radio(50_000),
    new Cable(['left', 'right'], { ...medium, mtu: 1064, bitrates: [64_000, 64_000] }).ends,
  ];
  const nodes = Array.from({ length: 6 }, (_, at) => {
    const own: Port[] = [];
    const [before, after] = [media[at - 1]?.[1], media[at]?.[0]];
    if (before) {
      own.push({ iface: renamed(before, 'back') });
    }
    if (after) {
      own.push({ iface: renamed(after, 'on') });
    }
    const forwards = at > 0 && at < 5;
    return new SimNode({ clock, seed: seed * 10 + at, forwards, lxmf: true, ratchets: true, ports: own });
  });
  return { clock, random, nodes, first: nodes[0]!, last: nodes[5]! };
}

/** The same interface under the name that its node knows it by. */
function renamed(iface: Port['iface'], name: string): Port['iface'] {
  return {
    name,
    mtu: iface.mtu,
    bitrate: iface.bitrate,
    run: (port, signal) => iface.run(port, signal),
    send: packet => iface.send(packet),
  };
}

type Row = ReturnType<typeof row>;

/** Announces until both ends know the way to the other. */
async function acquaint({ clock, first, last }: Row): Promise<void> {
  const knows = (a: SimNode, b: SimNode) =>
    a.transport.path(b.destination.hash) !== undefined && a.transport.path(b.address.hash) !== undefined;
  for (let round = 0; !(knows(first, last) && knows(last, first)); round++) {
    assert.ok(round < 10, 'announces do not get through');
    for (const node of [first, last]) {
      node.announce();
      void node.transport.announce(node.destination);
      await clock.advance(10_000);
    }
  }
}

/** Moves the clock until a promise is settled. */
async function done<T>(clock: ManualClock, promise: Promise<T>): Promise<T> {
  let over = false;
  const end = () => {
    over = true;
  };
  promise.then(end, end);
  await clock.advanceUntil(() => over, { step: 200, limit: 30 * minute });
  return promise;
}

/** Tries again where something was lost for good. */
async function persist<T>(clock: ManualClock, attempt: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await done(clock, attempt());
    } catch (error) {
      if (tries > 8 || !isGatewayError(error)) {
        throw error;
      }
      await clock.advance(20_000);
    }
  }
}

describe('over five hops of different media', () => {
  test('go packets with proofs, links with packets, requests, Resources and a channel', async () => {
    const at = row(1);
    const { clock, random, nodes, first, last } = at;
    await clock.advance(1000);
    await acquaint(at);
    assert.equal(first.transport.path(last.destination.hash)?.hops, 5);
    const short = random.bytes(200);
    await persist(clock, () => first.sendSingle(last, short));
    assert.ok(last.heard.packets.includes(toHex(short)));

    let far: Link | undefined;
    last.onAccepted = link => {
      far = link;
    };
    const link = await persist(clock, () => first.openLink(last));
    await clock.advance(2000);
    assert.deepEqual([link.hops, link.mtu, far?.hops, far?.mtu], [5, 500, 5, 500]);
    const there = random.bytes(link.mdu);
    await persist(clock, () => link.send(there));
    const back = random.bytes(100);
    await persist(clock, () => far!.send(back));
    assert.ok(last.heard.packets.includes(toHex(there)) && first.heard.packets.includes(toHex(back)));
    const [small, big] = [random.bytes(50), random.bytes(4000)];
    for (const asked of [small, big]) {
      const { data } = await persist(clock, () => link.request('/echo', asked, { timeout: 5 * minute }));
      assert.deepEqual(data, asked);
    }
    const large = random.bytes(30_000);
    await persist(clock, () => link.sendResource(large));
    await persist(clock, () => far!.sendResource(large));
    assert.ok([first, last].every(({ heard }) => heard.resources.some(one => equal(one, large))));
    const texts: string[] = [];
    far!.channel.on(said, text => texts.push(text));
    link.channel.register(said);
    for (let count = 0; count < 40; count++) {
      await done(clock, link.channel.ready());
      void link.channel.send(said, `message ${count}`);
    }
    await clock.advanceUntil(() => texts.length === 40, { step: 500, limit: 20 * minute });
    assert.deepEqual(
      texts,
      Array.from({ length: 40 }, (_, count) => `message ${count}`),
    );
    for (const node of nodes) {
      assert.deepEqual(node.bugs, []);
      node.kill();
    }
  });

  test('go messages of every size both ways, and a Resource in whose midst a node on the way dies', async () => {
    const at = row(2);
    const { clock, nodes, first, last } = at;
    await clock.advance(1000);
    await acquaint(at);
    const ids: [SimNode, string][] = [];
    const write = async (from: SimNode, to: SimNode, length: number) => {
      const { packed, id } = encodeMessage(
        {
          destination: to.address.hash,
          source: from.address.hash,
          timestamp: clock.now() / 1000,
          title: new Uint8Array(),
          content: utf8('x'.repeat(length)),
          fields: new Map(),
        },
        from.disk.identity,
      );
      ids.push([to, toHex(id)]);
      await persist(clock, () => from.router.send(packed, { signal: from.signal, pathPatience: 30_000 }));
    };
    for (const length of [50, 350, 9000]) {
      await write(first, last, length);
      await write(last, first, length);
    }
    const middle = nodes[2]!;
    clock.after(15_000, () => middle.kill());
    clock.after(40_000, () => middle.restart());
    await write(first, last, 25_000);
    assert.equal(middle.lives, 2);
    for (const [to, id] of ids) {
      assert.equal(to.disk.inbox.get(id)?.times, 1);
    }
    for (const node of nodes) {
      assert.deepEqual(node.bugs, []);
      node.kill();
    }
  });
});
