import { toHex } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { ProofStrategy } from './destination.ts';
import { trafficTimeout } from './link.ts';
import type { LinkPort } from './link-port.ts';
import { decodePacketProof, encodePacketProof } from './link-wire.ts';
import { contexts, truncatedHash } from './packet.ts';
import { type ReceiptOutcome, Receipts } from './receipts.ts';

/** What came over a link in one packet. */
export interface LinkPacket {
  /** The receiver's to keep. */
  readonly data: Uint8Array;
  /** 32 B. */
  readonly packetHash: Uint8Array;
  /** Sends the proof that lets the sender know it arrived: call it when the data is safe. Again does it again. */
  prove(): void;
  /** It is likely to be proven soon: the proof is made ahead, while its data is brought to safety. */
  prepare(): void;
}

export interface SendOptions {
  /** ms to wait for the proof once it has left; by default six round trips, at least one second. */
  readonly timeout?: number;
  /** What became of it, told exactly once, before the promise is settled. Must not throw. */
  readonly onReceipt?: (outcome: ReceiptOutcome) => void;
}

export interface LinkPacketsParts {
  readonly sign: (message: Uint8Array) => Uint8Array;
  /** Whether the other end signed a message on this link. */
  readonly verify: (signature: Uint8Array, message: Uint8Array) => boolean;
  /** Of the destination, as it is now. */
  readonly proofStrategy: () => ProofStrategy;
  /** Must not throw. */
  readonly onPacket: (packet: LinkPacket) => void;
}

/** Packets remembered, so that one that is repeated is proven again. */
const packetsRemembered = 256;
/** Proofs of one packet beyond the first: whoever overheard it can repeat it for ever, and has no key for it. */
const provenAgainMost = 8;

/** What applications say to each other over one link in single packets, and the proofs of them. */
export class LinkPackets {
  readonly #port: LinkPort;
  readonly #parts: LinkPacketsParts;
  readonly #receipts: Receipts;
  /** How often each packet that came lately was proven, by hash. */
  readonly #heard = new Map<string, number>();

  constructor(port: LinkPort, parts: LinkPacketsParts) {
    this.#port = port;
    this.#parts = parts;
    this.#receipts = new Receipts(port.clock);
  }

  /** See `Link.send`; the link is usable. */
  send(data: Uint8Array, options: SendOptions): Promise<number> {
    const { mtu, mdu, rtt, backlog } = this.#port;
    if (data.length === 0 || data.length > mdu) {
      throw new GatewayError(
        'mesh/too-large',
        `${data.length} bytes, a packet of this link, of MTU ${mtu}, carries 1 to ${mdu}`,
      );
    }
    return new Promise<number>((resolve, reject) => {
      const conclude = (outcome: ReceiptOutcome) => {
        options.onReceipt?.(outcome);
        if (outcome.at === 'delivered') {
          resolve(outcome.rtt);
        } else {
          reject(new GatewayError(outcome.code, 'a packet on a link was not proven', { retryable: true }));
        }
      };
      this.#port.sendSealed(contexts.none, data, {
        before: hash => {
          this.#receipts.add({
            hash,
            timeout: (options.timeout ?? trafficTimeout(rtt)) + backlog,
            verify: signature => this.#parts.verify(signature, hash),
            conclude,
          });
        },
        refused: hash => {
          if (this.#receipts.withdraw(hash)) {
            conclude({ at: 'failed', code: 'radio/offline' });
          }
        },
      });
    });
  }

  /** A packet of this hash (32 B), opened. */
  take(data: Uint8Array, hash: Uint8Array): void {
    const key = toHex(hash);
    this.#heard.set(key, 0);
    if (this.#heard.size > packetsRemembered) {
      this.#heard.delete(this.#heard.keys().next().value!);
    }
    let signature: Uint8Array | undefined;
    const prove = () => {
      const times = this.#heard.get(key);
      if (times !== undefined) {
        this.#heard.set(key, times + 1);
      }
      this.#prove(hash, signature);
    };
    if (this.#parts.proofStrategy() === 'all') {
      prove();
    }
    const prepare = () => {
      signature ??= this.#parts.sign(hash);
    };
    this.#parts.onPacket({ data, packetHash: hash, prove, prepare });
  }

  /** A packet of this hash (32 B) came once more: one that was proven is proven again, some times. */
  repeated(hash: Uint8Array): void {
    const key = toHex(hash);
    const times = this.#heard.get(key) ?? 0;
    if (times > 0 && times <= provenAgainMost) {
      this.#heard.set(key, times + 1);
      this.#port.counters.add('link/proven-again');
      this.#prove(hash);
    }
  }

  /** A proof, as it travels. Throws `wire/*`, `crypto/bad-signature`. */
  proof(data: Uint8Array): void {
    const result = this.#receipts.prove(truncatedHash(decodePacketProof(data).packetHash), data);
    if (result === 'invalid') {
      throw new GatewayError('crypto/bad-signature', 'a proof on a link not signed by its other end');
    }
    if (result === 'unknown') {
      this.#port.counters.add('link/proof-of-none');
    }
  }

  /** The link is closed. */
  lost(): void {
    this.#receipts.close();
    this.#heard.clear();
  }

  #prove(hash: Uint8Array, signature = this.#parts.sign(hash)): void {
    this.#port.sendClear('proof', contexts.none, encodePacketProof({ packetHash: hash, signature }));
  }
}
