import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { CommitOptions, Committer } from '../../../src/gateway/store/committer.ts';
import { gatewayVerbs, generation } from '../../../src/gateway/store/gateway-verbs.ts';
import type { Verb } from '../../../src/gateway/store/job.ts';
import { gatewaySchema } from '../../../src/gateway/store/schema.ts';
import { openReads, type Store } from '../../../src/gateway/store/store.ts';
import type { Clock } from '../../../src/lib/clock.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import type { ServiceHealth } from '../../../src/lib/service.ts';
import type { Chance } from './chance.ts';

/** How a disk is for now. */
export const diskMoods = ['quick', 'quick', 'slow', 'full'] as const;
export type DiskMood = (typeof diskMoods)[number];

/**
 * The disk of one hub: what was committed outlives the process, what was not is gone with it. It does its work in
 * simulated time, in groups, and the word of a commit comes a moment after it can be read.
 */
export interface Disk {
  mood: DiskMood;
  /** It writes, and promptly. */
  readonly isWell: boolean;
  readonly database: DatabaseSync;
  /** For one process, by that process's clock: nothing happens any more once that stands. */
  open(clock: Clock): Store;
  /** The writer dies over its work, and another comes: what it was at may be there all the same. */
  loseWriter(): void;
  /** Writers that have died. */
  deaths: number;
  /** The writer dies after its next commit and before it has said so. */
  diesUnheard: boolean;
  /** The row of a message, -1 where there is none: rows are in the order of their acceptance. */
  seqOf(message: string): number;
  /** Deliveries that are held until somebody says what is to become of them. */
  ambiguous(): readonly string[];
  /** Deliveries to far sides that are not over, by their rows. */
  openRows(): number;
  /** It is never used again. */
  close(): void;
}

interface Job {
  readonly verb: Verb;
  readonly args: unknown;
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
}

type AnyVerbs = Readonly<Record<string, (args: never) => unknown>>;

/** ms a lazy job waits for company, as at the real writer. */
const lazyDelay = 20;
const longestGroup = 12;

/** A database with its statements, which take longer to make than most lives last. */
interface Medium {
  readonly database: DatabaseSync;
  readonly verbs: AnyVerbs;
  readonly read: Store['read'];
  readonly seq: StatementSync;
  readonly open: StatementSync;
  readonly ambiguous: StatementSync;
  readonly newestEvent: StatementSync;
  /** Makes it empty. */
  readonly wipe: string;
}

const spare: Medium[] = [];

function createMedium(): Medium {
  const database = new DatabaseSync(':memory:');
  database.exec(`BEGIN; ${gatewaySchema.join(' ')} COMMIT;`);
  const tables = database
    .prepare(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_stat%'`)
    .all() as { name: string }[];
  return {
    database,
    verbs: gatewayVerbs(database) as unknown as AnyVerbs,
    read: openReads(database, () => {}),
    seq: database.prepare('SELECT seq FROM messages WHERE id = ?'),
    open: database.prepare(
      `SELECT count(*) AS count FROM deliveries WHERE (state IN ('queued', 'sending') OR underway = 1) AND bridge <> 'app'`,
    ),
    ambiguous: database.prepare(`SELECT id FROM deliveries WHERE state = 'ambiguous' AND bridge <> 'app'`),
    newestEvent: database.prepare('SELECT coalesce(max(seq), 0) AS seq FROM events'),
    wipe: `BEGIN; ${tables.map(({ name }) => `DELETE FROM "${name}";`).join(' ')} COMMIT;`,
  };
}

export function createDisk(chance: Chance): Disk {
  const medium = spare.pop() ?? createMedium();
  const { database, read, verbs } = medium;
  database.exec("INSERT INTO meta (key, value) VALUES ('epoch', '0e0e')");
  let loseWriter = () => {};
  let isThere = () => true;
  const disk: Disk = {
    mood: 'quick',
    diesUnheard: false,
    deaths: 0,
    database,
    get isWell() {
      return disk.mood === 'quick' && isThere();
    },
    loseWriter: () => loseWriter(),
    open(clock) {
      const { boot, epoch } = generation(database, true);
      const { committer, lose, hasWriter } = createCommitter({
        disk,
        verbs,
        clock,
        chance,
        newestEvent: medium.newestEvent,
      });
      loseWriter = lose;
      isThere = hasWriter;
      return {
        boot,
        epoch,
        read,
        committer,
        blobs: { total: 0, size: async () => undefined, collect: async () => 0 },
        uploads: { expire: async () => {} },
        freeBytes: async () => (disk.mood === 'full' ? 0 : 1e10),
        keepBallast: async () => {},
        asides: () => [],
        onDamage: () => () => {},
      } as unknown as Store;
    },
    seqOf: message => (medium.seq.get(message) as { seq: number } | undefined)?.seq ?? -1,
    openRows: () => (medium.open.get() as { count: number }).count,
    ambiguous: () => (medium.ambiguous.all() as { id: string }[]).map(({ id }) => id),
    close() {
      database.exec(medium.wipe);
      spare.push(medium);
    },
  };
  return disk;
}

function createCommitter(parts: {
  readonly disk: Disk;
  readonly verbs: AnyVerbs;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly newestEvent: StatementSync;
}): { readonly committer: Committer; lose(): void; hasWriter(): boolean } {
  const { disk, verbs, clock, chance, newestEvent } = parts;
  const { database } = disk;
  const waiting: Record<'urgent' | 'others', Job[]> = { urgent: [], others: [] };
  /** Left for the writer: what they are about is settled. */
  const posted: Record<'urgent' | 'others', Job[]> = { urgent: [], others: [] };
  const eventListeners = new Set<(newest: number) => void>();
  const healthListeners = new Set<(health: ServiceHealth) => void>();
  const troubleListeners = new Set<(trouble: GatewayError | undefined) => void>();
  const newest = () => (newestEvent.get() as { seq: number }).seq;
  /** What the writer at work has taken. */
  let taken: readonly Job[] = [];
  let writer = 1;
  let isThere = true;
  let isBusy = false;
  let cancelLazy: (() => void) | undefined;
  let trouble: string | undefined;
  let commits = 0;
  /** It is being closed, and nothing is left to write. */
  let idle = () => {};

  const latency = () => (disk.mood === 'slow' ? 20 + chance.below(800) : chance.below(4));

  function flush(): void {
    cancelLazy?.();
    cancelLazy = undefined;
    for (const lane of ['urgent', 'others'] as const) {
      for (const job of waiting[lane].splice(0)) {
        posted[lane].push(typeof job.args === 'function' ? { ...job, args: job.args() } : job);
      }
    }
    work();
  }

  function work(): void {
    const isEmpty = posted.urgent.length + posted.others.length === 0;
    if (isBusy || !isThere || isEmpty) {
      if (!isBusy && (isEmpty || !isThere)) {
        idle();
      }
      return;
    }
    isBusy = true;
    const mine = writer;
    taken = [...posted.urgent.splice(0), ...posted.others.splice(0, 1 + chance.below(longestGroup))];
    clock.after(latency(), () => {
      if (writer !== mine) {
        return;
      }
      const before = newest();
      const replies = commitGroup(taken);
      commits += 1;
      if (disk.diesUnheard && disk.mood !== 'full') {
        disk.diesUnheard = false;
        lose();
        return;
      }
      // Whoever reads sees it now; whoever waits hears of it a moment later.
      clock.after(chance.below(3), () => {
        if (writer === mine) {
          isBusy = false;
          taken = [];
          tellOf(replies, before);
          work();
        }
      });
    });
  }

  function tellOf(replies: readonly (() => void)[], before: number): void {
    for (const reply of replies) {
      reply();
    }
    const after = newest();
    if (after !== before) {
      for (const listener of eventListeners) {
        listener(after);
      }
    }
  }

  function lose(): void {
    const gone = new GatewayError('store/unavailable', "the store's writer is gone", { retryable: true });
    const lost = [...taken, ...posted.urgent, ...posted.others, ...waiting.urgent, ...waiting.others];
    taken = [];
    for (const jobs of [posted, waiting]) {
      jobs.urgent = [];
      jobs.others = [];
    }
    writer += 1;
    disk.deaths += 1;
    isBusy = false;
    isThere = false;
    report('waiting');
    for (const job of lost) {
      job.reject(gone);
    }
    clock.after(100 + chance.below(5000), () => {
      isThere = true;
      report('up');
    });
  }

  function report(state: ServiceHealth['state']): void {
    for (const listener of healthListeners) {
      listener({ name: 'store', state, since: clock.now(), bugs: 0 });
    }
  }

  function commitGroup(group: readonly Job[]): readonly (() => void)[] {
    if (disk.mood === 'full') {
      const full = new GatewayError('store/full', 'no room left to store anything', { retryable: true });
      tell(full);
      return group.map(job => () => job.reject(full));
    }
    database.exec('BEGIN');
    const replies = group.map(job => {
      database.exec('SAVEPOINT job');
      try {
        const value = verbs[job.verb]?.(job.args as never);
        database.exec('RELEASE job');
        return () => job.resolve(value as never);
      } catch (error) {
        database.exec('ROLLBACK TO job; RELEASE job');
        return () => job.reject(error);
      }
    });
    database.exec('COMMIT');
    tell(undefined);
    return replies;
  }

  function tell(met: GatewayError | undefined): void {
    if (met?.code !== trouble) {
      trouble = met?.code;
      for (const listener of troubleListeners) {
        listener(met);
      }
    }
  }

  const committer: Committer = {
    ready: { boot: 0, epoch: '', newestEvent: newest(), lost: [] },
    get waiting() {
      return waiting.urgent.length + waiting.others.length + posted.urgent.length + posted.others.length;
    },
    get commits() {
      return commits;
    },
    commit(verb, args, { urgent, lazy }: CommitOptions = {}) {
      if (!isThere) {
        const why = "the store's writer is gone";
        return Promise.reject(new GatewayError('store/unavailable', why, { retryable: true }));
      }
      return new Promise((resolve, reject) => {
        waiting[urgent ? 'urgent' : 'others'].push({ verb, args, resolve, reject });
        if (lazy) {
          cancelLazy ??= clock.after(lazyDelay, flush);
        } else {
          flush();
        }
      });
    },
    hasten: flush,
    carryEvents() {},
    onEvents(listener) {
      eventListeners.add(listener);
      return () => eventListeners.delete(listener);
    },
    onTrouble(listener) {
      troubleListeners.add(listener);
      return () => troubleListeners.delete(listener);
    },
    onDamage: () => () => {},
    onHealth(listener) {
      healthListeners.add(listener);
      return () => healthListeners.delete(listener);
    },
    close() {
      flush();
      return new Promise(resolve => {
        idle = resolve;
        work();
      });
    },
  };
  return { committer, lose, hasWriter: () => isThere };
}
