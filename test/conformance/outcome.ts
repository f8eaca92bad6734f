import { readFile } from 'node:fs/promises';

/** How one test of the suite ended. */
export interface Outcome {
  readonly id: string;
  readonly outcome: 'passed' | 'failed' | 'skipped' | 'xfailed';
  readonly seconds: number;
  readonly why: string;
}

/** A test that is known not to pass, and why it is right that it does not. */
export interface Exception {
  /** The id, with `*` for any text: `tests/wire/test_x.py::test_y[kos-to-*]`. */
  readonly test: string;
  /** The reference versions it holds for. */
  readonly rns: readonly string[];
  /**
   * `value`: the test asserts what RNS 1.5.7 changed on purpose. `reference`: the reference fails it as well, in this
   * version; it may pass all the same. `ours`: something this stack does not do, or does otherwise.
   */
  readonly kind: 'value' | 'reference' | 'ours';
  readonly reason: string;
}

/** What a run comes to, beside the exceptions that are known. */
export interface Verdict {
  readonly roles: readonly Role[];
  readonly expected: readonly { readonly outcome: Outcome; readonly exception: Exception }[];
  readonly unexpected: readonly Outcome[];
  /** Exceptions whose tests ran and passed, every one. */
  readonly stale: readonly Exception[];
}

/** The tests in which our side has one role, and how they ended. */
export interface Role {
  readonly name: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export async function readOutcomes(path: string): Promise<readonly Outcome[]> {
  const text = await readFile(path, 'utf8');
  return text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line));
}

/** Compares how the tests ended with the exceptions of this reference version. */
export function judge(outcomes: readonly Outcome[], exceptions: readonly Exception[], rns: string): Verdict {
  const held = exceptions
    .filter(exception => exception.rns.includes(rns))
    .map(exception => ({ exception, pattern: patternOf(exception.test) }));
  const failed = outcomes.filter(({ outcome }) => outcome === 'failed');
  const expected = failed.flatMap(outcome => {
    const found = held.find(({ pattern }) => pattern.test(outcome.id));
    return found ? [{ outcome, exception: found.exception }] : [];
  });
  const stale = held.filter(({ exception, pattern }) => {
    const ran = outcomes.filter(({ id }) => pattern.test(id));
    return (
      exception.kind !== 'reference' && ran.length > 0 && ran.every(({ outcome }) => outcome === 'passed')
    );
  });
  const known = new Set(expected.map(({ outcome }) => outcome));
  return {
    roles: rolesOf(outcomes),
    expected,
    unexpected: failed.filter(outcome => !known.has(outcome)),
    stale: stale.map(({ exception }) => exception),
  };
}

function rolesOf(outcomes: readonly Outcome[]): Role[] {
  const roles = new Map<string, Outcome[]>();
  for (const outcome of outcomes) roles.getOrInsertComputed(roleOf(outcome.id), () => []).push(outcome);
  return [...roles]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([name, all]) => {
      const count = (kind: Outcome['outcome']) => all.filter(({ outcome }) => outcome === kind).length;
      return {
        name,
        passed: count('passed'),
        failed: count('failed'),
        skipped: count('skipped') + count('xfailed'),
      };
    });
}

/** `primitive`, `behavioral`, or which side of the wire is whose: `wire kos-to-reference`. */
export function roleOf(id: string): string {
  if (id.startsWith('tests/behavioral/')) return 'behavioral';
  if (!id.startsWith('tests/wire/')) return 'primitive';
  const sides = /\[.*?((?:kos|reference)(?:(?:-to-|-+>)(?:kos|reference|ref))*(?:-hub|-master)?)/.exec(
    id,
  )?.[1];
  return `wire ${sides?.replaceAll(/-+>/g, '-to-').replace(/\bref$/, 'reference') ?? 'neither'}`;
}

function patternOf(glob: string): RegExp {
  return new RegExp(`^${glob.split('*').map(RegExp.escape).join('.*')}$`);
}
