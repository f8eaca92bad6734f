import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { planRadio, shippedRegions } from '../../src/radio/region.ts';

const choice = {
  region: 'eu868-p',
  bandwidth: 125_000,
  spreadingFactor: 8,
  codingRate: 5,
  antennaGain: 2.15,
};
const plan = (more: object) => planRadio({ ...choice, ...more }, shippedRegions);
const refusal = (more: object) => {
  const planned = plan(more);
  assert.ok(Array.isArray(planned), 'accepted');
  return planned.map(({ pointer, detail }) => `${pointer}: ${detail}`);
};

describe('a region', () => {
  test('gives what is not set: frequency, power and airtime', () => {
    const planned = plan({});
    assert.ok(!Array.isArray(planned));
    const { region, ...rest } = planned;
    assert.deepEqual(rest, {
      settings: { frequency: 869_525_000, bandwidth: 125_000, spreadingFactor: 8, codingRate: 5 },
      txPower: 14,
      airtimeLimit: 0.1,
    });
    assert.match(region.rule, /EN 300 220/);
  });

  test('counts the bandwidth and not only the centre', () => {
    assert.deepEqual(refusal({ frequency: 869_420_000 }), [
      'frequency: 869420000 is wrong: 869462500 to 869587500 Hz, so that 125000 Hz of bandwidth stay within ' +
        'eu868-p, 869.4 to 869.65 MHz (ETSI EN 300 220-2 annex B, band P; ERC/REC 70-03 annex 1)',
    ]);
    assert.ok(!Array.isArray(plan({ frequency: 869_462_500 })));
    assert.ok(!Array.isArray(plan({ bandwidth: 250_000 })));
    assert.match(refusal({ bandwidth: 500_000 })[0]!, /^bandwidth: 500000 is wrong: at most 250000 Hz/);
  });

  test('counts what is radiated: power and the gain of the antenna', () => {
    assert.ok(!Array.isArray(plan({ txPower: 27 })));
    assert.match(
      refusal({ txPower: 28 })[0]!,
      /^txPower: 28 is wrong: eu868-p allows 27 dBm ERP, which is 0 to 27 dBm/,
    );
    assert.match(
      refusal({ txPower: 22, antennaGain: 8 })[0]!,
      /which is 0 to 21 dBm into an antenna of 8 dBi/,
    );
    assert.match(refusal({ antennaGain: 40 })[0]!, /^antennaGain: 40 is wrong: .* exceeds at any power/);
  });

  test('counts what leaves the radio, where the rule does, however little the antenna gains', () => {
    const us = { region: 'us915', antennaGain: 0 };
    assert.ok(!Array.isArray(plan({ ...us, txPower: 30 })));
    assert.match(
      refusal({ ...us, txPower: 31 })[0]!,
      /^txPower: 31 is wrong: us915 allows 36 dBm EIRP, 30 dBm of it from the radio, which is 0 to 30 dBm/,
    );
    assert.match(refusal({ ...us, antennaGain: 9, txPower: 28 })[0]!, /which is 0 to 27 dBm/);
  });

  test('allows less airtime than the law, not more', () => {
    const planned = plan({ airtimeLimit: 2 });
    assert.ok(!Array.isArray(planned) && planned.airtimeLimit === 0.02);
    assert.match(
      refusal({ airtimeLimit: 11 })[0]!,
      /^airtimeLimit: 11 is wrong: eu868-p allows 10 % of an hour/,
    );
  });

  test('that nobody knows is told with those there are', () => {
    assert.match(
      refusal({ region: 'toString' })[0]!,
      /^region: "toString" is wrong: no such region, one of eu868-k, /,
    );
  });

  test('that is shipped is legal as it comes, and says where that is written', () => {
    for (const [name, region] of Object.entries(shippedRegions)) {
      assert.ok(!Array.isArray(plan({ region: name })), name);
      assert.ok(region.rule.length > 10, name);
    }
  });
});

test('the table in docs/radio.md is the one that is shipped', () => {
  const page = readFileSync(new URL('../../docs/radio.md', import.meta.url), 'utf8');
  for (const [name, { low, high, maxPower, power, dutyCycle }] of Object.entries(shippedRegions)) {
    const row = page.split('\n').find(line => line.startsWith(`| \`${name}\` |`)) ?? '';
    const [, , megahertz = '', radiated, airtime] = row.split('|').map(cell => cell.trim());
    assert.deepEqual(megahertz.split('–').map(Number), [low / 1e6, high / 1e6], name);
    assert.equal(radiated, `${maxPower} dBm ${power.toUpperCase()}`, name);
    assert.equal(airtime, dutyCycle === 100 ? '–' : `${dutyCycle} %`, name);
  }
});
