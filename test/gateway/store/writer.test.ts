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
  const onDisk = () => hub.store.read.newestDelivery();
  /** How many of a crowd were on disk when something urgent was given, and how many went before it: one group more at most. */
  async function pass(round: number): Promise<{ before: number; passed: number }> {
    const start = onDisk();
    const crowd = Array.from({ length: 1000 }, () =>
      hub.desk.messages.post(hub.owner, { to: 'app:owner', text: '' }),
    );
    await new Promise(resolve => setImmediate(resolve));
    const before = onDisk() - start;
    const { id } = await lxmf.say({ remoteId: `soon ${round}`, to: 'app:owner', urgent: true });
    await Promise.all(crowd);
    const query = { recipient: 'app:owner', seq: start, now: 0, limit: 2000, unreadOnly: false };
    const row = hub.store.read.inboxAfter(query).find(({ message }) => message?.id === id);
    return { before, passed: (row?.seq ?? Number.NaN) - start - 1 };
  }
  // A crowd of which most is on disk by then tells nothing, nor does a round in which this thread had to wait for a processor;
  // what had no precedence would come last in every one.
  const seen: string[] = [];
  for (let told = 0; told < 3; ) {
    const { before, passed } = await pass(seen.length);
    seen.push(`${passed} went before, ${before} of them before it was given`);
    told += before < 700 && passed <= before + 256 ? 1 : 0;
    assert.ok(seen.length < 50, seen.join('; '));
  }
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
