import type { DatabaseSync } from 'node:sqlite';
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { isGatewayError } from '../../lib/errors.ts';
import { openWritable, storeError } from './database.ts';
import { gatewayVerbs, startGeneration } from './gateway-verbs.ts';
import type { CommitReport, JobFailure, JobReply, JobRequest, WriterData, WriterPorts } from './job.ts';
import { signal } from './job.ts';
import { meshVerbs } from './mesh-table.ts';
import { gatewaySchema, meshSchema } from './schema.ts';

/**
 * The writer thread: the only one that writes to the databases. Jobs that are posted while a commit
 * runs share the next one, up to a bound in number and in time. An urgent job ends the group being
 * built: it joins it and the group is committed at once. Each job has a savepoint of its own, so that one
 * that fails takes none with it. A job's reply is posted after the COMMIT that made it durable.
 */

/** Jobs in one group: more only makes the first of them wait longer. */
const groupSize = 256;
/** ms of work in one group, commit apart. */
const groupTime = 2;
/** ms without a job after which the log is folded back into the database. */
const quiet = 200;
/** Jobs after which that happens even so: it bounds the log to some tens of MB. */
const checkpointForced = 4096;

type AnyVerbs = Readonly<Record<string, (args: never) => unknown>>;

interface Lane {
  readonly database: DatabaseSync;
  readonly verbs: AnyVerbs;
  sinceCheckpoint: number;
}

const data = workerData as WriterData;
const { signals } = data;
const parent = parentPort as MessagePort;

parent.once('message', (ports: WriterPorts) => {
  const gateway = openWritable({ path: data.gatewayPath, schema: gatewaySchema, limit: data.gatewayLimit });
  const mesh = openWritable({ path: data.meshPath, schema: meshSchema, limit: data.meshLimit });
  const newestEvent = newestEventOf(gateway);
  parent.postMessage({ ...startGeneration(gateway), newestEvent: newestEvent() });
  const lanes = {
    gateway: { database: gateway, verbs: gatewayVerbs(gateway) as AnyVerbs, sinceCheckpoint: 0 },
    mesh: { database: mesh, verbs: meshVerbs(mesh) as AnyVerbs, sinceCheckpoint: 0 },
  };
  serve(ports, lanes, newestEvent);
  gateway.close();
  mesh.close();
  parent.close();
  for (const port of Object.values(ports) as MessagePort[]) {
    port.close();
  }
});

function serve(ports: WriterPorts, lanes: { gateway: Lane; mesh: Lane }, newestEvent: () => number): void {
  let known = newestEvent();
  for (;;) {
    const posted = Atomics.load(signals, signal.posted);
    let worked = false;
    const urgent = take(ports.urgent, true);
    const first = urgent ?? take(ports.gateway);
    if (first !== undefined) {
      const replies = commitGroup(
        lanes.gateway,
        first,
        () => take(ports.urgent, true),
        ports.gateway,
        urgent !== undefined,
      );
      const newest = newestEvent();
      report(newest === known ? { replies } : { replies, newestEvent: newest });
      known = newest;
      worked = true;
    }
    const meshFirst = Atomics.load(signals, signal.urgent) > 0 ? undefined : take(ports.mesh);
    if (meshFirst !== undefined) {
      report({ replies: commitGroup(lanes.mesh, meshFirst, () => undefined, ports.mesh, false) });
      worked = true;
    }
    if (worked) {
      foldBack([lanes.gateway, lanes.mesh], checkpointForced);
      continue;
    }
    if (Atomics.load(signals, signal.closing) === 1) {
      return;
    }
    const dirty = lanes.gateway.sinceCheckpoint + lanes.mesh.sinceCheckpoint > 0;
    if (Atomics.wait(signals, signal.posted, posted, dirty ? quiet : undefined) === 'timed-out') {
      foldBack([lanes.gateway, lanes.mesh], 1);
    }
  }
}

/** Checkpoints what has seen so many jobs since the last time. */
function foldBack(lanes: readonly Lane[], jobs: number): void {
  for (const lane of lanes) {
    if (lane.sinceCheckpoint >= jobs) {
      lane.database.exec('PRAGMA wal_checkpoint(PASSIVE)');
      lane.sinceCheckpoint = 0;
    }
  }
}

/** Builds one group from `first` on, commits it, and says what became of each job. */
function commitGroup(
  lane: Lane,
  first: JobRequest,
  takeUrgent: () => JobRequest | undefined,
  port: MessagePort,
  hurry: boolean,
): readonly JobReply[] {
  const { database } = lane;
  const done: JobReply[] = [];
  const taken: number[] = [];
  try {
    database.exec('BEGIN IMMEDIATE');
    const until = performance.now() + groupTime;
    let urgent = hurry;
    for (let job: JobRequest | undefined = first; job !== undefined; ) {
      taken.push(job.id);
      done.push(runJob(lane, job));
      const next = takeUrgent();
      urgent ||= next !== undefined;
      job =
        next ?? (urgent || done.length >= groupSize || performance.now() >= until ? undefined : take(port));
    }
    database.exec('COMMIT');
    Atomics.add(signals, signal.commits, 1);
    lane.sinceCheckpoint += done.length;
    return done;
  } catch (error) {
    if (database.isTransaction) {
      database.exec('ROLLBACK');
    }
    const failure = describe(error);
    return (taken.length === 0 ? [first.id] : taken).map(id => ({ id, failure }));
  }
}

function runJob(lane: Lane, job: JobRequest): JobReply {
  const { database } = lane;
  const verb = lane.verbs[job.verb];
  database.exec('SAVEPOINT job');
  try {
    const value = verb?.(job.args as never);
    database.exec('RELEASE job');
    return { id: job.id, value };
  } catch (error) {
    if (!database.isTransaction) {
      // SQLite gave the whole transaction up (disk full, I/O): nothing of this group is kept.
      throw error;
    }
    database.exec('ROLLBACK TO job; RELEASE job');
    return { id: job.id, failure: describe(error) };
  }
}

function take(port: MessagePort, urgent = false): JobRequest | undefined {
  if (urgent && Atomics.load(signals, signal.urgent) === 0) {
    return undefined;
  }
  const received = receiveMessageOnPort(port) as { message: JobRequest } | undefined;
  if (received !== undefined && urgent) {
    Atomics.sub(signals, signal.urgent, 1);
  }
  return received?.message;
}

function report(commit: CommitReport): void {
  parent.postMessage(commit);
}

function describe(error: unknown): JobFailure {
  const ours = storeError(error);
  if (isGatewayError(ours)) {
    return { code: ours.code, message: ours.message, retryable: ours.retryable };
  }
  return {
    code: 'internal',
    message: ours instanceof Error ? (ours.stack ?? ours.message) : String(ours),
    retryable: false,
  };
}

function newestEventOf(database: DatabaseSync): () => number {
  const newest = database.prepare(
    "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) AS seq",
  );
  return () => (newest.get() as { seq: number }).seq;
}
