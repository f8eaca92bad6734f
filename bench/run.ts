import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { references } from '../test/venv.ts';
import { holds, withRatio } from './figures.ts';
import { referencePython } from './pair.ts';
import type { Row } from './row.ts';
import { formatTable } from './table.ts';

/** Each a module beside this one, in the order of the table. */
const groups = [
  'lxmf',
  'packet',
  'link',
  'resource',
  'forward',
  'announce',
  'peers',
  'disk',
  'start',
  'store',
  'post',
  'fanout',
  'million',
  'bzip2',
  'matrix',
  'replica',
] as const;

const usage = `npm run bench -- [--json] [--rounds N] [GROUP…]

  GROUP      ${groups.join(', ')}; all without one
  --rounds   how often each pair is measured, 3 without it; figures are medians
  --json     rows and circumstances as JSON instead of a table
`;

interface Group {
  bench(rounds: number): Promise<readonly Row[]>;
}

interface Run {
  readonly circumstances: Readonly<Record<string, string | number>>;
  readonly rows: readonly Row[];
  /** Groups that could not be measured, and why. */
  readonly failed: Readonly<Record<string, string>>;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { json: { type: 'boolean' }, rounds: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    allowPositionals: true,
  });
  const rounds = Number(values.rounds ?? 3);
  const unknown = positionals.filter(name => !(groups as readonly string[]).includes(name));
  if (values.help === true || unknown.length > 0 || !(rounds >= 1)) {
    process.stderr.write(unknown.length > 0 ? `no such group: ${unknown.join(', ')}\n\n${usage}` : usage);
    process.exitCode = values.help === true ? 0 : 2;
    return;
  }
  const run = await measure(positionals.length > 0 ? positionals : groups, rounds);
  process.stdout.write(values.json === true ? `${JSON.stringify(run, null, 2)}\n` : `${describe(run)}\n`);
  if (Object.keys(run.failed).length > 0) {
    process.exitCode = 1;
  }
}

async function measure(names: readonly string[], rounds: number): Promise<Run> {
  const circumstances = await look(rounds);
  const rows: Row[] = [];
  const failed: Record<string, string> = {};
  for (const name of names) {
    const file = join(import.meta.dirname, `${name}.ts`);
    if (!existsSync(file)) {
      continue;
    }
    const began = performance.now();
    process.stderr.write(`${name} … `);
    try {
      const group = (await import(file)) as Group;
      rows.push(...(await group.bench(rounds)).map(withRatio));
      process.stderr.write(`${((performance.now() - began) / 1000).toFixed(0)} s\n`);
    } catch (error) {
      failed[name] = error instanceof Error ? error.message : String(error);
      process.stderr.write(`failed: ${error instanceof Error ? error.stack : String(error)}\n`);
    }
  }
  return { circumstances: { ...circumstances, 'load after': load() }, rows, failed };
}

/** What the figures depend on. */
async function look(rounds: number): Promise<Record<string, string | number>> {
  const python = await referencePython();
  const version = python && execFileSync(python, ['--version'], { encoding: 'utf8' }).trim();
  const [processor] = cpus();
  return {
    date: new Date().toISOString().slice(0, 16),
    node: process.version,
    reference: version === undefined ? 'not available' : `rns 1.5.7, lxmf ${references['1.5.7']}, ${version}`,
    machine: `${cpus().length} x ${processor?.model ?? process.arch}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    rounds,
    'load before': load(),
  };
}

function load(): string {
  return loadavg()
    .map(value => value.toFixed(2))
    .join(' ');
}

function describe({ circumstances, rows, failed }: Run): string {
  const facts = Object.entries(circumstances).map(([name, value]) => `${name}: ${value}`);
  const missed = rows.filter(row => holds(row) === false).map(({ name }) => name);
  return [
    ...facts,
    '',
    'Median of the rounds [least..most]; ratio above 1: ours is better.',
    '',
    formatTable(rows),
    ...(missed.length > 0 ? ['', `missed: ${missed.join('; ')}`] : []),
    ...Object.entries(failed).map(([name, why]) => `failed: ${name}: ${why.split('\n')[0]}`),
  ].join('\n');
}

await main();
