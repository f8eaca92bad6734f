import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodePacket } from '../../../src/mesh/reticulum/packet.ts';
import {
  decodePathRequest,
  encodePathRequest,
  pathRequestDestination,
} from '../../../src/mesh/reticulum/path-request.ts';
import { bytesOf, hexOf, vectors } from './vectors.ts';

interface PathRequestValue {
  readonly destinationHash: string;
  readonly wanted: string;
  readonly transportId: string | null;
  readonly tag: string;
}

/** Tags of a request without transport id can only be told from one while they are as the reference draws them. */
const cases = vectors<PathRequestValue>('path-request');

describe('a path request', () => {
  test('decodes to what the reference asked, and encodes to the same bytes', () => {
    for (const { name, bytes, value } of cases) {
      const packet = decodePacket(bytesOf(bytes));
      const request = decodePathRequest(packet.data);
      assert.deepEqual(packet.destinationHash, pathRequestDestination, name);
      assert.equal(hexOf(request.destinationHash), value.wanted, name);
      assert.equal(hexOf(request.transportId), value.transportId, name);
      assert.equal(hexOf(request.tag), value.tag, name);
      assert.deepEqual(encodePathRequest(request), packet.data, name);
    }
  });

  test('is truncated without a tag, and cuts one that is too long', () => {
    for (let length = 0; length <= 16; length++) {
      assert.throws(() => decodePathRequest(new Uint8Array(length)), { code: 'wire/truncated' });
    }
    assert.equal(decodePathRequest(new Uint8Array(17)).tag.length, 1);
    assert.equal(decodePathRequest(new Uint8Array(100)).tag.length, 16);
  });
});
