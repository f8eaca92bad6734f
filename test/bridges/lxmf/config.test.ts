import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lxmfConfig } from '../../../src/bridges/lxmf/config.ts';

test('an empty section is the defaults', () => {
  assert.deepEqual(lxmfConfig.parse({}), { propagationNode: false, residents: 256, stampCost: null });
});

test('what is not built yet is refused by name', () => {
  const result = lxmfConfig.safeParse({ propagationNode: true, stampCost: 8 });
  assert.deepEqual(
    result.error?.issues.map(({ path, message }) => [path.join('.'), message]),
    [
      ['propagationNode', 'not available in this version'],
      ['stampCost', 'not available in this version'],
    ],
  );
});

test('a name must fit an announce', () => {
  assert.ok(lxmfConfig.safeParse({ displayName: 'Elm Street ☀' }).success);
  for (const displayName of ['', '   ', '☀'.repeat(43), 'a\nb']) {
    assert.ok(!lxmfConfig.safeParse({ displayName }).success, displayName);
  }
  assert.ok(!lxmfConfig.safeParse({ name: 'x' }).success);
});
