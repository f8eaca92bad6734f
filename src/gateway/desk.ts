import type { Readable } from 'node:stream';
import type { ServiceHealth } from '../lib/service.ts';
import type { Audit } from './audit-entry.ts';
import type { BlobStore, DeliveryId, Resident } from './bridge.ts';
import type { Clients } from './client.ts';
import type { Address, BinaryData, JsonValue, Message, MessageId, Priority } from './message.ts';
import type { ReplicaDesk } from './replicas/contract.ts';
import type { Blocks, Directory, Peer, RoomBrief, Rooms, RouteDesk } from './society-contract.ts';
import type { Uploads } from './store/uploads.ts';

/**
 * What the switch offers the windows local programs look through: http, ws, mqtt and the control socket.
 * `app:` addresses belong to the switch: an app's inbox is a table with a cursor, and every window
 * shows the same truth. All calls take the Client they are made for and answer only what it may see;
 * a forbidden call throws `request/forbidden`, a thing it may not see is `request/not-found`.
 */
export interface Desk {
  readonly hub: HubFacts;
  readonly clients: Clients;
  readonly messages: Messages;
  readonly deliveries: Deliveries;
  readonly inbox: Inbox;
  readonly events: Events;
  readonly directory: Directory;
  readonly rooms: Rooms;
  /** Rules that add recipients, most of all to what is said in the hub's own rooms. */
  readonly routes: RouteDesk;
  /** Whom nothing is taken from and nothing goes to; for admins. */
  readonly blocks: Blocks;
  /** Local parties with addresses of their own on the mesh. */
  residents(): readonly (Resident & { readonly party: Address })[];
  readonly blobs: BlobStore;
  /** Blobs that come in pieces. */
  readonly uploads: Uploads;
  /** Whether the client may read this blob: it put it there, or may see a message that carries it. */
  mayReadBlob(client: Client, sha256: string): boolean;
  /**
   * Keeps bytes that the client put there, while its token is good. Throws `request/rate-limited` where it has too much there that
   * no message names, and as `BlobStore.put` does.
   */
  keepBlob(
    client: Client,
    bytes: Uint8Array | Readable,
    limit: number,
  ): Promise<{ readonly sha256: string; readonly size: number }>;
  /** Throws `request/rate-limited` where the client may not put so many bytes more there. */
  checkBlob(client: Client, bytes: number): Promise<void>;
  /** Marks that the client put the blob there. */
  ownBlob(client: Client, sha256: string): Promise<void>;
  health(): Health;
  /** What was done to the hub itself. */
  readonly audit: Audit;
  /** Replicas of cloud services; absent where none is defined. */
  readonly replicas?: ReplicaDesk;
}

export interface HubFacts {
  /** 32 hex digits: the hub's identity hash. */
  readonly id: string;
  readonly name: string;
  /** 32 hex digits: the hub's LXMF delivery destination. */
  readonly lxmf: string;
  readonly version: string;
  /** How many times this data directory has been started. */
  readonly boot: number;
}

export const scopes = [
  'messages:read',
  'messages:send',
  'peers:read',
  'rooms:write',
  'mesh:read',
  'mqtt',
  'metrics',
  'admin',
] as const;
export type Scope = (typeof scopes)[number];

/** Who is calling: a token's holder, `app:<name>`. The owner is a client named `owner` with `admin`. */
export interface Client {
  /** The token's id, 32 hex. */
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly rooms: readonly string[];
  /** It has addresses of its own on the mesh; others send under the hub's. */
  readonly identity?: 'own';
  readonly expiresAt?: number;
}

/** `POST /v1/messages`, `{op:"send"}` and `mesh/{destination}/tx`, after their schema. */
export interface MessageDraft {
  readonly to: Address;
  readonly type?: string;
  readonly text?: string;
  readonly title?: string;
  readonly data?: JsonValue | BinaryData;
  readonly attachments?: readonly DraftAttachment[];
  readonly inReplyTo?: MessageId;
  readonly thread?: string;
  readonly correlation?: string;
  readonly priority?: Priority;
  readonly expiresAt?: number;
  /** ms epoch by the sender's own clock; default now. */
  readonly sentAt?: number;
  readonly native?: Readonly<Record<string, string>>;
}

/** A blob that is there already, or the bytes themselves (up to 256 KiB). */
export type DraftAttachment =
  | { readonly name: string; readonly mediaType?: string; readonly sha256: string }
  | { readonly name: string; readonly mediaType?: string; readonly base64: string };

export const deliveryStates = [
  'queued',
  'sending',
  'sent',
  'delivered',
  'read',
  'failed',
  'expired',
  'cancelled',
  'ambiguous',
] as const;
export type DeliveryState = (typeof deliveryStates)[number];

/** A delivery as interfaces show it. */
export interface DeliveryView {
  readonly id: DeliveryId;
  readonly to: Address;
  readonly bridge: string;
  readonly state: DeliveryState;
  readonly reason?: string;
  readonly code?: string;
  readonly attempts: number;
  /** ms epoch of the next attempt, where one is planned. */
  readonly nextAt?: number;
  readonly history: readonly {
    readonly state: DeliveryState;
    readonly at: number;
    readonly reason?: string;
  }[];
}

export type MessageView = Message & { readonly deliveries: readonly DeliveryView[] };

/** A page of a list; the cursor is opaque and null at the end. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly cursor: string | null;
}

export interface Messages {
  /**
   * Accepts a message from `app:<client>`; resolves once durable. The message's id is made from (hub, client,
   * key), so a repeat under the same key gives the first answer with `repeated`; another body under the
   * key is `request/idempotency-mismatch`. `asked` is what is compared, where some of the draft depends on when it was
   * made. `json` is that of the message without its deliveries, where it was made for the disk just now. Needs
   * `messages:send`. Throws as `BridgePort.accept` does.
   */
  post(
    client: Client,
    draft: MessageDraft,
    key?: string,
    asked?: object,
  ): Promise<{ readonly message: MessageView; readonly json?: string; readonly repeated: boolean }>;
  /**
   * Accepts all of them in one commit, or none: for one word of a client that is for several. Under the same key it gives
   * them again with `repeated`; without one, `key` is made. `asked` and what it throws are as with `post`.
   */
  postAll(
    client: Client,
    drafts: readonly MessageDraft[],
    key?: string,
    asked?: object,
  ): Promise<{
    readonly key: string;
    readonly messages: readonly MessageView[];
    readonly repeated: boolean;
  }>;
  /** What the client posted with `postAll` under this key; empty where it did not, or where they are not kept any more. */
  postedAs(client: Client, key: string): readonly MessageView[];
  get(client: Client, id: MessageId): MessageView;
  list(client: Client, query: MessageQuery): Page<MessageView>;
  /** With whom there were messages, the newest first; a later page may name one again. Needs `messages:read`. */
  conversations(
    client: Client,
    query: { readonly after?: string; readonly limit?: number },
  ): Page<Conversation>;
  /** Cancels what is still queued; gives the message as it is then. Only its sender or an admin. */
  cancel(client: Client, id: MessageId): Promise<MessageView>;
}

export interface MessageQuery {
  readonly room?: string;
  readonly peer?: Address;
  readonly type?: string;
  readonly after?: string;
  /** 1..200, default 50. */
  readonly limit?: number;
}

/** As much of a message as a list shows of it. */
export interface MessageBrief
  extends Pick<Message, 'id' | 'type' | 'from' | 'to' | 'text' | 'acceptedAt' | 'expiresAt' | 'priority'> {
  /** How many. */
  readonly attachments: number;
}

/** Everything said with one address, or in one room. */
export interface Conversation {
  readonly address: Address;
  readonly name?: string;
  /** Its newest message; the text may be cut. */
  readonly last: MessageBrief;
}

/** What the outbox is not done with (`queued`, which holds `sending` too), and what it is done with in vain. */
export const listedStates = ['queued', 'failed', 'expired', 'ambiguous'] as const;
export type ListedState = (typeof listedStates)[number];

export type DeliveryItem = DeliveryView & { readonly message: MessageBrief };

export interface Deliveries {
  /**
   * Deliveries of all messages to far sides: what waits, oldest first, or what ended in vain, newest first. What lies
   * in an app's inbox is not among them. An admin sees all, others those of their own messages. Needs `messages:read`.
   */
  list(
    client: Client,
    query: { readonly state?: ListedState; readonly after?: string; readonly limit?: number },
  ): Page<DeliveryItem>;
  /**
   * Sends again what failed or is ambiguous, and tries what waits now. For the sender of the message, and admins. Throws
   * `request/not-found`, and `request/conflict` where it is on its way, done with, out of time, taken back
   * or an app's.
   */
  retry(client: Client, id: string): Promise<DeliveryView>;
  /** Calls back one that waits, or settles an ambiguous one for good. Throws as `retry` does. */
  cancel(client: Client, id: string): Promise<DeliveryView>;
}

export interface InboxItem {
  readonly cursor: string;
  readonly message: Message;
}

export interface InboxPage {
  readonly items: readonly InboxItem[];
  /** Never null: where to go on. */
  readonly cursor: string;
}

export interface Inbox {
  /**
   * What lies after `after` for this client, oldest first; `after` also acknowledges all it covers. Without it
   * reading goes on from the last acknowledged. With `wait` ms > 0 and nothing there, waits for the first.
   * What is returned becomes `sent`. With `hold` nothing is acknowledged by `after` and only what is not
   * acknowledged is given: for a window that acknowledges message by message. Needs `messages:read`. Throws `request/cursor-expired`, `request/invalid`.
   */
  read(
    client: Client,
    query: {
      readonly after?: string;
      readonly limit?: number;
      readonly wait?: number;
      readonly hold?: boolean;
    },
    signal?: AbortSignal,
  ): Promise<InboxPage>;
  /** Everything up to `cursor` is `delivered`. */
  acknowledge(client: Client, cursor: string): Promise<void>;
  /** One message was acknowledged by itself, out of order (a PUBACK). */
  acknowledgeMessage(client: Client, id: MessageId): Promise<void>;
  /** The cursor everything up to which is acknowledged. */
  acknowledged(client: Client): string;
  /** Messages were pushed to the client on a stream: its own deliveries of them that were `queued` become `sent`; others are left alone. */
  pushed(client: Client, ids: readonly MessageId[]): Promise<void>;
  /** `acknowledge` in cursors of events: every inbox message whose `message.accepted` lies at or before it is `delivered`. */
  seen(client: Client, eventCursor: string): Promise<void>;
  /**
   * The event cursor from which a stream shows all that is not acknowledged: just before the `message.accepted` of
   * the oldest such message (or the oldest event still kept); the newest cursor where there is none.
   */
  unseenSince(client: Client): string;
}

export const eventKinds = [
  'message.accepted',
  'message.changed',
  'delivery.changed',
  'peer.seen',
  'room.changed',
  'route.changed',
  'path.changed',
  'link.changed',
  'interface.changed',
  'health.changed',
] as const;
export type EventKind = (typeof eventKinds)[number];

/** One thing that happened; the order of cursors is the order of commits. */
export interface GatewayEvent {
  readonly cursor: string;
  readonly at: number;
  readonly kind: EventKind;
  readonly message?: Message;
  readonly delivery?: DeliveryView & { readonly message: MessageId; readonly correlation?: string };
  readonly peer?: Peer;
  readonly room?: RoomBrief;
  /** A rule as it is now, or `{id, gone: true}`. */
  readonly route?: JsonValue;
  readonly interface?: ServiceHealth;
  readonly path?: JsonValue;
  readonly link?: JsonValue;
  readonly health?: Health;
}

export interface EventPage {
  readonly items: readonly GatewayEvent[];
  readonly cursor: string;
  /** It ends because no more fit into it. */
  readonly isFull: boolean;
}

export interface Events {
  /** The newest cursor. */
  readonly cursor: string;
  /**
   * Events the client may see after the cursor, oldest first, as many as fit into 256 Ki characters, one at least: the end is
   * where the cursor does not move. `request/cursor-expired` beyond retention.
   */
  read(client: Client, after: string, limit?: number): EventPage;
  /** Whether the first of two event cursors lies after the second. Throws `request/invalid` for what is no cursor of events. */
  isAfter(cursor: string, other: string): boolean;
  /** Called after every commit that brought events: read again from your cursor. Returns the way to stop. */
  onCommit(listener: () => void): () => void;
}

/** `/readyz` and `kosctl status`: what is wrong has a name, and `ready` says whether the hub can be used all the same. */
export interface Health {
  readonly ready: boolean;
  readonly services: readonly ServiceHealth[];
  readonly queued: number;
  readonly failures: readonly { readonly name: string; readonly reason: string; readonly since: number }[];
}
