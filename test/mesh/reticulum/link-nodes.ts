import { createHash } from 'node:crypto';
import type { Clock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import type { Random } from '../../../src/lib/random.ts';
import type { Interface, InterfacePort, Quality } from '../../../src/mesh/interface.ts';
import { LocalDestination, type ProofStrategy } from '../../../src/mesh/reticulum/destination.ts';
import { generateIdentity, type Identity } from '../../../src/mesh/reticulum/identity.ts';
import { IncomingBudget, type ResourceLimits } from '../../../src/mesh/reticulum/incoming-budget.ts';
import type { Compressor } from '../../../src/mesh/reticulum/link-port.ts';
import type { LinkLimits } from '../../../src/mesh/reticulum/link-room.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import { type LinkAcceptor, Links, type OpenOptions } from '../../../src/mesh/reticulum/links.ts';
import { Transport } from '../../../src/mesh/reticulum/transport.ts';
import type { MeshStorage } from '../../../src/mesh/storage.ts';
import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';

async function until<T>(clock: ManualClock, promise: Promise<T>): Promise<T> {
  let open = true;
  const watched = promise.finally(() => {
    open = false;
  });
  watched.catch(() => {});
  await settled();
  for (let step = 0; open && step < 4600; step++) {
    await clock.advance(step < 1000 ? 10 : 1000);
  }
  return open ? Promise.reject(new Error('an hour passed and nothing happened')) : watched;
}

/** Everything that waits for nothing but its turn has had it. */
export function settled(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

/** `length` bytes of SHA-256(label, counter), as the vectors name them. */
export function fill(label: string, length: number): Uint8Array {
  const blocks: Buffer[] = [];
  for (let counter = 0; blocks.length * 32 < length; counter++) {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(counter);
    blocks.push(createHash('sha256').update(label).update(number).digest());
  }
  return new Uint8Array(Buffer.concat(blocks).subarray(0, length));
}

/** What becomes of a packet: when its copies arrive, in ms, what they are, and how well they are heard. Empty: lost. */
export type Fate = (
  packet: Uint8Array,
  from: 'a' | 'b',
) => readonly { after: number; packet?: Uint8Array; quality?: Quality }[];

/** Every packet arrives once, in order, after a millisecond. */
export const sound: Fate = () => [{ after: 1 }];

class PipeEnd implements Interface {
  readonly name: string;
  readonly mtu = 262_144;
  readonly bitrate: number;
  readonly #clock: Clock;
  readonly #deliver: (packet: Uint8Array) => ReturnType<Fate>;
  other: PipeEnd | undefined;
  port: InterfacePort | undefined;

  constructor(
    name: string,
    bitrate: number,
    clock: Clock,
    deliver: (packet: Uint8Array) => ReturnType<Fate>,
  ) {
    this.name = name;
    this.bitrate = bitrate;
    this.#clock = clock;
    this.#deliver = deliver;
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    this.port = port;
    port.ready();
    await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }));
    this.port = undefined;
  }

  async send(packet: Uint8Array): Promise<void> {
    for (const copy of this.#deliver(packet)) {
      const bytes = Uint8Array.from(copy.packet ?? packet);
      this.#clock.after(copy.after, () => void this.other?.port?.receive(bytes, copy.quality));
    }
  }
}

const forgetful: MeshStorage = {
  load: () => [],
  save: async () => {},
  remove: async () => {},
};

export interface Node {
  readonly transport: Transport;
  readonly links: Links;
  readonly counters: Counters;
  readonly identity: Identity;
  readonly random: Random;
  readonly budget: IncomingBudget;
}

export interface Nodes extends AsyncDisposable {
  readonly clock: ManualClock;
  /** Lets time pass until the promise settles; what it settles to. Fails after an hour. */
  until<T>(promise: Promise<T>): Promise<T>;
  readonly a: Node;
  readonly b: Node;
  /** May be changed at any time. */
  fate: Fate;
  /** Every packet that was sent. */
  readonly packets: { from: 'a' | 'b'; packet: Uint8Array }[];
  /** Registers a destination at b that accepts links, announced to a. */
  serve(acceptor: LinkAcceptor, options?: { proofStrategy?: ProofStrategy }): Promise<LocalDestination>;
  /** Opens a link from a. */
  open(destination: LocalDestination, options?: Partial<OpenOptions>): Promise<Link>;
  /** Takes the medium away. */
  cut(): Promise<void>;
}

export interface NodesOptions {
  readonly seed?: number;
  readonly bitrate?: number;
  readonly compressor?: Compressor;
  readonly limits?: ResourceLimits;
  readonly linkLimits?: LinkLimits;
}

/** Two nodes of ours with a pipe between them. */
export function twoNodes(options: NodesOptions = {}): Nodes {
  const clock = new ManualClock();
  const packets: Nodes['packets'] = [];
  const stop = new AbortController();
  const pipe = { fate: sound };
  const ends = (['a', 'b'] as const).map(
    name =>
      new PipeEnd(name, options.bitrate ?? 10_000_000, clock, packet => {
        packets.push({ from: name, packet });
        return pipe.fate(packet, name);
      }),
  );
  const [endA, endB] = ends as [PipeEnd, PipeEnd];
  endA.other = endB;
  endB.other = endA;
  const running: Promise<void>[] = [];
  const node = (seed: number, end: PipeEnd): Node => {
    const random = seededRandom(seed);
    const counters = new Counters();
    const identity = generateIdentity(random);
    const parts = { clock, random, log: silentLog, counters };
    const transport = new Transport({ ...parts, storage: forgetful, identity });
    const budget = new IncomingBudget(options.limits);
    const links = new Links({
      ...parts,
      transport,
      budget,
      ...(options.compressor === undefined ? {} : { compressor: options.compressor }),
      ...(options.linkLimits === undefined ? {} : { limits: options.linkLimits }),
    });
    transport.useLinks(links);
    running.push(transport.attach(end).service.run(() => {}, stop.signal));
    return { transport, links, counters, identity, random, budget };
  };
  const seed = options.seed ?? 7;
  const a = node(seed * 2 + 1, endA);
  const b = node(seed * 2 + 2, endB);
  let served = 0;
  return {
    clock,
    until: promise => until(clock, promise),
    a,
    b,
    packets,
    get fate() {
      return pipe.fate;
    },
    set fate(fate: Fate) {
      pipe.fate = fate;
    },
    async serve(acceptor, { proofStrategy = 'app' } = {}) {
      const destination = new LocalDestination({
        identity: generateIdentity(b.random),
        appName: 'test',
        aspects: ['link', String(served++)],
        proofStrategy,
      });
      b.transport.register(destination);
      b.links.accept(destination, acceptor);
      const { fate } = pipe;
      pipe.fate = sound;
      await b.transport.announce(destination);
      await clock.advance(20);
      pipe.fate = fate;
      return destination;
    },
    open(destination, open = {}) {
      return a.links.open(destination.hash, { identity: destination.identity!.public, ...open });
    },
    async cut() {
      stop.abort();
      await Promise.all(running);
    },
    async [Symbol.asyncDispose]() {
      a.links.close();
      b.links.close();
      stop.abort();
      await Promise.all(running);
    },
  };
}
