import { spawnSync } from 'node:child_process';

/**
 * Why what needs a Debian package cannot run here, for node:test's `skip`; false when it can. Throws where it is missing though
 * `CI` is set and we are root: then it could have been installed.
 */
export function missingPackage(name: string, isThere: boolean): string | false {
  if (isThere) {
    return false;
  }
  const remedy = `${name} is not installed; on Debian: apt-get install ${name}`;
  if (process.env.CI && process.getuid?.() === 0) {
    throw new Error(remedy);
  }
  return remedy;
}

/** The same for a program of it. */
export function missingProgram(program: string, from: string, ...args: readonly string[]): string | false {
  return missingPackage(from, spawnSync(program, args, { stdio: 'ignore' }).error === undefined);
}
