import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { concat, utf8 } from '../../../src/lib/bytes.ts';
import { compress } from '../../../src/lib/bzip2/compress.ts';
import { decompress } from '../../../src/lib/bzip2/decompress.ts';
import { createCompressor } from '../../../src/lib/bzip2/pool.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import type { Random } from '../../../src/lib/random.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import { contexts, decodePacket } from '../../../src/mesh/reticulum/packet.ts';
import type {
  OfferDecision,
  ReceivedResource,
  ResourceOffer,
} from '../../../src/mesh/reticulum/resource-offer.ts';
import {
  type ReceiverEffect,
  receiverWakeAt,
  startReceiver,
  stepReceiver,
} from '../../../src/mesh/reticulum/resource-receiver.ts';
import { partOf, sealSegment } from '../../../src/mesh/reticulum/resource-segment.ts';
import {
  type SenderEffect,
  senderWakeAt,
  startSender,
  stepSender,
} from '../../../src/mesh/reticulum/resource-sender.ts';
import {
  decodeHashmapUpdate,
  decodePartRequest,
  segmentSize,
} from '../../../src/mesh/reticulum/resource-wire.ts';
import { seededRandom } from '../../sim/random.ts';
import { type Fate, fill, type Nodes, type NodesOptions, sound, twoNodes } from './link-nodes.ts';

const plainFlags = { compressed: false, split: false, request: false, response: false, metadata: false };

/** A segment that is not sealed at all: only its parts matter here. */
function segmentOf(length: number, seed = 1) {
  const data = fill('segment', length);
  const facts = {
    dataSize: length,
    segment: 1,
    segments: 1,
    originalHash: undefined,
    requestId: undefined,
    flags: plainFlags,
  };
  const same = {
    seal: (bytes: Uint8Array, ahead?: Uint8Array) => (ahead ? concat(ahead, bytes) : bytes),
    open: (bytes: Uint8Array) => bytes,
  };
  return sealSegment(data, data, facts, 500, same, seededRandom(seed));
}

/** Everything that is on the way between a sender and a receiver, and when it arrives. */
interface OnTheWay {
  readonly at: number;
  readonly deliver: () => void;
}

/** Plays a sender against a receiver over a medium of that fate; how both ended. */
function play(
  parts: number,
  random: Random,
  chances: { loss: number; repeat: number; corrupt: number; cancel?: 'sender' | 'receiver' },
) {
  const segment = segmentOf(parts * 464 - 10);
  let now = 0;
  let way: OnTheWay[] = [];
  const put = (deliver: () => void) => {
    const copies = random.fraction() < chances.loss ? 0 : random.fraction() < chances.repeat ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      way.push({ at: now + 1 + Math.floor(random.fraction() * 50), deliver });
    }
  };
  let receiver: ReturnType<typeof startReceiver>[0] | undefined;
  const fromReceiver = (effects: readonly ReceiverEffect[]): void => {
    for (const effect of effects) {
      if (effect.do === 'request') {
        put(() =>
          fromSender(stepSender(sender, { on: 'request', request: decodePartRequest(effect.body) }, now)),
        );
      } else if (effect.do === 'assemble') {
        fromReceiver(stepReceiver(receiver!, { on: 'assembled', sound: true }, now));
      } else if (effect.do === 'done') {
        put(() => fromSender(stepSender(sender, { on: 'proof', proof: segment.expectedProof }, now)));
      } else if (effect.do === 'cancel') {
        put(() => fromSender(stepSender(sender, { on: 'rejected' }, now)));
      }
    }
  };
  const fromSender = (effects: readonly SenderEffect[]): void => {
    for (const effect of effects) {
      if (effect.do === 'advertise') {
        put(() => {
          if (receiver === undefined) {
            const [state, first] = startReceiver(segment.advertisement, 500, 100_000, 4, now);
            receiver = state;
            fromReceiver(first);
          }
        });
      } else if (effect.do === 'part') {
        const data = Uint8Array.from(partOf(segment, effect.index));
        if (random.fraction() < chances.corrupt) {
          data[0]! ^= 1;
        }
        put(() => receiver && fromReceiver(stepReceiver(receiver, { on: 'part', data }, now)));
      } else if (effect.do === 'hashmap') {
        put(
          () =>
            receiver &&
            fromReceiver(stepReceiver(receiver, { on: 'hashmap', ...decodeHashmapUpdate(effect.body) }, now)),
        );
      } else if (effect.do === 'query-proof') {
        put(() => receiver?.at === 'done' && fromReceiver([{ do: 'done' }]));
      } else if (effect.do === 'cancel') {
        put(() => receiver && fromReceiver(stepReceiver(receiver, { on: 'cancelled' }, now)));
      }
    }
  };
  const [sender, first] = startSender(segment, 40, 1000, now);
  fromSender(first);
  const ended = () =>
    ['done', 'failed'].includes(sender.at) && ['done', 'failed', undefined].includes(receiver?.at);
  let turns = 0;
  for (; !ended() && turns < 200_000; turns++) {
    const next = way.reduce<OnTheWay | undefined>(
      (first, one) => (first === undefined || one.at < first.at ? one : first),
      undefined,
    );
    const due = Math.min(
      next?.at ?? Number.POSITIVE_INFINITY,
      senderWakeAt(sender),
      receiver ? receiverWakeAt(receiver) : Number.POSITIVE_INFINITY,
    );
    now = Math.max(now, due);
    if (next !== undefined && next.at <= now) {
      way = way.filter(one => one !== next);
      next.deliver();
    } else {
      fromSender(stepSender(sender, { on: 'time' }, now));
      if (receiver) {
        fromReceiver(stepReceiver(receiver, { on: 'time' }, now));
      }
    }
    if (turns === 40 && chances.cancel === 'sender') {
      fromSender(stepSender(sender, { on: 'cancel' }, now));
    }
    if (turns === 40 && chances.cancel === 'receiver' && receiver) {
      fromReceiver(stepReceiver(receiver, { on: 'cancel' }, now));
    }
  }
  return {
    sender,
    receiver,
    ended: ended(),
    whole: receiver ? Buffer.compare(receiver.sealed, segment.sealed) === 0 : false,
  };
}

describe('a sender and a receiver of parts', () => {
  const sizes = fc.integer({ min: 1, max: 320 });
  const seeds = fc.integer({ min: 1, max: 1e9 });

  test('over a sound medium always finish, whatever the number of parts', () => {
    fc.assert(
      fc.property(sizes, seeds, (parts, seed) => {
        const { sender, receiver, whole } = play(parts, seededRandom(seed), {
          loss: 0,
          repeat: 0,
          corrupt: 0,
        });
        assert.equal(sender.at, 'done');
        assert.equal(receiver?.at, 'done');
        assert.ok(whole);
      }),
      { numRuns: 30 },
    );
  });

  test('over a medium that loses, repeats, reorders and corrupts always end, and whole where they are done', () => {
    const chance = fc.double({ min: 0, max: 0.6, noNaN: true });
    const cancel = fc.constantFrom(undefined, 'sender' as const, 'receiver' as const);
    fc.assert(
      fc.property(sizes, seeds, chance, chance, chance, cancel, (parts, seed, loss, repeat, corrupt, who) => {
        const chances = { loss, repeat, corrupt, ...(who === undefined ? {} : { cancel: who }) };
        const { sender, receiver, ended, whole } = play(parts, seededRandom(seed), chances);
        assert.ok(ended, 'stuck');
        assert.ok(receiver?.at !== 'done' || whole);
        assert.ok(sender.at !== 'done' || receiver?.at === 'done');
      }),
      { numRuns: 60 },
    );
  });

  test('the window grows by one each round, to 10; on a fast link it doubles, to 75, and halves when parts are lost', () => {
    const windowAfter = (msPerRound: number, rounds: number, silence = 0) => {
      const segment = segmentOf(400 * 464);
      const [state, first] = startReceiver(segment.advertisement, 500, 100_000, 4, 0);
      let effects = first;
      for (let round = 1; round <= rounds; round++) {
        const request = effects.find(effect => effect.do === 'request');
        const wanted =
          decodePartRequest(request?.do === 'request' ? request.body : new Uint8Array(0)).wanted.length / 4;
        const from = state.next;
        const next: ReceiverEffect[] = [];
        for (let part = 0; part < wanted; part++) {
          next.push(
            ...stepReceiver(state, { on: 'part', data: partOf(segment, from + part) }, round * msPerRound),
          );
        }
        if (state.awaitingHashmap) {
          const mapSegment = state.height / 74;
          const hashmap = segment.hashmap.subarray(state.height * 4, (state.height + 74) * 4);
          next.push(...stepReceiver(state, { on: 'hashmap', mapSegment, hashmap }, round * msPerRound));
        }
        effects = next.slice(-1);
      }
      stepReceiver(state, { on: 'time' }, rounds * msPerRound + silence);
      return state.window;
    };
    assert.equal(windowAfter(2000, 5), 9);
    assert.equal(windowAfter(2000, 12), 10);
    assert.equal(windowAfter(1, 3), 12);
    assert.equal(windowAfter(1, 7), 75);
    assert.equal(windowAfter(1, 7, 60_000), 37);
    assert.equal(windowAfter(60_000, 6), 6);
  });

  test('no two parts that one request may name have the same map hash', () => {
    const segment = segmentOf(320 * 464);
    for (let from = 0; from + 224 <= segment.hashes.length; from++) {
      assert.equal(new Set(segment.hashes.subarray(from, from + 224)).size, 224);
    }
  });
});

interface Scene {
  readonly link: Link;
  readonly there: Link;
  readonly offers: ResourceOffer[];
  readonly got: ReceivedResource[];
  readonly failures: string[];
}

/** A link whose far end takes what `decide` says; by default everything, proven at once. */
async function linked(
  nodes: Nodes,
  decide?: (offer: ResourceOffer, scene: Scene) => OfferDecision,
): Promise<Scene> {
  const offers: ResourceOffer[] = [];
  const got: ReceivedResource[] = [];
  const failures: string[] = [];
  let there: Link | undefined;
  const destination = await nodes.serve({
    onLink: link => {
      there = link;
      return {
        onResourceOffer(offer) {
          offers.push(offer);
          return decide ? decide(offer, scene) : taking(scene);
        },
      };
    },
  });
  const link = await nodes.until(nodes.open(destination));
  await nodes.clock.advance(5);
  const scene: Scene = { link, there: there!, offers, got, failures };
  return scene;
}

function taking(scene: Scene, prove = true): OfferDecision {
  return {
    onResource(resource) {
      scene.got.push(resource);
      if (prove) {
        resource.prove();
      }
    },
    onFailed: error => void scene.failures.push(error.code),
  };
}

const same = (a: Uint8Array | undefined, b: Uint8Array) => assert.equal(Buffer.compare(a!, b), 0);
const withContext = (context: number) => (packet: Uint8Array) => decodePacket(packet).context === context;

describe('Resources between two nodes of ours', () => {
  test('of every size arrive as they were sent, with progress and metadata', async () => {
    await using nodes = twoNodes();
    const { link, got, offers } = await linked(nodes);
    for (const size of [0, 1, 463, 464, 20_000, segmentSize - 2, segmentSize, 2 * segmentSize + 1]) {
      const data = fill('data', size);
      const progress: number[] = [];
      await nodes.until(link.sendResource(data, { onProgress: part => progress.push(part) }));
      same(got.at(-1)?.data, data);
      assert.equal(offers.at(-1)?.size, size);
      assert.equal(progress.at(-1), 1);
      await nodes.until(link.sendResource(data, { metadata: new Map([['name', 'a']]) }));
      same(got.at(-1)?.data, data);
      assert.deepEqual(got.at(-1)?.metadata, new Map([['name', 'a']]));
    }
    assert.equal(nodes.b.budget.used, 0);
  });

  test('over a slow link of 500 bytes need hashmap updates, and get them', async () => {
    await using nodes = twoNodes({ bitrate: 10_000 });
    const { link, got } = await linked(nodes);
    const data = fill('data', 100_000);
    await nodes.until(link.sendResource(data));
    same(got[0]?.data, data);
    assert.ok(nodes.packets.some(({ packet }) => withContext(contexts.resourceHashmapUpdate)(packet)));
  });

  test('are compressed where that makes them smaller', async () => {
    const compressor = createCompressor();
    await using nodes = twoNodes({ compressor });
    const { link, got, offers } = await linked(nodes);
    const text = utf8('the mesh carries what it is given. '.repeat(200));
    await nodes.until(link.sendResource(text));
    await nodes.until(link.sendResource(fill('random', 3000)));
    await nodes.until(link.sendResource(text, { compress: false }));
    same(got[0]?.data, text);
    assert.deepEqual(
      offers.map(offer => offer.compressed),
      [true, false, false],
    );
    assert.ok(got[0]!.transferSize < 500);
    await compressor.close();
  });

  test('one that unpacks to more than it said is refused and handed to nobody', async () => {
    const compressor = createCompressor();
    const lying = {
      compress: () => compressor.compress(new Uint8Array(8000)),
      decompress: compressor.decompress,
    };
    await using nodes = twoNodes({
      compressor: { ...lying, decompress: (bytes, limit) => compressor.decompress(bytes, limit) },
    });
    const { link, got, failures } = await linked(nodes);
    await assert.rejects(nodes.until(link.sendResource(fill('small', 600))), { code: 'mesh/rejected' });
    assert.equal(got.length, 0);
    assert.deepEqual(failures, ['wire/malformed']);
    assert.equal(nodes.b.budget.used, 0);
    // Nobody says such a thing by mistake.
    assert.equal(link.usable, false);
    await compressor.close();
  });

  test('go one after the other over one link, in the order they were given', async () => {
    await using nodes = twoNodes();
    const { link, got } = await linked(nodes);
    await nodes.until(Promise.all([50_000, 10, 3000].map(size => link.sendResource(fill('data', size)))));
    assert.deepEqual(
      got.map(one => one.data.length),
      [50_000, 10, 3000],
    );
  });

  test('go both ways at once', async () => {
    await using nodes = twoNodes();
    const { link, there, got } = await linked(nodes);
    const back: Uint8Array[] = [];
    link.events = {
      onResourceOffer: () => ({
        onResource(resource) {
          back.push(resource.data);
          resource.prove();
        },
      }),
    };
    const data = fill('data', 300_000);
    await nodes.until(Promise.all([link.sendResource(data), there.sendResource(data)]));
    same(got[0]?.data, data);
    same(back[0], data);
  });

  test('the sender is done when the receiver proves it, not before', async () => {
    await using nodes = twoNodes();
    const { link, got } = await linked(nodes, (_, scene) => taking(scene, false));
    let done = false;
    const sending = link.sendResource(fill('data', 2_000_000)).then(() => {
      done = true;
    });
    await nodes.clock.advance(20_000);
    assert.equal(got.length, 1);
    assert.equal(done, false);
    assert.ok(nodes.b.budget.used > 0);
    got[0]!.prove();
    await nodes.until(sending);
    assert.equal(nodes.b.budget.used, 0);
  });

  test('one that is never proven ends as unproven after some 40 s', async () => {
    await using nodes = twoNodes();
    const { link } = await linked(nodes, (_, scene) => taking(scene, false));
    await assert.rejects(nodes.until(link.sendResource(fill('data', 1000))), (error: unknown) => {
      return isGatewayError(error, 'mesh/timeout') && error.detail.unproven === true;
    });
  });

  test('a proof that was lost is asked for and sent again', async () => {
    await using nodes = twoNodes();
    const { link, got } = await linked(nodes);
    let lost = 0;
    nodes.fate = packet =>
      withContext(contexts.resourceProof)(packet) && lost++ === 0 ? [] : [{ after: 1 }];
    await nodes.until(link.sendResource(fill('data', 1000)));
    assert.equal(lost, 2);
    assert.equal(got.length, 1);
  });

  test('the receiver may refuse at the offer, on the way, and at the end', async () => {
    for (const when of ['offer', 'on the way', 'end'] as const) {
      await using nodes = twoNodes();
      const { link, failures } = await linked(nodes, (_, scene) => {
        if (when === 'offer') {
          return 'reject';
        }
        let cancel = () => {};
        return {
          onStart: stop => {
            cancel = stop;
          },
          onProgress: progress => void (when === 'on the way' && progress > 0.3 && cancel()),
          onResource: resource => resource.reject(),
          onFailed: error => void scene.failures.push(error.code),
        };
      });
      await assert.rejects(nodes.until(link.sendResource(fill('data', 900_000))), {
        code: 'mesh/rejected',
      });
      assert.deepEqual(failures, when === 'on the way' ? ['mesh/rejected'] : []);
      assert.equal(nodes.b.budget.used, 0);
      assert.equal(link.state.at, 'active');
    }
  });

  test('the sender may give up, waiting or on the way, and the next one goes through', async () => {
    await using nodes = twoNodes();
    const { link, got, failures } = await linked(nodes);
    const stop = new AbortController();
    const first = link.sendResource(fill('data', 900_000), {
      signal: stop.signal,
      onProgress: progress => void (progress > 0.3 && stop.abort(new Error('enough'))),
    });
    const waiting = link.sendResource(fill('data', 10), { signal: stop.signal });
    const last = link.sendResource(fill('last', 20));
    const [one, other] = await nodes.until(Promise.allSettled([first, waiting]));
    assert.match(String(one.status === 'rejected' && one.reason), /enough/);
    assert.match(String(other.status === 'rejected' && other.reason), /enough/);
    await nodes.until(last);
    assert.deepEqual(failures, ['mesh/rejected']);
    same(got[0]?.data, fill('last', 20));
    assert.equal(nodes.b.budget.used, 0);
  });

  for (const { how, pace, compressed } of [
    { how: 'are not compressed where that takes longer than the link', pace: 100, compressed: false },
    { how: 'are compressed where the link takes longer', pace: 1_000_000, compressed: true },
  ]) {
    test(`that follow others ${how}`, async () => {
      const nodes = twoNodes({
        compressor: {
          async compress(bytes) {
            await nodes.clock.sleep(bytes.length / pace);
            return compress(bytes);
          },
          decompress: async (bytes, limit) => decompress(bytes, { limit }),
        },
      });
      await using _ = nodes;
      const { link, got, offers } = await linked(nodes);
      const text = Buffer.from('all work and no play makes a dull boy\n'.repeat(20_000));
      const noise = fill('noise', 200_000);
      const data = new Uint8Array(Buffer.concat([text, noise]));
      for (let sent = 0; sent < 3; sent++) {
        await nodes.until(link.sendResource(data));
        same(got.at(-1)?.data, data);
      }
      assert.equal(offers[0]?.compressed, true);
      assert.equal(offers[2]?.compressed, compressed);
    });
  }

  test('one that nobody answers for gives its room back after a minute, and may still be proven', async () => {
    await using nodes = twoNodes();
    const { link, got } = await linked(nodes, (_, scene) => taking(scene, false));
    const sending = link.sendResource(fill('data', 1000));
    sending.catch(() => {});
    await nodes.clock.advance(30_000);
    assert.ok(nodes.b.budget.used > 0);
    await nodes.clock.advance(40_000);
    assert.equal(nodes.b.budget.used, 0);
    assert.equal(nodes.b.counters.get('resource/unanswered'), 1);
    await assert.rejects(sending, { code: 'mesh/timeout' });
    const sent = nodes.packets.length;
    got[0]!.prove();
    got[0]!.reject();
    assert.equal(nodes.packets.length, sent + 2);
    assert.equal(nodes.b.budget.used, 0);
  });

  test('what is too large, or too much at once, is refused before anything is allocated', async () => {
    const limits = { resource: 100_000, total: 150_000, perLink: 8 };
    await using nodes = twoNodes({ limits });
    const { link, failures } = await linked(nodes, (_, scene) => taking(scene, false));
    await assert.rejects(nodes.until(link.sendResource(fill('data', 100_001))), {
      code: 'mesh/rejected',
    });
    const held = link.sendResource(fill('data', 70_000));
    await nodes.clock.advance(100);
    assert.ok(nodes.b.budget.used > 140_000);
    await assert.rejects(nodes.until(held), { code: 'mesh/timeout' });
    await assert.rejects(nodes.until(link.sendResource(fill('data', 20_000))), {
      code: 'mesh/rejected',
    });
    assert.deepEqual(failures, ['mesh/too-large', 'store/full']);
    link.close();
    await nodes.clock.advance(10);
    assert.equal(nodes.b.budget.used, 0);
  });

  test('a flood of advertisements that nothing follows holds up an honest sender for two seconds, and no longer', async () => {
    const limits = { resource: 100_000, total: 300_000, perLink: 8 };
    await using nodes = twoNodes({ limits });
    const scenes: Scene[] = [];
    for (let number = 0; number < 7; number++) {
      scenes.push(await linked(nodes));
    }
    const { link, got } = scenes.pop()!;
    let flooding = true;
    const dropped = withContext(contexts.resource);
    nodes.fate = packet => (flooding && dropped(packet) ? [] : [{ after: 1 }]);
    const floods = scenes.map((scene, number) => ({
      ...scene,
      sent: scene.link.sendResource(fill(`flood ${number}`, 60_000)).catch(() => {}),
    }));
    await nodes.clock.advance(100);
    assert.ok(nodes.b.budget.used <= limits.total);
    assert.deepEqual(
      floods.flatMap(({ failures }) => failures),
      ['store/full', 'store/full', 'store/full', 'store/full'],
    );
    await assert.rejects(nodes.until(link.sendResource(fill('honest', 50_000))), { code: 'mesh/rejected' });
    await nodes.clock.advance(2000);
    assert.ok(nodes.b.budget.used > 240_000);
    flooding = false;
    await nodes.until(link.sendResource(fill('honest', 50_000)));
    assert.equal(got.length, 1);
    assert.ok(nodes.b.counters.get('resource/gave-way') > 0);
    await nodes.until(Promise.all(floods.map(({ sent }) => sent)));
    assert.equal(nodes.b.budget.used, 0);
  });

  test('closing the link ends what is on the way at both ends', async () => {
    await using nodes = twoNodes();
    const { link, failures } = await linked(nodes);
    const sending = link.sendResource(fill('data', 3_000_000));
    await nodes.clock.advance(10);
    link.close();
    await assert.rejects(nodes.until(sending), { code: 'mesh/link-closed' });
    await nodes.clock.advance(10);
    assert.deepEqual(failures, ['mesh/link-closed']);
    assert.equal(nodes.b.budget.used, 0);
  });

  test('a sender that vanishes between two segments is given up', async () => {
    await using nodes = twoNodes();
    const { link, failures } = await linked(nodes);
    let advertised = 0;
    nodes.fate = packet =>
      withContext(contexts.resourceAdvertisement)(packet) && advertised++ > 0 ? [] : [{ after: 1 }];
    link.sendResource(fill('data', 2_000_000)).catch(() => {});
    await nodes.clock.advance(200_000);
    assert.deepEqual(failures, ['mesh/timeout']);
    assert.equal(nodes.b.budget.used, 0);
  });

  test('over a lossy medium they arrive, or both ends know that they did not', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1e6 }),
        fc.integer({ min: 1, max: 60_000 }),
        async (seed, size) => {
          await using nodes = twoNodes({ seed, bitrate: 100_000 } satisfies NodesOptions);
          const scene = await linked(nodes);
          nodes.fate = lossy(nodes.a.random);
          const data = fill('data', size);
          const [end] = await nodes.until(Promise.allSettled([scene.link.sendResource(data)]));
          if (end.status === 'fulfilled') {
            same(scene.got[0]?.data, data);
          } else {
            assert.ok(
              isGatewayError(end.reason, 'mesh/timeout', 'mesh/rejected', 'mesh/link-closed'),
              String(end.reason),
            );
          }
          nodes.fate = sound;
          scene.link.close();
          await nodes.clock.advance(200_000);
          assert.equal(nodes.b.budget.used, 0);
        },
      ),
      { numRuns: 12 },
    );
  });
});

/** Loses a tenth, repeats a tenth, corrupts a twentieth, and lets packets overtake each other. */
function lossy(random: Random): Fate {
  const once = (packet: Uint8Array) => {
    const after = 1 + Math.floor(random.fraction() * 20);
    if (random.fraction() > 0.05) {
      return { after };
    }
    const changed = Uint8Array.from(packet);
    changed[packet.length - 1]! ^= 1;
    return { after, packet: changed };
  };
  return packet => {
    const chance = random.fraction();
    return chance < 0.1 ? [] : chance < 0.2 ? [once(packet), once(packet)] : [once(packet)];
  };
}
