import { systemRandom } from '../../../src/lib/random.ts';
import {
  decodeIdentity,
  type OpeningRatchet,
  PublicIdentity,
  ratchetId,
} from '../../../src/mesh/reticulum/identity.ts';
import { importPrivate, keyLength, publicOf } from '../../../src/mesh/reticulum/keys.ts';
import type { Commands } from '../command.ts';
import { bytesIf, bytesOf, flagOf, hex, hexOrNull, textsOf } from '../params.ts';
import { openedOrNothing } from './opened.ts';

const ratchetOf = (privateKey: Uint8Array): OpeningRatchet => {
  const key = importPrivate('x25519', privateKey);
  return { key, id: ratchetId(publicOf(key)) };
};

export const commands: Commands = {
  ratchet_id: params => ({ ratchet_id: hex(ratchetId(bytesOf(params, 'ratchet_public'))) }),
  ratchet_public_from_private: params => ({
    ratchet_public: hex(publicOf(importPrivate('x25519', bytesOf(params, 'ratchet_private', keyLength)))),
  }),
  ratchet_encrypt: params => {
    const identity = new PublicIdentity(bytesOf(params, 'public_key'));
    const ratchet = bytesOf(params, 'ratchet_public', keyLength);
    return { ciphertext: hex(identity.encrypt(bytesOf(params, 'plaintext'), systemRandom, ratchet)) };
  },
  ratchet_decrypt: params => {
    const one = bytesIf(params, 'ratchet_private');
    const listed = textsOf(params, 'ratchet_privates').map(text => Uint8Array.fromHex(text));
    const ratchets = (listed.length > 0 || one === undefined ? listed : [one]).map(ratchetOf);
    const identity = decodeIdentity(bytesOf(params, 'private_key'));
    const enforced = flagOf(params, 'enforce_ratchets', false);
    const opened = openedOrNothing(() => identity.open(bytesOf(params, 'ciphertext'), ratchets, enforced));
    return {
      plaintext: hexOrNull(opened?.plaintext),
      latest_ratchet_id: hexOrNull(opened?.ratchetId),
    };
  },
};
