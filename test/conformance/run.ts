import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { delimiter, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ensurePython } from '../venv.ts';
import { exceptions } from './exceptions.ts';
import { judge, type Outcome, readOutcomes, type Verdict } from './outcome.ts';

/*
 * `npm run conformance`: runs the public conformance suite against this stack. The suite is under the AGPL and stays
 * where it is: nothing of it is copied, and our bridge is another process to it.
 */

const root = join(import.meta.dirname, '..', '..');
const home = 'https://github.com/torlando-tech/reticulum-conformance';
/** The version this list of exceptions was written against. */
const commit = 'c3349dc';

const usage = `npm run conformance -- --suite DIR [--rns 1.3.1|1.5.7] [--jobs N] [--report FILE] [--reference-only] [-- PYTEST ARGUMENTS]

  --suite DIR        a clone of the public suite:
                       git clone ${home}
                       git -C reticulum-conformance checkout ${commit}
  --rns VERSION      the reference to run against: 1.3.1, which the suite is pinned to, or 1.5.7; default 1.3.1
  --jobs N           tests at the same time; default 1: several tests measure time
  --report FILE      how each test ended, a JSON object a line
  --reference-only   the reference against itself, to see what it fails
  -- …               for pytest: files of the suite, -k EXPRESSION, -x

Needs Python 3.9 or later with venv and pip. Ends with 1 when a test fails that is not a known exception.
`;

/** LXMF of the time of each reference. */
const versions: Readonly<Record<string, string>> = { '1.3.1': '0.9.9', '1.5.7': '1.2.1' };

process.exitCode = await main();

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: {
      suite: { type: 'string' },
      rns: { type: 'string', default: '1.3.1' },
      jobs: { type: 'string', default: '1' },
      report: { type: 'string' },
      'reference-only': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
    allowPositionals: true,
  });
  const lxmf = versions[values.rns];
  if (values.help || values.suite === undefined || lxmf === undefined || !/^[1-9]\d*$/.test(values.jobs)) {
    process.stderr.write(usage);
    return values.help ? 0 : 2;
  }
  const suite = resolve(values.suite);
  if (!existsSync(join(suite, 'bridge_client.py'))) {
    process.stderr.write(`${suite} is not a clone of the suite\n\n${usage}`);
    return 2;
  }
  const python = await ensurePython({
    title: `the Python reference rns ${values.rns} with lxmf ${lxmf} and pytest`,
    folder: join('py', `conformance-${values.rns}`),
    requirements: `test/conformance/requirements-${values.rns}.txt`,
    minor: 9,
    tests: 'Conformance tests',
  });
  if (python === undefined) return 1;
  const who = values['reference-only'] ? ['--reference-only'] : ['--impl=kos'];
  const chosen = positionals.some(one => existsSync(join(suite, one.split('::')[0] ?? ''))) ? [] : ['tests'];
  const jobs = values.jobs === '1' ? [] : ['-n', values.jobs];
  const report = resolve(values.report ?? join(root, '.cache', 'conformance', `report-${process.pid}.jsonl`));
  await mkdir(dirname(report), { recursive: true });
  await runSuite(suite, python, report, [...who, ...jobs, ...chosen, ...positionals]);
  const outcomes = await readOutcomes(report);
  if (values['reference-only']) {
    process.stdout.write(describeFailures(outcomes));
    return 0;
  }
  const verdict = judge(outcomes, exceptions, values.rns);
  process.stdout.write(describe(verdict, `rns ${values.rns}, lxmf ${lxmf}`));
  return outcomes.length > 0 && verdict.unexpected.length === 0 ? 0 : 1;
}

/** Runs pytest with our plugin in the folder of the suite, which is left as it was. */
async function runSuite(
  suite: string,
  python: string,
  report: string,
  args: readonly string[],
): Promise<void> {
  const env = {
    ...process.env,
    PYTHONPATH: [join(import.meta.dirname, 'plugin'), process.env.PYTHONPATH].filter(Boolean).join(delimiter),
    PYTHONDONTWRITEBYTECODE: '1',
    NODE_COMPILE_CACHE: join(root, '.cache', 'conformance', 'compiled'),
    KOS_CONFORMANCE_REPORT: report,
    CONFORMANCE_KOS_BRIDGE_CMD: `exec '${process.execPath}' '${join(import.meta.dirname, 'bridge.ts')}'`,
    CONFORMANCE_REFERENCE_BRIDGE_CMD: `exec '${python}' '${join(suite, 'reference', 'bridge_server.py')}'`,
  };
  const always = ['-m', 'pytest', '-p', 'kos_conformance', '-p', 'no:cacheprovider', '-q', '--tb=short'];
  const child = spawn(python, [...always, ...args], { cwd: suite, env, stdio: 'inherit' });
  await once(child, 'close');
}

function describe(verdict: Verdict, against: string): string {
  const rows = verdict.roles.map(
    ({ name, passed, failed, skipped }) =>
      `${name.padEnd(48)} ${String(passed).padStart(6)} ${String(failed).padStart(6)} ${String(skipped).padStart(7)}`,
  );
  const total = (key: 'passed' | 'failed' | 'skipped') =>
    verdict.roles.reduce((sum, role) => sum + role[key], 0);
  const lines = [
    '',
    `against ${against}`,
    `${'role'.padEnd(48)} passed failed skipped`,
    ...rows,
    ...verdict.expected.map(({ outcome, exception }) => `known (${exception.kind}): ${outcome.id}`),
    ...verdict.stale.map(({ test }) => `an exception that no longer fails: ${test}`),
    ...verdict.unexpected.map(
      ({ id, why }) => `FAILED ${id}\n    ${why.split('\n').slice(0, 4).join('\n    ')}`,
    ),
    `${total('passed')} passed, ${total('failed')} failed of which ${verdict.expected.length} are known exceptions, ${total('skipped')} skipped`,
    '',
  ];
  return lines.join('\n');
}

function describeFailures(outcomes: readonly Outcome[]): string {
  const failed = outcomes.filter(({ outcome }) => outcome === 'failed');
  return `\n${failed.map(({ id }) => `FAILED ${id}`).join('\n')}\n${failed.length} of ${outcomes.length} failed\n`;
}
