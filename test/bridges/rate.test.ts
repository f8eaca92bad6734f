import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Bucket, takeOne } from '../../src/bridges/rate.ts';
import { openGateway } from './gateway.ts';

test('in any stretch of time a bucket gives no more than its quota and what filled it', () => {
  const policy = { quota: 5, window: 10 };
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5000 }), { maxLength: 100 }), gaps => {
      let bucket: Bucket | undefined;
      let now = 0;
      let taken = 0;
      for (const gap of gaps) {
        now += gap;
        const step = takeOne(bucket, policy, now);
        bucket = step.bucket;
        taken += Number(step.taken);
        assert.ok(bucket.left >= 0 && bucket.left <= policy.quota);
        assert.ok(taken <= policy.quota + (now / 1000) * (policy.quota / policy.window) + 1e-6);
        if (!step.taken) {
          const later = takeOne(bucket, policy, now + Math.ceil(step.wait * 1000) + 1);
          assert.ok(later.taken, 'after the wait it told there is one');
        }
      }
    }),
  );
});

test('an answer says what is left of requests and sends, and what is too much is 429 with when to come again', async () => {
  const rates = { requests: { quota: 5, window: 3600 }, sends: { quota: 2, window: 3600 } };
  await using gateway = await openGateway({ http: { rates } });
  const app = await gateway.client('app');
  const other = await gateway.client('other');
  const send = () => gateway.call(app, 'POST', '/v1/messages', { to: 'app:other', text: 'x' });
  const first = await send();
  assert.equal(first.headers.get('ratelimit-policy'), '"requests";q=5;w=3600, "sends";q=2;w=3600');
  assert.match(first.headers.get('ratelimit') ?? '', /^"requests";r=4;t=\d+, "sends";r=1;t=\d+$/);
  await send();
  const refused = await send();
  assert.equal(refused.status, 429);
  assert.ok(Number(refused.headers.get('retry-after')) > 1000);
  assert.match(refused.headers.get('ratelimit') ?? '', /"sends";r=0;t=\d{4}$/);
  const read = await gateway.call(app, 'GET', '/v1/inbox');
  assert.equal(read.status, 200, 'reading goes on');
  assert.equal(read.headers.get('ratelimit-policy'), '"requests";q=5;w=3600');
  await gateway.call(app, 'GET', '/v1/inbox');
  assert.equal((await gateway.call(app, 'GET', '/v1/inbox')).status, 429);
  assert.equal((await gateway.call(other, 'GET', '/v1/inbox')).status, 200, 'others have their own');
  assert.equal(gateway.hub.counters.get('rate/sends'), 1);
  for (let n = 0; n < 10; n++) {
    const owner = await gateway.call(gateway.hub.ownerToken, 'GET', '/v1/me');
    assert.deepEqual([owner.status, owner.headers.get('ratelimit')], [200, null]);
  }
});

test('without limits nothing is said of them', async () => {
  await using gateway = await openGateway({ http: { rates: { requests: null, sends: null } } });
  const app = await gateway.client('app');
  const answer = await gateway.call(app, 'GET', '/v1/me');
  assert.equal(answer.headers.get('ratelimit-policy'), null);
});
