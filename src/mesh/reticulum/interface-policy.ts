import type { AccessCode } from './access-code.ts';

/** What an interface is used for, by the words of the reference; it decides what travels over it and for how long paths hold. */
export const interfaceModes = [
  'full',
  'point-to-point',
  'access-point',
  'roaming',
  'boundary',
  'gateway',
  'internal',
] as const;
export type InterfaceMode = (typeof interfaceModes)[number];

/** How the mesh uses an interface: given where it is attached, inherited by the peers it finds. */
export interface InterfacePolicy {
  /** Default `full`. */
  readonly mode?: InterfaceMode;
  /** Whether anything is sent over it. Default true. */
  readonly outgoing?: boolean;
  /** bit/s, where the medium is slower or faster than it takes itself to be. */
  readonly bitrate?: number;
  /** Only those who know the network's name and passphrase are on it. Default none. */
  readonly accessCode?: AccessCode;
  readonly announce?: AnnouncePolicy;
  /** How much ways over it are preferred where the same announce comes no farther over it. Default 0. */
  readonly gravity?: number;
  readonly ingress?: IngressPolicy;
  readonly egress?: EgressPolicy;
  /** Whether a path that is not known is searched for those who ask over it, whatever its mode. Default false. */
  readonly recursivePathRequests?: boolean;
  /**
   * Who of this machine is at the other end, where it is not the way to another: programs that use this node as
   * their instance, or the instance that this node uses as one of its programs.
   */
  readonly local?: 'programs' | 'instance';
  /** On an internal interface: announces heard over a boundary interface of ours go out of it when that one says so. */
  readonly announcesToInternal?: boolean;
  /** Whether announces heard over internal interfaces go out of it. Default true. */
  readonly announcesFromInternal?: boolean;
}

/** What announces of others may cost on an interface. */
export interface AnnouncePolicy {
  /** Share of the bitrate, 0 to 1, that announces passed on may take. Default 0.02. */
  readonly cap?: number;
  /** ms between two announces of one destination heard on it, below which they are too many. Default an hour. */
  readonly rateTarget?: number;
  /** How many too many are passed on all the same. Default 5. */
  readonly rateGrace?: number;
  /** ms added to the time that nothing of that destination is passed on. Default 0. */
  readonly ratePenalty?: number;
}

/** How much that is new an interface may bring before it waits. Times in ms, rates in times a second. */
export interface IngressPolicy {
  /** Whether it is limited at all. Default true. */
  readonly limited?: boolean;
  /** How long an interface is young, and trusted less, from when it was attached. Default 2 h. */
  readonly youngFor?: number;
  /** Announces of unknown destinations. Default 10, of a young interface 3. */
  readonly announceRate?: number;
  readonly announceRateYoung?: number;
  /** Path requests. Default 8, of a young interface 3. */
  readonly pathRequestRate?: number;
  readonly pathRequestRateYoung?: number;
  /** How long a burst lasts after the last moment above its rate. Default 15 s. */
  readonly calmTime?: number;
  /** How long nothing is let in from when a burst began. Default 15 s. */
  readonly penalty?: number;
  /** Announces held. Default 256. */
  readonly held?: number;
  /** From one announce that is let in to the next. Default 5 s. */
  readonly releaseEvery?: number;
}

/** How often path requests may leave by an interface. */
export interface EgressPolicy {
  /** Whether searches for others are limited. Default false. */
  readonly limited?: boolean;
  /** Times a second. Default 5. */
  readonly pathRequestRate?: number;
}

const day = 24 * 3_600_000;

/** ms for which a path learnt over an interface of this mode holds. */
export function pathLifetime(mode: InterfaceMode = 'full'): number {
  switch (mode) {
    case 'access-point':
      return day;
    case 'roaming':
      return day / 4;
    default:
      return 7 * day;
  }
}

/**
 * Whether an announce of somebody else's goes out of an interface, by the one its destination is
 * reached over. Announces of our own go out of every interface but an access point; what answers a
 * path request is addressed to an interface and is not asked about here.
 *
 * Source: Reticulum manual, “Interface Modes”; the rules of RNS 1.5.7.
 */
export function passesAnnounce(to: InterfacePolicy, from: InterfacePolicy): boolean {
  const source = from.mode ?? 'full';
  if (to.announcesFromInternal === false && source === 'internal') {
    return false;
  }
  switch (to.mode ?? 'full') {
    case 'access-point':
      return false;
    case 'internal':
      return from.announcesToInternal === true || source !== 'boundary';
    case 'roaming':
      return source !== 'roaming' && source !== 'boundary';
    case 'boundary':
      return source !== 'roaming';
    default:
      return true;
  }
}

/**
 * Over which interfaces a path that is not known is searched for somebody who asks over `asked`:
 * over all others, over those that lead to other segments, or not at all.
 *
 * Source: as `passesAnnounce`.
 */
export function searchesOver(asked: InterfacePolicy, other: InterfacePolicy): boolean {
  if (asked.recursivePathRequests === true) {
    return true;
  }
  switch (asked.mode ?? 'full') {
    case 'access-point':
    case 'roaming':
    case 'gateway':
    case 'internal':
      return true;
    case 'boundary':
      return other.mode === 'boundary' || other.mode === 'gateway';
    default:
      return false;
  }
}
