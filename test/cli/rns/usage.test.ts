import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIni } from '../../../src/cli/rns/ini.ts';
import { type Findings, Keys } from '../../../src/cli/rns/keys.ts';
import { usageOf } from '../../../src/cli/rns/usage.ts';

function read(...lines: string[]) {
  const section = parseIni(['[one]', 'type = TCPClientInterface', ...lines].join('\n')).sections.get('one')!;
  const findings: Findings = { taken: [], left: [] };
  const keys = new Keys(section, 'one', findings);
  return { usage: usageOf(keys), mistakes: keys.mistakes, left: findings.left.map(({ what }) => what) };
}

const interfaceOf = (...lines: string[]) => read(...lines).usage;

test('a mode has the reference’s names, the newer key before the older, and full for any other word', () => {
  assert.equal(interfaceOf('mode = AP').mode, 'access-point');
  assert.equal(interfaceOf('interface_mode = ptp', 'mode = full').mode, 'point-to-point');
  assert.equal(interfaceOf('mode = point_to_point').mode, 'full');
  assert.equal(interfaceOf('interface_mode = gateway').mode, 'gateway');
  assert.match(read('interface_mode = gateway').mistakes.join(), /the reference does not start/);
});

test('what is announced to everybody is a gateway, and no more often than every five minutes', () => {
  const found = interfaceOf('discoverable = yes', 'announce_interval = 1');
  assert.deepEqual([found.mode, found.discoverableEvery], ['gateway', 300]);
  assert.equal(interfaceOf('discoverable = no').discoverableEvery, undefined);
});

test('values out of their bounds are left out, as the reference leaves them', () => {
  assert.equal(interfaceOf('bitrate = 4').bitrate, undefined);
  assert.equal(interfaceOf('announce_cap = 150').announce?.cap, undefined);
  assert.equal(interfaceOf('announce_cap = 50').announce?.cap, 50);
  assert.equal(interfaceOf('ifac_size = 7').codeSize, undefined);
  assert.equal(interfaceOf('ifac_size = 512').codeSize, 64);
  assert.deepEqual(read('bitrate = 4', 'announce_cap = 150', 'ifac_size = 7').left.sort(), [
    'one: announce_cap',
    'one: bitrate',
    'one: ifac_size',
  ]);
  assert.deepEqual(interfaceOf('announce_rate_target = 60').announce, { rateTarget: 60, rateGrace: 0 });
});

test('a name or passphrase that is empty, or None, is none', () => {
  assert.equal(interfaceOf('networkname =', 'passphrase = "s # t"').passphrase, 's # t');
  assert.equal(interfaceOf('networkname = None').networkName, undefined);
  assert.equal(interfaceOf('networkname = a', 'network_name = b').networkName, 'b');
});

test('what is no number or no flag is refused by its key', () => {
  assert.match(read('bitrate = fast').mistakes.join(), /bitrate/);
  assert.match(read('outgoing = maybe').mistakes.join(), /outgoing/);
});

test('ingress control is taken over in our units', () => {
  assert.deepEqual(interfaceOf('ic_new_time = 99', 'ic_burst_freq = 4.5', 'ingress_control = no').ingress, {
    limited: false,
    youngFor: 99,
    announceRate: 4.5,
  });
});
