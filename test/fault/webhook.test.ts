import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openReceiver, until, verifies } from '../bridges/webhook/receiver.ts';
import { callHttp, type Daemon, startDaemon } from '../e2e/daemon.ts';
import { seededRandom } from '../sim/random.ts';
import { ensurePython } from '../venv.ts';

const rounds = 4;

const python = await ensurePython({
  title: 'standardwebhooks 1.1.0',
  folder: join('py', 'standardwebhooks-1.1.0'),
  requirements: 'test/fault/requirements-webhooks.txt',
  minor: 10,
  tests: 'The checks of webhooks by the published library',
});

test('killed with -9 while it tells an endpoint, the gateway tells everything it acknowledged, in order and under the same ids', async t => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  t.diagnostic(`SEED=${seed}`);
  const chance = seededRandom(seed);
  await using receiver = await openReceiver();
  const folder = await mkdtemp(join(tmpdir(), 'kos-hook-kill-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const start = () =>
    startDaemon({
      data: join(folder, 'data'),
      config: { bridges: { webhook: { allowPrivate: ['127.0.0.0/8'] } }, log: 'error' },
    });
  let daemon: Daemon = await start();
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => daemon[Symbol.asyncDispose]());
  const token = daemon.ready.ownerToken ?? '';
  // Some answers do not come, and some are late: kills fall between a request and its answer, too.
  receiver.answer = response => {
    if (chance.fraction() < 0.04) {
      response.destroy();
    } else {
      setTimeout(() => response.writeHead(200).end(), chance.fraction() * 20);
    }
  };
  const made = await daemon.call<{ id: string; secret: string }>('POST', '/v1/webhooks', {
    token,
    body: { url: receiver.url, events: ['message.accepted'] },
  });
  assert.equal(made.status, 201);

  const acknowledged: string[] = [];
  let next = 0;
  const posting = async (to: Daemon, signal: AbortSignal) => {
    while (!signal.aborted) {
      const text = String(next++);
      const answer = await callHttp(to.ready.http, 'POST', '/v1/messages', {
        token,
        body: { to: 'app:owner', text },
      });
      assert.equal(answer.status, 201);
      acknowledged.push(text);
    }
  };
  for (let round = 0; round < rounds; round++) {
    const stop = new AbortController();
    const traffic = posting(daemon, stop.signal).catch(error => {
      if (error instanceof assert.AssertionError) {
        throw error;
      }
    });
    await new Promise(resolve => setTimeout(resolve, 50 + chance.fraction() * 500));
    await daemon.kill();
    stop.abort();
    await traffic;
    daemon = await start();
    // What it waited for a failure is over with the process.
    await until('it goes on', () => receiver.received.length > 0);
  }
  // A failure makes it wait up to seconds: a test that gets through ends that.
  await until('all that was acknowledged was told', async () => {
    const told = new Set(receiver.received.map(({ data }) => data.message?.text));
    if (acknowledged.every(text => told.has(text))) {
      return true;
    }
    receiver.answer = response => response.writeHead(200).end();
    await daemon.call('POST', `/v1/webhooks/${made.body.id}/test`, { token });
    return false;
  });

  const events = receiver.received.filter(({ type }) => type === 'message.accepted');
  const ids = new Map<string, string>();
  const order: number[] = [];
  for (const { id, data } of events) {
    const { text } = data.message;
    if (!ids.has(text)) {
      order.push(Number(text));
    }
    assert.equal(ids.get(text) ?? id, id, 'an event has one id');
    ids.set(text, id);
  }
  assert.deepEqual(
    order,
    [...order].sort((a, b) => a - b),
    'in order',
  );
  assert.equal(new Set(ids.values()).size, ids.size);
  assert.ok(receiver.received.every(one => verifies(made.body.secret, one)));
  t.diagnostic(`${acknowledged.length} acknowledged, ${events.length} requests for ${ids.size} events`);

  const listed = await daemon.kosctl('webhook', 'list');
  assert.match(
    listed.stdout,
    new RegExp(`${made.body.id}  owner  ${receiver.url}  (?:idle|sending|waiting)`),
  );
  const tried = await daemon.kosctl('webhook', 'test', made.body.id);
  assert.deepEqual(
    [tried.code, /webhook\.test {2}delivered {2}200/.test(tried.stdout)],
    [0, true],
    tried.stderr,
  );
  const another = await daemon.kosctl('webhook', 'create', receiver.url, '--events', 'peer.seen');
  assert.match(another.stdout, /^[0-9a-f]{32}\nwhsec_\S+\n$/);
  assert.equal((await daemon.kosctl('webhook', 'replay', made.body.id)).code, 2);

  if (python !== undefined) {
    const all = [...receiver.received];
    assert.deepEqual(await publishedLibrary(python, made.body.secret, all), {
      good: all.length,
      changed: 0,
    });
  }
});

/** What the published library says of these requests, and of the same with one byte changed. */
async function publishedLibrary(
  python: string,
  secret: string,
  received: readonly { id: string; timestamp: string; signature: string; raw: string }[],
): Promise<{ readonly good: number; readonly changed: number }> {
  const program = `
import json, sys
from standardwebhooks.webhooks import Webhook
asked = json.load(sys.stdin)
hook = Webhook(asked["secret"])
count = {"good": 0, "changed": 0}
for one in asked["received"]:
    headers = {"webhook-id": one["id"], "webhook-timestamp": one["timestamp"], "webhook-signature": one["signature"]}
    for kind, body in (("good", one["raw"]), ("changed", one["raw"] + " ")):
        try:
            hook.verify(body, headers)
            count[kind] += 1
        except Exception:
            pass
print(json.dumps(count))
`;
  const child = spawn(python, ['-c', program], { stdio: ['pipe', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  child.stdin.end(JSON.stringify({ secret, received }));
  await once(child, 'close');
  return JSON.parse(text);
}
