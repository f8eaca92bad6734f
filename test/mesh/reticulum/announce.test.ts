import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  appDataLimit,
  decodeAnnounce,
  emittedAt,
  encodeRandomBlob,
  signAnnounce,
  verifyAnnounce,
} from '../../../src/mesh/reticulum/announce.ts';
import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { decodeIdentity, PublicIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { contexts, decodePacket, encodePacket } from '../../../src/mesh/reticulum/packet.ts';
import { bytesOf, hexOf, vectors } from './vectors.ts';

interface AnnounceValue {
  readonly privateKey: string;
  readonly publicKey: string;
  readonly name: string;
  readonly nameHash: string;
  readonly randomBlob: string;
  readonly emittedAt: number;
  readonly ratchet: string | null;
  readonly signature: string;
  readonly appData: string;
  readonly destinationHash: string;
}

const cases = vectors<AnnounceValue>('announce');

function local(value: AnnounceValue): LocalDestination {
  const [appName = '', ...aspects] = value.name.split('.');
  return new LocalDestination({ identity: decodeIdentity(bytesOf(value.privateKey)), appName, aspects });
}

describe('an announce', () => {
  test('decodes to what the reference put in it, and verifies', () => {
    for (const { name, bytes, value } of cases) {
      const packet = decodePacket(bytesOf(bytes));
      const announce = decodeAnnounce(packet);
      assert.deepEqual(
        {
          publicKey: hexOf(announce.publicKey),
          nameHash: hexOf(announce.nameHash),
          randomBlob: hexOf(announce.randomBlob),
          emittedAt: emittedAt(announce.randomBlob),
          ratchet: hexOf(announce.ratchet),
          signature: hexOf(announce.signature),
          appData: hexOf(announce.appData) ?? '',
          destinationHash: hexOf(packet.destinationHash),
        },
        {
          publicKey: value.publicKey,
          nameHash: value.nameHash,
          randomBlob: value.randomBlob,
          emittedAt: value.emittedAt,
          ratchet: value.ratchet,
          signature: value.signature,
          appData: value.appData,
          destinationHash: value.destinationHash,
        },
        name,
      );
      assert.equal(verifyAnnounce(packet, announce, new PublicIdentity(announce.publicKey)), true, name);
    }
  });

  test('is the one the reference makes of the same destination, blob, ratchet and app data', () => {
    for (const { name, bytes, value } of cases) {
      const packet = signAnnounce(local(value), {
        randomBlob: bytesOf(value.randomBlob),
        ratchet: value.ratchet === null ? undefined : bytesOf(value.ratchet),
        appData: value.appData === '' ? undefined : bytesOf(value.appData),
        pathResponse: decodePacket(bytesOf(bytes)).context === contexts.pathResponse,
      });
      assert.equal(hexOf(encodePacket(packet)), bytes, name);
    }
  });

  test('that the reference refuses does not verify', () => {
    for (const { name, bytes } of vectors('announce-refused')) {
      const packet = decodePacket(bytesOf(bytes));
      const announce = decodeAnnounce(packet);
      assert.equal(verifyAnnounce(packet, announce, new PublicIdentity(announce.publicKey)), false, name);
    }
  });

  test('is truncated wherever it ends before its app data', () => {
    for (const { name, bytes, value } of cases) {
      const packet = decodePacket(bytesOf(bytes));
      const shortest = packet.data.length - value.appData.length / 2;
      for (let length = 0; length < shortest; length++) {
        const cut = { ...packet, data: packet.data.subarray(0, length) };
        assert.throws(() => decodeAnnounce(cut), { code: 'wire/truncated' }, `${name}, ${length} bytes`);
      }
    }
  });

  test('has no app data where there is none, and empty app data beside a ratchet, as the reference reads it', () => {
    const destination = local(cases[0]!.value);
    const randomBlob = encodeRandomBlob(new Uint8Array(5), 1_760_000_000);
    assert.equal(decodeAnnounce(signAnnounce(destination, { randomBlob })).appData, undefined);
    const ratcheted = signAnnounce(destination, { randomBlob, ratchet: new Uint8Array(32) });
    assert.deepEqual(decodeAnnounce(ratcheted).appData, new Uint8Array(0));
  });

  test('carries 317 bytes of app data, 285 beside a ratchet, and is refused with one more', () => {
    const destination = local(cases[0]!.value);
    const randomBlob = encodeRandomBlob(new Uint8Array(5), 1_760_000_000);
    for (const [ratchet, limit] of [
      [undefined, 317],
      [new Uint8Array(32), 285],
    ] as const) {
      assert.equal(appDataLimit(ratchet !== undefined), limit);
      const full = signAnnounce(destination, { randomBlob, ratchet, appData: new Uint8Array(limit) });
      assert.equal(encodePacket({ ...full, transportId: new Uint8Array(16) }).length, 500);
      assert.throws(
        () => signAnnounce(destination, { randomBlob, ratchet, appData: new Uint8Array(limit + 1) }),
        { code: 'mesh/too-large' },
      );
    }
  });

  test('of a plain destination is a mistake', () => {
    const plain = new LocalDestination({ appName: 'app', aspects: [] });
    assert.throws(() => signAnnounce(plain, { randomBlob: new Uint8Array(10) }), { code: 'config/invalid' });
  });

  test('keeps when it was made in the last five bytes of its random blob', () => {
    const blob = encodeRandomBlob(Uint8Array.of(1, 2, 3, 4, 5), 0x01_02_03_04_05);
    assert.equal(hexOf(blob), '01020304050102030405');
    assert.equal(emittedAt(blob), 0x01_02_03_04_05);
    assert.equal(emittedAt(new Uint8Array(10).fill(255)), 2 ** 40 - 1);
  });
});
