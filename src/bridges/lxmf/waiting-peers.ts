import { type Address, nameOf } from '../../gateway/message.ts';
import { fromHex } from '../../lib/bytes.ts';
import type { Cancel, Clock } from '../../lib/clock.ts';
import type { ErrorCode } from '../../lib/errors.ts';
import type { InterfaceHandle } from '../../mesh/reticulum/dispatch.ts';
import type { Transport } from '../../mesh/reticulum/transport.ts';
import { settlingTime } from './announce-schedule.ts';

/** Peers remembered; the one that failed longest ago is forgotten first. */
const peersMost = 1000;
/** Peers without a path that are searched when an interface has come up: each search is a packet on every medium. */
export const searchedMost = 32;
/** Shortest time between two rounds, ms: an interface that comes and goes must not multiply them. */
export const roundInterval = 30_000;

export interface WaitingPeersParts {
  readonly clock: Clock;
  readonly transport: Transport;
  /** A peer may be tried now. */
  readonly retry: (address: Address) => void;
}

/** Peers that a delivery failed for lately, to be tried again in one round when interfaces have come up. */
export class WaitingPeers {
  readonly #parts: WaitingPeersParts;
  /** With the code of the last failure; the newest last. */
  readonly #peers = new Map<Address, ErrorCode>();
  /** Interfaces that came up since the last round, and when by the monotonic clock. */
  readonly #fresh = new Map<InterfaceHandle, number>();
  #lastRound = Number.NEGATIVE_INFINITY;
  #cancel: Cancel | undefined;

  constructor(parts: WaitingPeersParts) {
    this.#parts = parts;
  }

  /** A delivery to it failed with this code. */
  failed(address: Address, code: ErrorCode): void {
    this.#peers.delete(address);
    this.#peers.set(address, code);
    if (this.#peers.size > peersMost) {
      this.#peers.delete(this.#peers.keys().next().value!);
    }
  }

  /** The code of the last failure; undefined where none is known. */
  failure(address: Address): ErrorCode | undefined {
    return this.#peers.get(address);
  }

  delivered(address: Address): void {
    this.#peers.delete(address);
  }

  cameUp(iface: InterfaceHandle): void {
    this.#fresh.set(iface, this.#parts.clock.monotonic());
    this.#schedule();
  }

  /** No round follows; what is known of peers stays. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#fresh.clear();
  }

  #schedule(): void {
    const first = this.#fresh.values().next().value;
    if (this.#cancel !== undefined || first === undefined) {
      return;
    }
    const { clock } = this.#parts;
    const at = Math.max(first + settlingTime, this.#lastRound + roundInterval);
    this.#cancel = clock.after(Math.max(0, at - clock.monotonic()), () => {
      this.#cancel = undefined;
      this.#due();
      this.#schedule();
    });
  }

  #due(): void {
    const now = this.#parts.clock.monotonic();
    let online = false;
    for (const [iface, since] of this.#fresh) {
      if (!iface.online) {
        this.#fresh.delete(iface);
      } else if (since + settlingTime <= now) {
        this.#fresh.delete(iface);
        online = true;
      }
    }
    if (online && this.#peers.size > 0) {
      this.#lastRound = now;
      this.#round();
    }
  }

  #round(): void {
    const { transport, retry } = this.#parts;
    const newestFirst = [...this.#peers.keys()].reverse();
    const { near = [], lost = [] } = Object.groupBy(newestFirst, address =>
      transport.path(fromHex(nameOf(address))) === undefined ? 'lost' : 'near',
    );
    for (const address of [...near, ...lost.slice(0, searchedMost)]) {
      retry(address);
    }
  }
}
