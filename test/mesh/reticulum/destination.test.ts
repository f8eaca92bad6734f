import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemRandom } from '../../../src/lib/random.ts';
import {
  destinationHash,
  expandName,
  LocalDestination,
  nameHash,
} from '../../../src/mesh/reticulum/destination.ts';
import { generateIdentity, PublicIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { bytesOf, hexOf, vectors } from './vectors.ts';

interface DestinationValue {
  readonly app: string;
  readonly aspects: readonly string[];
  readonly name: string;
  readonly nameHash: string;
  readonly identityHash: string | null;
  readonly publicKey: string | null;
}

describe('a destination', () => {
  test('has the name and hashes that the reference gives it', () => {
    for (const { name, bytes, value } of vectors<DestinationValue>('destination')) {
      const full = expandName(value.app, value.aspects);
      assert.equal(full, value.name, name);
      assert.equal(hexOf(nameHash(full)), value.nameHash, name);
      const identityHash = value.identityHash === null ? undefined : bytesOf(value.identityHash);
      assert.equal(hexOf(destinationHash(nameHash(full), identityHash)), bytes, name);
      if (value.publicKey) {
        assert.equal(hexOf(new PublicIdentity(bytesOf(value.publicKey)).hash), value.identityHash, name);
      }
    }
  });

  test('is single with an identity and plain without', () => {
    const identity = generateIdentity(systemRandom);
    const single = new LocalDestination({ identity, appName: 'app', aspects: ['one'] });
    assert.equal(single.kind, 'single');
    assert.deepEqual(single.hash, destinationHash(nameHash('app.one'), identity.hash));
    const plain = new LocalDestination({ appName: 'rnstransport', aspects: ['path', 'request'] });
    assert.equal(plain.kind, 'plain');
    assert.equal(plain.key, '6b9f66014d9853faab220fba47d02761');
  });

  test('with a dot in its name, or plain with ratchets or links, is a mistake', () => {
    assert.throws(() => expandName('a.b', []), { code: 'config/invalid' });
    assert.throws(() => expandName('a', ['b', 'c.d']), { code: 'config/invalid' });
    assert.throws(() => new LocalDestination({ appName: 'a', aspects: [], ratchets: true }), {
      code: 'config/invalid',
    });
    assert.throws(() => new LocalDestination({ appName: 'a', aspects: [], acceptsLinks: true }), {
      code: 'config/invalid',
    });
  });
});
