import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  appendFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  rmdir,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { openBlobs } from '../../../src/gateway/store/blobs.ts';
import { openUploads, type UploadLimits } from '../../../src/gateway/store/uploads.ts';
import { GatewayError, isGatewayError } from '../../../src/lib/errors.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { ManualClock } from '../../sim/clock.ts';

const limits = { blobBytes: 1_000_000, blobsTotal: 10_000_000 };

/** Uploads on a folder of their own, opened again as after a kill. */
async function bench(given: Partial<UploadLimits> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'kos-uploads-'));
  const clock = new ManualClock(1_700_000_000_000);
  const blobs = await openBlobs(join(folder, 'blobs'), limits);
  const directory = join(folder, 'blobs', 'uploads');
  const open = () =>
    openUploads({
      directory,
      blobs,
      clock,
      random: systemRandom,
      limits: { ...given, blobBytes: limits.blobBytes },
    });
  return {
    clock,
    blobs,
    directory,
    open,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

async function* pieces(bytes: Uint8Array, breaksAt?: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 700) {
    if (breaksAt !== undefined && at >= breaksAt) {
      throw new GatewayError('request/invalid', 'the line broke');
    }
    yield bytes.subarray(at, at + 700);
  }
}

const codeIs = (code: string) => (error: unknown) => isGatewayError(error, code as 'request/conflict');

test('an upload that breaks anywhere, as often as it likes, becomes the blob it was to be', async () => {
  await using here = await bench({ step: 2000 });
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 20_000 }),
      fc.array(
        fc.record({
          take: fc.integer({ min: 0, max: 9000 }),
          breaksAt: fc.option(fc.integer({ min: 0, max: 9000 }), { nil: undefined }),
          fate: fc.constantFrom('go on', 'kill', 'wrong offset', 'wrong sum', 'right sum'),
        }),
        { maxLength: 12 },
      ),
      async (length, steps) => {
        const bytes = systemRandom.bytes(length);
        let uploads = await here.open();
        const { id } = await uploads.create('a', length, 'filename YQ==');
        let { offset } = await uploads.find('a', id);
        for (const { take, breaksAt, fate } of steps) {
          const piece = bytes.subarray(offset, offset + take);
          if (fate === 'wrong offset') {
            await assert.rejects(
              uploads.append('a', id, offset + 1, pieces(piece)),
              codeIs('request/conflict'),
            );
          } else if (fate.endsWith('sum')) {
            const digest = createHash('sha1')
              .update(piece)
              .update(fate === 'wrong sum' ? '!' : '')
              .digest();
            const sum = { algorithm: 'sha1', digest } as const;
            const whole = await uploads.find('a', id);
            const after = await uploads.append('a', id, offset, pieces(piece), sum);
            if (whole.sha256 === undefined) {
              assert.equal(after === undefined, fate === 'wrong sum');
            }
          } else {
            await uploads.append('a', id, offset, pieces(piece, breaksAt)).catch(() => {});
          }
          if (fate === 'kill') {
            // What a kill leaves behind the last count.
            const { sha256 } = await uploads.find('a', id);
            if (sha256 === undefined) {
              await appendFile(join(here.directory, `${id}.part`), 'torn');
            }
            uploads = await here.open();
          }
          const now = await uploads.find('a', id);
          assert.ok(now.offset >= offset && now.offset <= length, 'what was told to be there is there');
          offset = now.offset;
        }
        const done = await uploads.append('a', id, offset, pieces(bytes.subarray(offset)));
        const sha256 = createHash('sha256').update(bytes).digest('hex');
        assert.equal(done?.sha256, sha256);
        assert.deepEqual(Buffer.from(await here.blobs.read(sha256)), Buffer.from(bytes));
        assert.equal((await uploads.find('a', id)).metadata, 'filename YQ==');
        await assert.rejects(uploads.find('b', id), codeIs('request/not-found'));
        await uploads.remove('a', id);
        assert.deepEqual(await readdir(here.directory), []);
      },
    ),
    { numRuns: 30 },
  );
});

test('a new piece ends one that hangs, and stands where that got to', async () => {
  await using here = await bench();
  const uploads = await here.open();
  const { id } = await uploads.create('a', 10);
  const came = Promise.withResolvers<void>();
  async function* hanging(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('1234');
    // Asked for more: those are written.
    came.resolve();
    await new Promise(() => {});
  }
  const first = uploads.append('a', id, 0, hanging());
  const refused = assert.rejects(first, codeIs('request/conflict'));
  await came.promise;
  assert.equal((await uploads.find('a', id)).offset, 4);
  await refused;
  assert.equal((await uploads.append('a', id, 4, pieces(Buffer.from('567890'))))?.offset, 10);
});

test('uploads are bounded for each client and together, and are forgotten in time', async () => {
  await using here = await bench({ perClient: 2, total: 1000, lifetime: 1000 });
  const uploads = await here.open();
  await assert.rejects(uploads.create('a', limits.blobBytes + 1), codeIs('request/too-large'));
  const one = await uploads.create('a', 400);
  await uploads.create('a', 400);
  await assert.rejects(uploads.create('a', 1), codeIs('request/rate-limited'));
  await assert.rejects(uploads.create('b', 400), codeIs('store/full'));
  await assert.rejects(
    uploads.append('a', one.id, 0, pieces(Buffer.alloc(401))),
    codeIs('request/too-large'),
  );
  await here.clock.advance(1001);
  await assert.rejects(uploads.find('a', one.id), codeIs('request/not-found'));
  assert.equal(await uploads.expire(), 2);
  assert.deepEqual(await readdir(here.directory), []);
  await uploads.create('b', 400);
});

test('of two pieces that wait for one that hangs, one is written and the other ends it or is refused', async () => {
  await using here = await bench();
  const uploads = await here.open();
  const bytes = systemRandom.bytes(20_000);
  const { id } = await uploads.create('a', bytes.length);
  const came = Promise.withResolvers<void>();
  async function* hanging(): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(0, 1000);
    came.resolve();
    await new Promise(() => {});
  }
  const first = assert.rejects(uploads.append('a', id, 0, hanging()), codeIs('request/conflict'));
  await came.promise;
  const ends = await Promise.allSettled([
    uploads.append('a', id, 1000, pieces(bytes.subarray(1000, 19_000))),
    uploads.append('a', id, 1000, pieces(bytes.subarray(1000, 9000))),
  ]);
  await first;
  const written = ends.filter(({ status }) => status === 'fulfilled');
  assert.ok(written.length <= 1, 'never two at once in one file');
  const { offset } = await uploads.find('a', id);
  const done = await uploads.append('a', id, offset, pieces(bytes.subarray(offset)));
  assert.equal(done?.sha256, createHash('sha256').update(bytes).digest('hex'));
});

test('what one client has begun keeps no other from uploading', async () => {
  await using here = await bench({ total: 2_000_000, clientTotal: 1_000_000 });
  const uploads = await here.open();
  await uploads.create('a', 1_000_000);
  await assert.rejects(uploads.create('a', 1), codeIs('request/rate-limited'));
  await uploads.create('b', 1_000_000);
});

test('uploads that are whole are few for each client, however many there were; their blobs stay', async () => {
  await using here = await bench({ wholePerClient: 3 });
  const uploads = await here.open();
  const other = await uploads.create('b', 0);
  const made: string[] = [];
  for (let turn = 0; turn < 8; turn++) {
    await here.clock.advance(1);
    const { id } = await uploads.create('a', 1);
    await uploads.append('a', id, 0, pieces(Buffer.from([turn])));
    made.push(id);
  }
  await uploads.create('a', 1);
  assert.equal((await readdir(here.directory)).filter(name => name.endsWith('.json')).length, 5);
  await assert.rejects(uploads.find('a', made[0]!), codeIs('request/not-found'));
  const { sha256 } = await uploads.find('a', made[7]!);
  assert.deepEqual([...(await here.blobs.read(sha256!))], [7]);
  assert.equal((await uploads.find('b', other.id)).length, 0);
});

test('a disk that is full leaves no file open, and the upload goes on when there is room', {
  skip: platform() === 'linux' ? false : 'looks at /proc/self/fd',
}, async () => {
  await using here = await bench();
  const uploads = await here.open();
  const bytes = Buffer.from('1234567890');
  const { id } = await uploads.create('a', bytes.length);
  const openFiles = async () => {
    const places = await Promise.all(
      (await readdir('/proc/self/fd')).map(fd => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
    );
    return places.filter(place => place.startsWith(here.directory) || place === '/dev/full');
  };
  const count = join(here.directory, `${id}.at`);
  await symlink('/dev/full', count);
  await assert.rejects(uploads.append('a', id, 0, pieces(bytes)), codeIs('store/full'));
  assert.deepEqual(await openFiles(), []);
  await rm(count);
  await mkdir(count);
  await assert.rejects(uploads.append('a', id, 0, pieces(bytes)));
  assert.deepEqual(await openFiles(), []);
  await rmdir(count);
  const done = await uploads.append('a', id, 0, pieces(bytes));
  assert.equal(done?.sha256, createHash('sha256').update(bytes).digest('hex'));
});

test('parts become one blob in the order they are named, whatever they were sent in, and over kills', async () => {
  await using here = await bench();
  let uploads = await here.open();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      async (lengths, isKilled) => {
        const parts = lengths.map(length => systemRandom.bytes(length));
        const ids: string[] = [];
        for (const { length } of parts) {
          ids.push((await uploads.create('a', length, undefined, 'partial')).id);
        }
        await Promise.all(
          parts
            .map((part, n) => [part, ids[n]!] as const)
            .reverse()
            .map(([part, id]) => uploads.append('a', id, 0, pieces(part))),
        );
        const whole = Buffer.concat(parts);
        const left = await readFile(join(here.directory, `${ids[0]}.json`));
        // Asked for twice at once, as by a client that lost the first answer.
        const made = await Promise.all([uploads.join('a', ids, 'x'), uploads.join('a', ids, 'x')]);
        assert.deepEqual(made[0], made[1]);
        assert.equal(made[0].sha256, createHash('sha256').update(whole).digest('hex'));
        assert.deepEqual(Buffer.from(await here.blobs.read(made[0].sha256)), whole);
        if (isKilled) {
          // Killed before the parts were removed.
          await writeFile(join(here.directory, `${ids[0]}.json`), left);
          uploads = await here.open();
        }
        await assert.rejects(uploads.find('a', ids[0]!), codeIs('request/not-found'));
        assert.deepEqual(await uploads.join('a', ids), { ...made[0] });
        await assert.rejects(uploads.join('b', ids), codeIs('request/not-found'));
        await assert.rejects(
          uploads.append('a', made[0].id, whole.length, pieces(whole)),
          codeIs('request/forbidden'),
        );
        await uploads.remove('a', made[0].id);
        assert.deepEqual(await readdir(here.directory), []);
      },
    ),
    { numRuns: 20 },
  );
});
