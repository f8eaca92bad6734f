import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemRandom } from '../src/lib/random.ts';
import { encodeRandomBlob, signAnnounce } from '../src/mesh/reticulum/announce.ts';
import { LocalDestination } from '../src/mesh/reticulum/destination.ts';
import { generateIdentity, type Identity } from '../src/mesh/reticulum/identity.ts';
import { encodePacket } from '../src/mesh/reticulum/packet.ts';
import { frame } from '../src/radio/framing/hdlc.ts';
import { median, rowOf } from './figures.ts';
import { type Answered, processorTime, referencePython, type Side, serve } from './pair.ts';
import type { Row } from './row.ts';
import type { Served } from './task.ts';

/** Destinations announced, and those announced before, so that the code is compiled. */
const few = 10_000;
const many = 100_000;
const warmup = 1000;
/** Destinations of one identity. */
const perIdentity = 10;
/** Announces on their way at once: the reference drops what its queue of 128 cannot hold. */
const window = 120;
/** ms without another path after which those on their way are lost, and others are sent. */
const lostAfter = 500;
/** ms without another path after which the rest is lost. */
const silence = 5000;
/** ms after which a process has given back what it does not need. */
const rest = 3000;
const longRest = 20_000;

interface Taken {
  /** Announces a second that were verified and became paths. */
  readonly rate: number;
  /** Of those that went in, %. */
  readonly arrived: number;
  /** Processor time of each, µs. */
  readonly cost: number;
  /** Memory that each takes in the node, B. */
  readonly memory: number;
}

/** How quickly a transport node learns from announces of destinations that it does not know, and what they take. */
export async function bench(rounds: number): Promise<Row[]> {
  const taken: Record<Side, Taken[]> = { reference: [], ours: [] };
  const announces = Array.from({ length: rounds }, () => framedAnnounces(few + warmup));
  for (const framed of announces) {
    for (const side of ['reference', 'ours'] as const) {
      if (side === 'ours' || (await referencePython()) !== undefined) {
        await using node = await serve(side, 'announce');
        taken[side].push((await takeAll(node, framed, [few]))[0]!);
      }
    }
  }
  const of = (member: keyof Taken) => ({
    ours: taken.ours.map(one => one[member]),
    reference: taken.reference.map(one => one[member]),
  });
  const note = `at most ${window} announces on their way; limits of new destinations are off on both sides`;
  return [
    rowOf('announces of new destinations, 10 000', 'announces/s', of('rate'), { note }),
    { ...rowOf('of these arrived', '%', of('arrived')), ratio: 1 },
    rowOf('processor time of each', 'µs', of('cost')),
    rowOf('memory of each', 'B', of('memory')),
    ...(await upToMany()),
  ];
}

/** The first and the last of many, of one node. */
async function upToMany(): Promise<Row[]> {
  const framed = framedAnnounces(many);
  await using node = await serve('ours', 'announce');
  // With those of the warm-up there are as many as are remembered.
  const sizes = Array.from({ length: many / few }, (_, at) => (at === 0 ? few - warmup : few));
  const inUse: number[] = [];
  node.onLine(line => {
    const told = JSON.parse(line) as { readonly inUse?: number };
    inUse.push(...(told.inUse === undefined ? [] : [told.inUse]));
  });
  await sleep(longRest);
  const parts = await takeAll(node, framed, sizes);
  await sleep(longRest);
  const memory = (inUse.at(-1)! - inUse[0]!) / many;
  const first = parts[0]!;
  const last = parts.at(-1)!;
  return [
    rowOf('announces of new destinations, the last 10 000 of 100 000', 'announces/s', { ours: [last.rate] }),
    rowOf('processor time of each of these, beside the first 10 000', '%', {
      ours: [(last.cost * 100) / first.cost],
    }),
    rowOf(
      'memory of a path, of 100 000',
      'B',
      { ours: [memory] },
      {
        bound: { atMost: 1000 },
        note: 'in use after a collection, at rest: with the announces that wait to be passed on',
      },
    ),
    rowOf('of these arrived, least of each 10 000', '%', {
      ours: [Math.min(...parts.map(one => one.arrived))],
    }),
    rowOf('announces of new destinations, 100 000, median of each 10 000', 'announces/s', {
      ours: [median(parts.map(one => one.rate))],
    }),
  ];
}

/** Feeds announces part after part, and says of each what came of it. */
async function takeAll(
  node: Answered<Served>,
  framed: readonly Uint8Array[],
  sizes: readonly number[],
): Promise<Taken[]> {
  const socket = connect(node.answer.port, '127.0.0.1');
  socket.on('error', () => {}).resume();
  await once(socket, 'connect');
  try {
    let paths = 0;
    let last = performance.now();
    let onMore = () => {};
    node.onLine(line => {
      const told = JSON.parse(line) as { readonly paths: number };
      if (told.paths > paths) {
        paths = told.paths;
        last = performance.now();
        onMore();
      }
    });
    const feed = async (from: number, until: number) => {
      // The two sides do not count alike what they know of themselves.
      const before = paths - from;
      let sent = from;
      let lost = 0;
      const done = Promise.withResolvers<void>();
      onMore = () => {
        const arrived = paths - before;
        if (arrived >= until) {
          done.resolve();
        } else if (sent - arrived - lost <= window / 2 && sent < until) {
          const next = Math.min(until, arrived + lost + window);
          socket.write(Buffer.concat(framed.slice(sent, next)));
          sent = next;
        }
      };
      last = performance.now();
      onMore();
      while ((await Promise.race([done.promise, sleep(100, 'late')])) === 'late') {
        const silent = performance.now() - last;
        if (silent > silence) {
          break;
        }
        if (silent > lostAfter) {
          lost = sent - (paths - before);
          onMore();
        }
      }
      return paths - before - from;
    };
    let at = 0;
    await feed(0, warmup);
    at = warmup;
    await sleep(rest);
    const parts: Taken[] = [];
    for (const size of sizes) {
      const [time, memory, began] = [
        await processorTime(node.pid),
        await memoryOf(node.pid),
        performance.now(),
      ];
      const arrived = await feed(at, at + size);
      const took = last - began;
      const cost = (await processorTime(node.pid)) - time;
      at += size;
      await sleep(sizes.length > 1 ? 0 : rest);
      parts.push({
        rate: (arrived * 1000) / took,
        arrived: (arrived * 100) / size,
        cost: cost / arrived,
        memory: ((await memoryOf(node.pid)) - memory) / arrived,
      });
    }
    return parts;
  } finally {
    socket.destroy();
  }
}

function framedAnnounces(count: number): Uint8Array[] {
  let identity: Identity | undefined;
  return Array.from({ length: count }, (_, at) => {
    if (identity === undefined || at % perIdentity === 0) {
      identity = generateIdentity(systemRandom);
    }
    const destination = new LocalDestination({ identity, appName: 'bench', aspects: [String(at)] });
    const randomBlob = encodeRandomBlob(systemRandom.bytes(5), Math.floor(Date.now() / 1000));
    return frame(encodePacket(signAnnounce(destination, { randomBlob })));
  });
}

/** Bytes of memory that a process has. */
async function memoryOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? Number.NaN) * 1024;
}
