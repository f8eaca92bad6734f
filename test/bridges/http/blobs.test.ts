import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { blobBytes } from '../../../src/bridges/http/blobs.ts';
import { openGateway } from '../gateway.ts';

test('bytes are kept as they are, under their hash, and come back in ranges', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const bytes = Buffer.from('0123456789'.repeat(1000));
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const put = await gateway.call(a, 'POST', '/v1/blobs', bytes, { headers: { 'content-type': 'image/png' } });
  assert.equal(put.status, 201);
  assert.deepEqual(put.body, { sha256, size: bytes.length, mediaType: 'image/png' });
  const path = put.headers.get('location') ?? '';
  const whole = await gateway.call(a, 'GET', path);
  assert.equal(whole.body, bytes.toString());
  const part = await gateway.call(a, 'GET', path, undefined, { headers: { range: 'bytes=5-14' } });
  assert.equal(part.status, 206);
  assert.equal(part.body, '5678901234');
  assert.equal(part.headers.get('content-range'), `bytes 5-14/${bytes.length}`);
  const beyond = await gateway.call(a, 'GET', path, undefined, {
    headers: { range: `bytes=${bytes.length}-` },
  });
  assert.equal(beyond.status, 416);
  assert.equal(beyond.headers.get('content-range'), `bytes */${bytes.length}`);
  const known = await gateway.call(a, 'GET', path, undefined, {
    headers: { 'if-none-match': `"${sha256}"` },
  });
  assert.equal(known.status, 304);
  const changed = await gateway.call(a, 'GET', path, undefined, {
    headers: { range: 'bytes=0-1', 'if-range': '"other"' },
  });
  assert.equal(changed.status, 200);
  const head = await gateway.call(a, 'HEAD', path);
  assert.equal(head.headers.get('content-length'), String(bytes.length));
});

test('a page that somebody uploads never runs', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const put = await gateway.call(a, 'POST', '/v1/blobs', '<script>alert(1)</script>', {
    headers: { 'content-type': 'text/html' },
  });
  const { headers } = await gateway.call(a, 'GET', put.headers.get('location') ?? '');
  assert.equal(headers.get('content-type'), 'application/octet-stream');
  assert.match(headers.get('content-disposition') ?? '', /^attachment/);
  assert.match(headers.get('content-security-policy') ?? '', /sandbox/);
  assert.equal(headers.get('x-content-type-options'), 'nosniff');
});

test('a blob is seen by who put it there and by who got it in a message', async () => {
  await using gateway = await openGateway();
  const [a, b, c] = await Promise.all(['a', 'b', 'c'].map(name => gateway.client(name)));
  const put = await gateway.call(a, 'POST', '/v1/blobs', 'a secret');
  const path = put.headers.get('location') ?? '';
  assert.equal((await gateway.call(b, 'GET', path)).status, 404);
  const stolen = await gateway.call(c, 'POST', '/v1/messages', {
    to: 'app:c',
    attachments: [{ name: 'x', sha256: put.body.sha256 }],
  });
  assert.ok(stolen.status >= 400, 'a hash alone must not open a blob');
  const sent = await gateway.call(a, 'POST', '/v1/messages', {
    to: 'app:b',
    attachments: [{ name: 'x.txt', mediaType: 'text/plain', sha256: put.body.sha256 }],
  });
  assert.equal(sent.status, 201, JSON.stringify(sent.body));
  assert.equal((await gateway.call(b, 'GET', path)).status, 200);
  assert.equal((await gateway.call(c, 'GET', path)).status, 404);
});

test('an empty blob is a blob', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const put = await gateway.call(a, 'POST', '/v1/blobs', new Uint8Array(0));
  assert.equal(put.status, 201);
  assert.equal(put.body.size, 0);
  assert.equal((await gateway.call(a, 'GET', put.headers.get('location') ?? '')).body, '');
});

test('a blob that is said to be too large is refused unread, one that becomes too large is cut off', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const { port } = gateway.listener.address();
  const head = `POST /v1/blobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${a}\r\nConnection: close\r\n`;
  const said = connect(port, '127.0.0.1');
  said.end(`${head}Content-Length: ${blobBytes + 1}\r\n\r\n`);
  assert.match(await text(said), /^HTTP\/1\.1 413.*urn:kos:problem:request\/too-large/s);
  const piece = new Uint8Array(1024 * 1024);
  let pieces = blobBytes / piece.length + 1;
  const body = new ReadableStream({
    pull(controller) {
      if (pieces-- > 0) {
        controller.enqueue(piece);
      } else {
        controller.close();
      }
    },
  });
  const answer = await fetch(`${gateway.url}/v1/blobs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${a}` },
    body,
    duplex: 'half',
  } as RequestInit);
  assert.equal(answer.status, 413);
});

test('an upload that breaks off leaves the gateway well', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const socket = connect(gateway.listener.address().port, '127.0.0.1');
  socket.write(
    `POST /v1/blobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${a}\r\nContent-Length: 1000\r\n\r\nhalf`,
    () => socket.destroy(),
  );
  await new Promise(resolve => socket.once('close', resolve));
  assert.equal((await gateway.call(a, 'POST', '/v1/blobs', 'whole')).status, 201);
});

test('blobs of a client that no message names have a bound of its own, over a restart too', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-blobs-'));
  const size = 200 * 1024;
  const limits = { unnamedBlobs: 3 * size };
  const bytes = (n: number) => Buffer.alloc(size, n);
  let tokens: string[] = [];
  try {
    for (const start of [0, 1]) {
      await using gateway = await openGateway({ dir, limits });
      if (start === 0) {
        tokens = [await gateway.client('a'), await gateway.client('b')];
      }
      const [a = '', b = ''] = tokens;
      const put = (token: string, n: number) => gateway.call(token, 'POST', '/v1/blobs', bytes(n));
      const upload = (length: number) =>
        gateway.call(a, 'POST', '/v1/uploads', undefined, { headers: { 'upload-length': `${length}` } });
      if (start === 0) {
        const first = await Promise.all([1, 2, 3, 4, 5].map(n => put(a, n)));
        const statuses = first.map(({ status }) => status).sort();
        assert.equal(statuses.at(-1), 429);
        assert.ok(statuses.filter(status => status === 201).length <= 3);
        for (const n of [1, 2, 3]) {
          await put(a, n);
        }
      }
      const refused = await put(a, 6 + start);
      assert.equal(refused.status, 429);
      assert.match(refused.body.detail, /no message names/);
      assert.equal((await upload(size)).status, 429);
      const inline = { name: 'f', base64: bytes(8).toString('base64') };
      const posted = await gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', attachments: [inline] });
      assert.equal(posted.status, 429);
      assert.equal((await put(b, 9 + start)).status, 201, 'others put theirs');
      const found = gateway.hub.store.read.blobsUncarried(0).find(({ client }) => client === 'a');
      const named = await gateway.call(a, 'POST', '/v1/messages', {
        to: 'app:b',
        attachments: [{ name: 'f', sha256: found?.sha256 }],
      });
      assert.equal(named.status, 201, JSON.stringify(named.body));
      assert.equal((await put(a, 20 + start)).status, 201, 'a message named one of them');
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
