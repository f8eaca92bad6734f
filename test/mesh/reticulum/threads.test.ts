import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { createSignatureThreads } from '../../../src/lib/signature-threads.ts';
import { encodeRandomBlob, signAnnounce } from '../../../src/mesh/reticulum/announce.ts';
import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { encodePacket } from '../../../src/mesh/reticulum/packet.ts';
import { Transport } from '../../../src/mesh/reticulum/transport.ts';
import { until } from '../../contract/interface.ts';
import { Air } from './air.ts';
import { MemoryStorage } from './memory-storage.ts';

/** A node with the machine's own time and threads. */
function node(air: Air, name: string) {
  const counters = new Counters();
  const transport = new Transport({
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    counters,
    storage: new MemoryStorage(),
    identity: generateIdentity(systemRandom),
    threads: createSignatureThreads(),
  });
  const stop = new AbortController();
  const attachment = transport.attach(air.join(name), { ingress: { limited: false } });
  void attachment.service.run(() => {}, stop.signal);
  return {
    transport,
    counters,
    attachment,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await transport.close();
    },
  };
}

function announced(aspect: string): { readonly hash: Uint8Array; readonly packet: Uint8Array } {
  const destination = new LocalDestination({
    identity: generateIdentity(systemRandom),
    appName: 'many',
    aspects: [aspect],
  });
  const randomBlob = encodeRandomBlob(systemRandom.bytes(5), 1_800_000_000);
  return { hash: destination.hash, packet: encodePacket(signAnnounce(destination, { randomBlob })) };
}

describe('signatures of many packets at once', () => {
  test('of announces are verified by threads: the true ones are learnt, the forged ones counted', async () => {
    const air = new Air();
    await using there = node(air, 'there');
    const all = Array.from({ length: 240 }, (_, at) => announced(String(at)));
    for (const [at, { packet }] of all.entries()) {
      if (at % 3 === 0) {
        packet[packet.length - 1]! ^= 1;
      }
      air.carry(packet);
    }
    await until(
      () => there.transport.sizes().paths === 160 && there.counters.get('crypto/bad-signature') === 80,
    );
    for (const [at, { hash }] of all.entries()) {
      assert.equal(there.transport.path(hash) !== undefined, at % 3 !== 0);
    }
  });

  test('of proofs are verified by threads, and every receipt is concluded once', async () => {
    const air = new Air();
    await using here = node(air, 'here');
    await using there = node(air, 'there');
    const destination = new LocalDestination({
      identity: generateIdentity(systemRandom),
      appName: 'many',
      aspects: [],
      proofStrategy: 'all',
    });
    there.transport.register(destination);
    const outcomes: string[] = [];
    const to = { identity: destination.identity!.public, hash: destination.hash };
    const sent = Array.from({ length: 100 }, (_, at) =>
      here.transport.send({
        destination: to,
        data: new Uint8Array([at]),
        onReceipt: ({ at: what }) => void outcomes.push(what),
      }),
    );
    await Promise.all(sent);
    await until(() => outcomes.length === 100);
    assert.ok(outcomes.every(what => what === 'delivered'));
    assert.equal(here.transport.sizes().receipts, 0);
  });

  test('teach no ways over an interface that is gone meanwhile', async () => {
    const air = new Air();
    await using there = node(air, 'there');
    for (let at = 0; at < 100; at++) {
      air.carry(announced(String(at)).packet);
    }
    there.attachment.detach();
    for (let round = 0; round < 50; round++) {
      await turn();
    }
    assert.equal(there.transport.sizes().paths, 0);
  });

  test('are forgotten where the node is closed meanwhile', async () => {
    const air = new Air();
    const there = node(air, 'there');
    for (let at = 0; at < 100; at++) {
      air.carry(announced(String(at)).packet);
    }
    const known = there.transport.sizes().paths;
    await there[Symbol.asyncDispose]();
    for (let round = 0; round < 50; round++) {
      await turn();
    }
    assert.equal(there.transport.sizes().paths, known);
  });
});
