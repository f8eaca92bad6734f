import { setTimeout as sleep } from 'node:timers/promises';
import type { Params } from '../command.ts';
import { integerIf } from '../params.ts';

const step = 20;

/** Waits until something is there, or so many ms; undefined where it did not come. */
export async function until<T>(look: () => T | undefined | false, timeout: number): Promise<T | undefined> {
  const deadline = performance.now() + timeout;
  for (;;) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    const left = deadline - performance.now();
    if (left <= 0) return undefined;
    await sleep(Math.min(step, left));
  }
}

/** The param `timeout_ms`, or what it is when the suite leaves it out. */
export function timeoutOf(params: Params, otherwise: number): number {
  return integerIf(params, 'timeout_ms') ?? otherwise;
}

export { sleep };
