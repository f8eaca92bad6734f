/** Single packets, each proven, at most `window` of them on their way. */
import { randomBytes } from 'node:crypto';
import { LocalDestination } from '../../src/mesh/reticulum/destination.ts';
import type { Sample, Task } from '../task.ts';
import { findThere, type Node, run, type There } from './node.ts';

function serve({ transport, identity }: Node): Uint8Array {
  const made = new LocalDestination({
    identity,
    appName: 'bench',
    aspects: ['packet'],
    proofStrategy: 'all',
  });
  transport.register(made);
  return made.hash;
}

async function measure(node: Node, task: Task): Promise<Sample> {
  const there = await findThere(node, task);
  await sendAll(node, there, { ...task, count: task.warmup });
  return sendAll(node, there, task);
}

async function sendAll({ transport }: Node, there: There, task: Task): Promise<Sample> {
  const data = randomBytes(task.size ?? 1);
  const each: number[] = [];
  let lost = 0;
  let left = task.count;
  const began = performance.now();
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      const sent = performance.now();
      const { promise, resolve } = Promise.withResolvers<boolean>();
      await transport.send({
        destination: there,
        data,
        timeout: 20_000,
        onReceipt: outcome => resolve(outcome.at === 'delivered'),
      });
      if (await promise) {
        each.push(performance.now() - sent);
      } else {
        lost += 1;
      }
    }
  };
  await Promise.all(Array.from({ length: task.window ?? 1 }, worker));
  return { each, total: performance.now() - began, lost };
}

await run(serve, measure);
