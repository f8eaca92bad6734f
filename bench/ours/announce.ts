/** A transport node that hears announces, and says how many paths it knows each time that there are more. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Node, run } from './node.ts';

/** ms between two looks. */
const lookEvery = 2;

async function tell({ transport }: Node): Promise<void> {
  for (let known = 0; ; await sleep(lookEvery)) {
    const paths = transport.sizes().paths ?? 0;
    if (paths !== known) {
      known = paths;
      process.stdout.write(`${JSON.stringify({ paths })}\n`);
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
