import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { concat, fromHex } from '../src/lib/bytes.ts';
import { systemRandom } from '../src/lib/random.ts';
import { AccessCode } from '../src/mesh/reticulum/access-code.ts';
import { encodeRandomBlob, signAnnounce } from '../src/mesh/reticulum/announce.ts';
import { LocalDestination } from '../src/mesh/reticulum/destination.ts';
import { generateIdentity, type Identity } from '../src/mesh/reticulum/identity.ts';
import { freshPair } from '../src/mesh/reticulum/keys.ts';
import {
  decodeLinkRequest,
  encodeLinkRequest,
  encodeLinkRequestProof,
  linkIdOf,
  linkRequestProofSigned,
} from '../src/mesh/reticulum/link-wire.ts';
import { contexts, decodePacket, encodePacket, type Packet } from '../src/mesh/reticulum/packet.ts';
import { frame, HdlcDeframer } from '../src/radio/framing/hdlc.ts';
import { rowOf } from './figures.ts';
import { network } from './ours/node.ts';
import { processorTime, referencePython, type Side, serve } from './pair.ts';
import type { Row } from './row.ts';

/** On their way at once: the reference drops what its queue of 1024 cannot hold. */
const window = 400;
/** ms without a packet after which the rest is lost. */
const silence = 2000;
const note =
  'at most 400 packets on their way; both feeders speak HDLC from memory, so that the node alone is measured';

/** What is carried: packets to a destination, the same with an access code on both sides, or packets of a link. */
interface Load {
  readonly name: string;
  readonly packets: number;
  /** Packets carried before, so that the code is compiled. */
  readonly warmup: number;
  /** Bytes of a packet's data. */
  readonly size: number;
  readonly accessCode?: boolean;
  readonly link?: boolean;
}

const loads: readonly Load[] = [
  // 484 on the wire without the transport id.
  { name: 'forwarding, 484 B over TCP', packets: 200_000, warmup: 50_000, size: 465 },
  { name: 'forwarding, 8 kB packets of a link', packets: 10_000, warmup: 5000, size: 8192 - 19, link: true },
  {
    name: 'forwarding, 484 B, access code on both sides',
    packets: 20_000,
    warmup: 5000,
    size: 465,
    accessCode: true,
  },
];

interface Passed {
  /** Packets a second that came out. */
  readonly rate: number;
  /** Of those that went in, %. */
  readonly arrived: number;
  /** Processor time that the node took for each, µs: what else the machine does hardly matters to it. */
  readonly cost: number;
}

/** How many packets of others a transport node carries from one TCP connection to another. */
export async function bench(rounds: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const load of loads) {
    const passed: Record<Side, Passed[]> = { reference: [], ours: [] };
    for (let round = 0; round < rounds; round++) {
      for (const side of ['reference', 'ours'] as const) {
        if (side === 'ours' || (await referencePython()) !== undefined) {
          passed[side].push(await carry(side, load));
        }
      }
    }
    const of = (member: keyof Passed) => ({
      ours: passed.ours.map(one => one[member]),
      reference: passed.reference.map(one => one[member]),
    });
    rows.push(rowOf(load.name, 'packets/s', of('rate'), { note }), {
      ...rowOf('of these arrived', '%', of('arrived')),
      ratio: 1,
    });
    rows.push(rowOf('processor time of each', 'µs', of('cost')));
  }
  return rows;
}

async function carry(side: Side, load: Load): Promise<Passed> {
  const { accessCode = false } = load;
  await using node = await serve(side, 'forward', { accessCode });
  const { port, destination: transportId } = node.answer;
  const code = accessCode ? new AccessCode(network) : undefined;
  const framing = (packet: Uint8Array) => frame(code?.seal(packet) ?? packet);
  const [from, to] = await Promise.all([open(port), open(port)]);
  try {
    const destination = destinationOf();
    await announce(to, destination, framing);
    const address = load.link ? await openLink(from, to, destination, transportId) : destination.hash;
    const made = (_: unknown, at: number) =>
      framing(load.link ? linkPacket(address, load.size, at) : packetTo(address, transportId, load.size, at));
    const framed = Array.from({ length: load.warmup + load.packets }, made);
    await carryAll(from, to, framed.slice(0, load.warmup));
    const before = await processorTime(node.pid);
    const { rate, arrived } = await carryAll(from, to, framed.slice(load.warmup));
    const cost = ((await processorTime(node.pid)) - before) / (load.packets * (arrived / 100));
    return { rate, arrived, cost };
  } finally {
    from.destroy();
    to.destroy();
  }
}

/** Feeds frames to one connection until all have come out of the other, or no more do. */
async function carryAll(
  from: Socket,
  to: Socket,
  framed: readonly Uint8Array[],
): Promise<Pick<Passed, 'rate' | 'arrived'>> {
  const packets = framed.length;
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
  const heard = (chunk: Buffer) => {
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
  };
  to.on('data', heard);
  const began = performance.now();
  last = began;
  feed();
  while ((await Promise.race([done.promise, sleep(100, 'late')])) === 'late') {
    if (performance.now() - last > silence) {
      break;
    }
  }
  to.off('data', heard);
  return { rate: (arrived * 1000) / (last - began), arrived: (arrived * 100) / sent };
}

async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.setNoDelay(true);
  socket.on('error', () => {});
  return socket;
}

function destinationOf(): LocalDestination {
  return new LocalDestination({
    identity: generateIdentity(systemRandom),
    appName: 'bench',
    aspects: ['forward'],
  });
}

/** Announces a destination behind a connection, and waits until the node has told it on. */
async function announce(
  socket: Socket,
  destination: LocalDestination,
  framing: (packet: Uint8Array) => Uint8Array,
): Promise<void> {
  const packet = encodePacket(
    signAnnounce(destination, {
      randomBlob: encodeRandomBlob(systemRandom.bytes(5), Math.floor(Date.now() / 1000)),
    }),
  );
  socket.write(framing(packet));
  // Its second copy leaves some seconds later, and must not be counted among the packets.
  await sleep(7000);
}

/** A link from one connection to a destination behind the other, through the node; its id. */
async function openLink(
  from: Socket,
  to: Socket,
  destination: LocalDestination,
  transportId: string,
): Promise<Uint8Array> {
  const { identity } = destination as { identity: Identity };
  const mtu = 16_384;
  const data = encodeLinkRequest({
    encryptionKey: freshPair('x25519', systemRandom).publicKey,
    signingKey: freshPair('ed25519', systemRandom).publicKey,
    mtu,
    signalled: true,
  });
  const request = encodePacket({
    ...inTransport(transportId),
    packetType: 'link-request',
    destinationHash: destination.hash,
    data,
  });
  const id = linkIdOf(request, data.length);
  const asked = heard(to, packet => packet.packetType === 'link-request');
  from.write(frame(request));
  const signalled = decodeLinkRequest((await asked).data);
  const proof = {
    encryptionKey: freshPair('x25519', systemRandom).publicKey,
    mtu: signalled.mtu,
    signalled: true,
  };
  const signature = identity.sign(linkRequestProofSigned(id, identity.publicKey.subarray(32), proof));
  const proven = heard(from, packet => packet.packetType === 'proof');
  to.write(
    frame(
      encodePacket({
        ...onLink(id),
        packetType: 'proof',
        context: contexts.linkRequestProof,
        data: encodeLinkRequestProof({ ...proof, signature }),
      }),
    ),
  );
  await proven;
  return id;
}

/** The first packet of a kind that comes over a connection. */
async function heard(socket: Socket, wanted: (packet: Packet) => boolean): Promise<Packet> {
  const deframer = new HdlcDeframer();
  const { promise, resolve } = Promise.withResolvers<Packet>();
  const read = (chunk: Buffer) => {
    for (const bytes of deframer.feed(Buffer.from(chunk))) {
      const packet = decodePacket(bytes);
      if (wanted(packet)) {
        resolve(packet);
      }
    }
  };
  socket.on('data', read);
  const packet = await Promise.race([promise, sleep(10_000)]);
  socket.off('data', read);
  if (packet === undefined) {
    throw new Error('the node did not carry the making of a link');
  }
  return packet;
}

const inTransport = (transportId: string) =>
  ({
    hops: 0,
    transportId: fromHex(transportId),
    contextFlag: false,
    propagation: 'transport',
    destinationType: 'single',
    context: contexts.none,
  }) as const;

const onLink = (destinationHash: Uint8Array) =>
  ({
    hops: 0,
    contextFlag: false,
    propagation: 'broadcast',
    destinationType: 'link',
    destinationHash,
  }) as const;

function packetTo(
  destinationHash: Uint8Array,
  transportId: string,
  size: number,
  number: number,
): Uint8Array {
  const data = content(size, number);
  return encodePacket({ ...inTransport(transportId), packetType: 'data', destinationHash, data });
}

function linkPacket(id: Uint8Array, size: number, number: number): Uint8Array {
  const data = content(size, number);
  return encodePacket({ ...onLink(id), packetType: 'data', context: contexts.none, data });
}

/** Different each time, so that none is heard twice. */
function content(size: number, number: number): Uint8Array {
  const counter = new Uint8Array(8);
  new DataView(counter.buffer).setUint32(4, number);
  return concat(counter, systemRandom.bytes(size - counter.length));
}
