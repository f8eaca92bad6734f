import { equal } from '../../lib/bytes.ts';
import { pathRequestDestination } from './path-request.ts';

/** What went over an interface since it was attached; announces and path requests are among all packets. */
export interface Traffic {
  readonly rxPackets: number;
  readonly rxBytes: number;
  readonly txPackets: number;
  readonly txBytes: number;
  /** Packets the medium did not take, and their bytes. */
  readonly txFailed: number;
  readonly txFailedBytes: number;
  readonly rxAnnounces: number;
  readonly rxAnnounceBytes: number;
  readonly txAnnounces: number;
  readonly txAnnounceBytes: number;
  readonly rxPathRequests: number;
  readonly rxPathRequestBytes: number;
  readonly txPathRequests: number;
  readonly txPathRequestBytes: number;
  /** Packets without the access code of the network, or with another's. */
  readonly refused: number;
}

/** Counts of one interface, which only go up. */
export class TrafficCount {
  readonly #counts = {
    rxPackets: 0,
    rxBytes: 0,
    txPackets: 0,
    txBytes: 0,
    txFailed: 0,
    txFailedBytes: 0,
    rxAnnounces: 0,
    rxAnnounceBytes: 0,
    txAnnounces: 0,
    txAnnounceBytes: 0,
    rxPathRequests: 0,
    rxPathRequestBytes: 0,
    txPathRequests: 0,
    txPathRequestBytes: 0,
    refused: 0,
  };

  get now(): Traffic {
    return { ...this.#counts };
  }

  /** A packet came, as it travels; `opened`: the same behind the access code, undefined where that is not ours. */
  received(packet: Uint8Array, opened: Uint8Array | undefined): void {
    const counts = this.#counts;
    counts.rxPackets += 1;
    counts.rxBytes += packet.length;
    if (opened === undefined) {
      counts.refused += 1;
    } else if (isAnnounce(opened)) {
      counts.rxAnnounces += 1;
      counts.rxAnnounceBytes += packet.length;
    } else if (isPathRequest(opened)) {
      counts.rxPathRequests += 1;
      counts.rxPathRequestBytes += packet.length;
    }
  }

  /** The medium took a packet. */
  sent(packet: Uint8Array): void {
    const counts = this.#counts;
    counts.txPackets += 1;
    counts.txBytes += packet.length;
    if (isAnnounce(packet)) {
      counts.txAnnounces += 1;
      counts.txAnnounceBytes += packet.length;
    } else if (isPathRequest(packet)) {
      counts.txPathRequests += 1;
      counts.txPathRequestBytes += packet.length;
    }
  }

  /** What somebody else counted is counted here too. */
  add(traffic: Traffic): void {
    for (const key of Object.keys(this.#counts) as (keyof Traffic)[]) {
      this.#counts[key] += traffic[key];
    }
  }

  /** The medium did not take it. */
  failed(packet: Uint8Array): void {
    this.#counts.txFailed += 1;
    this.#counts.txFailedBytes += packet.length;
  }
}

/** By its flags, which nobody sees behind an access code. */
export function isAnnounce(packet: Uint8Array): boolean {
  return (packet[0]! & 0x03) === 1;
}

/** Plain data to the one destination that everybody has: flags, hops, destination hash 16. */
function isPathRequest(packet: Uint8Array): boolean {
  return (packet[0]! & 0x4f) === 0x08 && equal(packet.subarray(2, 18), pathRequestDestination);
}
