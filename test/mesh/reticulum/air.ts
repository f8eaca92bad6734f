import { setImmediate as turn } from 'node:timers/promises';
import { Counters } from '../../../src/lib/counters.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { silentLog } from '../../../src/lib/log.ts';
import type { Interface, InterfacePort } from '../../../src/mesh/interface.ts';
import { Blackhole } from '../../../src/mesh/reticulum/blackhole.ts';
import {
  LocalDestination,
  type LocalDestinationOptions,
  type Received,
} from '../../../src/mesh/reticulum/destination.ts';
import { generateIdentity, type Identity } from '../../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../../src/mesh/reticulum/incoming-budget.ts';
import type { InterfacePolicy } from '../../../src/mesh/reticulum/interface-policy.ts';
import type { Announced } from '../../../src/mesh/reticulum/lessons.ts';
import { Links } from '../../../src/mesh/reticulum/links.ts';
import { Transport } from '../../../src/mesh/reticulum/transport.ts';

import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';
import { MemoryStorage } from './memory-storage.ts';

/** Whatever waits for nothing but its turn has had it. */
export async function settled(): Promise<void> {
  await turn();
}

/** Lets time pass in small steps, so that what one step brings can answer in the next. */
export async function pass(clock: ManualClock, ms: number, step = 25): Promise<void> {
  for (let at = 0; at < ms; at += step) {
    await clock.advance(step);
    await settled();
  }
}

/** Where a packet to the destination goes. */
export function to(destination: LocalDestination) {
  return { identity: destination.identity!.public, hash: destination.hash };
}

const linksByNode = new WeakMap<TestNode, Links>();

/** The links of a node, which has them from the first call on. */
export function linksOf(node: TestNode): Links {
  return linksByNode.getOrInsertComputed(node, () => {
    const { clock, random, counters, transport } = node;
    const links = new Links({
      clock,
      random,
      log: silentLog,
      counters,
      transport,
      budget: new IncomingBudget(),
    });
    transport.useLinks(links);
    return links;
  });
}

/** A medium that all stations on it hear at once. */
export class Air {
  readonly #stations = new Set<Station>();
  /** Every packet that was on it. */
  readonly packets: Uint8Array[] = [];

  join(name: string, how: { readonly bitrate?: number; readonly mtu?: number } = {}): Station {
    return new Station(name, this, how.bitrate ?? 10_000_000, how.mtu ?? 262_144);
  }

  /** Puts a packet on it: everyone but its sender hears it. */
  carry(packet: Uint8Array, from?: Station): void {
    this.packets.push(new Uint8Array(packet));
    for (const station of this.#stations) {
      if (station !== from) {
        void station.port?.receive(new Uint8Array(packet), { rssi: -90 });
      }
    }
  }

  enter(station: Station): void {
    this.#stations.add(station);
  }

  leave(station: Station): void {
    this.#stations.delete(station);
  }
}

/** One interface on the air. */
export class Station implements Interface {
  readonly name: string;
  readonly bitrate: number;
  readonly mtu: number;
  /** See `Interface.shared`. */
  shared = false;
  readonly #air: Air;
  port: InterfacePort | undefined;
  /** Sends fail with this. */
  broken: GatewayError | undefined;

  constructor(name: string, air: Air, bitrate: number, mtu: number) {
    this.name = name;
    this.#air = air;
    this.bitrate = bitrate;
    this.mtu = mtu;
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    this.port = port;
    this.#air.enter(this);
    port.ready();
    await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }));
    this.#air.leave(this);
    this.port = undefined;
  }

  async send(packet: Uint8Array): Promise<void> {
    if (this.port === undefined || this.broken) {
      throw this.broken ?? new GatewayError('radio/offline', 'the station is off');
    }
    const bytes = new Uint8Array(packet);
    queueMicrotask(() => this.#air.carry(bytes, this));
  }
}

export interface NodeOptions {
  readonly clock: ManualClock;
  readonly storage?: MemoryStorage;
  readonly identity?: Identity;
  readonly forwards?: boolean;
  readonly sharedInstance?: boolean;
  /** Identity hashes (16 B) whose blackhole lists are believed. */
  readonly sources?: readonly Uint8Array[];
}

let seeds = 1;

/** A node with what a test wants to look at. */
export class TestNode {
  readonly clock: ManualClock;
  readonly random = seededRandom(seeds++);
  readonly counters = new Counters();
  readonly storage: MemoryStorage;
  readonly announces: Announced[] = [];
  readonly transport: Transport;
  readonly blackhole: Blackhole;
  readonly #stops = new Map<string, AbortController>();

  constructor(options: NodeOptions) {
    this.clock = options.clock;
    this.storage = options.storage ?? new MemoryStorage();
    const identity = options.identity ?? generateIdentity(this.random);
    const { clock, storage, counters } = this;
    const { sources } = options;
    this.blackhole = new Blackhole({
      clock,
      storage,
      counters,
      log: silentLog,
      own: identity.hash,
      ...(sources && { sources }),
    });
    this.transport = new Transport({
      clock: this.clock,
      random: this.random,
      log: silentLog,
      counters: this.counters,
      storage: this.storage,
      identity,
      blackhole: this.blackhole,
      forwards: options.forwards ?? false,
      sharedInstance: options.sharedInstance ?? false,
    });
    this.transport.onAnnounce(announced => this.announces.push(announced));
  }

  /** Attaches an interface and runs it. */
  use(iface: Interface, policy?: InterfacePolicy): void {
    const attachment = this.transport.attach(iface, policy);
    this.#run(attachment);
  }

  /** Stops an interface; it stays attached. */
  async down(name: string): Promise<void> {
    this.#stops.get(name)?.abort();
    await settled();
  }

  /** Runs a stopped interface again. */
  up(name: string): void {
    for (const attachment of this.transport.interfaces()) {
      if (attachment.name === name) {
        this.#run(attachment);
      }
    }
  }

  /** Registers a destination and gives what it receives. */
  serve(options: Partial<LocalDestinationOptions> = {}): {
    readonly destination: LocalDestination;
    readonly received: Received[];
  } {
    const received: Received[] = [];
    const destination = new LocalDestination({
      identity: this.transport.identity,
      appName: 'app',
      aspects: ['one'],
      onPacket: packet => received.push(packet),
      ...options,
    });
    this.transport.register(destination);
    return { destination, received };
  }

  #run(attachment: ReturnType<Transport['attach']>): void {
    const stop = new AbortController();
    this.#stops.set(attachment.name, stop);
    void attachment.service.run(() => {}, stop.signal);
  }
}

/** Two nodes in each other's hearing. */
export function neighbours(): {
  readonly clock: ManualClock;
  readonly air: Air;
  readonly a: TestNode;
  readonly b: TestNode;
} {
  const clock = new ManualClock();
  const air = new Air();
  const a = new TestNode({ clock });
  const b = new TestNode({ clock });
  a.use(air.join('a'));
  b.use(air.join('b'));
  return { clock, air, a, b };
}
