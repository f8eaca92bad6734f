import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, mint, WsClient } from '../test/e2e/clients.ts';
import { type MatrixHub, startMatrixHub } from '../test/synapse/hub.ts';
import { startPerson } from '../test/synapse/person.ts';
import { missingSynapse } from '../test/synapse/server.ts';
import { quantile, rowOf } from './figures.ts';
import type { Row } from './row.ts';

const messages = 60;
const starts = 3;
/** ms after which a daemon is at rest. */
const rest = 5000;
const root = join(import.meta.dirname, '..');

const homeserver =
  'the reference is what the homeserver itself takes from one person to another in the same room';
const everything =
  'every bridge on: REST, WebSocket, MQTT, LXMF over TCP, LAN and UDP, Matrix beside a homeserver, two replicas';

/** A room both ways, beside the homeserver alone; and a hub with every bridge on. */
export async function bench(rounds: number): Promise<Row[]> {
  const missing = await missingSynapse();
  if (missing !== false) {
    console.error(`  ${missing}`);
    return [];
  }
  await using hub = await startMatrixHub({
    config: {
      interfaces: [
        { name: 'server', kind: 'tcp-server', host: '127.0.0.1', port: 0 },
        { name: 'udp', kind: 'udp', listen: '127.0.0.1:0', forward: '127.0.0.1:9' },
        { name: 'lan', kind: 'lan' },
      ],
      rooms: { plaza: { members: ['app:board'] } },
      replicas: join(root, 'replicas', '*.replica.yaml'),
    },
  });
  await hub.joined();
  await using alice = await startPerson(hub.synapse, 'alice');
  await using bob = await startPerson(hub.synapse, 'bob');
  const room = await alice.join('#_kos_plaza:home.test');
  await bob.join('#_kos_plaza:home.test');
  const token = await mint(hub.daemon(), 'board');
  const app = new WsClient();
  await app.connect(hub.daemon(), token, 'board');
  const alone: number[] = [];
  const inward: number[] = [];
  const outward: number[] = [];
  for (let round = 0; round < rounds; round++) {
    alone.push(
      await measure(
        `alone ${round}`,
        text => alice.send(room, text),
        text => bob.text(text),
      ),
    );
    inward.push(
      await measure(
        `in ${round}`,
        text => alice.send(room, text),
        text => eventually(text, () => app.seen.find(message => message.text === text)),
      ),
    );
    outward.push(
      await measure(
        `out ${round}`,
        text => post(hub, token, text),
        text => bob.text(text),
      ),
    );
  }
  app.drop();
  return [
    rowOf('Matrix to an app, p50', 'ms', { ours: inward, reference: alone }, { note: homeserver }),
    rowOf('an app to Matrix, p50', 'ms', { ours: outward, reference: alone }, { note: homeserver }),
    ...(await startRows(hub)),
  ];
}

/** ms from sending to hearing, one after the other. */
async function measure(
  label: string,
  send: (text: string) => Promise<unknown>,
  heard: (text: string) => Promise<unknown>,
): Promise<number> {
  const each: number[] = [];
  for (let sent = 0; sent < messages; sent++) {
    const text = `${label} ${sent}`;
    const began = performance.now();
    await Promise.all([heard(text), send(text)]);
    each.push(performance.now() - began);
  }
  return quantile(each, 0.5);
}

async function post(hub: MatrixHub, token: string, text: string): Promise<void> {
  await hub.daemon().call('POST', '/v1/messages', { token, body: { to: 'room:plaza', text } });
}

async function startRows(hub: MatrixHub): Promise<Row[]> {
  const took: number[] = [];
  const memory: number[] = [];
  for (let start = 0; start < starts; start++) {
    await hub.daemon().stop();
    const daemon = await hub.restart();
    took.push(daemon.startedIn);
    await hub.joined();
    await sleep(rest);
    const status = await readFile(`/proc/${daemon.process.pid}/status`, 'utf8');
    memory.push((Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024) / 1e6);
  }
  return [
    rowOf(
      'start with every bridge, second: exec to ready',
      'ms',
      { ours: took },
      { bound: { atMost: 1200 }, note: everything },
    ),
    rowOf(
      'memory at rest with every bridge (VmRSS after 5 s)',
      'MB',
      { ours: memory },
      { bound: { atMost: 190 }, note: everything },
    ),
  ];
}
