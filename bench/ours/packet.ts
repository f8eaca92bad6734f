/** Single packets, each proven, at most `window` of them on their way. */
import { randomBytes } from 'node:crypto';
import { systemRandom } from '../../src/lib/random.ts';
import { LocalDestination } from '../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../src/mesh/reticulum/identity.ts';
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
  await leaveOutstanding(node, task.outstanding ?? 0);
  return sendAll(node, there, task);
}

/** Packets to somebody who is not there. */
async function leaveOutstanding({ transport }: Node, count: number): Promise<void> {
  const identity = generateIdentity(systemRandom).public;
  const data = randomBytes(100);
  for (let sent = 0; sent < count; sent++) {
    await transport.send({
      destination: { identity, hash: randomBytes(16) },
      data,
      timeout: 3_600_000,
      onReceipt: () => {},
    });
  }
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
