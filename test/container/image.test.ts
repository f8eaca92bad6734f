import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse, stringify } from 'yaml';
import { eventually, type Seen } from '../e2e/clients.ts';
import { callHttp } from '../e2e/daemon.ts';
import { missingReference, startPeer } from '../interop/peer.ts';
import { startPerson } from '../synapse/person.ts';
import { freePort, missingSynapse, startSynapse } from '../synapse/server.ts';
import { type Box, startBox } from './box.ts';
import { buildImage, type Image, missingBuildah, sh } from './image.ts';

const root = join(import.meta.dirname, '..', '..');
const noHomeserver = await missingSynapse();
const noPeer = await missingReference('1.5.7');
/** Bytes; the base weighs about 220 MB beside it. */
const mostOwn = 90e6;

describe('the container image', { skip: await missingBuildah() }, () => {
  let image: Image;
  before(async () => {
    image = await buildImage();
  });
  after(() => image?.[Symbol.asyncDispose]());

  it('is built from the Dockerfile, and its own layers weigh at most 90 MB', t => {
    t.diagnostic(`own layers: ${(image.ownBytes / 1e6).toFixed(1)} MB`);
    assert.ok(image.ownBytes > 1e6 && image.ownBytes <= mostOwn, `${image.ownBytes} bytes`);
  });

  it('says how it wants to be run: no root, one volume, a signal that stops it, a health check', () => {
    const { config } = image;
    assert.match(config.User, /^[1-9]\d*:[1-9]\d*$/, 'a number that is not 0');
    assert.deepEqual(Object.keys(config.Volumes), ['/data']);
    assert.equal(config.StopSignal, 'SIGTERM');
    assert.equal(config.Healthcheck.Test[0], 'CMD');
    assert.equal(config.Labels['org.opencontainers.image.licenses'], 'MIT');
    assert.deepEqual(Object.keys(config.ExposedPorts).sort(), ['1883/tcp', '8080/tcp', '8081/tcp']);
  });

  it('holds what the gateway runs on and nothing else of the project', async () => {
    const app = join(image.mount, 'app');
    assert.deepEqual((await sh('ls', app)).trim().split('\n'), [
      'LICENSE',
      'bin',
      'node_modules',
      'package.json',
      'replicas',
      'src',
    ]);
    assert.equal(await sh('find', app, '-not', '-user', 'root'), '', 'its user can change none of it');
    assert.equal(await sh('find', image.mount, '-xdev', '-name', '*npmrc', '-path', '*/root/*'), '');
    const platforms = await sh('ls', join(app, 'node_modules/@serialport/bindings-cpp/prebuilds'));
    assert.equal(platforms.trim(), `linux-${process.arch}`);
  });

  it('starts as its own user on a read-only root, is healthy, carries messages both ways, and stops on its signal', {
    skip: noPeer,
  }, async () => {
    await using room = await startRoom(image);
    await using peer = await startPeer({ interfaces: [{ type: 'server' }], displayName: 'Outside' });
    await writeFile(
      join(room.data, 'kos.yaml'),
      stringify({
        hub: { name: 'In a box' },
        interfaces: [{ name: 'uplink', kind: 'tcp-client', host: '127.0.0.1', port: peer.port }],
      }),
    );
    await using box = await room.start();
    await healthy(box);

    const status = await readFile(`/proc/${box.pid}/status`, 'utf8');
    assert.match(status, /^Uid:\t1000\t1000\t1000\t1000$/m);
    assert.match(status, /^Groups:\t\s*$/m);
    for (const folder of ['/', '/app', '/usr/local/bin', '/etc']) {
      const written = await box.exec(['touch', `${folder}/written`], '0:0');
      assert.match(written.stderr, /Read-only file system/, `${folder}, even for root`);
    }

    const { http, token, lxmf } = await room.enter(box);
    await peer.announce();
    const address = `lxmf:${peer.destination}`;
    await eventually('the peer is known', async () => {
      const peers = await callHttp<{ items: { address: string }[] }>(http, 'GET', '/v1/peers', { token });
      return peers.body.items.some(one => one.address === address);
    });
    const posted = await callHttp<Seen>(http, 'POST', '/v1/messages', {
      token,
      body: { to: address, text: 'out of the box' },
    });
    assert.equal(posted.status, 201, JSON.stringify(posted.body));
    await peer.next('message', message => message.content === 'out of the box');
    const sent = await peer.send({ to: lxmf, content: 'into the box', method: 'direct' });
    assert.equal(await peer.delivered(sent.hash), 'delivered');
    const inbox = await callHttp<{ items: { message?: Seen }[] }>(http, 'GET', '/v1/inbox?wait=10', {
      token,
    });
    assert.match(JSON.stringify(inbox.body.items), /into the box/);

    // Past 5 s it would end by itself with 1, and an engine kills after 10.
    assert.equal(await box.stop(), 0, box.output());
  });

  it('keeps its address, tokens and messages on the volume over a kill, and says when it is not healthy', async () => {
    await using room = await startRoom(image);
    const first = await room.start();
    await healthy(first);
    const before = await room.enter(first);
    const posted = await callHttp<Seen>(before.http, 'POST', '/v1/messages', {
      token: before.token,
      body: { to: 'app:owner', text: 'kept' },
    });
    assert.equal(posted.status, 201, JSON.stringify(posted.body));
    await first.kill();
    await first[Symbol.asyncDispose]();
    await using second = await room.start();
    await healthy(second);
    const after = await room.enter(second);
    assert.equal(after.lxmf, before.lxmf);
    const kept = await callHttp<Seen>(after.http, 'GET', `/v1/messages/${posted.body.id}`, {
      token: before.token,
    });
    assert.equal(kept.body.text, 'kept');
    assert.equal((await stat(join(room.data, 'identity'))).mode & 0o777, 0o600);

    process.kill(second.pid, 'SIGSTOP');
    const ill = await second.health();
    process.kill(second.pid, 'SIGCONT');
    assert.equal(ill.code, 1, 'a process that does not answer is not healthy');
    assert.match(ill.stdout, /^unhealthy: /);
  });

  it('joins a homeserver that is set up as in the island profile, with all that was trimmed from its packages', {
    skip: noHomeserver,
  }, async () => {
    await using room = await startRoom(image);
    const registration = join(room.data, 'registration.yaml');
    const port = await freePort();
    const environment = {
      KOS_BRIDGES_MATRIX_HOMESERVER: `http://127.0.0.1:${port}`,
      KOS_BRIDGES_MATRIX_SERVER_NAME: 'home.test',
      KOS_BRIDGES_MATRIX_REGISTRATION: '/data/registration.yaml',
      KOS_BRIDGES_MATRIX_URL: room.http,
      KOS_BRIDGES_MATRIX_INVITE: '@me:home.test',
    };
    await using before = await room.start();
    await healthy(before);
    const given = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    const made = await before.exec(['env', ...given, 'kosctl', 'matrix', 'registration']);
    assert.equal(made.code, 0, made.stderr);
    await before.stop();

    const overlay = parse(await readFile(join(root, 'deploy/island/homeserver.yaml'), 'utf8')) as object;
    await using synapse = await startSynapse({
      port,
      keys: { ...overlay, app_service_config_files: [registration] },
    });
    await using box = await room.start(environment);
    await using me = await startPerson(synapse, 'me');
    const bot = await me.createDirect('@_kos_bot:home.test');
    await me.member(bot, '@_kos_bot:home.test', 60_000);
    await me.send(bot, 'status');
    await me.event(
      'an answer of the bot',
      one => one.roomId === bot && one.content.msgtype === 'm.notice',
      60_000,
    );
    await healthy(box);
  });

  it('refuses a volume that is in use by another container', async () => {
    await using room = await startRoom(image);
    await using first = await room.start();
    await healthy(first);
    await using second = await room.start({
      KOS_LISTEN_HTTP: '127.0.0.1:0',
      KOS_LISTEN_MQTT: '127.0.0.1:0',
      KOS_LISTEN_REPLICAS: '127.0.0.1:0',
    });
    assert.equal(await second.ended, 1);
    assert.match(second.output(), /in use/);
    await healthy(first);
  });

  it('says in words what is wrong with a configuration on the volume, and ends with 1', async () => {
    await using room = await startRoom(image);
    await writeFile(join(room.data, 'kos.yaml'), 'hub: { nmae: typo }\n');
    await using box = await room.start();
    await eventually('the mistake is told', () => /hub\.nmae: no such key/.test(box.output()));
    assert.equal(await box.ended, 1);
  });
});

interface Room extends AsyncDisposable {
  readonly data: string;
  readonly http: string;
  start(environment?: Readonly<Record<string, string>>): Promise<Box>;
  /** What a user has once they are in. */
  enter(box: Box): Promise<{ http: string; token: string; lxmf: string }>;
}

/** A volume, and ports for what runs on it. */
async function startRoom(image: Image): Promise<Room> {
  const data = await mkdtemp(join(tmpdir(), 'kos-volume-'));
  const [http, mqtt, replicas] = [await freePort(), await freePort(), await freePort()];
  let [tokens, token] = [0, ''];
  return {
    data,
    http: `http://127.0.0.1:${http}`,
    start: environment =>
      startBox({
        image,
        data,
        environment: {
          KOS_LISTEN_HTTP: `127.0.0.1:${http}`,
          KOS_LISTEN_MQTT: `127.0.0.1:${mqtt}`,
          KOS_LISTEN_REPLICAS: `127.0.0.1:${replicas}`,
          ...environment,
        },
      }),
    async enter(box) {
      const control = async (...words: string[]) => {
        const ran = await box.exec(['kosctl', '--json', ...words]);
        assert.equal(ran.code, 0, ran.stderr);
        return JSON.parse(ran.stdout) as Record<string, unknown>;
      };
      if (tokens++ === 0)
        token = (await control('token', 'create', 'outside', '--scopes', 'admin')).token as string;
      const status = (await control('status')) as { hub: { lxmf: string } };
      return { http: `http://127.0.0.1:${http}`, token, lxmf: status.hub.lxmf };
    },
    [Symbol.asyncDispose]: () => rm(data, { recursive: true, force: true }),
  };
}

async function healthy(box: Box): Promise<void> {
  await eventually('it is healthy', async () => (await box.health()).code === 0).catch(error => {
    throw new Error(`${error}\n${box.output()}`);
  });
}
