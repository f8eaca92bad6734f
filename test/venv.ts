import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { locked } from './lock.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
const cache = join(root, '.cache');

/** The reference versions that tests run against: rns, and the lxmf of its time. */
export const references = { '1.5.7': '1.2.1', '1.4.2': '1.0.1' } as const;

export type ReferenceVersion = keyof typeof references;

/** What a venv is made from. */
export interface Wanted {
  /** What it is, in the words of a notice: `rns 1.5.7 and lxmf 1.2.1`. */
  readonly title: string;
  /** Its own folder under `.cache/`. */
  readonly folder: string;
  /** A pip requirements file, relative to the project. */
  readonly requirements: string;
  /** The oldest Python it runs on, as 3.minor. */
  readonly minor: number;
  /** What cannot run without it. */
  readonly tests: string;
}

/**
 * The Python of a venv that has this reference, made on the first call and kept under `.cache/py/`.
 * Says loudly what to install, and gives undefined, where Python 3.9 or later with venv and pip is missing;
 * throws instead when `CI` is set, so that an interop run is never silently empty.
 */
export function ensureVenv(version: ReferenceVersion): Promise<string | undefined> {
  return ensurePython({
    title: `the Python reference rns ${version} with lxmf ${references[version]}`,
    folder: join('py', `${version}-${references[version]}`),
    requirements: `test/interop/requirements-${version}.txt`,
    minor: 9,
    tests: 'Interop tests',
  });
}

/** The same for any other requirements file. */
export async function ensurePython(wanted: Wanted): Promise<string | undefined> {
  const directory = join(cache, wanted.folder);
  const python = join(directory, 'bin', 'python');
  const requirements = join(root, wanted.requirements);
  const text = await readFile(requirements, 'utf8');
  if (await isMade(directory, text)) return python;
  try {
    const base = await findPython(wanted.minor);
    await mkdir(dirname(directory), { recursive: true });
    await locked(`${directory}.lock`, async () => {
      if (await isMade(directory, text)) return;
      console.log(`making a venv with ${wanted.title} under .cache/${wanted.folder} …`);
      await make(base, directory, requirements);
      await writeFile(stampOf(directory), text);
    });
    return python;
  } catch (error) {
    const notice = `Not available: ${wanted.title}: ${reasonOf(error)}`;
    if (process.env.CI) throw new Error(notice, { cause: error });
    console.error(`\n${'!'.repeat(100)}\n${notice}\n${wanted.tests} are skipped.\n${'!'.repeat(100)}\n`);
    return undefined;
  }
}

// A venv holds its own path, so it cannot be made elsewhere and moved: the stamp, written last, says it is whole.
const stampOf = (directory: string): string => join(directory, 'made-from.txt');

async function isMade(directory: string, wanted: string): Promise<boolean> {
  if (!existsSync(join(directory, 'bin', 'python'))) return false;
  return (await readFile(stampOf(directory), 'utf8').catch(() => '')) === wanted;
}

async function make(base: string, directory: string, requirements: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  await run(base, ['-m', 'venv', directory]).catch(error => {
    throw new Error('python3 -m venv failed; on Debian: apt-get install python3-venv python3-pip', {
      cause: error,
    });
  });
  const pip = [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--no-input',
    '--disable-pip-version-check',
    '-r',
    requirements,
  ];
  await run(join(directory, 'bin', 'python'), pip, { timeout: 300_000 });
}

async function findPython(minor: number): Promise<string> {
  const names = ['python3', ...[13, 12, 11, 10, 9].filter(one => one >= minor).map(one => `python3.${one}`)];
  for (const name of names) {
    const found = await run(name, ['-c', `import sys; print(sys.version_info >= (3, ${minor}))`]).catch(
      () => undefined,
    );
    if (found?.stdout.trim() === 'True') return name;
  }
  throw new Error(
    `no Python 3.${minor} or later on PATH; on Debian: apt-get install python3 python3-venv python3-pip`,
  );
}

function reasonOf(error: unknown): string {
  const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
  const message = error instanceof Error ? error.message : String(error);
  return stderr ? `${message}\n${stderr.split('\n').slice(-5).join('\n')}` : message;
}
