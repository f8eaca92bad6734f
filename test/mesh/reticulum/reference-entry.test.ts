import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIni } from '../../../src/cli/rns/ini.ts';
import { interfaceOf } from '../../../src/cli/rns/interfaces.ts';
import type { InterfaceNotice } from '../../../src/mesh/reticulum/discovery-wire.ts';
import { referenceEntry } from '../../../src/mesh/reticulum/reference-entry.ts';

const common = { transport: true, transportId: new Uint8Array(16).fill(7), name: 'Elm' } as const;
const listener: InterfaceNotice = {
  ...common,
  type: 'BackboneInterface',
  reachableOn: '203.0.113.5',
  port: 4242,
};

test('what reaches a listener is a section of the reference, which is an entry of our own', () => {
  const entry = referenceEntry({ ...listener, networkName: 'elm', passphrase: 'a, "b" # c' });
  assert.equal(
    entry,
    [
      '[[Elm]]',
      '  type = BackboneInterface',
      '  enabled = yes',
      '  remote = 203.0.113.5',
      '  target_port = 4242',
      `  transport_identity = ${'07'.repeat(16)}`,
      '  network_name = elm',
      `  passphrase = 'a, "b" # c'`,
    ].join('\n'),
  );
  const [section] = parseIni(`[interfaces]\n${entry}`).sections.get('interfaces')!.sections.values();
  const imported = interfaceOf(section!, new Set(), { taken: [], left: [] });
  assert.deepEqual(imported, {
    passphrase: 'a, "b" # c',
    entry: {
      name: 'elm',
      kind: 'tcp-client',
      host: '203.0.113.5',
      port: 4242,
      backbone: true,
      ifac: { networkName: 'elm' },
    },
  });
});

test('a radio is set as it was announced, and what a device cannot be told is a remark', () => {
  const radio = { frequency: 869_525_000, bandwidth: 125_000, spreadingFactor: 8, codingRate: 5 };
  assert.match(
    referenceEntry({ ...common, type: 'RNodeInterface', ...radio }),
    /type = RNodeInterface\n {2}enabled = yes\n {2}port =\n {2}frequency = 869525000\n {2}bandwidth = 125000\n {2}spreadingfactor = 8\n {2}codingrate = 5\n {2}txpower =\n/,
  );
  assert.match(
    referenceEntry({
      ...common,
      type: 'KISSInterface',
      frequency: 434e6,
      bandwidth: 12_500,
      modulation: 'gfsk',
    }),
    /type = KISSInterface[\s\S]*# Frequency: 434000000\n {2}# Bandwidth: 12500\n {2}# Modulation: gfsk$/,
  );
});

test('a tunnel of I2P is named in full, however it was announced', () => {
  const peer = (reachableOn: string) => referenceEntry({ ...common, type: 'I2PInterface', reachableOn });
  for (const reachableOn of ['abcdefgh', 'abcdefgh.b32.i2p']) {
    assert.match(peer(reachableOn), /\n {2}peers = abcdefgh\.b32\.i2p\n/);
  }
});

test('nothing that was announced adds a line or a section', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'binary' }),
      (name, secret, modulation) => {
        const text = referenceEntry({
          ...common,
          name,
          type: 'KISSInterface',
          frequency: 1,
          bandwidth: 1,
          modulation,
          networkName: secret,
          passphrase: `${secret}\n  enabled = no`,
        });
        assert.equal(text.split(/\r\n|[\n\r\u2028\u2029]/).length, 10);
        const { sections } = parseIni(`[interfaces]\n${text}`).sections.get('interfaces')!;
        const [section] = sections.values();
        assert.equal(sections.size, 1);
        assert.deepEqual(
          [...section!.values.keys()],
          ['type', 'enabled', 'port', 'transport_identity', 'network_name', 'passphrase'],
        );
      },
    ),
  );
});
