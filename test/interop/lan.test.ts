import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { eventually, type Seen } from '../e2e/clients.ts';
import { type Daemon, startDaemon } from '../e2e/daemon.ts';
import { seededRandom } from '../sim/random.ts';
import type { ReferenceVersion } from '../venv.ts';
import { type Host, missingNetns, startLan } from './netns.ts';
import { missingReference, type Peer, type PeerInterface, startPeer } from './peer.ts';

const run = promisify(execFile);
const versions: readonly ReferenceVersion[] = ['1.5.7', '1.4.2'];
const skip = (await missingNetns()) || (await missingReference('1.5.7')) || (await missingReference('1.4.2'));

/** ms; discovery takes seconds by design, and so does an announce after it. */
const patience = 60_000;

/** Calls the hub over its control socket, with the owner's rights: its network is not ours. */
async function call<T>(daemon: Daemon, method: string, path: string, body?: unknown): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const asked = request(
    {
      socketPath: join(daemon.data, 'kosctl.sock'),
      method,
      path,
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
    },
    response => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () =>
        (response.statusCode ?? 500) < 300
          ? resolve(JSON.parse(text) as T)
          : reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`)),
      );
    },
  );
  asked.on('error', reject);
  asked.end(body === undefined ? undefined : JSON.stringify(body));
  return promise;
}

function startHub({ under }: Host, medium: Record<string, unknown> = { kind: 'lan' }): Promise<Daemon> {
  return startDaemon({ under, config: { interfaces: [{ name: 'lan', ...medium }] } });
}

function startReference(
  { under }: Host,
  version: ReferenceVersion,
  medium: PeerInterface = { type: 'lan' },
): Promise<Peer> {
  return startPeer({ version, under, displayName: 'Pat', interfaces: [medium], retryWait: 2 });
}

function heard(daemon: Daemon, destination: string): Promise<unknown> {
  return eventually(
    `${destination} is heard`,
    async () => {
      const { items } = await call<{ items: { address: string }[] }>(daemon, 'GET', '/v1/peers');
      return items.some(({ address }) => address === `lxmf:${destination}`);
    },
    patience,
  );
}

function received(daemon: Daemon, text: string): Promise<Seen> {
  return eventually(
    'the message is in the inbox',
    async () => {
      const { items } = await call<{ items: Seen[] }>(daemon, 'GET', '/v1/messages?room=hub');
      return items.find(message => message.text === text);
    },
    patience,
  );
}

/** Sends a message and waits until it is proven to have arrived. */
async function send(daemon: Daemon, destination: string, text: string): Promise<void> {
  const { id } = await call<{ id: string }>(daemon, 'POST', '/v1/messages', {
    to: `lxmf:${destination}`,
    text,
  });
  await eventually(
    'the message is delivered',
    async () => {
      const { deliveries } = await call<{ deliveries: { state: string }[] }>(
        daemon,
        'GET',
        `/v1/messages/${id}`,
      );
      return deliveries[0]?.state === 'delivered';
    },
    patience,
  );
}

interface Shown {
  readonly name: string;
  readonly state: string;
  readonly reason?: string;
  readonly adapters?: readonly { readonly adapter: string; readonly state: string }[];
}

/** The LAN as the hub shows it, once it is so. */
function shown(daemon: Daemon, so: (lan: Shown) => boolean): Promise<Shown> {
  return eventually(
    'the LAN is so',
    async () => {
      const { items } = await call<{ items: Shown[] }>(daemon, 'GET', '/v1/mesh/interfaces');
      return items.find(one => one.name === 'lan' && so(one));
    },
    patience,
  );
}

/** UDP sockets of every process on a host. */
async function udpSockets({ under }: Host): Promise<number> {
  const [program = '', ...before] = under;
  const { stdout } = await run(program, [...before, 'cat', '/proc/net/udp6']);
  return stdout.trim().split('\n').length - 1;
}

/** Files and sockets that the processes on a host have open. */
async function openFiles({ namespace }: Host): Promise<number> {
  const { stdout } = await run('ip', ['netns', 'pids', namespace]);
  return stdout
    .trim()
    .split('\n')
    .reduce((sum, pid) => sum + readdirSync(`/proc/${pid}/fd`).length, 0);
}

/** More than a packet holds: it goes over a link as a Resource, and does not get smaller. */
const long = Array.from({ length: 5000 }, (_, i) =>
  String.fromCharCode(33 + ((i * i * 31 + i * 7) % 90)),
).join('');

/** Each hears the other; a packet, a link, a Resource of 5 kB and LXMF cross both ways. */
async function exchange(daemon: Daemon, peer: Peer): Promise<void> {
  const { lxmf } = daemon.ready;
  await peer.next('announce', ({ destination }) => destination === lxmf, patience);
  await peer.announce();
  await heard(daemon, peer.destination);

  // Ours to theirs: a packet, then a link with a Resource.
  await send(daemon, peer.destination, 'hello LAN');
  await send(daemon, peer.destination, long);
  const arrived = await peer.received();
  assert.deepEqual(
    arrived.map(({ content }) => content),
    ['hello LAN', long],
  );

  // Theirs to ours, the same; and a link that is only opened and closed.
  const short = await peer.send({ to: lxmf, content: 'hello hub', method: 'opportunistic' });
  assert.equal(await peer.delivered(short.hash, patience), 'delivered');
  const resource = await peer.send({ to: lxmf, content: `${long}.`, method: 'direct' });
  assert.equal(await peer.delivered(resource.hash, patience), 'delivered');
  assert.equal((await received(daemon, 'hello hub')).from, `lxmf:${peer.destination}`);
  assert.equal((await received(daemon, `${long}.`)).assurance, 'signed');
  const link = await peer.openLink(lxmf, 'lxmf.delivery', patience);
  assert.equal(link.state, 'active');
  await peer.closeLink(link.link);
}

describe('a LAN of network namespaces', { skip }, () => {
  test('is an Interface on real sockets', async () => {
    await using lan = await startLan('here');
    const { namespace, under } = lan.hosts.here;
    await run('ip', ['-n', namespace, 'link', 'add', 'near0', 'type', 'veth', 'peer', 'name', 'far0']);
    await run('ip', ['-n', namespace, 'link', 'set', 'near0', 'up']);
    await run('ip', ['-n', namespace, 'link', 'set', 'far0', 'up']);
    const [program = '', ...before] = under;
    const child = spawn(
      program,
      [
        ...before,
        process.execPath,
        '--test',
        '--test-reporter=tap',
        join(import.meta.dirname, 'lan-sockets.ts'),
      ],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NODE_TEST_CONTEXT: undefined } },
    );
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const [code] = (await once(child, 'close')) as [number];
    assert.equal(code, 0, said);
    assert.match(said, /^# pass 7$/m);
  });

  for (const version of versions) {
    test(`with the reference's AutoInterface (rns ${version}) carries announces, links, Resources and LXMF both ways`, async () => {
      await using lan = await startLan('ours', 'theirs');
      await using daemon = await startHub(lan.hosts.ours);
      await using peer = await startReference(lan.hosts.theirs, version);
      await exchange(daemon, peer);
    });
  }

  test("with the reference's UDPInterface carries announces, links, Resources and LXMF both ways", async () => {
    await using lan = await startLan('ours', 'theirs');
    const { ours, theirs } = lan.hosts;
    await run('ip', ['-n', ours.namespace, 'addr', 'add', '192.0.2.1/24', 'brd', '+', 'dev', 'eth0']);
    await run('ip', ['-n', theirs.namespace, 'addr', 'add', '192.0.2.2/24', 'brd', '+', 'dev', 'eth0']);
    await using daemon = await startHub(ours, {
      kind: 'udp',
      listen: '0.0.0.0:4242',
      forward: '192.0.2.255:4242',
      broadcast: true,
    });
    const options = {
      listen_ip: '0.0.0.0',
      listen_port: 4242,
      forward_ip: '192.0.2.255',
      forward_port: 4242,
    };
    await using peer = await startReference(theirs, '1.5.7', { type: 'udp', options });
    await peer.announce();
    await heard(daemon, peer.destination);
    await eventually('announced to the peer', () => call(daemon, 'POST', '/v1/mesh/announce'), patience);
    await exchange(daemon, peer);
  });

  test('joins two hubs that know nothing of each other', async () => {
    await using lan = await startLan('elm', 'oak');
    await using elm = await startHub(lan.hosts.elm);
    await using oak = await startHub(lan.hosts.oak);
    await heard(elm, oak.ready.lxmf);
    await heard(oak, elm.ready.lxmf);
    await send(elm, oak.ready.lxmf, 'hello Oak Street');
    await send(oak, elm.ready.lxmf, long);
    assert.equal((await received(oak, 'hello Oak Street')).from, `lxmf:${elm.ready.lxmf}`);
    assert.equal((await received(elm, long)).from, `lxmf:${oak.ready.lxmf}`);
  });

  test('says why it is offline where another hub has the port, and takes over when that one is gone', async () => {
    await using lan = await startLan('here');
    const { here } = lan.hosts;
    await using first = await startHub(here);
    await using second = await startHub(here);
    const waiting = await shown(second, ({ state }) => state === 'waiting');
    assert.equal(
      waiting.reason,
      'no network adapter to use: eth0: UDP port 42671: the port is in use by another program',
    );
    assert.equal((await shown(first, ({ state }) => state === 'up')).adapters?.[0]?.state, 'used');
    await first.kill();
    await shown(second, ({ state }) => state === 'up');
  });

  test('is offline without IPv6, says so, and comes back by itself', async () => {
    await using lan = await startLan('here');
    const { under } = lan.hosts.here;
    const [program = '', ...before] = under;
    const ipv6 = (on: boolean) =>
      run(program, [...before, 'sysctl', '-qw', `net.ipv6.conf.eth0.disable_ipv6=${on ? 0 : 1}`]);
    await run(program, [...before, 'ip', 'addr', 'add', '192.0.2.1/24', 'dev', 'eth0']);
    await ipv6(false);
    await using daemon = await startHub(lan.hosts.here);
    const offline = await shown(daemon, ({ state }) => state === 'waiting');
    assert.equal(offline.reason, 'no network adapter to use: eth0 has no link-local IPv6 address');
    await ipv6(true);
    const online = await shown(daemon, ({ state }) => state === 'up');
    assert.deepEqual(online.adapters?.map(({ adapter, state }) => `${adapter} ${state}`).sort(), [
      'eth0 used',
      'lo unused',
    ]);
    await ipv6(false);
    await shown(daemon, ({ state }) => state === 'waiting');
  });

  test('survives 30 cut cables and adapters taken out at random moments: no exit, nothing left open', async t => {
    const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
    t.diagnostic(`SEED=${seed}`);
    const random = seededRandom(seed);
    const upTo = (ms: number) => sleep(Math.floor(random.fraction() * ms));
    await using lan = await startLan('ours', 'theirs');
    const { ours } = lan.hosts;
    await using daemon = await startHub(ours);
    await using peer = await startReference(lan.hosts.theirs, '1.5.7');
    await peer.next('announce', ({ destination }) => destination === daemon.ready.lxmf, patience);
    await peer.announce();
    await heard(daemon, peer.destination);
    const before = await openFiles(ours);
    for (let round = 0; round < 30; round++) {
      const pulled = random.fraction() < 0.5;
      await (pulled ? ours.unplug() : ours.cut());
      await upTo(2500);
      await (pulled ? ours.plug() : ours.mend());
      await upTo(2500);
    }
    assert.equal(daemon.process.exitCode, null, daemon.stderr());
    await eventually('the LAN is up again', async () => (await udpSockets(ours)) === 3, patience);
    // The reference knows an address that is gone for 22 s; a hub that comes up announces itself after 3 s.
    await peer.next('announce', ({ destination }) => destination === daemon.ready.lxmf, patience);
    await send(daemon, peer.destination, 'back again');
    const sent = await peer.send({ to: daemon.ready.lxmf, content: 'and here', method: 'direct' });
    assert.equal(await peer.delivered(sent.hash, patience), 'delivered');
    assert.ok((await received(daemon, 'and here')).id);
    const after = await openFiles(ours);
    assert.ok(after <= before + 3, `${before} files open before, ${after} after`);
    assert.equal(await udpSockets(ours), 3);
    assert.doesNotMatch(daemon.stderr(), /"level":"error"|a bug/);
  });
});
