import assert from 'node:assert/strict';
import { mkdtempDisposable, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../src/config.ts';
import { openStore } from '../../src/gateway/store/store.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { createBackups } from '../../src/start/backup/backups.ts';
import { checkBackup, restoreBackup } from '../../src/start/backup/restore.ts';
import { startHub } from '../../src/start/hub.ts';
import { testHub } from '../gateway/fixture.ts';

const passphrase = 'four words and a number 7';

const open = (data: string) =>
  startHub({
    config: loadConfig({ keys: { listen: { http: '127.0.0.1:0', mqtt: '127.0.0.1:0' } }, data }),
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
  });

test('a backup made while a hub runs becomes the same hub again, and says only what it can know', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'kos-backup-'));
  const data = join(folder.path, 'data');
  const file = join(folder.path, 'hub.age');
  const hub = await open(data);
  const { id, lxmf } = hub.facts;
  const token = hub.mintedOwnerToken ?? '';
  const headers = {
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    connection: 'close',
  };
  const call = async (url: string, method: string, path: string, body?: unknown) => {
    const answer = await fetch(url + path, {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, never> };
  };
  const post = async (url: string, body: unknown, key?: string) => {
    const more = key === undefined ? {} : { 'idempotency-key': key };
    const answer = await fetch(`${url}/v1/messages`, {
      method: 'POST',
      headers: { ...headers, ...more },
      body: JSON.stringify(body),
    });
    return (await answer.json()) as {
      id: string;
      deliveries: { id: string; state: string; reason?: string }[];
    };
  };
  let before: { id: string };
  let toDevice: { id: string };
  let toPeer: { id: string };
  let cursor: string;
  const words = 'the words in the attachment';
  let sha256: string;
  try {
    const blob = await fetch(`${hub.httpUrl}/v1/blobs`, { method: 'POST', headers, body: words });
    sha256 = ((await blob.json()) as { sha256: string }).sha256;
    before = await post(hub.httpUrl, { to: 'app:owner', text: 'before' }, 'one');
    toDevice = await post(hub.httpUrl, { to: 'mqtt:dev/pump', text: 'start' });
    toPeer = await post(hub.httpUrl, { to: `lxmf:${'ab'.repeat(16)}`, text: 'come' });
    const answer = await fetch(`${hub.httpUrl}/v1/backup`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ passphrase }),
    });
    assert.equal(answer.status, 200);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    assert.match(Buffer.from(bytes.subarray(0, 21)).toString(), /^age-encryption\.org\/v1$/);
    assert.ok(!Buffer.from(bytes).includes('before'));
    await writeFile(file, bytes);
    assert.ok(!(await readdir(data)).includes('backup.tmp'), 'no copy is left');
    await post(hub.httpUrl, { to: 'app:owner', text: 'after' });
    cursor = ((await call(hub.httpUrl, 'GET', '/v1/inbox')).body as unknown as { cursor: string }).cursor;
    const short = await call(hub.httpUrl, 'POST', '/v1/backup', { passphrase: 'short' });
    assert.equal(short.status, 400);
  } finally {
    await hub.close();
  }

  const source = { file, passphrase, identities: [] };
  assert.equal((await checkBackup(source)).head.hub, id);
  const into = { ...source, force: false, resend: false, now: Date.now() };
  await assert.rejects(restoreBackup({ ...into, dir: data }), {
    code: 'request/conflict',
    message: /not empty.*--force/,
  });

  const fresh = join(folder.path, 'fresh');
  const restored = await restoreBackup({ ...into, dir: fresh });
  assert.equal(restored.held, 1);
  assert.equal(restored.queued, 1);
  assert.equal((await stat(join(fresh, 'identity'))).mode & 0o777, 0o600);
  const again = await open(fresh);
  try {
    assert.deepEqual([again.facts.id, again.facts.lxmf], [id, lxmf], 'the same addresses');
    const get = async (message: { id: string }) =>
      (await call(again.httpUrl, 'GET', `/v1/messages/${message.id}`)).body as unknown as Awaited<
        ReturnType<typeof post>
      >;
    const [device] = (await get(toDevice)).deliveries;
    assert.equal(device?.state, 'ambiguous');
    assert.match(device.reason ?? '', /restored from a backup of .* it may have arrived since/);
    assert.equal((await get(toPeer)).deliveries[0]?.state, 'queued', 'a peer knows its repeat');
    assert.equal(
      (await post(again.httpUrl, { to: 'app:owner', text: 'before' }, 'one')).id,
      before.id,
      'a key is known',
    );
    const expired = await call(again.httpUrl, 'GET', `/v1/inbox?after=${cursor}`);
    assert.equal(expired.status, 410, 'a cursor of the time after the backup skips nothing');
    const blob = await fetch(`${again.httpUrl}/v1/blobs/${sha256}`, { headers });
    assert.equal(await blob.text(), words);
  } finally {
    await again.close();
  }

  const forced = await restoreBackup({ ...into, dir: data, force: true, resend: true });
  assert.equal(forced.held, 0);
  assert.ok(
    (await readdir(join(data, forced.aside ?? ''))).includes('gateway.db'),
    'the old files lie aside',
  );
});

test('a backup that is cut off, changed or opened with another passphrase is refused in words, and nothing is changed', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'kos-backup-'));
  const data = join(folder.path, 'data');
  const hub = await open(data);
  const headers = {
    authorization: `Bearer ${hub.mintedOwnerToken}`,
    'content-type': 'application/json',
    connection: 'close',
  };
  let bytes: Uint8Array;
  try {
    const body = JSON.stringify({ passphrase, blobs: false });
    bytes = new Uint8Array(
      await (await fetch(`${hub.httpUrl}/v1/backup`, { method: 'POST', headers, body })).arrayBuffer(),
    );
  } finally {
    await hub.close();
  }
  const file = join(folder.path, 'hub.age');
  const kept = await readFile(join(data, 'identity'));
  const listed = (await readdir(data)).sort();
  const attempt = async (changed: Uint8Array, key = passphrase) => {
    await writeFile(file, changed);
    const options = { file, dir: data, passphrase: key, identities: [], force: true, resend: false, now: 1 };
    await assert.rejects(restoreBackup(options), { code: 'crypto/undecryptable' });
    assert.deepEqual((await readdir(data)).sort(), listed);
    assert.deepEqual(await readFile(join(data, 'identity')), kept);
  };
  await attempt(bytes, 'another passphrase');
  await attempt(bytes.subarray(0, bytes.length - 1));
  await attempt(bytes.subarray(0, Math.floor(bytes.length / 2)));
  const changed = Uint8Array.from(bytes);
  changed[bytes.length - 1000] = (changed[bytes.length - 1000] ?? 0) ^ 1;
  await attempt(changed);
  await attempt(new TextEncoder().encode('not a file of age at all'));
});

test('a backup whose reader was gone before it began keeps nothing from the next one', {
  timeout: 60_000,
}, async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'kos-backup-'));
  const data = folder.path;
  await using store = await openStore({ dir: data });
  const backups = createBackups({
    data,
    store,
    clock: systemClock,
    log: silentLog,
    hub: () => ({ ...testHub, boot: 1 }),
    file: undefined,
  });
  const order = { passphrase };
  await assert.rejects(backups.open(order, AbortSignal.abort()));
  const { bytes } = await backups.open(order, new AbortController().signal);
  assert.ok((await bytes.toArray()).length > 0);
  assert.ok(!(await readdir(data)).includes('backup.tmp'));
});
