import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { LoraChannel } from '../../src/demo/lora-channel.ts';
import { RNodeEmulator } from '../../src/demo/rnode-emulator.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { missingReference, type Peer, startPeer } from '../interop/peer.ts';
import { missingProgram } from '../package.ts';
import { startWeatherOrigin, type WeatherOrigin } from '../sim/origins/weather.ts';
import { seededRandom } from '../sim/random.ts';
import { missingSocat, RNodePty } from '../sim/rnode-pty.ts';
import { type MatrixHub, startMatrixHub } from '../synapse/hub.ts';
import { type Person, startPerson } from '../synapse/person.ts';
import { missingSynapse } from '../synapse/server.ts';
import { noBrowser, openBrowser, openTab } from './browser.ts';
import {
  connectMqtt,
  eventually,
  type MqttWindow,
  mint,
  RestInbox,
  type Seen,
  serverEvents,
  WsClient,
} from './clients.ts';
import { callHttp, type Daemon, startDaemon } from './daemon.ts';

/*
 * Everything that the gateway is for, in one place, with real parts: on the hill hub A with a homeserver, sensors and a
 * replica of a cloud API; in the valley hub B with an old app; between them nothing but LoRa, as a third radio hears it
 * that a Python LXMF peer owns. The radios are emulated on pseudo-terminals, their air is simulated in real time.
 */

const root = join(import.meta.dirname, '..', '..');
const skip =
  noBrowser ||
  missingSocat() ||
  missingProgram('mosquitto_pub', 'mosquitto-clients', '--help') ||
  (await missingSynapse()) ||
  (await missingReference('1.5.7'));
/** ms: everything here waits for the air. */
const patience = 120_000;

interface Message extends Seen {
  readonly deliveries: readonly {
    readonly id: string;
    readonly to: string;
    readonly state: string;
    readonly reason?: string;
    readonly history: readonly { readonly state: string }[];
  }[];
}

describe('two hubs, a handheld, a homeserver and a cloud, joined by LoRa alone', { skip }, () => {
  const stack = new AsyncDisposableStack();
  const channel = new LoraChannel({ clock: systemClock, random: seededRandom(41) });
  let hill: MatrixHub;
  let valley: Daemon;
  let peer: Peer;
  let alice: Person;
  let cloud: WeatherOrigin;
  let app: { token: string; address: string; inbox: RestInbox };
  let plaza: string;
  let plazaAddress: string;
  /** What each window of the valley told of deliveries: the states by message, as they came. */
  const told = {
    ws: new WsClient(),
    sse: [] as { state: string; message: string }[],
    mqtt: undefined as MqttWindow | undefined,
  };

  const lora = (pty: RNodePty) => ({
    name: 'lora',
    kind: 'rnode',
    port: pty.path,
    region: 'eu868-p',
    spreadingFactor: 8,
    bandwidth: 125_000,
    codingRate: 5,
    txPower: 14,
  });
  const fromHill = <T>(method: string, path: string, options: object = {}) =>
    hill.daemon().call<T>(method, path, options);
  const knows = async (daemon: Daemon, address: string) => {
    const { body } = await daemon.call<{ items: { address: string; name?: string }[] }>('GET', '/v1/peers');
    return body.items.find(one => one.address === address);
  };
  /** Announces until the other side has heard it: on the air two may speak at once. */
  const introduce = async (what: string, announce: () => Promise<unknown>, heard: () => Promise<unknown>) => {
    for (let tries = 0; tries < 8; tries++) {
      await announce();
      const found = await eventually(what, heard, 8000).catch(() => undefined);
      if (found !== undefined) {
        return found;
      }
    }
    throw new Error(`never heard: ${what}`);
  };
  const arrived = (inbox: RestInbox, wanted: (message: Seen) => boolean, what: string) =>
    eventually(
      what,
      async () => {
        await inbox.read(5);
        return inbox.seen.find(wanted);
      },
      patience,
    );

  /** The hub's page in a browser, logged in as the owner, at the list of peers. */
  const pageOf = async (daemon: Daemon) => {
    const browser = stack.use(await openBrowser());
    const { page } = await openTab(browser);
    await page.goto(daemon.ready.http);
    await page.getByLabel('Owner token').fill(daemon.ready.ownerToken ?? '');
    await page.keyboard.press('Enter');
    await page.getByText(daemon.ready.lxmf).first().waitFor({ timeout: 60_000 });
    await page.evaluate(`location.hash = '#/peers'`);
    return page;
  };

  before(
    async () => {
      const radio = async (name: string, x: number, y: number) => {
        const emulator = new RNodeEmulator({
          name,
          channel,
          clock: systemClock,
          random: seededRandom(x + y + 1),
          x,
          y,
        });
        stack.defer(() => emulator.close());
        return stack.use(await RNodePty.plugIn(emulator));
      };
      const [onHill, inValley, inHand] = [
        await radio('hill', 0, 0),
        await radio('valley', 400, 0),
        await radio('handheld', 0, 300),
      ];
      valley = stack.use(
        await startDaemon({
          config: { hub: { name: 'Valley' }, log: 'warn', interfaces: [lora(inValley)] },
        }),
      );
      const minted = await valley.call<{ token: string; addresses: string[] }>('POST', '/v1/tokens', {
        body: {
          name: 'pump-app',
          scopes: ['messages:read', 'messages:send', 'peers:read', 'mqtt'],
          identity: 'own',
        },
      });
      assert.equal(minted.status, 201);
      app = {
        token: minted.body.token,
        address: minted.body.addresses[0] as string,
        inbox: new RestInbox(() => valley, minted.body.token),
      };
      await told.ws.connect(valley, app.token, 'pump-app');
      const listening = await connectMqtt(valley, 'pump-app', app.token);
      told.mqtt = listening;
      const stop = new AbortController();
      const streaming = (async () => {
        for await (const { event, data } of serverEvents(valley, app.token, stop.signal)) {
          if (event === 'delivery.changed') {
            told.sse.push(data.delivery as { state: string; message: string });
          }
        }
      })().catch(() => {});
      stack.defer(async () => {
        stop.abort();
        await streaming;
        told.ws.drop();
        await listening.client.endAsync(true);
      });
      peer = stack.use(
        await startPeer({
          displayName: 'Handheld',
          ratchets: true,
          interfaces: [
            {
              type: 'rnode',
              options: {
                port: inHand.path,
                frequency: 869_525_000,
                bandwidth: 125_000,
                txpower: 14,
                spreadingfactor: 8,
                codingrate: 5,
              },
            },
          ],
        }),
      );
      cloud = stack.use(await startWeatherOrigin());
      const folder = await mkdtemp(join(tmpdir(), 'kos-story-'));
      stack.defer(() => rm(folder, { recursive: true, force: true }));
      const shipped = await readFile(join(root, 'replicas', 'weather.replica.yaml'), 'utf8');
      await copyFile(join(root, 'replicas', 'weather.openapi.yaml'), join(folder, 'weather.openapi.yaml'));
      await writeFile(
        join(folder, 'weather.replica.yaml'),
        shipped.replace('url: https://weather.example/v1', `url: ${cloud.url}/v1\n  allowPrivate: true`),
      );
      hill = stack.use(
        await startMatrixHub({
          config: {
            hub: { name: 'Hill' },
            interfaces: [lora(onHill)],
            rooms: { plaza: {} },
            routes: [
              { from: 'mqtt:dev/#', type: 'sensor.reading', to: [`lxmf:${peer.destination}`, app.address] },
            ],
            replicas: join(folder, '*.replica.yaml'),
          },
          matrix: { invite: '@alice:home.test' },
        }),
      );
      await hill.joined();
      alice = stack.use(await startPerson(hill.synapse, 'alice'));
      plaza = await alice.join('#_kos_plaza:home.test');
      const status = await fromHill<{ residents: { party: string; addresses: string[] }[] }>(
        'GET',
        '/v1/status',
      );
      plazaAddress = status.body.residents.find(({ party }) => party === 'room:plaza')
        ?.addresses[0] as string;
      assert.match(plazaAddress, /^lxmf:[0-9a-f]{32}$/);
    },
    { timeout: 300_000 },
  );
  after(() => stack.disposeAsync(), { timeout: 60_000 });

  it('hears each other on the air, by name', { timeout: 300_000 }, async () => {
    await introduce(
      'the plaza in the valley',
      () => fromHill('POST', '/v1/mesh/announce'),
      () => knows(valley, plazaAddress),
    );
    assert.equal((await knows(valley, plazaAddress))?.name, 'plaza');
    await introduce(
      'the app on the hill',
      () => valley.call('POST', '/v1/mesh/announce'),
      () => knows(hill.daemon(), app.address),
    );
    await introduce(
      'the handheld on the hill',
      () => peer.announce(),
      () => knows(hill.daemon(), `lxmf:${peer.destination}`),
    );
    assert.equal((await knows(hill.daemon(), app.address))?.name, 'pump-app');
  });

  it('carries what the app posts to a person in a room, and the answer back to the app', {
    timeout: 300_000,
  }, async () => {
    const posted = await valley.call<Message>('POST', '/v1/messages', {
      token: app.token,
      body: { to: plazaAddress, text: 'The pump has stopped. Restart it?' },
    });
    assert.equal(posted.status, 201);
    const seen = await alice.text('The pump has stopped. Restart it?', patience);
    assert.equal(seen.roomId, plaza);
    assert.equal(seen.sender, `@_kos_${app.address.slice(5)}:home.test`);
    const profile = await alice.call<{ displayname?: string }>(
      'GET',
      `/v3/profile/${encodeURIComponent(seen.sender)}`,
    );
    assert.match(profile.displayname ?? '', /^pump-app/);

    const answered = await alice.reply(plaza, seen.event_id, 'Yes, restart it.');
    const answer = await arrived(app.inbox, ({ text }) => text.includes('Yes, restart it.'), 'the answer');
    assert.equal(answer.inReplyTo, posted.body.id);
    assert.equal(answer.from, plazaAddress);

    // What each side says of its message is true: delivered, after it was sent, and nowhere else.
    const kept = await eventually(
      'the app’s message is delivered',
      async () => {
        const { body } = await valley.call<Message>('GET', `/v1/messages/${posted.body.id}`, {
          token: app.token,
        });
        return body.deliveries[0]?.state === 'delivered' && body;
      },
      patience,
    );
    // What the air swallows is queued and sent again, which its history says: the way is right, not its length.
    const changes = (list: readonly { state: string }[]) =>
      list.map(({ state }) => state).filter((state, at, all) => state !== 'sending' && state !== all[at - 1]);
    const states = changes(kept.deliveries[0]!.history);
    assert.match(states.join(' '), /^queued (?:sent queued )*sent delivered$/);
    const of = (list: readonly { state: string; message?: string; id?: string }[]) =>
      list.filter(({ message, id }) => (message ?? id) === posted.body.id);
    for (const [window, list] of [
      ['WebSocket', told.ws.statuses],
      ['SSE', told.sse],
      ['MQTT', told.mqtt?.statuses ?? []],
    ] as const) {
      await eventually(`${window} tells of it`, () => of(list).at(-1)?.state === 'delivered');
      assert.deepEqual(changes(of(list)), states, window);
    }
    const page = await pageOf(valley);
    await page.getByRole('link', { name: 'plaza' }).first().click({ timeout: 60_000 });
    const bubble = page.getByRole('article').filter({ hasText: 'The pump has stopped.' });
    await bubble.locator('summary').getByText('Delivered').first().waitFor({ timeout: 60_000 });
    await alice.receipt(answered, patience);
    await app.inbox.read();
    assert.equal(app.inbox.seen.filter(({ text }) => text.includes('Yes, restart it.')).length, 1);
  });

  it('carries a sensor’s reading to the handheld as words, and to the app as data', {
    timeout: 300_000,
  }, async () => {
    const { ready } = hill.daemon();
    const token = await mint(hill.daemon(), 'pump-1', { scopes: ['mqtt'] });
    const { hostname, port } = new URL(ready.mqtt);
    await promisify(execFile)('mosquitto_pub', [
      ...['-h', hostname, '-p', port, '-u', 'pump-1', '-P', token, '-q', '1'],
      ...['-t', `kos/v1/${ready.hub.slice(0, 8)}/dev/pump-1/state`],
      ...['-m', JSON.stringify({ pressure: 2.4, running: false })],
    ]);
    const words = await peer.next('message', ({ content }) => content?.includes('2.4') === true, patience);
    assert.match(words.content ?? '', /pump-1.*pressure/s);
    assert.equal(words.verified, true);
    const reading = await arrived(app.inbox, ({ type }) => type === 'sensor.reading', 'the reading');
    const data = reading.data as { device: string; values: Record<string, unknown> };
    assert.equal(data.device, 'pump-1');
    assert.deepEqual(data.values, { pressure: 2.4, running: false });
    assert.equal(app.inbox.seen.filter(({ type }) => type === 'sensor.reading').length, 1);
  });

  it('lets the handheld write to the person by name, and be answered by them', {
    timeout: 300_000,
  }, async () => {
    const bot = '@_kos_bot:home.test';
    const chat = await alice.createDirect(bot);
    await alice.member(chat, bot, patience);
    await alice.send(chat, 'identity on');
    const found = await introduce(
      'alice on the handheld',
      () => fromHill('POST', '/v1/mesh/announce'),
      async () => (await peer.announces()).find(({ name }) => name === 'alice'),
    );
    const { destination } = found as { destination: string };
    const sent = await peer.send({ to: destination, content: 'Are you up there?' });
    const ghost = `@_kos_${peer.destination}:home.test`;
    const room = await alice.invitation(ghost, patience);
    await alice.join(room);
    const seen = await alice.text('Are you up there?', patience);
    assert.equal(seen.sender, ghost);
    assert.equal(await peer.delivered(sent.hash, patience), 'delivered');
    await alice.send(room, 'I am. Come up!');
    const back = await peer.next('message', ({ content }) => content === 'I am. Come up!', patience);
    assert.equal(back.source, destination);
    assert.equal(back.verified, true);
  });

  it('serves the weather when the cloud is gone, and says how old it is', async () => {
    const { replicas } = hill.daemon().ready;
    assert.ok(replicas);
    const read = () =>
      callHttp<{ celsius: number }>(replicas, 'GET', '/svc/weather/stations/summit/current', {});
    const fresh = await read();
    assert.equal(fresh.status, 200);
    await cloud.kill();
    cloud.turn();
    const stale = await eventually(
      'an answer without the cloud',
      async () => {
        const answer = await read();
        return answer.status === 200 && answer;
      },
      10_000,
    );
    assert.equal(stale.body.celsius, fresh.body.celsius);
    assert.match(String(stale.headers['cache-status']), /hit/);
  });

  it('kept within what the sub-band allows, and says so', async () => {
    const onAir = channel.airtime();
    for (const [name, used] of Object.entries(onAir)) {
      assert.ok(used <= 360_000, `${name} was on the air for ${used} ms of an hour`);
    }
    for (const { tuning } of channel.log) {
      const half = tuning.bandwidth / 2;
      assert.ok(tuning.frequency - half >= 869_400_000 && tuning.frequency + half <= 869_650_000);
      assert.ok(tuning.txPower <= 27);
    }
    for (const [daemon, name] of [
      [hill.daemon(), 'hill'],
      [valley, 'valley'],
    ] as const) {
      const { body } = await daemon.call<{
        items: { name: string; airtime?: { usedMs: number; budgetMs: number } }[];
      }>('GET', '/v1/mesh/interfaces');
      const airtime = body.items.find(one => one.name === 'lora')?.airtime;
      assert.ok(airtime && airtime.usedMs >= (onAir[name] ?? 0) - 1, `${name} counted ${airtime?.usedMs}`);
      assert.ok(airtime.usedMs <= airtime.budgetMs);
    }
  });
});
