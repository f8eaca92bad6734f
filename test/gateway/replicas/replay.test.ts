import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  historyLength,
  isOver,
  type OperationStatus,
} from '../../../src/gateway/replicas/outbox-operation.ts';
import {
  longestRetryAfter,
  longestWait,
  type ReplayInput,
  step,
  verdictOf,
} from '../../../src/gateway/replicas/replay.ts';

const fresh: OperationStatus = {
  state: 'queued',
  attempts: 0,
  failures: 0,
  history: [{ state: 'queued', at: 0 }],
};

const input: fc.Arbitrary<ReplayInput> = fc.oneof(
  fc.constant<ReplayInput>({ on: 'send' }),
  fc.constant<ReplayInput>({ on: 'done', given: 'real', etag: '"1"' }),
  fc
    .constantFrom('conflict', 'needs-auth', 'rejected')
    .map((as): ReplayInput => ({ on: 'refused', as, reason: 'no' })),
  fc
    .option(fc.nat(2 ** 31), { nil: undefined })
    .map((after): ReplayInput => ({ on: 'put-off', reason: 'later', ...(after !== undefined && { after }) })),
  fc.constant<ReplayInput>({ on: 'unsent', reason: 'gone' }),
  fc.boolean().map((again): ReplayInput => ({ on: 'lost', reason: 'lost', again })),
  fc.constantFrom<ReplayInput>(
    { on: 'rebase', reason: 'merged' },
    { on: 'credentials' },
    { on: 'expire' },
    { on: 'retry' },
    { on: 'not-done' },
    { on: 'over' },
    { on: 'discard', reason: 'a person' },
  ),
);

function run(
  inputs: readonly ReplayInput[],
  see: (before: OperationStatus, input: ReplayInput, after: OperationStatus) => void,
) {
  let status = fresh;
  let at = 1000;
  for (const each of inputs) {
    at += 1000;
    const after = step(status, each, at, { fraction: 0.5 });
    if (after !== undefined) {
      see(status, each, after);
      status = after;
    }
  }
  return status;
}

test('whatever happens, a write that is over stays over and only a word of the origin or a person makes it done', () => {
  fc.assert(
    fc.property(fc.array(input, { maxLength: 60 }), inputs => {
      run(inputs, (before, each, after) => {
        assert.ok(!isOver(before), 'nothing follows an end');
        if (after.state === 'done') {
          assert.equal(each.on, 'done');
        }
        if (after.state === 'discarded') {
          assert.equal(each.on, 'discard');
        }
        assert.ok(after.attempts >= before.attempts);
        assert.ok(after.history.length <= historyLength);
        assert.equal(after.history.at(-1)?.state, after.state);
      });
    }),
  );
});

test('an attempt in doubt is never sent again on its own unless that does no harm', () => {
  fc.assert(
    fc.property(fc.array(input, { maxLength: 60 }), inputs => {
      run(inputs, (before, each, after) => {
        if (before.state === 'ambiguous' && after.state === 'queued') {
          assert.ok(['not-done', 'over', 'retry'].includes(each.on), 'a person decided');
        }
        if (each.on === 'lost' && !each.again) {
          assert.equal(after.state, 'ambiguous');
        }
        if (each.on === 'unsent' && before.lost) {
          assert.equal(after.lost, true, 'an attempt before it is still in doubt');
        }
      });
    }),
  );
});

test('waits grow with failures, by chance, and end; what the origin asks for is heeded within a day', () => {
  fc.assert(
    fc.property(
      fc.nat(100),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (failures, fraction) => {
        const status: OperationStatus = { ...fresh, state: 'inflight', failures };
        const after = step(status, { on: 'put-off', reason: '' }, 0, { fraction });
        assert.ok((after?.nextAt ?? -1) >= 0 && (after?.nextAt ?? 0) <= longestWait);
        const asked = step(status, { on: 'put-off', reason: '', after: 2 ** 40 }, 0, { fraction });
        assert.equal(asked?.nextAt, longestRetryAfter);
      },
    ),
  );
});

test('only 2xx and 303 count as delivered, and a deletion of what is not there', () => {
  for (let status = 100; status < 600; status++) {
    const done = (status >= 200 && status < 300) || status === 303;
    assert.equal(verdictOf('POST', status) === 'done', done, String(status));
  }
  assert.equal(verdictOf('DELETE', 404), 'done');
  assert.equal(verdictOf('PUT', 404), 'rejected');
  assert.deepEqual(
    [409, 412, 428].map(status => verdictOf('PUT', status)),
    ['conflict', 'conflict', 'conflict'],
  );
  assert.deepEqual(
    [408, 425, 429, 500, 503].map(status => verdictOf('PUT', status)),
    Array(5).fill('retry'),
  );
  assert.deepEqual(
    [401, 403].map(status => verdictOf('PUT', status)),
    ['needs-auth', 'needs-auth'],
  );
  assert.deepEqual(
    [301, 307, 400, 422].map(status => verdictOf('PUT', status)),
    Array(4).fill('rejected'),
  );
});
