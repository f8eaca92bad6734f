import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8 } from '../../../src/lib/bytes.ts';
import { decode, encode, Float, type MsgpackValue } from '../../../src/lib/msgpack.ts';
import { AccessCode } from '../../../src/mesh/reticulum/access-code.ts';
import { interfaceModes } from '../../../src/mesh/reticulum/interface-policy.ts';
import {
  type InterfaceFacts,
  interfaceHash,
  interfaceStats,
  modeCode,
  pathStats,
  rateStats,
} from '../../../src/mesh/reticulum/interface-stats.ts';
import { Speeds, standing } from '../../../src/mesh/reticulum/speeds.ts';
import { TrafficCount } from '../../../src/mesh/reticulum/traffic.ts';
import { ManualClock } from '../../sim/clock.ts';
import { neighbours, settled } from './air.ts';

const facts = (more: Partial<InterfaceFacts> = {}): InterfaceFacts => ({
  name: 'uplink',
  title: 'TCPInterface[uplink/127.0.0.1:4242]',
  type: 'TCPClientInterface',
  online: true,
  bitrate: 10_000_000,
  mtu: 262_144,
  policy: {},
  traffic: new TrafficCount().now,
  speed: standing,
  ...more,
});

const asMap = (value: MsgpackValue | undefined) => {
  assert.ok(value instanceof Map);
  return value as ReadonlyMap<MsgpackValue, MsgpackValue>;
};

/** Keys without which rnstatus of RNS 1.5.7 stops. */
const needed = [
  ...['name', 'status', 'mode', 'clients', 'mtu', 'rxb', 'txb', 'rxs', 'txs', 'hash', 'type'],
  ...[
    'arxs',
    'atxs',
    'prxs',
    'ptxs',
    'arxc',
    'atxc',
    'prxc',
    'ptxc',
    'txdrp',
    'txdrb',
    'txbuffered',
    'txstalled',
  ],
];

test('a status has every key that rnstatus stops without, and survives the wire', () => {
  const accessCode = new AccessCode({ networkName: 'elm', passphrase: 'street', size: 16 });
  const stats = asMap(
    interfaceStats({
      interfaces: [
        facts({ policy: { mode: 'gateway', accessCode }, clients: 1 }),
        facts({ title: 'TCPInterface[Client on uplink]', parent: 'TCPInterface[uplink/127.0.0.1:4242]' }),
      ],
      transportId: new Uint8Array(16),
      uptime: 5000,
    }),
  );
  const back = asMap(decode(encode(stats)));
  const [first, second] = (back.get('interfaces') as MsgpackValue[]).map(asMap);
  assert.deepEqual(
    needed.filter(key => !first?.has(key)),
    [],
  );
  assert.equal(first?.get('mode'), 6);
  assert.equal(first.get('ifac_netname'), 'elm');
  assert.equal((first.get('ifac_signature') as Uint8Array).length, 64);
  assert.deepEqual(
    second?.get('parent_interface_hash'),
    interfaceHash('TCPInterface[uplink/127.0.0.1:4242]'),
  );
  assert.deepEqual(back.get('transport_uptime'), new Float(5));
  assert.equal(asMap(interfaceStats({ interfaces: [], uptime: 0 })).has('transport_id'), false);
});

test('what peers carry is counted once, with the interface that found them', () => {
  const traffic = { ...new TrafficCount().now, rxBytes: 100, txBytes: 10 };
  const stats = asMap(
    interfaceStats({ interfaces: [facts({ traffic }), facts({ traffic, parent: 'x' })], uptime: 0 }),
  );
  assert.deepEqual([stats.get('rxb'), stats.get('txb')], [100, 10]);
});

test('modes have the numbers of the reference', () => {
  assert.deepEqual(interfaceModes.map(modeCode), [1, 2, 3, 4, 5, 6, 7]);
  assert.equal(modeCode(undefined), 1);
});

test('announces and path requests are told from other packets, and what is of another network apart', async () => {
  const { a, b } = neighbours();
  const { destination } = a.serve();
  await a.transport.announce(destination);
  void b.transport.requestPath(new Uint8Array(16)).catch(() => {});
  await settled();
  const [of] = [...b.transport.interfaces()];
  const { rxAnnounces, rxPackets, txPathRequests, txPackets, rxAnnounceBytes, rxBytes } = of!.traffic;
  assert.deepEqual([rxAnnounces, rxPackets, txPathRequests, txPackets], [1, 1, 1, 1]);
  assert.equal(rxAnnounceBytes, rxBytes);
  const count = new TrafficCount();
  count.received(utf8('sealed'), undefined);
  assert.equal(count.now.refused, 1);
});

test('a speed is what was counted since it was asked for last, a second ago at least', async () => {
  const clock = new ManualClock();
  const speeds = new Speeds(clock);
  const of = {};
  const traffic = (rxBytes: number) => ({ ...new TrafficCount().now, rxBytes });
  assert.equal(speeds.of(of, traffic(1000)).rx, 0);
  await clock.advance(2000);
  assert.equal(speeds.of(of, traffic(1500)).rx, 2000);
  await clock.advance(500);
  assert.equal(speeds.of(of, traffic(9999)).rx, 2000);
});

test('paths and rates are given whole, or those of one destination, or near ones', () => {
  const path = (digit: number, hops: number) => ({
    destinationHash: new Uint8Array(16).fill(digit),
    hops,
    nextHop: new Uint8Array(16),
    interfaceName: 'uplink',
    heard: 1000,
    expires: 2000,
    packetHash: new Uint8Array(32),
  });
  const paths = [path(1, 1), path(2, 3)];
  const title = (name: string) => `TCPInterface[${name}]`;
  const hops = (list: MsgpackValue[]) => list.map(one => asMap(one).get('hops'));
  assert.deepEqual(hops(pathStats(paths, title)), [1, 3]);
  assert.deepEqual(hops(pathStats(paths, title, { maxHops: 2 })), [1]);
  assert.deepEqual(hops(pathStats(paths, title, { destination: new Uint8Array(16).fill(2) })), [3]);
  assert.equal(asMap(pathStats(paths, title)[0]).get('interface'), 'TCPInterface[uplink]');
  const rate = {
    destinationHash: new Uint8Array(16),
    last: 1000,
    violations: 2,
    blockedUntil: 0,
    heard: [1_760_000_000_000],
  };
  assert.equal(asMap(rateStats([rate])[0]).get('rate_violations'), 2);
  assert.deepEqual(rateStats([rate], new Uint8Array(16).fill(1)), []);
});

test('bursts are told in seconds, as rnstatus counts them', () => {
  const burst = { since: 1_700_000_000_500, count: 3 };
  const stats = asMap(interfaceStats({ interfaces: [facts({ announceBurst: burst })], uptime: 1 }));
  const [one] = (stats.get('interfaces') as MsgpackValue[]).map(asMap);
  assert.deepEqual(
    ['burst_active', 'burst_activated', 'burst_count', 'pr_burst_active', 'pr_burst_count'].map(key =>
      one?.get(key),
    ),
    [true, new Float(1_700_000_000.5), 3, false, 0],
  );
});
