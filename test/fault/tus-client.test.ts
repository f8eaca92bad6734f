import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { eventually } from '../e2e/clients.ts';
import { startDaemon } from '../e2e/daemon.ts';
import { uploadByTus } from '../tus.ts';

/** One address for whichever daemon is there, as a server has it over restarts; so much passes as is allowed, and no more. */
async function openDoor() {
  let target = 0;
  let passed = 0;
  let allowed = 0;
  const open = new Set<Socket>();
  const server = createServer(near => {
    const far = connect({ port: target, host: '127.0.0.1' });
    open.add(near);
    near.on('data', chunk => {
      far.write(chunk);
      passed += chunk.length;
      if (passed >= allowed) {
        near.pause();
      }
    });
    far.pipe(near);
    near.on('end', () => far.end()).on('error', () => far.destroy());
    near.on('close', () => open.delete(near) && far.destroy());
    far.on('error', () => near.destroy()).on('close', () => near.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    lead(to: string) {
      target = Number(new URL(to).port);
    },
    /** Lets so many bytes through in all, and resolves when they are. */
    async allow(bytes: number) {
      allowed = bytes;
      for (const near of open) {
        near.resume();
      }
      await eventually(`${bytes} bytes have passed`, () => passed >= allowed, 60_000);
    },
    open() {
      allowed = Number.POSITIVE_INFINITY;
    },
    /** Breaks every connection. */
    cut() {
      for (const socket of open) {
        socket.destroy();
      }
    },
    async [Symbol.asyncDispose]() {
      server.close();
      this.cut();
      await once(server, 'close');
    },
  };
}

test('uploads of tus-js-client, alone and in parallel, go on by themselves over a line that breaks and a hub that is killed', {
  timeout: 240_000,
}, async () => {
  await using door = await openDoor();
  await using first = await startDaemon();
  const { data } = first;
  const token = first.ready.ownerToken ?? '';
  door.lead(first.ready.http);
  const files = [randomBytes(8 * 1024 * 1024), randomBytes(9 * 1024 * 1024)];
  const uploads = await Promise.all(
    files.map((bytes, n) =>
      uploadByTus(bytes, {
        endpoint: `${door.url}/v1/uploads`,
        headers: { authorization: `Bearer ${token}` },
        chunkSize: 512 * 1024,
        parallelUploads: n === 0 ? 1 : 3,
        retryDelays: Array(300).fill(200),
      }),
    ),
  );
  // Neither can be whole by then: the library tries everything again but the last word of a parallel upload.
  await door.allow(3 * 1024 * 1024);
  door.cut();
  await door.allow(7 * 1024 * 1024);
  await first.kill();
  door.cut();
  door.open();
  await using second = await startDaemon({ data });
  door.lead(second.ready.http);
  await Promise.all(uploads.map(({ ended }) => ended));
  for (const bytes of files) {
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const answer = await fetch(`${second.ready.http}/v1/blobs/${sha256}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    assert.equal(answer.status, 200);
    assert.ok(Buffer.from(await answer.arrayBuffer()).equals(bytes));
  }
  for (const { answers } of uploads) {
    assert.ok(answers.filter(({ method }) => method === 'HEAD').length >= 1, 'it asked how far it was');
  }
});
