import { toHex } from '../../src/lib/bytes.ts';
import { Counters } from '../../src/lib/counters.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import { type Log, silentLog } from '../../src/lib/log.ts';
import type { Random } from '../../src/lib/random.ts';
import { supervise } from '../../src/lib/service.ts';
import type { Interface } from '../../src/mesh/interface.ts';
import { encodeDeliveryAnnounce } from '../../src/mesh/lxmf/announce.ts';
import type { ReceivedMessage } from '../../src/mesh/lxmf/receiver.ts';
import { LxmfRouter } from '../../src/mesh/lxmf/router.ts';
import { LocalDestination } from '../../src/mesh/reticulum/destination.ts';
import { generateIdentity, type Identity } from '../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../src/mesh/reticulum/incoming-budget.ts';
import type { InterfacePolicy } from '../../src/mesh/reticulum/interface-policy.ts';
import type { Compressor } from '../../src/mesh/reticulum/link-port.ts';
import type { Link, LinkEvents } from '../../src/mesh/reticulum/link-session.ts';
import { Links } from '../../src/mesh/reticulum/links.ts';
import type { ReceiptOutcome } from '../../src/mesh/reticulum/receipts.ts';
import { RequestHandlers } from '../../src/mesh/reticulum/request.ts';
import { Transport } from '../../src/mesh/reticulum/transport.ts';
import { MemoryStorage } from '../mesh/reticulum/memory-storage.ts';
import type { ManualClock } from './clock.ts';
import { MortalClock } from './mortal-clock.ts';
import { seededRandom } from './random.ts';

/** An interface of a node, and how it is used. */
export interface Port {
  readonly iface: Interface;
  readonly policy?: InterfacePolicy;
}

export interface SimNodeOptions {
  readonly clock: ManualClock;
  readonly seed: number;
  readonly forwards?: boolean;
  /** Of the destination that everything but LXMF goes to. */
  readonly ratchets?: boolean;
  readonly ports?: readonly Port[];
  /** Serves an LXMF destination too. */
  readonly lxmf?: boolean;
  /** ms that its wall clock is ahead of the others'. */
  readonly ahead?: number;
  readonly compressor?: Compressor;
}

/** What outlives a process: the storage, the keys, and what the programs on top have taken. */
export interface Disk {
  readonly identity: Identity;
  readonly storage: MemoryStorage;
  /** LXMF messages by id, and how often each was handed up. */
  readonly inbox: Map<string, { readonly message: ReceivedMessage; times: number }>;
}

/** What came over links and in single packets, in the order it came; packets as hex. */
export interface Heard {
  readonly packets: string[];
  readonly resources: Uint8Array[];
}

/**
 * A whole node of the mesh on simulated interfaces: Transport, Links, one destination that keeps and proves what
 * comes and answers requests for /echo, and LXMF where asked for. It can be killed at any moment and started again from its disk.
 */
export class SimNode {
  readonly options: SimNodeOptions;
  readonly disk: Disk;
  readonly heard: Heard = { packets: [], resources: [] };
  readonly counters = new Counters();
  readonly random: Random;
  /** What was logged as an error: bugs. */
  readonly bugs: unknown[] = [];
  onAccepted: (link: Link) => void = () => {};
  #life: Life;
  #lives = 1;

  constructor(options: SimNodeOptions) {
    this.options = options;
    this.random = seededRandom(options.seed);
    this.disk = {
      identity: generateIdentity(this.random),
      storage: new MemoryStorage(),
      inbox: new Map(),
    };
    this.#life = this.#begin();
  }

  get transport(): Transport {
    return this.#life.transport;
  }

  get links(): Links {
    return this.#life.links;
  }

  get router(): LxmfRouter {
    return this.#life.router;
  }

  get destination(): LocalDestination {
    return this.#life.destination;
  }

  /** Its LXMF destination. */
  get address(): LocalDestination {
    return this.#life.address;
  }

  get budget(): IncomingBudget {
    return this.#life.budget;
  }

  /** Aborted when the process is gone. */
  get signal(): AbortSignal {
    return this.#life.stop.signal;
  }

  get lives(): number {
    return this.#lives;
  }

  /** To send to it as somebody who has its announce. */
  get contact(): { readonly identity: Identity['public']; readonly hash: Uint8Array } {
    return { identity: this.disk.identity.public, hash: this.destination.hash };
  }

  /** How a link's other end takes what comes over it. */
  get events(): LinkEvents {
    return {
      onPacket: ({ data, prove }) => {
        this.heard.packets.push(toHex(data));
        prove();
      },
      onResourceOffer: () => ({
        onResource: resource => {
          this.heard.resources.push(resource.data);
          resource.prove();
        },
      }),
    };
  }

  sizes(): Readonly<Record<string, number>> {
    return { ...this.transport.sizes(), ...this.router.sizes() };
  }

  /** Announces its LXMF destination, or the other one where it has none. */
  announce(): void {
    void this.transport.announce(this.options.lxmf === true ? this.address : this.destination);
  }

  /** Sends a single packet; resolves when it is proven, rejects with what became of it. */
  sendSingle(to: SimNode, data: Uint8Array, onTold: () => void = () => {}): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const onReceipt = (outcome: ReceiptOutcome) => {
        onTold();
        if (outcome.at === 'delivered') {
          resolve();
        } else {
          reject(new GatewayError(outcome.code, 'not proven', { retryable: true }));
        }
      };
      this.transport.send({ destination: to.contact, data, onReceipt }).catch(reject);
    });
  }

  openLink(to: SimNode, signal?: AbortSignal): Promise<Link> {
    const { identity, hash } = to.contact;
    return this.links.open(hash, { identity, events: this.events, ...(signal && { signal }) });
  }

  /** As kill -9 does: nothing is said, nothing is written any more. */
  kill(): void {
    this.#life.clock.kill();
    this.#life.stop.abort();
  }

  /** Starts anew from its disk after it was killed. */
  restart(): void {
    this.#lives += 1;
    this.#life = this.#begin();
  }

  /** Ends in order. */
  async close(): Promise<void> {
    const { links, router, transport, stop, running } = this.#life;
    router.close();
    links.close();
    await transport.close();
    stop.abort();
    await running;
  }

  #begin(): Life {
    const { options, random, counters, disk } = this;
    const { identity, storage } = disk;
    const clock = new MortalClock(options.clock, options.ahead);
    const stop = new AbortController();
    // A process that was killed writes nothing: what it still tries to goes nowhere.
    const ownStorage = {
      load: storage.load.bind(storage),
      save: async (...entry: Parameters<MemoryStorage['save']>) =>
        stop.signal.aborted ? undefined : storage.save(...entry),
      remove: async (...entry: Parameters<MemoryStorage['remove']>) =>
        stop.signal.aborted ? undefined : storage.remove(...entry),
    };
    const log: Log = {
      ...silentLog,
      error: (...said: unknown[]) => void (stop.signal.aborted || this.bugs.push(said)),
      child: () => log,
    };
    const parts = { clock, random, log, counters };
    const transport = new Transport({
      ...parts,
      storage: ownStorage,
      identity,
      forwards: options.forwards ?? false,
    });
    const budget = new IncomingBudget();
    const { compressor } = options;
    const links = new Links({ ...parts, transport, budget, ...(compressor && { compressor }) });
    transport.useLinks(links);
    const router = new LxmfRouter({ ...parts, transport, links });
    const destination = new LocalDestination({
      identity,
      appName: 'test',
      aspects: ['sim'],
      proofStrategy: 'app',
      ratchets: options.ratchets ?? false,
      onPacket: ({ data, prove }) => {
        this.heard.packets.push(toHex(data));
        prove();
      },
    });
    transport.register(destination);
    const handlers = new RequestHandlers();
    handlers.add({ path: '/echo', allow: 'all', respond: ({ data }) => ({ value: data }) });
    links.accept(destination, {
      handlers,
      onLink: link => {
        this.onAccepted(link);
        return this.events;
      },
    });
    const address = router.destination({
      identity,
      appData: () => encodeDeliveryAnnounce(`n${options.seed}`),
      onMessage: async received => this.#take(received),
    });
    if (options.lxmf === true) {
      router.serve(address);
    }
    const running = Promise.all(
      (options.ports ?? []).map(({ iface, policy }) =>
        supervise(transport.attach(iface, policy).service, { ...parts, signal: stop.signal }),
      ),
    );
    return { clock, stop, transport, links, router, destination, address, budget, running };
  }

  #take(received: ReceivedMessage): void {
    const { inbox } = this.disk;
    const before = inbox.get(received.id);
    if (before === undefined) {
      inbox.set(received.id, { message: received, times: 1 });
    } else {
      before.times += 1;
    }
  }
}

interface Life {
  readonly clock: MortalClock;
  readonly stop: AbortController;
  readonly transport: Transport;
  readonly links: Links;
  readonly router: LxmfRouter;
  readonly destination: LocalDestination;
  readonly address: LocalDestination;
  readonly budget: IncomingBudget;
  readonly running: Promise<unknown>;
}
