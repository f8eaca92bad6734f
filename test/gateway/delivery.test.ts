import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type DeliveryInput,
  type DeliveryStatus,
  isOpen,
  newDelivery,
  step,
} from '../../src/gateway/delivery.ts';

const input: fc.Arbitrary<DeliveryInput> = fc.oneof(
  fc.constant({ on: 'attempt' } as const),
  fc.record({
    on: fc.constant('wait' as const),
    reason: fc.constantFrom('no path yet', 'busy'),
    nextAt: fc.nat(),
  }),
  fc.record({ on: fc.constant('explain' as const), reason: fc.constantFrom('no path yet', 'asking') }),
  fc.record({
    on: fc.constant('progress' as const),
    state: fc.constantFrom('sent' as const, 'delivered' as const, 'read' as const),
    underway: fc.boolean(),
  }),
  fc.constant({ on: 'fail', code: 'bridge/rejected', reason: 'no' } as const),
  fc.constant({ on: 'lose', reason: 'no answer' } as const),
  fc.constant({ on: 'expire' } as const),
  fc.constant({ on: 'cancel' } as const),
  fc.constant({ on: 'last', reason: 'not in the room any more' } as const),
  fc.record({ on: fc.constant('restart' as const), deduplicates: fc.boolean() }),
);

const ends = new Set(['read', 'failed', 'expired', 'cancelled', 'ambiguous']);

test('an end is never left, progress never goes back, and the history tells every state', () => {
  fc.assert(
    fc.property(fc.array(input, { maxLength: 40 }), inputs => {
      let now: DeliveryStatus = newDelivery(0);
      for (const [at, one] of inputs.entries()) {
        const next = step(now, one, at);
        if (next === undefined) {
          continue;
        }
        const isProof = one.on === 'progress' && one.state !== 'sent';
        const isFarWord = isProof || (one.on === 'fail' && now.state === 'ambiguous');
        const mayBeLeft = now.state === 'cancelled' ? next.state === 'cancelled' : now.state !== 'read';
        const isOver = ends.has(now.state) && !(isFarWord && mayBeLeft);
        assert.ok(!isOver, `left ${now.state} by ${one.on}`);
        if (now.state === 'delivered') {
          assert.equal(next.state, 'read');
        }
        if (next.underway) {
          assert.ok(['sending', 'queued', 'sent'].includes(next.state));
        }
        assert.equal(next.history.at(-1)?.state, next.state);
        assert.ok(next.history.length <= 50);
        assert.ok(next.attempts >= now.attempts);
        now = next;
      }
    }),
    { numRuns: 500 },
  );
});

test('whatever happens, a restart leaves nothing under way', () => {
  fc.assert(
    fc.property(fc.array(input, { maxLength: 40 }), fc.boolean(), (inputs, deduplicates) => {
      let now: DeliveryStatus = newDelivery(0);
      for (const one of inputs) {
        now = step(now, one, 1) ?? now;
      }
      const after = step(now, { on: 'restart', deduplicates }, 2) ?? now;
      assert.equal(after.underway, false);
      assert.ok(!isOpen(after) || after.state === 'queued');
    }),
  );
});

test('an attempt of unknown outcome is held where the far side cannot tell a repeat', () => {
  const sending = step(newDelivery(0), { on: 'attempt' }, 1) as DeliveryStatus;
  assert.equal(step(sending, { on: 'restart', deduplicates: false }, 2)?.state, 'ambiguous');
  assert.equal(step(sending, { on: 'restart', deduplicates: true }, 2)?.state, 'queued');
  assert.equal(step(sending, { on: 'lose', reason: 'no answer' }, 2)?.state, 'ambiguous');
});

test('of what is called back during an attempt no other follows, whatever the attempt says and however the process ends', () => {
  const sending = step(newDelivery(0), { on: 'attempt' }, 1) as DeliveryStatus;
  const last = step(sending, { on: 'last', reason: 'not in the room any more' }, 2) as DeliveryStatus;
  assert.deepEqual([last.state, last.underway], ['sending', true]);
  assert.equal(last.reason, 'the last attempt: not in the room any more');
  assert.equal(step(last, { on: 'last', reason: 'its recipient is blocked' }, 3), undefined, 'once');
  const said = [
    { on: 'progress', state: 'sent', underway: true },
    { on: 'explain', reason: 'no path yet' },
  ] as const;
  for (const before of [last, ...said.map(word => step(last, word, 3) as DeliveryStatus)]) {
    const after = step(before, { on: 'restart', deduplicates: true }, 4) as DeliveryStatus;
    assert.deepEqual([after.state, after.reason], ['cancelled', 'not in the room any more']);
    assert.equal(after.history.at(-2)?.state, 'ambiguous', 'it may be there');
    assert.equal(step(before, { on: 'restart', deduplicates: false }, 4)?.state, 'ambiguous');
    assert.equal(step(before, { on: 'progress', state: 'delivered' }, 4)?.state, 'delivered');
  }
  const failed = step(last, { on: 'fail', code: 'bridge/rejected', reason: 'no' }, 3) as DeliveryStatus;
  const again = [{ on: 'retry' }, { on: 'attempt' }] as const;
  const anew = again.reduce<DeliveryStatus>((now, one) => step(now, one, 4) as DeliveryStatus, failed);
  assert.equal(
    step(anew, { on: 'restart', deduplicates: true }, 5)?.state,
    'queued',
    'a person wants it by now',
  );
  assert.equal(step(newDelivery(0), { on: 'last', reason: 'x' }, 1), undefined, 'nothing is under way');
});

test('what is proven to have arrived is delivered, whatever was said before, and what was called back stays that and says so', () => {
  const sending = step(newDelivery(0), { on: 'attempt' }, 1) as DeliveryStatus;
  const late = { on: 'progress', state: 'delivered' } as const;
  for (const end of [{ on: 'fail', code: 'bridge/rejected', reason: 'no' }, { on: 'expire' }] as const) {
    const ended = step(sending, end, 2) as DeliveryStatus;
    const after = step(ended, late, 3) as DeliveryStatus;
    assert.equal(after.state, 'delivered');
    assert.match(after.reason ?? '', /^it arrived after all, and had/);
    assert.equal(after.code, undefined);
    assert.equal(step(after, late, 4), undefined, 'once');
    assert.equal(step(after, { on: 'fail', code: 'bridge/rejected', reason: 'no' }, 4), undefined);
    assert.equal(step(after, { on: 'progress', state: 'read' }, 5)?.state, 'read');
    assert.equal(step(ended, { on: 'progress', state: 'sent' }, 3), undefined, 'that proves nothing');
  }
  const cancelled = step(sending, { on: 'cancel' }, 2) as DeliveryStatus;
  const told = step(cancelled, late, 3) as DeliveryStatus;
  assert.deepEqual([told.state, told.reason], ['cancelled', 'called back; it arrived all the same']);
  assert.equal(step(told, late, 4), undefined, 'once');
});
