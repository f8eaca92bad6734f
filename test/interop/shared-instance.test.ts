import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Daemon, startDaemon } from '../e2e/daemon.ts';
import { ensureVenv, type ReferenceVersion } from '../venv.ts';
import { missingReference, type Peer, startPeer } from './peer.ts';
import {
  ensureNomadNet,
  type Reach,
  runTool,
  sharing,
  startTool,
  writeIdentity,
  writeReticulumConfig,
} from './program.ts';

const skip =
  process.platform !== 'linux'
    ? 'abstract sockets are of Linux'
    : (await missingReference('1.5.7')) || (await missingReference('1.4.2'));
const python = (await ensureVenv('1.5.7')) as string;
const nomadnet = (await ensureNomadNet()) as string;
const withoutNomadNet = skip || (nomadnet === undefined && 'nomadnet is not available');
const timeout = 180_000;

/** Asks again until the answer is as it should be; fails with the last one. */
async function eventually<T>(ask: () => Promise<T>, isGood: (answer: T) => boolean): Promise<T> {
  const end = performance.now() + 60_000;
  for (;;) {
    const answer = await ask();
    if (isGood(answer)) {
      return answer;
    }
    assert.ok(performance.now() < end, `still: ${JSON.stringify(answer)}`);
    await sleep(200);
  }
}

interface Bench extends AsyncDisposable {
  readonly hub: Daemon;
  /** TCP port of the hub for nodes elsewhere. */
  readonly port: number;
  readonly instance: { readonly instance: string; readonly rpcKey: string };
  /** A folder for a program, with a configuration of the reference in it. */
  folder(name: string, reach: Reach): Promise<string>;
  /** Runs a tool of rns 1.5.7 as a program of this machine. */
  tool(name: string, ...words: string[]): Promise<{ readonly code: number | null; readonly out: string }>;
  /** A node elsewhere, over TCP. */
  far(name?: string): Promise<Peer>;
  /** A program of this machine. */
  program(version: ReferenceVersion): Promise<Peer>;
}

/** A hub that programs of this machine use, in a process of its own. */
async function bench(): Promise<Bench> {
  const stack = new AsyncDisposableStack();
  const home = await mkdtemp(join(tmpdir(), 'kos-shared-'));
  stack.defer(() => rm(home, { recursive: true, force: true, maxRetries: 5 }));
  const name = `kos-${randomBytes(6).toString('hex')}`;
  const hub = stack.use(
    await startDaemon({
      config: {
        hub: { name: 'Hub' },
        interfaces: [
          { name: 'server', kind: 'tcp-server', port: 0 },
          { name: 'spare', kind: 'tcp-server', port: 0 },
        ],
        sharedInstance: { name },
      },
    }),
  );
  const rpcKey = (await readFile(join(hub.data, 'rpc_key'), 'utf8')).trim();
  const instance = { instance: name, rpcKey };
  const port = Number(hub.ready.interfaces.server?.split(':').at(-1));
  const folder = (path: string, reach: Reach) => writeReticulumConfig(join(home, path), reach);
  const tools = await folder('tools', instance);
  const patience = { reconnectWait: 1, retryWait: 1 };
  return {
    hub,
    port,
    instance,
    folder,
    tool: (tool, ...words) => runTool(python, tool, ['--config', tools, ...words], { home }),
    async far(displayName = 'Far') {
      return stack.use(await startPeer({ interfaces: [{ type: 'client', port }], displayName, ...patience }));
    },
    async program(version) {
      return stack.use(
        await startPeer({ version, reticulum: sharing(instance), displayName: version, ...patience }),
      );
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** What rnstatus 1.5.7 shows, as JSON. */
async function status(at: Bench): Promise<{ interfaces: Record<string, unknown>[]; transport_id: string }> {
  const { code, out } = await at.tool('rnstatus', '-j');
  assert.equal(code, 0, out);
  return JSON.parse(out);
}

let shared: Promise<Bench> | undefined;

/** The one hub of these tests: starting another for each would take longer than the tests. */
async function theBench(): Promise<Bench> {
  shared ??= bench();
  return shared;
}

after(async () => (await shared)?.[Symbol.asyncDispose]());

describe('tools of rns 1.5.7 on a gateway', { skip, timeout }, () => {
  test('rnstatus shows its interfaces and attaches, detaches and reloads them', async () => {
    const at = await theBench();
    const { interfaces, transport_id } = await status(at);
    assert.equal(transport_id, at.hub.ready.hub);
    assert.deepEqual(
      interfaces.map(({ short_name, type, status: up, mode }) => [
        String(short_name).split('/')[0],
        type,
        up,
        mode,
      ]),
      [
        ['server', 'TCPServerInterface', true, 1],
        ['spare', 'TCPServerInterface', true, 1],
        ['shared-instance', 'LocalServerInterface', true, 1],
        ['shared-instance', 'LocalClientInterface', true, 1],
      ],
    );
    const shown = await at.tool('rnstatus', '-a', '-l', '-A', '-P', '-q', '-t');
    assert.equal(shown.code, 0, shown.out);
    assert.match(shown.out, /TCPServerInterface\[server\/127\.0\.0\.1:\d+\]/);
    assert.match(shown.out, /Shared Instance\[rns\/kos-/);
    assert.match(shown.out, new RegExp(`Transport Instance <${at.hub.ready.hub}> running`));
    assert.match(shown.out, /0 entries in link table/);

    const state = async () => {
      const { body } = await at.hub.call<{ items: { name: string; state: string }[] }>(
        'GET',
        '/v1/mesh/interfaces',
      );
      return body.items.find(one => one.name === 'spare')?.state;
    };
    assert.equal(await manage(at, '--detach', 'spare'), 'Interface spare was detached');
    assert.equal(await state(), 'stopped');
    assert.equal(await manage(at, '--attach', 'spare'), 'Interface spare was attached');
    assert.equal(await manage(at, '--attach', 'spare'), 'Could not attach interface spare');
    assert.equal(await eventually(state, now => now === 'up'), 'up');
    assert.equal(await manage(at, '--reload', 'spare'), 'Interface spare was reloaded');
    assert.equal(await manage(at, '--detach', 'nobody'), 'The interface nobody does not exist');
  });

  test('rnpath and rnprobe find who is elsewhere, and leave out who is not wanted', async () => {
    const at = await theBench();
    const far = await at.far();
    const echo = await far.addDestination('app.echo', { proof: 'all' });
    await far.announce();
    const path = await at.tool('rnpath', echo);
    assert.equal(path.code, 0, path.out);
    assert.match(
      path.out,
      new RegExp(`<${echo}> is 1 hop away via <${echo}> on TCPInterface\\[Client on server`),
    );
    const table = await eventually(
      () => at.tool('rnpath', '-t'),
      ({ out }) => out.includes(far.destination),
    );
    assert.match(table.out, new RegExp(`<${echo}> is 1 hop +away via`));
    const probe = await at.tool('rnprobe', 'app.echo', echo);
    assert.equal(probe.code, 0, probe.out);
    assert.match(probe.out, /over 1 hop\b/);
    assert.match(probe.out, /Sent 1, received 1, packet loss 0/);
    const rates = await at.tool('rnpath', '-r');
    assert.match(rates.out, new RegExp(far.destination));
    const noisy = randomBytes(16).toString('hex');
    const holed = await at.tool('rnpath', '-B', noisy, '--reason', 'noise', '--duration', '1');
    assert.match(holed.out, new RegExp(`Blackholed identity ${noisy}`));
    const listed = await at.tool('rnpath', '-b');
    assert.match(listed.out, new RegExp(`<${noisy}> blackholed for 59m .*\\(noise\\)`));
    const lifted = await at.tool('rnpath', '-U', noisy);
    assert.match(lifted.out, new RegExp(`Lifted blackhole for identity ${noisy}`));
    const dropped = await at.tool('rnpath', '-d', echo);
    assert.match(dropped.out, new RegExp(`Dropped path to <${echo}>`));
    const left = await at.tool('rnpath', '-t');
    assert.ok(!left.out.includes(echo) && left.out.includes(far.destination), left.out);
  });

  test('rncp carries files to a program of this machine and from it', async () => {
    const at = await theBench();
    const home = await at.folder('rncp', at.instance);
    const listenLocal = await at.folder('rncp-local', at.instance);
    const listenFar = await at.folder('rncp-far', { port: at.port });
    const sendFar = await at.folder('rncp-send', { port: at.port });
    await using stack = new AsyncDisposableStack();
    const listen = async (folder: string) => {
      const identity = join(folder, 'rncp-identity');
      const destination = await writeIdentity(identity, 'rncp.receive');
      const save = join(folder, 'received');
      await mkdir(save);
      const words = ['--config', folder, '-l', '-n', '-v', '-b', '0', '-i', identity, '-s', save];
      const listener = stack.use(await startTool(python, 'rncp', words, { home: folder }));
      await eventually(
        async () => listener.output(),
        out => out.includes('listening on'),
      );
      return { destination, save };
    };
    const local = await listen(listenLocal);
    const far = await listen(listenFar);
    const content = randomBytes(300_000);
    const file = join(home, 'file.bin');
    await writeFile(file, content);
    const send = (folder: string, to: { destination: string }) =>
      runTool(python, 'rncp', ['--config', folder, '-S', file, to.destination], { home: folder });
    for (const [folder, to] of [
      [home, far],
      [sendFar, local],
      [home, local],
    ] as const) {
      // A listener decides about files in a thread that it starts when a link is there, and refuses what is quicker.
      const refused = 'File was not accepted';
      const sent = await eventually(
        () => send(folder, to),
        ({ out }) => !out.includes(refused),
      );
      assert.equal(sent.code, 0, sent.out);
      const path = join(to.save, 'file.bin');
      const arrived = await eventually(
        () => readFile(path).catch(() => undefined),
        got => got?.length === content.length,
      );
      assert.deepEqual(arrived, content);
      await rm(path);
    }
  });

  test('a program with another key is told nothing', async () => {
    const at = await theBench();
    const folder = await at.folder('stranger', { ...at.instance, rpcKey: '00'.repeat(32) });
    const { out } = await runTool(python, 'rnstatus', ['--config', folder, '-j'], { home: folder });
    assert.ok(!out.includes('interfaces'), out);
    const { body } = await at.hub.call<string>('GET', '/metrics');
    assert.match(JSON.stringify(body), /wrong-key/);
  });
});

/** What rnstatus says of a change; its exit code is not to be relied on. */
async function manage(at: Bench, how: string, name: string): Promise<string> {
  return (await at.tool('rnstatus', how, name)).out.trim();
}

for (const version of ['1.5.7', '1.4.2'] as const) {
  describe(`a program on rns ${version} that uses a gateway`, { skip, timeout }, () => {
    test('exchanges messages and links with who is elsewhere, and with the hub itself', async () => {
      const at = await theBench();
      const far = await at.far();
      const program = await at.program(version);
      await program.announce();
      await far.announce();
      await far.next('announce', ({ destination }) => destination === program.destination);
      await program.next('announce', ({ destination }) => destination === far.destination);
      assert.equal((await far.path(program.destination)).hops, 1);
      assert.equal((await program.path(far.destination)).hops, 1);
      for (const [from, to] of [
        [program, far],
        [far, program],
      ] as const) {
        for (const [content, method] of [
          ['short', 'opportunistic'],
          ['long '.repeat(2000), 'direct'],
        ] as const) {
          const sent = await from.send({ to: to.destination, content, method });
          assert.equal(await from.delivered(sent.hash), 'delivered');
          await to.next('message', message => message.content === content);
        }
      }
      const echo = await program.addDestination('app.echo', { proof: 'all' });
      await far.requestPath(echo);
      const link = await far.openLink(echo, 'app.echo');
      const over = await far.sendOnLink(link.link, { text: 'over a link' });
      assert.equal(over.proved, true);
      const hub = await program.send({ to: at.hub.ready.lxmf, content: 'hello hub', method: 'direct' });
      assert.equal(await program.delivered(hub.hash), 'delivered');
    });
  });
}

describe('NomadNet on a gateway', { skip: withoutNomadNet, timeout }, () => {
  test('serves its pages to who is elsewhere and to programs of this machine, and they read those of others', async () => {
    const at = await theBench();
    await using stack = new AsyncDisposableStack();
    const serve = async (folder: string, page: string) => {
      const destination = await writeIdentity(join(folder, 'nomad/storage/identity'), 'nomadnetwork.node');
      await mkdir(join(folder, 'nomad/storage/pages'), { recursive: true });
      await writeFile(join(folder, 'nomad/storage/pages/index.mu'), page);
      await writeFile(
        join(folder, 'nomad/config'),
        [
          '[logging]',
          '  loglevel = 4',
          '[client]',
          '  enable_client = yes',
          '[node]',
          '  enable_node = yes',
          '  node_name = Pages',
          '  disable_propagation = yes',
          '  announce_at_start = no',
          '',
        ].join('\n'),
      );
      const words = ['--daemon', '--console', '--config', join(folder, 'nomad'), '--rnsconfig', folder];
      const program = stack.use(await startTool(nomadnet, 'nomadnet', words, { home: folder }));
      // Who asks a node of the reference before it has its destinations is not answered for a minute.
      await eventually(
        async () => program.output(),
        out => out.includes('daemon started'),
      );
      return { destination, program };
    };
    const local = await serve(await at.folder('nomad-local', at.instance), '>Here\n`!local page`!\n');
    const remote = await serve(await at.folder('nomad-far', { port: at.port }), '>There\nfar page\n');
    const far = await at.far();
    const program = await at.program('1.5.7');
    const read = async (by: Peer, node: { destination: string }) => {
      await eventually(
        () => by.requestPath(node.destination, 3000).catch(() => ({ known: false })),
        ({ known }) => known,
      );
      const link = await by.openLink(node.destination, 'nomadnetwork.node');
      const { response } = await by.request(link.link, '/page/index.mu');
      return Buffer.from((response as { hex: string }).hex, 'hex').toString();
    };
    for (const [by, node, words] of [
      [far, local, 'local page'],
      [program, local, 'local page'],
      [program, remote, 'far page'],
    ] as const) {
      const page = await read(by, node);
      assert.ok(page.includes(words), `${page}\n${node.program.output()}`);
    }
  });
});

describe('a gateway that uses an rnsd of this machine', { skip, timeout }, () => {
  test('reaches who is beyond it, and lets them reach who is beyond the gateway', async () => {
    const name = `kos-${randomBytes(6).toString('hex')}`;
    await using rnsd = await startPeer({
      interfaces: [{ type: 'server' }],
      transport: true,
      reticulum: { share_instance: 'Yes', instance_name: name },
    });
    await using gateway = await startDaemon({
      config: {
        interfaces: [
          { name: 'rnsd', kind: 'shared', instance: name },
          { name: 'server', kind: 'tcp-server', port: 0 },
        ],
      },
    });
    const patience = { reconnectWait: 1, retryWait: 1 };
    const client = (port: number) => ({ interfaces: [{ type: 'client', port } as const], ...patience });
    await using far = await startPeer(client(rnsd.port));
    const port = Number(gateway.ready.interfaces.server?.split(':').at(-1));
    await using handheld = await startPeer(client(port));
    const known = (of: Peer, to: string) =>
      eventually(
        async () => {
          await far.announce();
          await handheld.announce();
          await of.requestPath(to, 2000).catch(() => {});
          return of.path(to);
        },
        path => path.known,
      );
    assert.equal((await known(far, gateway.ready.lxmf)).hops, 1);
    assert.equal((await known(handheld, far.destination)).hops, 2);
    assert.equal((await known(far, handheld.destination)).hops, 3);
    for (const [from, to, content] of [
      [far, handheld.destination, 'out '.repeat(1000)],
      [handheld, far.destination, 'back '.repeat(1000)],
      [far, gateway.ready.lxmf, 'to the hub'],
    ] as const) {
      const sent = await from.send({ to, content, method: 'direct' });
      assert.equal(await from.delivered(sent.hash), 'delivered');
    }
    await handheld.next('message', ({ content }) => content?.startsWith('out ') === true);
    await far.next('message', ({ content }) => content?.startsWith('back ') === true);
    const answer = await gateway.call('POST', '/v1/messages', {
      body: { to: `lxmf:${far.destination}`, text: 'from the hub' },
    });
    assert.equal(answer.status, 201);
    await far.next('message', ({ content }) => content === 'from the hub', 60_000);
  });
});
