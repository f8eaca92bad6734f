import { Reader, toHex, Writer } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { MeshStorage } from '../storage.ts';
import { Alarm } from './alarm.ts';
import { hashLength } from './packet.ts';
import type { Path, PathRecord, PathTable } from './path-table.ts';
import { WriteBehind } from './write-behind.ts';

/**
 * A far end that is known again when it connects anew. Stored under its id:
 *
 *     version 1 | expires, ms epoch 8
 */
export interface Tunnel {
  /** 32 B, hex. */
  readonly id: string;
  /** Under which ways over it are remembered. */
  readonly pathName: string;
  /** Name of the interface it is connected over now. */
  readonly interfaceName: string | undefined;
  /** ms epoch */
  readonly expires: number;
}

export interface TunnelsParts {
  readonly clock: Clock;
  readonly storage: MeshStorage;
  readonly log: Log;
  readonly counters: Counters;
  readonly table: () => PathTable;
  /** A way is there again. */
  readonly changed: (path: Path) => void;
  readonly capacity?: number;
}

/** ms for which a far end is waited for, from when it last connected or taught a way. Source: RNS 1.5.7. */
export const tunnelLifetime = 8 * 3_600_000;
/** Far ends remembered: whoever is away and over first gives way. */
const defaultCapacity = 1024;
/** Ways that others took the place of while their tunnel was away. */
const replacedMost = 4096;
/** ms by which an expiry on disk may lag behind. */
const writeEvery = 10 * 60_000;
const version = 1;
/** No interface is called so. */
const prefix = 'tunnel:';

interface Entry extends Tunnel {
  interfaceName: string | undefined;
  expires: number;
  /** Of `expires`, as it was last written; 0 where no way was ever learnt over it. */
  written: number;
}

/**
 * Connections that outlive themselves. Ways over one are remembered under the name of the tunnel instead of the
 * connection's, which is another each time: they are dead while it is away, and there again, with no announce, when it
 * is back. Whatever took the place of one meanwhile yields if it is longer and not newer.
 *
 * Source: the rules of RNS 1.5.7.
 */
export class Tunnels {
  readonly #parts: TunnelsParts;
  readonly #tunnels = new Map<string, Entry>();
  /** By the name of the interface it is connected over, and by the name of its ways. */
  readonly #byInterface = new Map<string, Entry>();
  readonly #byPathName = new Map<string, Entry>();
  /** By destination hash, hex; the oldest first. */
  readonly #replaced = new Map<string, PathRecord>();
  readonly #journal: WriteBehind;
  readonly #alarm: Alarm;

  /** Loads what is stored; what does not decode is counted and dropped. */
  constructor(parts: TunnelsParts) {
    const { clock, storage, log, counters } = parts;
    this.#parts = parts;
    this.#alarm = new Alarm(clock, () => this.#expire());
    this.#journal = new WriteBehind({
      clock,
      storage,
      log,
      kind: 'tunnel',
      encode: id => {
        const tunnel = this.#tunnels.get(id);
        return tunnel && encodeTunnel(tunnel);
      },
    });
    for (const { key, value } of storage.load('tunnel')) {
      try {
        const expires = decodeTunnel(key, value);
        // A clock that was set back must not make it last longer than anything does.
        this.#add(key, Math.min(expires, clock.now() + tunnelLifetime));
      } catch (error) {
        counters.add(codeOf(error));
        this.#journal.mark(key);
      }
    }
    this.#wake();
  }

  get size(): number {
    return this.#tunnels.size;
  }

  get unwritten(): number {
    return this.#journal.size;
  }

  values(): Iterable<Tunnel> {
    return this.#tunnels.values();
  }

  /** Under which name ways over an interface are remembered. */
  pathName(interfaceName: string): string {
    return this.#byInterface.get(interfaceName)?.pathName ?? interfaceName;
  }

  /** The interface that ways of a name lead over now; the name itself where it is no tunnel's or that one is away. */
  interfaceName(pathName: string): string {
    return this.#byPathName.get(pathName)?.interfaceName ?? pathName;
  }

  /** Somebody said who they are over an interface, and signed it. Whoever is connected twice is where they said so last. */
  connected(id: Uint8Array, interfaceName: string): void {
    const { clock, counters } = this.#parts;
    const key = toHex(id);
    const before = this.#byInterface.get(interfaceName);
    if (before !== undefined && before.id !== key) {
      // One connection has one far end.
      counters.add('tunnel/refused');
      return;
    }
    const known = this.#tunnels.get(key);
    const tunnel = known ?? this.#add(key, 0);
    if (tunnel.interfaceName !== undefined) {
      this.#byInterface.delete(tunnel.interfaceName);
    }
    tunnel.interfaceName = interfaceName;
    tunnel.expires = clock.now() + tunnelLifetime;
    this.#byInterface.set(interfaceName, tunnel);
    if (tunnel.written > 0) {
      this.#write(tunnel);
    }
    counters.add(known === undefined ? 'tunnel/established' : 'tunnel/restored');
    this.#parts.table().move(interfaceName, tunnel.pathName);
    if (known !== undefined) {
      this.#restore(tunnel);
    }
    this.#bound();
  }

  /** A way was learnt over an interface: if it is a tunnel's, that lasts as long again. */
  used(interfaceName: string): void {
    const tunnel = this.#byInterface.get(interfaceName);
    if (tunnel !== undefined) {
      tunnel.expires = this.#parts.clock.now() + tunnelLifetime;
      if (tunnel.expires - tunnel.written > writeEvery) {
        this.#write(tunnel);
      }
    }
  }

  /** An interface is gone: its tunnel is away. */
  disconnected(interfaceName: string): void {
    const tunnel = this.#byInterface.get(interfaceName);
    if (tunnel !== undefined) {
      this.#byInterface.delete(interfaceName);
      tunnel.interfaceName = undefined;
      if (tunnel.written === 0) {
        this.#drop(tunnel);
      }
      this.#wake();
    }
  }

  /** A way took the place of one that led over a tunnel that is away. */
  replaced(path: PathRecord): void {
    if (!this.#byPathName.has(path.interfaceName)) {
      return;
    }
    const key = toHex(path.destinationHash);
    this.#replaced.delete(key);
    this.#replaced.set(key, path);
    if (this.#replaced.size > replacedMost) {
      this.#replaced.delete(this.#replaced.keys().next().value as string);
    }
  }

  /** Forgets ways over tunnels that are not remembered. */
  dropStrays(): void {
    this.#parts.table().dropOver(name => name.startsWith(prefix) && !this.#byPathName.has(name));
  }

  /** Resolves when everything is written. */
  close(): Promise<void> {
    this.#alarm.stop();
    return this.#journal.flush();
  }

  #restore({ pathName }: Entry): void {
    const table = this.#parts.table();
    for (const [key, path] of [...this.#replaced]) {
      if (path.interfaceName === pathName) {
        this.#replaced.delete(key);
        table.restore(key, path);
      }
    }
    for (const path of table.over(pathName)) {
      this.#parts.changed(path);
    }
  }

  #add(id: string, expires: number): Entry {
    const pathName = `${prefix}${id.slice(0, 2 * hashLength)}`;
    const tunnel: Entry = { id, pathName, interfaceName: undefined, expires, written: expires };
    this.#tunnels.set(id, tunnel);
    this.#byPathName.set(pathName, tunnel);
    return tunnel;
  }

  #write(tunnel: Entry): void {
    tunnel.written = tunnel.expires;
    this.#journal.mark(tunnel.id);
  }

  #bound(): void {
    if (this.#tunnels.size > (this.#parts.capacity ?? defaultCapacity)) {
      this.#parts.counters.add('tunnel/gave-way');
      this.#drop([...this.#tunnels.values()].reduce((first, one) => (isBefore(one, first) ? one : first)));
    }
  }

  #drop(tunnel: Entry): void {
    this.#tunnels.delete(tunnel.id);
    this.#byPathName.delete(tunnel.pathName);
    if (tunnel.interfaceName !== undefined) {
      this.#byInterface.delete(tunnel.interfaceName);
      this.#parts.table().move(tunnel.pathName, tunnel.interfaceName);
    }
    this.#parts.table().dropOver(name => name === tunnel.pathName);
    for (const [key, { interfaceName }] of [...this.#replaced]) {
      if (interfaceName === tunnel.pathName) {
        this.#replaced.delete(key);
      }
    }
    this.#journal.mark(tunnel.id);
  }

  #expire(): void {
    const now = this.#parts.clock.now();
    for (const tunnel of [...this.#tunnels.values()]) {
      if (tunnel.interfaceName === undefined && tunnel.expires <= now) {
        this.#parts.counters.add('tunnel/expired');
        this.#drop(tunnel);
      }
    }
    this.#wake();
  }

  #wake(): void {
    const { clock } = this.#parts;
    const away = [...this.#tunnels.values()].filter(({ interfaceName }) => interfaceName === undefined);
    if (away.length > 0) {
      const next = Math.min(...away.map(({ expires }) => expires));
      this.#alarm.at(clock.monotonic() + Math.max(0, next - clock.now()));
    }
  }
}

/** Whether one gives way before another: who is away first, then who is over first. */
function isBefore(one: Entry, other: Entry): boolean {
  const away = Number(one.interfaceName !== undefined) - Number(other.interfaceName !== undefined);
  return away === 0 ? one.expires < other.expires : away < 0;
}

/** Fresh bytes of a tunnel as it is stored. */
export function encodeTunnel({ expires }: Pick<Tunnel, 'expires'>): Uint8Array {
  return new Writer(9)
    .u8(version)
    .u64(BigInt(Math.round(expires)))
    .finish();
}

/** When the tunnel stored under a key is over, ms epoch. Throws `wire/*`. */
export function decodeTunnel(key: string, bytes: Uint8Array): number {
  const reader = new Reader(bytes);
  const found = reader.u8('version');
  if (found !== version) {
    throw new GatewayError('wire/unsupported', `stored tunnel of version ${found}`);
  }
  if (!/^[0-9a-f]{64}$/.test(key)) {
    throw new GatewayError('wire/malformed', 'a tunnel is stored under 32 bytes of hex');
  }
  const expires = Number(reader.u64('expires'));
  reader.end('stored tunnel');
  return expires;
}
