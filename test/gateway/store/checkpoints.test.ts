import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { createCheckpoints } from '../../../src/gateway/store/checkpoints.ts';

test('a fold that fails throws nothing and is tried again later, not at once', () => {
  const database = new DatabaseSync(':memory:');
  const log = createCheckpoints(database);
  log.grown(1);
  const soon = log.patience;
  database.close();
  log.fold();
  log.foldIfLong();
  assert.ok(log.patience > soon && log.patience < Number.POSITIVE_INFINITY);
});
