import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createDeliveryRecord } from '../../src/gateway/delivery-record.ts';
import type { Happened } from '../../src/gateway/store/delivery-table.ts';
import type { Store } from '../../src/gateway/store/store.ts';
import { Counters } from '../../src/lib/counters.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { ManualClock } from '../sim/clock.ts';

/** A record whose store notes what it is given, and takes it or not. */
function record() {
  const clock = new ManualClock();
  const jobs: string[][] = [];
  const store = { isWell: false };
  const commit = async (_verb: string, args: { inputs: readonly Happened[] } | (() => never)) => {
    const { inputs } = typeof args === 'function' ? args() : args;
    jobs.push(inputs.map(({ input }) => input.on));
    if (!store.isWell) {
      throw new GatewayError('store/unavailable', 'the writer is gone', { retryable: true });
    }
    return 'sending';
  };
  const made = createDeliveryRecord({
    store: { committer: { commit, hasten() {} } } as unknown as Store,
    clock,
    log: silentLog,
    counters: new Counters(),
  });
  return { ...made, clock, jobs, store };
}

test('what is to be on disk now goes behind what the store could not take of the same delivery, and not before it', async () => {
  const { clock, jobs, store, ...one } = record();
  one.write('a', { on: 'wait', reason: 'away' });
  await clock.advance(0);
  assert.ok(one.isLate('a'));
  await assert.rejects(one.commit('a', { on: 'attempt' }), { code: 'store/unavailable' });
  assert.ok(one.isLate('a'), 'what was refused once more is still late');
  store.isWell = true;
  const state = one.commit('a', { on: 'attempt' });
  assert.ok(one.isBehind('a'));
  assert.equal(await state, 'sending');
  assert.equal(one.isBehind('a'), false);
  await clock.advance(60_000);
  assert.deepEqual(jobs, [['wait'], ['wait', 'attempt'], ['wait', 'attempt']]);
});
