import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { callHttp, type Daemon, startDaemon } from '../e2e/daemon.ts';
import { seededRandom } from '../sim/random.ts';

const rounds = 3;
const numbers = { '1': 'app:one', '2': 'app:two', '3': 'app:three', '4': 'room:four' };

test(`killed with -9 at ${rounds} random points, the gateway has every SMS for several whole or not at all, and each it acknowledged once`, {
  timeout: 300_000,
}, async t => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  t.diagnostic(`SEED=${seed}`);
  const chance = seededRandom(seed);
  const folder = await mkdtemp(join(tmpdir(), 'kos-sms-kill-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const start = () =>
    startDaemon({
      data: join(folder, 'data'),
      config: { rooms: { four: { members: [] } }, bridges: { http: { sms: { numbers } } }, log: 'error' },
    });
  let daemon: Daemon = await start();
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => daemon[Symbol.asyncDispose]());
  const owner = daemon.ready.ownerToken ?? '';
  for (const name of ['one', 'two', 'three']) {
    await daemon.call('POST', '/v1/tokens', { body: { name, scopes: ['messages:read'] } });
  }
  const acknowledged = new Set<string>();
  const tried = new Set<string>();
  const call = (to: Daemon, method: string, path: string, body?: unknown) =>
    callHttp<{ recipients?: unknown[] }>(to.ready.http, method, `/3rdparty/v1/messages${path}`, {
      token: owner,
      ...(body !== undefined && { body }),
    });
  let next = 0;
  const send = async (to: Daemon, id: string) => {
    tried.add(id);
    const answer = await call(to, 'POST', '', {
      id,
      phoneNumbers: Object.keys(numbers),
      textMessage: { text: id },
    });
    assert.equal(answer.status, 202, JSON.stringify(answer.body));
    acknowledged.add(id);
  };
  /** Goes on until the daemon is gone; what was not answered is said again under its id. */
  const sending = async (to: Daemon) => {
    for (;;) {
      try {
        await send(to, `order-${next++}`);
      } catch (error) {
        if (error instanceof assert.AssertionError) {
          throw error;
        }
        return;
      }
    }
  };
  for (let round = 0; round < rounds; round++) {
    const busy = Promise.all([sending(daemon), sending(daemon), sending(daemon)]);
    await new Promise(resolve => setTimeout(resolve, 150 + chance.fraction() * 400));
    await daemon.kill();
    await busy;
    daemon = await start();
    for (const id of tried) {
      const { status, body } = await call(daemon, 'GET', `/${id}`);
      const kept = status === 404 ? 0 : (body.recipients?.length ?? 0);
      assert.ok(kept === 4 || (kept === 0 && !acknowledged.has(id)), `${id}: ${kept} of 4 in round ${round}`);
    }
    for (const id of [...tried].filter(one => !acknowledged.has(one))) {
      await send(daemon, id);
    }
  }
  const counts = new Map<string, number>();
  for (let after = ''; ; ) {
    const { body } = await daemon.call<{ items: { text: string }[]; cursor: string | null }>(
      'GET',
      `/v1/messages?limit=200${after}`,
      { token: owner },
    );
    for (const { text } of body.items) {
      counts.set(text, (counts.get(text) ?? 0) + 1);
    }
    if (body.cursor === null) {
      break;
    }
    after = `&after=${body.cursor}`;
  }
  t.diagnostic(`${tried.size} orders for four`);
  assert.ok(tried.size > rounds);
  for (const id of tried) {
    assert.equal(counts.get(id), 4, id);
  }
});
