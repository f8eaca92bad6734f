import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AuditView } from '../../../src/gateway/audit-entry.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { eventually, openGateway, type TestGateway } from '../gateway.ts';

async function lines(gateway: TestGateway, query = ''): Promise<AuditView[]> {
  const { status, body } = await gateway.call(gateway.hub.ownerToken, 'GET', `/v1/audit${query}`);
  assert.equal(status, 200, JSON.stringify(body));
  return body.items;
}

const brief = ({ actor, action, target, status }: AuditView) => [actor, action, target, status];

test('what an admin does is on the record with who, what, from where and what came of it, and no secret', async () => {
  const level = { logLevel: () => 'debug' as const, setLogLevel: () => {} };
  await using gateway = await openGateway({ settings: level });
  const boss = await gateway.client('boss', { scopes: ['admin'] });
  const made = await gateway.call(boss, 'POST', '/v1/tokens', { name: 'pump', scopes: ['mqtt'] });
  await gateway.call(boss, 'PUT', '/v1/log', { level: 'debug' });
  await gateway.call(boss, 'DELETE', '/v1/tokens/pump');
  await gateway.call(boss, 'DELETE', '/v1/tokens/pump');
  await gateway.call(boss, 'POST', '/v1/mesh/announce');
  await gateway.call(boss, 'GET', '/v1/tokens');
  await gateway.call(boss, 'POST', '/v1/messages', { to: 'app:boss', text: 'words' });
  await eventually(async () => (await lines(gateway)).length, 5);
  const all = await lines(gateway);
  assert.deepEqual(
    all
      .map(brief)
      .reverse()
      .sort((a, b) => String(a[1]).localeCompare(String(b[1]))),
    [
      ['app:boss', 'log.level', 'debug', 200],
      ['app:boss', 'postMeshAnnounce', undefined, 200],
      ['app:boss', 'tokens.create', 'pump', 201],
      ['app:boss', 'tokens.revoke', 'pump', 204],
      ['app:boss', 'tokens.revoke', 'pump', 404],
    ],
  );
  const first = all.find(({ action }) => action === 'tokens.create');
  assert.equal(first?.door, 'token');
  assert.equal(first?.from, '127.0.0.1');
  assert.deepEqual(all.find(({ action }) => action === 'log.level')?.keys, ['level']);
  const text = JSON.stringify(all);
  assert.ok(!text.includes(made.body.token) && !text.includes('words') && !text.includes(boss));
});

test('who is refused is on the record, once for all that follow within a minute', async () => {
  await using gateway = await openGateway();
  const reader = await gateway.client('reader', { scopes: ['messages:read'] });
  for (let time = 0; time < 5; time++) {
    assert.equal((await gateway.call(reader, 'DELETE', '/v1/tokens/owner')).status, 403);
    assert.equal((await gateway.call('kos_wrong', 'GET', '/v1/inbox')).status, 401);
  }
  await eventually(async () => (await lines(gateway)).length, 2);
  const all = (await lines(gateway)).sort((a, b) => a.action.localeCompare(b.action));
  assert.deepEqual(all.map(brief), [
    ['', 'authenticate', undefined, 401],
    ['app:reader', 'tokens.revoke', 'owner', 403],
  ]);
  assert.deepEqual(
    all.map(({ code }) => code),
    ['unknown', 'request/forbidden'],
  );
  const { hub } = gateway;
  await (hub.desk.audit as unknown as { flush(): Promise<void> }).flush();
  const counts = (await lines(gateway)).map(({ action, count }) => `${action} ${count}`).sort();
  assert.deepEqual(counts, ['authenticate 1', 'authenticate 4', 'tokens.revoke 1', 'tokens.revoke 4']);
});

test('a mistake in a request asked for nothing and is not on the record', async () => {
  await using gateway = await openGateway();
  await gateway.call(gateway.hub.ownerToken, 'POST', '/v1/tokens', { name: 'A secret in the wrong place' });
  await gateway.call(gateway.hub.ownerToken, 'POST', '/v1/tokens', 'kos_not-json');
  await gateway.desk.audit.record({ actor: 'hub', door: 'hub', from: '', action: 'end', status: 200 });
  assert.deepEqual(
    (await lines(gateway)).map(({ action }) => action),
    ['end'],
  );
});

test('strangers from many addresses take few lines', async () => {
  await using gateway = await openGateway();
  for (let n = 0; n < 500; n++) {
    assert.throws(() => gateway.access.client(`guess ${n}`, `192.0.2.${n}`));
  }
  await (gateway.desk.audit as unknown as { flush(): Promise<void> }).flush();
  const all = await lines(gateway, '?limit=200');
  assert.equal(all.length, 65);
  assert.equal(
    all.reduce((sum, { count }) => sum + count, 0),
    500,
  );
  assert.ok(all.some(({ from, count }) => from === 'others' && count === 436));
});

test('the record is read page by page, by actor and by action, and only by an admin', async () => {
  await using gateway = await openGateway();
  const entry = { door: 'token', from: '', status: 200 } as const;
  for (let n = 0; n < 5; n++) {
    await gateway.desk.audit.record({
      ...entry,
      actor: `app:a${n % 2}`,
      action: 'tokens.create',
      target: `t${n}`,
    });
    await gateway.desk.audit.record({ ...entry, actor: 'app:b', action: 'tokensmith', target: `s${n}` });
  }
  const seen: (string | undefined)[] = [];
  for (let path: string | null = '/v1/audit?action=tokens&limit=2'; path !== null; ) {
    const { body, headers } = await gateway.call(gateway.hub.ownerToken, 'GET', path);
    seen.push(...body.items.map(({ target }: AuditView) => target));
    path = /<([^>]+)>/.exec(headers.get('link') ?? '')?.[1] ?? null;
  }
  assert.deepEqual(seen, ['t4', 't3', 't2', 't1', 't0']);
  assert.deepEqual(
    (await lines(gateway, '?actor=app:a1')).map(({ target }) => target),
    ['t3', 't1'],
  );
  for (const query of ['?after=zzz', '?limit=0', '?limit=201', '?actor=', '?what=1']) {
    assert.equal((await gateway.call(gateway.hub.ownerToken, 'GET', `/v1/audit${query}`)).status, 400, query);
  }
  const reader = await gateway.client('reader', { scopes: ['messages:read', 'mesh:read', 'rooms:write'] });
  assert.equal((await gateway.call(reader, 'GET', '/v1/audit')).status, 403);
});

test('the record is bounded in number and in age, and refusals push out nothing that was done', async () => {
  await using gateway = await openGateway();
  const { audit } = gateway.desk;
  const entry = { door: 'token', from: '', actor: 'app:a', status: 200 } as const;
  for (let n = 0; n < 6; n++) {
    await audit.record({ ...entry, action: `act.${n}` });
    audit.refused({ ...entry, action: `refusal.${n}`, status: 403 });
  }
  await eventually(async () => (await lines(gateway)).length, 12);
  const { committer } = gateway.hub.store;
  const limits = {
    ...{ eventAge: 1e12, eventCount: 1e6, otherEventCount: 1e6, inboxAge: 1e12, inboxCount: 1e6 },
    ...{
      messageAge: 1e12,
      messageCount: 1e6,
      orphanAge: 1e12,
      auditAge: 1e12,
      auditCount: 4,
      auditRefusals: 1,
    },
  };
  const sweep = (now: number) => committer.commit('retention.sweep', { part: 'audit', now, limits });
  await sweep(systemClock.now());
  assert.deepEqual((await lines(gateway)).map(({ action }) => action).sort(), [
    ...['act.2', 'act.3', 'act.4', 'act.5'],
    'refusal.5',
  ]);
  await sweep(systemClock.now() + 2e12);
  assert.deepEqual(await lines(gateway), []);
});

test('the record outlives a restart, and what waited to be counted is written at the stop', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-audit-'));
  try {
    const first = await openGateway({ dir });
    for (let time = 0; time < 3; time++) {
      first.desk.audit.refused({ actor: '', door: 'token', from: 'x', action: 'a', status: 401 });
    }
    await first[Symbol.asyncDispose]();
    await using second = await openGateway({ dir });
    assert.deepEqual(
      (await lines(second)).map(({ count }) => count),
      [2, 1],
    );
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
