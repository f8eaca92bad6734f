import type { Quality } from '../interface.ts';
import type { LocalDestination } from './destination.ts';
import type { InterfacePolicy } from './interface-policy.ts';
import type { Packet } from './packet.ts';
import type { TableSizes } from './table-sizes.ts';

/** An interface as the mesh sees it: what it can carry and whether it is there. Lives as long as it is attached. */
export interface InterfaceHandle {
  readonly name: string;
  /** Bytes of the largest packet it carries. */
  readonly mtu: number;
  /** Bytes of the largest packet to propose for a link over it: 500 where it is too slow for more. */
  readonly linkMtu: number;
  /** bit/s */
  readonly bitrate: number;
  /** ms that packets wait before they leave over it now. */
  readonly backlog?: number;
  readonly online: boolean;
  readonly policy?: InterfacePolicy;
  /** See `Interface.shared`. */
  readonly shared?: boolean;
  /** Monotonic ms at which it was attached. */
  readonly attachedAt?: number;
}

/** A packet that came in whole and was not heard before. The bytes are its receiver's. */
export interface Inbound {
  /** Its `hops` count the way it came: 1 from a neighbour. */
  readonly packet: Packet;
  /** As received: the hops in here are one less. */
  readonly raw: Uint8Array;
  /** Packet hash, 32 B. */
  readonly hash: Uint8Array;
  /** Destination hash, hex. */
  readonly key: string;
  readonly interfaceName: string;
  readonly iface: InterfaceHandle;
  readonly quality?: Quality | undefined;
}

/**
 * Where Transport takes what belongs to links. It throws `wire/*` or `crypto/*` for what cannot be
 * read: Transport counts and drops it.
 */
export interface LinkDispatch {
  /** A link request for a local destination that accepts links. */
  linkRequest(inbound: Inbound, destination: LocalDestination): void;
  /**
   * A link request proof. It is not remembered as heard, because it may yet come over the right path:
   * whoever accepts it calls `Transport.remember(inbound.hash)`.
   */
  linkProof(inbound: Inbound): void;
  /**
   * Anything addressed to a link id: data, and proofs of packets and Resources. What came over another
   * interface than the link's is not for it: call `Transport.forget(inbound.hash)`, so that it is
   * taken when it comes over the right one.
   */
  linkPacket(inbound: Inbound): void;
  /** How full its tables are. */
  sizes?(): TableSizes;
  /** Whether a link (its id in hex) begins or ends here. */
  has?(key: string): boolean;
  /**
   * Data addressed to a link id that was heard before, and is dropped: the proof of it may have been
   * lost, and is sent again if there was one. Nothing else must come of it.
   */
  linkRepeat?(inbound: Inbound): void;
}

/** Link MTU of an interface that carries `bitrate` bit/s and packets of `mtu` bytes: the tiers of RNS 1.5.7. */
export function linkMtuOf(bitrate: number, mtu: number): number {
  const tier = linkMtuTiers.find(([lowest]) => bitrate >= lowest)?.[1] ?? smallestLinkMtu;
  return Math.max(smallestLinkMtu, Math.min(tier, mtu));
}

const smallestLinkMtu = 500;

/** Lowest bit/s and link MTU. Source: RNS 1.5.7, seen by linking with it. */
const linkMtuTiers: readonly (readonly [number, number])[] = [
  [1_000_000_000, 524_288],
  [750_000_000, 262_144],
  [400_000_000, 131_072],
  [200_000_000, 65_536],
  [100_000_000, 32_768],
  [10_000_000, 16_384],
  [5_000_000, 8192],
  [2_000_000, 4096],
  [1_000_000, 2048],
  [62_500, 1024],
];
