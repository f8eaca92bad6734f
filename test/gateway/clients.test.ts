import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { GatewayError } from '../../src/lib/errors.ts';
import { openTestSwitch, testOwnerToken } from './fixture.ts';

test('a token lets its client in until it expires or is revoked, and a name is never given again', async () => {
  await using hub = await openTestSwitch();
  const { clients } = hub.desk;
  const { client, token } = await hub.client('reader', { scopes: ['messages:read'] });
  assert.match(token, /^kos_[\w-]{43}$/);
  assert.deepEqual(clients.authenticate(token), { client });
  assert.deepEqual(clients.authenticate(`${token}x`), { fault: 'unknown' });
  const gone: string[] = [];
  clients.watch(client, why => gone.push(why));
  await clients.revoke('reader');
  assert.deepEqual(clients.authenticate(token), { fault: 'revoked' });
  assert.deepEqual(gone, ['revoked']);
  await assert.rejects(hub.client('reader'), { code: 'request/conflict' });
  await assert.rejects(clients.revoke('reader'), { code: 'request/not-found' });
  await assert.rejects(hub.client('Not A Name'), { code: 'request/invalid' });
  const brief = await hub.client('brief', { expiresAt: Date.now() + 20 });
  await new Promise(resolve => setTimeout(resolve, 25));
  assert.deepEqual(clients.authenticate(brief.token), { fault: 'expired' });
});

test('only the hash of a token is on disk', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-clients-'));
  try {
    const hub = await openTestSwitch({ dir });
    const { token } = await hub.client('reader');
    for (const file of await readdir(dir)) {
      if (file.startsWith('gateway.db')) {
        const bytes = await readFile(join(dir, file));
        assert.equal(bytes.includes(token), false);
        assert.equal(bytes.includes(testOwnerToken), false);
      }
    }
    await hub.stop();
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('a client without the scope is told which one it needs, and sees nothing of others', async () => {
  await using hub = await openTestSwitch();
  const { client: reader } = await hub.client('reader', { scopes: ['messages:read'], rooms: [] });
  await assert.rejects(hub.desk.messages.post(reader, { to: 'app:owner', text: '' }), {
    code: 'request/forbidden',
  });
  const { message } = await hub.desk.messages.post(hub.owner, { to: 'room:hub', text: 'inside' });
  assert.throws(() => hub.desk.messages.get(reader, message.id), { code: 'request/not-found' });
  assert.deepEqual(hub.desk.messages.list(reader, {}).items, []);
  assert.throws(() => hub.desk.directory.list(reader, {}), { code: 'request/forbidden' });
  assert.equal(hub.desk.messages.list(hub.owner, { room: 'hub' }).items[0]?.id, message.id);
});

test('one process cannot open the same directory twice either', async () => {
  await using hub = await openTestSwitch();
  await assert.rejects(openTestSwitch({ dir: hub.dir }), { code: 'store/unavailable' });
});

test('clients that were revoked make room for others', async () => {
  await using hub = await openTestSwitch({ limits: { clients: 2 } });
  await hub.client('one');
  await assert.rejects(hub.client('two'), { code: 'store/full' });
  await hub.desk.clients.revoke('one');
  await hub.client('two');
});

test('what a writer did and died over is known: the client has the rights that are on disk, and can be changed again', async () => {
  await using hub = await openTestSwitch();
  const { clients } = hub.desk;
  const { committer } = hub.store;
  const { commit } = committer;
  const dieOver = async (change: () => Promise<unknown>) => {
    committer.commit = async (...given) => {
      committer.commit = commit;
      await commit(...given);
      throw new GatewayError('store/unavailable', 'the writer is gone', { retryable: true });
    };
    await assert.rejects(change(), { code: 'store/unavailable' });
  };
  await dieOver(() => clients.create({ name: 'reader', scopes: ['messages:read', 'messages:send'] }));
  assert.deepEqual(
    clients.list().map(({ name }) => name),
    ['owner', 'reader'],
  );
  // Nobody was told its token.
  const { token } = await clients.rotate('reader', 60_000);
  const { client } = clients.authenticate(token);
  assert.ok(client);
  const ends: string[] = [];
  clients.watch(client, why => ends.push(why));
  await dieOver(() => clients.change('reader', { scopes: ['messages:read'] }));
  assert.deepEqual(clients.authenticate(token).client?.scopes, ['messages:read']);
  assert.deepEqual(ends, ['changed']);
  assert.equal((await clients.change('reader', { rooms: [] })).version, 4);
  await dieOver(() => clients.rotate('reader', 60_000));
  assert.equal(clients.authenticate(token).client?.name, 'reader');
  const again = await clients.rotate('reader', 0);
  assert.deepEqual(clients.authenticate(token), { fault: 'unknown' });
  assert.equal(clients.authenticate(again.token).client?.name, 'reader');
});

test('of two changes at once one is refused, and ends nothing that the other has not ended', async () => {
  await using hub = await openTestSwitch();
  const { clients } = hub.desk;
  const { token } = await hub.client('reader');
  const { client } = clients.authenticate(token);
  assert.ok(client);
  const ends: string[] = [];
  clients.watch(client, why => ends.push(why));
  const both = await Promise.allSettled([clients.rotate('reader', 60_000), clients.rotate('reader', 60_000)]);
  assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  assert.deepEqual(ends, []);
  assert.equal(clients.authenticate(token).client?.name, 'reader');
});
