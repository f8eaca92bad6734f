import assert from 'node:assert/strict';
import { test } from 'node:test';
import { httpConfigSchema } from '../../../src/bridges/http/config.ts';
import { ratePolicies } from '../../../src/bridges/rate.ts';

test('nothing need be said, and every mistake is told', () => {
  assert.deepEqual(httpConfigSchema.parse({}), {
    cors: [],
    legacySend: false,
    rates: ratePolicies,
    sessions: { lifetime: 30 * 86_400, idle: 7 * 86_400 },
  });
  const { error } = httpConfigSchema.safeParse({
    cors: ['https://a.example', 'https://a.example/path', '*'],
    legacySend: 'perhaps',
    sms: { numbers: { 'not a number': 'lxmf:00' } },
    ntfy: { topics: { 'a/b': 'room:hub' } },
    typo: 1,
  });
  assert.deepEqual(error?.issues.map(({ path }) => path.join('.')).sort(), [
    '',
    'cors.1',
    'cors.2',
    'legacySend',
    'ntfy.topics.a/b',
    'sms.numbers.not a number',
  ]);
});
