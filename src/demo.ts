import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { loadConfig } from './config.ts';
import { type Air, createAir } from './demo/air.ts';
import { type Cloud, startCloud } from './demo/cloud.ts';
import { type Handheld, startHandheld } from './demo/handheld.ts';
import { headline, inTime, paint, say, short, type Watched, watch } from './demo/stage.ts';
import type { GatewayEvent } from './gateway/desk.ts';
import { fromHex } from './lib/bytes.ts';
import { systemClock } from './lib/clock.ts';
import { createLog } from './lib/log.ts';
import { systemRandom } from './lib/random.ts';
import { type Hub, startHub } from './start/hub.ts';
import { createInterface } from './start/interfaces.ts';

/*
 * Two hubs that hear each other by LoRa alone, with a handheld, a sensor, an old app and a cloud that goes away, in one
 * terminal and on the page of one of them. Everything is the real program; the air, its radios and the people are made up.
 */

const folder = mkdtempSync(join(tmpdir(), 'kos-demo-'));
const shipped = join(import.meta.dirname, '..', 'replicas');
const cyan = 36;
const magenta = 35;
const yellow = 33;
const green = 32;

const lora = (port: string) => ({
  name: 'lora',
  kind: 'rnode',
  port,
  region: 'eu868-p',
  spreadingFactor: 8,
  bandwidth: 125_000,
  codingRate: 5,
  txPower: 14,
});

interface Cast {
  readonly hill: Hub;
  readonly valley: Hub;
  readonly onHill: Watched;
  readonly inValley: Watched;
  readonly handheld: Handheld;
  readonly app: {
    readonly token: string;
    readonly address: string;
    readonly inbox: ReturnType<typeof openInbox>;
  };
  readonly plaza: string;
  readonly cloud: Cloud;
  readonly air: Air;
}

/** The demonstration's entry. */
export async function main(): Promise<void> {
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const cast = await gather(stack);
  await introduce(cast);
  await askThePlaza(cast);
  await readTheSensor(cast, stack);
  await writeToTheApp(cast);
  await loseTheCloud(cast);
  showAirtime(cast);
  headline('That was it: every line above is a commit, and every “delivered” a proof');
  if (process.stdout.isTTY === true) {
    say('demo', 90, `it goes on until Ctrl-C: look around at ${cast.hill.httpUrl}/`);
    await new Promise(resolve => process.once('SIGINT', resolve));
  }
}

async function gather(stack: AsyncDisposableStack): Promise<Cast> {
  headline('Two hubs start, with nothing between them but LoRa at SF8/125 kHz');
  const air = stack.use(createAir({ hill: [0, 0], valley: [400, 0], handheld: [0, 300] }));
  const cloud = stack.use(await startCloud());
  const handheld = stack.use(await startRadioUser('Ada', 'handheld', air));
  const valley = await startNamed('Valley', air, {});
  stack.defer(() => valley.close());
  const minted = await valley.desk.clients.create({
    name: 'pump-app',
    scopes: ['messages:read', 'messages:send'],
    identity: 'own',
  });
  const app = {
    token: minted.token,
    address: minted.addresses?.[0] ?? '',
    inbox: openInbox(valley, minted.token),
  };
  const hill = await startNamed('Hill', air, {
    rooms: { plaza: { members: ['app:owner'] } },
    routes: [{ from: 'mqtt:dev/#', type: 'sensor.reading', to: [`lxmf:${handheld.address}`, app.address] }],
    replicas: defineNotes(cloud),
  });
  stack.defer(() => hill.close());
  const onHill = watch(hill, cyan);
  const inValley = watch(valley, magenta);
  stack.defer(() => {
    onHill.stop();
    inValley.stop();
  });
  const plaza = hill.desk.residents().find(({ party }) => party === 'room:plaza')?.addresses[0] ?? '';
  say('Hill', cyan, `its page is ${paint(`${hill.httpUrl}/`, 1)}, the token ${hill.mintedOwnerToken}`);
  say('Hill', cyan, `its room “plaza” is ${short(plaza)}`);
  say('Valley', magenta, `${valley.httpUrl}/, its app “pump-app” is ${short(app.address)}`);
  say('Ada', yellow, `a handheld, lxmf:${handheld.address.slice(0, 8)}…, in reach of both`);
  return { hill, valley, onHill, inValley, handheld, app, plaza, cloud, air };
}

/** Announces again until everybody was heard: on the air two may speak at once. */
async function introduce({ hill, valley, onHill, inValley, handheld, app, plaza }: Cast): Promise<void> {
  headline('Everybody announces');
  const is = (address: string) => (event: GatewayEvent) => event.peer?.address === address;
  let met = false;
  const meeting = Promise.all([
    onHill.next('hears the app', is(app.address)),
    onHill.next('hears Ada', is(`lxmf:${handheld.address}`)),
    inValley.next('hears the plaza', is(plaza)),
    inValley.next('hears Ada', is(`lxmf:${handheld.address}`)),
  ]).finally(() => {
    met = true;
  });
  while (!met) {
    for (const announce of [() => hill.announce(), () => valley.announce(), () => handheld.announce()]) {
      await announce();
      await Promise.race([meeting, systemClock.sleep(3000)]);
      if (met) {
        break;
      }
    }
  }
  await meeting;
}

async function askThePlaza({ hill, valley, onHill, app, plaza }: Cast): Promise<void> {
  headline('The app in the valley posts over REST; somebody on the hill answers, as on the page');
  const arrives = onHill.next('the question', event => event.message?.from === app.address);
  const { id } = (await call(valley, app.token, '/v1/messages', {
    to: plaza,
    text: 'The pump has stopped. Restart it?',
  })) as { id: string };
  const asked = (await arrives).message;
  const poll = app.inbox.find(message => message.inReplyTo === id);
  await hill.desk.messages.post(onHill.owner, {
    to: 'room:plaza',
    text: 'Yes, restart it.',
    ...(asked && { inReplyTo: asked.id }),
  });
  const answer = await inTime('the answer', poll);
  say('pump-app', green, `its long poll returns: ${paint(answer.text, 1)}, the answer to what it asked`);
}

async function readTheSensor({ hill, app }: Cast, stack: AsyncDisposableStack): Promise<void> {
  headline('A sensor on the hill publishes over MQTT: Ada reads words, the app gets data');
  const sensor = await hill.desk.clients.create({ name: 'greenhouse', scopes: ['mqtt'], rooms: [] });
  const client = await connectAsync(hill.mqttUrl, { username: 'greenhouse', password: sensor.token });
  stack.defer(() => client.endAsync());
  const reading = app.inbox.find(message => message.type === 'sensor.reading');
  const topic = `kos/v1/${hill.facts.id.slice(0, 8)}/dev/greenhouse/state`;
  await client.publishAsync(topic, JSON.stringify({ temperature: 21.5, humidity: 44 }), { qos: 1 });
  const { data } = await inTime('the reading', reading);
  say('pump-app', green, `gets ${paint(JSON.stringify(data), 1)}`);
}

async function writeToTheApp({ inValley, handheld, app }: Cast): Promise<void> {
  headline('Ada writes to the app by the name it announces');
  const got = app.inbox.find(message => message.from === `lxmf:${handheld.address}`);
  const accepted = inValley.next('her message', event => event.message?.from === `lxmf:${handheld.address}`);
  await inTime('her proof', handheld.send(fromHex(app.address.slice(5)), 'Coming down at four.'));
  say('Ada', yellow, 'has the proof that it is on disk in the valley');
  await accepted;
  say('pump-app', green, `reads: ${paint((await inTime('it', got)).text, 1)}`);
}

async function loseTheCloud({ hill, cloud }: Cast): Promise<void> {
  headline('The cloud that keeps the notes goes away; its replica on the hill does not');
  const notes = `${hill.replicasUrl}/notes/notes`;
  const headers = { authorization: 'Bearer field-team', 'content-type': 'application/json' };
  const write = (title: string) => fetch(notes, { method: 'POST', headers, body: JSON.stringify({ title }) });
  const list = async () => {
    const response = await fetch(notes, { headers });
    const { items } = (await response.json()) as { items: { title: string }[] };
    return `${items.map(({ title }) => title).join(', ')}  [${response.headers.get('replica-state')}]`;
  };
  await write('Pump inspected');
  say('cloud', green, `is there, and the list is: ${paint(await list(), 1)}`);
  await cloud.goAway();
  say('cloud', 31, 'is gone');
  const queued = await write('Filter changed');
  say('notes', green, `a note written now: ${queued.status} [${queued.headers.get('replica-state')}]`);
  say('notes', green, `and the list is: ${paint(await list(), 1)}`);
  await cloud.comeBack();
  say('cloud', green, 'is back');
  const delivered = async () => {
    while (cloud.titles().length < 2) {
      await systemClock.sleep(200);
    }
  };
  await inTime('the note in the cloud', delivered());
  say('cloud', green, `has, each once: ${paint(cloud.titles().join(', '), 1)}`);
}

function showAirtime({ air }: Cast): void {
  headline('What it took of the air, of 360 s that the sub-band allows in an hour');
  for (const [name, used] of Object.entries(air.channel.airtime())) {
    say(name, 90, `${(used / 1000).toFixed(1)} s`);
  }
}

async function startNamed(name: string, air: Air, keys: Readonly<Record<string, unknown>>): Promise<Hub> {
  const port = name.toLowerCase();
  const config = loadConfig({
    keys: {
      hub: { name, data: join(folder, port) },
      listen: { http: '127.0.0.1:0', mqtt: '127.0.0.1:0', replicas: '127.0.0.1:0' },
      interfaces: [lora(port)],
      ...keys,
    },
  });
  const parts = { clock: systemClock, random: systemRandom, log: createLog('error') };
  return startHub({ ...parts, config, openSerial: air.open });
}

async function startRadioUser(name: string, port: string, air: Air): Promise<Handheld> {
  const { interfaces } = loadConfig({ keys: { interfaces: [lora(port)] } });
  const radio = (parts: Parameters<typeof createInterface>[1]) =>
    createInterface(interfaces[0]!, { ...parts, open: air.open });
  return startHandheld(name, radio, text => say(name, yellow, `reads: ${paint(text, 1)}`));
}

/** The shipped definition of the notes service, pointed at this cloud. */
function defineNotes(cloud: Cloud): string {
  const definition = readFileSync(join(shipped, 'notes.replica.yaml'), 'utf8');
  const url = `url: ${cloud.url}/v1\n  allowPrivate: true`;
  writeFileSync(join(folder, 'notes.replica.yaml'), definition.replace('url: https://notes.example/v1', url));
  writeFileSync(join(folder, 'notes.openapi.yaml'), readFileSync(join(shipped, 'notes.openapi.yaml')));
  return join(folder, '*.replica.yaml');
}

interface InboxMessage {
  readonly text: string;
  readonly type: string;
  readonly from: string;
  readonly inReplyTo?: string;
  readonly data?: unknown;
}

/** An app's inbox, read as a careful app does: each read goes on from the last and acknowledges it. */
function openInbox(hub: Hub, token: string) {
  const seen: InboxMessage[] = [];
  let cursor = '';
  return {
    /** The first message like this, read already or still to come. */
    async find(wanted: (message: InboxMessage) => boolean): Promise<InboxMessage> {
      for (;;) {
        const found = seen.find(wanted);
        if (found !== undefined) {
          return found;
        }
        const page = (await call(hub, token, `/v1/inbox?wait=20&after=${cursor}`)) as {
          items: { message: InboxMessage }[];
          cursor: string;
        };
        cursor = page.cursor;
        seen.push(...page.items.map(({ message }) => message));
      }
    },
  };
}

async function call(hub: Hub, token: string, path: string, body?: object): Promise<unknown> {
  const response = await fetch(`${hub.httpUrl}${path}`, {
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  });
  return response.json();
}

await main();
