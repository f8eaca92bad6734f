import { codeOf } from '../../../src/lib/errors.ts';
import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { sealToken, tokenIvLength, tokenKeyLength } from '../../../src/mesh/reticulum/token.ts';
import type { Commands, Params } from '../command.ts';
import { bytesIf, bytesOf, hex, textOf, textsOf } from '../params.ts';
import { nodeOf } from './node.ts';
import { destinationOf, stateOf } from './state.ts';

/** Keys (64 B) of groups, by their destinations. */
const keys = new WeakMap<LocalDestination, Uint8Array>();

/** Destinations that are no Identity's: plain ones, and groups. */
export const commands: Commands = {
  wire_plain_encrypt(params) {
    const plaintext = bytesIf(params, 'plaintext') ?? new Uint8Array(0);
    const { plaintext: sent } = plainOf(params).open(plaintext, undefined);
    return { ciphertext: hex(sent), passthrough: hex(sent) === hex(plaintext) };
  },

  wire_plain_decrypt(params) {
    const ciphertext = bytesIf(params, 'ciphertext') ?? new Uint8Array(0);
    const { plaintext } = plainOf(params).open(ciphertext, undefined);
    return { plaintext: hex(plaintext), passthrough: hex(plaintext) === hex(ciphertext) };
  },

  wire_group_create(params) {
    const node = nodeOf(params);
    const given = bytesIf(params, 'key');
    const key = given?.length ? given : node.random.bytes(tokenKeyLength);
    const destination = new LocalDestination({ ...nameOf(params), groupKey: key });
    keys.set(destination, key);
    stateOf(node).destinations.set(destination.key, destination);
    return { destination_hash: destination.key, key: hex(key) };
  },

  wire_group_encrypt(params) {
    const { random } = nodeOf(params);
    const key = keys.get(destinationOf(params));
    if (key === undefined) throw new Error('the destination is no group');
    const plaintext = bytesIf(params, 'plaintext') ?? new Uint8Array(0);
    return { ciphertext: hex(sealToken(key, plaintext, random.bytes(tokenIvLength))) };
  },

  wire_group_decrypt(params) {
    try {
      const { plaintext } = destinationOf(params).open(bytesOf(params, 'ciphertext'), undefined);
      return { plaintext: hex(plaintext), decrypted: true };
    } catch (error) {
      if (codeOf(error) !== 'crypto/undecryptable' && codeOf(error) !== 'wire/truncated') throw error;
      return { plaintext: null, decrypted: false };
    }
  },
};

const nameOf = (params: Params) => ({
  appName: textOf(params, 'app_name'),
  aspects: textsOf(params, 'aspects'),
});

const plainOf = (params: Params) => new LocalDestination(nameOf(params));
