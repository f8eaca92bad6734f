import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { toHex, utf8 } from '../../src/lib/bytes.ts';
import { eventually, type Seen } from '../e2e/clients.ts';
import { type Daemon, startDaemon } from '../e2e/daemon.ts';
import { ensureVenv } from '../venv.ts';
import { missingReference, startPeer } from './peer.ts';

/*
 * Whole programs as neighbours: gateways of ours, the reference's own daemon, and reference nodes, each a process.
 */

const skip = await missingReference('1.5.7');
const names = (count: number) => Array.from({ length: count }, (_, at) => `message ${at}`);

/** A port that is free now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise(resolve => server.close(resolve));
  return port;
}

/** The reference's daemon with one listening TCP interface, as its users start it. */
async function startRnsd(): Promise<{ readonly port: number } & AsyncDisposable> {
  const python = (await ensureVenv('1.5.7'))!;
  const folder = await mkdtemp(join(tmpdir(), 'kos-rnsd-'));
  const port = await freePort();
  const lines = [
    ...['[reticulum]', 'enable_transport = Yes', 'share_instance = No', '[logging]', 'loglevel = 3'],
    ...['[interfaces]', '[[listen]]', 'type = TCPServerInterface', 'enabled = yes', 'ingress_control = no'],
    ...['listen_ip = 127.0.0.1', `listen_port = ${port}`],
  ];
  await writeFile(join(folder, 'config'), `${lines.join('\n')}\n`);
  const child = spawn(python, [join(dirname(python), 'rnsd'), '--config', folder], { stdio: 'ignore' });
  const ended = new Promise(resolve => child.once('exit', resolve));
  const dispose = async () => {
    child.kill('SIGKILL');
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await eventually('rnsd listens', () => accepts(port), 60_000);
  } catch (error) {
    await dispose();
    throw error;
  }
  return { port, [Symbol.asyncDispose]: dispose };
}

function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Has a gateway write to an LXMF address, and waits until the message is there and known to be. */
async function writes(from: Daemon, to: Daemon, text: string): Promise<void> {
  const posted = await from.call<Seen>('POST', '/v1/messages', {
    body: { to: `lxmf:${to.ready.lxmf}`, text },
  });
  assert.equal(posted.status, 201, JSON.stringify(posted.body));
  await eventually(
    'the message is there',
    async () => {
      const { body } = await to.call<{ items: Seen[] }>('GET', '/v1/messages?limit=50');
      return body.items.some(one => one.text === text && one.from === `lxmf:${from.ready.lxmf}`);
    },
    90_000,
  );
  await eventually(
    'the sender knows',
    async () => {
      const { body } = await from.call<{ deliveries: { state: string }[] }>(
        'GET',
        `/v1/messages/${posted.body.id}`,
      );
      return body.deliveries.some(({ state }) => state === 'delivered');
    },
    90_000,
  );
}

describe('gateways and the reference as neighbours', { skip, timeout: 300_000 }, () => {
  test('two gateways write to each other through rnsd, in packets and Resources', async () => {
    await using rnsd = await startRnsd();
    const config = {
      interfaces: [{ name: 'uplink', kind: 'tcp-client', host: '127.0.0.1', port: rnsd.port }],
      log: 'error',
    };
    await using here = await startDaemon({ config });
    await using there = await startDaemon({ config });
    await writes(here, there, 'a few words');
    await writes(there, here, 'and back');
    await writes(here, there, 'x'.repeat(60_000));
    const { body } = await here.call<{ items: { destination: string; hops: number }[] }>(
      'GET',
      '/v1/mesh/paths',
    );
    assert.equal(body.items.find(({ destination }) => destination === there.ready.lxmf)?.hops, 2);
  });

  test('reference nodes use a gateway for links, Resources, channels, streams and messages, and lose nothing to its kill in the midst', async t => {
    const folder = await mkdtemp(join(tmpdir(), 'kos-between-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const port = await freePort();
    const start = () =>
      startDaemon({
        data: join(folder, 'data'),
        // Who asks over it is searched for: after a start nobody has announced itself yet.
        config: {
          interfaces: [{ name: 'server', kind: 'tcp-server', port, mode: 'gateway' }],
          log: 'error',
        },
      });
    let gateway = await start();
    await using cleanup = new AsyncDisposableStack();
    cleanup.defer(() => gateway[Symbol.asyncDispose]());
    const peer = (displayName: string) =>
      startPeer({
        interfaces: [{ type: 'client', port }],
        displayName,
        ratchets: true,
        // Its patience is its own: with less than its 10 s, five tries can all fall into the 7 s in which it
        // does not ask for a path again, although the gateway has forgotten the one that it knows.
        reconnectWait: 1,
        deliveryLimit: 20_000,
      });
    await using a = await peer('A');
    await using b = await peer('B');
    const echo = await b.addDestination('app.echo', { ratchets: true });
    await b.announce({ destination: echo });
    await a.next('announce', ({ destination }) => destination === echo);

    const { link } = await a.openLink(echo, 'app.echo');
    await b.next('link', event => event.state === 'established' && event.link === link);
    assert.deepEqual((await a.request(link, '/echo', 'through a gateway')).response, 'through a gateway');
    assert.equal((await a.sendResource(link, { size: 500_000 })).status, 'complete');
    await a.openChannel(link);
    await b.openChannel(link);
    const [going, coming] = await Promise.all([
      a.sendOnChannel(link, names(60)),
      b.sendOnChannel(link, names(60)),
    ]);
    assert.deepEqual([going.delivered, coming.delivered], [true, true]);
    for (const text of names(60)) {
      assert.equal((await a.next('channel message')).data, toHex(utf8(text)));
      assert.equal((await b.next('channel message')).data, toHex(utf8(text)));
    }
    await b.readStream(link, 3);
    const written = await a.writeStream(link, 3, { size: 200_000 });
    assert.equal((await b.next('stream')).sha256, written.sha256);
    await a.closeLink(link);

    await b.announce();
    await a.next('announce', ({ destination }) => destination === b.destination);
    const content = randomBytes(6_000_000).toString('base64');
    const sent = await a.send({ to: b.destination, content, method: 'direct' });
    await eventually(
      'the Resource is under way',
      async () => (await a.state(sent.hash)).progress > 0.15,
      60_000,
    );
    await gateway.kill();
    assert.equal((await b.received()).length, 0, 'it was killed in the midst');
    gateway = await start();
    assert.equal(await a.delivered(sent.hash, 120_000), 'delivered');
    await eventually('the receiver has unpacked it', async () => (await b.received()).length > 0, 60_000);
    assert.deepEqual(
      (await b.received()).map(one => sha256(one.content ?? '')),
      [sha256(content)],
    );
  });
});

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
