import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type InterfaceConfig, interfaceSchema } from '../../src/radio/config.ts';
import type { LiveInterface } from '../../src/start/live-interfaces.ts';
import { createNodeStatus } from '../../src/start/node-facts.ts';
import { Air, settled, TestNode } from '../mesh/reticulum/air.ts';
import { ManualClock } from '../sim/clock.ts';

const entries = [
  { name: 'uplink', kind: 'tcp-client', host: 'hub.example', port: 4242 },
  { name: 'six', kind: 'tcp-client', host: '2001:db8::1', port: 4242 },
  { name: 'server', kind: 'tcp-server', port: 4242 },
  { name: 'lan', kind: 'lan' },
  { name: 'udp', kind: 'udp', listen: '127.0.0.1:4243', forward: '127.0.0.1:4244' },
  { name: 'lora', kind: 'rnode', region: 'eu868-p' },
  { name: 'rnsd', kind: 'shared' },
];

/** A node whose interfaces are stations by these names, up. */
async function bench(names: readonly string[]) {
  const clock = new ManualClock();
  const node = new TestNode({ clock, forwards: true, sharedInstance: true });
  const air = new Air();
  for (const name of names) {
    node.use(air.join(name));
  }
  await settled();
  const list = entries.map(entry => ({ config: interfaceSchema.parse(entry) as InterfaceConfig }));
  const status = createNodeStatus({
    clock,
    transport: node.transport,
    interfaces: { list: () => list as unknown as readonly LiveInterface[] },
    forwards: true,
    sharedPlace: { name: 'default' },
  });
  return { clock, node, air, status };
}

test('interfaces are called as the reference would call them, those that were found too', async () => {
  const { status } = await bench([]);
  const titles = {
    uplink: 'TCPInterface[uplink/hub.example:4242]',
    six: 'TCPInterface[six/[2001:db8::1]:4242]',
    server: 'TCPServerInterface[server/127.0.0.1:4242]',
    'server/192.0.2.1:5000': 'TCPInterface[Client on server/192.0.2.1:5000]',
    lan: 'AutoInterface[lan]',
    'lan/eth0/fe80::1': 'AutoInterfacePeer[eth0/fe80::1]',
    udp: 'UDPInterface[udp/127.0.0.1:4243]',
    lora: 'RNodeInterface[lora]',
    rnsd: 'SharedInterface[rnsd/rns/default]',
    'shared-instance': 'Shared Instance[rns/default]',
    'shared-instance/0a1b2c3d-1': 'LocalInterface[rns/default]',
    'of-a-year-ago': 'Interface[of-a-year-ago]',
  };
  for (const [name, title] of Object.entries(titles)) {
    assert.equal(status.titleOf(name), title);
  }
});

test('a status has what each interface carried and how fast since it was last asked for', async () => {
  const { clock, node, air, status } = await bench(['uplink', 'server/192.0.2.1:5000']);
  assert.equal(status.facts().interfaces[0]?.speed.tx, 0);
  const { destination } = node.serve();
  await node.transport.announce(destination);
  await settled();
  await clock.advance(2000);
  const { interfaces, uptime, transportId } = status.facts();
  const [uplink, found] = interfaces;
  const { length } = air.packets[0]!;
  assert.equal(uplink?.traffic.txAnnounceBytes, length);
  assert.equal(uplink?.speed.tx, (length * 8) / 2);
  assert.equal(uplink?.online, true);
  assert.equal(uplink?.parent, undefined);
  assert.equal(found?.parent, 'TCPServerInterface[server/127.0.0.1:4242]');
  assert.equal(uptime, 2000);
  assert.deepEqual(transportId, node.transport.identity.hash);
});

test('a status tells since when an interface brings too much, and a listener over how many of its connections', async () => {
  const { clock, node, air, status } = await bench(['server/192.0.2.1:5000', 'uplink']);
  node.use(Object.assign(new Air().join('server'), { listens: true }));
  await clock.advance(1000);
  const began = clock.now();
  const other = new TestNode({ clock });
  other.use(air.join('there'));
  await settled();
  for (let at = 0; at < 12; at++) {
    await other.transport.announce(other.serve({ aspects: [String(at)] }).destination);
    await settled();
  }
  const burstOf = (wanted: string) =>
    status.facts().interfaces.find(({ name }) => name === wanted)?.announceBurst;
  assert.deepEqual(burstOf('server/192.0.2.1:5000'), { since: began });
  assert.deepEqual(burstOf('server'), { since: began, count: 1 });
  assert.equal(status.facts().interfaces[0]?.pathRequestBurst, undefined);
  await clock.advance(20_000);
  assert.equal(burstOf('server'), undefined);
});
