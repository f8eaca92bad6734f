import { concat, Reader, utf8 } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import { destinationHash, nameHash } from './destination.ts';
import { type Identity, PublicIdentity } from './identity.ts';
import { keyLength, signatureLength } from './keys.ts';
import { hashLength, sha256 } from './packet.ts';

/**
 * What a node says over a connection that it has made, so that the other end knows it again when it makes it anew: a
 * plain packet whose data is
 *
 *     public key of the transport identity 64 | hash of the interface 32 | random 16 | signature over all of this 64
 *
 * The tunnel's id is SHA-256 over the first two. It says who comes, not that they come now: who has seen the packet
 * can send it again.
 *
 * Source: SPEC.md §12.6; checked against RNS 1.5.7 (test/interop/tunnel.test.ts).
 */
export interface TunnelSynthesis {
  /** 32 B. */
  readonly id: Uint8Array;
}

/** Where it goes: a plain destination that every node listens to. */
export const tunnelDestination = destinationHash(nameHash('rnstransport.tunnel.synthesize'));

const interfaceHashLength = 32;
const idLength = 2 * keyLength + interfaceHashLength;
const synthesisLength = idLength + hashLength + signatureLength;

/** Fresh bytes of the data that says who comes over an interface: the same each time but for the random part. */
export function encodeTunnelSynthesis(identity: Identity, interfaceName: string, random: Random): Uint8Array {
  const said = concat(identity.publicKey, sha256(utf8(interfaceName)), random.bytes(hashLength));
  return concat(said, identity.sign(said));
}

/** Who comes, if they signed it. Throws `wire/*`, `crypto/bad-signature`. */
export function decodeTunnelSynthesis(data: Uint8Array): TunnelSynthesis {
  if (data.length !== synthesisLength) {
    throw new GatewayError('wire/malformed', `${data.length} bytes say who comes, not ${synthesisLength}`);
  }
  const reader = new Reader(data);
  const said = reader.take(idLength + hashLength, 'keys, interface and random');
  const signature = reader.take(signatureLength, 'signature');
  if (!new PublicIdentity(said.subarray(0, 2 * keyLength)).verify(signature, said)) {
    throw new GatewayError('crypto/bad-signature', 'a tunnel not signed by who it is from');
  }
  return { id: sha256(said.subarray(0, idLength)) };
}
