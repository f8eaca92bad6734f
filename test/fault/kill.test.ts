import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually, mint, RestInbox, type Seen } from '../e2e/clients.ts';
import { callHttp, type Daemon, startDaemon } from '../e2e/daemon.ts';
import { missingReference, startPeer } from '../interop/peer.ts';

const rounds = 50;

/** Small, fast and repeatable: enough to choose moments. */
function dice(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

test(`killed with -9 at ${rounds} random points while messages flow both ways, the gateway loses nothing it acknowledged and delivers nothing twice`, {
  skip: await missingReference('1.5.7'),
}, async t => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  t.diagnostic(`SEED=${seed}`);
  const chance = dice(seed);
  await using peer = await startPeer({ interfaces: [{ type: 'server' }], retryWait: 1 });
  const folder = await mkdtemp(join(tmpdir(), 'kos-kill-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const start = () =>
    startDaemon({
      data: join(folder, 'data'),
      config: {
        interfaces: [{ name: 'uplink', kind: 'tcp-client', host: '127.0.0.1', port: peer.port }],
        log: 'error',
      },
    });

  let daemon: Daemon = await start();
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => daemon[Symbol.asyncDispose]());
  const hub = daemon.ready.lxmf;
  const token = await mint(daemon, 'app');
  const inbox = new RestInbox(() => daemon, token);
  await peer.announce();
  const address = `lxmf:${peer.destination}`;

  /** Text → id, as the 201 said. */
  const acknowledged = new Map<string, string>();
  /** What the peer has sent: LXMF id → text. */
  const sent = new Map<string, string>();
  /** The post whose answer never came is made again under its key, as a careful app does. */
  let pending: number | undefined;
  let next = 0;

  const post = async (to: Daemon, number: number) => {
    const text = `to the mesh ${number}`;
    const answer = await callHttp<Seen>(to.ready.http, 'POST', '/v1/messages', {
      token,
      body: { to: address, text },
      headers: { 'idempotency-key': `post-${number}` },
    });
    assert.ok(answer.status === 201 || answer.status === 200, JSON.stringify(answer.body));
    acknowledged.set(text, answer.body.id);
  };
  const posting = async (to: Daemon, signal: AbortSignal) => {
    while (!signal.aborted) {
      const number = pending ?? next++;
      pending = number;
      await post(to, number);
      pending = undefined;
      await new Promise(resolve => setTimeout(resolve, chance() * 15));
    }
  };
  const reading = async (signal: AbortSignal) => {
    while (!signal.aborted) {
      await inbox.read(1);
    }
  };
  const sending = async (signal: AbortSignal) => {
    while (!signal.aborted) {
      const content = `from the mesh ${sent.size}`;
      const message = await peer.send({
        to: hub,
        content,
        method: chance() < 0.5 ? 'direct' : 'opportunistic',
      });
      sent.set(message.hash, content);
      await new Promise(resolve => setTimeout(resolve, 20 + chance() * 60));
    }
  };

  for (let round = 0; round < rounds; round++) {
    const stop = new AbortController();
    // The connection that the kill cuts is how these end.
    const cut = (error: unknown) => {
      if (error instanceof assert.AssertionError) {
        throw error;
      }
    };
    const traffic = Promise.all([
      posting(daemon, stop.signal).catch(cut),
      reading(stop.signal).catch(cut),
      sending(stop.signal),
    ]);
    await new Promise(resolve => setTimeout(resolve, 20 + chance() * 900));
    await daemon.kill();
    stop.abort();
    await traffic;
    daemon = await start();
  }

  if (pending !== undefined) {
    await post(daemon, pending);
  }
  await eventually(
    'everything acknowledged to the app is with the peer',
    async () => {
      const there = new Set((await peer.received()).map(message => message.content));
      return [...acknowledged.keys()].every(text => there.has(text));
    },
    90_000,
  );
  const ended = new Map<string, string>();
  for (const hash of sent.keys()) {
    ended.set(hash, await peer.delivered(hash, 60_000));
  }
  await eventually('the inbox is read to its end', async () => (await inbox.read()) === 0);

  const count = (texts: readonly (string | null)[]) => {
    const counts = new Map<string | null, number>();
    for (const text of texts) {
      counts.set(text, (counts.get(text) ?? 0) + 1);
    }
    return counts;
  };
  const atPeer = count((await peer.received()).map(message => message.content));
  const atApp = count(inbox.seen.map(message => message.text));
  const delivered = [...sent].filter(([hash]) => ended.get(hash) === 'delivered').map(([, text]) => text);
  t.diagnostic(
    `${acknowledged.size} posts acknowledged, ${delivered.length} of ${sent.size} messages of the peer proven, ${rounds} kills`,
  );
  assert.ok(acknowledged.size > rounds && delivered.length > rounds, 'traffic did flow');
  assert.deepEqual(
    [...acknowledged.keys()].filter(text => atPeer.get(text) !== 1),
    [],
    'each acknowledged post is with the peer, once',
  );
  assert.deepEqual(
    delivered.filter(text => atApp.get(text) !== 1),
    [],
    'each proven message is in the inbox, once',
  );
  assert.deepEqual(
    [...atApp].filter(([, times]) => times !== 1),
    [],
    'nothing is in the inbox twice',
  );
  assert.equal(await daemon.stop(), 0, 'and it still stops cleanly');
});
