import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { ensureNomadNet } from './interop/program.ts';
import { ensureSynapse } from './synapse/server.ts';
import { ensureVenv, type ReferenceVersion, references } from './venv.ts';

/*
 * The runner behind `npm run check`, `npm test` and `npm run soak`. `check` is what every commit passes: types, lint and format, and
 * the tests that need nothing but this process. The whole run adds the real peers, the end-to-end tests and the faults.
 * A step that is not a test counts as one failed test when it fails, so that the last line never looks green over it.
 */

const root = join(import.meta.dirname, '..');
const slowGlobs = ['interop', 'e2e', 'fault', 'container'].map(folder => `test/${folder}/**/*.test.ts`);

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

interface Pace {
  readonly concurrency: number;
  /** ms for each test, and for each file. */
  readonly timeout: number;
}

if (Number.parseInt(process.versions.node, 10) < 26) {
  console.error(
    `This runs on Node 26, not ${process.version}: start it with npm, after npm ci (or npm rebuild node).`,
  );
  process.exit(1);
}
process.chdir(root);
process.exitCode = await main(process.argv[2]);

async function main(mode: string | undefined): Promise<number> {
  if (mode === 'soak') {
    const { soak } = await import('./soak.ts');
    return soak(process.argv.slice(3));
  }
  if (mode !== undefined && mode !== 'check') {
    console.error('usage: node test/run.ts [check | soak …]');
    return 2;
  }
  const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
  const slow = globSync(slowGlobs).sort();
  const fast = globSync('test/**/*.test.ts').filter(file => !slow.includes(file));
  await step('types', totals, () => tool('tsc', '-p', '.'));
  await step('lint and format', totals, () => tool('biome', 'ci', '.'));
  await step('tests', totals, () => tests(fast.sort(), { concurrency: 2, timeout: 300_000 }, totals));
  if (mode !== 'check') {
    for (const version of Object.keys(references) as ReferenceVersion[])
      await step(`reference rns ${version}`, totals, async () => void (await ensureVenv(version)));
    await step('NomadNet', totals, async () => void (await ensureNomadNet()));
    await step('homeserver', totals, async () => void (await ensureSynapse()));
    const pace = { concurrency: 2, timeout: 600_000 };
    await step('tests with real peers and faults', totals, () => tests(slow, pace, totals));
  }
  const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : '';
  console.log(`${totals.passed} passed, ${totals.failed} failed${skipped}`);
  return totals.failed === 0 ? 0 : 1;
}

async function step(name: string, totals: Totals, body: () => Promise<void>): Promise<void> {
  console.log(`\n— ${name}`);
  const began = performance.now();
  try {
    await body();
    console.log(`— ${name}: done in ${((performance.now() - began) / 1000).toFixed(1)} s`);
  } catch (error) {
    totals.failed += 1;
    console.error(`— ${name} FAILED: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Runs a program of node_modules/.bin under this very Node. */
async function tool(name: string, ...args: string[]): Promise<void> {
  const bin = join(root, 'node_modules', '.bin');
  const env = { ...process.env, PATH: [bin, process.env.PATH].join(delimiter) };
  const child = spawn(join(bin, name), args, { stdio: 'inherit', env });
  const [code, signal] = await once(child, 'close');
  if (code !== 0) throw new Error(`${name} ended with ${signal ?? code}`);
}

/** Runs test files, each in a process of its own, and adds what node:test itself counted. */
async function tests(files: string[], pace: Pace, totals: Totals): Promise<void> {
  if (files.length === 0) return;
  let counted = false;
  const stream = run({ files, ...pace });
  stream.on('test:summary', ({ file, counts }) => {
    if (file !== undefined) return;
    counted = true;
    totals.passed += counts.passed;
    totals.skipped += counts.skipped + counts.todo;
    totals.failed += counts.tests - counts.passed - counts.skipped - counts.todo;
  });
  const shown = stream.compose(new spec());
  for await (const text of shown) process.stdout.write(text);
  if (!counted) throw new Error('node:test gave no totals');
}
