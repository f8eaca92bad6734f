import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Upload, type UploadOptions } from 'tus-js-client';
import { systemClock } from '../../../src/lib/clock.ts';
import { refusalOf, rememberedUrls, uploadByTus } from '../../tus.ts';
import { openGateway, type TestGateway } from '../gateway.ts';

/*
 * tus-js-client, as pages and Uppy use it, against a real hub. What becomes of an upload over a kill of the hub is in
 * test/fault/tus-client.test.ts.
 */

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

function optionsFor(gateway: TestGateway, token: string, more: UploadOptions = {}): UploadOptions {
  return {
    endpoint: `${gateway.url}/v1/uploads`,
    headers: { authorization: `Bearer ${token}` },
    chunkSize: 64 * 1024,
    ...more,
  };
}

async function assertBlob(gateway: TestGateway, token: string, bytes: Buffer): Promise<void> {
  const answer = await fetch(`${gateway.url}/v1/blobs/${sha256(bytes)}`, {
    headers: { authorization: `Bearer ${token}` },
  });
  assert.equal(answer.status, 200);
  assert.deepEqual(Buffer.from(await answer.arrayBuffer()), bytes);
}

async function assertRefused(ended: Promise<void>, status: number, words: RegExp): Promise<void> {
  const refusal = refusalOf(
    await ended.then(
      () => assert.fail('it was taken'),
      error => error,
    ),
  );
  assert.equal(refusal.status, status, refusal.body);
  assert.match(refusal.body, words);
}

test('tus-js-client uploads a file in pieces, and the last answer names the blob', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const bytes = randomBytes(300_000);
  const { upload, ended, answers } = await uploadByTus(
    bytes,
    optionsFor(gateway, a, { metadata: { filename: 'grüße.bin', filetype: 'image/png' } }),
  );
  await ended;
  assert.deepEqual(
    answers.map(({ method, status }) => `${method} ${status}`),
    ['POST 201', ...Array(5).fill('PATCH 204')],
  );
  assert.equal(answers.at(-1)?.blob, sha256(bytes));
  await assertBlob(gateway, a, bytes);
  const head = await fetch(upload.url ?? '', { method: 'HEAD', headers: { authorization: `Bearer ${a}` } });
  assert.match(head.headers.get('upload-metadata') ?? '', /^filename \S+,filetype \S+$/);
  assert.equal(head.headers.get('cache-control'), 'no-store');
});

test('tus-js-client sends the first piece with the creation, and a file of nothing', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  for (const bytes of [randomBytes(100_000), Buffer.alloc(0)]) {
    const { ended } = await uploadByTus(bytes, optionsFor(gateway, a, { uploadDataDuringCreation: true }));
    await ended;
    await assertBlob(gateway, a, bytes);
  }
});

test('tus-js-client pauses, and a later one goes on from what it remembered', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const bytes = randomBytes(400_000);
  const urlStorage = rememberedUrls();
  const paused = Promise.withResolvers<void>();
  const first = await uploadByTus(
    bytes,
    optionsFor(gateway, a, {
      urlStorage,
      onChunkComplete: (_size, accepted) => {
        if (accepted >= 128 * 1024) {
          paused.resolve();
        }
      },
    }),
  );
  await paused.promise;
  await first.upload.abort();
  const second = await uploadByTus(bytes, optionsFor(gateway, a, { urlStorage }));
  await second.ended;
  assert.equal(second.answers[0]?.method, 'HEAD', 'it asks how far it is');
  assert.equal(second.upload.url, first.upload.url);
  assert.ok(second.answers.length < 7, 'what was there is not sent again');
  await assertBlob(gateway, a, bytes);
});

test('tus-js-client gives an upload up, and it is gone', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const began = Promise.withResolvers<void>();
  const { upload } = await uploadByTus(
    randomBytes(300_000),
    optionsFor(gateway, a, { onChunkComplete: () => began.resolve() }),
  );
  await began.promise;
  await upload.abort(true);
  assert.equal((await gateway.call(a, 'GET', new URL(upload.url ?? '').pathname)).status, 404);
  const whole = await uploadByTus(randomBytes(10), optionsFor(gateway, a));
  await whole.ended;
  await Upload.terminate(whole.upload.url ?? '', { headers: { authorization: `Bearer ${a}` } });
  assert.equal((await gateway.call(a, 'GET', new URL(whole.upload.url ?? '').pathname)).status, 404);
});

test('tus-js-client uploads in parallel, and the parts become one blob', async () => {
  await using gateway = await openGateway();
  const [a, b] = [await gateway.client('a'), await gateway.client('b')];
  const bytes = randomBytes(500_000);
  const { upload, ended, answers } = await uploadByTus(
    bytes,
    optionsFor(gateway, a, { parallelUploads: 3, metadata: { filename: 'wide.bin' } }),
  );
  await ended;
  assert.equal(answers.filter(({ method }) => method === 'POST').length, 4);
  assert.equal(answers.at(-1)?.blob, sha256(bytes));
  await assertBlob(gateway, a, bytes);
  const path = new URL(upload.url ?? '').pathname;
  const head = await fetch(`${gateway.url}${path}`, { headers: { authorization: `Bearer ${a}` } });
  assert.equal(head.headers.get('upload-length'), String(bytes.length));
  const concat = head.headers.get('upload-concat') ?? '';
  assert.match(concat, /^final;(?: ?\/v1\/uploads\/[0-9a-f]{32}){3}$/);
  const [part = ''] = concat.slice(6).split(' ');
  assert.equal((await gateway.call(a, 'GET', part)).status, 404, 'the parts are used up');
  const tus = { 'tus-resumable': '1.0.0' };
  const ask = (token: string, to: string) =>
    gateway.call(token, 'POST', '/v1/uploads', undefined, { headers: { ...tus, 'upload-concat': to } });
  const again = await ask(a, concat);
  assert.deepEqual([again.status, again.headers.get('location')], [201, path], 'an answer that was lost');
  assert.equal((await ask(b, concat)).status, 404, 'they are nobody else’s');
  assert.equal((await ask(a, `final;${part}`)).status, 404);
  assert.equal((await ask(a, 'final;http://elsewhere/x')).status, 404);
  assert.equal((await ask(a, 'sideways')).status, 400);
  const more = { ...tus, 'content-type': 'application/offset+octet-stream', 'upload-offset': '500000' };
  assert.equal((await gateway.call(a, 'PATCH', path, 'x', { headers: more })).status, 403);
});

test('what is not whole, no part, or too large together is not joined', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const begin = async (length: number, headers: Record<string, string>, body?: string) => {
    const answer = await gateway.call(a, 'POST', '/v1/uploads', body, {
      headers: { 'content-type': 'application/octet-stream', 'upload-length': String(length), ...headers },
    });
    assert.equal(answer.status, 201);
    return answer.headers.get('location') ?? '';
  };
  const partial = { 'upload-concat': 'partial' };
  const whole = await begin(5, partial, 'hello');
  assert.equal((await gateway.call(a, 'GET', whole)).body.sha256, undefined, 'a part is no blob');
  assert.equal((await gateway.call(a, 'GET', whole)).headers.get('upload-concat'), 'partial');
  const half = await begin(5, partial, 'hel');
  const plain = await begin(5, {}, 'hello');
  const join = async (...paths: string[]) =>
    (
      await gateway.call(a, 'POST', '/v1/uploads', undefined, {
        headers: { 'upload-concat': `final;${paths.join(' ')}` },
      })
    ).status;
  assert.equal(await join(whole, half), 409);
  assert.equal(await join(whole, plain), 400);
  assert.equal(await join(whole, whole), 400);
  assert.equal(await join(whole), 201, 'and is there for another try');
});

test('tus-js-client is told that a file is too large before a byte of it is sent', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const { ended, answers } = await uploadByTus(
    Buffer.alloc(10),
    optionsFor(gateway, a, { uploadSize: 40 * 1024 * 1024 }),
  );
  await assertRefused(ended, 413, /request\/too-large/);
  assert.equal(answers.length, 1);
  const parallel = await uploadByTus(
    Buffer.alloc(33 * 1024 * 1024),
    optionsFor(gateway, a, { parallelUploads: 2, chunkSize: 32 * 1024 * 1024 }),
  );
  await assertRefused(parallel.ended, 413, /request\/too-large/);
});

test('tus-js-client is told that the length must be known, and that a token is needed', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const { ended } = await uploadByTus(
    Buffer.alloc(10),
    optionsFor(gateway, a, { uploadLengthDeferred: true }),
  );
  await assertRefused(ended, 400, /upload-defer-length/);
  const stranger = await uploadByTus(Buffer.alloc(10), optionsFor(gateway, 'wrong'));
  await assertRefused(stranger.ended, 401, /request\/unauthenticated/);
});

test('a piece of tus-js-client that was changed on the way is not kept, and comes again', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const bytes = randomBytes(200_000);
  let wrong = 1;
  const { ended, answers } = await uploadByTus(
    bytes,
    optionsFor(gateway, a, {
      retryDelays: [0, 0, 0],
      onShouldRetry: error => refusalOf(error).status === 460,
      onBeforeRequest(request) {
        if (request.getMethod() === 'PATCH') {
          const from = Number(request.getHeader('Upload-Offset'));
          const sum = createHash('sha1').update(bytes.subarray(from, from + 64 * 1024));
          if (from > 0 && wrong > 0) {
            wrong -= 1;
            sum.update('!');
          }
          request.setHeader('Upload-Checksum', `sha1 ${sum.digest('base64')}`);
        }
      },
    }),
  );
  await ended;
  assert.deepEqual(
    answers.map(({ status }) => status).filter(status => status >= 400),
    [460],
  );
  await assertBlob(gateway, a, bytes);
});

test('an upload that has expired is begun again by tus-js-client', async () => {
  let later = 0;
  // As long by every clock: one that jumps alone is set, and nothing expires.
  const clock = {
    ...systemClock,
    now: () => systemClock.now() + later,
    monotonic: () => systemClock.monotonic() + later,
    uptime: () => (systemClock.uptime?.() ?? 0) + later,
  };
  await using gateway = await openGateway({ clock, store: { clock } });
  const a = await gateway.client('a');
  const bytes = randomBytes(200_000);
  const urlStorage = rememberedUrls();
  const began = Promise.withResolvers<void>();
  const first = await uploadByTus(
    bytes,
    optionsFor(gateway, a, { urlStorage, onChunkComplete: () => began.resolve() }),
  );
  await began.promise;
  await first.upload.abort();
  later = 25 * 60 * 60 * 1000;
  const second = await uploadByTus(bytes, optionsFor(gateway, a, { urlStorage }));
  await second.ended;
  assert.deepEqual(
    second.answers.slice(0, 2).map(({ method, status }) => `${method} ${status}`),
    ['HEAD 404', 'POST 201'],
  );
  assert.notEqual(second.upload.url, first.upload.url);
  await assertBlob(gateway, a, bytes);
});

test('tus-js-client uploads with POST alone where nothing else gets through', async () => {
  await using gateway = await openGateway();
  const [a, b] = [await gateway.client('a'), await gateway.client('b')];
  const bytes = randomBytes(150_000);
  const { upload, ended, answers } = await uploadByTus(
    bytes,
    optionsFor(gateway, a, { overridePatchMethod: true }),
  );
  await ended;
  assert.deepEqual(new Set(answers.map(({ method }) => method)), new Set(['POST']));
  await assertBlob(gateway, a, bytes);
  const path = new URL(upload.url ?? '').pathname;
  const by = async (token: string, headers: Record<string, string>) =>
    (await gateway.call(token, 'POST', path, undefined, { headers })).status;
  assert.equal(await by(b, { 'x-http-method-override': 'DELETE' }), 404);
  assert.equal(await by(a, {}), 405);
  assert.equal(await by(a, { 'x-http-method-override': 'head' }), 200);
  assert.equal(await by(a, { 'x-http-method-override': 'DELETE' }), 204);
  assert.equal(await by(a, { 'x-http-method-override': 'HEAD' }), 404);
});
