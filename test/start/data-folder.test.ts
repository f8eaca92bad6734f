import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { configFileOf, dataFolderOf } from '../../bin/data-folder.js';

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
      assert.equal(dataFolderOf(['--config', file], {}), join(dir, folder));
      assert.equal(dataFolderOf([], { KOS_CONFIG: file }), join(dir, folder));
    } finally {
      await rm(dir, { recursive: true });
    }
  });
}

test('a data folder that is given wins', () => {
  assert.equal(dataFolderOf(['--json', '--data=/a'], { KOS_HUB_DATA: '/b' }), '/a');
  assert.equal(dataFolderOf(['--json'], { KOS_HUB_DATA: '/b' }), '/b');
  assert.equal(dataFolderOf(['--data'], {}), resolve('data'));
});

test('the file given wins over the environment', () => {
  assert.equal(configFileOf(['--config', 'a.yaml'], { KOS_CONFIG: 'b.yaml' }), 'a.yaml');
  assert.equal(configFileOf([], { KOS_CONFIG: 'b.yaml' }), 'b.yaml');
});
