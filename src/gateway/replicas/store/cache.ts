import { join } from 'node:path';
import type { Clock } from '../../../lib/clock.ts';
import type { Counters } from '../../../lib/counters.ts';
import type { Log } from '../../../lib/log.ts';
import { type CacheEntry, entryOf, type Row } from './cache-entry.ts';
import type {
  Budget,
  CacheBatch,
  CacheOp,
  CacheWord,
  CacheWriterData,
  EntryHead,
  Usage,
} from './cache-job.ts';
import { deleteFiles, endLife, type Life, openLife } from './cache-life.ts';

/** A token of a service that its origin took. */
export interface KnownToken {
  readonly partition: string;
  /** ms epoch. */
  readonly goodAt: number;
}

/**
 * What the replicas of a hub keep of answers: disposable, in a file of its own. Reads see what was put before them,
 * written or not. Where the file turns out to be broken it is deleted and made anew, and everything is a miss until
 * then. Nothing here throws because of the disk.
 */
export interface Cache extends AsyncDisposable {
  /** All that is stored for a path of a partition, one for each variant. */
  select(service: string, partition: string, path: string): readonly CacheEntry[];
  put(head: EntryHead, body: Uint8Array): void;
  /** The same body under a new head of the same variant. */
  update(head: EntryHead): void;
  invalidate(service: string, partition: string, path: string): void;
  remove(service: string, partition: string, path: string): void;
  /** An entry was used; remembered now and then. */
  touch(entry: CacheEntry): void;
  pathsBelow(service: string, partition: string, prefix: string, limit: number): readonly string[];
  token(service: string, hash: string): KnownToken | undefined;
  setToken(service: string, hash: string, token: KnownToken): void;
  /** The clock was set: what was stored since `since` moves with it. */
  shift(since: number, by: number): void;
  usage(service: string): Usage;
  /** Resolves when everything put so far is written, or is lost. */
  flushed(): Promise<void>;
}

export interface CacheOptions {
  /** Folder of the hub's data. */
  readonly dir: string;
  readonly budgets: readonly Budget[];
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Bytes set aside against a full disk; default 8 MiB. */
  readonly ballast?: number;
}

/** Bytes waiting for the writer past which nothing more is stored. */
const mostWaiting = 32 * 1024 * 1024;
/** ms that uses are gathered before they are written, and how many. */
const touchEvery = 5000;
const mostTouched = 1000;
/** Tokens in memory. */
const tokensInMemory = 1000;
const ballastBytes = 8 * 1024 * 1024;

interface Waiting {
  entries: readonly CacheEntry[];
  seq: number;
}

/** Opens the cache; resolves when it can be used. */
export async function openCache(options: CacheOptions): Promise<Cache> {
  const { dir, clock, log, counters } = options;
  const data: CacheWriterData = {
    file: join(dir, 'replica-cache.db'),
    folder: join(dir, 'replica-bodies'),
    ballast: join(dir, 'replica-ballast'),
    ballastBytes: options.ballast ?? ballastBytes,
    budgets: options.budgets,
  };
  const waiting = new Map<string, Waiting>();
  const tokens = new Map<string, { readonly token: KnownToken | undefined; readonly seq: number }>();
  const touched = new Set<number>();
  let usage: Readonly<Record<string, Usage>> = {};
  let seq = 0;
  let doneSeq = 0;
  let waitingBytes = 0;
  const sizes: { readonly seq: number; readonly bytes: number }[] = [];
  let queue: CacheOp[] = [];
  let sending = false;
  let touchTimer: (() => void) | undefined;
  let life: Life | undefined;
  let closing = false;
  const idle: (() => void)[] = [];

  life = await start();

  async function start(): Promise<Life | undefined> {
    for (let tries = 0; tries < 2; tries++) {
      const made = await openLife(data);
      if ('reason' in made) {
        log.warn({ reason: made.reason }, 'the replica cache is made anew');
        counters.add('replica/cache-rebuilt');
        deleteFiles(data);
        continue;
      }
      usage = made.usage;
      made.worker.on('message', (word: CacheWord) => heard(made, word));
      made.worker.on('error', error => fail(made, String(error)));
      return made;
    }
    log.error({}, 'the replica cache cannot be opened: nothing is kept');
    return undefined;
  }

  function heard(from: Life, word: CacheWord): void {
    if (word.say === 'broken') {
      fail(from, word.reason);
    } else if (word.say === 'done' && from === life) {
      usage = word.usage;
      counters.add('replica/evicted', word.evicted);
      counters.add('replica/not-stored/full', word.refused);
      done(word.seq);
    }
  }

  function done(upTo: number): void {
    doneSeq = upTo;
    for (const [key, group] of waiting) {
      if (group.seq <= upTo) {
        waiting.delete(key);
      }
    }
    for (const [key, known] of tokens) {
      if (tokens.size > tokensInMemory && known.seq <= upTo) {
        tokens.delete(key);
      }
    }
    while (sizes[0] !== undefined && sizes[0].seq <= upTo) {
      waitingBytes -= sizes.shift()?.bytes ?? 0;
    }
    sending = false;
    send();
  }

  /** Anything wrong with the file ends it: a new one begins empty. */
  function fail(from: Life, reason: string): void {
    if (from !== life || closing) {
      return;
    }
    life = undefined;
    counters.add('replica/cache-rebuilt');
    log.warn({ reason }, 'the replica cache is made anew');
    void (async () => {
      await endLife(from);
      deleteFiles(data);
      queue = [];
      tokens.clear();
      touched.clear();
      life = await start();
      done(seq);
    })();
  }

  function send(): void {
    if (sending || life === undefined) {
      return;
    }
    if (queue.length === 0) {
      for (const resolve of idle.splice(0)) {
        resolve();
      }
      return;
    }
    sending = true;
    const ops = queue;
    queue = [];
    life.worker.postMessage({ seq, ops } satisfies CacheBatch);
  }

  function post(op: CacheOp, bytes = 0): number {
    queue.push(op);
    seq += 1;
    waitingBytes += bytes;
    sizes.push({ seq, bytes });
    queueMicrotask(send);
    return seq;
  }

  function stored(service: string, partition: string, path: string): readonly CacheEntry[] {
    if (life === undefined) {
      return [];
    }
    try {
      const rows = life.select.all(service, partition, path) as unknown as Row[];
      return rows.map(row => entryOf(row, data.folder));
    } catch (error) {
      fail(life, (error as Error).message);
      return [];
    }
  }

  function select(service: string, partition: string, path: string): readonly CacheEntry[] {
    return waiting.get(keyOf(service, partition, path))?.entries ?? stored(service, partition, path);
  }

  /** The group as it will be once everything is written. */
  function become(
    service: string,
    partition: string,
    path: string,
    op: CacheOp,
    change: (entries: readonly CacheEntry[]) => readonly CacheEntry[],
    bytes = 0,
  ): void {
    const entries = change(select(service, partition, path));
    waiting.set(keyOf(service, partition, path), { entries, seq: post(op, bytes) });
  }

  function flushTouches(): void {
    touchTimer?.();
    touchTimer = undefined;
    if (touched.size > 0) {
      post({ do: 'touch', ids: [...touched], at: clock.now() });
      touched.clear();
    }
  }

  async function close(): Promise<void> {
    if (closing) {
      return;
    }
    flushTouches();
    await flushed();
    closing = true;
    touchTimer?.();
    if (life !== undefined) {
      await endLife(life);
      life = undefined;
    }
  }

  function flushed(): Promise<void> {
    if (life === undefined || (queue.length === 0 && !sending && doneSeq >= seq)) {
      return Promise.resolve();
    }
    return new Promise(resolve => idle.push(resolve));
  }

  return {
    select,
    put(head, body) {
      if (waitingBytes + body.length > mostWaiting) {
        counters.add('replica/not-stored/slow-disk');
        return;
      }
      const entry: CacheEntry = { ...head, size: body.length, body: () => body };
      become(
        head.service,
        head.partition,
        head.path,
        { do: 'put', head: { ...head, size: body.length }, body },
        entries => [...entries.filter(({ vary }) => vary !== head.vary), entry],
        body.length,
      );
    },
    update(head) {
      become(head.service, head.partition, head.path, { do: 'update', head }, entries =>
        entries.map(each => (each.vary === head.vary ? { ...each, ...head, body: each.body } : each)),
      );
    },
    invalidate(service, partition, path) {
      if (select(service, partition, path).some(({ invalid }) => !invalid)) {
        become(service, partition, path, { do: 'invalidate', service, partition, path }, entries =>
          entries.map(each => ({ ...each, invalid: true })),
        );
      }
    },
    remove(service, partition, path) {
      become(service, partition, path, { do: 'remove', service, partition, path }, () => []);
    },
    touch(entry) {
      if (entry.id !== undefined) {
        touched.add(entry.id);
        if (touched.size >= mostTouched) {
          flushTouches();
        } else {
          touchTimer ??= clock.after(touchEvery, flushTouches);
        }
      }
    },
    pathsBelow(service, partition, prefix, limit) {
      const start = keyOf(service, partition, prefix);
      const fresh = [...waiting]
        .filter(([key, { entries }]) => key.startsWith(start) && entries.length > 0)
        .map(([key]) => key.slice(start.length - prefix.length));
      if (life === undefined) {
        return fresh.slice(0, limit);
      }
      try {
        const rows = life.below.all(service, partition, prefix, `${prefix}\u{10ffff}`, limit) as {
          path: string;
        }[];
        const gone = (path: string) => waiting.get(keyOf(service, partition, path))?.entries.length === 0;
        const known = rows.map(({ path }) => path).filter(path => !gone(path));
        return [...new Set([...fresh, ...known])].slice(0, limit);
      } catch (error) {
        fail(life, (error as Error).message);
        return fresh.slice(0, limit);
      }
    },
    token(service, hash) {
      const key = `${service} ${hash}`;
      const known = tokens.get(key);
      if (known !== undefined || life === undefined) {
        return known?.token;
      }
      try {
        const row = life.token.get(service, hash) as { partition: string; good_at: number } | undefined;
        const token = row === undefined ? undefined : { partition: row.partition, goodAt: row.good_at };
        if (token !== undefined) {
          tokens.set(key, { token, seq: 0 });
        }
        return token;
      } catch (error) {
        fail(life, (error as Error).message);
        return undefined;
      }
    },
    setToken(service, hash, token) {
      const posted = post({ do: 'token', service, hash, ...token });
      tokens.set(`${service} ${hash}`, { token: token.goodAt === 0 ? undefined : token, seq: posted });
    },
    shift(since, by) {
      post({ do: 'shift', since, by });
    },
    usage: service => usage[service] ?? { entries: 0, bytes: 0 },
    flushed,
    [Symbol.asyncDispose]: close,
  };
}

function keyOf(service: string, partition: string, path: string): string {
  return `${service} ${partition} ${path}`;
}
