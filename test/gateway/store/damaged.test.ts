import assert from 'node:assert/strict';
import {
  cp,
  mkdtempDisposable,
  open,
  readdir,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { openStore } from '../../../src/gateway/store/store.ts';
import { seededRandom } from '../../sim/random.ts';
import { openTestSwitch, until } from '../fixture.ts';

/** A data folder with some hundred messages in it, closed. */
async function folder() {
  const made = await mkdtempDisposable(join(tmpdir(), 'kos-damaged-'));
  const dir = join(made.path, 'data');
  await using hub = await openTestSwitch({ dir });
  await Promise.all(
    Array.from({ length: 300 }, (_, n) =>
      hub.desk.messages.post(hub.owner, { to: 'app:owner', text: `${n} ${'x'.repeat(200)}` }),
    ),
  );
  await hub.store.committer.commit('mesh.save', { kind: 'path', key: 'a', value: new Uint8Array(50) });
  return { path: made.path, dir, [Symbol.asyncDispose]: () => made[Symbol.asyncDispose]() };
}

async function overwrite(file: string, at: number, bytes: Uint8Array): Promise<void> {
  const handle = await open(file, 'r+');
  await handle.write(bytes, 0, bytes.length, at);
  await handle.close();
}

function setVersion(file: string, version: number): void {
  const database = new DatabaseSync(file);
  database.exec(`PRAGMA user_version = ${version}`);
  database.close();
}

const damages: Readonly<Record<string, (file: string) => unknown>> = {
  'no database at all': file => writeFile(file, 'this was a database once, and now it is words '.repeat(300)),
  'a header of zeros': file => overwrite(file, 0, new Uint8Array(100)),
  'a page of zeros': file => overwrite(file, 4096 * 8, new Uint8Array(4096)),
  'the second half missing': async file => {
    const { size } = await stat(file);
    await truncate(file, Math.floor(size / 8192) * 4096);
  },
};

test('a damaged database of messages stops the start in words that name the file and what to do, and is left as it is', async () => {
  await using at = await folder();
  for (const [name, damage] of Object.entries(damages)) {
    const copy = join(at.path, name.replaceAll(' ', '-'));
    await cp(at.dir, copy, { recursive: true });
    await damage(join(copy, 'gateway.db'));
    await assert.rejects(
      openStore({ dir: copy }),
      {
        code: 'store/unavailable',
        message: /gateway\.db is damaged \(.*\)\. Nothing was changed\..*kosctl restore/,
      },
      name,
    );
    assert.ok(!(await readdir(copy)).some(file => file.includes('.damaged-')), name);
  }
});

test('a database of a newer version, or of none that can be brought up to date, stops the start in words', async () => {
  await using at = await folder();
  for (const [file, version, message] of [
    ['gateway.db', 99, /gateway\.db was written by a newer version of this program \(schema 99/],
    ['replica-outbox.db', 99, /replica-outbox\.db was written by a newer version/],
    ['gateway.db', 0, /gateway\.db cannot be brought from schema 0 to 1: .*Nothing was changed/],
  ] as const) {
    const copy = join(at.path, `${file}-${version}`);
    await cp(at.dir, copy, { recursive: true });
    setVersion(join(copy, file), version);
    await assert.rejects(openStore({ dir: copy }), { code: 'store/unavailable', message }, file);
  }
});

for (const file of ['replica-outbox.db', 'mesh.db']) {
  test(`a damaged ${file} keeps nothing else from starting: it is put aside, never removed, and named until somebody takes it away`, async () => {
    await using at = await folder();
    const broken = 'this was a database once, and now it is words '.repeat(300);
    await writeFile(join(at.dir, file), broken);
    for (let start = 0; start < 2; start++) {
      await using hub = await openTestSwitch({ dir: at.dir });
      assert.equal(hub.desk.messages.list(hub.owner, { limit: 200 }).items.length, 200);
      const failure = await until(() => hub.desk.health().failures.find(({ name }) => name === file));
      assert.match(failure.reason, new RegExp(`lies aside as ${file}\\.damaged-\\d+: .*kosctl restore`));
      assert.ok(hub.desk.health().ready, 'everything else works');
    }
    const [aside] = (await readdir(at.dir)).filter(name => name.startsWith(`${file}.damaged-`));
    assert.ok(aside);
    assert.equal((await stat(join(at.dir, aside))).size, broken.length);
    await rm(join(at.dir, aside));
    await using hub = await openTestSwitch({ dir: at.dir });
    await new Promise(resolve => setTimeout(resolve, 50));
    assert.ok(!hub.desk.health().failures.some(({ name }) => name === file));
  });
}

test('flipped bits either stop the start in words, or reading gives what is there or says that the store is at fault', async () => {
  await using at = await folder();
  const random = seededRandom(Number(process.env.SEED ?? 7));
  let refused = 0;
  for (let round = 0; round < 6; round++) {
    const copy = join(at.path, `flipped-${round}`);
    await cp(at.dir, copy, { recursive: true });
    const file = join(copy, 'gateway.db');
    const handle = await open(file, 'r+');
    const { size } = await handle.stat();
    for (let flip = 0; flip < 16; flip++) {
      const place = Math.floor(random.fraction() * size);
      const byte = new Uint8Array(1);
      await handle.read(byte, 0, 1, place);
      byte[0] = (byte[0] as number) ^ (1 << Math.floor(random.fraction() * 8));
      await handle.write(byte, 0, 1, place);
    }
    await handle.close();
    try {
      await using store = await openStore({ dir: copy });
      assert.ok(store.read.openDeliveries() !== undefined);
    } catch (error) {
      refused += 1;
      assert.match(`${(error as { code?: string }).code}`, /^store\/unavailable$/, String(error));
    }
    await rm(copy, { recursive: true });
  }
  assert.ok(refused > 0, 'some of it was noticed');
});

test('damage that a running hub meets is named, with the file and what to do, and reading goes on elsewhere', async () => {
  await using at = await folder();
  await using hub = await openTestSwitch({ dir: at.dir });
  const file = join(at.dir, 'gateway.db');
  // As a card does that fails under it: everything but the first pages is something else now.
  const bytes = new Uint8Array((await stat(file)).size - 4096 * 2).fill(0xa5);
  await overwrite(file, 4096 * 2, bytes);
  const failure = await until(() => {
    for (const word of ['1', '2', '3']) {
      try {
        hub.desk.messages.list(hub.owner, { limit: 200, peer: `app:${word}` });
        hub.desk.messages.list(hub.owner, { limit: 200 });
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'store/unavailable');
      }
    }
    return hub.desk.health().failures.find(({ name }) => name === 'gateway.db');
  });
  assert.match(failure.reason, /^damaged: .*kosctl restore/);
  assert.equal(hub.desk.health().ready, false);
});

test('a data folder that is taken away is noticed with the next message, which is refused, and used again when it is back', async () => {
  await using made = await mkdtempDisposable(join(tmpdir(), 'kos-gone-'));
  const dir = join(made.path, 'data');
  await using hub = await openTestSwitch({ dir });
  const post = () => hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'is it there?' });
  await post();
  await rename(dir, `${dir}-away`);
  await assert.rejects(post, {
    code: 'store/unavailable',
    message: /gateway\.db is gone.*Put the data folder back/,
  });
  const failure = await until(() => hub.desk.health().failures.find(({ name }) => name === 'disk'));
  assert.match(failure.reason, /nothing can be stored: .*is gone/);
  assert.equal(hub.desk.health().ready, false);
  await rename(`${dir}-away`, dir);
  await post();
  await until(() => hub.desk.health().ready);
});
