import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { networkOf, webhookConfigSchema } from '../../../src/bridges/webhook/config.ts';
import { createGuard } from '../../../src/bridges/webhook/guard.ts';
import { moveTimes, newHook } from '../../../src/bridges/webhook/hook.ts';
import type { Reply } from '../../../src/bridges/webhook/post.ts';
import { attemptOf, fresh, judge, type Progress } from '../../../src/bridges/webhook/progress.ts';
import { keyOf, signedHeaders } from '../../../src/bridges/webhook/signature.ts';
import { createSlots } from '../../../src/bridges/webhook/slots.ts';
import { systemClock } from '../../../src/lib/clock.ts';

const limits = { attempts: 20, firstRetry: 2000, longestRetry: 600_000 };
const day = 86_400_000;

test('the signature of the standard’s own example comes out', () => {
  // Source: the vector of the reference implementations of Standard Webhooks.
  const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
  const now = 1_614_265_330_000;
  const headers = signedHeaders(
    [{ text: secret, createdAt: 0 }],
    'msg_p5jXN8AQM9LWM0D4loKWxJek',
    Buffer.from('{"test": 2432232314}'),
    now,
  );
  assert.deepEqual(headers, {
    'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    'webhook-timestamp': '1614265330',
    'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  });
});

test('a secret is whsec_ and base64 of 24 to 64 bytes, and nothing else', () => {
  const of = (bytes: number) => `whsec_${Buffer.alloc(bytes, 1).toString('base64')}`;
  assert.equal(keyOf(of(24))?.length, 24);
  assert.equal(keyOf(of(64))?.length, 64);
  for (const wrong of [
    of(23),
    of(65),
    of(32).slice(6),
    `${of(32)}!`,
    of(32).replace('=', ''),
    'whsec_',
    '',
  ]) {
    assert.equal(keyOf(wrong), undefined, wrong);
  }
});

test('however attempts end, a webhook is well after a success, waits after a failure, and ends after days or 410 only', () => {
  const reply = fc.record({
    state: fc.constantFrom<Reply['state']>('delivered', 'sent', 'queued', 'gone'),
    duration: fc.nat(20_000),
    retryAfter: fc.option(fc.nat(day), { nil: undefined }),
  });
  const turn = fc.tuple(reply, fc.nat(day), fc.double({ min: 0, max: 0.999, noNaN: true }));
  fc.assert(
    fc.property(fc.array(turn, { maxLength: 60 }), turns => {
      let progress: Progress = fresh;
      let now = 1_800_000_000_000;
      for (const [{ retryAfter, ...answer }, pause, chance] of turns) {
        if (progress.ended !== undefined) {
          break;
        }
        now += pause;
        const before = progress;
        const given = { ...answer, ...(retryAfter !== undefined && { retryAfter }) };
        const judged = judge(before, { id: 'evt_x', type: 'x.y', at: now }, given, {
          now,
          chance,
          patience: 5 * day,
          limits,
        });
        progress = judged.progress;
        assert.ok(progress.attempts.length <= 20);
        assert.equal(progress.attempts[0]?.at, now);
        if (answer.state === 'delivered' || answer.state === 'sent') {
          assert.deepEqual(
            [progress.failures, progress.failingSince, progress.nextAt, judged.delay],
            [0, undefined, undefined, 0],
          );
          assert.equal(progress.lastSuccessAt, now);
        } else {
          assert.equal(progress.failures, before.failures + 1);
          assert.equal(progress.failingSince, before.failingSince ?? now);
          const late = now - (progress.failingSince ?? now) >= 5 * day;
          assert.equal(progress.ended !== undefined, late || answer.state === 'gone');
          if (progress.ended === undefined) {
            assert.ok(judged.delay >= Math.max(1000, retryAfter ?? 0));
            assert.ok(judged.delay <= Math.max(limits.longestRetry, (retryAfter ?? 0) + limits.firstRetry));
            assert.equal(progress.nextAt, now + Math.round(judged.delay));
          }
        }
      }
    }),
    { numRuns: 300 },
  );
});

test('an attempt is remembered with what an answer said, and no more', () => {
  const sent = { id: 'evt_1', type: 'message.accepted', at: 5 };
  assert.deepEqual(attemptOf(sent, { state: 'gone', status: 410, code: 'gone', reason: 'r', duration: 3 }), {
    ...sent,
    state: 'failed',
    status: 410,
    code: 'gone',
    reason: 'r',
    duration: 3,
  });
});

test('places are given in turn, but to doubtful endpoints and to one client only a part of them', async () => {
  const slots = createSlots({ slots: 4, doubtful: 1, perClientSlots: 2 });
  const never = new AbortController().signal;
  const inside: string[] = [];
  const enter = async (name: string, client: string, doubtful: boolean, signal = never) => {
    const leave = await slots.take({ client, doubtful }, signal);
    inside.push(name);
    return leave;
  };
  const first = await enter('d1', 'a', true);
  const waiting = enter('d2', 'b', true);
  await enter('a2', 'a', false);
  const third = enter('a3', 'a', false);
  await enter('c1', 'c', false);
  const given = new AbortController();
  const gone = enter('d3', 'd', true, given.signal);
  given.abort(new DOMException('gone', 'AbortError'));
  await assert.rejects(gone);
  assert.deepEqual(inside, ['d1', 'a2', 'c1']);
  first();
  first();
  await waiting;
  await third;
  assert.deepEqual(inside, ['d1', 'a2', 'c1', 'd2', 'a3']);
});

test('endpoints of a client that hang have half of its places', async () => {
  const slots = createSlots({ slots: 32, doubtful: 8, perClientSlots: 4 });
  const { signal } = new AbortController();
  let inside = 0;
  for (let n = 0; n < 6; n++) {
    void slots.take({ client: 'a', doubtful: true }, signal).then(() => inside++);
  }
  await slots.take({ client: 'a', doubtful: false }, signal);
  assert.equal(inside, 2);
});

test('networks are read strictly, and what the configuration says wrongly is told', () => {
  assert.deepEqual(networkOf('192.168.1.0/24'), { address: '192.168.1.0', bits: 24, family: 'ipv4' });
  assert.deepEqual(networkOf('fd00::1'), { address: 'fd00::1', bits: 128, family: 'ipv6' });
  for (const wrong of [
    '',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    'fe80::1%eth0',
    'lan',
    '10/8',
    '::/129',
  ]) {
    assert.equal(networkOf(wrong), undefined, wrong);
  }
  const result = webhookConfigSchema.safeParse({ allowPrivate: ['lan'], disableAfter: 0, more: 1 });
  assert.equal(result.success ? 0 : result.error.issues.length, 3);
});

test('an address of any form is judged as what it stands for', () => {
  const guard = createGuard({
    clock: systemClock,
    lookup: () => undefined,
    allowPrivate: ['192.168.1.0/24', 'fd00::/8'],
    patience: 1,
  });
  const allowed = ['192.168.1.9', '::ffff:192.168.1.9', 'fd12::1', 'fd12::1%eth0'];
  assert.deepEqual(
    allowed.map(address => guard.refusal(address, false)),
    allowed.map(() => undefined),
  );
  for (const address of [
    '192.168.2.9',
    '::ffff:192.168.2.9',
    '127.0.0.1',
    'fe80::1%eth0',
    '::ffff:0.0.0.0',
  ]) {
    assert.notEqual(guard.refusal(address, true), undefined, address);
  }
  assert.equal(guard.refusal('93.184.215.14', true), undefined);
  assert.match(guard.refusal('93.184.215.14', false) ?? '', /use https/);
});

test('a clock that is set makes no failure older than it is', () => {
  const hook = newHook({
    id: '0'.repeat(32),
    client: 'c',
    createdAt: 0,
    settings: { url: 'https://x.invalid/', enabled: true, acknowledge: false },
    secrets: [],
    position: 'e0000-0',
    progress: { ...fresh, failures: 1, failingSince: 1000, nextAt: 2000 },
  });
  moveTimes(hook, 50);
  assert.deepEqual([hook.progress.failingSince, hook.progress.nextAt], [1000, 2050]);
  hook.noted = true;
  moveTimes(hook, 50);
  assert.deepEqual([hook.progress.failingSince, hook.progress.nextAt], [1050, 2100]);
});
