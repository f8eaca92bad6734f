import { spawnSync } from 'node:child_process';

/**
 * Why calls of the system cannot be looked at here, for node:test's `skip`; false when they can. A failure instead where
 * `CI` is set, we are root and only the package is missing: a machine that lets nobody trace is one that cannot be helped.
 */
export function missingStrace(): string | false {
  const { status, error } = spawnSync('strace', ['-e', 'trace=none', 'true'], { stdio: 'ignore' });
  if (status === 0) {
    return false;
  }
  if (error !== undefined && process.env.CI !== undefined && process.getuid?.() === 0) {
    throw new Error('strace is missing; on Debian: apt-get install strace', { cause: error });
  }
  return 'strace is not installed, or may not trace: apt-get install strace';
}
