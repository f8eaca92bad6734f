import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { concat, fromUtf8, utf8 } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import type { Fields } from './fields.ts';

/** Headers and a body, as they are sealed. */
export interface Part {
  readonly status?: number;
  readonly headers: Fields;
  readonly body: Uint8Array;
  /** When what it says was so, ms epoch. */
  readonly asOf?: number;
}

/** Keeps what clients and clouds say from whoever reads the disk without the hub's key. */
export interface Seal {
  /** `where` ties the bytes to their row and column: moved elsewhere they do not open. */
  seal(part: Part, where: string): Uint8Array;
  /** Throws `crypto/undecryptable`. */
  open(sealed: Uint8Array, where: string): Part;
  /** A digest only this hub can make. */
  digest(text: string): string;
}

const nonceLength = 12;
const tagLength = 16;
const algorithm = 'aes-256-gcm';

/** `key` is 32 bytes that lie in a 0600 file of the data folder. */
export function createSeal(key: Uint8Array, random: Random): Seal {
  return {
    seal(part, where) {
      const nonce = random.bytes(nonceLength);
      const cipher = createCipheriv(algorithm, key, nonce);
      cipher.setAAD(utf8(where));
      const { body, ...head } = part;
      const text = utf8(JSON.stringify(head));
      const length = new Uint8Array(4);
      new DataView(length.buffer).setUint32(0, text.length);
      const sealed = cipher.update(concat(length, text, body));
      return concat(nonce, sealed, cipher.final(), cipher.getAuthTag());
    },
    open(sealed, where) {
      try {
        const decipher = createDecipheriv(algorithm, key, sealed.subarray(0, nonceLength));
        decipher.setAAD(utf8(where));
        decipher.setAuthTag(sealed.subarray(sealed.length - tagLength));
        const plain = concat(
          decipher.update(sealed.subarray(nonceLength, sealed.length - tagLength)),
          decipher.final(),
        );
        const length = new DataView(plain.buffer, plain.byteOffset).getUint32(0);
        const head = JSON.parse(fromUtf8(plain.subarray(4, 4 + length), 'part')) as Omit<Part, 'body'>;
        return { ...head, body: plain.subarray(4 + length) };
      } catch (cause) {
        throw new GatewayError('crypto/undecryptable', 'a queued write was sealed with another key', {
          cause,
        });
      }
    },
    digest: text => createHmac('sha256', key).update(text).digest('hex'),
  };
}
