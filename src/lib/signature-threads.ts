import { type KeyObject, sign, verify } from 'node:crypto';
import { type Clock, systemClock } from './clock.ts';

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

type OnThread = Readonly<{
  sign: (
    message: Uint8Array,
    key: KeyObject,
    done: (error: Error | null, signature: Uint8Array) => void,
  ) => void;
  verify: (
    message: Uint8Array,
    key: KeyObject,
    signature: Uint8Array,
    done: (error: Error | null, valid: boolean) => void,
  ) => void;
}>;

/** Handed over and not done: some for each of the threads, and less than a millisecond in all. */
const most = 32;
/** ms in which no thread has done anything: a disk that hangs, or names that are looked up, have all of them. */
const patience = 250;

const nodes: OnThread = {
  sign: (message, key, done) => sign(null, message, key, done),
  verify: (message, key, signature, done) => verify(null, message, key, signature, done),
};

/**
 * By the threads that Node has for such work anyway, which are not started before they are needed. They are those on which files
 * are read: while all of them hang, what was given to them is done here, and nothing more is given.
 */
export function createSignatureThreads({
  clock = systemClock,
  threads = nodes,
}: {
  readonly clock?: Pick<Clock, 'after'>;
  readonly threads?: OnThread;
} = {}): SignatureThreads {
  /** What is with the threads, and how it is done without them. */
  const waiting = new Set<() => void>();
  let answers = 0;
  let isWatching = false;
  let isStuck = false;

  function watch(): void {
    if (isWatching) {
      return;
    }
    isWatching = true;
    const before = answers;
    clock.after(patience, () => {
      // After a long turn of the event loop their answers lie there unheard.
      setImmediate(() => {
        isWatching = false;
        if (waiting.size > 0 && answers === before) {
          isStuck = true;
          for (const help of [...waiting]) {
            help();
          }
        } else if (waiting.size > 0) {
          watch();
        }
      });
    });
  }

  /** Gives work away; what comes first, from the thread or from here, counts. */
  function give<T>(
    begin: (done: (result: T) => void) => void,
    instead: () => T,
    done: (result: T) => void,
  ): void {
    const help = () => {
      waiting.delete(help);
      done(instead());
    };
    waiting.add(help);
    watch();
    begin(result => {
      answers += 1;
      isStuck = false;
      if (waiting.delete(help)) {
        done(result);
      }
    });
  }

  return {
    get hasRoom() {
      return !isStuck && waiting.size < most;
    },
    sign(privateKey, message, done) {
      give<Uint8Array | undefined>(
        end => threads.sign(message, privateKey, (error, signature) => end(error ? undefined : signature)),
        () => orElse(() => sign(null, message, privateKey), undefined),
        done,
      );
    },
    verify(publicKey, message, signature, done) {
      give(
        end => threads.verify(message, publicKey, signature, (error, valid) => end(!error && valid)),
        () => orElse(() => verify(null, message, publicKey, signature), false),
        done,
      );
    },
  };
}

/** What a key that cannot be used for it makes of it. */
function orElse<T>(work: () => T, otherwise: T): T {
  try {
    return work();
  } catch {
    return otherwise;
  }
}
