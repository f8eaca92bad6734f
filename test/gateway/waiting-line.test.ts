import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Attempts } from '../../src/gateway/attempts.ts';
import type { DeliveryInput } from '../../src/gateway/delivery.ts';
import { defaultLimits } from '../../src/gateway/limits.ts';
import { createRecentMessages } from '../../src/gateway/recent-messages.ts';
import type { Store } from '../../src/gateway/store/store.ts';
import {
  type Attempt,
  createBridgeLines,
  type Entry,
  insert,
  lineOf,
  place,
  reasonOf,
  type WaitingLine,
} from '../../src/gateway/waiting-line.ts';
import { Counters } from '../../src/lib/counters.ts';
import { silentLog } from '../../src/lib/log.ts';
import { ManualClock } from '../sim/clock.ts';
import { seededRandom } from '../sim/random.ts';
import { memoryBridge } from './fixture.ts';

function entryIn(line: WaitingLine, seq: number): Entry {
  return {
    id: `delivery-${seq}`,
    seq,
    line,
    message: `message-${seq}`,
    priority: 1,
    expiresAt: Number.POSITIVE_INFINITY,
    attempts: 0,
    mayRemember: false,
    mayHaveLeft: false,
    isRewritten: false,
    bugs: 0,
    attempt: undefined,
  };
}

test('an empty line that changes still speak of is there until they are settled, and stays the only one', () => {
  const bridge = createBridgeLines(memoryBridge());
  const line = lineOf(bridge, 'lxmf:x');
  line.undecided = 2;
  place(line);
  line.undecided -= 1;
  place(line);
  assert.equal(lineOf(bridge, 'lxmf:x'), line);
  line.undecided -= 1;
  place(line);
  const next = lineOf(bridge, 'lxmf:x');
  assert.notEqual(next, line);
  place(line);
  assert.equal(lineOf(bridge, 'lxmf:x'), next);
});

test('what is called back while the beginning of its attempt is being written is not given to its bridge', async () => {
  const bridge = memoryBridge('sms', { deduplicates: false });
  const lines = createBridgeLines(bridge);
  const gate = Promise.withResolvers<undefined>();
  const written: DeliveryInput[] = [];
  const over: string[] = [];
  const attempts = new Attempts({
    store: { committer: { waiting: 0 } } as unknown as Store,
    clock: new ManualClock(),
    random: seededRandom(1),
    log: silentLog,
    counters: new Counters(),
    limits: defaultLimits,
    recent: createRecentMessages(),
    record: {
      commit: () => gate.promise,
      write: (_id, input) => void written.push(input),
      isBehind: () => false,
      isLate: () => false,
      stop: async () => {},
    },
    onOver: ({ id }) => void over.push(id),
  });
  const entry = entryIn(lineOf(lines, 'sms:x'), 1);
  insert(entry);
  lines.down = undefined;
  place(entry.line);
  attempts.pump(lines);
  const { attempt } = entry;
  assert.ok(attempt);
  attempt.ending = { on: 'cancel', reason: 'its recipient is blocked' };
  gate.resolve(undefined);
  await attempt.done;
  assert.equal(bridge.delivered.length, 0);
  assert.deepEqual(written, [{ on: 'cancel', reason: 'its recipient is blocked' }]);
  assert.deepEqual(over, [entry.id]);
});

test('whoever waits is told why: for others of its address, for what is being written, or for a busy bridge', () => {
  const bridge = createBridgeLines(memoryBridge());
  const line = lineOf(bridge, 'lxmf:00112233445566778899aabbccddeeff');
  const first = entryIn(line, 1);
  const second = entryIn(line, 2);
  insert(first);
  insert(second);
  assert.equal(reasonOf(first, false), undefined);
  assert.match(String(reasonOf(second, false)), /others for the same address/);
  line.flying.add({ entry: entryIn(line, 0) } as Attempt);
  assert.match(String(reasonOf(first, false)), /others for the same address/);
  line.flying.clear();
  line.undecided = 1;
  assert.match(String(reasonOf(first, false)), /is being written/);
  line.undecided = 0;
  bridge.active = bridge.bridge.carries.concurrency;
  assert.match(String(reasonOf(first, false)), /is busy with others/);
});
