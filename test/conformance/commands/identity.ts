import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writer } from '../../../src/lib/bytes.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { randomBlobLength } from '../../../src/mesh/reticulum/announce.ts';
import { nameHashLength } from '../../../src/mesh/reticulum/destination.ts';
import { decodeIdentity, encodeIdentity, PublicIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { signatureLength } from '../../../src/mesh/reticulum/keys.ts';
import { KnownDestinations } from '../../../src/mesh/reticulum/known.ts';
import { hashLength } from '../../../src/mesh/reticulum/packet.ts';
import { MemoryStorage } from '../../mesh/reticulum/memory-storage.ts';
import type { Commands, Params } from '../command.ts';
import { bytesIf, bytesOf, hex, hexOrNull, textOf } from '../params.ts';
import { openedOrNothing } from './opened.ts';

const identityOf = (params: Params) => decodeIdentity(bytesOf(params, 'private_key'));
const publicOf = (params: Params) => new PublicIdentity(bytesOf(params, 'public_key'));

const described = ({ publicKey, hash }: { publicKey: Uint8Array; hash: Uint8Array }) => ({
  public_key: hex(publicKey),
  hash: hex(hash),
  hexhash: hex(hash),
});

/** B */
const packetHashLength = 32;

let known: KnownDestinations | undefined;

export const commands: Commands = {
  identity_from_private_key: params => described(identityOf(params)),
  identity_hash: params => ({ hash: hex(publicOf(params).hash) }),
  identity_encrypt: params => ({
    ciphertext: hex(publicOf(params).encrypt(bytesOf(params, 'plaintext'), systemRandom)),
  }),
  identity_decrypt: params => ({
    plaintext: hexOrNull(openedOrNothing(() => identityOf(params).decrypt(bytesOf(params, 'ciphertext')))),
  }),
  identity_sign: params => ({ signature: hex(identityOf(params).sign(bytesOf(params, 'message'))) }),
  identity_verify: params => ({
    valid: publicOf(params).verify(bytesOf(params, 'signature'), bytesOf(params, 'message')),
  }),
  identity_random_hash: () => ({ random_hash: hex(systemRandom.bytes(hashLength)) }),
  identity_to_file: async params => {
    const path = join(await mkdtemp(join(tmpdir(), 'kos-conformance-')), 'identity');
    await writeFile(path, encodeIdentity(identityOf(params)), { mode: 0o600 });
    return { path };
  },
  identity_from_file: async params => {
    const bytes = await readFile(textOf(params, 'path', 4096));
    try {
      return { found: true, ...described(decodeIdentity(new Uint8Array(bytes))) };
    } catch (error) {
      if (isGatewayError(error, 'wire/truncated', 'wire/malformed')) return { found: false };
      throw error;
    }
  },
  identity_remember: params => {
    const publicKey = bytesOf(params, 'public_key');
    const destinationHash = bytesOf(params, 'destination_hash', hashLength);
    known ??= new KnownDestinations({
      clock: systemClock,
      storage: new MemoryStorage(),
      log: silentLog,
      counters: new Counters(),
    });
    const nameHash = new Uint8Array(nameHashLength);
    const appData = bytesIf(params, 'app_data');
    // The table keeps the announce that told of a destination; here nobody sent one, so that nobody signed it.
    const unsigned = new Writer()
      .raw(publicKey)
      .raw(nameHash)
      .raw(new Uint8Array(randomBlobLength + signatureLength));
    const packetHash = new Uint8Array(packetHashLength);
    packetHash.set(bytesOf(params, 'packet_hash').subarray(0, packetHashLength));
    try {
      known.remember(hex(destinationHash), {
        destinationHash,
        identity: new PublicIdentity(publicKey),
        nameHash,
        appData,
        ratchet: undefined,
        packetHash,
        announce: unsigned.raw(appData ?? new Uint8Array(0)).finish(),
        announceHasRatchet: false,
      });
    } catch (error) {
      if (!isGatewayError(error, 'wire/truncated', 'wire/malformed')) throw error;
      // The reference's word for a key of another length.
      return { ok: false, error: 'TypeError', public_key_len: publicKey.length };
    }
    const recalled = known.get(hex(destinationHash)) !== undefined;
    return { ok: true, public_key_len: publicKey.length, recalled };
  },
  // An Identity without keys cannot be made here, so that nothing can be asked of it.
  identity_keyless_op: params => {
    const [op, data, none] = [textOf(params, 'op'), bytesOf(params, 'data'), new Uint8Array(0)];
    try {
      if (op === 'encrypt') new PublicIdentity(none).encrypt(data, systemRandom);
      else if (op === 'sign') decodeIdentity(none).sign(data);
      else if (op === 'decrypt') decodeIdentity(none).decrypt(data);
      else throw new Error(`unknown op: ${op}`);
    } catch (error) {
      if (!isGatewayError(error, 'wire/truncated')) throw error;
      return { raised: 'KeyError', message: error.message };
    }
    return { raised: null };
  },
};
