import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { concat, fromHex } from '../src/lib/bytes.ts';
import { systemRandom } from '../src/lib/random.ts';
import { encodeRandomBlob, signAnnounce } from '../src/mesh/reticulum/announce.ts';
import { LocalDestination } from '../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../src/mesh/reticulum/identity.ts';
import { contexts, encodePacket } from '../src/mesh/reticulum/packet.ts';
import { frame } from '../src/radio/framing/hdlc.ts';
import { rowOf } from './figures.ts';
import { referencePython, type Side, serve } from './pair.ts';
import type { Row } from './row.ts';

const packets = 40_000;
/** On their way at once: the reference drops what its queue of 1024 cannot hold. */
const window = 400;
/** Bytes of a packet's data: 484 on the wire without the transport id. */
const size = 465;
/** ms without a packet after which the rest is lost. */
const silence = 2000;
const note =
  'at most 400 packets on their way; both feeders speak HDLC from memory, so that the node alone is measured';

interface Passed {
  /** Packets a second that came out. */
  readonly rate: number;
  /** Of those that went in, %. */
  readonly arrived: number;
}

/** How many packets of others a transport node carries from one TCP connection to another. */
export async function bench(rounds: number): Promise<Row[]> {
  const passed: Record<Side, Passed[]> = { reference: [], ours: [] };
  for (let round = 0; round < rounds; round++) {
    for (const side of ['reference', 'ours'] as const) {
      if (side === 'ours' || (await referencePython()) !== undefined) {
        passed[side].push(await carry(side));
      }
    }
  }
  const of = (member: keyof Passed) => ({
    ours: passed.ours.map(one => one[member]),
    reference: passed.reference.map(one => one[member]),
  });
  return [
    rowOf('forwarding, 484 B over TCP', 'packets/s', of('rate'), { note }),
    { ...rowOf('of these arrived', '%', of('arrived')), ratio: 1 },
  ];
}

async function carry(side: Side): Promise<Passed> {
  await using node = await serve(side, 'forward');
  const { port, destination: transportId } = node.answer;
  const [from, to] = await Promise.all([open(port), open(port)]);
  try {
    const destination = await announce(to);
    const framed = Array.from({ length: packets }, (_, at) => packetTo(destination, transportId, at));
    let arrived = 0;
    let last = performance.now();
    let flags = 0;
    let sent = 0;
    const done = Promise.withResolvers<void>();
    const feed = () => {
      const until = Math.min(packets, arrived + window);
      if (sent < until) {
        from.write(Buffer.concat(framed.slice(sent, until)));
        sent = until;
      }
    };
    to.on('data', (chunk: Buffer) => {
      for (let at = chunk.indexOf(0x7e); at >= 0; at = chunk.indexOf(0x7e, at + 1)) {
        flags += 1;
      }
      arrived = flags >> 1;
      last = performance.now();
      if (arrived >= packets) {
        done.resolve();
      } else if (sent - arrived <= window / 2) {
        feed();
      }
    });
    const began = performance.now();
    feed();
    while ((await Promise.race([done.promise, sleep(100, 'late')])) === 'late') {
      if (performance.now() - last > silence) {
        break;
      }
    }
    return { rate: (arrived * 1000) / (last - began), arrived: (arrived * 100) / sent };
  } finally {
    from.destroy();
    to.destroy();
  }
}

async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.setNoDelay(true);
  socket.on('error', () => {});
  return socket;
}

/** Announces a destination behind a connection, and waits until the node has told it on. */
async function announce(socket: Socket): Promise<Uint8Array> {
  const destination = new LocalDestination({
    identity: generateIdentity(systemRandom),
    appName: 'bench',
    aspects: ['forward'],
  });
  const packet = encodePacket(
    signAnnounce(destination, {
      randomBlob: encodeRandomBlob(systemRandom.bytes(5), Math.floor(Date.now() / 1000)),
    }),
  );
  socket.write(frame(packet));
  // Its second copy leaves some seconds later, and must not be counted among the packets.
  await sleep(7000);
  return destination.hash;
}

function packetTo(destinationHash: Uint8Array, transportId: string, number: number): Uint8Array {
  const counter = new Uint8Array(8);
  new DataView(counter.buffer).setUint32(4, number);
  return frame(
    encodePacket({
      hops: 0,
      transportId: fromHex(transportId),
      contextFlag: false,
      propagation: 'transport',
      destinationType: 'single',
      packetType: 'data',
      destinationHash,
      context: contexts.none,
      data: concat(counter, systemRandom.bytes(size - counter.length)),
    }),
  );
}
