import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../../src/lib/bytes.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { endpointKey, refusalOf, versionOf } from '../../../src/mesh/reticulum/autoconnect.ts';
import type { DiscoveredInterface } from '../../../src/mesh/reticulum/discovered.ts';
import {
  cleanName,
  decodeDiscovery,
  decodeNotice,
  discoveryKey,
  discoveryRounds,
  encodeNotice,
  type InterfaceNotice,
  shownName,
  splitStamped,
} from '../../../src/mesh/reticulum/discovery-wire.ts';
import { sha256 } from '../../../src/mesh/reticulum/packet.ts';
import {
  isHostname,
  isIpAddress,
  isOutOfReach,
  isReachable,
} from '../../../src/mesh/reticulum/reachable-on.ts';
import { searchStamp, stampValue, workBlock } from '../../../src/mesh/reticulum/stamp.ts';
import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';
import { bytesOf, hexOf, vectors } from './vectors.ts';

interface Told {
  readonly type: string;
  readonly impl_name: string;
  readonly version: string;
  readonly transport: boolean;
  readonly name: string;
  readonly value: number;
  readonly transport_id: string;
  readonly latitude: number | null;
  readonly height: number | null;
  readonly reachable_on?: string;
  readonly port?: number;
  readonly frequency?: number;
  readonly sf?: number;
  readonly cr?: number;
  readonly modulation?: string;
  readonly channel?: number;
  readonly ifac_netname?: string;
  readonly ifac_netkey?: string;
  readonly operator_lxmf_address?: string;
  readonly discovery_hash: string;
}

const refusals = ['wire/truncated', 'wire/malformed', 'wire/unsupported'] as const;
const notices = vectors<Told>('discovery').map(one => ({ ...one, bytes: bytesOf(one.bytes) }));
const partsOf = (appData: Uint8Array) => splitStamped(decodeDiscovery(appData).payload);

describe('an announced interface', () => {
  for (const { name, bytes, value } of notices) {
    test(`${name} is read as the reference reads it`, () => {
      const { facts, stamp } = partsOf(bytes);
      const notice = decodeNotice(facts);
      const { ifac_netname, ifac_netkey } = value;
      assert.deepEqual(
        {
          type: notice.type,
          impl_name: notice.implementation,
          version: notice.version,
          transport: notice.transport,
          name: shownName(notice),
          transport_id: toHex(notice.transportId),
          places: [notice.latitude ?? null, notice.height ?? null],
          reach: [notice.reachableOn, notice.port],
          radio: [notice.frequency, notice.spreadingFactor, notice.codingRate],
          wave: [notice.modulation, notice.channel],
          code: [notice.networkName, notice.passphrase],
          operator: hexOf(notice.operator) ?? undefined,
          key: toHex(discoveryKey(notice)),
          value: stampValue(workBlock(sha256(facts), discoveryRounds), stamp),
        },
        {
          type: value.type,
          impl_name: value.impl_name,
          version: value.version,
          transport: value.transport,
          name: value.name,
          transport_id: value.transport_id,
          places: [value.latitude, value.height],
          reach: [value.reachable_on, value.port],
          radio: [value.frequency, value.sf, value.cr],
          wave: [value.modulation, value.channel],
          code: [ifac_netname, ifac_netkey],
          operator: value.operator_lxmf_address,
          key: value.discovery_hash,
          value: value.value,
        },
      );
    });

    test(`${name} is refused where it is cut short`, () => {
      const { facts } = partsOf(bytes);
      for (let length = 0; length < facts.length; length++) {
        assert.throws(
          () => decodeNotice(facts.subarray(0, length)),
          error => isGatewayError(error, ...refusals),
        );
      }
    });
  }

  test('is written byte for byte as the reference writes it', () => {
    for (const { bytes, name } of notices.slice(0, 4)) {
      const { facts } = partsOf(bytes);
      assert.equal(toHex(encodeNotice(decodeNotice(facts))), toHex(facts), name);
    }
  });

  test('is read or refused whatever was changed in it', () => {
    const all = notices.map(({ bytes }) => partsOf(bytes).facts);
    const one = fc.record({
      of: fc.nat(all.length - 1),
      at: fc.nat(200),
      to: fc.nat(255),
      more: fc.uint8Array({ maxLength: 4 }),
    });
    fc.assert(
      fc.property(one, ({ of, at, to, more }) => {
        const bytes = new Uint8Array([...(all[of] ?? []), ...more]);
        bytes[at % bytes.length] = to;
        try {
          const notice = decodeNotice(bytes);
          assert.ok(notice.name === undefined || /^[\x20-\x7e]{1,64}$/.test(notice.name));
        } catch (error) {
          assert.ok(isGatewayError(error, ...refusals), String(error));
        }
      }),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), bytes => {
        for (const read of [decodeNotice, partsOf]) {
          try {
            read(bytes);
          } catch (error) {
            assert.ok(isGatewayError(error, ...refusals));
          }
        }
      }),
    );
  });

  test('has a name that can be shown anywhere', () => {
    for (const { name, bytes, value } of vectors<{ clean: string | null }>('discovery-names')) {
      assert.equal(cleanName(Buffer.from(bytes, 'hex').toString()), value.clean ?? undefined, name);
    }
  });

  test('is reachable where the reference says so, but for zones, which mean nothing elsewhere', () => {
    const places = vectors<{ address: boolean; hostname: boolean; reachable: boolean }>('discovery-places');
    for (const { name, value } of places.filter(one => !one.name.includes('%'))) {
      assert.deepEqual(
        { address: isIpAddress(name), hostname: isHostname(name), reachable: isReachable(name) },
        value,
        name,
      );
    }
    assert.equal(isReachable('fe80::1%eth0'), false);
  });
});

describe('a stamp', () => {
  test('is found with the work it is to show, a turn at a time', async () => {
    const clock = new ManualClock();
    const block = workBlock(sha256(new Uint8Array(1)), discoveryRounds);
    const search = { clock, random: seededRandom(4), signal: new AbortController().signal };
    const looking = searchStamp(block, 12, search);
    for (let turn = 0; turn < 40; turn++) {
      await clock.advance(1);
    }
    assert.ok(stampValue(block, await looking) >= 12);
    assert.equal(stampValue(block, new Uint8Array(31)), 0);
  });

  test('is not looked for any longer than wanted', async () => {
    const clock = new ManualClock();
    const stop = new AbortController();
    const block = workBlock(new Uint8Array(1), 1);
    const looking = searchStamp(block, 200, { clock, random: seededRandom(4), signal: stop.signal });
    stop.abort(new RangeError('enough'));
    await assert.rejects(looking, /enough/);
  });
});

describe('a discovered interface', () => {
  const found = (notice: Partial<InterfaceNotice> = {}): DiscoveredInterface => ({
    key: '',
    notice: {
      type: 'BackboneInterface',
      transport: true,
      transportId: new Uint8Array(16),
      implementation: 'RNS',
      version: '1.5.7',
      name: 'elm',
      reachableOn: 'elm.example',
      port: 4242,
      ...notice,
    },
    facts: new Uint8Array(0),
    networkId: new Uint8Array(16),
    value: 16,
    hops: 1,
    discovered: 0,
    heard: 0,
    heardCount: 0,
  });
  const refusal = (notice: Partial<InterfaceNotice>, unverified = false, privateAddresses = false) =>
    refusalOf(found(notice), { unverified, privateAddresses });

  test('is connected to by itself where the reference would be, or one of ours', () => {
    assert.equal(refusal({}), undefined);
    assert.equal(refusal({ version: '1.5.2' }), undefined);
    assert.equal(refusal({ implementation: 'kOS', version: '0.1.0' }), undefined);
    assert.equal(refusal({ implementation: 'other', version: '9' }, true), undefined);
    const wrong: Partial<InterfaceNotice>[] = [
      { type: 'TCPServerInterface' },
      { transport: false },
      { version: '1.5.1' },
      { version: undefined },
      { version: 'new' },
      { implementation: undefined },
      { implementation: 'other' },
      { reachableOn: undefined },
    ];
    for (const notice of wrong) {
      assert.notEqual(refusal(notice), undefined, JSON.stringify(notice));
    }
  });

  test('is not connected to where it leads back here, or where nothing leads', () => {
    for (const place of [
      ...[
        '127.0.0.1',
        '127.9.9.9',
        '0.0.0.0',
        '224.0.0.1',
        '255.255.255.255',
        'localhost',
        'LOCALHOST.',
        'a.localhost',
      ],
      ...['::1', '::', 'ff02::1', 'fe80::1', '::ffff:127.0.0.1', '200::1', '3ff::1', 'x.onion', 'X.ONION.'],
    ]) {
      assert.equal(isOutOfReach(place), true, place);
      assert.notEqual(refusal({ reachableOn: place }, true), undefined, place);
    }
    for (const place of [
      '192.0.2.1',
      'elm.example',
      '2001:db8::1',
      '::ffff:192.0.2.1',
      '400::1',
      '10.0.0.1',
    ]) {
      assert.equal(isOutOfReach(place), false, place);
    }
  });

  test('is not connected to on a private network unless that is wanted', () => {
    for (const place of [
      ...[
        '10.0.0.1',
        '172.16.0.1',
        '172.31.255.1',
        '192.168.1.1',
        '100.64.0.1',
        'fd00::1',
        '::ffff:10.0.0.1',
      ],
    ]) {
      assert.notEqual(refusal({ reachableOn: place }), undefined, place);
      assert.equal(refusal({ reachableOn: place }, false, true), undefined, place);
    }
    for (const place of ['172.32.0.1', '100.128.0.1', '192.0.2.1', '2001:db8::1', '::ffff:192.0.2.1']) {
      assert.equal(refusal({ reachableOn: place }), undefined, place);
    }
  });

  test('is told from others by where it is', () => {
    assert.equal(endpointKey(found()), endpointKey(found({ name: 'other' })));
    assert.notEqual(endpointKey(found()), endpointKey(found({ port: 1 })));
    assert.deepEqual(versionOf('1.5.7rc1'), [1, 5, 7]);
    assert.equal(versionOf('x.1'), undefined);
  });
});
