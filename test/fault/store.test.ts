import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Worker } from 'node:worker_threads';
import { defaultLimits } from '../../src/gateway/limits.ts';
import { openStore } from '../../src/gateway/store/store.ts';
import { sweepOnce } from '../../src/gateway/sweep.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { memoryBridge, openTestSwitch } from '../gateway/fixture.ts';
import { seededRandom } from '../sim/random.ts';
import { seed } from '../sim/seed.ts';

const peer = `lxmf:${'ab'.repeat(16)}`;

async function temporary(): Promise<{ dir: string } & AsyncDisposable> {
  const dir = await mkdtemp(join(tmpdir(), 'kos-store-'));
  return { dir, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) };
}

/** A process of the switch on a folder, and the lines it has said. */
function startChild(file: string, dir: string) {
  const running = spawn(process.execPath, [join(import.meta.dirname, file), dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  let partial = '';
  const waiting: { n: number; resolve: () => void }[] = [];
  running.stdout.on('data', chunk => {
    const whole = (partial + chunk).split('\n');
    partial = whole.pop() ?? '';
    lines.push(...whole.filter(line => line !== 'open'));
    for (const { n, resolve } of waiting) {
      if (lines.length >= n) {
        resolve();
      }
    }
  });
  return {
    process: running,
    lines,
    ended: new Promise<void>(resolve => running.once('close', () => resolve())),
    seen: (n: number) => new Promise<void>(resolve => waiting.push({ n, resolve })),
  };
}

async function eventually(holds: () => boolean): Promise<void> {
  for (let turn = 0; !holds(); turn++) {
    assert.ok(turn < 3000, 'it never held');
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

test('kill -9 at random points loses nothing acknowledged and repeats nothing', {
  timeout: 120_000,
}, async t => {
  t.diagnostic(`SEED=${seed}`);
  const { fraction } = seededRandom(seed);
  await using at = await temporary();
  const acknowledged: string[] = [];
  for (let round = 0; round < 10; round++) {
    const loop = startChild('accept-child.ts', at.dir);
    await loop.seen(1 + Math.floor(fraction() * 60));
    loop.process.kill('SIGKILL');
    await loop.ended;
    acknowledged.push(...loop.lines);
  }
  await using hub = await openTestSwitch({ dir: at.dir });
  assert.equal(hub.desk.hub.boot, 11);
  const texts: string[] = [];
  const ids = new Set<string>();
  for (let after: string | undefined; ; ) {
    const page = await hub.desk.inbox.read(hub.owner, {
      limit: 200,
      hold: true,
      ...(after === undefined ? {} : { after }),
    });
    if (page.items.length === 0) {
      break;
    }
    for (const { message } of page.items) {
      texts.push(message.text);
      ids.add(message.id);
    }
    after = page.cursor;
  }
  assert.equal(new Set(texts).size, texts.length);
  assert.deepEqual(
    acknowledged.filter(id => !ids.has(id)),
    [],
  );
});

test('a second process is refused with the pid of the first, and the lock dies with kill -9', {
  timeout: 30_000,
}, async () => {
  await using at = await temporary();
  const loop = startChild('accept-child.ts', at.dir);
  await loop.seen(1);
  await assert.rejects(openStore({ dir: at.dir }), (error: Error & { code: string }) => {
    assert.equal(error.code, 'store/unavailable');
    assert.match(error.message, new RegExp(`pid ${loop.process.pid}\\b`));
    return true;
  });
  loop.process.kill('SIGKILL');
  await loop.ended;
  await using store = await openStore({ dir: at.dir });
  assert.equal(store.boot, 2);
});

test('kill -9 in the middle of deliveries loses none, and a repeat carries the bytes of the first attempt', {
  timeout: 120_000,
}, async t => {
  t.diagnostic(`SEED=${seed}`);
  const { fraction } = seededRandom(seed);
  await using at = await temporary();
  const accepted = new Set<string>();
  const arrived = new Map<string, Set<string>>();
  const note = (message: string, bytes: string) =>
    arrived.getOrInsertComputed(message, () => new Set()).add(bytes);
  for (let round = 0; round < 8; round++) {
    const child = startChild('deliver-child.ts', at.dir);
    await child.seen(1 + Math.floor(fraction() * 150));
    child.process.kill('SIGKILL');
    await child.ended;
    for (const [what, message = '', bytes = ''] of child.lines.map(line => line.split(' '))) {
      if (what === 'accepted') {
        accepted.add(message);
      } else {
        note(message, bytes);
      }
    }
  }
  const lxmf = memoryBridge();
  lxmf.respond = async ({ id, message, remembered }) => {
    const bytes = remembered ?? Uint8Array.of(1);
    await (await lxmf.port).remember(id, bytes, id);
    note(message.id, Buffer.from(bytes).toString('hex'));
    return { state: 'delivered' };
  };
  await using hub = await openTestSwitch({ dir: at.dir, bridges: [lxmf] });
  await eventually(() => hub.desk.health().queued === 0 && hub.store.read.openDeliveries().length === 0);
  assert.ok(accepted.size > 8);
  assert.deepEqual(
    [...accepted].filter(id => !arrived.has(id)),
    [],
    'each acknowledged message is with the far side',
  );
  assert.deepEqual(
    [...arrived].filter(([, bytes]) => bytes.size !== 1),
    [],
    'and every attempt carried the same bytes',
  );
});

test('a disk that is full holds deliveries up, loses none, and they go on when there is room, without a restart', {
  timeout: 60_000,
}, async () => {
  const lxmf = memoryBridge();
  const gate = Promise.withResolvers<void>();
  lxmf.respond = async ({ id }) => {
    await gate.promise;
    await (await lxmf.port).remember(id, new Uint8Array(100_000), id);
    return { state: 'delivered' };
  };
  await using hub = await openTestSwitch({
    bridges: [lxmf],
    store: { databaseLimit: 1_000_000 },
    limits: { firstRetry: 100, longestRetry: 200 },
  });
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'patient' });
  const fill = async (text: string) => {
    for (;;) {
      await hub.desk.messages.post(hub.owner, { to: 'app:owner', text });
    }
  };
  await assert.rejects(fill('x'.repeat(50_000)), { code: 'store/full' });
  await assert.rejects(fill(''), { code: 'store/full' });
  gate.resolve();
  await eventually(() => hub.counters.get('outbox/failure/store/full') > 1);
  assert.equal(hub.desk.health().queued, 1);
  const state = () => hub.desk.messages.get(hub.owner, message.id).deliveries[0]?.state;
  assert.notEqual(state(), 'delivered');
  const limits = { ...defaultLimits, inboxCount: 1, eventCount: 1, messageAge: 0 };
  await eventually(() => lxmf.delivered.length > 2);
  const { store, counters } = hub;
  await sweepOnce({ store, counters, limits, clock: systemClock, log: silentLog }, Date.now() + 10);
  await eventually(() => state() === 'delivered');
  assert.equal(hub.desk.health().queued, 0);
});

test('what was committed while its writer died is delivered all the same, once', async () => {
  const lxmf = memoryBridge();
  const writers: Worker[] = [];
  await using hub = await openTestSwitch({
    bridges: [lxmf],
    store: { onWriter: worker => writers.push(worker) },
  });
  const posts = Array.from({ length: 300 }, (_, n) =>
    hub.desk.messages.post(hub.owner, { to: peer, text: `${n}` }).catch(() => undefined),
  );
  await posts[0];
  writers.at(-1)?.terminate();
  await Promise.all(posts);
  await eventually(() => hub.store.read.openDeliveries().length === 0 && hub.desk.health().ready);
  const stored = hub.desk.messages.list(hub.owner, { peer, limit: 200 });
  const texts = new Set(lxmf.delivered.map(delivery => delivery.message.text));
  assert.deepEqual(
    stored.items.filter(message => !texts.has(message.text)).map(message => message.text),
    [],
  );
  assert.equal(texts.size, lxmf.delivered.length);
});
