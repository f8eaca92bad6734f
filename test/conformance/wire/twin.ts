import { hkdf } from '../../../src/mesh/reticulum/hkdf.ts';
import { exchange, importPrivate, importPublic, keyLength, sign } from '../../../src/mesh/reticulum/keys.ts';
import { decodeLinkRequest, decodeLinkRequestProof } from '../../../src/mesh/reticulum/link-wire.ts';
import { encodePacket, type PacketType } from '../../../src/mesh/reticulum/packet.ts';
import type { Sealer } from '../../../src/mesh/reticulum/resource-segment.ts';
import { openToken, sealToken, tokenIvLength, tokenKeyLength } from '../../../src/mesh/reticulum/token.ts';
import type { RecordedRandom } from './recorded-random.ts';
import type { Wiretap } from './wiretap.ts';

/**
 * A second holder of a link's key, made from what both ends said on the wire and the key that this side drew: it
 * makes the packets that only the other end could make, right or wrong.
 */
export interface Twin extends Sealer {
  /** 16 B. */
  readonly id: Uint8Array;
  /** A whole packet of the link: sealed unless it is `clear`. */
  packet(context: number, body: Uint8Array, options?: { clear?: boolean; type?: PacketType }): Uint8Array;
  /** A signature by the key that the initiator proves with, where this side is the initiator. */
  sign(message: Uint8Array): Uint8Array;
}

export function twinOf(id: Uint8Array, wire: Wiretap, random: RecordedRandom): Twin {
  const { request, proof } = wire.handshake(id.toHex()) ?? {};
  if (request === undefined || proof === undefined)
    throw new Error('the link was not made in sight of the tap');
  const asked = decodeLinkRequest(request);
  const answered = decodeLinkRequestProof(proof);
  const mine = random.privateOf('x25519', asked.encryptionKey);
  const secret = mine ?? random.privateOf('x25519', answered.encryptionKey);
  if (secret === undefined) throw new Error('neither end of the link is this one');
  const theirs = mine === undefined ? asked.encryptionKey : answered.encryptionKey;
  const shared = exchange(importPrivate('x25519', secret), importPublic('x25519', theirs));
  const key = hkdf(shared, tokenKeyLength, id);
  const seal: Sealer['seal'] = (plaintext, ahead) =>
    sealToken(key, plaintext, random.bytes(tokenIvLength), ahead);
  return {
    id,
    seal,
    open: token => openToken(key, token),
    packet: (context, body, { clear = false, type = 'data' } = {}) =>
      encodePacket({
        hops: 0,
        contextFlag: false,
        propagation: 'broadcast',
        destinationType: 'link',
        packetType: type,
        destinationHash: id,
        context,
        data: clear ? body : seal(body),
      }),
    sign(message) {
      const signing = random.privateOf('ed25519', request.subarray(keyLength, 2 * keyLength));
      if (signing === undefined) throw new Error('the link was not opened here');
      return sign(importPrivate('ed25519', signing), message);
    },
  };
}
