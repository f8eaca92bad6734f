import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { chooseAdapters, isLinkLocal, maxAdapters } from '../../../src/radio/lan/adapters.ts';
import type { AdapterAddress, Adapters } from '../../../src/radio/network.ts';

const v6 = (address: string, scopeid = 2): AdapterAddress => ({
  address,
  family: 'IPv6',
  internal: false,
  scopeid,
});
const lo: AdapterAddress = { address: '::1', family: 'IPv6', internal: true, scopeid: 0 };
const all = { adapters: [], ignore: [] };

describe('the choice of adapters', () => {
  test('is every one with a link-local address that leads somewhere', () => {
    const present: Adapters = {
      lo: [lo],
      eth0: [v6('2001:db8::1'), v6('fe80::1')],
      wg0: [{ address: '10.0.0.1', family: 'IPv4', internal: false }],
      empty: undefined,
    };
    const { use, unused } = chooseAdapters(present, all, new Map());
    assert.deepEqual(use, [{ adapter: 'eth0', address: 'fe80::1', index: 2 }]);
    assert.deepEqual(unused, [
      { adapter: 'lo', reason: 'leads nowhere' },
      { adapter: 'wg0', reason: 'has no link-local IPv6 address' },
      { adapter: 'empty', reason: 'leads nowhere' },
    ]);
  });

  test('follows the names that are wished for and those to ignore, and says which is not there', () => {
    const present: Adapters = {
      eth0: [v6('fe80::1')],
      eth1: [v6('fe80::2')],
      docker0: [v6('fe80::3')],
      'br-1.5': [v6('fe80::4')],
    };
    const wish = { adapters: ['eth*', 'docker0', 'wlan0', 'br-115'], ignore: ['docker*', 'eth1'] };
    const { use, unused } = chooseAdapters(present, wish, new Map());
    assert.deepEqual(
      use.map(({ adapter }) => adapter),
      ['eth0'],
    );
    assert.deepEqual(
      unused.map(({ adapter, reason }) => `${adapter} ${reason}`),
      [
        'eth1 is to be ignored',
        'docker0 is to be ignored',
        'br-1.5 is not among the adapters to use',
        'wlan0 is not there, is down, or has no address',
        'br-115 is not there, is down, or has no address',
      ],
    );
  });

  test('keeps the address in use as long as the adapter has it', () => {
    const inUse = new Map([['eth0', { adapter: 'eth0', address: 'fe80::2', index: 2 }]]);
    const both = chooseAdapters({ eth0: [v6('fe80::1'), v6('fe80::2')] }, all, inUse);
    assert.equal(both.use[0]?.address, 'fe80::2');
    const one = chooseAdapters({ eth0: [v6('fe80::1')] }, all, inUse);
    assert.equal(one.use[0]?.address, 'fe80::1');
  });

  test('is bounded', () => {
    const present = Object.fromEntries(
      Array.from({ length: maxAdapters + 3 }, (_, i) => [`v${i}`, [v6(`fe80::${i}`, i)]]),
    );
    const { use, unused } = chooseAdapters(present, all, new Map());
    assert.equal(use.length, maxAdapters);
    assert.equal(unused.length, 3);
    assert.match(unused[0]?.reason ?? '', /one more than the 32/);
  });

  test('knows a link-local address', () => {
    assert.deepEqual(
      ['fe80::1', 'febf::1', 'FE80::1', 'fec0::1', 'fe8::1', '2001:db8::1', '::ffff:192.0.2.1', ''].map(
        isLinkLocal,
      ),
      [true, true, true, false, false, false, false, false],
    );
  });
});
