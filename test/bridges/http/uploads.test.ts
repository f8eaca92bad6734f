import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { openGateway } from '../gateway.ts';

test('an upload by tus goes on after a break, and is a blob of its client at the end', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  const tus = { 'tus-resumable': '1.0.0' };
  const octets = { ...tus, 'content-type': 'application/offset+octet-stream' };
  const call = (token: string | undefined, method: string, path: string, headers = {}, body?: string) =>
    fetch(`${gateway.url}${path}`, {
      method,
      headers: { ...tus, ...(token !== undefined && { authorization: `Bearer ${token}` }), ...headers },
      ...(body !== undefined && { body }),
    });

  const offer = await call(undefined, 'OPTIONS', '/v1/uploads');
  assert.equal(offer.status, 204);
  assert.match(offer.headers.get('tus-extension') ?? '', /creation.*expiration.*termination.*checksum/);
  const old = await call(a, 'POST', '/v1/uploads', { 'tus-resumable': '0.2.2', 'upload-length': '5' });
  assert.deepEqual([old.status, old.headers.get('tus-version')], [412, '1.0.0']);
  assert.equal((await call(a, 'POST', '/v1/uploads')).status, 400);
  assert.equal((await call(a, 'POST', '/v1/uploads', { 'upload-length': '99999999999' })).status, 413);

  const made = await call(a, 'POST', '/v1/uploads', {
    'upload-length': '11',
    'upload-metadata': 'filename aGVsbG8udHh0,is_confidential',
  });
  assert.equal(made.status, 201);
  const path = made.headers.get('location') ?? '';
  assert.ok(Date.parse(made.headers.get('upload-expires') ?? '') > Date.now());
  assert.equal((await call(b, 'HEAD', path)).status, 404, 'nobody else sees it');
  const first = await call(a, 'PATCH', path, { ...octets, 'upload-offset': '0' }, 'hello');
  assert.deepEqual([first.status, first.headers.get('upload-offset')], [204, '5']);
  assert.equal((await call(a, 'PATCH', path, { ...octets, 'upload-offset': '0' }, 'hello')).status, 409);
  assert.equal((await call(a, 'PATCH', path, { 'upload-offset': '5' }, ' world')).status, 415);
  const wrong = { ...octets, 'upload-offset': '5', 'upload-checksum': `sha1 ${'A'.repeat(27)}=` };
  assert.equal((await call(a, 'PATCH', path, wrong, ' world')).status, 460);
  const head = await call(a, 'HEAD', path);
  assert.deepEqual(
    ['upload-offset', 'upload-length', 'upload-metadata', 'tus-resumable'].map(name =>
      head.headers.get(name),
    ),
    ['5', '11', 'filename aGVsbG8udHh0,is_confidential', '1.0.0'],
  );
  const sum = createHash('sha256').update(' world').digest('base64');
  const last = await call(
    a,
    'PATCH',
    path,
    { ...octets, 'upload-offset': '5', 'upload-checksum': `sha256 ${sum}` },
    ' world',
  );
  assert.equal(last.status, 204);
  const sha256 = createHash('sha256').update('hello world').digest('hex');
  assert.equal(last.headers.get('kos-blob'), sha256);
  assert.equal((await gateway.call(a, 'GET', `/v1/blobs/${sha256}`)).body, 'hello world');
  assert.equal((await gateway.call(b, 'GET', `/v1/blobs/${sha256}`)).status, 404);
  assert.equal((await call(a, 'DELETE', path)).status, 204);
  assert.equal((await call(a, 'HEAD', path)).status, 404);

  const atOnce = await call(a, 'POST', '/v1/uploads', { ...octets, 'upload-length': '5' }, 'hello');
  assert.equal(atOnce.status, 201);
  assert.equal(atOnce.headers.get('upload-offset'), '5');
  assert.match(atOnce.headers.get('kos-blob') ?? '', /^2cf24d/);
});
