import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retryAfterOf } from '../../src/lib/retry-after.ts';

test('Retry-After is seconds or a date, and anything else is nothing', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  assert.equal(retryAfterOf('120', now), 120_000);
  assert.equal(retryAfterOf('Thu, 01 Jan 2026 00:01:00 GMT', now), 60_000);
  assert.equal(retryAfterOf('Wed, 31 Dec 2025 00:01:00 GMT', now), 0);
  for (const wrong of [undefined, '', '-1', '1.5', 'soon', '2026-01-01', '9'.repeat(30)]) {
    assert.equal(retryAfterOf(wrong, now), undefined, String(wrong));
  }
});
