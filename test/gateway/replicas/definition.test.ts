import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { definitionJsonSchema } from '../../../src/gateway/replicas/definition.ts';
import { readDefinition, readDefinitions } from '../../../src/gateway/replicas/definition-file.ts';
import { compilePolicies } from '../../../src/gateway/replicas/policy.ts';
import { compileTemplate, templateMistake } from '../../../src/gateway/replicas/template.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { isPublicAddress } from '../../../src/lib/public-address.ts';

async function write(t: TestContext, files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kos-replica-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(folder, name), text);
  }
  return folder;
}

const small = `
version: 1
id: notes
upstream: { url: https://api.example/v1 }
`;

const full = `
version: 1
id: fieldnotes
title: Field Notes
upstream:
  url: https://api.example/v1
  timeouts: { connect: 2s, headers: 10s }
  probe: { path: /ping, every: 30s }
  expect: { types: [application/json] }
openapi: { document: ./api.yaml }
identity: { partition: [authorization], subject: { jwtClaim: sub, proof: /me }, offlineAuthFor: 14d }
storage: { cache: 512MiB, outbox: 64MiB }
defaults:
  read: { staleIfError: 7d, patience: 1s }
  write: { mode: reject, conflict: mine }
resources:
  - collection: /notes
    item: /notes/{id}
    list: { pointer: /items, filter: { tag: "/tags contains {value}" } }
    refs: [{ in: /comments, pointer: /noteId }]
  - collection: /notes/{noteId}/comments
    item: /notes/{noteId}/comments/{id}
routes:
  - match: { path: /notes, methods: [POST] }
    write: { mode: queue, idempotency: { by: header } }
  - match: { path: "/notes/{id}", methods: [PUT, PATCH, DELETE] }
    write: { mode: queue, conflict: merge, merge: { /tags: union } }
  - match: { path: /me }
    read: { override: [private, no-cache] }
  - match: { operationId: chargeCard }
    write: { mode: reject }
  - match: { path: "/static/**" }
    read: { fresh: 1d }
  - match: { path: /events }
    stream: sse
`;

const api = `
openapi: 3.1.0
info: { title: Notes, version: "1" }
paths:
  /charges: { post: { operationId: chargeCard, responses: {} } }
`;

test('a definition of five lines is a good one, and writes are rejected unless it says otherwise', async t => {
  const folder = await write(t, { 'a.replica.yaml': small });
  const definition = readDefinition(join(folder, 'a.replica.yaml'));
  assert.equal(definition.title, 'notes');
  assert.equal(definition.upstream.timeouts.connect, 3000);
  assert.equal(definition.upstream.allowPrivate, false);
  const { read, write: writing } = compilePolicies(definition).of('POST', '/notes');
  assert.equal(writing.mode, 'reject');
  assert.equal(read.patience, 2000);
});

test('a route changes what it names and leaves the rest to the service, and the service to what is built in', async t => {
  const folder = await write(t, { 'a.replica.yaml': full, 'api.yaml': api });
  const policies = compilePolicies(readDefinition(join(folder, 'a.replica.yaml')));
  const post = policies.of('POST', '/notes?x=1').write;
  assert.deepEqual([post.mode, post.conflict, post.idempotency.by], ['queue', 'mine', 'header']);
  assert.deepEqual([post.idempotency.header, post.maxBody], ['Idempotency-Key', 1024 * 1024]);
  const put = policies.of('PUT', '/notes/a%20b');
  assert.deepEqual([put.write.conflict, put.params], ['merge', { id: 'a b' }]);
  assert.deepEqual(put.resource?.kind, 'item');
  const me = policies.of('GET', '/me').read;
  assert.deepEqual([me.override, me.patience, me.staleIfError], [['private', 'no-cache'], 1000, 604_800_000]);
  assert.equal(policies.of('GET', '/static/a/b').read.fresh, 86_400_000);
  assert.equal(policies.of('GET', '/events').stream, true);
  assert.equal(policies.of('POST', '/charges').route, '/charges');
  assert.equal(policies.of('GET', '/other').route, undefined);
});

test('every mistake of a definition is told at once, with its place', async t => {
  const folder = await write(t, {
    'a.replica.yaml': `
version: 1
id: Not Good
upstream: { url: "http://127.0.0.1:3000/v1", timeouts: { connect: soon }, nonsense: 1 }
resources:
  - { collection: /notes, item: "/other/{id}" }
  - { collection: /notes, item: "/notes/{id}", refs: [{ in: /nowhere, pointer: noteId }] }
routes:
  - match: { path: notes }
  - match: { operationId: unknown }
  - match: { path: /a, operationId: b }
  - match: { path: /a }
    write: { mode: later }
`,
  });
  assert.throws(
    () => readDefinition(join(folder, 'a.replica.yaml')),
    error => {
      assert.ok(isGatewayError(error, 'config/invalid'));
      const told = error.errors.map(({ pointer }) => pointer).sort();
      assert.deepEqual(told, [
        'id',
        'resources.0.item',
        'resources.1.collection',
        'resources.1.refs.0.in',
        'resources.1.refs.0.pointer',
        'routes.0.match.path',
        'routes.1.match.operationId',
        'routes.2.match',
        'routes.2.match.operationId',
        'routes.3.write.mode',
        'upstream.nonsense',
        'upstream.timeouts.connect',
        'upstream.url',
      ]);
      assert.match(error.errors.map(({ detail }) => detail).join('\n'), /allowPrivate/);
      return true;
    },
  );
});

test('a file that is not YAML, holds a list, is a folder or is not there is told in words', async t => {
  const folder = await write(t, { 'a.yaml': 'id: [', 'b.yaml': '- 1', 'c.yaml': '\u0000\u0001' });
  for (const name of ['a.yaml', 'b.yaml', 'c.yaml', 'd.yaml', '.']) {
    assert.throws(
      () => readDefinition(join(folder, name)),
      error => isGatewayError(error, 'config/invalid') && error.errors.length > 0,
      name,
    );
  }
});

test('a glob gives every definition, and two with one id are refused', async t => {
  const folder = await write(t, { 'b.replica.yaml': small, 'a.replica.yaml': full, 'api.yaml': api });
  const ids = readDefinitions(join(folder, '*.replica.yaml')).map(({ id }) => id);
  assert.deepEqual(ids, ['fieldnotes', 'notes']);
  await writeFile(join(folder, 'c.replica.yaml'), small);
  assert.throws(
    () => readDefinitions(join(folder, '*.replica.yaml')),
    error =>
      isGatewayError(error, 'config/invalid') && /c\.replica\.yaml: id/.test(error.errors[0]?.pointer ?? ''),
  );
});

test('editors get a JSON Schema in which a route needs no defaults', () => {
  const schema = definitionJsonSchema() as { required: string[] };
  assert.deepEqual(schema.required.sort(), ['id', 'upstream', 'version']);
});

test('a template matches whole steps, decoded, and nothing else', () => {
  const item = compileTemplate('/notes/{id}');
  assert.deepEqual({ ...item.match('/notes/7?full=1') }, { id: '7' });
  for (const other of ['/notes', '/notes/', '/notes/7/comments', '/Notes/7', '/notes/%ff', '/notes/%']) {
    assert.equal(item.match(other), undefined, other);
  }
  assert.ok(compileTemplate('/a/**').match('/a/b/c'));
  assert.ok(compileTemplate('/**').match('/'));
  for (const bad of ['a', '/{a}/{a}', '/a?b', '/**/a', '/{a', '/x{a}']) {
    assert.ok(templateMistake(bad) !== undefined, bad);
  }
});

test('only addresses of the public internet are public, in every spelling', () => {
  for (const address of [
    '1.1.1.1',
    '93.184.216.34',
    '2606:4700::1111',
    '::ffff:8.8.8.8',
    '64:ff9b::808:808',
  ]) {
    assert.equal(isPublicAddress(address), true, address);
  }
  for (const address of [
    '127.0.0.1',
    '10.1.2.3',
    '172.31.0.1',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '255.255.255.255',
    '224.0.0.1',
    '::1',
    '::',
    'fe80::1%eth0',
    'fc00::1',
    'ff02::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '64:ff9b::7f00:1',
    '64:ff9b::a00:1',
    '2001:db8::1',
    '2002:7f00:1::',
    '::7f00:1',
  ]) {
    assert.equal(isPublicAddress(address), false, address);
  }
});
