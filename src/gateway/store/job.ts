import type { AuditJobs } from './audit-table.ts';
import type { BlobJobs } from './blob-table.ts';
import type { ClientJobs } from './client-table.ts';
import type { DeliveryJobs } from './delivery-table.ts';
import type { EventJobs, EventRow } from './event-table.ts';
import type { InboxJobs } from './inbox-table.ts';
import type { LostCommits } from './lost-commits.ts';
import type { MeshJobs } from './mesh-table.ts';
import type { MessageJobs } from './message-table.ts';
import type { NoteJobs } from './note-table.ts';
import type { OutboxJobs } from './outbox-table.ts';
import type { PeerJobs } from './peer-table.ts';
import type { ResidentJobs } from './resident-table.ts';
import type { RetentionJobs } from './retention.ts';
import type { RoomJobs } from './room-table.ts';
import type { TimeJobs } from './time-table.ts';
import type { WebhookJobs } from './webhook-table.ts';

/** Everything that can be asked of the writer of gateway.db: verb → what it takes and gives. */
export interface GatewayJobs
  extends MessageJobs,
    DeliveryJobs,
    InboxJobs,
    ClientJobs,
    EventJobs,
    PeerJobs,
    ResidentJobs,
    RoomJobs,
    NoteJobs,
    BlobJobs,
    RetentionJobs,
    TimeJobs,
    AuditJobs,
    WebhookJobs {}

export interface Jobs extends GatewayJobs, MeshJobs, OutboxJobs {}

export type Verb = keyof Jobs & string;
export type Args<V extends Verb> = Jobs[V]['args'];
export type Result<V extends Verb> = Jobs[V]['result'];

/** The writing side of one database: each verb runs inside a transaction it does not see. */
export type Verbs<J> = {
  readonly [V in keyof J]: J[V] extends { args: infer A; result: infer R } ? (args: A) => R : never;
};

/** From the switch to the writer thread; they travel in arrays, one message for all that were posted together. */
export interface JobRequest {
  readonly id: number;
  readonly verb: Verb;
  readonly args: unknown;
}

/** What became of a job, posted after its COMMIT. */
export type JobReply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly failure: JobFailure };

export interface JobFailure {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  /** The file that is no whole database any more, where that is why. */
  readonly damaged?: string;
}

/** From the writer thread to the switch: one per commit. */
export interface CommitReport {
  /** Replies somebody's timer waits for: they are heard before the others. */
  readonly urgent: readonly JobReply[];
  readonly replies: readonly JobReply[];
  /** The newest event after this commit, where it brought one. */
  readonly newestEvent?: number;
  /** All events it brought, in order, where somebody follows them and they are few: nobody has to read them back. */
  readonly events?: readonly EventRow[];
}

export interface WriterData {
  readonly gatewayPath: string;
  readonly meshPath: string;
  readonly outboxPath: string;
  readonly gatewayLimit: number;
  readonly meshLimit: number;
  readonly outboxLimit: number;
  /** Whether this is the first writer of the process: what follows a crash is no new start of the hub. */
  readonly first: boolean;
  /** ms epoch: names what is put aside. */
  readonly now: number;
  readonly signals: Int32Array<SharedArrayBuffer>;
}

/** Places in the shared signals. */
export const signal = {
  /** Goes up with every message posted; the writer sleeps on it. */
  posted: 0,
  /** Urgent jobs posted and not yet taken. */
  urgent: 1,
  /** Commits so far: with `synchronous=FULL` each is one sync of the log. */
  commits: 2,
  /** Set once: finish what is posted and end. */
  closing: 3,
  /** 1 while the writer sleeps: waking it costs a system call, which nobody makes for a writer at work. */
  sleeping: 4,
  /** 1 while somebody follows the events. */
  followed: 5,
} as const;

/** The lanes to the writer: each keeps its order, the urgent one goes first, the mesh and the replicas' outbox have databases of their own. */
export const laneNames = ['urgent', 'gateway', 'mesh', 'outbox'] as const;
export type LaneName = (typeof laneNames)[number];

/** A port for each lane. */
export type WriterPorts = Readonly<Record<LaneName, import('node:worker_threads').MessagePort>>;

/** The writer's first word: all databases are open. */
export interface WriterReady {
  readonly boot: number;
  readonly epoch: string;
  readonly newestEvent: number;
  /** What was found missing of the databases; nothing but at the first start of the process. */
  readonly lost: readonly LostCommits[];
}
