import type { Readable } from 'node:stream';
import type {
  Address,
  Assurance,
  Attachment,
  Author,
  BinaryData,
  JsonValue,
  Message,
  MessageId,
  Priority,
  RemoteId,
} from './message.ts';
import type { Avatar } from './society-contract.ts';

/** 32 hex digits; the idempotency key of a delivery towards its far side. */
export type DeliveryId = string;

/**
 * The contract between the switch and a far side. A bridge translates and nothing else: it keeps no
 * queue, retries nothing and knows no other bridge. It does not reconnect either: when its far side is
 * gone `run` rejects with `bridge/unavailable` and the supervisor runs it again.
 */
export interface Bridge {
  /** Unique, and the scheme of the addresses it reaches: `lxmf`, `mqtt`, `matrix`. */
  readonly name: string;
  readonly carries: Capabilities;
  /** Whether an address of its scheme can exist; without it every one can. */
  readonly reaches?: (address: Address) => boolean;
  /** Whom of its far side the hub's own room is for, beside the clients that were minted into it. */
  readonly hubMembers?: readonly Address[];
  /**
   * Its far side is a server of somebody else's. While that is away the hub does everything else and is ready, and
   * names it among what fails.
   */
  readonly isRemote?: boolean;
  /**
   * The far side's own place for a room of the hub, made for it: it is a member of the room for as long as there is one, and
   * nobody takes it out.
   */
  readonly placeOf?: (room: string) => Address;
  /**
   * The rooms in force and who is in them, without places and without those who have a token: once before the bridge
   * runs, and again after each change.
   */
  readonly onRooms?: (rooms: Readonly<Record<string, { readonly members: readonly Address[] }>>) => void;
  /** Where its far side can give local parties addresses of their own. */
  readonly residence?: Residence;
  /** Lives until the signal; calls `port.ready()` once it can deliver. */
  run(port: BridgePort, signal: AbortSignal): Promise<void>;
  /**
   * What must be the same at every attempt, made while the message is accepted: it is on disk with it, so that nothing is
   * left to `remember`. Asked for messages to one address only, and undefined where making it takes waiting. What it
   * throws is as if it were undefined.
   */
  readonly prepare?: (
    delivery: Pick<Delivery, 'id' | 'to' | 'message'>,
  ) => { readonly bytes: Uint8Array; readonly remoteId: RemoteId } | undefined;
  /**
   * Takes one delivery to the far side. `bridge/unavailable` (with a reason for people) is tried again,
   * at once after `port.reachable(to)` or else by the outbox's clock; `bridge/rejected` and
   * `mesh/too-large` are final. Where the far side cannot tell a repeat, an attempt that ends without an answer after it was
   * reported `sent`, or of which nobody knows how far it got (`mesh/timeout`, a mistake) where that is not reported, is
   * held as ambiguous and not tried again. The signal ends the attempt (cancelled, expired, stopping).
   */
  deliver(delivery: Delivery, signal: AbortSignal): Promise<Progress>;
}

/**
 * A far side on which local parties can have addresses of their own: rooms, people and apps that are written to
 * there as themselves, and not as the hub. The switch keeps the keys; the bridge takes and sends under them.
 */
export interface Residence {
  /** A new address and the secret behind it. Nothing is told to anybody before `open`. */
  make(): { readonly address: Address; readonly key: Uint8Array };
  /**
   * The address is kept on disk by now: messages to it are taken and its name is told to the far side, at every run
   * of the bridge until `close`. Called again for a changed name.
   */
  open(resident: {
    readonly address: Address;
    readonly key: Uint8Array;
    readonly name: string;
    /** Whose it is. */
    readonly party: Address;
  }): void;
  /** Nothing is taken there any more. */
  close(address: Address): void;
}

/** A local party with addresses of its own on meshes. */
export interface Resident {
  /** As it is announced: fit to be shown. */
  readonly name: string;
  /** `lxmf:<32 hex>` */
  readonly addresses: readonly Address[];
}

/** What a far side can take: asked by the router, never the bridge's type. */
export interface Capabilities {
  readonly textBytes: number;
  readonly attachmentBytes: number;
  readonly replies: boolean;
  readonly receipts: boolean;
  /** Whether the far side drops a repeat by itself, so that an attempt of unknown outcome may be repeated; without it that is held as ambiguous. */
  readonly deduplicates: boolean;
  /** It reports `sent` before anything can be at the far side: an attempt that did not say so has left nothing there. */
  readonly tellsWhenSent?: boolean;
  /** Deliveries to different destinations at the same time. */
  readonly concurrency: number;
  /**
   * Deliveries to one destination under way at the same time, default 1: the next one begins once the one before
   * is reported `sent`, as long as the far side answers promptly. For a far side that takes them in the order they
   * left; where one is lost, those that had left behind it overtake it.
   */
  readonly window?: number;
}

export interface Delivery {
  readonly id: DeliveryId;
  readonly to: Address;
  /** 1 for the first. */
  readonly attempt: number;
  readonly message: Message;
  /** How urgent what waits for this address is at most: others must not wait behind what is less. */
  readonly urgency?: Priority;
  /** What `prepare` made, or `remember` was given at an earlier attempt. */
  readonly remembered?: Uint8Array;
}

/** How far an attempt got by itself; what comes later is reported through the port. */
export interface Progress {
  readonly state: 'sent' | 'delivered';
  readonly remoteId?: RemoteId;
}

/** What the far side says later about a delivery that was `sent`. */
export type LaterProgress =
  | {
      readonly state: 'sent';
      /** What leaves after it could still arrive before it: the next delivery to its destination waits for its end. */
      readonly alone?: boolean;
    }
  | { readonly state: 'delivered' | 'read' }
  | { readonly state: 'failed'; readonly code: string; readonly reason: string };

/** A far message as a bridge understood it; the switch adds id, times and route. */
export interface Incoming {
  readonly remoteId: RemoteId;
  readonly from: Address;
  readonly to: Address;
  /** Where it was said, if that is not `from`: a room of the far side, which must not get it back. */
  readonly origin?: Address;
  readonly type: string;
  readonly text: string;
  readonly title?: string;
  readonly data?: JsonValue | BinaryData;
  /** Already in the blob store: see `BridgePort.blobs`. */
  readonly attachments?: readonly Attachment[];
  readonly inReplyTo?: MessageId;
  readonly thread?: string;
  readonly correlation?: string;
  /** ms epoch; the hub's clock stands in where the far side has none. */
  readonly sentAt?: number;
  readonly expiresAt?: number;
  readonly priority?: Priority;
  readonly assurance: Assurance;
  readonly via?: readonly string[];
  readonly native?: Readonly<Record<string, string>>;
  /** Who spoke, where `from` is a room that passes it on: see `Message.author`. */
  readonly author?: Author;
  /** Somebody's timer runs while this is accepted: it is committed at once instead of with others. */
  readonly urgent?: boolean;
}

export interface Accepted {
  readonly id: MessageId;
  /** The far message was known already; nothing was stored or sent again. */
  readonly repeated: boolean;
}

export interface BridgePort {
  ready(): void;
  /**
   * Resolves when the message and its deliveries are on disk: acknowledge the far side after this and not
   * before. A `remoteId` that is known gives its first id. Throws `request/invalid`, `request/not-found`
   * (nobody has that address), `store/full`, `store/unavailable`.
   */
  accept(incoming: Incoming): Promise<Accepted>;
  /**
   * Durable before the first attempt leaves: what must be the same at every attempt, and the id by which
   * the far side will speak of it, so that a reply finds its message even after a crash.
   */
  remember(delivery: DeliveryId, bytes: Uint8Array, remoteId?: RemoteId): Promise<void>;
  report(delivery: DeliveryId, progress: LaterProgress): Promise<void>;
  /** Why a delivery still waits, in words for people; shown as its `reason`. */
  explain(delivery: DeliveryId, reason: string): void;
  /** The far side at this address can be tried now: deliveries waiting for it are taken up at once. */
  reachable(to: Address): void;
  /** Relations, from there to here. */
  resolve(remoteId: RemoteId): MessageId | undefined;
  /** And from here to there: every id by which this bridge's far sides know the message, or by which this one does. */
  remoteIds(message: MessageId, to?: Address): readonly RemoteId[];
  /** Somebody was heard; the Directory keeps it and says so in an event. */
  seen(
    address: Address,
    facts: {
      readonly at: number;
      readonly name?: string;
      readonly hops?: number;
      /** What it looks like, by its own signed word. */
      readonly avatar?: Avatar;
    },
  ): void;
  /** Nothing is taken from this address: a bridge need not keep the files of what it says. `accept` takes and drops it. */
  refuses(address: Address): boolean;
  /**
   * This bridge's local party wants an address of its own on every mesh, or gives it up; durable when it resolves. Doing
   * it again changes nothing but the name, which is announced anew. Whoever comes back after giving up has the
   * same address again. Throws `store/full` where too many have one, `request/invalid` for an address of another
   * scheme.
   */
  host(address: Address, resident: { readonly name: string } | undefined): Promise<void>;
  /** Name and addresses of a local party that has some: a person's, a room's, an app's. */
  residentOf(address: Address): Resident | undefined;
  /** How people call whoever has the address: as announced, as heard, or what the address itself says. Never verified. */
  nameOf(address: Address): string;
  readonly blobs: BlobStore;
}

/** Bytes of attachments, once each, by SHA-256. */
export interface BlobStore {
  /** Resolves when the bytes and their folder are synced. Throws `request/too-large`, `store/full`. */
  put(
    bytes: Uint8Array | Readable,
    limit?: number,
  ): Promise<{ readonly sha256: string; readonly size: number }>;
  size(sha256: string): Promise<number | undefined>;
  /** Its size and when it was put there last, ms epoch. */
  about(sha256: string): Promise<{ readonly size: number; readonly storedAt: number } | undefined>;
  /** `request/not-found` if it is not there. */
  read(sha256: string): Promise<Uint8Array>;
  /** A stream of `start`..`end` (inclusive). */
  open(sha256: string, range?: { start: number; end: number }): Promise<Readable>;
}
