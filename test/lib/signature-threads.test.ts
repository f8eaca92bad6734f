import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, verify } from 'node:crypto';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSignatureThreads } from '../../src/lib/signature-threads.ts';
import { ManualClock } from '../sim/clock.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const message = Buffer.from('hello');
const turn = () => new Promise(resolve => setImmediate(resolve));

test('a signature by a thread is one, and a wrong one or a wrong key is told', async () => {
  const threads = createSignatureThreads();
  const signature = await new Promise<Uint8Array | undefined>(resolve =>
    threads.sign(privateKey, message, resolve),
  );
  assert.ok(signature !== undefined && verify(null, message, publicKey, signature));
  const check = (signed: Uint8Array) =>
    new Promise<boolean>(resolve => threads.verify(publicKey, message, signed, resolve));
  assert.equal(await check(signature), true);
  assert.equal(await check(new Uint8Array(64)), false);
});

test('while every thread hangs signatures are made and checked here, each answer is given once, and threads that answer again are used again', async () => {
  const clock = new ManualClock();
  const stuck: (() => void)[] = [];
  const threads = createSignatureThreads({
    clock,
    threads: {
      sign: (_message, _key, done) => void stuck.push(() => done(null, new Uint8Array(64))),
      verify: (_message, _key, _signature, done) => void stuck.push(() => done(null, false)),
    },
  });
  const signed: (Uint8Array | undefined)[] = [];
  threads.sign(privateKey, message, signature => signed.push(signature));
  const valid: boolean[] = [];
  await clock.advance(250);
  await turn();
  assert.equal(signed.length, 1);
  assert.ok(verify(null, message, publicKey, signed[0]!));
  assert.equal(threads.hasRoom, false, 'nothing more is given to them');
  threads.verify(publicKey, message, signed[0]!, one => valid.push(one));
  await clock.advance(250);
  await turn();
  assert.deepEqual(valid, [true]);
  for (const end of stuck) {
    end();
  }
  assert.deepEqual([signed.length, valid], [1, [true]]);
  assert.equal(threads.hasRoom, true);
});

test('threads that are slow and answer now and then are waited for', async () => {
  const clock = new ManualClock();
  const open: (() => void)[] = [];
  const threads = createSignatureThreads({
    clock,
    threads: {
      sign: (_message, _key, done) => void open.push(() => done(null, new Uint8Array(64))),
      verify: (_message, _key, _signature, done) => void open.push(() => done(null, true)),
    },
  });
  let done = 0;
  for (let n = 0; n < 4; n++) {
    threads.verify(publicKey, message, new Uint8Array(64), valid => {
      assert.ok(valid, 'it was the thread that said so');
      done += 1;
    });
  }
  for (let n = 0; n < 4; n++) {
    open.shift()?.();
    await clock.advance(250);
    await turn();
    assert.equal(threads.hasRoom, true);
  }
  assert.equal(done, 4);
});

test('four files that hang, as on a dead disk, hold up no signature', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-threads-'));
  try {
    // Whoever opens a pipe that nobody writes to waits, on one of the threads.
    const pipes = Array.from({ length: 8 }, (_, n) => join(dir, String(n)));
    execFileSync('mkfifo', pipes);
    const opened = pipes.map(pipe => open(pipe, 'r'));
    const threads = createSignatureThreads();
    const signature = await new Promise<Uint8Array | undefined>(resolve =>
      threads.sign(privateKey, message, resolve),
    );
    assert.ok(signature !== undefined && verify(null, message, publicKey, signature));
    assert.equal(threads.hasRoom, false);
    const writers = pipes.map(pipe => openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK));
    for (const file of await Promise.all(opened)) {
      await file.close();
    }
    writers.forEach(closeSync);
    assert.ok(verify(null, message, publicKey, await once(threads)));
    // On a machine with much to do the answer of the thread itself may come later.
    while (!threads.hasRoom) {
      await new Promise(resolve => setTimeout(resolve, 10));
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }

  function once(threads: ReturnType<typeof createSignatureThreads>): Promise<Uint8Array> {
    return new Promise(resolve => threads.sign(privateKey, message, signature => resolve(signature!)));
  }
});
