import { toHex } from '../../lib/bytes.ts';
import type { Cancel, Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Hold, Urgency } from '../interface.ts';
import type { MeshStorage } from '../storage.ts';
import type { Attachment } from './attachment.ts';
import type { Attachments } from './attachments.ts';
import { Listeners } from './listeners.ts';
import { maxHops, packetMtu } from './packet.ts';
import { PathRequests, pathRequestTimeout } from './path-request.ts';
import { type Candidate, type Path, PathTable } from './path-table.ts';
import type { Way } from './sender.ts';
import { Tunnels } from './tunnels.ts';

export interface PathChange {
  /** 16 B. */
  readonly destinationHash: Uint8Array;
  /** Undefined where it was forgotten. */
  readonly path: Path | undefined;
  /** The way that was known before; undefined where there was none. */
  readonly before: Path | undefined;
}

export interface WaysParts {
  readonly clock: Clock;
  readonly storage: MeshStorage;
  readonly log: Log;
  readonly counters: Counters;
  readonly attachments: () => Attachments;
  /** Sends a path request for a destination (16 B), with a fresh tag. */
  readonly ask: (destination: Uint8Array) => void;
}

/** ms that one hop may take to answer, besides the time on the medium. */
const perHopTimeout = 6000;

/** The ways from this node to others: known, asked for, and what they cost in time. */
export class Ways {
  readonly #attachments: () => Attachments;
  readonly #requests: PathRequests;
  readonly #onChange: Listeners<PathChange>;
  /** Far ends that are known again when they connect anew. */
  readonly tunnels: Tunnels;
  /** Known ways, also those whose interface is down. */
  readonly table: PathTable;

  constructor(parts: WaysParts) {
    this.#attachments = parts.attachments;
    this.#onChange = new Listeners(parts.log);
    this.tunnels = new Tunnels({
      ...parts,
      table: () => this.table,
      changed: path =>
        this.#onChange.tell({
          destinationHash: path.destinationHash,
          path: this.#shown(path),
          before: path,
        }),
    });
    this.table = new PathTable({
      ...parts,
      reachable: name => this.interfaceNamed(name) !== undefined,
      gravity: name => gravityOf(this.interfaceNamed(name)),
      replaced: path => this.tunnels.replaced(path),
      gone: before =>
        this.#onChange.tell({
          destinationHash: before.destinationHash,
          path: undefined,
          before: this.#shown(before),
        }),
    });
    this.tunnels.dropStrays();
    this.#requests = new PathRequests({ clock: parts.clock, send: parts.ask, timeout: () => this.timeout() });
  }

  /** Open requests of our own. */
  get requests(): PathRequests {
    return this.#requests;
  }

  onChange(listener: (change: PathChange) => void): Cancel {
    return this.#onChange.add(listener);
  }

  /** The way to a destination (16 B), if one is known and its interface is up. */
  get(destination: Uint8Array): Path | undefined {
    const path = this.table.get(toHex(destination));
    return path && this.over(path) ? this.#shown(path) : undefined;
  }

  /** By destination hash as hex; its interface may be down. */
  known(key: string): Path | undefined {
    const path = this.table.get(key);
    return path && this.#shown(path);
  }

  /** All ways, also those whose interface is down. */
  *values(may?: (key: string) => boolean): Iterable<Path> {
    for (const path of this.table.values(may)) {
      yield this.#shown(path);
    }
  }

  /** How many there are by the name of the interface, without looking into any of them. */
  counts(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const [pathName, count] of this.table.counts()) {
      const name = this.tunnels.interfaceName(pathName);
      counts.set(name, (counts.get(name) ?? 0) + count);
    }
    return counts;
  }

  /** The interface that a path goes over, if it is up. */
  over(path: Path): Attachment | undefined {
    return this.interfaceNamed(path.interfaceName);
  }

  /** The interface that ways of this name lead over, if it is up: of a tunnel the one it is connected over. */
  interfaceNamed(pathName: string): Attachment | undefined {
    return this.#attachments().sending(this.tunnels.interfaceName(pathName));
  }

  /** See `Transport.requestPath`. */
  async request(
    destination: Uint8Array,
    insist: boolean,
    sendForOthers?: (destination: Uint8Array) => void,
  ): Promise<Path> {
    const path = this.get(destination);
    if (path && !insist) {
      return path;
    }
    if (this.#attachments().allSending().length === 0) {
      throw new GatewayError('radio/offline', 'no interface is up', { retryable: true });
    }
    return this.#requests.request(toHex(destination), destination, insist, sendForOthers);
  }

  /** A verified announce offers a way that is better than the one known. Whoever hears of it is told by `changed`. */
  take(key: string, candidate: Candidate): Path {
    const { interfaceName } = candidate;
    const pathName = this.tunnels.pathName(interfaceName);
    const path = this.#shown(this.table.take(key, { ...candidate, interfaceName: pathName }));
    this.tunnels.used(interfaceName);
    this.#requests.answer(key, path);
    return path;
  }

  /** Tells of a way that was taken, in place of another or of none. */
  changed(path: Path, before: Path | undefined): void {
    this.#onChange.tell({ destinationHash: path.destinationHash, path, before });
  }

  /** Forgets the way to a destination (16 B); false where none was known. */
  drop(destination: Uint8Array): boolean {
    return this.table.drop(toHex(destination));
  }

  /** Forgets every way over an interface that is gone for good; those over its tunnel wait for it. */
  dropOver(interfaceName: string): void {
    this.tunnels.disconnected(interfaceName);
    this.table.dropOver(name => name === interfaceName);
  }

  /** How a packet of ours goes to a destination (16 B), and how long its proof may take. */
  to(destination: Uint8Array): Way {
    const path = this.get(destination);
    return {
      path,
      target: (path && this.over(path)) ?? 'all',
      // Who answers without a way there may be anywhere.
      timeout: this.firstHopTimeout(destination) + perHopTimeout * (path?.hops ?? maxHops),
    };
  }

  /** See `Transport.firstHopTimeout`. */
  firstHopTimeout(destination: Uint8Array): number {
    const path = this.get(destination);
    const iface = path && this.over(path);
    const leaving = iface?.bitrate ? timeOf(packetMtu, iface.bitrate) : 0;
    return perHopTimeout + leaving + (iface?.backlog ?? 0);
  }

  /** See `Transport.hold`. */
  hold(destination: Uint8Array, bytes: number, urgency: Urgency): Hold | undefined {
    const path = this.table.get(toHex(destination));
    const over = path && this.over(path);
    const holds = (over ? [over] : this.#attachments().allSending()).map(one => one.hold(bytes, urgency));
    if (holds.length === 0 || holds.includes(undefined)) {
      return undefined;
    }
    const delays = holds.flatMap(hold => hold?.delay ?? []);
    return { delay: delays.length === 0 ? undefined : Math.min(...delays) };
  }

  /** ms that an answer to a path request may take: 15 s, or a round trip of whole packets on the slowest medium that is up, and 6 s. */
  timeout(): number {
    const sending = this.#attachments().allSending();
    const bitrates = sending.map(attachment => attachment.bitrate);
    const backlog = Math.max(0, ...sending.map(attachment => attachment.backlog));
    const roundTrip = 2 * timeOf(packetMtu, Math.min(...bitrates)) + backlog + perHopTimeout;
    return Math.max(pathRequestTimeout, roundTrip);
  }

  /** A way as others see it: over the interface that its tunnel is connected over. */
  #shown(path: Path): Path {
    const interfaceName = this.tunnels.interfaceName(path.interfaceName);
    return interfaceName === path.interfaceName ? path : { ...path, interfaceName };
  }

  /** Rejects whoever waits, and resolves when everything is written. */
  async close(): Promise<void> {
    this.#requests.close();
    await Promise.all([this.table.flush(), this.tunnels.close()]);
  }
}

function gravityOf(iface: Attachment | undefined): number | undefined {
  return iface && (iface.policy.gravity ?? 0);
}

/** ms that bytes take at a bitrate; slower than 5 bit/s is taken for that. */
function timeOf(bytes: number, bitrate: number): number {
  return (bytes * 8 * 1000) / Math.max(bitrate, 5);
}
