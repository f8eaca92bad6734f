import assert from 'node:assert/strict';
import { test } from 'node:test';
import { entriesOf } from '../../src/cli/discovered-entries.ts';
import type { InterfaceNotice } from '../../src/mesh/reticulum/discovery-wire.ts';
import { referenceEntry } from '../../src/mesh/reticulum/reference-entry.ts';

const common = { transport: true, transportId: new Uint8Array(16).fill(7), name: 'Elm Street' } as const;
const entries = (notice: InterfaceNotice) =>
  entriesOf({ name: 'Elm Street', configEntry: referenceEntry(notice) });

test('what to configure for a listener is told for kos.yaml and for the reference', () => {
  const text = entries({
    ...common,
    ...{ type: 'BackboneInterface', reachableOn: 'elm.example', port: 4242 },
    ...{ networkName: 'elm', passphrase: 'street' },
  });
  assert.equal(
    text,
    [
      '# Elm Street: interfaces of kos.yaml',
      '# ifac.passphraseFile: a file with street',
      '- name: elm-street',
      '  kind: tcp-client',
      '  host: elm.example',
      '  port: 4242',
      '  backbone: true',
      '  ifac:',
      '    networkName: elm',
      '# and of the reference',
      '[[Elm Street]]',
      '  type = BackboneInterface',
      '  enabled = yes',
      '  remote = elm.example',
      '  target_port = 4242',
      `  transport_identity = ${'07'.repeat(16)}`,
      '  network_name = elm',
      '  passphrase = street',
    ].join('\n'),
  );
});

test('a kind that there is not here has an entry of the reference alone', () => {
  const text = entries({ ...common, type: 'I2PInterface', reachableOn: 'abcdefgh.b32.i2p' });
  assert.match(
    text,
    /# there is no such kind here\n# and of the reference\n\[\[Elm Street\]\]\n {2}type = I2PInterface/,
  );
});

test('who may not know the passphrase is told so', () => {
  assert.equal(entriesOf({ name: 'Elm Street' }), '# Elm Street: for the owner alone');
});
