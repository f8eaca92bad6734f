import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readRnsConfig } from '../../../src/start/rns/config-text.ts';
import { readRnsInterface } from '../../../src/start/rns/interface.ts';

const interfaceOf = (...lines: string[]) =>
  readRnsInterface(
    readRnsConfig(['[interfaces]', '  [[one]]', '    type = TCPClientInterface', ...lines].join('\n'))
      .sections.get('interfaces')!
      .sections.get('one')!,
  );

test('sections lie in each other, and values end before comments unless they are quoted', () => {
  const config = readRnsConfig(
    ['# first', '[a]', 'x = 1  # one', 'y = "a # b"', '[[b c]]', "z = ''", '[[[d]]]', 'w=2', '[e]'].join(
      '\r\n',
    ),
  );
  const a = config.sections.get('a');
  assert.deepEqual(
    [...a!.values],
    [
      ['x', '1'],
      ['y', 'a # b'],
    ],
  );
  assert.equal(a!.sections.get('b c')!.values.get('z'), '');
  assert.equal(a!.sections.get('b c')!.sections.get('d')!.values.get('w'), '2');
  assert.deepEqual([...config.sections.keys()], ['a', 'e']);
});

test('what is no configuration is refused by its line', () => {
  for (const [text, line] of [
    ['[a', 1],
    ['[a]\n[[[b]]]', 2],
    ['[a]\nno value', 2],
  ] as const) {
    assert.throws(() => readRnsConfig(text), { code: 'config/invalid', message: new RegExp(`line ${line}`) });
  }
});

test('a mode has the reference’s names, the newer key before the older, and full for any other word', () => {
  assert.equal(interfaceOf('mode = AP').mode, 'access-point');
  assert.equal(interfaceOf('interface_mode = ptp', 'mode = full').mode, 'point-to-point');
  assert.equal(interfaceOf('mode = point_to_point').mode, 'full');
  assert.throws(() => interfaceOf('interface_mode = gateway'), { code: 'config/invalid' });
});

test('what is announced to everybody is a gateway, and no more often than every five minutes', () => {
  const found = interfaceOf('discoverable = yes', 'announce_interval = 1');
  assert.deepEqual([found.mode, found.discoverableEvery], ['gateway', 300_000]);
  assert.equal(interfaceOf('discoverable = no').discoverableEvery, undefined);
});

test('values out of their bounds are left out, as the reference leaves them', () => {
  assert.equal(interfaceOf('bitrate = 4').bitrate, undefined);
  assert.equal(interfaceOf('announce_cap = 150').announce.cap, undefined);
  assert.equal(interfaceOf('announce_cap = 50').announce.cap, 0.5);
  assert.equal(interfaceOf('ifac_size = 7').codeSize, undefined);
  assert.equal(interfaceOf('ifac_size = 512').codeSize, 64);
});

test('a name or passphrase that is empty, or None, is none', () => {
  assert.equal(interfaceOf('networkname =', 'passphrase = "s # t"').passphrase, 's # t');
  assert.equal(interfaceOf('networkname = None').networkName, undefined);
  assert.equal(interfaceOf('networkname = a', 'network_name = b').networkName, 'b');
});

test('what is no number or no flag is refused by its key', () => {
  assert.throws(() => interfaceOf('bitrate = fast'), { code: 'config/invalid', message: /bitrate/ });
  assert.throws(() => interfaceOf('enabled = maybe'), { code: 'config/invalid', message: /enabled/ });
});

test('ingress control is taken over in our units', () => {
  assert.deepEqual(interfaceOf('ic_new_time = 99', 'ic_burst_freq = 4.5', 'ingress_control = no').ingress, {
    limited: false,
    youngFor: 99_000,
    announceRate: 4.5,
  });
});
