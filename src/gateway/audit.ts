import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { pageLimit } from './access.ts';
import type { Audit, AuditEntry, AuditView, Door } from './audit-entry.ts';
import type { Cursors } from './cursor.ts';
import type { AuditRow } from './store/audit-table.ts';
import type { Store } from './store/store.ts';

/** ms in which refusals of one kind become one line. */
const together = 60_000;

/** Kinds of refusals told apart in that time: strangers have many addresses. What is beyond becomes one line. */
const mostKinds = 64;

/** Characters of a target or of the name of a member. */
const longestText = 200;
const mostKeys = 32;

export interface AuditParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly cursors: Cursors;
}

/** The log of what was done to the hub: on disk before the answer to it, bounded by the sweep in number and age. */
export function createAudit(parts: AuditParts): Audit & { flush(): Promise<void> } {
  const { store, clock, log, counters, cursors } = parts;
  /** What was refused again since its line was written. */
  const repeated = new Map<string, { entry: AuditEntry; count: number }>();
  let cancel: (() => void) | undefined;

  async function write(entry: AuditEntry, isAct: boolean, count: number): Promise<void> {
    const row = {
      at: clock.now(),
      actor: entry.actor,
      door: entry.door,
      origin: entry.from,
      action: entry.action,
      target: entry.target?.slice(0, longestText) ?? null,
      keys: entry.keys === undefined ? null : keysText(entry.keys),
      status: entry.status,
      code: entry.code ?? null,
      count,
      act: Number(isAct),
    };
    try {
      await store.committer.commit('audit.add', row, isAct ? {} : { lazy: true });
    } catch (error) {
      counters.add('audit/unwritten');
      const { actor, door, from, action, target, status } = entry;
      log.warn(
        { actor, door, from, action, target, status, count, code: codeOf(error) },
        'a line of the audit log could not be written',
      );
    }
  }

  async function flush(): Promise<void> {
    cancel?.();
    cancel = undefined;
    const waiting = [...repeated.values()].filter(({ count }) => count > 0);
    repeated.clear();
    await Promise.all(waiting.map(({ entry, count }) => write(entry, false, count)));
  }

  return {
    record: entry => write(entry, true, 1),
    refused(entry) {
      cancel ??= clock.after(together, () => void flush());
      const full = repeated.size >= mostKinds;
      const name = JSON.stringify([entry.actor, entry.door, entry.from, entry.action, entry.code]);
      const before = repeated.get(name);
      if (before !== undefined) {
        before.count += 1;
      } else if (!full) {
        repeated.set(name, { entry, count: 0 });
        void write(entry, false, 1);
      } else {
        const { door, action, status, code } = entry;
        const rest = repeated.getOrInsertComputed(`${door} ${action}`, () => ({
          entry: { actor: '', door, from: 'others', action, status, ...(code !== undefined && { code }) },
          count: 0,
        }));
        rest.count += 1;
      }
    },
    list(query) {
      const limit = pageLimit(query.limit);
      const before = query.after === undefined ? undefined : cursors.decode('audit', query.after);
      const rows = store.read.auditBefore({
        before: before ?? Number.MAX_SAFE_INTEGER,
        limit: limit + 1,
        actor: query.actor ?? null,
        action: query.action ?? null,
      });
      const items = rows.slice(0, limit).map(row => viewOf(row, cursors));
      return { items, cursor: rows.length > limit ? (items.at(-1)?.id ?? null) : null };
    },
    flush,
  };
}

/** Names of members may be anything where a body is a map. */
function keysText(keys: readonly string[]): string {
  return JSON.stringify(keys.slice(0, mostKeys).map(key => key.slice(0, longestText)));
}

function viewOf(row: AuditRow, cursors: Cursors): AuditView {
  return {
    id: cursors.encode('audit', row.seq),
    at: row.at,
    actor: row.actor,
    door: row.door as Door,
    from: row.origin,
    action: row.action,
    ...(row.target !== null && { target: row.target }),
    ...(row.keys !== null && { keys: JSON.parse(row.keys) as string[] }),
    status: row.status,
    ...(row.code !== null && { code: row.code }),
    count: row.count,
  };
}
