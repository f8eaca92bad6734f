import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { createSignatureThreads, type SignatureThreads } from '../../../src/lib/signature-threads.ts';
import { AccessCode } from '../../../src/mesh/reticulum/access-code.ts';
import { encodeRandomBlob, signAnnounce } from '../../../src/mesh/reticulum/announce.ts';
import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { encodePacket } from '../../../src/mesh/reticulum/packet.ts';
import { Transport } from '../../../src/mesh/reticulum/transport.ts';
import { seededRandom } from '../../sim/random.ts';
import { Air } from './air.ts';
import { MemoryStorage } from './memory-storage.ts';

const random = seededRandom(21);
const accessCode = new AccessCode({ networkName: 'net', passphrase: 'pass', size: 16 });

/** A node, and every word that its destination was told, in order. */
function node(threads: SignatureThreads | undefined) {
  const air = new Air();
  const counters = new Counters();
  const transport = new Transport({
    ...{ clock: systemClock, random: seededRandom(3), log: silentLog, counters },
    storage: new MemoryStorage(),
    identity: generateIdentity(seededRandom(4)),
    ...(threads !== undefined && { threads }),
  });
  const told: number[] = [];
  transport.register(
    new LocalDestination({
      ...{ appName: 'told', aspects: [] },
      onPacket: ({ data }) => void told.push(data[0]! * 256 + data[1]!),
    }),
  );
  const stop = new AbortController();
  const station = air.join('air');
  const attachment = transport.attach(station, { accessCode, ingress: { limited: false } });
  void attachment.service.run(() => {}, stop.signal);
  return {
    transport,
    told,
    /** Gives it a packet, and waits where it asks to. */
    receive: async (packet: Uint8Array) => station.port?.receive(packet),
    counted: () => counters.snapshot(),
    paths: () => [...transport.paths()].map(({ packetHash }) => packetHash.toHex()).sort(),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await transport.close();
    },
  };
}

/** Announces, newer and older ones of each destination, words to all, and both of them damaged. */
function traffic(count: number): Uint8Array[] {
  const identities = Array.from({ length: 40 }, () => generateIdentity(random));
  const plain = new LocalDestination({ appName: 'told', aspects: [] });
  const all: Uint8Array[] = [];
  const any = (below: number) => Math.floor(random.fraction() * below);
  for (let at = 0; at < count; at++) {
    const destination = new LocalDestination({
      identity: identities[any(identities.length)]!,
      ...{ appName: 'many', aspects: [String(any(5))] },
    });
    const randomBlob = encodeRandomBlob(random.bytes(5), 1_800_000_000 + ((at * 7919) % 100_003));
    const packet =
      at % 3 === 0
        ? encodePacket({
            ...{ hops: 0, contextFlag: false, propagation: 'broadcast', destinationType: 'plain' },
            ...{ packetType: 'data', destinationHash: plain.hash, context: 0 },
            data: Uint8Array.of(at >> 8, at & 0xff, ...random.bytes(8)),
          } as Parameters<typeof encodePacket>[0])
        : encodePacket(signAnnounce(destination, { randomBlob }));
    if (any(5) === 0) {
      packet[any(packet.length)]! ^= 1 << any(8);
    }
    const sealed = accessCode.seal(packet);
    if (any(10) === 0) {
      sealed[any(sealed.length)]! ^= 1 << any(8);
    }
    all.push(any(20) === 0 ? sealed.subarray(0, any(sealed.length)) : sealed);
  }
  return all;
}

/** What a forged announce is counted as, and an older one, goes by whether it was looked at before the newer was through. */
function dropped({ counted }: ReturnType<typeof node>) {
  const { 'crypto/bad-signature': _forged, 'mesh/duplicate': _older, ...all } = counted();
  return all;
}

test('a node with threads makes of genuine and damaged traffic what one without makes, in the same order', async () => {
  await using alone = node(undefined);
  await using helped = node(createSignatureThreads());
  for (const packet of traffic(3000)) {
    await alone.receive(new Uint8Array(packet));
    const asked = helped.receive(new Uint8Array(packet));
    if (random.fraction() < 0.2) {
      await asked;
    }
  }
  const seen = (one: typeof alone) => [one.told, one.paths(), dropped(one)];
  for (let round = 0; round < 6000 && !isDeepStrictEqual(seen(helped), seen(alone)); round++) {
    await pause(5);
  }
  assert.ok(alone.told.length > 500);
  assert.ok(helped.counted()['crypto/bad-signature']! > 50);
  assert.deepEqual(helped.told, alone.told);
  assert.deepEqual(helped.paths(), alone.paths());
  assert.deepEqual(dropped(helped), dropped(alone));
});
