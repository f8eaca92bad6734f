import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { loadConfig } from './config.ts';
import { startHandheld } from './demo/handheld.ts';
import type { Client, GatewayEvent } from './gateway/desk.ts';
import { fromHex } from './lib/bytes.ts';
import { systemClock } from './lib/clock.ts';
import { createLog } from './lib/log.ts';
import { systemRandom } from './lib/random.ts';
import { type Hub, startHub } from './start/hub.ts';

/*
 * Two hubs, a handheld and a sensor in one terminal, and the messages that cross between them. Everything
 * is the real program on loopback; only the handheld's owner is made up.
 */

/** Longest wait for any one step, ms: a demonstration that hangs shows nothing. */
const patience = 20_000;

const folder = mkdtempSync(join(tmpdir(), 'kos-demo-'));
const colours = process.stdout.isTTY === true;

function paint(text: string, colour: number): string {
  return colours ? `\u001b[${colour}m${text}\u001b[0m` : text;
}

function say(who: string, colour: number, text: string): void {
  const time = new Date().toISOString().slice(11, 23);
  process.stdout.write(`${paint(time, 90)}  ${paint(who.padEnd(11), colour)}  ${text}\n`);
}

function headline(text: string): void {
  process.stdout.write(`\n${paint(text, 1)}\n`);
}

async function startNamed(name: string, folderName: string, uplink?: number): Promise<Hub> {
  const config = loadConfig({
    keys: {
      hub: { name, data: join(folder, folderName) },
      listen: { http: '127.0.0.1:0', mqtt: '127.0.0.1:0' },
      interfaces: [
        { name: 'server', kind: 'tcp-server', port: 0 },
        ...(uplink === undefined
          ? []
          : [{ name: 'uplink', kind: 'tcp-client', host: '127.0.0.1', port: uplink }]),
      ],
    },
  });
  return startHub({ config, clock: systemClock, random: systemRandom, log: createLog('error') });
}

function meshPort(hub: Hub): number {
  const address = hub.interfaceAddresses().server ?? '';
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

/** Prints what happens in a hub, as its owner sees it, until the signal; and lets a step wait for an event. */
function watch(hub: Hub, colour: number) {
  const { desk } = hub;
  const owner = desk.clients.list().find(client => client.name === 'owner') as Client;
  const waiting = new Set<(event: GatewayEvent) => void>();
  let cursor = desk.events.cursor;
  const stop = desk.events.onCommit(() => {
    const page = desk.events.read(owner, cursor);
    cursor = page.cursor;
    for (const event of page.items) {
      show(hub.facts.name, colour, event);
      for (const wake of [...waiting]) {
        wake(event);
      }
    }
  });
  return {
    owner,
    stop,
    async next(what: string, wanted: (event: GatewayEvent) => boolean): Promise<GatewayEvent> {
      const { promise, resolve } = Promise.withResolvers<GatewayEvent | undefined>();
      const wake = (event: GatewayEvent) => wanted(event) && resolve(event);
      waiting.add(wake);
      const cancel = systemClock.after(patience, () => resolve(undefined));
      const keepAlive = setTimeout(() => {}, patience);
      const event = await promise;
      waiting.delete(wake);
      cancel();
      clearTimeout(keepAlive);
      if (event === undefined) {
        say(hub.facts.name, 31, `${what}: did not happen within ${patience / 1000} s`);
        process.exit(1);
      }
      return event;
    },
  };
}

function show(who: string, colour: number, event: GatewayEvent): void {
  if (event.kind === 'message.accepted' && event.message !== undefined) {
    const { type, from, to, text, inReplyTo } = event.message;
    const reply = inReplyTo === undefined ? '' : ' (an answer)';
    say(who, colour, `accepted ${type} ${short(from)} → ${short(to)}${reply}: ${paint(text, 1)}`);
  }
  if (event.kind === 'delivery.changed' && event.delivery !== undefined) {
    const { state, to, reason } = event.delivery;
    say(who, colour, `  to ${short(to)}: ${state}${reason === undefined ? '' : ` (${reason})`}`);
  }
  if (event.kind === 'peer.seen' && event.peer !== undefined) {
    say(who, colour, `heard ${short(event.peer.address)} “${event.peer.name ?? ''}”`);
  }
}

function short(address: string): string {
  return address.replace(/([0-9a-f]{8})[0-9a-f]{24}/, '$1…');
}

/** The demonstration's entry. */
export async function main(): Promise<void> {
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  headline('Two hubs start; Mill Lane connects to Elm Street');
  const elm = await startNamed('Elm Street', 'elm');
  stack.defer(() => elm.close());
  const mill = await startNamed('Mill Lane', 'mill', meshPort(elm));
  stack.defer(() => mill.close());
  for (const hub of [elm, mill]) {
    say(hub.facts.name, hub === elm ? 36 : 35, `${hub.httpUrl}  ${hub.mqttUrl}  lxmf:${hub.facts.lxmf}`);
  }
  const atElm = watch(elm, 36);
  const atMill = watch(mill, 35);
  stack.defer(() => {
    atElm.stop();
    atMill.stop();
  });

  const handheld = await startHandheld('Ada', [meshPort(elm), meshPort(mill)], text => {
    say('Ada', 33, `reads: ${paint(text, 1)}`);
  });
  stack.use(handheld);
  say('Ada', 33, `a handheld, lxmf:${handheld.address}, in reach of both`);
  const met = Promise.all([
    atElm.next('Elm Street hears Mill Lane', event => event.peer?.address === `lxmf:${mill.facts.lxmf}`),
    atMill.next('Mill Lane hears Elm Street', event => event.peer?.address === `lxmf:${elm.facts.lxmf}`),
    atElm.next('Elm Street hears Ada', event => event.peer?.address === `lxmf:${handheld.address}`),
  ]);
  headline('Everybody announces');
  await settleAnnounces(elm, mill, handheld.announce);
  await met;

  headline('An app at Mill Lane posts over REST, and Elm Street answers it');
  const app = await mill.desk.clients.create({ name: 'app', scopes: ['messages:read', 'messages:send'] });
  const question = atElm.next('the question arrives', event => event.kind === 'message.accepted');
  await fetch(`${mill.httpUrl}/v1/messages`, {
    method: 'POST',
    headers: { authorization: `Bearer ${app.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ to: `lxmf:${elm.facts.lxmf}`, text: 'Is the well open today?' }),
  });
  const asked = (await question).message;
  const poll = fetch(`${mill.httpUrl}/v1/inbox?wait=20`, {
    headers: { authorization: `Bearer ${app.token}` },
  });
  if (asked !== undefined) {
    await elm.desk.messages.post(atElm.owner, {
      to: asked.from,
      text: 'Yes, until sunset.',
      inReplyTo: asked.id,
    });
  }
  const { items } = (await (await poll).json()) as { items: { message: { text: string } }[] };
  say('app', 32, `its long poll returns: ${paint(items[0]?.message.text ?? 'nothing', 1)}`);

  headline('A sensor publishes over MQTT, and its reading goes to Ada');
  const sensor = await elm.desk.clients.create({
    name: 'greenhouse',
    scopes: ['messages:send', 'mqtt'],
    rooms: [],
  });
  const reading = atElm.next('the reading', event => event.message?.type === 'sensor.reading');
  const client = await connectAsync(elm.mqttUrl, { username: 'greenhouse', password: sensor.token });
  stack.defer(() => client.endAsync());
  const base = `kos/v1/${elm.facts.id.slice(0, 8)}`;
  await client.publishAsync(`${base}/dev/greenhouse/state`, JSON.stringify({ t: 21.5, h: 44 }), { qos: 1 });
  const toAda = atElm.next(
    'Ada has the reading',
    event => event.delivery?.to === `lxmf:${handheld.address}` && event.delivery.state === 'delivered',
  );
  const text = (await reading).message?.text ?? '';
  await client.publishAsync(`${base}/mesh/${handheld.address}/tx`, text, { qos: 1 });
  await toAda;

  headline('Ada writes to Mill Lane');
  const fromAda = atMill.next('her message', event => event.message?.from === `lxmf:${handheld.address}`);
  await handheld.send(fromHex(mill.facts.lxmf), 'Coming down the hill at four.');
  say('Ada', 33, 'has the proof that it is on disk there');
  await fromAda;

  headline('That was it: every line above is a commit, and every “delivered” a proof');
}

/** Interfaces need a moment after they come up; a second round reaches whoever was late. */
async function settleAnnounces(elm: Hub, mill: Hub, handheld: () => Promise<boolean>): Promise<void> {
  for (let round = 0; round < 2; round++) {
    await systemClock.sleep(400);
    await Promise.all([elm.announce(), mill.announce(), handheld()]);
  }
}

await main();
