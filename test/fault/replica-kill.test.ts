import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { startNotesOrigin } from '../sim/origins/notes.ts';
import { seededRandom } from '../sim/random.ts';
import { seed } from '../sim/seed.ts';

const rounds = 20;

interface Line {
  readonly ready?: true;
  readonly number?: number;
  readonly edited?: number;
  readonly status?: number;
  readonly drained?: true;
}

function start(args: readonly string[], hear: (line: Line) => void): ChildProcess {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'replica-child.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', line =>
    hear(JSON.parse(line) as Line),
  );
  return child;
}

test(`killed with -9 at ${rounds} random points while the service loses answers, a replica delivers each write it answered once, in order`, async t => {
  t.diagnostic(`SEED=${seed}`);
  const { fraction: chance } = seededRandom(seed);
  await using origin = await startNotesOrigin();
  const dir = await mkdtemp(join(tmpdir(), 'kos-replica-kill-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const answered = new Set<number>();
  const edited = new Set<number>();
  let next = 0;

  for (let round = 0; round < rounds; round++) {
    const ready = Promise.withResolvers<void>();
    const busy = Promise.withResolvers<void>();
    const before = answered.size;
    const child = start([origin.url, dir, String(next), 'write', String(seed + round)], line => {
      if (line.ready) {
        ready.resolve();
      }
      if (line.number !== undefined && line.status === 201) {
        answered.add(line.number);
        // The one whose edit is not answered is written again under its key, as a careful client does.
        next = Math.max(next, line.number);
        if (answered.size > before + 1) {
          busy.resolve();
        }
      }
      if (line.edited !== undefined && line.status === 200) {
        edited.add(line.edited);
        next = Math.max(next, line.edited + 1);
      }
    });
    const ended = once(child, 'exit');
    await Promise.race([ready.promise, ended]);
    // Some are killed at once, the others once they have answered two, however slow the machine is.
    const atOnce = chance() < 0.3;
    if (chance() < 0.6) {
      origin.fault({ kind: 'lose-response' }, { times: 1 + Math.floor(chance() * 3) });
    }
    const after = chance() * 400;
    if (!atOnce) {
      await Promise.race([busy.promise, ended]);
    }
    await new Promise(resolve => setTimeout(resolve, after));
    child.kill('SIGKILL');
    await ended;
    origin.fault(undefined);
  }

  let drained = false;
  let last: Line | undefined;
  const child = start([origin.url, dir, '0', 'drain'], line => {
    drained ||= line.drained === true;
    last = line;
  });
  const deadline = setTimeout(() => child.kill('SIGKILL'), 60_000);
  await once(child, 'exit');
  clearTimeout(deadline);
  assert.ok(drained, `it drains: ${JSON.stringify(last)}`);

  const titles = origin
    .notes()
    .map(({ title }) => title)
    .reverse();
  t.diagnostic(
    `${answered.size} writes and ${edited.size} edits answered, ${titles.length} notes, ${origin.seen.length} requests, ${rounds} kills`,
  );
  assert.ok(answered.size > rounds, 'it did write');
  assert.equal(new Set(titles).size, titles.length, 'none twice');
  const numbers = titles.map(title => Number(title.split(' ')[1]));
  assert.deepEqual(
    numbers,
    [...numbers].sort((a, b) => a - b),
    'in order',
  );
  for (const number of answered) {
    assert.ok(titles.includes(`note ${number}`), `note ${number} was answered and is there`);
  }
  for (const number of edited) {
    const note = origin.notes().find(({ title }) => title === `note ${number}`);
    assert.equal(note?.text, `text ${number}`, `note ${number} was edited`);
  }
});
