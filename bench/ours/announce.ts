/** A transport node that hears announces, says how many paths it knows each time that there are more, and at rest what they take. */
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Node, run } from './node.ts';

/** ms without another after which it says how much memory is in use. */
const restAfter = 10_000;
/** ms between two looks. */
const lookEvery = 2;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes that are in use when all that is not has been given back. */
function inUse(): number {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

async function tell({ transport }: Node): Promise<void> {
  let known = 0;
  let more = performance.now();
  for (let isTold = false; ; await sleep(lookEvery)) {
    const paths = transport.sizes().paths ?? 0;
    if (paths !== known) {
      known = paths;
      more = performance.now();
      isTold = false;
      process.stdout.write(`${JSON.stringify({ paths })}\n`);
    } else if (!isTold && performance.now() - more > restAfter) {
      isTold = true;
      process.stdout.write(`${JSON.stringify({ paths, inUse: inUse() })}\n`);
    }
  }
}

await run(
  node => {
    void tell(node);
    return node.identity.hash;
  },
  () => Promise.reject(new Error('this node only serves')),
  { forwards: true },
);
