import { toHex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import { Alarm } from '../reticulum/alarm.ts';
import { destinationHash, type LocalDestination, nameHash } from '../reticulum/destination.ts';
import type { PublicIdentity } from '../reticulum/identity.ts';
import type { Link, LinkEvents } from '../reticulum/link-session.ts';
import type { Links } from '../reticulum/links.ts';
import type { TableSizes } from '../reticulum/table-sizes.ts';
import { deliveryName } from './announce.ts';

/** What the router hears from links. None of these may throw. */
export interface PeerLinkEvents extends Pick<LinkEvents, 'onPacket' | 'onResourceOffer'> {
  /** Whoever opened a link to us has said who it is; `destination` is its delivery destination (16 B). */
  onPeer(destination: Uint8Array, identity: PublicIdentity): void;
}

export interface PeerLinksParts {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly links: Links;
  events(local: LocalDestination): PeerLinkEvents;
}

/** A link that we opened, kept for the next message. */
interface Own {
  readonly link: Link;
  readonly idle: Alarm;
  /** Whether the peer knows who we are and can answer over it. */
  identified: boolean;
  busy: number;
}

interface Opening {
  readonly link: Promise<Link>;
  readonly begun: number;
  readonly controller: AbortController;
}

/** ms without a message after which a link that we opened is closed: as long as the reference waits. */
export const idleLongest = 10 * 60_000;
/** Links of our own kept open; beyond these the one unused longest is closed. */
const ownMost = 256;

/** 16 B: the delivery destination of an Identity. */
export function deliveryHash(identity: PublicIdentity): Uint8Array {
  return destinationHash(deliveryNameHash, identity.hash);
}

export const deliveryNameHash = nameHash(deliveryName);

/**
 * The links to peers, by our destination and theirs: those we opened, and as backchannels those that
 * peers opened to us and identified on. One link is opened at a time for each pair, whoever waits.
 */
export class PeerLinks {
  readonly #parts: PeerLinksParts;
  readonly #own = new Map<string, Own>();
  readonly #backchannels = new Map<string, Link>();
  readonly #opening = new Map<string, Opening>();

  constructor(parts: PeerLinksParts) {
    this.#parts = parts;
  }

  sizes(): TableSizes {
    return {
      'lxmf-links': this.#own.size,
      'lxmf-backchannels': this.#backchannels.size,
      'lxmf-links-opening': this.#opening.size,
    };
  }

  /** A link on which a message from `local` reaches the peer (16 B) now; our own before theirs. */
  find(local: LocalDestination, peer: Uint8Array): Link | undefined {
    const key = pair(local, peer);
    const link = this.#own.get(key)?.link ?? this.#backchannels.get(key);
    return link?.usable ? link : undefined;
  }

  /**
   * Opens a link from `local` to the peer, or waits for the one that is being opened. Rejects like
   * `Links.open`, and with the signal's reason, which leaves the opening to the others who wait.
   */
  async open(
    local: LocalDestination,
    peer: Uint8Array,
    identity: PublicIdentity,
    signal: AbortSignal,
  ): Promise<Link> {
    const key = pair(local, peer);
    const opening = this.#opening.get(key) ?? this.#start(key, local, peer, identity);
    return unlessAborted(opening.link, signal);
  }

  /** Gives up what is being opened to a peer (16 B) since more than `age` ms: it has come back and heard nothing of it. */
  abandon(peer: Uint8Array, age: number): void {
    const key = toHex(peer);
    for (const [pairKey, { begun, controller }] of this.#opening) {
      if (pairKey.endsWith(key) && this.#parts.clock.monotonic() - begun >= age) {
        this.#opening.delete(pairKey);
        controller.abort(
          new GatewayError('mesh/link-closed', 'the peer announced itself anew', { retryable: true }),
        );
      }
    }
  }

  /** Keeps a link open while `work` uses it. When that worked, the peer is told who we are. */
  async use(link: Link, local: LocalDestination, peer: Uint8Array, work: () => Promise<void>): Promise<void> {
    const key = pair(local, peer);
    const found = this.#own.get(key);
    const own = found?.link === link ? found : undefined;
    if (own === undefined) {
      return work();
    }
    own.busy += 1;
    this.#own.delete(key);
    this.#own.set(key, own);
    try {
      await work();
      if (!own.identified && local.identity !== undefined && link.usable) {
        own.identified = true;
        link.identify(local.identity);
      }
    } finally {
      own.busy -= 1;
      own.idle.at(this.#parts.clock.monotonic() + idleLongest);
    }
  }

  /** What a link hears that a peer opened to `local`. */
  accepted(local: LocalDestination): LinkEvents {
    const { onPeer, ...events } = this.#parts.events(local);
    return {
      ...events,
      onIdentified: (identity, link) => {
        const peer = deliveryHash(identity);
        this.#backchannels.set(pair(local, peer), link);
        onPeer(peer, identity);
      },
      onClosed: (_, link) => {
        for (const [key, backchannel] of this.#backchannels) {
          if (backchannel === link) {
            this.#backchannels.delete(key);
          }
        }
      },
    };
  }

  /** Closes what we opened from `local`; links that peers opened end when they want. */
  close(local: LocalDestination): void {
    for (const [key, { link }] of this.#own) {
      if (key.startsWith(local.key)) {
        link.close();
      }
    }
  }

  #start(key: string, local: LocalDestination, peer: Uint8Array, identity: PublicIdentity): Opening {
    const { links, counters, clock } = this.#parts;
    const { onPeer: _, ...events } = this.#parts.events(local);
    const controller = new AbortController();
    const link = links.open(peer, {
      identity,
      signal: controller.signal,
      events: { ...events, onClosed: (_reason, closed) => this.#closed(key, closed) },
    });
    const opening: Opening = {
      begun: clock.monotonic(),
      controller,
      link: link
        .then(opened => {
          counters.add('lxmf/link-opened');
          this.#keep(key, opened);
          return opened;
        })
        .finally(() => {
          if (this.#opening.get(key) === opening) {
            this.#opening.delete(key);
          }
        }),
    };
    this.#opening.set(key, opening);
    opening.link.catch(() => {});
    return opening;
  }

  #keep(key: string, link: Link): void {
    const { clock } = this.#parts;
    const own: Own = {
      link,
      identified: false,
      busy: 0,
      idle: new Alarm(clock, () => {
        if (own.busy === 0) {
          link.close();
        }
      }),
    };
    this.#own.get(key)?.idle.stop();
    this.#own.set(key, own);
    own.idle.at(clock.monotonic() + idleLongest);
    if (this.#own.size > ownMost) {
      [...this.#own.values()].find(({ busy }) => busy === 0)?.link.close();
    }
  }

  #closed(key: string, link: Link): void {
    const own = this.#own.get(key);
    if (own?.link === link) {
      own.idle.stop();
      this.#own.delete(key);
    }
  }
}

/** Rejects with the signal's reason once it is aborted, whatever becomes of `waited`. */
export function unlessAborted<T>(waited: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    return Promise.reject(signal.reason);
  }
  return new Promise<T>((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    waited.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

function pair(local: LocalDestination, peer: Uint8Array): string {
  return `${local.key}${toHex(peer)}`;
}
