import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { readDefinition } from '../../../src/gateway/replicas/definition-file.ts';
import { compilePolicies, operationsOf } from '../../../src/gateway/replicas/policy.ts';

const folder = join(import.meta.dirname, '../../../replicas');

test('the shipped weather definition reads, and queues nothing', () => {
  const weather = readDefinition(join(folder, 'weather.replica.yaml'));
  const policies = compilePolicies(weather);
  assert.equal(weather.id, 'weather');
  assert.equal(policies.of('GET', '/stations').read.pin, true);
  for (const { method, path } of operationsOf(weather.document).values()) {
    assert.equal(method, 'GET', path);
  }
  assert.equal(policies.of('POST', '/stations').write.mode, 'reject');
});

test('the shipped notes definition queues what its routes name, with a key and a precondition', () => {
  const notes = readDefinition(join(folder, 'notes.replica.yaml'));
  const policies = compilePolicies(notes);
  assert.equal(policies.of('POST', '/notes').write.mode, 'queue');
  assert.equal(policies.of('POST', '/notes').write.idempotency.by, 'header');
  const change = policies.of('PUT', '/notes/1');
  assert.equal(change.write.precondition, 'if-match');
  assert.equal(change.resource?.id, '1');
  assert.equal(policies.of('POST', '/notes/1').write.mode, 'reject', 'what no route names is not queued');
});
