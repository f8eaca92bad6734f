import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, RestInbox } from '../e2e/clients.ts';
import { type Daemon, startDaemon } from '../e2e/daemon.ts';
import { missingReference, type Peer, startPeer } from '../interop/peer.ts';
import { type MatrixHub, startMatrixHub } from '../synapse/hub.ts';
import { type Person, startPerson } from '../synapse/person.ts';
import { freePort, missingSynapse } from '../synapse/server.ts';

/*
 * A real homeserver and the gateway, each taken away at the worst moment; on the mesh a Python LXMF peer and a second
 * gateway with an app, both members of the room. What counts is what people see: the room as the homeserver has it in the
 * end, the peer's list, and the app's inbox. Order on the mesh is the inbox's: the reference starts a thread for every
 * packet it receives, and shows two that come close together in either order.
 */

const kills = 50;
const patience = 120_000;
const standstill = 60_000;
const skip = (await missingSynapse()) || (await missingReference('1.5.7'));

/** Waits until a list is empty, for as long as it gets shorter: a backlog takes what the machine takes. */
async function dwindles(what: string, left: () => Promise<readonly string[]>): Promise<void> {
  let least = Number.POSITIVE_INFINITY;
  let until = performance.now() + standstill;
  for (;;) {
    const now = await left();
    if (now.length === 0) return;
    if (now.length < least) {
      least = now.length;
      until = performance.now() + standstill;
    }
    if (performance.now() > until) assert.deepEqual(now, [], what);
    await sleep(200);
  }
}

/** Small, fast and repeatable: enough to choose moments. */
function dice(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

describe('Matrix and the mesh, when one side is away', { skip }, () => {
  const stack = new AsyncDisposableStack();
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  const chance = dice(seed);
  let hub: MatrixHub;
  let peer: Peer;
  let far: Daemon;
  let inbox: RestInbox;
  let alice: Person;
  let plaza: string;
  let plazaOnMesh: string;
  /** Alice's chat with the peer. */
  let direct: string;

  before(
    async () => {
      peer = stack.use(
        await startPeer({ interfaces: [{ type: 'server' }], displayName: 'Handheld', retryWait: 1 }),
      );
      const port = await freePort();
      far = stack.use(
        await startDaemon({
          config: {
            log: 'warn',
            interfaces: [{ name: 'server', kind: 'tcp-server', host: '127.0.0.1', port }],
          },
        }),
      );
      const minted = await far.call<{ token: string; addresses: string[] }>('POST', '/v1/tokens', {
        body: { name: 'board', scopes: ['messages:read', 'messages:send'], identity: 'own' },
      });
      inbox = new RestInbox(() => far, minted.body.token);
      hub = stack.use(
        await startMatrixHub({
          config: {
            interfaces: [
              { name: 'peer', kind: 'tcp-client', host: '127.0.0.1', port: peer.port },
              { name: 'far', kind: 'tcp-client', host: '127.0.0.1', port },
            ],
            rooms: { plaza: { members: [`lxmf:${peer.destination}`, ...minted.body.addresses] } },
          },
          matrix: { invite: '@alice:home.test' },
        }),
      );
      await hub.joined();
      alice = stack.use(await startPerson(hub.synapse, 'alice'));
      plaza = await alice.join('#_kos_plaza:home.test');
      const status = await hub
        .daemon()
        .call<{ residents: { party: string; addresses: string[] }[] }>('GET', '/v1/status');
      plazaOnMesh = status.body.residents
        .find(one => one.party === 'room:plaza')
        ?.addresses[0]?.slice(5) as string;
      await peer.announce();
      await peer.requestPath(plazaOnMesh);
      const hello = await peer.send({ to: hub.daemon().ready.lxmf, content: 'hello', method: 'direct' });
      assert.equal(await peer.delivered(hello.hash), 'delivered');
      direct = await alice.join(await alice.invitation());
    },
    { timeout: 240_000 },
  );
  after(() => stack.disposeAsync(), { timeout: 30_000 });

  /** What the peer has of a scenario, sorted, without the author's name. */
  const atPeer = async (scenario: string) =>
    (await peer.received())
      .map(message => (message.content ?? '').replace(/^alice: /, ''))
      .filter(text => text.startsWith(`${scenario} m`))
      .sort();
  /** What the app on the far hub has of a scenario, in order. */
  const atApp = async (scenario: string) => {
    while ((await inbox.read()) > 0);
    return inbox.seen.map(message => message.text).filter(text => text.startsWith(`${scenario} m`));
  };
  /** Both have what was written: each once, and the app in order. */
  const onMesh = async (scenario: string, texts: readonly string[]) => {
    await same('the app', () => atApp(scenario), texts);
    await same('the peer', () => atPeer(scenario), [...texts].sort());
  };
  /** What the homeserver shows of a scenario, of all rooms, each in its own order. */
  const inMatrix = async (scenario: string, ...rooms: readonly string[]) => {
    const all: string[] = [];
    for (const room of rooms) {
      const events = await alice.timeline(room);
      all.push(
        ...events
          .filter(event => event.type === 'm.room.message' && event.sender !== alice.userId)
          .map(event => String(event.content.body))
          .filter(text => text.startsWith(`${scenario} p`)),
      );
    }
    return all;
  };
  const write = async (scenario: string, count: number, from = 0) => {
    const texts = Array.from({ length: count }, (_, n) => `${scenario} m${from + n}`);
    for (const text of texts) {
      await alice.send(plaza, text);
    }
    return texts;
  };
  const radio = async (scenario: string, count: number, from = 0) => {
    const texts = Array.from({ length: count }, (_, n) => `${scenario} p${from + n}`);
    for (const content of texts) {
      const sent = await peer.send({ to: plazaOnMesh, content, method: 'direct' });
      assert.equal(await peer.delivered(sent.hash, patience), 'delivered', content);
    }
    return texts;
  };
  /** Waits until everything is there, gives what came twice a moment to come, and compares. */
  const same = async (what: string, seen: () => Promise<readonly string[]>, wanted: readonly string[]) => {
    await dwindles(`what is missing: ${what}`, async () => {
      const there = new Set(await seen());
      return wanted.filter(text => !there.has(text));
    });
    await sleep(500);
    assert.deepEqual(await seen(), wanted, what);
  };

  it('the gateway is away while 20 messages are written in Matrix: all arrive once, in order', {
    timeout: 240_000,
  }, async () => {
    await hub.daemon().kill();
    const texts = await write('gateway-away', 20);
    await hub.restart();
    await onMesh('gateway-away', texts);
  });

  it('the homeserver is away while 20 messages come from the mesh: all are shown once, in order', {
    timeout: 240_000,
  }, async () => {
    await hub.synapse.kill();
    const texts = await radio('homeserver-away', 20);
    const waiting = await eventually('they wait with a reason', async () => {
      const { body } = await hub
        .daemon()
        .call<{ failures: { name: string; reason: string }[] }>('GET', '/v1/status');
      return body.failures.find(one => one.name === 'matrix');
    });
    assert.match(waiting.reason, /homeserver/);
    await hub.synapse.restart();
    await same('the room', () => inMatrix('homeserver-away', plaza), texts);
  });

  it('the homeserver is killed in the middle of traffic both ways: all arrive once, in order', {
    timeout: 360_000,
  }, async t => {
    t.diagnostic(`SEED=${seed}`);
    let writing = true;
    const written: string[] = [];
    const sent: string[] = [];
    const traffic = Promise.all([
      (async () => {
        for (let n = 0; writing || n < 30; n++) {
          written.push(...(await write('homeserver-killed', 1, n)));
          await sleep(50 + chance() * 200);
        }
      })(),
      (async () => {
        for (let n = 0; writing || n < 30; n++) {
          sent.push(...(await radio('homeserver-killed', 1, n)));
          await sleep(150 + chance() * 300);
        }
      })(),
    ]);
    for (let round = 0; round < 5; round++) {
      await sleep(300 + chance() * 1500);
      await hub.synapse.kill();
      await hub.synapse.restart();
    }
    writing = false;
    await traffic;
    t.diagnostic(`${written.length} written, ${sent.length} from the mesh`);
    await onMesh('homeserver-killed', written);
    await same('the room', () => inMatrix('homeserver-killed', plaza), sent);
  });

  it('the homeserver is killed while the gateway holds a transaction open: all arrive once, in order', {
    timeout: 240_000,
  }, async () => {
    await hub.joined();
    const first = await write('transaction-open', 2);
    await onMesh('transaction-open', first);
    const { pid } = hub.daemon().process;
    // Its connections stay open and nothing answers: the first message is in flight, the others wait in memory.
    process.kill(pid as number, 'SIGSTOP');
    const held = await write('transaction-open', 6, 2);
    await sleep(300);
    await hub.synapse.kill();
    process.kill(pid as number, 'SIGCONT');
    await hub.synapse.restart();
    const later = await write('transaction-open', 3, 8);
    await onMesh('transaction-open', [...first, ...held, ...later]);
  });

  it(`the gateway is killed at ${kills} random points while messages flow both ways: each is shown once, and none is lost`, {
    timeout: 600_000,
  }, async t => {
    t.diagnostic(`SEED=${seed}`);
    await hub.joined();
    const written: string[] = [];
    const inPlaza: string[] = [];
    const sent = new Map<string, string>();
    const stop = new AbortController();
    const writing = (async () => {
      for (let n = 0; !stop.signal.aborted; n++) {
        const text = `gateway-killed m${n}`;
        const room = chance() < 0.5 ? plaza : direct;
        await alice.send(room, text);
        written.push(text);
        if (room === plaza) inPlaza.push(text);
        await sleep(200 + chance() * 400);
      }
    })();
    const sending = (async () => {
      for (let n = 0; !stop.signal.aborted; n++) {
        const content = `gateway-killed p${n}`;
        const to = chance() < 0.5 ? plazaOnMesh : hub.daemon().ready.lxmf;
        const method = chance() < 0.5 ? 'direct' : 'opportunistic';
        const message = await peer.send({ to, content, method });
        sent.set(message.hash, content);
        await sleep(200 + chance() * 400);
      }
    })();
    for (let round = 0; round < kills; round++) {
      await sleep(20 + chance() * 1400);
      await hub.daemon().kill();
      await hub.restart();
    }
    stop.abort();
    await Promise.all([writing, sending]);
    const proven: string[] = [];
    for (const [hash, text] of sent) {
      if ((await peer.delivered(hash, 60_000)) === 'delivered') proven.push(text);
    }
    t.diagnostic(
      `${kills} kills; ${written.length} written in Matrix, ${proven.length} of ${sent.size} of the peer proven`,
    );
    assert.ok(written.length > kills && proven.length > kills, 'traffic did flow');

    const missing = async (texts: readonly string[], seen: () => Promise<readonly string[]>) => {
      const there = new Set(await seen());
      return texts.filter(text => !there.has(text));
    };
    await dwindles('what was written and is not with the peer', () =>
      missing(written, () => atPeer('gateway-killed')),
    );
    await dwindles('what was written in the room and is not with the app', () =>
      missing(inPlaza, () => atApp('gateway-killed')),
    );
    await dwindles('what was proven and is not shown', () =>
      missing(proven, () => inMatrix('gateway-killed', plaza, direct)),
    );
    await sleep(1000);
    const sorted = (texts: readonly string[]) => [...texts].sort();
    assert.deepEqual(
      sorted(await atPeer('gateway-killed')),
      sorted(written),
      'each once at the peer, and nothing else',
    );
    assert.deepEqual(sorted(await atApp('gateway-killed')), sorted(inPlaza), 'each once at the app');
    const shown = await inMatrix('gateway-killed', plaza, direct);
    assert.deepEqual(
      shown.filter((text, at) => shown.indexOf(text) !== at),
      [],
      'nothing is shown twice',
    );
    const known = new Set(sent.values());
    assert.deepEqual(
      shown.filter(text => !known.has(text)),
      [],
      'nothing is shown that nobody sent',
    );
    assert.equal(
      await hub.daemon().stop(),
      0,
      `and it still stops cleanly\n${hub.daemon().stderr().slice(-3000)}`,
    );
  });
});
