import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type {
  Accepted,
  BlobStore,
  BridgePort,
  Incoming,
  LaterProgress,
  Resident,
} from '../../../src/gateway/bridge.ts';
import { type Address, type MessageId, messageId, type RemoteId } from '../../../src/gateway/message.ts';
import { GatewayError } from '../../../src/lib/errors.ts';

/** A switch of one bridge, in memory: keeps what it is given, and knows a repeat by its remote id. */
export class MemoryPort implements BridgePort {
  readonly accepted: (Incoming & { readonly id: MessageId })[] = [];
  readonly repeats: RemoteId[] = [];
  readonly reports: { readonly delivery: string; readonly state: string }[] = [];
  readonly explained: string[] = [];
  readonly reached: Address[] = [];
  readonly peers = new Map<Address, { name?: string; hops?: number }>();
  readonly remembered = new Map<string, Uint8Array>();
  /** Whom each delivery is for. */
  readonly recipients = new Map<string, Address>();
  readonly residents = new Map<Address, Resident>();
  readonly names = new Map<Address, string>();
  readonly #ids = new Map<RemoteId, MessageId>();
  /** Who knows a message by this id. */
  readonly #knownTo = new Map<RemoteId, Address>();
  readonly #waiting = new Set<() => void>();
  readonly #blobs = new Map<string, Uint8Array>();
  up = false;

  readonly blobs: BlobStore = {
    put: async bytes => {
      if (!(bytes instanceof Uint8Array)) {
        throw new GatewayError('request/unsupported', 'only bytes here');
      }
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      this.#blobs.set(sha256, bytes.slice());
      return { sha256, size: bytes.length };
    },
    size: async sha256 => this.#blobs.get(sha256)?.length,
    about: async sha256 => {
      const size = this.#blobs.get(sha256)?.length;
      return size === undefined ? undefined : { size, storedAt: 0 };
    },
    read: async sha256 => {
      const bytes = this.#blobs.get(sha256);
      if (bytes === undefined) {
        throw new GatewayError('request/not-found', 'no such blob');
      }
      return bytes;
    },
    open: async sha256 => Readable.from([this.#blobs.get(sha256)!]),
  };

  refuses(): boolean {
    return false;
  }

  ready(): void {
    this.up = true;
    this.#changed();
  }

  async accept(incoming: Incoming): Promise<Accepted> {
    const known = this.#ids.get(incoming.remoteId);
    if (known !== undefined) {
      this.repeats.push(incoming.remoteId);
      return { id: known, repeated: true };
    }
    const id = messageId('lxmf', incoming.remoteId);
    this.#ids.set(incoming.remoteId, id);
    this.#knownTo.set(incoming.remoteId, incoming.from);
    this.accepted.push({ ...incoming, id });
    this.#changed();
    return { id, repeated: false };
  }

  async remember(delivery: string, bytes: Uint8Array, remoteId?: RemoteId): Promise<void> {
    this.remembered.set(delivery, bytes.slice());
    if (remoteId !== undefined) {
      this.#ids.set(remoteId, delivery);
      this.#knownTo.set(remoteId, this.recipients.get(delivery) ?? '');
    }
  }

  async report(delivery: string, { state }: LaterProgress): Promise<void> {
    this.reports.push({ delivery, state });
  }

  explain(_delivery: string, reason: string): void {
    this.explained.push(reason);
  }

  reachable(to: Address): void {
    this.reached.push(to);
    this.#changed();
  }

  async host(): Promise<void> {}

  residentOf(address: Address): Resident | undefined {
    return this.residents.get(address);
  }

  nameOf(address: Address): string {
    return this.names.get(address) ?? this.residents.get(address)?.name ?? address;
  }

  resolve(remoteId: RemoteId): MessageId | undefined {
    return this.#ids.get(remoteId);
  }

  remoteIds(message: MessageId, to?: Address): readonly RemoteId[] {
    return [...this.#ids].flatMap(([remoteId, id]) =>
      id === message && (to === undefined || this.#knownTo.get(remoteId) === to) ? [remoteId] : [],
    );
  }

  seen(address: Address, { name, hops }: { name?: string; hops?: number }): void {
    this.peers.set(address, { ...(name ? { name } : {}), ...(hops === undefined ? {} : { hops }) });
    this.#changed();
  }

  /** What `found` gives as soon as it gives something; fails after `patience` ms without anything new. */
  async until<T>(found: () => T | undefined | false, patience = 15_000): Promise<T> {
    for (;;) {
      const value = found();
      if (value !== undefined && value !== false) {
        return value;
      }
      await new Promise<void>((resolve, reject) => {
        const wake = () => {
          clearTimeout(timer);
          this.#waiting.delete(wake);
          resolve();
        };
        const timer = setTimeout(() => reject(new Error(`nothing came for ${patience} ms`)), patience);
        this.#waiting.add(wake);
      });
    }
  }

  #changed(): void {
    for (const wake of this.#waiting) {
      wake();
    }
  }
}
