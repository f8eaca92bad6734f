/** A Resource over a link, until its receiver has proven it. */
import { readFile } from 'node:fs/promises';
import { LocalDestination } from '../../src/mesh/reticulum/destination.ts';
import type { Sample, Task } from '../task.ts';
import { findThere, type Node, run } from './node.ts';

function serve({ transport, links, identity }: Node): Uint8Array {
  const made = new LocalDestination({ identity, appName: 'bench', aspects: ['resource'] });
  transport.register(made);
  links.accept(made, {
    onLink: () => ({ onResourceOffer: () => ({ onResource: resource => resource.prove() }) }),
  });
  return made.hash;
}

async function measure(node: Node, task: Task): Promise<Sample> {
  const there = await findThere(node, task);
  const link = await node.links.open(there.hash, there);
  const data = await readFile(task.file ?? '');
  const compress = task.compress === true;
  await link.sendResource(data.subarray(0, task.warmup), { compress });
  const each: number[] = [];
  let lost = 0;
  const began = performance.now();
  for (let sent = 0; sent < task.count; sent++) {
    const at = performance.now();
    await link.sendResource(data, { compress }).catch(() => {
      lost += 1;
    });
    each.push(performance.now() - at);
  }
  return { each, total: performance.now() - began, lost };
}

await run(serve, measure);
