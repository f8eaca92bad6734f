import assert from 'node:assert/strict';
import { test } from 'node:test';
import { httpConfigSchema } from '../../../src/bridges/http/config.ts';

test('nothing need be said, and what is not built is refused instead of ignored', () => {
  assert.deepEqual(httpConfigSchema.parse({}), { cors: [], legacySend: false });
  const { error } = httpConfigSchema.safeParse({ cors: ['https://a.example'], legacySend: true, typo: 1 });
  assert.deepEqual(
    error?.issues.map(({ path, message }) => [path.join('.'), /not available in this version/.test(message)]),
    [
      ['cors.0', true],
      ['legacySend', true],
      ['', false],
    ],
  );
});
