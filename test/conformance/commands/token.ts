import { systemRandom } from '../../../src/lib/random.ts';
import {
  generateTokenKey,
  openToken,
  sealToken,
  type TokenCipher,
  tokenIvLength,
  verifyToken,
} from '../../../src/mesh/reticulum/token.ts';
import type { Commands } from '../command.ts';
import { bytesOf, hex, textIf } from '../params.ts';

export const commands: Commands = {
  token_encrypt: params => ({
    token: hex(
      sealToken(bytesOf(params, 'key'), bytesOf(params, 'plaintext'), systemRandom.bytes(tokenIvLength)),
    ),
  }),
  token_decrypt: params => ({
    plaintext: hex(openToken(bytesOf(params, 'key'), bytesOf(params, 'token'))),
  }),
  token_verify_hmac: params => ({ valid: verifyToken(bytesOf(params, 'key'), bytesOf(params, 'token')) }),
  token_generate_key: params => {
    const cipher = (textIf(params, 'mode') ?? 'AES_256_CBC').toLowerCase().replaceAll('_', '-');
    return { key: hex(generateTokenKey(systemRandom, cipher as TokenCipher)) };
  },
};
