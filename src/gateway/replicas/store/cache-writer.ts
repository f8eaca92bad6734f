import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import {
  type Budget,
  type CacheBatch,
  type CacheOp,
  type CacheWord,
  type CacheWriterData,
  cacheSchema,
  cacheVersion,
  inlineBytes,
  type Usage,
} from './cache-job.ts';

/**
 * The writer thread of the replica cache: the only one that writes to its database and its folder of large bodies, so
 * that a slow disk holds nobody else up. A batch is one transaction. Commits are not synced one by one: what a power
 * cut takes can be asked for again. Where the disk is full the ballast goes first, because evicting needs room too.
 */

const data = workerData as CacheWriterData;

/** Tokens remembered for a service. */
const tokensKept = 10_000;
/** What is left after an eviction, as a share of the budget: not at every put again. */
const leave = 0.95;
/** Bytes an entry costs besides its body. */
const overhead = 512;
const sqliteFull = 13;

interface Spent {
  entries: number;
  bytes: number;
  readonly partitions: Map<string, number>;
}

function say(word: CacheWord): void {
  parentPort?.postMessage(word);
}

function main(): void {
  const database = open();
  const writer = createWriter(database);
  say({ say: 'ready', usage: writer.usage() });
  parentPort?.on('message', (batch: CacheBatch | 'close') => {
    if (batch === 'close') {
      database.close();
      parentPort?.close();
      return;
    }
    try {
      const { evicted, refused } = writer.write(batch.ops);
      say({ say: 'done', seq: batch.seq, usage: writer.usage(), evicted, refused });
    } catch (error) {
      say({ say: 'broken', reason: (error as Error).message });
    }
  });
}

function open(): DatabaseSync {
  closeSync(openSync(data.file, 'a', 0o600));
  chmodSync(data.file, 0o600);
  mkdirSync(data.folder, { recursive: true, mode: 0o700 });
  const database = new DatabaseSync(data.file, { timeout: 2000 });
  const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number };
  database.exec(`
    PRAGMA page_size = 4096;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA journal_size_limit = 4194304;
  `);
  if (version !== cacheVersion) {
    database.exec('DROP TABLE IF EXISTS entry; DROP TABLE IF EXISTS token;');
  }
  database.exec(`${cacheSchema} PRAGMA user_version = ${cacheVersion};`);
  keepBallast();
  return database;
}

/** A file whose only use is to be deleted when nothing else can be. */
function keepBallast(): void {
  if (
    data.ballastBytes > 0 &&
    statSync(data.ballast, { throwIfNoEntry: false })?.size !== data.ballastBytes
  ) {
    try {
      writeFileSync(data.ballast, new Uint8Array(data.ballastBytes), { mode: 0o600 });
    } catch {
      rmSync(data.ballast, { force: true });
    }
  }
}

function createWriter(database: DatabaseSync) {
  const budgets = new Map(data.budgets.map(budget => [budget.service, budget]));
  const spent = new Map<string, Spent>();
  const put = database.prepare(`
    INSERT INTO entry (service, partition, path, vary, status, headers, request_time, response_time, invalid, size,
      first, total, pinned, last_used, body, file)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
  const update = database.prepare(`
    UPDATE entry SET status = ?, headers = ?, request_time = ?, response_time = ?, invalid = ?, last_used = ?
    WHERE service = ? AND partition = ? AND path = ? AND vary = ?`);
  const one = database.prepare(
    'SELECT id, size, file FROM entry WHERE service = ? AND partition = ? AND path = ? AND vary = ?',
  );
  const all = database.prepare(
    'SELECT id, size, file FROM entry WHERE service = ? AND partition = ? AND path = ?',
  );
  const remove = database.prepare('DELETE FROM entry WHERE id = ?');
  const invalidate = database.prepare(
    'UPDATE entry SET invalid = 1 WHERE service = ? AND partition = ? AND path = ?',
  );
  const touch = database.prepare('UPDATE entry SET last_used = ? WHERE id = ?');
  const shift = database.prepare(
    'UPDATE entry SET request_time = request_time + ?, response_time = response_time + ? WHERE response_time >= ?',
  );
  const putToken = database.prepare(`
    INSERT INTO token (service, hash, partition, good_at) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET partition = excluded.partition, good_at = excluded.good_at`);
  const dropToken = database.prepare('DELETE FROM token WHERE service = ? AND hash = ?');
  const trimTokens = database.prepare(`
    DELETE FROM token WHERE service = ?1 AND hash IN (
      SELECT hash FROM token WHERE service = ?1 ORDER BY good_at DESC LIMIT -1 OFFSET ${tokensKept})`);
  const oldest = database.prepare(
    'SELECT id, partition, size, file FROM entry WHERE service = ? ORDER BY pinned, last_used LIMIT 64',
  );
  const oldestOf = database.prepare(
    'SELECT id, partition, size, file FROM entry WHERE service = ? AND partition = ? ORDER BY pinned, last_used LIMIT 64',
  );

  const perUser = database.prepare(
    'SELECT service, partition, count(*) AS n, sum(size) AS bytes FROM entry GROUP BY service, partition',
  );
  count();
  removeOrphans();

  function count(): void {
    spent.clear();
    for (const row of perUser.all() as { service: string; partition: string; n: number; bytes: number }[]) {
      account(row.service, row.partition, row.n, row.bytes + row.n * overhead);
    }
  }

  function account(service: string, partition: string, entries: number, bytes: number): void {
    const known = spent.getOrInsertComputed(service, () => ({ entries: 0, bytes: 0, partitions: new Map() }));
    known.entries += entries;
    known.bytes += bytes;
    const left = (known.partitions.get(partition) ?? 0) + bytes;
    if (left > 0) {
      known.partitions.set(partition, left);
    } else {
      known.partitions.delete(partition);
    }
  }

  /** Files that no row names: a power cut between the two. */
  function removeOrphans(): void {
    const named = new Set(
      (database.prepare('SELECT file FROM entry WHERE file IS NOT NULL').all() as { file: string }[]).map(
        ({ file }) => file,
      ),
    );
    for (const file of readdirSync(data.folder)) {
      if (!named.has(file)) {
        rmSync(join(data.folder, file), { force: true });
      }
    }
  }

  function dropRow(service: string, partition: string, row: Row, files: string[]): void {
    remove.run(row.id);
    account(service, partition, -1, -row.size - overhead);
    if (row.file !== null) {
      files.push(row.file);
    }
  }

  /** Removes what was used longest ago until the budgets hold with `more` bytes to come. */
  function evict(service: string, partition: string, more: number, files: string[]): number {
    const budget = budgets.get(service) as Budget | undefined;
    const known = spent.get(service);
    if (budget === undefined || known === undefined) {
      return 0;
    }
    let evicted = 0;
    const down = (over: () => boolean, pick: () => Row[]) => {
      while (over()) {
        const rows = pick();
        if (rows.length === 0) {
          return;
        }
        for (const row of rows) {
          dropRow(service, row.partition, row, files);
          evicted += 1;
          if (!over()) {
            return;
          }
        }
      }
    };
    const room = (limit: number) => (share: number) => limit * share - more;
    const whole = room(budget.bytes);
    const own = room(budget.partitionBytes);
    const user = () => known.partitions.get(partition) ?? 0;
    if (user() > own(1)) {
      down(
        () => user() > own(leave),
        () => oldestOf.all(service, partition) as unknown as Row[],
      );
    }
    if (known.bytes > whole(1) || known.entries >= budget.entries) {
      down(
        () => known.bytes > whole(leave) || known.entries > budget.entries * leave,
        () => oldest.all(service) as unknown as Row[],
      );
    }
    return evicted;
  }

  function apply(op: CacheOp, files: string[], made: string[]): number {
    switch (op.do) {
      case 'put': {
        const { head, body } = op;
        const { service, partition, path, vary } = head;
        const before = one.get(service, partition, path, vary) as Row | undefined;
        if (before !== undefined) {
          dropRow(service, partition, before, files);
        }
        const budget = budgets.get(service);
        if (budget === undefined || body.length > Math.min(budget.bytes, budget.partitionBytes)) {
          return 0;
        }
        const evicted = evict(service, partition, body.length + overhead, files);
        let file: string | null = null;
        if (body.length > inlineBytes) {
          file = randomUUID();
          const place = join(data.folder, file);
          made.push(file);
          writeFileSync(`${place}.new`, body, { mode: 0o600 });
          renameSync(`${place}.new`, place);
        }
        put.run(
          service,
          partition,
          path,
          vary,
          head.status,
          JSON.stringify(head.headers),
          head.requestTime,
          head.responseTime,
          head.invalid ? 1 : 0,
          body.length,
          head.first ?? null,
          head.total ?? null,
          head.pinned ? 1 : 0,
          head.responseTime,
          file === null ? body : null,
          file,
        );
        account(service, partition, 1, body.length + overhead);
        return evicted;
      }
      case 'update': {
        const { head } = op;
        update.run(
          head.status,
          JSON.stringify(head.headers),
          head.requestTime,
          head.responseTime,
          head.invalid ? 1 : 0,
          head.responseTime,
          head.service,
          head.partition,
          head.path,
          head.vary,
        );
        return 0;
      }
      case 'invalidate':
        invalidate.run(op.service, op.partition, op.path);
        return 0;
      case 'remove':
        for (const row of all.all(op.service, op.partition, op.path) as unknown as Row[]) {
          dropRow(op.service, op.partition, row, files);
        }
        return 0;
      case 'touch':
        for (const id of op.ids) {
          touch.run(op.at, id);
        }
        return 0;
      case 'shift':
        shift.run(op.by, op.by, op.since);
        return 0;
      case 'token':
        if (op.goodAt === 0) {
          dropToken.run(op.service, op.hash);
        } else {
          putToken.run(op.service, op.hash, op.partition, op.goodAt);
          trimTokens.run(op.service);
        }
        return 0;
    }
  }

  function transaction(ops: readonly CacheOp[]): number {
    const files: string[] = [];
    const made: string[] = [];
    let evicted = 0;
    try {
      database.exec('BEGIN IMMEDIATE');
      for (const op of ops) {
        evicted += apply(op, files, made);
      }
      database.exec('COMMIT');
    } catch (error) {
      if (database.isTransaction) {
        database.exec('ROLLBACK');
      }
      count();
      for (const file of made) {
        rmSync(join(data.folder, file), { force: true });
        rmSync(join(data.folder, `${file}.new`), { force: true });
      }
      throw error;
    }
    for (const file of files) {
      rmSync(join(data.folder, file), { force: true });
    }
    return evicted;
  }

  /** Room where there is none: the ballast first, then a quarter of everything. */
  function makeRoom(): number {
    rmSync(data.ballast, { force: true });
    const files: string[] = [];
    let evicted = 0;
    database.exec('BEGIN IMMEDIATE');
    for (const [service, known] of spent) {
      for (let more = Math.ceil(known.entries / 4); more > 0; ) {
        const rows = (oldest.all(service) as unknown as Row[]).slice(0, more);
        if (rows.length === 0) {
          break;
        }
        for (const row of rows) {
          dropRow(service, row.partition, row, files);
        }
        evicted += rows.length;
        more -= rows.length;
      }
    }
    database.exec('COMMIT');
    for (const file of files) {
      rmSync(join(data.folder, file), { force: true });
    }
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    return evicted;
  }

  return {
    usage(): Record<string, Usage> {
      return Object.fromEntries(
        [...spent].map(([service, { entries, bytes }]) => [service, { entries, bytes }]),
      );
    },
    write(ops: readonly CacheOp[]): { readonly evicted: number; readonly refused: number } {
      try {
        return { evicted: transaction(ops), refused: 0 };
      } catch (error) {
        if (!isFull(error)) {
          throw error;
        }
      }
      const evicted = makeRoom();
      try {
        return { evicted: evicted + transaction(ops), refused: 0 };
      } catch (error) {
        if (!isFull(error)) {
          throw error;
        }
        return { evicted, refused: ops.length };
      } finally {
        keepBallast();
      }
    },
  };
}

interface Row {
  readonly id: number;
  readonly partition: string;
  readonly size: number;
  readonly file: string | null;
}

function isFull(error: unknown): boolean {
  const { errcode, code } = error as { errcode?: number; code?: string };
  return (errcode !== undefined && (errcode & 0xff) === sqliteFull) || code === 'ENOSPC' || code === 'EDQUOT';
}

try {
  main();
} catch (error) {
  say({ say: 'broken', reason: (error as Error).message });
}
