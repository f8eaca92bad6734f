import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type AddressType,
  decodeToken,
  isTokenOf,
  multicastAddress,
  type Scope,
  tokenOf,
} from '../../../src/radio/lan/group.ts';
import { cases } from '../../fuzz/corpus.ts';

interface Announced {
  readonly group: string;
  readonly address: string;
  readonly scope: Scope;
  readonly addressType: AddressType;
  readonly multicast: string;
}

describe('a group on a LAN', () => {
  test('is found where the reference finds it, by the token that it says', () => {
    const made = cases('lan');
    assert.ok(made.length > 0);
    for (const { bytes, value } of made) {
      const { group: name, address, scope, addressType, multicast } = value as unknown as Announced;
      assert.equal(multicastAddress({ name, scope, addressType }), multicast);
      assert.deepEqual(new Uint8Array(tokenOf(name, address)), bytes);
      assert.ok(isTokenOf(decodeToken(bytes), name, address));
      assert.ok(!isTokenOf(decodeToken(bytes), `${name}.`, address));
      assert.ok(!isTokenOf(decodeToken(bytes), name, `${address}1`));
    }
  });
});
