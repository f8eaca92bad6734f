/** Links, one after the other: established, then torn down. */
import { LocalDestination } from '../../src/mesh/reticulum/destination.ts';
import type { Sample, Task } from '../task.ts';
import { findThere, type Node, run, type There } from './node.ts';

function serve({ transport, links, identity }: Node): Uint8Array {
  const made = new LocalDestination({ identity, appName: 'bench', aspects: ['link'] });
  transport.register(made);
  links.accept(made, { onLink: () => ({}) });
  return made.hash;
}

async function measure(node: Node, task: Task): Promise<Sample> {
  const there = await findThere(node, task);
  await openAll(node, there, task.warmup);
  return openAll(node, there, task.count);
}

async function openAll({ links }: Node, there: There, count: number): Promise<Sample> {
  const each: number[] = [];
  let lost = 0;
  const began = performance.now();
  for (let opened = 0; opened < count; opened++) {
    const asked = performance.now();
    try {
      const link = await links.open(there.hash, there);
      each.push(performance.now() - asked);
      link.close();
    } catch {
      lost += 1;
    }
  }
  return { each, total: performance.now() - began, lost };
}

await run(serve, measure);
