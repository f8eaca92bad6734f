import { equal, toHex } from '../../lib/bytes.ts';
import type { Cancel, Clock } from '../../lib/clock.ts';
import type { ErrorCode } from '../../lib/errors.ts';
import type { SignatureThreads } from '../../lib/signature-threads.ts';
import type { Quality } from '../interface.ts';
import { signatureLength } from './keys.ts';
import { truncatedHash } from './packet.ts';

/**
 * Receipts: what was sent and not proven yet. A proof is a packet addressed to the truncated hash of
 * what it proves:
 *
 *     explicit, 96 B:  packet hash 32 | signature 64
 *     implicit, 64 B:  signature 64
 *
 * The signature is over the whole packet hash, by the Identity the packet was for.
 *
 * Source: SPEC.md §6.5; checked against RNS 1.5.7 (test/interop/reticulum.test.ts).
 */
export type ReceiptOutcome =
  | {
      readonly at: 'delivered';
      /** ms from sending to the proof. */
      readonly rtt: number;
      /** How well the proof was heard, where the medium says so. */
      readonly quality?: Quality;
    }
  | {
      readonly at: 'failed';
      /** `mesh/timeout`: no proof came; `store/full`: given up for newer ones; `mesh/link-closed`: we are stopping. */
      readonly code: ErrorCode;
    };

export interface PendingReceipt {
  /** Packet hash, 32 B. */
  readonly hash: Uint8Array;
  /** ms to wait for the proof. */
  readonly timeout: number;
  /** Whether a signature over the packet hash is the receiver's. */
  readonly verify: (signature: Uint8Array) => boolean;
  /** The same by threads. */
  readonly verifyBeside?: (
    threads: SignatureThreads,
    signature: Uint8Array,
    done: (valid: boolean) => void,
  ) => void;
  /** Called exactly once, unless the receipt is withdrawn. */
  readonly conclude: (outcome: ReceiptOutcome) => void;
}

interface Entry extends PendingReceipt {
  readonly sentAt: number;
  readonly cancel: Cancel;
}

/** Receipts waited for at once; the oldest is given up for the next. */
export const receiptsMost = 16_384;
/** ms within which the next proof comes where many do. */
const soon = 1;
const explicitLength = 32 + signatureLength;

/** Outstanding receipts, found by the hash their proof is addressed to. */
export class Receipts {
  readonly #clock: Clock;
  readonly #threads: SignatureThreads | undefined;
  readonly #entries = new Map<string, Entry>();
  /** When the last proof came. */
  #proved = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, threads?: SignatureThreads) {
    this.#clock = clock;
    this.#threads = threads;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** To be called before the packet is handed to any medium: the proof may be faster than the sender. */
  add(receipt: PendingReceipt): void {
    if (this.#entries.size >= receiptsMost) {
      const oldest = this.#entries.keys().next().value as string;
      this.#conclude(oldest, { at: 'failed', code: 'store/full' });
    }
    const key = toHex(truncatedHash(receipt.hash));
    const cancel = this.#clock.after(receipt.timeout, () =>
      this.#conclude(key, { at: 'failed', code: 'mesh/timeout' }),
    );
    this.#entries.set(key, { ...receipt, sentAt: this.#clock.monotonic(), cancel });
  }

  /** Forgets a receipt without concluding it; false where it was concluded already. */
  withdraw(hash: Uint8Array): boolean {
    const key = toHex(truncatedHash(hash));
    this.#entries.get(key)?.cancel();
    return this.#entries.delete(key);
  }

  /**
   * A proof addressed to `truncated` (16 B) came. `unknown`: nothing waits for it; `invalid`: it is not
   * the receiver's, and the receipt goes on waiting for the true one. `later`: a thread looks at it, because it is one
   * of many, and `refused` is called where it is invalid.
   */
  prove(
    truncated: Uint8Array,
    proof: Uint8Array,
    { quality }: { readonly quality?: Quality | undefined } = {},
    refused?: () => void,
  ): 'proven' | 'unknown' | 'invalid' | 'later' {
    const key = toHex(truncated);
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      return 'unknown';
    }
    const signature = proofSignature(proof, entry.hash);
    if (signature === undefined) {
      return 'invalid';
    }
    const now = this.#clock.monotonic();
    const isOneOfMany = this.#entries.size > 1 && now - this.#proved < soon;
    this.#proved = now;
    const delivered = (): ReceiptOutcome => ({
      at: 'delivered',
      rtt: now - entry.sentAt,
      ...(quality !== undefined && { quality }),
    });
    if (isOneOfMany && refused !== undefined && entry.verifyBeside && this.#threads?.hasRoom) {
      entry.verifyBeside(this.#threads, signature, valid => {
        if (!valid) {
          refused();
        } else if (this.#entries.get(key) === entry) {
          this.#conclude(key, delivered());
        }
      });
      return 'later';
    }
    if (!entry.verify(signature)) {
      return 'invalid';
    }
    this.#conclude(key, delivered());
    return 'proven';
  }

  /** Fails all that is still waited for. */
  close(): void {
    for (const key of [...this.#entries.keys()]) {
      this.#conclude(key, { at: 'failed', code: 'mesh/link-closed' });
    }
  }

  #conclude(key: string, outcome: ReceiptOutcome): void {
    const entry = this.#entries.get(key);
    if (entry) {
      entry.cancel();
      this.#entries.delete(key);
      entry.conclude(outcome);
    }
  }
}

/** The signature in a proof of a packet with this hash (32 B); undefined where it proves another one, or none. */
export function proofSignature(proof: Uint8Array, hash: Uint8Array): Uint8Array | undefined {
  if (proof.length === signatureLength) {
    return proof;
  }
  if (proof.length === explicitLength && equal(proof.subarray(0, 32), hash)) {
    return proof.subarray(32);
  }
  return undefined;
}
