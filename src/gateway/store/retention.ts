import type { DatabaseSync } from 'node:sqlite';
import type { Limits } from '../limits.ts';
import { auditSweeper } from './audit-table.ts';
import { eventSweeper, otherEventSweeper } from './event-retention.ts';
import { inboxSweeper, lateSweeper } from './inbox-retention.ts';
import { blobOwnerSweeper, messageSweeper } from './message-retention.ts';

/** The bounds a sweep holds. */
export type RetentionLimits = Pick<
  Limits,
  | 'eventAge'
  | 'eventCount'
  | 'otherEventCount'
  | 'inboxAge'
  | 'inboxCount'
  | 'messageAge'
  | 'messageCount'
  | 'orphanAge'
  | 'auditAge'
  | 'auditCount'
  | 'auditRefusals'
>;

/** What is swept, in this order: what only removes goes before what writes as well, because the disk may be full. */
export const retentionParts = [
  'events',
  'otherEvents',
  'inboxes',
  'messages',
  'blobOwners',
  'readings',
  'audit',
  'late',
] as const;
export type RetentionPart = (typeof retentionParts)[number];

export interface RetentionJobs {
  /** How the writer keeps its word: what a test asserts, because kill -9 does not prove a sync. */
  pragmas: { args: Record<string, never>; result: { journal_mode: string; synchronous: number } };
  /** Writes and removes some KiB: `store/full` where there is no room for them. */
  'store.probe': { args: { bytes: Uint8Array }; result: undefined };
  /**
   * Forgets what is too old or too much of one part, a bounded step of some ms at a time; `more` where it must be given
   * again. Where the database has nearly grown to its limit, everything that nobody waits for is too old.
   */
  'retention.sweep': {
    args: { part: RetentionPart; now: number; limits: RetentionLimits };
    result: { more: boolean };
  };
}

/** One step of a part; whether there is more to do. It goes on where the step before ended. */
export type Sweeper = (sweep: {
  readonly now: number;
  readonly limits: RetentionLimits;
  /** The database is nearly full. */
  readonly pressed: boolean;
}) => boolean;

/** Senders whose newest reading is kept: far ones cost nothing to invent. */
const readingCount = 10_000;
const readingStep = 100;
/** Pages beyond the limit that a sweep may use: it says of much what became of it before it removes it. */
const sweepRoom = 256;
/** The part of the limit from which age does not matter any more. */
const nearlyFull = 0.9;

export function retentionVerbs(database: DatabaseSync) {
  const sweepers: Readonly<Record<RetentionPart, Sweeper>> = {
    events: eventSweeper(database),
    otherEvents: otherEventSweeper(database),
    inboxes: inboxSweeper(database),
    messages: messageSweeper(database),
    blobOwners: blobOwnerSweeper(database),
    readings: readingSweeper(database),
    audit: auditSweeper(database),
    late: lateSweeper(database),
  };
  const pages = ['page_count', 'freelist_count', 'max_page_count'].map(name => ({
    name,
    read: database.prepare(`PRAGMA ${name}`),
  }));

  const most = Number(database.prepare('PRAGMA max_page_count').get()?.max_page_count);

  const putProbe = database.prepare("INSERT OR REPLACE INTO meta (key, value) VALUES ('probe', ?)");
  const removeProbe = database.prepare("DELETE FROM meta WHERE key = 'probe'");

  function isPressed(): boolean {
    const [count = 0, free = 0, most = 0] = pages.map(({ name, read }) => Number(read.get()?.[name]));
    return count - free > most * nearlyFull;
  }

  return {
    pragmas() {
      const { journal_mode } = database.prepare('PRAGMA journal_mode').get() as { journal_mode: string };
      const { synchronous } = database.prepare('PRAGMA synchronous').get() as { synchronous: number };
      return { journal_mode, synchronous };
    },
    'store.probe'({ bytes }: RetentionJobs['store.probe']['args']): undefined {
      putProbe.run(bytes.toHex());
      removeProbe.run();
    },
    'retention.sweep'({ part, now, limits }: RetentionJobs['retention.sweep']['args']) {
      const pressed = isPressed();
      database.exec(`PRAGMA max_page_count = ${most + sweepRoom}`);
      try {
        return { more: sweepers[part]({ now, limits, pressed }) };
      } finally {
        // Not below what there is by now.
        database.exec(`PRAGMA max_page_count = ${most}`);
      }
    },
  };
}

function readingSweeper(database: DatabaseSync): Sweeper {
  const count = database.prepare('SELECT count(*) AS count FROM readings');
  const remove = database.prepare(
    `DELETE FROM readings WHERE device IN (SELECT device FROM readings ORDER BY at LIMIT min(?, ${readingStep}))`,
  );
  return () => {
    const excess = (count.get() as { count: number }).count - readingCount;
    if (excess > 0) {
      remove.run(excess);
    }
    return excess > readingStep;
  };
}
