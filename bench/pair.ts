import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ensureVenv } from '../test/venv.ts';
import type { Sample, Served, Task } from './task.ts';

/** Whose code both nodes of a measurement run. */
export type Side = 'reference' | 'ours';

/** What is measured: the name of a script of each side. */
export type Measure = 'lxmf' | 'packet' | 'link' | 'resource' | 'forward' | 'announce';

export type Asked = Omit<Task, 'role' | 'directory' | 'port' | 'destination'>;

/** A node that has done what it was asked and goes on until it is disposed. */
export interface Answered<T> extends AsyncDisposable {
  readonly answer: T;
  /** ms from exec to the answer. */
  readonly took: number;
  readonly pid: number;
  /** What it says after the answer, line by line. */
  onLine(listener: (line: string) => void): void;
}

/** ms for one measurement: the reference's burst takes a quarter of a minute. */
const patience = 240_000;

let python: Promise<string | undefined> | undefined;

/** µs of processor time that a process has taken; 0 where the system does not tell. */
export async function processorTime(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // Behind the name, which may hold anything: user and system time in ticks of 10 ms.
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return (Number(user ?? 0) + Number(system ?? 0)) * 10_000;
}

/** The Python of the reference, or undefined where it cannot be had. */
export function referencePython(): Promise<string | undefined> {
  python ??= ensureVenv('1.5.7');
  return python;
}

/** Measures side after side, `rounds` times over, so that what else the machine does meets both. */
export async function interleaved(
  rounds: number,
  measure: Measure,
  asked: Asked,
): Promise<Readonly<Record<Side, readonly Sample[]>>> {
  const samples: Record<Side, Sample[]> = { reference: [], ours: [] };
  for (let round = 0; round < rounds; round++) {
    for (const side of ['reference', 'ours'] as const) {
      const sample = await measurePair(side, measure, asked);
      if (sample !== undefined) {
        samples[side].push(sample);
      }
    }
  }
  return samples;
}

/** Two fresh nodes of one side in processes of their own, over TCP on loopback; undefined where that side is not here. */
export async function measurePair(side: Side, measure: Measure, asked: Asked): Promise<Sample | undefined> {
  if (side === 'reference' && (await referencePython()) === undefined) {
    return undefined;
  }
  await using there = await serve(side, measure);
  return await measureWith(side, measure, asked, there.answer);
}

/** One fresh node that measures against whoever serves there. */
export async function measureWith(
  side: Side,
  measure: Measure,
  asked: Asked,
  { port, destination }: Served,
): Promise<Sample> {
  await using node = await startNode<Sample>(side, measure, { ...asked, role: 'measure', port, destination });
  const { lost } = node.answer;
  if (lost > 0) {
    console.error(`  ${side} lost ${lost} of ${asked.count} (${measure})`);
  }
  return node.answer;
}

/** One fresh node that serves. */
export function serve(
  side: Side,
  measure: Measure,
  how: Pick<Task, 'accessCode'> = {},
): Promise<Answered<Served>> {
  return startNode<Served>(side, measure, { ...how, role: 'serve', count: 0, warmup: 0 });
}

async function startNode<T>(
  side: Side,
  measure: Measure,
  task: Omit<Task, 'directory'>,
): Promise<Answered<T>> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'kos-bench-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const began = performance.now();
  const child = await spawnNode(side, measure, task.role);
  stack.defer(() => end(child));
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4096);
  });
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const fail = (how: string) => reject(new Error(`${side} ${measure}, ${task.role}: ${how}\n${errors}`));
  const timer = setTimeout(() => fail(`no answer within ${patience} ms`), patience);
  child.once('error', error => fail(error.message));
  child.once('exit', code => fail(`ended with ${code}`));
  const lines = createInterface(child.stdout).once('line', resolve);
  child.stdin.write(`${JSON.stringify({ ...task, directory })}\n`);
  try {
    const answer = JSON.parse(await promise) as T;
    const took = performance.now() - began;
    const owned = stack.move();
    return {
      answer,
      took,
      pid: child.pid ?? 0,
      onLine: listener => void lines.on('line', listener),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  } finally {
    clearTimeout(timer);
  }
}

async function spawnNode(
  side: Side,
  measure: Measure,
  role: Task['role'],
): Promise<ChildProcessWithoutNullStreams> {
  if (side === 'reference') {
    const script = join(import.meta.dirname, 'reference', `${measure}.py`);
    return spawn((await referencePython()) as string, ['-u', script], {
      stdio: 'pipe',
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
    });
  }
  const script = join(import.meta.dirname, 'ours', `${measure}.ts`);
  return spawn(process.execPath, [...profiling(measure, role), script], { stdio: 'pipe' });
}

/** With `BENCH_PROFILE` naming a folder, each node of ours leaves a CPU profile there. */
function profiling(measure: Measure, role: Task['role']): string[] {
  const folder = process.env.BENCH_PROFILE;
  const name = `${measure}-${role}-${Date.now()}.cpuprofile`;
  return folder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-name=${name}`];
}

async function end(child: ChildProcessWithoutNullStreams): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) {
    return;
  }
  const ended = once(child, 'exit');
  const timer = setTimeout(() => child.kill('SIGKILL'), 3000);
  child.stdin.end();
  await ended;
  clearTimeout(timer);
}
