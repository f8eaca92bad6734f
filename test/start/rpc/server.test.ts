import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { concat, utf8 } from '../../../src/lib/bytes.ts';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { decode, encode, type MsgpackValue } from '../../../src/lib/msgpack.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import type { RpcCall } from '../../../src/start/rpc/call.ts';
import {
  answerChallenge,
  failure,
  makeChallenge,
  provesKey,
  welcome,
} from '../../../src/start/rpc/challenge.ts';
import { encodeFrame, FrameReader } from '../../../src/start/rpc/frames.ts';
import { RpcServer } from '../../../src/start/rpc/server.ts';
import { until } from '../../contract/interface.ts';
import { ManualClock } from '../../sim/clock.ts';

const key = utf8('0123456789abcdef');

/** A running server; it answers each call with what was called. */
async function serving(clock: Clock = systemClock, held: Promise<void> = Promise.resolve()) {
  const counters = new Counters();
  const calls: RpcCall[] = [];
  const stop = new AbortController();
  const server = new RpcServer({
    clock,
    random: systemRandom,
    log: silentLog,
    counters,
    listen: { host: '127.0.0.1', port: 0 },
    where: '127.0.0.1',
    key,
    async answer(call) {
      calls.push(call);
      await held;
      return encode(call.on);
    },
  });
  const ready = Promise.withResolvers<void>();
  const run = server.run(ready.resolve, stop.signal);
  await ready.promise;
  const sockets: Socket[] = [];
  return {
    counters,
    calls,
    async dial() {
      const socket = connect(server.port!, '127.0.0.1');
      sockets.push(socket);
      await once(socket, 'connect');
      return new Far(socket);
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await run;
      for (const socket of sockets) {
        socket.destroy();
      }
      await until(() => sockets.every(({ closed }) => closed));
    },
  };
}

/** A program, by hand. */
class Far {
  readonly socket: Socket;
  readonly #frames = new FrameReader();

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('data', chunk => this.#frames.push(chunk as Buffer));
  }

  say(payload: Uint8Array): void {
    this.socket.write(encodeFrame(payload));
  }

  /** The next frame; undefined where the connection ends before it. */
  async hear(): Promise<Uint8Array | undefined> {
    let frame: Uint8Array | undefined;
    await until(() => {
      frame = this.#frames.next(1_000_000);
      return frame !== undefined || this.socket.closed || this.socket.readableEnded;
    });
    return frame ?? this.#frames.next(1_000_000);
  }

  async ended(): Promise<void> {
    await until(() => this.socket.closed || this.socket.readableEnded);
  }

  /** Proves the key both ways. */
  async prove(by: Uint8Array = key): Promise<void> {
    const challenge = await this.hear();
    assert.ok(challenge);
    this.say(answerChallenge(challenge, by));
    assert.deepEqual(await this.hear(), welcome);
    const mine = makeChallenge(systemRandom);
    this.say(mine);
    const proof = await this.hear();
    assert.ok(proof && provesKey(mine, proof, by));
    this.say(welcome);
  }
}

function call(fields: Readonly<Record<string, MsgpackValue>>): Uint8Array {
  return encode(new Map(Object.entries(fields)));
}

describe('status and control for programs', () => {
  test('answers one call of whoever has the key, and ends the connection', async () => {
    await using served = await serving();
    const far = await served.dial();
    await far.prove();
    far.say(call({ get: 'link_count' }));
    const answer = await far.hear();
    assert.ok(answer);
    assert.equal(decode(answer), 'link-count');
    await far.ended();
    assert.deepEqual(served.calls, [{ on: 'link-count' }]);
    assert.equal(served.counters.get('rpc/calls'), 1);
  });

  test('proves nothing itself and takes no call before the key is proven', async () => {
    await using served = await serving();
    const far = await served.dial();
    const challenge = await far.hear();
    assert.ok(challenge);
    far.say(answerChallenge(challenge, utf8('another key of 16')));
    assert.deepEqual(await far.hear(), failure);
    await far.ended();
    const eager = await served.dial();
    eager.say(call({ get: 'link_count' }));
    eager.say(makeChallenge(systemRandom));
    await eager.ended();
    assert.equal(served.counters.get('rpc/wrong-key'), 2);
    assert.deepEqual(served.calls, []);
  });

  test('is no help in proving the key to it', async () => {
    await using served = await serving();
    const one = await served.dial();
    const other = await served.dial();
    const challenge = await one.hear();
    assert.ok(challenge);
    await other.hear();
    other.say(challenge);
    assert.deepEqual(await other.hear(), failure);
    one.say(concat(utf8('{sha256}'), new Uint8Array(32)));
    assert.deepEqual(await one.hear(), failure);
  });

  test('ends a call that nobody knows without an answer', async () => {
    await using served = await serving();
    const far = await served.dial();
    await far.prove();
    far.say(call({ get: 'the_moon' }));
    assert.equal(await far.hear(), undefined);
    assert.equal(served.counters.get('rpc/unknown-call'), 1);
  });

  test('gives nobody more than 5 s to call', async () => {
    const clock = new ManualClock();
    await using served = await serving(clock);
    const silent = await served.dial();
    const slow = await served.dial();
    await slow.prove();
    await clock.advance(4999);
    assert.equal(silent.socket.readableEnded, false);
    await clock.advance(2);
    await silent.ended();
    await slow.ended();
    assert.deepEqual(served.calls, []);
  });

  test('takes 32 connections at once, and one more for the longest silent of them', async () => {
    await using served = await serving();
    const all: Far[] = [];
    for (let i = 0; i < 32; i++) {
      all.push(await served.dial());
    }
    await all.at(-1)!.hear();
    const one = await served.dial();
    await one.prove();
    await all[0]!.ended();
    assert.equal(all[1]!.socket.readableEnded, false);
    assert.equal(served.counters.get('rpc/too-many'), 1);
    one.say(call({ get: 'link_count' }));
    assert.equal(decode((await one.hear())!), 'link-count');
  });

  test('closes one more while 32 calls are being answered', async () => {
    const answers = Promise.withResolvers<void>();
    await using served = await serving(systemClock, answers.promise);
    const all: Far[] = [];
    for (let i = 0; i < 32; i++) {
      const far = await served.dial();
      await far.prove();
      far.say(call({ get: 'link_count' }));
      all.push(far);
    }
    await until(() => served.calls.length === 32);
    const one = await served.dial();
    await one.ended();
    answers.resolve();
    for (const far of all) {
      assert.equal(decode((await far.hear())!), 'link-count');
    }
  });

  test('survives hostile bytes, before and after the key is proven', async () => {
    await using served = await serving();
    const attacks = [
      Buffer.from('7fffffff', 'hex'),
      Buffer.from('ffffffff00000000ffffffff', 'hex'),
      Buffer.alloc(200_000, 0x41),
      Buffer.concat([encodeFrame(new Uint8Array(0)), encodeFrame(new Uint8Array(0))]),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    ];
    for (const bytes of attacks) {
      const before = await served.dial();
      before.socket.write(bytes);
      await before.ended();
      const after = await served.dial();
      await after.prove();
      after.socket.write(bytes);
      await after.ended();
    }
    const far = await served.dial();
    await far.prove();
    far.say(call({ get: 'link_count' }));
    assert.ok(await far.hear());
    assert.equal(served.counters.get('internal'), 0);
  });
});
