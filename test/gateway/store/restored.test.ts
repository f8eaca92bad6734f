import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtempDisposable, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { decideRestore, finishRestore } from '../../../src/gateway/store/restored.ts';
import { openStore } from '../../../src/gateway/store/store.ts';
import type { Log } from '../../../src/lib/log.ts';
import { silentLog } from '../../../src/lib/log.ts';

const stopped = 'stopped here';

/** A data folder with a restore in it that has been read whole. */
async function prepared() {
  const folder = await mkdtempDisposable(join(tmpdir(), 'kos-restored-'));
  const dir = folder.path;
  const put = async (where: string, word: string) => {
    await mkdir(join(where, 'blobs', word), { recursive: true });
    for (const name of ['identity', 'gateway.db', 'mesh.db', `only-${word}`, `blobs/${word}/one`]) {
      await writeFile(join(where, name), word);
    }
  };
  await put(dir, 'old');
  await put(join(dir, 'restore', 'files'), 'new');
  await writeFile(join(dir, 'lock.db'), 'stays');
  return { dir, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

const isNew = async (dir: string) => {
  assert.deepEqual((await readdir(dir)).sort(), [
    'before-restore-1',
    'blobs',
    'gateway.db',
    'identity',
    'lock.db',
    'mesh.db',
    'only-new',
  ]);
  assert.deepEqual((await readdir(join(dir, 'before-restore-1'))).sort(), [
    'blobs',
    'gateway.db',
    'identity',
    'mesh.db',
    'only-old',
  ]);
  for (const name of ['identity', 'gateway.db', 'mesh.db', 'blobs/new/one']) {
    assert.equal(await readFile(join(dir, name), 'utf8'), 'new', name);
  }
  assert.equal(await readFile(join(dir, 'before-restore-1/blobs/old/one'), 'utf8'), 'old');
};

test('a restore that was decided is finished, wherever it was stopped, and stopped again', async () => {
  /** Lets so many steps happen. */
  const after = (steps: number) => {
    let left = steps;
    return () => {
      if (left-- === 0) {
        throw stopped;
      }
    };
  };
  const steps: string[] = [];
  {
    await using made = await prepared();
    decideRestore(made.dir, 'before-restore-1');
    assert.deepEqual(
      finishRestore(made.dir, step => void steps.push(step)),
      { found: 'finished', aside: 'before-restore-1' },
    );
    await isNew(made.dir);
  }
  assert.equal(steps.length, 12, steps.join());
  for (let first = 0; first < steps.length; first++) {
    await using made = await prepared();
    const { dir } = made;
    decideRestore(dir, 'before-restore-1');
    assert.throws(() => finishRestore(dir, after(first)), { code: 'store/unavailable' });
    assert.ok(existsSync(join(dir, 'restore')));
    try {
      finishRestore(dir, after(first % 4));
    } catch {
      finishRestore(dir);
    }
    await isNew(dir);
    assert.deepEqual(finishRestore(dir), { found: 'none' });
  }
});

test('a start says that it has finished a restore, or that it has dropped one', async () => {
  const lines: string[] = [];
  const log = { ...silentLog, warn: (_: unknown, text: string) => lines.push(text) } as unknown as Log;
  for (const [isDecided, wanted] of [
    [true, /was finished: this is the hub of the backup/],
    [false, /was taken away: nothing was changed/],
  ] as const) {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'kos-restored-'));
    const dir = folder.path;
    await (await openStore({ dir }))[Symbol.asyncDispose]();
    await mkdir(join(dir, 'restore', 'files'), { recursive: true });
    await writeFile(join(dir, 'restore', 'files', 'identity'), 'new');
    if (isDecided) {
      decideRestore(dir, 'before-restore-1');
    }
    await (await openStore({ dir, log }))[Symbol.asyncDispose]();
    assert.match(lines.splice(0).join(), wanted);
    assert.equal(existsSync(join(dir, 'identity')), isDecided);
    await (await openStore({ dir, log }))[Symbol.asyncDispose]();
    assert.deepEqual(lines, []);
  }
});
