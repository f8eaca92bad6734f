import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { utimesSync } from 'node:fs';
import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { type BlobLimits, openBlobs } from '../../../src/gateway/store/blobs.ts';
import { GatewayError } from '../../../src/lib/errors.ts';

async function open(limits: Partial<BlobLimits> = {}) {
  const dir = await mkdtemp(join(tmpdir(), 'kos-blobs-'));
  const blobs = await openBlobs(dir, { blobBytes: 100_000, blobsTotal: 200_000, ...limits });
  return {
    dir,
    blobs,
    /** Files there are, relative to the folder. */
    files: async () =>
      (await readdir(dir, { recursive: true, withFileTypes: true }))
        .filter(one => one.isFile())
        .map(one => one.name),
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}

test('the same bytes, whole or streamed, are one file under their hash', async () => {
  await using at = await open();
  const bytes = new Uint8Array(50_000).fill(7);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const parts = [bytes.subarray(0, 10), bytes.subarray(10, 30_000), bytes.subarray(30_000)];
  assert.deepEqual(await at.blobs.put(Readable.from(parts)), { sha256, size: 50_000 });
  assert.deepEqual(await at.blobs.put(bytes), { sha256, size: 50_000 });
  assert.deepEqual(await at.files(), [sha256]);
  assert.equal(at.blobs.total, 50_000);
  assert.deepEqual([...(await at.blobs.read(sha256))], [...bytes]);
  assert.equal((await buffer(await at.blobs.open(sha256, { start: 10, end: 19 }))).length, 10);
});

test('a stream that breaks off, or is too long, leaves nothing', async () => {
  await using at = await open();
  async function* broken() {
    yield new Uint8Array(20_000);
    throw new GatewayError('bridge/unavailable', 'the far side went away');
  }
  await assert.rejects(at.blobs.put(Readable.from(broken())), { code: 'bridge/unavailable' });
  const endless = Readable.from(Array.from({ length: 20 }, () => new Uint8Array(10_000)));
  await assert.rejects(at.blobs.put(endless), { code: 'request/too-large' });
  await assert.rejects(at.blobs.put(new Uint8Array(11), 10), { code: 'request/too-large' });
  assert.deepEqual(await at.files(), []);
  assert.equal(at.blobs.total, 0);
});

test('all blobs together have a bound, which what was removed does not count towards', async () => {
  await using at = await open({ blobsTotal: 5000 });
  const { sha256 } = await at.blobs.put(new Uint8Array(60).fill(1));
  await assert.rejects(at.blobs.put(new Uint8Array(60).fill(2)), { code: 'store/full', retryable: true });
  assert.equal(await at.blobs.collect(Date.now() + 1000, () => true), 0);
  assert.equal(await at.blobs.collect(Date.now() + 1000, () => false), 1);
  await assert.rejects(at.blobs.read(sha256), { code: 'request/not-found' });
  await at.blobs.put(new Uint8Array(60).fill(2));
});

test('a blob that nothing names yet is kept while it is young', async () => {
  await using at = await open();
  const young = await at.blobs.put(Uint8Array.of(1));
  const old = await at.blobs.put(Uint8Array.of(2));
  const { sha256 } = old;
  await utimes(join(at.dir, sha256.slice(0, 2), sha256.slice(2, 4), sha256), 1000, 1000);
  assert.equal(await at.blobs.collect(Date.now() - 60_000, () => false), 1);
  assert.deepEqual(await at.files(), [young.sha256]);
});

test('a small blob counts for what it takes on disk', async () => {
  await using at = await open({ blobsTotal: 10_000 });
  await at.blobs.put(Uint8Array.of(1));
  await at.blobs.put(Uint8Array.of(2));
  await assert.rejects(at.blobs.put(Uint8Array.of(3)), { code: 'store/full' });
  assert.equal(at.blobs.total, 8192);
});

test('a blob that is put again is young again', async () => {
  await using at = await open();
  const { sha256 } = await at.blobs.put(Uint8Array.of(1));
  const path = join(at.dir, sha256.slice(0, 2), sha256.slice(2, 4), sha256);
  await utimes(path, 1000, 1000);
  await at.blobs.put(Uint8Array.of(1));
  assert.equal(await at.blobs.collect(Date.now() - 60_000, () => false), 0);
  await utimes(path, 1000, 1000);
  // It is put again just after the collection has looked at it.
  let looks = 0;
  const named = () => {
    looks += 1;
    utimesSync(path, new Date(), new Date());
    return false;
  };
  assert.equal(await at.blobs.collect(Date.now() - 60_000, named), 0);
  assert.equal(looks, 1);
  assert.deepEqual(await at.files(), [sha256]);
});

test('a start removes what an earlier one left unfinished and counts what is there', async () => {
  await using at = await open();
  await at.blobs.put(new Uint8Array(30));
  const again = await openBlobs(at.dir, { blobBytes: 100, blobsTotal: 10_000 });
  assert.equal(again.total, 4096);
});

test('a name that is no hash is nothing, wherever it points', async () => {
  await using at = await open();
  for (const name of ['../../etc/passwd', '', 'A'.repeat(64), '0'.repeat(63)]) {
    assert.equal(await at.blobs.size(name), undefined);
    await assert.rejects(async () => at.blobs.read(name), { code: 'request/not-found' });
  }
});
