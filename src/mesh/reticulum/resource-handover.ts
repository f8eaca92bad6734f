import { toHex } from '../../lib/bytes.ts';
import type { Cancel } from '../../lib/clock.ts';
import type { LinkPort } from './link-port.ts';
import { contexts } from './packet.ts';
import type { ReceivedResource, ResourceReception } from './resource-offer.ts';
import { proofPacketHash } from './resource-outgoing.ts';
import { encodeResourceProof, type ResourceAdvertisement, resourceHashLength } from './resource-wire.ts';

/** A Resource that is whole, and what answers for it. */
export interface Whole {
  readonly content: Omit<ReceivedResource, 'prove' | 'reject' | 'drop'>;
  /** Of the last segment, and its proof (32 B). */
  readonly last: ResourceAdvertisement;
  readonly proof: Uint8Array;
  /** Gives back the room it takes; called exactly once. */
  readonly release: () => void;
}

/**
 * ms in which whoever has a Resource must prove or reject it. The sender gives up after 40 s; an answer
 * that comes later still is sent, but it takes up no room until then.
 */
const answerWithin = 60_000;
/** Proofs kept to be sent again when asked for. */
const proofsRemembered = 16;

/** The Resources of one link that were handed up, until somebody answers for them; and the proofs of those that were. */
export class ResourceHandover {
  readonly #port: LinkPort;
  /** What lets go of each that was not answered for. */
  readonly #held = new Set<() => void>();
  /** By hash of the proof's packet. */
  readonly #proofs = new Map<string, Uint8Array>();

  constructor(port: LinkPort) {
    this.#port = port;
  }

  /** Hands it to whoever took the offer. */
  hand({ content, last, proof, release }: Whole, reception: ResourceReception): void {
    let cancel: Cancel = () => {};
    const answered = () => {
      cancel();
      if (this.#held.delete(answered)) {
        release();
      }
    };
    this.#held.add(answered);
    reception.onResource({
      ...content,
      prove: () => {
        answered();
        this.prove(last, proof);
      },
      reject: () => {
        answered();
        this.refuse(last.hash, 'resource/rejected');
      },
      drop: answered,
    });
    if (this.#held.has(answered)) {
      cancel = this.#port.clock.after(answerWithin, () => {
        this.#port.counters.add('resource/unanswered');
        answered();
      });
    }
  }

  /** Proves a segment. */
  prove(advertisement: ResourceAdvertisement, proof: Uint8Array): void {
    const body = encodeResourceProof({ hash: advertisement.hash, proof });
    this.#proofs.set(toHex(proofPacketHash(this.#port.id, { advertisement, expectedProof: proof })), body);
    if (this.#proofs.size > proofsRemembered) {
      this.#proofs.delete(this.#proofs.keys().next().value!);
    }
    this.#port.sendClear('proof', contexts.resourceProof, body);
  }

  /** Tells the sender of a segment (hash, 32 B) that it is not wanted. */
  refuse(hash: Uint8Array, count: string): void {
    this.#port.counters.add(count);
    this.#port.sendSealed(contexts.resourceReceiverCancel, hash);
  }

  /** The sender asks for a packet again: the only ones kept are proofs. */
  asked(packetHash: Uint8Array): void {
    const proof = packetHash.length === resourceHashLength ? this.#proofs.get(toHex(packetHash)) : undefined;
    if (proof) {
      this.#port.sendClear('proof', contexts.resourceProof, proof);
    }
  }

  /** The link is closed. */
  lost(): void {
    for (const answered of [...this.#held]) {
      answered();
    }
  }
}
