import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decode } from '../../src/lib/msgpack.ts';
import { decodeDeliveryAnnounce } from '../../src/mesh/lxmf/announce.ts';
import { decodeMessage, withDestination } from '../../src/mesh/lxmf/message.ts';
import { decodeAnnounce } from '../../src/mesh/reticulum/announce.ts';
import { decodeIdentity, PublicIdentity } from '../../src/mesh/reticulum/identity.ts';
import {
  decodeIdentification,
  decodeLinkRequest,
  decodeLinkRequestProof,
  decodePacketProof,
  decodeRequest,
  decodeResponse,
  decodeRtt,
} from '../../src/mesh/reticulum/link-wire.ts';
import { decodePacket } from '../../src/mesh/reticulum/packet.ts';
import { decodePathRequest } from '../../src/mesh/reticulum/path-request.ts';
import { decodeRatchets, encodeRatchets } from '../../src/mesh/reticulum/ratchet.ts';
import {
  decodeAdvertisement,
  decodeCancel,
  decodeHashmapUpdate,
  decodePartRequest,
  decodeResourceProof,
} from '../../src/mesh/reticulum/resource-wire.ts';
import { openToken } from '../../src/mesh/reticulum/token.ts';
import { decodeToken } from '../../src/radio/lan/group.ts';
import { cases, hexIn, plaintexts } from './corpus.ts';

/*
 * Every structure the reference made, cut at every byte: `wire/truncated`. Where a format ends in bytes of any
 * number, what is cut there is a whole structure too, and no decoder can tell: `whole` says where.
 */

interface Structure {
  readonly name: string;
  readonly made: readonly Uint8Array[];
  readonly read: (bytes: Uint8Array) => unknown;
  /** Whether the first `length` bytes of it are one as well, or what tells otherwise is not its length. */
  readonly whole?: (length: number, bytes: Uint8Array) => boolean;
}

const bytesOf = (page: string) => cases(page).map(one => one.bytes);
const link = (kind: RegExp) => plaintexts('link', kind);
const transfer = (kind: RegExp) => plaintexts('resource-transfer', kind);
const headerOf = (bytes: Uint8Array) => ((bytes[0] as number) & 0x40 ? 35 : 19);
const key = new Uint8Array(64);
const owner = decodeIdentity(bytesOf('identity')[0] as Uint8Array);

const structures: readonly Structure[] = [
  { name: 'an identity file', made: bytesOf('identity'), read: bytes => decodeIdentity(bytes) },
  {
    name: 'a public key',
    made: cases('identity').map(one => hexIn(one, 'publicKey')),
    read: bytes => new PublicIdentity(bytes),
  },
  {
    name: 'a destination hash, in the question for its path',
    made: bytesOf('destination').map(hash => new Uint8Array([...hash, 1])),
    read: bytes => decodePathRequest(bytes),
  },
  {
    name: 'a packet',
    made: bytesOf('packet'),
    read: bytes => decodePacket(bytes),
    whole: (length, bytes) => length > headerOf(bytes),
  },
  {
    name: 'an announce',
    made: bytesOf('announce'),
    read: bytes => decodeAnnounce(decodePacket(bytes)),
    whole: (length, bytes) => length >= headerOf(bytes) + 148 + ((bytes[0] as number) & 0x20 ? 32 : 0),
  },
  {
    name: 'a token',
    made: bytesOf('token'),
    read: bytes => openToken(key, bytes),
    // The HMAC tells, not the length.
    whole: length => length >= 64 && length % 16 === 0,
  },
  {
    name: 'what is sealed for an Identity',
    made: bytesOf('encryption'),
    read: bytes => owner.open(bytes),
    whole: length => length >= 96 && length % 16 === 0,
  },
  {
    name: 'stored ratchets',
    made: [
      encodeRatchets(
        cases('encryption')
          .filter(({ value }) => value.ratchetPrivate !== null)
          .map((one, created) => ({ created, privateKey: hexIn(one, 'ratchetPrivate') })),
      ),
    ],
    read: bytes => decodeRatchets(bytes),
  },
  {
    name: 'a link request',
    made: link(/^link request$/),
    read: bytes => decodeLinkRequest(bytes),
    whole: length => length === 64,
  },
  {
    name: 'a link request proof',
    made: link(/^link request proof$/),
    read: bytes => decodeLinkRequestProof(bytes),
    whole: length => length === 96,
  },
  { name: 'an RTT', made: link(/rtt/i), read: bytes => decodeRtt(bytes) },
  { name: 'an identification', made: link(/identify/), read: bytes => decodeIdentification(bytes) },
  { name: 'a packet proof', made: link(/^proof of/), read: bytes => decodePacketProof(bytes) },
  { name: 'a request', made: link(/^request/), read: bytes => decodeRequest(bytes) },
  { name: 'a response', made: link(/^response/), read: bytes => decodeResponse(bytes) },
  { name: 'a Resource advertisement', made: bytesOf('resource'), read: bytes => decodeAdvertisement(bytes) },
  {
    name: 'a part request',
    made: transfer(/^request$/),
    read: bytes => decodePartRequest(bytes),
    whole: (length, bytes) => {
      const head = bytes[0] === 0xff ? 37 : 33;
      return length >= head && (length - head) % 4 === 0;
    },
  },
  { name: 'a hashmap update', made: transfer(/^hashmap update$/), read: bytes => decodeHashmapUpdate(bytes) },
  { name: 'a Resource proof', made: transfer(/^proof$/), read: bytes => decodeResourceProof(bytes) },
  { name: 'a Resource cancel', made: transfer(/cancel$/), read: bytes => decodeCancel(bytes) },
  { name: 'an LXMF message', made: bytesOf('lxmf'), read: bytes => decodeMessage(bytes) },
  {
    name: 'an opportunistic LXMF message',
    made: cases('lxmf-opportunistic').map(one => hexIn(one, 'plaintext')),
    read: bytes => decodeMessage(withDestination(new Uint8Array(16), bytes)),
  },
  {
    name: 'the app data of a delivery announce',
    made: bytesOf('lxmf-announce-data').filter(bytes => (bytes[0] ?? 0) >> 4 === 9),
    read: bytes => decodeDeliveryAnnounce(bytes),
    whole: length => length === 0,
  },
  { name: 'a discovery token', made: bytesOf('lan'), read: bytes => decodeToken(bytes) },
  {
    name: 'msgpack',
    made: bytesOf('msgpack').filter(bytes => bytes.length < 1000),
    read: bytes => decode(bytes),
  },
];

describe('what the reference made, cut at any byte, is truncated', () => {
  for (const { name, made, read, whole } of structures) {
    test(name, () => {
      assert.ok(made.length > 0, 'no vectors');
      for (const bytes of made) {
        for (let length = 0; length < bytes.length; length++) {
          if (!whole?.(length, bytes)) {
            assert.throws(
              () => read(bytes.subarray(0, length)),
              { name: 'GatewayError', code: 'wire/truncated' },
              `${length} of ${bytes.length} bytes: ${bytes.toHex().slice(0, 100)}`,
            );
          }
        }
      }
    });
  }
});
