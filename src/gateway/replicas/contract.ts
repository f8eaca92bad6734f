import type { ReplicaDefinition, WritePolicy } from './definition.ts';
import type { Fields } from './fields.ts';

/**
 * The seam of a service replica: the read side (proxy, cache, link) and the write side (outbox, projection,
 * replay) meet here and nowhere else. A path is always the path and query below the service, byte for byte as
 * the client sent it, beginning with `/`: `/notes?tag=a` for `/svc/fieldnotes/notes?tag=a`. A partition is whose
 * replica it is: 32 hex digits made from who asks; nothing is read or written without one.
 */
export interface ReplicaRequest {
  readonly service: string;
  readonly partition: string;
  readonly method: string;
  readonly path: string;
  /** As the client sent them, credentials included; hop-by-hop fields are gone. */
  readonly headers: Fields;
  readonly body?: Uint8Array;
}

/** A whole answer. Header fields are the origin's; paths in them are rewritten for the client by whoever sends it. */
export interface ReplicaResponse {
  readonly status: number;
  readonly headers: Fields;
  readonly body: Uint8Array;
}

export type LinkAt = 'online' | 'suspect' | 'offline' | 'forced';

/** Whether a service can be reached. `forced` is offline by hand. */
export interface LinkState {
  readonly at: LinkAt;
  /** ms epoch of the last change. */
  readonly since: number;
  /** Why it is not online, in words. */
  readonly reason?: string;
  /** ms epoch of the last answer of the origin. */
  readonly lastGoodAt?: number;
  /** ms epoch of the next probe. */
  readonly nextProbeAt?: number;
}

export interface ForwardOptions {
  readonly signal?: AbortSignal;
  /** Bytes of the answer's body; more rejects `request/too-large`. Default 4 MiB. */
  readonly maxBody?: number;
}

/**
 * Sends one request to the origin of its service and gives the whole answer, whatever its status; says so to the link.
 * The path and query go out byte for byte below the upstream URL, hop-by-hop fields and Host are made anew.
 * Rejects `bridge/unavailable` where there is no answer that could be trusted, with `detail.sent`: false while no
 * byte of the request can have been seen by the origin, so that sending it again is safe; and `detail.cause`:
 * `refused`, `dns`, `connect`, `tls`, `headers` (time), `idle` (time), `reset`, `captive`, `blocked`, `busy`, `aborted`.
 */
export type Forward = (request: ReplicaRequest, options?: ForwardOptions) => Promise<ReplicaResponse>;

/** What the replica holds for a URL of a partition, as the origin last said it. */
export interface StoredResponse extends ReplicaResponse {
  /**
   * ms epoch when the request it answers, or last confirmed it, was sent: not when it came. What was written meanwhile
   * may be missing from it.
   */
  readonly asOf: number;
  readonly etag?: string;
}

/** What a projection starts from: an answer, and when the request for it was sent. */
export type Base = ReplicaResponse & { readonly asOf: number };

/** What the write side may ask of the read side's store. */
export interface BaseReads {
  /** The whole 200 stored for this path in this partition, or undefined; never asks the origin. */
  stored(service: string, partition: string, path: string): Promise<StoredResponse | undefined>;
  /** What is stored below a path prefix, such as every page of a list; paths only, the newest first, at most `limit`. */
  pathsBelow(service: string, partition: string, prefix: string, limit?: number): readonly string[];
  /** Stores an answer the write side got for a GET of this path, as if a client had read it. */
  store(request: ReplicaRequest, response: ReplicaResponse): Promise<void>;
  /** What is stored for these paths must be asked for again before it counts as fresh; offline it is still served. */
  invalidate(service: string, partition: string, paths: readonly string[]): void;
}

/** What the read side gives the write side of one hub. */
export interface ReplicaHost {
  readonly forward: Forward;
  readonly reads: BaseReads;
  definition(service: string): ReplicaDefinition | undefined;
  link(service: string): LinkState;
  /** Called at each change of a service's link; returns the way to stop. */
  onLink(listener: (service: string, link: LinkState) => void): () => void;
  /** Called after each answer of the origin that was stored for a GET: what it confirms may be settled. */
  onStored(listener: (service: string, partition: string, path: string, asOf: number) => void): () => void;
  /** Called when the origin took a token of this partition that it had not taken before: paused lanes may go on. The headers carry it. */
  onCredentials(listener: (service: string, partition: string, headers: Fields) => void): () => void;
}

/** A request of a route whose write policy is `queue`, with its policy. Its body is whole, at most `policy.maxBody`. */
export interface QueueableWrite extends ReplicaRequest {
  readonly policy: WritePolicy;
  /** Named parts of the route's path template. */
  readonly params: Readonly<Record<string, string>>;
}

/** What the write side gives the read side. */
export interface WritePath {
  /**
   * Sends or queues it; resolves when it is answered by the origin or durable here. Throws `store/full`,
   * `request/idempotency-mismatch`, `request/conflict`, `request/invalid`, `replica/rejected`.
   */
  handle(write: QueueableWrite): Promise<ReplicaResponse>;
}

export interface Projection {
  /** Whether an operation that may not be in stored answers touches this path: cheap, asked at every read. */
  touches(service: string, partition: string, path: string): boolean;
  /**
   * The path with provisional ids replaced by those the origin has given meanwhile: asked before anything is looked up
   * or forwarded, so that an address given out offline answers ever after. `local` where it still has a provisional
   * id: the origin cannot know it, and is not asked.
   */
  resolve(
    service: string,
    partition: string,
    path: string,
  ): { readonly path: string; readonly local: boolean };
  /**
   * The answer with pending operations in it, or undefined where they change nothing. `base` is what the
   * origin or the store says, undefined where nobody knows: then an item is looked for in the stored lists.
   * Own ETag (If-None-Match is answered), `Replica-State: projected`, `Replica-Pending`.
   */
  apply(request: ReplicaRequest, base: Base | undefined): Promise<ReplicaResponse | undefined>;
}

export const queueStates = [
  'queued',
  'inflight',
  'done',
  'ambiguous',
  'conflict',
  'rejected',
  'expired',
  'blocked',
  'needs-auth',
  'discarded',
] as const;
export type QueueState = (typeof queueStates)[number];

/** An operation of the queue as interfaces show it: never its body, never its credentials. */
export interface QueueRow {
  readonly id: string;
  readonly service: string;
  readonly method: string;
  readonly path: string;
  readonly state: QueueState;
  readonly reason?: string;
  readonly attempts: number;
  /** ms epoch. */
  readonly nextAt?: number;
  readonly createdAt: number;
  /** Conflicts: what was the base, what is asked for here, what the origin has, as JSON text. */
  readonly conflict?: { readonly base?: string; readonly mine?: string; readonly theirs?: string };
}

export interface QueueCounts {
  readonly waiting: number;
  readonly blocked: number;
  readonly conflicts: number;
}

export type Resolution = 'mine' | 'theirs' | 'discard' | 'sent' | 'not-sent';

/** What people may do with the queue. `request/not-found` for an unknown id, `request/conflict` for a state that does not allow it. */
export interface QueueVerbs {
  /** Operations that are not over, oldest first; with `partition` only of that one. */
  queue(service: string, partition?: string): readonly QueueRow[];
  /** One operation, over or not. */
  operation(service: string, id: string, partition?: string): QueueRow | undefined;
  counts(service: string): QueueCounts;
  /** Tried again now. */
  retry(service: string, id: string): Promise<QueueRow>;
  /** A conflict, an ambiguous or a rejected one is decided by a person. */
  resolve(service: string, id: string, how: Resolution): Promise<QueueRow>;
}

/** The write side of all services of a hub. */
export interface ReplicaWrites extends AsyncDisposable {
  readonly path: WritePath;
  readonly projection: Projection;
  readonly verbs: QueueVerbs;
  /** Replays until the signal. */
  run(signal: AbortSignal): Promise<void>;
  /** The clock was set by so many ms: times noted since then, by the wrong clock, move with it. */
  shift(since: number, by: number): Promise<void>;
}

/** A service as status pages show it. */
export interface ReplicaView {
  readonly id: string;
  readonly title: string;
  readonly link: LinkAt;
  readonly since: number;
  readonly reason?: string;
  readonly lastGoodAt?: number;
  readonly cached: { readonly entries: number; readonly bytes: number };
  readonly queue: QueueCounts;
}

/** `desk.replicas`: what windows show of the replicas, and what an admin may do with them. */
export interface ReplicaDesk {
  list(): readonly ReplicaView[];
  /** Operations of all users. `request/not-found` for an unknown service, as all below. */
  queue(service: string): readonly QueueRow[];
  retry(service: string, id: string): Promise<QueueRow>;
  resolve(service: string, id: string, how: Resolution): Promise<QueueRow>;
  /** Offline by hand, and back. */
  force(service: string, offline: boolean): void;
}
