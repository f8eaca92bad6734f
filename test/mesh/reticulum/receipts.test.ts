import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { decodePacket, packetHash } from '../../../src/mesh/reticulum/packet.ts';
import { type ReceiptOutcome, Receipts } from '../../../src/mesh/reticulum/receipts.ts';
import { ManualClock } from '../../sim/clock.ts';
import { bytesOf, vectors } from './vectors.ts';

interface ProofValue {
  readonly kind: 'implicit' | 'explicit';
  readonly privateKey: string;
  readonly proved: string;
}

const cases = vectors<ProofValue>('proof');

function waiting(value: ProofValue) {
  const clock = new ManualClock();
  const receipts = new Receipts(clock);
  const outcomes: ReceiptOutcome[] = [];
  const hash = packetHash(bytesOf(value.proved));
  const { public: receiver } = decodeIdentity(bytesOf(value.privateKey));
  receipts.add({
    hash,
    timeout: 1000,
    verify: signature => receiver.verify(signature, hash),
    conclude: outcome => outcomes.push(outcome),
  });
  return { clock, receipts, outcomes, hash };
}

describe('a receipt', () => {
  test('is concluded by the proof of the reference, implicit and explicit', async () => {
    for (const { name, bytes, value } of cases) {
      const { clock, receipts, outcomes } = waiting(value);
      await clock.advance(40);
      const proof = decodePacket(bytesOf(bytes));
      assert.equal(receipts.prove(proof.destinationHash, proof.data), 'proven', name);
      assert.deepEqual(outcomes, [{ at: 'delivered', rtt: 40 }]);
      assert.equal(receipts.prove(proof.destinationHash, proof.data), 'unknown', name);
      assert.equal(clock.waiting, 0);
    }
  });

  test('is not concluded by a proof that is truncated, changed or for another packet', () => {
    for (const { name, bytes, value } of cases) {
      const { receipts, outcomes } = waiting(value);
      const { destinationHash, data } = decodePacket(bytesOf(bytes));
      for (let length = 1; length < data.length; length++) {
        assert.equal(receipts.prove(destinationHash, data.subarray(0, length)), 'invalid', name);
      }
      for (const at of [0, 33, data.length - 1]) {
        const changed = new Uint8Array(data);
        changed[at] = changed[at]! ^ 1;
        assert.equal(receipts.prove(destinationHash, changed), 'invalid', name);
      }
      assert.equal(receipts.prove(new Uint8Array(16), data), 'unknown', name);
      assert.equal(outcomes.length, 0);
    }
  });

  test('fails once when its time is over, or when all is closed, and not when it was withdrawn', async () => {
    const { value } = cases[0]!;
    const late = waiting(value);
    await late.clock.advance(5000);
    assert.deepEqual(late.outcomes, [{ at: 'failed', code: 'mesh/timeout' }]);
    const closed = waiting(value);
    closed.receipts.close();
    assert.deepEqual(closed.outcomes, [{ at: 'failed', code: 'mesh/link-closed' }]);
    const withdrawn = waiting(value);
    assert.equal(withdrawn.receipts.withdraw(withdrawn.hash), true);
    assert.equal(withdrawn.receipts.withdraw(withdrawn.hash), false);
    await withdrawn.clock.advance(5000);
    assert.deepEqual(withdrawn.outcomes, []);
  });

  test('is given up for a newer one when too many are waited for', () => {
    const clock = new ManualClock();
    const receipts = new Receipts(clock);
    const failed: number[] = [];
    for (let i = 0; i < 16_386; i++) {
      const hash = new Uint8Array(32);
      new DataView(hash.buffer).setUint32(0, i);
      receipts.add({ hash, timeout: 1000, verify: () => true, conclude: () => failed.push(i) });
    }
    assert.deepEqual(failed, [0, 1]);
    assert.equal(receipts.size, 16_384);
  });
});
