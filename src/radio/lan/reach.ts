import type { Counters } from '../../lib/counters.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Network } from '../network.ts';
import { type OpenAdapter, openAdapter } from './adapter.ts';
import { type AdapterWish, chooseAdapters, type Place } from './adapters.ts';
import type { Group } from './group.ts';

/** ms without our own token coming back before the group is joined anew. Source: RNS 1.5.7, AutoInterface. */
const echoTimeout = 6500;

/** A network adapter as a person may want to see it. */
export interface AdapterView {
  readonly adapter: string;
  /** `deaf`: what we say to the group does not come back, so others are probably not heard either. */
  readonly state: 'used' | 'deaf' | 'failed' | 'unused';
  /** Its link-local address, where it is used. */
  readonly address?: string;
  /** Why it is not used, or not heard, for people. */
  readonly reason?: string;
}

export interface ReachOptions extends AdapterWish {
  readonly name: string;
  readonly group: Group;
  readonly discoveryPort: number;
  readonly dataPort: number;
}

export interface ReachParts {
  readonly counters: Counters;
  readonly log: Log;
  readonly network: Network;
}

export interface ReachEvents {
  onDiscovery(adapter: OpenAdapter, datagram: Uint8Array, from: string, alone: boolean): void;
  onPacket(adapter: OpenAdapter, packet: Uint8Array, from: string): void;
  /** What was found by it is not to be reached any more. */
  onLost(adapter: OpenAdapter, reason: string): void;
}

interface Entry {
  readonly opened: OpenAdapter;
  /** When our own token came back last, or when the group was joined last. */
  echo: number;
  deaf: boolean;
  failure: GatewayError | undefined;
}

/** The network adapters a LAN has open. What is to be so is worked out anew at every look, from what is there. */
export class Reach {
  readonly #options: ReachOptions;
  readonly #parts: ReachParts;
  readonly #events: ReachEvents;
  readonly #entries = new Map<string, Entry>();
  readonly #failed = new Map<string, string>();
  #unused: readonly { readonly adapter: string; readonly reason: string }[] = [];

  constructor(options: ReachOptions, parts: ReachParts, events: ReachEvents) {
    this.#options = options;
    this.#parts = parts;
    this.#events = events;
  }

  /** Closes what is gone or broken, opens what is new. Rejects with `radio/offline` where nothing is left. */
  async look(now: number): Promise<void> {
    const inUse = new Map([...this.#entries].map(([name, { opened }]) => [name, opened.place]));
    const { use, unused } = chooseAdapters(this.#parts.network.adapters(), this.#options, inUse);
    this.#unused = unused;
    for (const [name, entry] of this.#entries) {
      const still = use.some(place => isSame(place, entry.opened.place));
      if (!still || entry.failure !== undefined) {
        const why = entry.failure?.message ?? unused.find(one => one.adapter === name)?.reason;
        await this.#close(name, entry, `${name} ${why ?? 'is gone, or has another address'}`);
      }
    }
    for (const name of this.#failed.keys()) {
      if (!use.some(({ adapter }) => adapter === name)) {
        this.#failed.delete(name);
      }
    }
    for (const place of use.filter(({ adapter }) => !this.#entries.has(adapter))) {
      await this.#open(place, now);
    }
    if (this.#entries.size === 0) {
      throw new GatewayError('radio/offline', this.#whyOffline(), { retryable: true });
    }
    this.#listen(now);
  }

  open(): OpenAdapter[] {
    return [...this.#entries.values()].map(({ opened }) => opened);
  }

  /** Whether an address is one of ours, whichever adapter it was heard on. */
  isOwn(address: string): boolean {
    return this.open().some(({ place }) => place.address === address);
  }

  /** Our own token came back. */
  heardEcho(address: string, now: number): void {
    const { log } = this.#parts;
    for (const [adapter, entry] of this.#entries) {
      if (entry.opened.place.address === address) {
        entry.echo = now;
        if (entry.deaf) {
          entry.deaf = false;
          log.info({ interface: this.#options.name, adapter }, 'multicast is heard again');
        }
      }
    }
  }

  view(): AdapterView[] {
    const used = [...this.#entries].map(([adapter, { opened, deaf, failure }]): AdapterView => {
      const { address } = opened.place;
      if (failure !== undefined) {
        return { adapter, state: 'failed', reason: failure.message };
      }
      return deaf
        ? { adapter, state: 'deaf', address, reason: deafness }
        : { adapter, state: 'used', address };
    });
    const failed = [...this.#failed].map(([adapter, reason]) => ({
      adapter,
      state: 'failed' as const,
      reason,
    }));
    const unused = this.#unused.map(one => ({ ...one, state: 'unused' as const }));
    return [...used, ...failed, ...unused];
  }

  async close(): Promise<void> {
    const opened = this.open();
    this.#entries.clear();
    await Promise.all(opened.map(one => one.close()));
  }

  async #open(place: Place, now: number): Promise<void> {
    const { name: iface } = this.#options;
    const { counters, log, network } = this.#parts;
    const { adapter } = place;
    let entry: Entry | undefined;
    const of = (then: (opened: OpenAdapter) => void) => {
      if (entry !== undefined && this.#entries.get(adapter) === entry) {
        then(entry.opened);
      }
    };
    try {
      const opened = await openAdapter(place, {
        ...this.#options,
        network,
        onDiscovery: (bytes, from, alone) => of(here => this.#events.onDiscovery(here, bytes, from, alone)),
        onPacket: (bytes, from) => of(here => this.#events.onPacket(here, bytes, from)),
        onFailure: error => this.#fail(adapter, entry, error),
      });
      entry = { opened, echo: now, deaf: false, failure: undefined };
      this.#entries.set(adapter, entry);
      this.#failed.delete(adapter);
      log.info({ interface: iface, adapter, address: place.address }, 'finding peers');
    } catch (error) {
      if (!isGatewayError(error)) {
        throw error;
      }
      counters.add('radio/adapter-failed');
      if (this.#failed.get(adapter) !== error.message) {
        log.warn({ interface: iface, adapter, code: error.code, reason: error.message }, 'adapter not used');
      }
      this.#failed.set(adapter, error.message);
    }
  }

  #fail(adapter: string, entry: Entry | undefined, error: GatewayError): void {
    this.#parts.counters.add('radio/adapter-failed');
    if (entry !== undefined && entry.failure === undefined) {
      entry.failure = error;
      this.#events.onLost(entry.opened, `${adapter} ${error.message}`);
    }
  }

  async #close(adapter: string, entry: Entry, reason: string): Promise<void> {
    this.#entries.delete(adapter);
    this.#parts.log.info({ interface: this.#options.name, adapter, reason }, 'adapter closed');
    this.#events.onLost(entry.opened, reason);
    await entry.opened.close();
  }

  /** Where our own token does not come back the group is joined anew: the kernel or a switch may have lost us. */
  #listen(now: number): void {
    const { counters, log } = this.#parts;
    for (const [adapter, entry] of this.#entries) {
      if (now - entry.echo <= echoTimeout) {
        continue;
      }
      entry.echo = now;
      counters.add('radio/deaf-adapter');
      if (!entry.deaf) {
        entry.deaf = true;
        log.warn({ interface: this.#options.name, adapter, reason: deafness }, 'multicast is not heard');
      }
      try {
        entry.opened.rejoin();
      } catch (error) {
        this.#fail(adapter, entry, error as GatewayError);
      }
    }
  }

  #whyOffline(): string {
    const failed = [...this.#failed].map(([adapter, reason]) => `${adapter}: ${reason}`);
    const unused = this.#unused
      .filter(({ reason }) => reason !== 'leads nowhere')
      .map(({ adapter, reason }) => `${adapter} ${reason}`);
    const why = [...failed, ...unused].join('; ');
    return why === ''
      ? 'this machine has no network adapter that is up'
      : `no network adapter to use: ${why}`.slice(0, 500);
  }
}

const deafness =
  'what is said to the group does not come back: a firewall may drop IPv6 multicast or these UDP ports';

function isSame(one: Place, other: Place): boolean {
  return one.adapter === other.adapter && one.address === other.address && one.index === other.index;
}
