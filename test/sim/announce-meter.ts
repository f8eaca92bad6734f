import type { Burden, Interface, InterfacePort } from '../../src/mesh/interface.ts';
import type { InterfacePolicy } from '../../src/mesh/reticulum/interface-policy.ts';
import { contexts, decodePacket } from '../../src/mesh/reticulum/packet.ts';

/** An announce of somebody else's that left an interface. */
export interface Passed {
  /** Monotonic ms. */
  readonly at: number;
  /** ms */
  readonly onAir: number;
  readonly destination: string;
  readonly hops: number;
}

export interface MeterParts {
  readonly now: () => number;
  readonly policy: InterfacePolicy;
}

/** Watches what leaves by an interface, as the mesh hands it over: how much of its time announces of others take. */
export class AnnounceMeter implements Interface {
  readonly passed: Passed[] = [];
  /** Everything that left, in packets and bytes. */
  packets = 0;
  bytes = 0;
  readonly #iface: Interface;
  readonly #parts: MeterParts;
  /** Where a process began anew: what it knows of the time before is nothing. */
  #begun = 0;

  constructor(iface: Interface, parts: MeterParts) {
    this.#iface = iface;
    this.#parts = parts;
  }

  get name(): string {
    return this.#iface.name;
  }

  get mtu(): number {
    return this.#iface.mtu;
  }

  get bitrate(): number {
    return this.#iface.bitrate;
  }

  get backlog(): number {
    return this.#iface.backlog ?? 0;
  }

  get cap(): number {
    return this.#parts.policy.announce?.cap ?? 0.02;
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    this.#begun = this.passed.length;
    await this.#iface.run(port, signal);
  }

  send(packet: Uint8Array, burden?: Burden): Promise<void> {
    this.packets += 1;
    this.bytes += packet.length;
    const { packetType, transportId, context, destinationHash, hops } = decodePacket(this.#opened(packet));
    if (packetType === 'announce' && transportId !== undefined && context !== contexts.pathResponse) {
      this.passed.push({
        at: this.#parts.now(),
        onAir: (packet.length * 8000) / this.bitrate,
        destination: destinationHash.toHex(),
        hops,
      });
    }
    return this.#iface.send(packet, burden);
  }

  /**
   * The largest share of any stretch of time that ends just before an announce left: above the cap, an announce left
   * too soon. In every window the share is at most this and one announce.
   */
  worst(): number {
    return worstShare(this.passed.slice(this.#begun));
  }

  #opened(packet: Uint8Array): Uint8Array {
    return this.#parts.policy.accessCode?.open(packet.slice()) ?? packet;
  }
}

/**
 * Over all windows from one announce to another: the time on air of those in it, but the last, by its length. A longer
 * window is a mean of its parts, so that no window is worse than the worst between two that follow each other.
 */
export function worstShare(passed: readonly Passed[]): number {
  let worst = 0;
  for (let to = 1; to < passed.length; to++) {
    const before = passed[to - 1]!;
    const time = passed[to]!.at - before.at;
    worst = Math.max(worst, time === 0 ? Number.POSITIVE_INFINITY : before.onAir / time);
  }
  return worst;
}
