import { equal, toHex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Quality } from '../interface.ts';
import type { PublicIdentity } from '../reticulum/identity.ts';
import type { TableSizes } from '../reticulum/table-sizes.ts';
import { type Held, HeldMessages } from './held.ts';
import { decodeMessage, type SignedMessage, verifyMessage } from './message.ts';

/** How a message travelled: in a single packet, or over a link. */
export type Method = 'opportunistic' | 'direct';

/** A message as the router hands it on. */
export interface ReceivedMessage {
  readonly message: SignedMessage;
  /** 64 hex. */
  readonly id: string;
  /** `unverified` where the sender's announce could not be found: anybody may have written it. */
  readonly assurance: 'signed' | 'unverified';
  readonly method: Method;
  readonly hops: number;
  readonly quality: Quality | undefined;
}

/**
 * Takes a message. The sender is told that it arrived when the promise resolves, and not before; when
 * it rejects, the sender is told nothing and tries again.
 */
export type OnMessage = (received: ReceivedMessage) => Promise<void>;

/** How an arrival ends: one of `prove`, `refuse`, `drop` is called, and again does no harm. None needs its `this`. */
export interface Answer {
  /** Tells the sender that it is safe. */
  readonly prove: () => void;
  /** It is likely to be proven soon: what the proof takes is made ahead. */
  readonly prepare?: () => void;
  /** Tells the sender that it is not wanted and never will be, where there is a way to say so. */
  readonly refuse?: () => void;
  /** Its bytes are not kept: gives back the room they take, where they take any. It may still be proven. */
  readonly drop?: () => void;
}

/** A message as it came to one of our destinations, not looked at yet. */
export interface Arrival extends Answer {
  /** 16 B: our destination it came to. */
  readonly to: Uint8Array;
  /** With the destination hash in front. */
  readonly packed: Uint8Array;
  readonly method: Method;
  readonly hops: number;
  /** Name of the interface it came over. */
  readonly interfaceName: string;
  readonly quality: Quality | undefined;
  /** Who identified on the link it came over, and the hash of that Identity's delivery destination. */
  readonly remote?: { readonly identity: PublicIdentity; readonly destination: Uint8Array } | undefined;
  /** ms for which its sender waits for the proof. */
  readonly patience: number;
}

export interface ReceiverParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Who announced this destination (16 B), or is served here under it. */
  recall(source: Uint8Array): PublicIdentity | undefined;
  /** Asks the mesh for an announce of who wrote what came over an interface; what comes is told to `learnt`. Must not throw. */
  search(source: Uint8Array, interfaceName: string): void;
}

/**
 * What a message can fail with that it will fail with again. The reference gives a refused message up,
 * so everything else is met with silence, which makes it try again.
 */
const unwanted = [
  'request/invalid',
  'request/not-found',
  'request/forbidden',
  'request/too-large',
  'request/unsupported',
] as const;
/** Messages being taken at once: more wait at their senders, who get no proof. */
const takingMost = 512;

/**
 * The receiving half of a router: decodes, checks who signed, and proves what was taken. Nothing is
 * remembered here once it is taken or dropped: a repeat is taken and proven again by whoever takes it.
 */
export class Receiver {
  readonly #parts: ReceiverParts;
  readonly #held: HeldMessages;
  readonly #onMessage = new Map<string, OnMessage>();
  #taking = 0;

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
    this.#held = new HeldMessages(parts.clock, held => this.#take(held, 'unverified'));
  }

  /** Messages waiting for their sender's announce. */
  get held(): number {
    return this.#held.size;
  }

  sizes(): TableSizes {
    return { 'lxmf-held': this.#held.size, 'lxmf-taking': this.#taking };
  }

  serve(destination: Uint8Array, onMessage: OnMessage): void {
    this.#onMessage.set(toHex(destination), onMessage);
  }

  /** What still comes for it is dropped, unproven. */
  withdraw(destination: Uint8Array): void {
    this.#onMessage.delete(toHex(destination));
  }

  /** Takes, holds or drops what came. Never throws: what is dropped is counted by its code. */
  receive(arrival: Arrival): void {
    const { counters, log } = this.#parts;
    let message: SignedMessage;
    try {
      message = decodeMessage(arrival.packed);
    } catch (error) {
      if (!isGatewayError(error)) {
        log.error({ error }, 'a bug in decoding a message');
      }
      counters.add(codeOf(error));
      refuse([arrival]);
      return;
    }
    if (!equal(message.destination, arrival.to)) {
      counters.add('lxmf/for-another');
      refuse([arrival]);
      return;
    }
    const { remote } = arrival;
    const identity =
      remote && equal(remote.destination, message.source)
        ? remote.identity
        : this.#parts.recall(message.source);
    if (identity !== undefined) {
      this.#check({ message, arrival, answers: [arrival] }, identity);
      return;
    }
    switch (this.#held.hold(arrival, message)) {
      case 'first':
        this.#parts.search(message.source, arrival.interfaceName);
        break;
      case 'again':
        break;
      case 'full':
        counters.add('store/full');
        drop([arrival]);
        break;
    }
  }

  /** A destination's Identity became known: what was held from it is checked now. */
  learnt(source: Uint8Array, identity: PublicIdentity): void {
    for (const held of this.#held.release(source)) {
      this.#check(held, identity);
    }
  }

  /** Forgets what is held: its senders were told nothing and send it again. */
  close(): void {
    this.#held.close();
  }

  #check(held: Held, identity: PublicIdentity): void {
    const { message, answers } = held;
    if (verifyMessage(message, identity)) {
      this.#take(held, 'signed');
      return;
    }
    this.#parts.counters.add('crypto/bad-signature');
    this.#parts.log.warn(
      { code: 'crypto/bad-signature', source: toHex(message.source).slice(0, 8) },
      'dropped a message that its sender did not sign',
    );
    refuse(answers);
  }

  #take({ message, arrival, answers }: Held, assurance: 'signed' | 'unverified'): void {
    const { counters, log } = this.#parts;
    const onMessage = this.#onMessage.get(toHex(message.destination));
    if (onMessage === undefined) {
      counters.add('lxmf/not-served');
      drop(answers);
      return;
    }
    if (this.#taking >= takingMost) {
      counters.add('store/full');
      drop(answers);
      return;
    }
    this.#taking += 1;
    const { method, hops, quality } = arrival;
    const taken = Promise.try(onMessage, {
      message,
      id: toHex(message.id),
      assurance,
      method,
      hops,
      quality,
    });
    // While it is written to a disk there is time to make its proof.
    for (const one of answers) {
      one.prepare?.();
    }
    taken
      .then(
        () => {
          for (const one of answers) {
            one.prove();
          }
        },
        error => {
          counters.add(codeOf(error));
          log.warn(
            { code: codeOf(error), error: String(error) },
            'a message was not taken, its sender will try again',
          );
          (isGatewayError(error, ...unwanted) ? refuse : drop)(answers);
        },
      )
      .catch(error => log.error({ error }, 'a bug in proving a message'))
      .finally(() => {
        this.#taking -= 1;
      });
  }
}

function refuse(answers: readonly Answer[]): void {
  for (const answer of answers) {
    answer.refuse?.();
  }
}

function drop(answers: readonly Answer[]): void {
  for (const answer of answers) {
    answer.drop?.();
  }
}
