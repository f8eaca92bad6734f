import { type KeyObject, sign, verify } from 'node:crypto';

/**
 * Ed25519 beside the event loop. Whoever has much of it to do gives it away and goes on with something else;
 * whoever has one thing to do is quicker doing it.
 */
export interface SignatureThreads {
  /** Whether one more would soon have its turn. Where not, it is quicker, and fairer to others, to do it oneself. */
  readonly hasRoom: boolean;
  /** Undefined where the key cannot sign. */
  sign(privateKey: KeyObject, message: Uint8Array, done: (signature: Uint8Array | undefined) => void): void;
  verify(
    publicKey: KeyObject,
    message: Uint8Array,
    signature: Uint8Array,
    done: (valid: boolean) => void,
  ): void;
}

/** Handed over and not done: some for each of the threads, and less than a millisecond in all. */
const most = 32;

/** By the threads that Node has for such work anyway, which are not started before they are needed. */
export function createSignatureThreads(): SignatureThreads {
  let waiting = 0;
  const begin = () => {
    waiting += 1;
  };
  const end = () => {
    waiting -= 1;
  };
  return {
    get hasRoom() {
      return waiting < most;
    },
    sign(privateKey, message, done) {
      begin();
      sign(null, message, privateKey, (error, signature) => {
        end();
        done(error ? undefined : signature);
      });
    },
    verify(publicKey, message, signature, done) {
      begin();
      verify(null, message, publicKey, signature, (error, valid) => {
        end();
        done(!error && valid);
      });
    },
  };
}
