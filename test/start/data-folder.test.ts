import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { dataFolderOf, environmentFile } from '../../src/start/data-folder.ts';

const cases: [string, string, string][] = [
  ['a block mapping', 'hub:\n  name: x\n  data: ./state # here\n', 'state'],
  ['a flow mapping', 'hub: { name: x, data: "./quoted" }\n', 'quoted'],
  ['no data key', 'hub:\n  name: x\nlisten:\n  http: 127.0.0.1:1\n', 'data'],
  ['a data key elsewhere', 'other:\n  data: ./no\n', 'data'],
];

for (const [name, text, folder] of cases) {
  test(`the data folder is guessed from ${name}`, async () => {
    const dir = await mkdtemp(join(tmpdir(), 'kos-'));
    try {
      const file = join(dir, 'kos.yaml');
      await writeFile(file, text);
      assert.equal(dataFolderOf(file), join(dir, folder));
    } finally {
      await rm(dir, { recursive: true });
    }
  });
}

test('the file given wins over the environment', () => {
  assert.equal(environmentFile('a.yaml', { KOS_CONFIG: 'b.yaml' }), 'a.yaml');
  assert.equal(environmentFile(undefined, { KOS_CONFIG: 'b.yaml' }), 'b.yaml');
});
