import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Worker } from 'node:worker_threads';
import { openStore } from '../../../src/gateway/store/store.ts';
import { memoryBridge, openTestSwitch, until } from '../fixture.ts';

/** A switch whose writer can be ended as a crash would end it. */
async function openFragile() {
  const lxmf = memoryBridge();
  const writers: Worker[] = [];
  const hub = await openTestSwitch({
    bridges: [lxmf],
    store: { onWriter: worker => writers.push(worker) },
  });
  return { hub, lxmf, writers, crash: () => writers.at(-1)?.terminate() };
}

test('a writer that dies takes what waited for it with it, says so, and another takes its place', async () => {
  const { hub, writers, crash } = await openFragile();
  await using _ = hub;
  const states: string[] = [];
  hub.onHealth(health => {
    const store = health.services.find(service => service.name === 'store');
    if (store !== undefined) {
      states.push(`${store.state} ${health.ready}`);
    }
  });
  const { boot } = hub.desk.hub;
  const before = hub.store.committer.commits;
  const waiting = Array.from({ length: 200 }, (_, n) =>
    hub.desk.messages.post(hub.owner, { to: 'app:owner', text: `${n}` }),
  );
  crash();
  const outcomes = await Promise.allSettled(waiting);
  const refused = outcomes.filter(outcome => outcome.status === 'rejected');
  assert.ok(refused.length > 0);
  for (const { reason } of refused) {
    assert.equal(reason.code, 'store/unavailable');
    assert.equal(reason.retryable, true);
  }
  await until(() => states.includes('waiting false'));
  await assert.rejects(hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'meanwhile' }), {
    code: 'store/unavailable',
  });
  await until(() => states.includes('up true'));
  assert.equal(writers.length, 2);
  assert.deepEqual(hub.desk.health().failures, []);
  await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'again' });
  assert.ok(hub.store.committer.commits > before);
  assert.equal(boot, hub.store.boot);
  const kept = (await hub.desk.inbox.read(hub.owner, { limit: 200 })).items.map(item => item.message.text);
  const promised = outcomes.flatMap((outcome, n) => (outcome.status === 'fulfilled' ? [`${n}`] : []));
  assert.deepEqual(
    promised.filter(text => !kept.includes(text)),
    [],
  );
  assert.ok(kept.includes('again'));
});

test('an urgent accept is on disk before a crowd that was there first', async () => {
  const { hub, lxmf } = await openFragile();
  await using _ = hub;
  await lxmf.port;
  const order: string[] = [];
  const crowd = Array.from({ length: 1000 }, () =>
    hub.desk.messages.post(hub.owner, { to: 'app:owner', text: '' }).then(() => order.push('crowd')),
  );
  await new Promise(resolve => setImmediate(resolve));
  await lxmf.say({ remoteId: 'soon', to: 'app:owner', urgent: true });
  order.push('urgent');
  await Promise.all(crowd);
  assert.ok(order.indexOf('urgent') < 600, `${order.indexOf('urgent')} of 1000 went before`);
});

test('a writer that sleeps is given what there is of much before the turn that brings it is over', async () => {
  await using stack = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), 'kos-writer-'));
  stack.defer(() => rm(dir, { recursive: true }));
  const { committer } = stack.use(await openStore({ dir }));
  const own = (sha256: string) => committer.commit('blob.own', { sha256, client: 'x', at: 1 });
  await own('first');
  const before = committer.commits;
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const given: Promise<unknown>[] = [];
  // One turn, however long it takes the writer to fall asleep.
  while (committer.commits === before && given.length < 10_000) {
    given.push(own(`${given.length}`));
    Atomics.wait(pause, 0, 0, 1);
  }
  assert.ok(committer.commits > before);
  await Promise.all(given);
});

test('a lazy write goes with the next one that is waited for, in the order of both', async () => {
  // Without a switch, whose parts write on their own.
  await using stack = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), 'kos-writer-'));
  stack.defer(() => rm(dir, { recursive: true }));
  const { committer } = stack.use(await openStore({ dir }));
  await committer.commit('blob.own', { sha256: 'a', client: 'x', at: 1 });
  const before = committer.commits;
  const order: string[] = [];
  const lazy = committer
    .commit('blob.own', { sha256: 'b', client: 'x', at: 1 }, { lazy: true })
    .then(() => order.push('lazy'));
  const other = committer
    .commit('blob.own', { sha256: 'c', client: 'x', at: 1 })
    .then(() => order.push('waited for'));
  await Promise.all([lazy, other]);
  assert.deepEqual(order, ['lazy', 'waited for']);
  assert.equal(committer.commits - before, 1);
  await committer.commit('blob.own', { sha256: 'd', client: 'x', at: 1 }, { lazy: true });
});
