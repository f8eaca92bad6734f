import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getHeapStatistics } from 'node:v8';
import { Counters } from '../../src/lib/counters.ts';
import { type Log, silentLog } from '../../src/lib/log.ts';
import { encodeDeliveryAnnounce } from '../../src/mesh/lxmf/announce.ts';
import { encodeMessage, withoutDestination } from '../../src/mesh/lxmf/message.ts';
import type { ReceivedMessage } from '../../src/mesh/lxmf/receiver.ts';
import { LxmfRouter } from '../../src/mesh/lxmf/router.ts';
import { encodeRandomBlob, signAnnounce } from '../../src/mesh/reticulum/announce.ts';
import { BufferReader } from '../../src/mesh/reticulum/buffer-reader.ts';
import { LocalDestination } from '../../src/mesh/reticulum/destination.ts';
import { hkdf } from '../../src/mesh/reticulum/hkdf.ts';
import { generateIdentity } from '../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../src/mesh/reticulum/incoming-budget.ts';
import { exchange, importPrivate, importPublic, publicOf } from '../../src/mesh/reticulum/keys.ts';
import {
  decodeLinkRequestProof,
  encodeLinkRequest,
  encodeRtt,
  linkIdOf,
} from '../../src/mesh/reticulum/link-wire.ts';
import { Links } from '../../src/mesh/reticulum/links.ts';
import { contexts, decodePacket, encodePacket, type Packet } from '../../src/mesh/reticulum/packet.ts';
import { sealToken } from '../../src/mesh/reticulum/token.ts';
import { Transport } from '../../src/mesh/reticulum/transport.ts';
import { Air, settled } from '../mesh/reticulum/air.ts';
import { MemoryStorage } from '../mesh/reticulum/memory-storage.ts';
import { ManualClock } from '../sim/clock.ts';
import { seededRandom } from '../sim/random.ts';
import { cases, plaintexts } from './corpus.ts';
import { nextInput, one, pick } from './mutate.ts';

/*
 * A whole node among hostile neighbours: mutated packets on its medium, and a peer that has an established link
 * and its key, and says anything under any context. Nothing of it may be a bug, and the node goes on afterwards.
 */

const runs = Number(process.env.FUZZ_RUNS ?? 3000);
const seed = Number(process.env.SEED ?? (process.env.FUZZ_RUNS === undefined ? 1 : Date.now() % 2 ** 31));
const growth = 96 * 1024 * 1024;

const onAir = [
  'packet',
  'announce',
  'path-request',
  'proof',
  'link',
  'single-packet',
  'resource-transfer',
  'channel',
]
  .flatMap(page => cases(page).map(({ bytes }) => bytes))
  .filter(({ length }) => length > 0);
/** What a peer says on a link under each context, from the vectors. */
const said: ReadonlyMap<number, readonly Uint8Array[]> = new Map([
  [contexts.none, cases('lxmf').map(({ bytes }) => bytes)],
  [contexts.resourceAdvertisement, cases('resource').map(({ bytes }) => bytes)],
  [contexts.resourceRequest, plaintexts('resource-transfer', /^request$/)],
  [contexts.resourceHashmapUpdate, plaintexts('resource-transfer', /^hashmap update$/)],
  [contexts.resourceProof, plaintexts('resource-transfer', /^proof$/)],
  [contexts.resource, plaintexts('resource-transfer', /^part$/)],
  [contexts.resourceInitiatorCancel, plaintexts('resource-transfer', /cancel$/)],
  [contexts.resourceReceiverCancel, plaintexts('resource-transfer', /cancel$/)],
  [contexts.request, plaintexts('link', /^request/)],
  [contexts.response, plaintexts('link', /^response/)],
  [contexts.linkIdentify, plaintexts('link', /identify/)],
  [contexts.linkRtt, plaintexts('link', /rtt/)],
  [
    contexts.channel,
    cases('channel').flatMap(({ bytes, value }) => (value.kind === 'envelope' ? [bytes] : [])),
  ],
  [contexts.keepalive, [Uint8Array.of(0xff), Uint8Array.of(0xfe)]],
]);

/** A node with LXMF on the air, and what it took for a bug. */
function hostileAir() {
  const random = seededRandom(seed);
  const clock = new ManualClock();
  const air = new Air();
  const counters = new Counters();
  const bugs: unknown[] = [];
  const log: Log = { ...silentLog, error: (...said: unknown[]) => void bugs.push(said), child: () => log };
  const parts = { clock, random, log, counters };
  const transport = new Transport({
    ...parts,
    storage: new MemoryStorage(),
    identity: generateIdentity(random),
  });
  const links = new Links({ ...parts, transport, budget: new IncomingBudget() });
  transport.useLinks(links);
  const router = new LxmfRouter({ clock, log, counters, transport, links });
  const inbox: ReceivedMessage[] = [];
  const local = router.destination({
    identity: generateIdentity(random),
    appData: () => encodeDeliveryAnnounce('node'),
    onMessage: async message => void inbox.push(message),
  });
  router.serve(local);
  const stop = new AbortController();
  const running = transport.attach(air.join('air')).service.run(() => {}, stop.signal);
  return {
    random,
    clock,
    air,
    counters,
    bugs,
    local,
    inbox,
    links,
    async [Symbol.asyncDispose]() {
      router.close();
      links.close();
      await transport.close();
      stop.abort();
      await running;
    },
  };
}

type Hostile = ReturnType<typeof hostileAir>;

const plain = { hops: 0, transportId: undefined, contextFlag: false, propagation: 'broadcast' } as const;

/** Opens a link as its initiator, and gives what seals and sends on it. */
async function openLink({
  random,
  air,
  clock,
  local,
  links,
}: Hostile): Promise<(context: number, body: Uint8Array) => void> {
  const own = importPrivate('x25519', random.bytes(32));
  const data = encodeLinkRequest({
    encryptionKey: publicOf(own),
    signingKey: generateIdentity(random).public.publicKey.slice(32),
    mtu: 500,
    signalled: false,
  });
  const request = encodePacket({
    ...plain,
    destinationType: 'single',
    packetType: 'link-request',
    destinationHash: local.hash,
    context: contexts.none,
    data,
  });
  const id = linkIdOf(request, data.length);
  const from = air.packets.length;
  air.carry(request);
  await clock.advance(5);
  await settled();
  const answer = air.packets
    .slice(from)
    .map(tryPacket)
    .find(
      packet =>
        packet?.context === contexts.linkRequestProof && Buffer.compare(packet.destinationHash, id) === 0,
    );
  assert.ok(answer, 'the node answers a link request');
  const peer = importPublic('x25519', decodeLinkRequestProof(answer.data).encryptionKey);
  const key = hkdf(exchange(own, peer), 64, id);
  const send = (context: number, body: Uint8Array) => {
    const clear =
      context === contexts.keepalive || context === contexts.resource || context === contexts.resourceProof;
    air.carry(
      encodePacket({
        ...plain,
        destinationType: 'link',
        packetType: context === contexts.resourceProof ? 'proof' : 'data',
        destinationHash: id,
        context,
        data: clear ? (body.length === 0 ? Uint8Array.of(0) : body) : sealToken(key, body, random.bytes(16)),
      }),
    );
  };
  send(contexts.linkRtt, encodeRtt(5));
  await clock.advance(5);
  for (const link of links.all()) {
    new BufferReader(link.channel, 1, { capacity: 4096 });
  }
  return send;
}

function tryPacket(bytes: Uint8Array): Packet | undefined {
  try {
    return decodePacket(bytes);
  } catch {
    return undefined;
  }
}

/** A neighbour nobody heard of before announces itself and writes; it must arrive. */
async function writes(node: Hostile, text: string): Promise<void> {
  const { random, air, clock, local, inbox } = node;
  const identity = generateIdentity(random);
  const source = new LocalDestination({ identity, appName: 'lxmf', aspects: ['delivery'] });
  air.carry(
    encodePacket(signAnnounce(source, { randomBlob: encodeRandomBlob(random.bytes(5), clock.now() / 1000) })),
  );
  await clock.advance(10);
  const content = new TextEncoder().encode(text);
  const { packed } = encodeMessage(
    {
      destination: local.hash,
      source: source.hash,
      timestamp: clock.now() / 1000,
      title: new Uint8Array(),
      content,
      fields: new Map(),
    },
    identity,
  );
  air.carry(
    encodePacket({
      ...plain,
      destinationType: 'single',
      packetType: 'data',
      destinationHash: local.hash,
      context: contexts.none,
      data: local.identity!.public.encrypt(withoutDestination(packed), random),
    }),
  );
  await clock.advance(10);
  await settled();
  const heard = inbox.map(({ message }) => new TextDecoder().decode(message.content));
  assert.ok(heard.includes(text), `${text} was not heard`);
}

test(`a node takes no harm from any packets on its medium (SEED=${seed})`, async () => {
  await using node = hostileAir();
  const { random, clock, air, bugs, counters, local } = node;
  const before = getHeapStatistics().used_heap_size;
  const addresses = [local.hash, random.bytes(16)];
  for (let run = 0; run < runs; run++) {
    const packet = nextInput(random, onAir).subarray(0, 600);
    if (random.fraction() < 0.5 && packet.length > 18) {
      // To whom it may concern: most of what is fuzzed is for nobody.
      packet.set(one(random, addresses), (packet[0] as number) & 0x40 && packet.length > 34 ? 18 : 2);
    }
    air.carry(packet);
    if (run % 50 === 0) {
      air.packets.length = 0;
      await clock.advance(pick(random, 100));
    }
    assert.deepEqual(bugs, [], packet.toHex());
  }
  await clock.advance(60_000);
  assert.equal(counters.get('internal'), 0);
  assert.ok(getHeapStatistics().used_heap_size - before < growth);
  await writes(node, 'after the noise');
});

test(`a peer that says anything on its link harms nobody (SEED=${seed})`, async () => {
  await using node = hostileAir();
  const { random, clock, air, bugs, counters, links } = node;
  const before = getHeapStatistics();
  let send = await openLink(node);
  for (let run = 0; run < runs; run++) {
    const known = random.fraction() < 0.9;
    const context = known ? one(random, [...said.keys()]) : pick(random, 256);
    const body = nextInput(random, said.get(context) ?? onAir).subarray(0, 430);
    send(context, body);
    if (run % 20 === 0) {
      await clock.advance(pick(random, 50));
      await settled();
    }
    assert.deepEqual(bugs, [], `context ${context}: ${body.toHex()}`);
    if (run % 100 === 99 || links.size === 0) {
      air.packets.length = 0;
      send = await openLink(node);
    }
  }
  await clock.advance(60_000);
  assert.deepEqual(bugs, []);
  assert.equal(counters.get('internal'), 0);
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  assert.ok(heap + external - before.used_heap_size - before.external_memory < growth);
  await writes(node, 'after the talk');
});
