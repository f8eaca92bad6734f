import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';

/*
 * Beside a database lies how many commits of it were acknowledged, and to which log the last of them went: whoever finds the database with
 * fewer, or with another log, knows that something is missing, which SQLite cannot. It is written soon after a commit and hardly
 * ever synced: it may be a little behind, after a power cut some 30 s or what the system is set to, and is never ahead. A log
 * that is not the next ones of the one noted is another one: so before one can begin with salts of its own, it is noted and
 * synced that none is known.
 *
 *     number, 16 decimal digits | space | salts of the log, 16 hex digits, zeros where it was closed in good order | newline
 *
 * Source: SQLite file format, 4.1: the log begins with a header whose bytes 16 to 23 are two salts; the first goes up by one each
 * time that the log begins anew.
 */

export interface CommitMark {
  readonly number: number;
  /** Of the log; 0 where it was closed in good order. */
  readonly salt: number;
}

export type LogFound = 'same' | 'other' | 'new' | 'none';

/** Suffix of its file. */
const markSuffix = '-mark';

/**
 * Times that a log may have begun anew since its salt was noted, as the disk has it: it does so after each pause, so a hub with little to
 * do some times a second, and a power cut leaves the note of minutes ago. Another log is taken for a later one once in 65536 times.
 */
const restarts = 65_536;
/** Times after which what is noted is synced. */
const settleEvery = 4096;
const saltOffset = 16;

/** What is noted for a database; undefined where nothing is that can be read. */
export function readMark(path: string): CommitMark | undefined {
  try {
    const [, number, salt] =
      /^(\d{16}) ([0-9a-f]{8})[0-9a-f]{8}\n$/.exec(readFileSync(path + markSuffix, 'latin1')) ?? [];
    return number === undefined || salt === undefined
      ? undefined
      : { number: Number(number), salt: Number.parseInt(salt, 16) };
  } catch {
    return undefined;
  }
}

/** Whether the log that lies there is the one that was noted; `none` where there is no log, `new` where none had been left. */
export function compareLog(path: string, mark: CommitMark): LogFound {
  const bytes = Buffer.alloc(8);
  const log = openFor(`${path}-wal`, 'r');
  try {
    if (log === undefined || readSync(log, bytes, 0, 8, saltOffset) < 8) {
      return 'none';
    }
  } finally {
    if (log !== undefined) {
      closeSync(log);
    }
  }
  const since = (bytes.readUInt32BE(0) - mark.salt) >>> 0;
  return mark.salt === 0 ? 'new' : since <= restarts ? 'same' : 'other';
}

/**
 * Notes durably that no log is known, for whoever opens the database to write: one that begins then has salts that nobody can
 * foresee, and after a power cut would lie beside the note of the one before. Where that cannot be written nothing is noted any more.
 */
export function forgetLog(path: string): void {
  const mark = readMark(path);
  const file = mark && openFor(path + markSuffix, 'r+');
  if (mark === undefined || file === undefined) {
    return;
  }
  try {
    writeSync(file, lineOf(mark.number, new Uint8Array(8)), 0, 'latin1');
    fdatasyncSync(file);
  } catch {
    rmSync(path + markSuffix, { force: true });
  } finally {
    closeSync(file);
  }
}

/** Notes what is committed. Where the disk takes nothing the note stays behind, which says less and nothing wrong. */
export interface CommitMarker {
  note(number: number): void;
  /** Syncs what is noted where the log has gone far from the one that the disk knows. */
  settle(): void;
  /** Whether the log that was noted is still the one at its place: one that is not is lost with this process. */
  hasLog(): boolean;
  /** The database was closed in good order: its log is gone. */
  close(number: number): void;
}

export function createCommitMarker(path: string): CommitMarker {
  let file = openFor(path + markSuffix, 'r+') ?? openFor(path + markSuffix, 'w+');
  let log: number | undefined;
  const salts = Buffer.alloc(8);
  let settled: number | undefined;
  const write = (number: number) => {
    if (file !== undefined) {
      try {
        writeSync(file, lineOf(number, salts), 0, 'latin1');
      } catch {
        // It is behind until the next one.
      }
    }
  };
  return {
    note(number) {
      log ??= openFor(`${path}-wal`, 'r');
      if (log !== undefined) {
        try {
          readSync(log, salts, 0, 8, saltOffset);
        } catch {
          salts.fill(0);
        }
      }
      write(number);
    },
    settle() {
      const salt = salts.readUInt32BE(0);
      const isNear = settled === undefined ? salt === 0 : (salt - settled) >>> 0 < settleEvery;
      if (file !== undefined && !isNear) {
        settled = salt;
        try {
          fdatasyncSync(file);
        } catch {
          // It is as far behind as the system lets it be.
        }
      }
    },
    hasLog() {
      return (
        log === undefined || statSync(`${path}-wal`, { throwIfNoEntry: false })?.ino === fstatSync(log).ino
      );
    },
    close(number) {
      salts.fill(0);
      write(number);
      for (const one of [file, log]) {
        if (one !== undefined) {
          closeSync(one);
        }
      }
      file = undefined;
      log = undefined;
    },
  };
}

function lineOf(number: number, salts: Uint8Array): string {
  return `${String(number).padStart(16, '0')} ${Buffer.from(salts).toString('hex')}\n`;
}

function openFor(path: string, flags: string): number | undefined {
  try {
    return openSync(path, flags, 0o600);
  } catch {
    return undefined;
  }
}
