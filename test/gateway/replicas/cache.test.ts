import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Cache, type CacheOptions, openCache } from '../../../src/gateway/replicas/store/cache.ts';
import type { EntryHead } from '../../../src/gateway/replicas/store/cache-job.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { ManualClock } from '../../sim/clock.ts';
import { fillDisk, noSmallDisk, smallDisk } from '../small-disk.ts';

const roomy = { service: 's', bytes: 100_000_000, partitionBytes: 100_000_000, entries: 1000 };

async function folder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'kos-cache-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function open(
  t: TestContext,
  dir: string,
  options: Partial<CacheOptions> = {},
): Promise<Cache & { readonly counters: Counters }> {
  const counters = new Counters();
  const cache = await openCache({
    dir,
    budgets: [roomy],
    clock: new ManualClock(),
    log: silentLog,
    counters,
    ballast: 0,
    ...options,
  });
  t.after(() => cache[Symbol.asyncDispose]());
  return Object.assign(cache, { counters });
}

const head = (path: string, more: Partial<EntryHead> = {}): EntryHead => ({
  service: 's',
  partition: 'p',
  path,
  vary: '',
  status: 200,
  headers: [['ETag', '"1"']],
  requestTime: 1,
  responseTime: 2,
  invalid: false,
  size: 0,
  pinned: false,
  ...more,
});

const bytes = (length: number, fill = 1) => new Uint8Array(length).fill(fill);

test('what was put is there at once, and after it was written, and after a restart; large bodies in files', async t => {
  const dir = await folder(t);
  const cache = await open(t, dir);
  cache.put(head('/small'), bytes(10));
  cache.put(head('/large', { headers: [['X', 'é']] }), bytes(70_000, 2));
  assert.equal(cache.select('s', 'p', '/small')[0]?.size, 10);
  await cache.flushed();
  assert.deepEqual(await cache.select('s', 'p', '/large')[0]?.body(), Buffer.from(bytes(70_000, 2)));
  assert.equal(readdirSync(join(dir, 'replica-bodies')).length, 1);
  assert.deepEqual(cache.usage('s').entries, 2);
  await cache[Symbol.asyncDispose]();
  assert.equal((await stat(join(dir, 'replica-cache.db'))).mode & 0o777, 0o600);
  const again = await open(t, dir);
  assert.deepEqual(again.select('s', 'p', '/large')[0]?.headers, [['X', 'é']]);
  assert.deepEqual([...((await again.select('s', 'p', '/small')[0]?.body()) ?? [])], [...bytes(10)]);
  assert.deepEqual(again.usage('s').entries, 2);
});

test('nothing is read across partitions or services', async t => {
  const cache = await open(t, await folder(t));
  cache.put(head('/x'), bytes(1));
  for (const written of [false, true]) {
    if (written) {
      await cache.flushed();
    }
    assert.equal(cache.select('s', 'q', '/x').length, 0);
    assert.equal(cache.select('r', 'p', '/x').length, 0);
    assert.deepEqual(cache.pathsBelow('s', 'q', '/', 10), []);
    assert.deepEqual(cache.pathsBelow('s', 'p', '/', 10), ['/x']);
  }
});

test('variants stand beside each other; one of the same key takes the place of the other with its file', async t => {
  const dir = await folder(t);
  const cache = await open(t, dir);
  cache.put(head('/x', { vary: 'a' }), bytes(70_000));
  cache.put(head('/x', { vary: 'b' }), bytes(1));
  cache.put(head('/x', { vary: 'a' }), bytes(2));
  await cache.flushed();
  assert.deepEqual(
    cache
      .select('s', 'p', '/x')
      .map(({ vary, size }) => [vary, size])
      .sort(),
    [
      ['a', 2],
      ['b', 1],
    ],
  );
  assert.deepEqual(readdirSync(join(dir, 'replica-bodies')), []);
  cache.update(head('/x', { vary: 'a', headers: [['ETag', '"2"']], size: 2 }));
  cache.invalidate('s', 'p', '/x');
  assert.ok(cache.select('s', 'p', '/x').every(({ invalid }) => invalid));
  await cache.flushed();
  assert.ok(cache.select('s', 'p', '/x').every(({ invalid }) => invalid));
  cache.remove('s', 'p', '/x');
  assert.deepEqual(cache.select('s', 'p', '/x'), []);
  await cache.flushed();
  assert.deepEqual(cache.select('s', 'p', '/x'), []);
  assert.deepEqual(cache.usage('s').entries, 0);
});

test('a budget holds: what was used longest ago goes first, what is pinned last, one user’s share is his own', async t => {
  const dir = await folder(t);
  const clock = new ManualClock();
  const budgets = [{ service: 's', bytes: 60_000, partitionBytes: 30_000, entries: 1000 }];
  const cache = await open(t, dir, { budgets, clock });
  cache.put(head('/pinned', { partition: 'q', pinned: true, responseTime: 1 }), bytes(5000));
  cache.put(head('/other', { partition: 'q', responseTime: 1 }), bytes(5000));
  for (let n = 0; n < 4; n++) {
    cache.put(head(`/${n}`, { responseTime: 10 + n }), bytes(6000));
  }
  await cache.flushed();
  cache.touch(cache.select('s', 'p', '/0')[0]!);
  await clock.advance(6000);
  await cache.flushed();
  cache.put(head('/4', { responseTime: clock.now() }), bytes(6000));
  await cache.flushed();
  const kept = [0, 1, 2, 3, 4].filter(n => cache.select('s', 'p', `/${n}`).length > 0);
  assert.ok(kept.includes(0) && kept.includes(4) && !kept.includes(1), String(kept));
  assert.equal(cache.select('s', 'q', '/other').length, 1);
  for (let n = 0; n < 10; n++) {
    cache.put(head(`/r${n}`, { partition: `r${n}`, responseTime: clock.now() + n }), bytes(6000));
  }
  await cache.flushed();
  assert.ok(cache.usage('s').bytes <= 60_000);
  assert.equal(cache.select('s', 'q', '/other').length, 0);
  assert.equal(cache.select('s', 'q', '/pinned').length, 1);
  assert.ok(cache.counters.get('replica/evicted') > 0);
});

test('a file that is no database, of another version, or broken in the middle is made anew, and used', async t => {
  const dir = await folder(t);
  const file = join(dir, 'replica-cache.db');
  await writeFile(file, 'this is no database, it only has its name. '.repeat(100));
  const cache = await open(t, dir);
  assert.equal(cache.counters.get('replica/cache-rebuilt'), 1);
  for (let n = 0; n < 300; n++) {
    cache.put(head(`/${n}`), bytes(3000));
  }
  await cache.flushed();
  await cache[Symbol.asyncDispose]();
  const whole = await readFile(file);
  whole.fill(0xff, 4096, whole.length);
  await writeFile(file, whole);
  const again = await open(t, dir);
  for (let n = 0; n < 300; n++) {
    again.select('s', 'p', `/${n}`);
    again.put(head(`/new${n}`), bytes(3000));
  }
  await again.flushed();
  again.put(head('/last'), bytes(5));
  await again.flushed();
  assert.equal(again.select('s', 'p', '/last')[0]?.size, 5);
  assert.ok(again.counters.get('replica/cache-rebuilt') >= 1);
});

test('on a full disk what is kept is still read, old answers make room, and it is used on when there is room again', async t => {
  await using at = await smallDisk();
  if (at === undefined) {
    t.skip(noSmallDisk);
    return;
  }
  const dir = join(at.dir, 'data');
  await mkdir(dir);
  const cache = await open(t, dir, { ballast: 1024 * 1024 });
  cache.put(head('/before'), bytes(1000));
  await cache.flushed();
  const makeRoom = await fillDisk(at.dir, 256 * 1024);
  for (let n = 0; n < 60; n++) {
    cache.put(head(`/${n}`, { responseTime: 10 + n }), bytes(60_000));
    await cache.flushed();
    cache.select('s', 'p', '/before');
  }
  assert.ok(cache.counters.get('replica/evicted') > 0);
  await makeRoom();
  cache.put(head('/after', { responseTime: 1000 }), bytes(1000));
  await cache.flushed();
  assert.equal(cache.select('s', 'p', '/after')[0]?.size, 1000);
  await cache[Symbol.asyncDispose]();
});

test('a body whose file has gone is a miss, and files that nothing names are removed at the start', async t => {
  const dir = await folder(t);
  const cache = await open(t, dir);
  cache.put(head('/large'), bytes(70_000));
  await cache.flushed();
  await cache[Symbol.asyncDispose]();
  const [name] = readdirSync(join(dir, 'replica-bodies'));
  await rm(join(dir, 'replica-bodies', name ?? ''));
  await writeFile(join(dir, 'replica-bodies', 'orphan'), 'x');
  const again = await open(t, dir);
  assert.equal(await again.select('s', 'p', '/large')[0]?.body(), undefined);
  assert.equal(existsSync(join(dir, 'replica-bodies', 'orphan')), false);
});

test('tokens are remembered by their hash, and forgotten when they are good no more', async t => {
  const dir = await folder(t);
  const cache = await open(t, dir);
  cache.setToken('s', 'h', { partition: 'p', goodAt: 5 });
  assert.deepEqual(cache.token('s', 'h'), { partition: 'p', goodAt: 5 });
  assert.equal(cache.token('r', 'h'), undefined);
  await cache[Symbol.asyncDispose]();
  const again = await open(t, dir);
  assert.deepEqual(again.token('s', 'h'), { partition: 'p', goodAt: 5 });
  again.setToken('s', 'h', { partition: 'p', goodAt: 0 });
  assert.equal(again.token('s', 'h'), undefined);
  await again.flushed();
  assert.equal(again.token('s', 'h'), undefined);
});
