import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import { openStore, type Store } from '../../src/gateway/store/store.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { type Log, silentLog } from '../../src/lib/log.ts';
import { createBackups } from '../../src/start/backup/backups.ts';
import { testHub } from '../gateway/fixture.ts';
import { missingStrace } from './strace.ts';

const child = fileURLToPath(new URL('restore-child.ts', import.meta.url));
/** A kill loses nothing that was written: a disk that syncs only takes time here. */
const fast = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
/** Restores that are killed at a time. */
const atOnce = 3;

/** A data folder that says whose it is in a file, in a database and in a blob. */
async function makeHub(dir: string, name: string, work: (store: Store) => Promise<void> = async () => {}) {
  await using store = await openStore({ dir });
  await writeFile(join(dir, 'identity'), name);
  const note = { address: 'lxmf:who', alias: name, trust: null, consent: null };
  await store.committer.commit('peers.note', { notes: [note] });
  const { sha256 } = await store.blobs.put(new TextEncoder().encode(name));
  await work(store);
  return { name, sha256 };
}

/** Two hubs, and a backup of the second that a key opens. */
async function prepared(folder: string) {
  const identity = await generateIdentity();
  const recipients = [await identityToRecipient(identity)];
  const file = join(folder, 'hub.age');
  const data = join(folder, 'new');
  const old = await makeHub(join(folder, 'old'), 'the old hub');
  const fresh = await makeHub(data, 'the new hub', async store => {
    const parts = { data, store, clock: systemClock, log: silentLog, file: undefined };
    const backups = createBackups({ ...parts, hub: () => ({ ...testHub, boot: 1 }) });
    const { bytes } = await backups.open({ recipients }, new AbortController().signal);
    await writeFile(file, bytes);
  });
  return { identity, file, old, fresh, original: join(folder, 'old') };
}

async function run(command: string, args: readonly string[]) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', chunk => {
    said += chunk;
  });
  const [code, signal] = await once(child, 'close');
  return { code, signal, steps: said.trim().split('\n') };
}

test('a restore that is killed before any of its steps leaves the old hub or the new one, whole, and the next start says which', {
  timeout: 240_000,
}, async () => {
  await using folder = await mkdtempDisposable(join(fast, 'kos-restore-kill-'));
  const { identity, file, old, fresh, original } = await prepared(folder.path);
  const restore = async (dir: string, step: number) => {
    await cp(original, dir, { recursive: true });
    return await run(process.execPath, [child, file, dir, identity, String(step)]);
  };
  const whole = await restore(join(folder.path, 'whole'), -1);
  assert.equal(whole.steps.at(-1), 'done');
  const decided = whole.steps.indexOf('decided');
  const lastRead = whole.steps.findLastIndex(step => step.startsWith('read '));
  // One of the files that are read is as good as another.
  const steps = whole.steps.slice(0, -1).flatMap((_, step) => (step === 1 || step >= lastRead ? [step] : []));
  const kill = async (step: number) => {
    const dir = join(folder.path, `killed-${step}`);
    const { signal } = await restore(dir, step);
    assert.equal(signal, 'SIGKILL');
    const lines: string[] = [];
    const log = { ...silentLog, warn: (_: unknown, text: string) => lines.push(text) } as unknown as Log;
    await using store = await openStore({ dir, log });
    const wanted = step < decided ? old : fresh;
    const name = `${whole.steps[step]}: ${lines.join()}`;
    assert.equal(await readFile(join(dir, 'identity'), 'utf8'), wanted.name, name);
    assert.equal(store.read.peerNotes()[0]?.alias, wanted.name, name);
    assert.ok((await store.blobs.size(wanted.sha256)) !== undefined, name);
    assert.match(lines.join(), step < decided ? /taken away: nothing was changed/ : /was finished/, name);
  };
  for (let next = 0; next < steps.length; next += atOnce) {
    await Promise.all(steps.slice(next, next + atOnce).map(kill));
  }
});

test('every folder of a restore is synced before it is decided, and the data folder before it is done', {
  skip: missingStrace(),
  timeout: 120_000,
}, async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'kos-restore-sync-'));
  const { identity, file, fresh } = await prepared(folder.path);
  const dir = join(folder.path, 'restored');
  const trace = join(folder.path, 'trace');
  const options = ['-f', '-y', '-qq', '-e', 'trace=fsync,fdatasync,rename,renameat,renameat2', '-o', trace];
  const { code } = await run('strace', [...options, process.execPath, child, file, dir, identity, '-1']);
  assert.equal(code, 0);
  const calls = (await readFile(trace, 'utf8')).split('\n');
  const at = (what: RegExp) => calls.findIndex(call => what.test(call));
  const synced = (path: string) => at(new RegExp(`f(?:data)?sync\\(\\d+<${RegExp.escape(path)}>`));
  const decided = at(/rename.*restore\/phase\.new/);
  assert.ok(decided > 0);
  const { sha256 } = fresh;
  const blob = `blobs/${sha256.slice(0, 2)}/${sha256.slice(2, 4)}/${sha256}`;
  for (let name = blob; name !== '.'; name = dirname(name)) {
    const place = synced(join(dir, 'restore/files', name));
    assert.ok(place >= 0 && place < decided, name);
  }
  for (const name of ['identity', 'gateway.db', 'mesh.db', '']) {
    const place = synced(join(dir, 'restore/files', name).replace(/\/$/, ''));
    assert.ok(place >= 0 && place < decided, name);
  }
  assert.ok(synced(folder.path) >= 0, 'the folder that holds the data folder');
  const lastMove = calls.findLastIndex(call => /rename.*restore\/files/.test(call));
  const lastSync = calls.findLastIndex(call => call.includes(`fsync(`) && call.includes(`<${dir}>`));
  assert.ok(lastSync > lastMove);
});
