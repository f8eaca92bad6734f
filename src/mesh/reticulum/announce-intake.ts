import { equal } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { SignatureThreads } from '../../lib/signature-threads.ts';
import type { Quality } from '../interface.ts';
import {
  type Announce,
  decodeAnnounce,
  randomBlobIn,
  readAnnounce,
  verifyAnnounce,
  verifyAnnounceBeside,
} from './announce.ts';
import type { Blackhole } from './blackhole.ts';
import type { Inbound, InterfaceHandle } from './dispatch.ts';
import type { Forwarding } from './forwarding.ts';
import { PublicIdentity } from './identity.ts';
import type { InboundQueue } from './inbound-queue.ts';
import { Ingress } from './ingress.ts';
import type { Heard, KnownDestinations } from './known.ts';
import type { Locals } from './locals.ts';
import { contexts } from './packet.ts';
import type { PathRequests } from './path-request.ts';
import type { Offer, PathTable } from './path-table.ts';

/** What an announce taught. The bytes are no longer the medium's. */
export interface Lesson extends Heard {
  readonly randomBlob: Uint8Array;
  readonly nextHop: Uint8Array;
  readonly hops: number;
  readonly pathResponse: boolean;
  readonly interfaceName: string;
  readonly quality: Quality | undefined;
}

export interface AnnounceIntakeParts {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly locals: Locals;
  readonly known: KnownDestinations;
  readonly paths: PathTable;
  readonly pathRequests: PathRequests;
  readonly blackhole: Pick<Blackhole, 'has'> | undefined;
  /** Undefined on a node that does nothing for others. */
  readonly forwarding: Forwarding | undefined;
  /** A verified announce offers a better path than the one known. */
  readonly learn: (key: string, lesson: Lesson) => void;
  /** Where what is to be verified has its turn, which then comes back to `verify`. */
  readonly queue: () => InboundQueue;
  /** See `TransportParts`. */
  readonly threads: SignatureThreads | undefined;
}

/** Takes announces: what offers nothing new is dropped unseen, what is too new too often waits, and the rest is verified. */
export class AnnounceIntake {
  readonly #parts: AnnounceIntakeParts;
  readonly ingress: Ingress;
  /** Interfaces that went while threads may still be at what they brought. */
  readonly #gone = new WeakSet<InterfaceHandle>();
  #closed = false;

  constructor(parts: AnnounceIntakeParts) {
    this.#parts = parts;
    this.ingress = new Ingress({
      ...parts,
      release: ({ inbound }) => void parts.queue().take('limited', inbound),
    });
  }

  /** Takes one that came in, up to where it costs a signature. Throws `wire/*`. A promise asks its medium to wait. */
  take(inbound: Inbound): Promise<void> | undefined {
    const { locals, paths, pathRequests, forwarding, counters, queue } = this.#parts;
    const { packet } = inbound;
    const randomBlob = randomBlobIn(packet);
    const { key } = inbound;
    if (locals.get(key)) {
      return undefined;
    }
    if (packet.transportId !== undefined) {
      forwarding?.relay.overheard(key, packet.hops);
    }
    const accepted = paths.accepts(key, offerOf(inbound, randomBlob)) || paths.isTwin(key, randomBlob);
    if (!accepted && !pathRequests.has(key)) {
      counters.add('mesh/duplicate');
      return undefined;
    }
    const isNews = paths.get(key) === undefined && !this.#isAwaited(key);
    if (isNews && this.ingress.holds(key, inbound)) {
      return undefined;
    }
    return queue().take('announce', inbound);
  }

  /**
   * Verifies one and learns what it says; what it cost, in signatures. Throws `wire/*`, `crypto/bad-signature`. One of
   * many is verified by threads, where there are any: then it is a promise, which rejects with the same.
   */
  verify(inbound: Inbound, isOneOfMany = false): number | Promise<number> {
    const { threads } = this.#parts;
    const { packet } = inbound;
    const announce = decodeAnnounce(packet);
    const offered = this.#offered(inbound, announce);
    if (offered === undefined) {
      return 0;
    }
    const { identity } = offered;
    if (!(isOneOfMany && threads?.hasRoom)) {
      return this.#learn(inbound, offered, verifyAnnounce(packet, announce, identity));
    }
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    verifyAnnounceBeside(threads, packet, announce, identity, valid => {
      try {
        // Others may have come before it meanwhile.
        const isOver = this.#closed || this.#gone.has(inbound.iface);
        const still = isOver ? undefined : this.#offered(inbound, announce, identity);
        resolve(still === undefined ? 1 : this.#learn(inbound, still, valid));
      } catch (error) {
        reject(error);
      }
    });
    return promise;
  }

  /**
   * What an announce offers now; undefined, counted, where that is nothing. Throws `crypto/bad-signature`. `made`: the
   * Identity that it is by, where somebody has it.
   */
  #offered(inbound: Inbound, announce: Announce, made?: PublicIdentity): Offered | undefined {
    const { locals, known, paths, pathRequests } = this.#parts;
    const { key } = inbound;
    // It may have waited, and others came before it.
    const better = paths.accepts(key, offerOf(inbound, announce.randomBlob));
    // Whoever announces twice in a second may have said something else the second time.
    const isTwin = !better && paths.isTwin(key, announce.randomBlob);
    if (locals.get(key) || !(better || isTwin || pathRequests.has(key))) {
      this.#parts.counters.add('mesh/duplicate');
      return undefined;
    }
    const before = known.get(key);
    if (before && !equal(before.identity.publicKey, announce.publicKey)) {
      throw new GatewayError('crypto/bad-signature', 'another key than the one known for this destination');
    }
    const identity = before?.identity ?? made ?? new PublicIdentity(announce.publicKey);
    if (this.#parts.blackhole?.has(identity.hash)) {
      this.#parts.counters.add('announce/blackholed');
      return undefined;
    }
    return { identity, better, isTwin };
  }

  #learn(inbound: Inbound, { identity, better, isTwin }: Offered, valid: boolean): 1 {
    const { known, paths, pathRequests, learn } = this.#parts;
    const { packet, hash, key, interfaceName, quality } = inbound;
    // Also where its hash is known: the hash leaves out the flag that says whether a ratchet is in it.
    if (!valid) {
      throw new GatewayError('crypto/bad-signature', 'announce not signed by its destination');
    }
    if (!better) {
      const path = paths.get(key);
      if (path) {
        pathRequests.answer(key, path);
      }
    }
    if (!better && !isTwin) {
      return 1;
    }
    const destinationHash = copy(packet.destinationHash);
    const data = copy(packet.data);
    const { nameHash, randomBlob, appData, ratchet } = readAnnounce(data, packet.contextFlag);
    const heard: Heard = {
      destinationHash,
      identity,
      nameHash,
      appData,
      ratchet,
      announce: data,
      announceHasRatchet: packet.contextFlag,
      packetHash: hash,
    };
    if (isTwin) {
      paths.heardTwin(key, randomBlob);
      known.remember(key, heard);
      return 1;
    }
    learn(key, {
      ...heard,
      randomBlob,
      nextHop: packet.transportId ? copy(packet.transportId) : destinationHash,
      hops: packet.hops,
      pathResponse: packet.context === contexts.pathResponse,
      interfaceName,
      quality,
    });
    return 1;
  }

  /** An interface is gone: nothing leads over it. */
  dropOver(iface: InterfaceHandle): void {
    this.#gone.add(iface);
    this.ingress.dropOver(iface);
  }

  close(): void {
    this.#closed = true;
    this.ingress.close();
  }

  /** Whether somebody asked for a way to a destination, here or over another interface. */
  #isAwaited(key: string): boolean {
    const { pathRequests, forwarding } = this.#parts;
    return pathRequests.has(key) || forwarding?.relay.searches(key) === true;
  }
}

interface Offered {
  readonly identity: PublicIdentity;
  /** It offers a better way than the one known, or was made in the same second. */
  readonly better: boolean;
  readonly isTwin: boolean;
}

function offerOf({ packet, iface }: Inbound, randomBlob: Uint8Array): Offer {
  return { hops: packet.hops, randomBlob, gravity: iface.policy?.gravity ?? 0 };
}

/** Bytes of our own: what was received lies in the medium's buffer. */
function copy(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
