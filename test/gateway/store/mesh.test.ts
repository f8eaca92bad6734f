import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openStore } from '../../../src/gateway/store/store.ts';

test('what the mesh has stored comes back whole, however many pages it takes', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-mesh-'));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rm(dir, { recursive: true, force: true }));
  const store = cleanup.use(await openStore({ dir }));
  const keys = Array.from({ length: 2500 }, (_, n) => (n * 7919).toString(16).padStart(8, '0'));
  await Promise.all(keys.map((key, n) => store.mesh.save('path', key, Uint8Array.of(n & 0xff))));
  await store.mesh.save('tunnel', 'ff', Uint8Array.of(1));
  const loaded = [...store.mesh.load('path')];
  assert.deepEqual(
    loaded.map(({ key }) => key),
    keys.toSorted(),
  );
  assert.ok(loaded.every(({ key, value }) => value[0] === (keys.indexOf(key) & 0xff)));
  assert.equal([...store.mesh.load('tunnel')].length, 1);
  assert.deepEqual([...store.mesh.load('ticket')], []);
});
