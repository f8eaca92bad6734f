/** LXMF messages over an open link: one at a time, or many queued at once. */
import { setTimeout as sleep } from 'node:timers/promises';
import { utf8 } from '../../src/lib/bytes.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { encodeDeliveryAnnounce } from '../../src/mesh/lxmf/announce.ts';
import { encodeMessage } from '../../src/mesh/lxmf/message.ts';
import { LxmfRouter } from '../../src/mesh/lxmf/router.ts';
import type { LocalDestination } from '../../src/mesh/reticulum/destination.ts';
import type { Sample, Task } from '../task.ts';
import { findThere, type Node, run } from './node.ts';

type Send = () => Promise<boolean>;

function startRouter(node: Node): { router: LxmfRouter; local: LocalDestination } {
  const router = new LxmfRouter({ ...node, clock: systemClock, log: silentLog });
  const local = router.destination({
    identity: node.identity,
    appData: () => encodeDeliveryAnnounce('bench'),
    onMessage: async () => {},
  });
  router.serve(local);
  return { router, local };
}

async function measure(node: Node, task: Task): Promise<Sample> {
  const { router, local } = startRouter(node);
  const there = await findThere(node, task);
  await node.transport.announce(local);
  await sleep(500);
  let number = 0;
  const signal = new AbortController().signal;
  // Two equal messages of one millisecond would be one.
  const send: Send = async () => {
    const { packed } = encodeMessage(
      {
        destination: there.hash,
        source: local.hash,
        timestamp: Date.now() / 1000,
        title: new Uint8Array(0),
        content: utf8(String(number++).padStart(task.size ?? 0, 'x')),
        fields: new Map(),
      },
      node.identity,
    );
    // The first opens the link, also where a single packet would do.
    return router.send(packed, { signal, method: 'direct' }).then(
      () => true,
      () => false,
    );
  };
  await oneAtATime(send, task.warmup);
  return task.mode === 'burst' ? allAtOnce(send, task.count) : oneAtATime(send, task.count);
}

async function oneAtATime(send: Send, count: number): Promise<Sample> {
  const each: number[] = [];
  let lost = 0;
  const began = performance.now();
  for (let sent = 0; sent < count; sent++) {
    const at = performance.now();
    lost += (await send()) ? 0 : 1;
    each.push(performance.now() - at);
  }
  return { each, total: performance.now() - began, lost };
}

async function allAtOnce(send: Send, count: number): Promise<Sample> {
  const each: number[] = [];
  const began = performance.now();
  const good = await Promise.all(
    Array.from({ length: count }, async () => {
      const delivered = await send();
      each.push(performance.now() - began);
      return delivered;
    }),
  );
  return { each, total: performance.now() - began, lost: good.filter(one => !one).length };
}

await run(node => startRouter(node).local.hash, measure);
