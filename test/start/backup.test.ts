import assert from 'node:assert/strict';
import { mkdir, mkdtempDisposable, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { backupCommands } from '../../src/cli/backup.ts';
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
    const { body: ready } = await call(again.httpUrl, 'GET', '/readyz');
    const failures = (ready as unknown as { failures: { name: string; reason: string }[] }).failures;
    assert.match(
      failures.find(({ name }) => name === 'held-deliveries')?.reason ?? '',
      /^1 are held: restored from a backup.*kosctl restore --resume/,
    );
    const printed: string[] = [];
    const release = (option: 'resume' | 'settle') =>
      backupCommands.get('restore')?.run({
        words: [],
        json: false,
        options: { data: fresh, [option]: true },
        config: undefined,
        environment: {},
        signal: new AbortController().signal,
        out: async text => void printed.push(text),
      });
    assert.equal(await release('resume'), 0);
    assert.deepEqual(printed.splice(0), ['1 deliveries that were held are sent']);
    assert.equal((await get(toDevice)).deliveries[0]?.state, 'queued');
    assert.equal(await release('settle'), 0);
    assert.deepEqual(printed, ['0 deliveries that were held are settled: they are not sent again']);
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

test('a file that is no backup, or is cut off, changed or opened with another passphrase, is refused as what it is, and nothing is changed', async () => {
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
  const attempt = async (
    what: string,
    changed: Uint8Array | string,
    wanted: { code: string; message: RegExp },
    key: { passphrase?: string; identities?: string[] } = { passphrase },
  ) => {
    await writeFile(file, changed);
    const options = { identities: [], ...key, file, dir: data, force: true, resend: false, now: 1 };
    await assert.rejects(restoreBackup(options), wanted, what);
    assert.deepEqual((await readdir(data)).sort(), listed);
    assert.deepEqual(await readFile(join(data, 'identity')), kept);
  };
  const flipped = (at: number) => {
    const changed = Uint8Array.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ 1;
    return changed;
  };
  const cutOff = { code: 'wire/truncated', message: /hub\.age.* cut off/ };
  await attempt(
    'another passphrase',
    bytes,
    { code: 'crypto/undecryptable', message: /^the passphrase is not the one of .*hub\.age$/ },
    { passphrase: 'another passphrase' },
  );
  await attempt(
    'a key for a file with a passphrase',
    bytes,
    { code: 'request/invalid', message: /encrypted with a passphrase, and not for a key/ },
    { identities: ['AGE-SECRET-KEY-1QQQQ'] },
  );
  await attempt('its last byte missing', bytes.subarray(0, bytes.length - 1), cutOff);
  await attempt('half of it', bytes.subarray(0, Math.floor(bytes.length / 2)), cutOff);
  const head = Buffer.from(bytes).indexOf('\n---');
  await attempt('nothing behind its head', bytes.subarray(0, head + 49), cutOff);
  await attempt('half its head', bytes.subarray(0, head), cutOff);
  await attempt('half its first line', bytes.subarray(0, 10), cutOff);
  await attempt('nothing', '', {
    code: 'wire/truncated',
    message: /hub\.age cannot be restored: it is empty/,
  });
  await attempt('a byte in the middle', flipped(head + 5000), {
    code: 'wire/malformed',
    message: /hub\.age was changed before byte \d+.*Nothing of it is used/,
  });
  await attempt('a byte of its MAC', flipped(head + 10), {
    code: 'wire/malformed',
    message: /the head of .*hub\.age was changed/,
  });
  const foreign = (what: RegExp) => ({ code: 'wire/malformed', message: what });
  await attempt('words', 'not a file of age at all', foreign(/it is no backup, for it is no file of age$/));
  await attempt('a database', await readFile(join(data, 'gateway.db')), foreign(/like a SQLite database$/));
  await attempt('armor', '-----BEGIN AGE ENCRYPTED FILE-----\nYWdl', {
    code: 'wire/unsupported',
    message: /in armor/,
  });
  const { Encrypter } = await import('age-encryption');
  const other = new Encrypter();
  other.setScryptWorkFactor(10);
  other.setPassphrase(passphrase);
  await attempt(
    "somebody's diary",
    await other.encrypt('dear diary '.repeat(200)),
    foreign(/not a backup of a kOS gateway/),
  );
  await rm(file);
  const options = { file, dir: data, passphrase, identities: [], force: true, resend: false, now: 1 };
  await assert.rejects(restoreBackup(options), {
    code: 'request/not-found',
    message: /hub\.age is not there/,
  });
  await mkdir(file);
  await assert.rejects(restoreBackup(options), { code: 'request/invalid', message: /hub\.age is a folder/ });
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
