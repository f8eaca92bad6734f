import type { Client, DeliveryState, Page } from './desk.ts';
import type { Address, Message, MessageId, Priority } from './message.ts';
import type { RouteRule } from './route-rule.ts';

// What the switch offers its windows of peers, rooms and routes: the part of the Desk that changes while the hub runs.

export interface Peer {
  readonly address: Address;
  /** The owner's own name for it, or else the one that was heard. */
  readonly name?: string;
  /** The name that was heard, where the owner has another one. */
  readonly heardName?: string;
  /** Absent where it was never heard. */
  readonly lastSeen?: number;
  readonly hops?: number;
  readonly trust?: Trust;
  readonly consent?: Consent;
  readonly blocked?: true;
  readonly avatar?: Avatar;
}

export const trusts = ['known', 'trusted'] as const;
/** What the owner thinks of a peer; nothing follows from it but that it is found and not forgotten. */
export type Trust = (typeof trusts)[number];

export const consents = ['asked', 'given', 'refused'] as const;
/** What somebody has said of getting what is said in rooms: nothing yet, yes, no. */
export type Consent = (typeof consents)[number];

/** What a peer says it looks like: a symbol by its name, and two colours as `#rrggbb`. */
export interface Avatar {
  readonly icon: string;
  readonly foreground: string;
  readonly background: string;
}

/** What the owner changes of a peer; null takes it away. */
export interface PeerPatch {
  readonly name?: string | null;
  readonly trust?: Trust | null;
  readonly consent?: Consent | null;
  readonly blocked?: boolean;
}

export interface Directory {
  list(
    client: Client,
    query: {
      readonly after?: string;
      readonly limit?: number;
      readonly search?: string;
      readonly trust?: Trust;
      /** By `address` (the default), or by `seen`: the one heard last first. */
      readonly order?: 'address' | 'seen';
    },
  ): Page<Peer>;
  /** `request/not-found` */
  get(client: Client, address: Address): Peer;
  /**
   * What the owner says of whoever has the address, heard or not; durable when it resolves, and never forgotten for
   * strangers. For admins; throws `store/full`.
   */
  change(client: Client, address: Address, patch: PeerPatch, guard?: Guard<Peer>): Promise<Peer>;
}

/** A conversation and who is in it. */
export interface RoomView {
  readonly name: string;
  readonly members: readonly Address[];
  /** By which meshes write to it. */
  readonly addresses: readonly Address[];
  /** Whoever writes to it on a mesh may join it by saying so. */
  readonly open: boolean;
  /** Whether the configuration names it, or the hub itself, or only the API. */
  readonly source: 'config' | 'api';
  /** Some of it is not as the configuration says. */
  readonly changed: boolean;
}

/** A room as an event tells of it: as it is now, or that it is gone. */
export type RoomBrief =
  | Pick<RoomView, 'name' | 'members' | 'open' | 'source'>
  | { readonly name: string; readonly gone: true };

export interface RoomDetail extends RoomView {
  readonly memberStates: readonly MemberState[];
}

/** How it is with one member of a room. */
export interface MemberState {
  readonly address: Address;
  readonly name?: string;
  /** Who says it is one: the configuration, the API, its token, or the bridge it is behind. */
  readonly source: 'config' | 'api' | 'token' | 'bridge';
  readonly consent?: Consent;
  readonly blocked?: true;
  /** The newest of what was said that did not get there or waits with a reason, until something does. */
  readonly trouble?: {
    readonly message: MessageId;
    readonly state: DeliveryState;
    readonly at: number;
    readonly reason?: string;
    readonly code?: string;
  };
}

/** What a client wants of a room; what is absent stays. */
export interface RoomPatch {
  readonly members?: readonly Address[];
  readonly open?: boolean;
  /** An admin's word that the members who are new have agreed: they are told, not asked. */
  readonly consent?: 'given';
}

/** Throws to let a change be: given what is there in the moment of the change. */
export type Guard<T> = (before: T | undefined) => void;

/**
 * Rooms, and their changes at run time. A client sees and changes those it is a member of, an admin all; changes need
 * `rooms:write`, those of the hub's own rooms `admin`. They are durable when they resolve and concern what is
 * accepted afterwards; what still waits for somebody who was taken out is cancelled. Throw `request/not-found`,
 * `request/forbidden`, `request/invalid`, `request/conflict`, `store/full`.
 */
export interface Rooms {
  /** The rooms the client is a member of, all for an admin; by name. */
  list(client: Client): readonly RoomView[];
  get(client: Client, name: string): RoomDetail;
  /** `request/conflict` where it is there. Whoever makes it is in it, unless an admin. */
  create(client: Client, name: string, wanted: RoomPatch): Promise<RoomDetail>;
  /** Makes it exactly so: `members` are all there are to be; `made` where it was not there. */
  put(
    client: Client,
    name: string,
    wanted: RoomPatch,
    guard?: Guard<RoomDetail>,
  ): Promise<{ readonly room: RoomDetail; readonly made: boolean }>;
  change(client: Client, name: string, patch: RoomPatch, guard?: Guard<RoomDetail>): Promise<RoomDetail>;
  remove(client: Client, name: string, guard?: Guard<RoomDetail>): Promise<void>;
  /** Forgets what was changed of a room of the configuration. */
  reset(client: Client, name: string): Promise<void>;
  addMember(client: Client, name: string, address: Address, consent?: 'given'): Promise<RoomDetail>;
  /** `request/not-found` where it is none. */
  removeMember(client: Client, name: string, address: Address): Promise<RoomDetail>;
}

/** A rule, and what has come of it since the start. */
export type RouteView = RouteRule & {
  readonly id: string;
  readonly enabled: boolean;
  readonly source: 'config' | 'api';
  /** Deliveries it made. */
  readonly passed: number;
  /** Those it did not make because of `maxRate`: they are not made later. */
  readonly leftOut: number;
};

/** A message that was not sent: what would become of it. */
export interface RouteTrial {
  readonly to: Address;
  /** Rules that match, and what each adds. */
  readonly matches: readonly { readonly id: string; readonly adds: number }[];
  readonly recipients: readonly {
    readonly to: Address;
    readonly bridge: string;
    /** The rule that adds it; absent where it is meant anyway. */
    readonly route?: string;
    readonly priority: Priority;
    readonly type: string;
    readonly text: string;
    readonly title?: string;
    /** False where `maxRate` has no place for it now. */
    readonly passes: boolean;
  }[];
}

/** For admins; throws as `Rooms` does. */
export interface RouteDesk {
  list(): readonly RouteView[];
  /** `request/not-found` */
  get(id: string): RouteView;
  /** Without an id it gets one; `request/conflict` where there is one of it. */
  create(id: string | undefined, rule: RouteRule): Promise<RouteView>;
  put(
    id: string,
    rule: RouteRule,
    guard?: Guard<RouteView>,
  ): Promise<{ readonly route: RouteView; readonly made: boolean }>;
  /** What is absent stays, null takes a member away. */
  change(
    id: string,
    patch: { readonly [K in keyof RouteRule]?: RouteRule[K] | null },
    guard?: Guard<RouteView>,
  ): Promise<RouteView>;
  remove(id: string, guard?: Guard<RouteView>): Promise<void>;
  /** What the rules would do with a message; nothing is sent and no place of a rate is taken. */
  test(message: Pick<Message, 'from' | 'to' | 'type' | 'text'> & Partial<Message>): RouteTrial;
}

export interface BlockView {
  /** An address, or several: `*` stands for anything. */
  readonly pattern: string;
  readonly reason?: string;
  readonly since: number;
}

/** Throw `request/invalid`, `request/not-found`, `store/full`. */
export interface Blocks {
  list(): readonly BlockView[];
  get(pattern: string): BlockView | undefined;
  add(pattern: string, reason?: string): Promise<BlockView>;
  remove(pattern: string): Promise<void>;
}
