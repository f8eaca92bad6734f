import { spawnSync } from 'node:child_process';
import { missingPackage } from '../package.ts';

/**
 * Why calls of the system cannot be looked at here, for node:test's `skip`; false when they can. A failure instead where
 * `CI` is set, we are root and only the package is missing: a machine that lets nobody trace is one that cannot be helped.
 */
export function missingStrace(): string | false {
  const { status, error } = spawnSync('strace', ['-e', 'trace=none', 'true'], { stdio: 'ignore' });
  if (status === 0) {
    return false;
  }
  return missingPackage('strace', error === undefined) || 'strace may not trace here';
}
