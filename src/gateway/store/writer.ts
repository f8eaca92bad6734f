import { statSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { basename } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import { type Checkpoints, createCheckpoints } from './checkpoints.ts';
import { type CommitCount, countCommits } from './commit-count.ts';
import { forgetLog } from './commit-mark.ts';
import { isDamage, openOrPutAside, openWritable, putAside, storeError } from './database.ts';
import { eventReads } from './event-table.ts';
import { gatewayVerbs, generation } from './gateway-verbs.ts';
import { beginGroup, endsGroup, type Group, type Together } from './group.ts';
import {
  type CommitReport,
  type JobFailure,
  type JobRequest,
  type LaneName,
  signal,
  type WriterData,
  type WriterPorts,
  type WriterReady,
} from './job.ts';
import { findLost, type LostCommits } from './lost-commits.ts';
import { meshVerbs } from './mesh-table.ts';
import { outboxVerbs } from './outbox-table.ts';
import { isPlainAccept, type PackedAccept } from './packed-accept.ts';
import { type PackedJob, packReport, unpackJob } from './packed-reply.ts';
import { lostSince, rewind, rewindWrites } from './rewound.ts';
import { gatewaySchema, meshSchema, outboxSchema } from './schema.ts';

/**
 * The writer thread: the only one that writes to the databases. Jobs that are posted while a commit
 * runs share the next one, up to a bound in number and in time. An urgent job ends the group being
 * built: it joins it and the group is committed at once. A job that fails takes none with it, and one that makes room is the last of its group. A job's reply is posted after the COMMIT that made it durable.
 */

/** Jobs in one group: more only makes the first of them wait longer. */
const groupSize = 256;
/** Events that a report brings with it: more are read by those who follow them. */
const carried = 64;
/** ms of work in one group, commit apart. */
const groupTime = 2;

/** Accepts of one statement at most; what comes of them is the same as one by one. */
const together: Together = {
  verb: 'acceptPlain',
  most: 16,
  takes: ({ verb, args }) => verb === 'accept' && isPlainAccept(args as PackedAccept),
};

type AnyVerbs = Readonly<Record<string, (args: never) => unknown>>;

/** What was posted on one port, in its order. */
interface Lane {
  readonly port: MessagePort;
  jobs: readonly PackedJob[];
  next: number;
}

interface Target {
  readonly database: DatabaseSync;
  readonly path: string;
  /** Of the file that is open: another one at its path would not get what is written. */
  readonly inode: number;
  readonly verbs: AnyVerbs;
  readonly log: Checkpoints;
  readonly count: CommitCount;
  readonly news?: News;
}

type Fresh = Pick<CommitReport, 'newestEvent' | 'events'>;

/** What a transaction brings to those who follow the events. */
interface News {
  /** Looked at inside the transaction, where it costs no lock. */
  look(): Fresh;
  /** The transaction stands. */
  keep(fresh: Fresh): void;
}

const data = workerData as WriterData;
const { signals } = data;
const parent = parentPort as MessagePort;

parent.once('message', (ports: WriterPorts) => {
  const { gatewayPath, meshPath, outboxPath, first, now } = data;
  const lost = first ? [gatewayPath, meshPath, outboxPath].flatMap(path => findLostOrLeave(path, now)) : [];
  for (const path of [gatewayPath, meshPath, outboxPath]) {
    forgetLog(path);
  }
  const gateway = openWritable({ path: data.gatewayPath, schema: gatewaySchema, limit: data.gatewayLimit });
  const mesh = openOrPutAside({ path: data.meshPath, schema: meshSchema, limit: data.meshLimit }, data.now);
  const outbox = openOrPutAside(
    { path: data.outboxPath, schema: outboxSchema, limit: data.outboxLimit },
    data.now,
  );
  const lacks = (path: string) => lost.some(({ file }) => file === basename(path));
  if (lacks(gatewayPath)) {
    rewind(gateway, { since: lostSince, now, resend: false });
  }
  if (lacks(outboxPath)) {
    rewindWrites(outbox, { at: now, now, reason: `${lostSince}: it may have been sent since` });
  }
  const { newestEvent } = eventReads(gateway);
  parent.postMessage({
    ...generation(gateway, first),
    newestEvent: newestEvent(),
    lost,
  } satisfies WriterReady);
  // A thread that is ended writes nothing at its end: without this each start compiles it anew.
  flushCompileCache();
  const lane = (port: MessagePort): Lane => ({ port, jobs: [], next: 0 });
  const targets = {
    gateway: {
      ...target(gateway, gatewayPath, gatewayVerbs(gateway) as AnyVerbs),
      news: newsOf(gateway),
    },
    mesh: target(mesh, meshPath, meshVerbs(mesh) as AnyVerbs),
    outbox: target(outbox, outboxPath, outboxVerbs(outbox) as AnyVerbs),
  };
  serve(
    {
      urgent: lane(ports.urgent),
      gateway: lane(ports.gateway),
      mesh: lane(ports.mesh),
      outbox: lane(ports.outbox),
    },
    targets,
  );
  for (const { log } of Object.values(targets)) {
    log[Symbol.dispose]();
  }
  for (const { database, count } of Object.values(targets)) {
    database.close();
    count.close();
  }
  parent.close();
  for (const port of Object.values(ports)) {
    port.close();
  }
});

function target(database: DatabaseSync, path: string, verbs: AnyVerbs): Target {
  const { ino: inode } = statSync(path);
  return {
    database,
    path,
    inode,
    verbs,
    log: createCheckpoints(database, { path, inode }),
    count: countCommits(database, path),
  };
}

/** A database that is damaged is found to be so once more where it is opened, by whoever can do without it. */
function findLostOrLeave(path: string, now: number): readonly LostCommits[] {
  try {
    const lost = findLost(path, now);
    return lost === undefined ? [] : [lost];
  } catch (error) {
    if (path !== data.gatewayPath && isDamage(error)) {
      putAside(path, now);
      return [];
    }
    throw error;
  }
}

/**
 * Throws `store/unavailable` where what is committed would be lost with this process: its file has no name any more, or its log,
 * which is folded back then, so that nothing is lost with it.
 */
function requireFile({ path, inode, count, database }: Target): void {
  const there = statSync(path, { throwIfNoEntry: false });
  if (there?.ino !== inode) {
    throw new GatewayError(
      'store/unavailable',
      `${path} is gone${there === undefined ? '' : ': another file lies in its place'}. Put the data folder back, or stop the gateway`,
      { retryable: true },
    );
  }
  if (!count.hasLog()) {
    database.exec('PRAGMA wal_checkpoint(PASSIVE)');
    throw new GatewayError(
      'store/unavailable',
      `${path}-wal is gone. Nothing was lost with it: what it held is in ${path}. Start the gateway anew`,
      { retryable: true },
    );
  }
}

function serve(
  lanes: Readonly<Record<LaneName, Lane>>,
  targets: { readonly gateway: Target; readonly mesh: Target; readonly outbox: Target },
): void {
  const all = [targets.gateway, targets.mesh, targets.outbox];
  const logs = all.map(({ log }) => log);
  for (;;) {
    const posted = Atomics.load(signals, signal.posted);
    const urgent = takeUrgent(lanes.urgent);
    const first = urgent ?? take(lanes.gateway);
    if (first !== undefined) {
      report(commitGroup(targets.gateway, first, lanes.gateway, lanes.urgent, urgent !== undefined));
    }
    const meshFirst = hasUrgent() ? undefined : take(lanes.mesh);
    if (meshFirst !== undefined) {
      report(commitGroup(targets.mesh, meshFirst, lanes.mesh));
    }
    const outboxFirst = hasUrgent() ? undefined : take(lanes.outbox);
    if (outboxFirst !== undefined) {
      report(commitGroup(targets.outbox, outboxFirst, lanes.outbox));
    }
    if (first !== undefined || meshFirst !== undefined || outboxFirst !== undefined) {
      if (!hasUrgent()) {
        for (const log of logs) {
          log.foldIfLong();
        }
      }
      continue;
    }
    if (Atomics.load(signals, signal.closing) === 1) {
      return;
    }
    if (!sleep(posted, Math.min(...logs.map(log => log.patience)))) {
      for (const { log, count } of all) {
        // Before it is folded and may begin anew.
        count.note();
        log.fold();
      }
    }
  }
}

/** Sleeps until something is posted; false if nothing was for so many ms. */
function sleep(posted: number, most: number): boolean {
  Atomics.store(signals, signal.sleeping, 1);
  const outcome = Atomics.wait(signals, signal.posted, posted, most);
  Atomics.store(signals, signal.sleeping, 0);
  return outcome !== 'timed-out';
}

/** Builds one group from `first` on, commits it, and says what became of each job. */
function commitGroup(
  target: Target,
  first: JobRequest,
  lane: Lane,
  urgentLane?: Lane,
  hurry = false,
): CommitReport {
  const { database } = target;
  const told = (error: unknown) => describe(error, target);
  let group: Group | undefined;
  try {
    requireFile(target);
    group = beginGroup(database, target.verbs, told, together);
    const until = performance.now() + groupTime;
    let hurried = hurry;
    for (let job: JobRequest | undefined = first, pressing = hurry; job !== undefined; ) {
      group.run(job, pressing);
      if (endsGroup(job)) {
        break;
      }
      const next = urgentLane === undefined ? undefined : takeUrgent(urgentLane);
      pressing = next !== undefined;
      hurried ||= pressing;
      const full = hurried || group.size() >= groupSize || performance.now() >= until;
      job = next ?? (full ? undefined : take(lane));
    }
    group.end();
    const fresh = target.news?.look() ?? {};
    target.count.count();
    database.exec('COMMIT');
    target.count.keep();
    target.news?.keep(fresh);
    Atomics.add(signals, signal.commits, 1);
    target.log.grown(group.size());
    return { urgent: group.replies(true), replies: group.replies(false), ...fresh };
  } catch (error) {
    rollBack(database);
    const failure = told(error);
    const only = { id: first.id, failure };
    return group === undefined
      ? { urgent: hurry ? [only] : [], replies: hurry ? [] : [only] }
      : { urgent: group.failed(failure, true), replies: group.failed(failure, false) };
  }
}

function rollBack(database: DatabaseSync): void {
  try {
    if (database.isTransaction) {
      database.exec('ROLLBACK');
    }
  } catch {
    // A disk that is gone cannot even be told: the next BEGIN says so to whoever asks.
  }
}

function hasUrgent(): boolean {
  return Atomics.load(signals, signal.urgent) > 0;
}

function takeUrgent(lane: Lane): JobRequest | undefined {
  const job = hasUrgent() ? take(lane) : undefined;
  if (job !== undefined) {
    Atomics.sub(signals, signal.urgent, 1);
  }
  return job;
}

function take(lane: Lane): JobRequest | undefined {
  if (lane.next >= lane.jobs.length) {
    const received = receiveMessageOnPort(lane.port) as { message: readonly PackedJob[] } | undefined;
    lane.jobs = received?.message ?? [];
    lane.next = 0;
  }
  const job = lane.jobs[lane.next++];
  return job && unpackJob(job);
}

function report(commit: CommitReport): void {
  parent.postMessage(packReport(commit));
}

function describe(error: unknown, { path }: Target): JobFailure {
  const ours = storeError(error);
  if (isGatewayError(ours)) {
    const damaged = isDamage(error) ? { damaged: path } : {};
    return { code: ours.code, message: ours.message, retryable: ours.retryable, ...damaged };
  }
  return {
    code: 'internal',
    message: ours instanceof Error ? (ours.stack ?? ours.message) : String(ours),
    retryable: false,
  };
}

function newsOf(database: DatabaseSync): News {
  const { newestEvent, eventsAfter } = eventReads(database);
  let known = newestEvent();
  return {
    look() {
      const newest = newestEvent();
      if (newest === known) {
        return {};
      }
      const few = newest - known <= carried && Atomics.load(signals, signal.followed) === 1;
      return { newestEvent: newest, ...(few && { events: eventsAfter(known, carried) }) };
    },
    keep({ newestEvent: newest }) {
      known = newest ?? known;
    },
  };
}
