import { parseArgs } from 'node:util';
import { casesOf, driveApi, ensureApiTools } from './e2e/api-schemathesis.ts';
import { runThreeUsers } from './e2e/three-users.ts';
import { runMixedLoad } from './fault/mixed-load.ts';
import { fuzzDecoders } from './fuzz/decoders.ts';
import { fuzzWholeNode } from './fuzz/whole-node.ts';
import { runRandomLife } from './gateway/random-life.ts';
import { runBusyDay } from './sim/busy-day.ts';
import { runDayOfLife } from './sim/day-of-life.ts';
import { runFiftyNodes } from './sim/fifty-nodes.ts';
import { runTwelveNodes } from './sim/twelve-nodes.ts';
import { runTwoNodes } from './sim/two-nodes.ts';

/*
 * `npm run soak`: the simulations of the quick suite with many seeds, for as long as somebody lets them. A seed that
 * fails is printed with the one command that runs it again; the rest go on.
 */

interface Simulation {
  readonly name: string;
  /** Runs for each seed that was asked for: the long ones for fewer. */
  readonly share: number;
  /** Resolves with what is worth a line; rejects with what must not be. */
  run(seed: number): Promise<unknown>;
}

const simulations: readonly Simulation[] = [
  { name: 'two-nodes', share: 1, run: runTwoNodes },
  { name: 'twelve-nodes', share: 1, run: runTwelveNodes },
  { name: 'fifty-nodes', share: 1, run: runFiftyNodes },
  { name: 'day-of-life', share: 0.5, run: runDayOfLife },
  {
    name: 'busy-day',
    share: 0.1,
    run: seed => runBusyDay({ seed, destinations: 1000, every: 2 * 3_600_000 }),
  },
  { name: 'random-life', share: 50, run: seed => runRandomLife(seed) },
  { name: 'kills', share: 0.005, run: seed => runMixedLoad({ seed, kills: 300 }) },
  { name: 'three-users', share: 0.02, run: seed => runThreeUsers({ seed, operations: 10_000 }) },
  { name: 'fuzz-decoders', share: 0.5, run: seed => fuzzDecoders(seed, 3000) },
  { name: 'fuzz-node', share: 0.5, run: seed => fuzzWholeNode(seed, 100_000) },
  { name: 'api', share: 0.02, run: driveWholeApi },
];

async function driveWholeApi(seed: number): Promise<unknown> {
  const python = await ensureApiTools();
  return python === undefined ? 'skipped: no Python' : casesOf(await driveApi(python, seed, 100));
}

const usage = `usage: npm run soak -- [--seeds N] [--seed FIRST] [--only NAME,...] [--verbose]
  --seeds N     seeds for each simulation (200)
  --seed FIRST  the first of them (1)
  --only NAMES  of ${simulations.map(({ name }) => name).join(', ')}
  --verbose     a line for every run`;

/** Runs what the arguments ask for; the exit code. */
export async function soak(args: readonly string[]): Promise<number> {
  const asked = read(args);
  if (asked === undefined) {
    console.error(usage);
    return 2;
  }
  const { first, seeds, chosen, verbose } = asked;
  const lost: unknown[] = [];
  process.on('unhandledRejection', error => lost.push(error));
  const failures: string[] = [];
  for (const simulation of chosen) {
    const runs = Math.max(1, Math.round(seeds * simulation.share));
    const bar = progress(simulation.name, runs);
    for (let seed = first; seed < first + runs; seed++) {
      try {
        const report = await simulation.run(seed);
        if (lost.length > 0) {
          throw lost[0];
        }
        bar.step(verbose ? `${seed} ${show(report)}` : undefined);
      } catch (error) {
        lost.length = 0;
        const again = `npm run soak -- --only ${simulation.name} --seed ${seed} --seeds 1`;
        failures.push(again);
        bar.step(
          `seed ${seed} FAILED: ${error instanceof Error ? error.stack : String(error)}\n  again: ${again}`,
        );
      }
    }
    bar.end();
  }
  console.log(failures.length === 0 ? 'all held' : `${failures.length} failed:\n${failures.join('\n')}`);
  return failures.length === 0 ? 0 : 1;
}

function read(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        seeds: { type: 'string', default: '200' },
        seed: { type: 'string', default: '1' },
        only: { type: 'string' },
        verbose: { type: 'boolean', default: false },
      },
    });
    const names = values.only?.split(',') ?? simulations.map(({ name }) => name);
    const chosen = simulations.filter(({ name }) => names.includes(name));
    const [first, seeds] = [Number(values.seed), Number(values.seeds)];
    const isFit =
      chosen.length === names.length && Number.isInteger(first) && Number.isInteger(seeds) && seeds > 0;
    return isFit ? { first, seeds, chosen, verbose: values.verbose } : undefined;
  } catch {
    return undefined;
  }
}

/** A bar on a terminal; elsewhere a line for every tenth. */
function progress(name: string, runs: number) {
  const began = performance.now();
  const width = 30;
  let done = 0;
  let shown = 0;
  const draw = () => {
    const seconds = (performance.now() - began) / 1000;
    const left = done === 0 ? 0 : (seconds / done) * (runs - done);
    const full = Math.floor((done / runs) * width);
    return `${name} [${'#'.repeat(full)}${'.'.repeat(width - full)}] ${done}/${runs}, ${seconds.toFixed(0)} s, ${left.toFixed(0)} s left`;
  };
  const show = () => {
    if (process.stdout.isTTY) {
      process.stdout.write(`\r${draw()}`);
    } else if (Math.floor((done * 10) / runs) > shown) {
      shown = Math.floor((done * 10) / runs);
      console.log(draw());
    }
  };
  show();
  return {
    step(line: string | undefined) {
      done += 1;
      if (line !== undefined) {
        console.log(`${process.stdout.isTTY ? '\r' : ''}${name} ${line}`);
      }
      show();
    },
    end() {
      if (process.stdout.isTTY) {
        process.stdout.write('\n');
      }
    },
  };
}

function show(report: unknown): string {
  return typeof report === 'object' && report !== null && Object.getPrototypeOf(report) === Object.prototype
    ? JSON.stringify(report)
    : `${report}`;
}
