import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { fromUtf8, utf8 } from '../../../src/lib/bytes.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import type { Channel } from '../../../src/mesh/reticulum/channel.ts';
import type { MessageType } from '../../../src/mesh/reticulum/channel-message.ts';
import { arrivalOf, arrive, startChannelReceiver } from '../../../src/mesh/reticulum/channel-receiver.ts';
import {
  channelWakeAt,
  mayStart,
  startChannelSender,
  stepChannelSender,
} from '../../../src/mesh/reticulum/channel-sender.ts';
import { encodeEnvelope } from '../../../src/mesh/reticulum/channel-wire.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import { contexts, decodePacket } from '../../../src/mesh/reticulum/packet.ts';
import { seededRandom } from '../../sim/random.ts';
import { type Fate, type Nodes, type NodesOptions, twoNodes } from './link-nodes.ts';

const text: MessageType<string> = {
  type: 0x0101,
  encode: utf8,
  decode: bytes => fromUtf8(bytes, 'text'),
};

interface Ends extends AsyncDisposable {
  readonly nodes: Nodes;
  readonly near: Link;
  readonly far: Link;
  readonly a: Channel;
  readonly b: Channel;
  /** What came to b, in order. */
  readonly heard: string[];
}

/** A link from a to b with a channel at either end. */
async function ends(options: NodesOptions = {}): Promise<Ends> {
  const nodes = twoNodes(options);
  const far = Promise.withResolvers<Link>();
  const destination = await nodes.serve({
    onLink: link => {
      far.resolve(link);
      return {};
    },
  });
  const near = await nodes.until(nodes.open(destination));
  const there = await nodes.until(far.promise);
  const heard: string[] = [];
  there.channel.on(text, message => heard.push(message));
  return {
    nodes,
    near,
    far: there,
    a: near.channel,
    b: there.channel,
    heard,
    [Symbol.asyncDispose]: () => nodes[Symbol.asyncDispose](),
  };
}

const isChannel = (packet: Uint8Array) => {
  const { context, destinationType, packetType } = decodePacket(packet);
  return destinationType === 'link' && packetType === 'data' && context === contexts.channel;
};
const names = (count: number) => Array.from({ length: count }, (_, at) => `message ${at}`);

describe('a channel', () => {
  test('delivers what is sent, in order, and tells the sender', async () => {
    await using at = await ends();
    const sent = names(100).map(name => at.a.send(text, name));
    const took = await at.nodes.until(Promise.all(sent));
    assert.deepEqual(at.heard, names(100));
    assert.ok(took.every(ms => ms > 0));
  });

  test('goes both ways, each with its own numbers', async () => {
    await using at = await ends();
    const back: string[] = [];
    at.a.on(text, message => back.push(message));
    await at.nodes.until(
      Promise.all([at.a.send(text, 'one'), at.a.send(text, 'two'), at.b.send(text, 'three')]),
    );
    assert.deepEqual([at.heard, back], [['one', 'two'], ['three']]);
    assert.deepEqual([at.a.status.nextSequence, at.a.status.nextReceived], [2, 1]);
  });

  test('sends again what was lost, and delivers each once and in order', async () => {
    for (let seed = 1; seed <= 4; seed++) {
      await using at = await ends({ seed });
      const random = seededRandom(seed);
      const lossy: Fate = () => {
        const copies = random.fraction() < 0.06 ? 0 : random.fraction() < 0.1 ? 2 : 1;
        return Array.from({ length: copies }, () => ({ after: 1 + Math.floor(random.fraction() * 30) }));
      };
      at.nodes.fate = lossy;
      const sent = names(200).map(async name => {
        await at.a.ready();
        return at.a.send(text, name);
      });
      await at.nodes.until(Promise.all(sent));
      assert.deepEqual(at.heard, names(200), `seed ${seed}`);
    }
  });

  test('a proof that comes for an earlier try counts as well', async () => {
    await using at = await ends();
    at.nodes.fate = (_, from) => [{ after: from === 'b' ? 300 : 1 }];
    const took = await at.nodes.until(at.a.send(text, 'late'));
    assert.ok(took >= 300 && took < 400, `${took} ms`);
    assert.deepEqual(at.heard, ['late']);
  });

  test('after five tries the link is given up, and not before five seconds', async () => {
    await using at = await ends();
    at.nodes.packets.length = 0;
    at.nodes.fate = packet => (isChannel(packet) ? [] : [{ after: 1 }]);
    const began = at.nodes.clock.monotonic();
    const failed = assert.rejects(at.nodes.until(at.a.send(text, 'lost')), { code: 'mesh/timeout' });
    await failed;
    assert.equal(at.nodes.packets.filter(({ packet }) => isChannel(packet)).length, 5);
    assert.equal(at.near.state.at, 'closed');
    assert.ok(at.nodes.clock.monotonic() - began >= 5000);
    const { outstanding, held, takers } = at.a.status;
    assert.deepEqual([outstanding.length, held, takers], [0, 0, 0]);
    await assert.rejects(at.a.send(text, 'after'), { code: 'mesh/link-closed' });
    await assert.rejects(at.a.ready(), { code: 'mesh/link-closed' });
  });

  test('is not there until it is opened: then nothing is taken or proven', async () => {
    await using nodes = twoNodes();
    const destination = await nodes.serve({ onLink: () => ({}) });
    const link = await nodes.until(nodes.open(destination));
    await assert.rejects(nodes.until(link.channel.send(text, 'to nobody')), { code: 'mesh/timeout' });
    assert.equal(nodes.b.counters.get('channel/not-open'), 5);
  });

  test('a closed link ends what waits', async () => {
    await using at = await ends();
    at.nodes.fate = () => [];
    const all = names(20).map(name => at.a.send(text, name));
    const waits = at.a.ready();
    const ended: string[] = [];
    at.a.onEnd(error => ended.push(error.code));
    at.near.close();
    for (const one of [...all, waits]) {
      await assert.rejects(one, { code: 'mesh/link-closed' });
    }
    assert.deepEqual(ended, ['mesh/link-closed']);
  });

  test('refuses what is too long, and more than may wait', async () => {
    await using at = await ends();
    await assert.rejects(at.a.send(text, 'x'.repeat(at.a.mdu + 1)), { code: 'mesh/too-large' });
    at.nodes.fate = () => [];
    const waiting = names(258).map(name => at.a.send(text, name));
    await assert.rejects(at.a.send(text, 'one too many'), { code: 'store/full' });
    assert.equal(at.a.status.queued, 256);
    at.near.close();
    await Promise.allSettled(waiting);
  });

  test('a message as long as may be arrives', async () => {
    await using at = await ends();
    await at.nodes.until(at.a.send(text, 'x'.repeat(at.a.mdu)));
    assert.equal(at.heard[0]?.length, at.a.mdu);
  });

  test('a sender that awaits its turn never has more waiting than the window', async () => {
    await using at = await ends();
    let most = 0;
    const all = (async () => {
      for (const name of names(200)) {
        await at.a.ready();
        void at.a.send(text, name);
        most = Math.max(most, at.a.status.queued);
      }
    })();
    await at.nodes.until(all);
    assert.equal(most, 0);
    const { largestWindow, window } = at.a.status;
    assert.equal(largestWindow, 48);
    assert.ok(window > 16);
  });

  test('takers are asked in order, up to the one that takes it; one that throws is passed over', async () => {
    await using at = await ends();
    const asked: number[] = [];
    const takers = (...how: ('no' | 'yes' | 'throws')[]) =>
      how.map((what, index) =>
        at.a.add({
          take: () => {
            asked.push(index);
            if (what === 'throws') {
              throw new GatewayError('wire/malformed', 'on purpose');
            }
            return what === 'yes';
          },
        }),
      );
    at.a.register(text);
    let sequence = 0;
    const comes = () =>
      at.a.receive(encodeEnvelope({ type: text.type, sequence: sequence++, data: utf8('x') }));
    for (const [how, expected] of [
      [
        ['no', 'no'],
        [0, 1],
      ],
      [['yes', 'no'], [0]],
      [
        ['throws', 'no'],
        [0, 1],
      ],
      [
        ['no', 'yes', 'no'],
        [0, 1],
      ],
    ] as const) {
      const leave = takers(...how);
      asked.length = 0;
      assert.equal(comes(), true);
      assert.deepEqual(asked, expected);
      for (const cancel of leave) {
        cancel();
      }
    }
  });

  test('the protocol’s own message types are not an application’s', async () => {
    await using at = await ends();
    for (const type of [0xf000, 0xffff, -1, 0.5]) {
      assert.throws(() => at.a.register({ ...text, type }), { code: 'config/invalid' });
    }
  });

  test('what is no message type is registered and sent by nobody', async () => {
    await using at = await ends();
    for (const none of [{ type: 5 }, { type: 5, encode: text.encode }, { ...text, type: undefined }]) {
      assert.throws(() => at.a.register(none as unknown as typeof text), { code: 'config/invalid' });
    }
    for (const type of [-1, 0x10000, Number.NaN]) {
      assert.throws(() => encodeEnvelope({ type, sequence: 0, data: new Uint8Array(0) }), {
        code: 'config/invalid',
      });
    }
  });

  test('what is not registered, cannot be read, or has no room stays unproven and is not passed by', async () => {
    await using at = await ends();
    const { a } = at;
    const got: string[] = [];
    let room = true;
    a.register(text);
    a.add({ take: message => got.push(message.value as string) > 0, hasRoom: () => room });
    const comes = (data: Uint8Array, type = text.type) =>
      a.receive(encodeEnvelope({ type, sequence: 0, data }));
    assert.equal(comes(utf8('unknown'), 0x0202), false);
    assert.throws(() => comes(Uint8Array.of(0xff, 0xfe)), { code: 'wire/malformed' });
    assert.throws(() => a.receive(Uint8Array.of(1, 2, 3)), { code: 'wire/truncated' });
    room = false;
    assert.equal(comes(utf8('no room')), false);
    room = true;
    assert.equal(a.status.nextReceived, 0);
    assert.equal(comes(utf8('read')), true);
    assert.deepEqual(got, ['read']);
    assert.equal(a.status.nextReceived, 1);
  });
});

describe('the receiving side of a channel', () => {
  const order = (...sequences: number[]) => {
    const state = startChannelReceiver<number>();
    return sequences.flatMap(sequence =>
      arrivalOf(state, sequence) === 'new' ? arrive(state, sequence, sequence) : [],
    );
  };

  test('puts in order, and takes each once', () => {
    assert.deepEqual(order(1, 0, 2), [0, 1, 2]);
    assert.deepEqual(order(1, 1, 0, 0, 1, 2), [0, 1, 2]);
    assert.deepEqual(order(0, 1, 2, 0, 1, 3), [0, 1, 2, 3]);
  });

  test('starts over after the last number', () => {
    const state = startChannelReceiver<number>();
    state.next = 0xffff;
    assert.deepEqual(arrive(state, 0, 0), []);
    assert.equal(arrivalOf(state, 0xfffe), 'again');
    assert.deepEqual(arrive(state, 0xffff, 0xffff), [0xffff, 0]);
    assert.equal(state.next, 1);
    assert.equal(arrivalOf(state, 0xffff), 'again');
  });

  test('takes nothing that is more than 48 ahead', () => {
    const state = startChannelReceiver<number>();
    assert.deepEqual(
      [arrivalOf(state, 48), arrivalOf(state, 49), arrivalOf(state, 0x7fff)],
      ['new', 'ahead', 'ahead'],
    );
  });
});

describe('the sending side of a channel', () => {
  test('never runs more than 48 ahead of what is not proven, and ends whatever happens', () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.constant({ on: 'message' as const }) },
      { weight: 5, arbitrary: fc.nat(60).map(back => ({ on: 'proven' as const, back })) },
      { weight: 2, arbitrary: fc.nat(400).map(ms => ({ on: 'time' as const, ms })) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), fc.nat(0xffff), (steps, first) => {
        const state = startChannelSender(1);
        state.nextSequence = first;
        const pace = { rtt: 1, backlog: 0 };
        let now = 0;
        for (const one of steps) {
          if (one.on === 'message') {
            if (mayStart(state)) {
              stepChannelSender(state, one, pace, now);
            }
          } else if (one.on === 'proven') {
            stepChannelSender(
              state,
              { on: 'proven', sequence: (state.nextSequence - 1 - one.back) & 0xffff },
              pace,
              now,
            );
          } else {
            now += one.ms;
            stepChannelSender(state, one, pace, now);
          }
          const oldest = state.outstanding.keys().next().value;
          assert.ok(oldest === undefined || ((state.nextSequence - oldest) & 0xffff) <= 48);
          assert.ok(state.outstanding.size <= 48);
          assert.equal(Number.isFinite(channelWakeAt(state)), state.outstanding.size > 0 && !state.givenUp);
        }
      }),
    );
  });
});
