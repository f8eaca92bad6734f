import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { test } from 'node:test';
import { eventually } from '../e2e/clients.ts';
import { startDaemon } from '../e2e/daemon.ts';

test('an upload that was killed in the middle goes on from what is on disk', {
  timeout: 180_000,
}, async () => {
  const bytes = randomBytes(6 * 1024 * 1024);
  const tus = { 'tus-resumable': '1.0.0', 'content-type': 'application/offset+octet-stream' };
  await using first = await startDaemon();
  const { data, ready } = first;
  const token = ready.ownerToken ?? '';
  const made = await first.call('POST', '/v1/uploads', {
    headers: { 'upload-length': String(bytes.length) },
  });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  const path = String(made.headers.location);
  const piece = request(new URL(path, ready.http), {
    method: 'PATCH',
    headers: { ...tus, authorization: `Bearer ${token}`, 'upload-offset': '0' },
  }).on('error', () => {});
  piece.write(bytes.subarray(0, 4 * 1024 * 1024));
  // Half of it is sent and then nothing more: what is on disk by then is known by the file that counts it.
  const counted = async () =>
    Number(await readFile(`${data}/blobs/uploads/${path.split('/').at(-1)}.at`, 'utf8').catch(() => '0'));
  await eventually('a part of it is on disk', async () => (await counted()) >= 2 * 1024 * 1024, 60_000);
  await first.kill();
  piece.destroy();

  await using second = await startDaemon({ data });
  const head = await second.call('HEAD', path, { token });
  const offset = Number(head.headers['upload-offset']);
  assert.ok(offset >= 2 * 1024 * 1024 && offset <= 4 * 1024 * 1024, String(offset));
  const rest = await second.call('PATCH', path, {
    token,
    raw: bytes.subarray(offset),
    headers: { ...tus, 'upload-offset': String(offset) },
  });
  assert.equal(rest.status, 204, JSON.stringify(rest.body));
  assert.equal(rest.headers['kos-blob'], createHash('sha256').update(bytes).digest('hex'));
});
