/** A transport node that carries the packets of others; who feeds it is the measuring program. */
import { run } from './node.ts';

await run(
  ({ identity }) => identity.hash,
  () => Promise.reject(new Error('this node only serves')),
  { forwards: true },
);
