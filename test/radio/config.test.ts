import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { silentLog } from '../../src/lib/log.ts';
import { type InterfaceConfig, interfaceSchema, policyOf } from '../../src/radio/config.ts';
import { createInterface } from '../../src/start/interfaces.ts';
import { MemoryStorage } from '../mesh/reticulum/memory-storage.ts';

const parts = () => ({
  clock: systemClock,
  counters: new Counters(),
  log: silentLog,
  storage: new MemoryStorage(),
});

const mistakes = (entry: object) =>
  interfaceSchema.safeParse(entry).error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);

describe('the configuration of an interface', () => {
  test('of a LAN needs a name only, and is the reference’s', () => {
    const config = interfaceSchema.parse({ name: 'lan', kind: 'lan' }) as InterfaceConfig;
    assert.partialDeepStrictEqual(config, {
      group: 'reticulum',
      adapters: [],
      ignore: [],
      discoveryPort: 29_716,
      dataPort: 42_671,
      scope: 'link',
      multicastAddressType: 'temporary',
      maxPeers: 256,
    });
    const lan = createInterface(config, parts());
    assert.deepEqual([lan.name, lan.mtu, lan.bitrate, lan.listens], ['lan', 1196, 10_000_000, true]);
  });

  test('of UDP needs to know where from and where to', () => {
    const config = interfaceSchema.parse({
      name: 'udp',
      kind: 'udp',
      listen: '[::1]:4243',
      forward: 'host.example:4244',
    }) as InterfaceConfig;
    const udp = createInterface(config, parts());
    assert.deepEqual([udp.name, udp.mtu, udp.bitrate, udp.listens], ['udp', 1064, 10_000_000, undefined]);
  });

  test('says what may come in and go out of it, in seconds and times a second', () => {
    const config = interfaceSchema.parse({
      name: 'server',
      kind: 'tcp-server',
      port: 0,
      ingress: { announceRate: 20, penalty: 30, held: 10 },
      egress: { limited: true },
    }) as InterfaceConfig;
    const { ingress, egress } = policyOf(config);
    assert.deepEqual(ingress, { limited: true, announceRate: 20, held: 10, penalty: 30_000 });
    assert.deepEqual(egress, { limited: true });
    assert.equal(policyOf({ ...config, ingress: undefined }).ingress, undefined);
    assert.deepEqual(
      mistakes({ name: 's', kind: 'tcp-server', port: 0, ingress: { announceRate: 0, hold: 1 } }),
      ['ingress.announceRate: Too small: expected number to be >=0.01', 'ingress: Unrecognized key: "hold"'],
    );
  });

  test('says what is wrong with it', () => {
    assert.deepEqual(
      mistakes({
        name: 'lan',
        kind: 'lan',
        discoveryPort: 65_535,
        adapters: ['eth 0'],
        scope: 'moon',
        peers: 1,
      }),
      [
        'adapters.0: the name of a network adapter, such as eth0; * stands for anything',
        'discoveryPort: at most 65534: the one above it is used as well',
        'scope: Invalid option: expected one of "link"|"admin"|"site"|"organisation"|"global"',
        ': Unrecognized key: "peers"',
      ],
    );
    assert.deepEqual(mistakes({ name: 'udp', kind: 'udp', listen: '::1:4', forward: '192.0.2.1:0' }), [
      'listen: host:port, such as 127.0.0.1:4243; an IPv6 address in brackets',
      'forward: a port from 1',
    ]);
    assert.deepEqual(mistakes({ name: 'udp', kind: 'udp', listen: 'a:70000', forward: 'b:1' }), [
      'listen: port at most 65535',
    ]);
  });
});
