import type { Counters } from '../../lib/counters.ts';
import type { Interface } from '../../mesh/interface.ts';
import type { IntakeBudget } from '../intake.ts';
import type { OpenAdapter } from './adapter.ts';
import { LanPeer } from './peer.ts';

/** ms after which a peer that says nothing is given up. Source: RNS 1.5.7, AutoInterface. */
const silenceLimit = 22_000;
/** ms between two tokens told to one peer alone. Source: RNS 1.5.7, AutoInterface. */
const tellInterval = 5200;
/**
 * ms after which a peer is taken to know us though it has not said so. The reference answers to nobody but drops
 * what comes from nodes that it has not found yet; it finds us within 3.6 s of its own first word, 1.92 s of which
 * it spends deaf. Source: RNS 1.5.7, observed.
 */
const trustAfter = 5000;
/** Peers taken up between two looks: more at once are an attack, or wait for their next token. */
const newAtOnce = 64;
/** Bytes of packets of all peers that may wait to be worked off. */
const intakeLimit = 4 * 1024 * 1024;

interface Entry {
  readonly adapter: OpenAdapter;
  readonly address: string;
  readonly peer: LanPeer;
  readonly found: number;
  heard: number;
  told: number;
  spoke: boolean;
}

export interface PeersOptions {
  /** Of the LAN; the names of peers begin with it. */
  readonly name: string;
  readonly bitrate: number;
  readonly limit: number;
  readonly counters: Counters;
  readonly attach: (peer: Interface) => void;
}

/**
 * The peers of a LAN by adapter and address: a link-local address means something on its own link only,
 * and a node that is met on two networks is two peers, so that one goes on when the other breaks.
 */
export class Peers {
  readonly #options: PeersOptions;
  readonly #budget: IntakeBudget = { used: 0, limit: intakeLimit };
  /** The one found longest ago first. */
  readonly #entries = new Map<string, Entry>();
  #fresh = 0;

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(adapter: OpenAdapter, address: string): LanPeer | undefined {
    return this.#entries.get(keyOf(adapter, address))?.peer;
  }

  /** A peer's token was heard: `new` where it was not known. Whoever says it to us `alone` knows us. */
  heard(adapter: OpenAdapter, address: string, alone: boolean, now: number): 'new' | 'known' | 'refused' {
    const known = this.#entries.get(keyOf(adapter, address));
    const added = known === undefined && this.#hasRoom() ? this.#add(adapter, address, now) : undefined;
    const entry = known ?? added;
    if (entry === undefined) {
      return 'refused';
    }
    entry.heard = now;
    if (alone) {
      entry.peer.knowsUs();
    }
    return known === undefined ? 'new' : 'known';
  }

  /** A packet came from a peer. */
  spoke(adapter: OpenAdapter, address: string, now: number): void {
    const entry = this.#entries.get(keyOf(adapter, address));
    if (entry !== undefined) {
      entry.heard = now;
      entry.spoke = true;
      entry.peer.knowsUs();
    }
  }

  /** Gives up whoever has been silent for too long; gives those that are to be told that we are here. */
  look(now: number): { readonly adapter: OpenAdapter; readonly address: string }[] {
    this.#fresh = 0;
    const due: Entry[] = [];
    for (const [key, entry] of this.#entries) {
      if (now - entry.heard > silenceLimit) {
        this.#lose(key, `${entry.peer.name} was silent for ${silenceLimit / 1000} s`);
        continue;
      }
      if (now - entry.found > trustAfter) {
        entry.peer.knowsUs();
      }
      if (now - entry.told > tellInterval) {
        entry.told = now;
        due.push(entry);
      }
    }
    return due;
  }

  /** An adapter is gone, and with it whoever was found by it. */
  loseBy(adapter: OpenAdapter, reason: string): void {
    for (const [key, entry] of this.#entries) {
      if (entry.adapter === adapter) {
        this.#lose(key, reason);
      }
    }
  }

  lose(reason: string): void {
    for (const key of this.#entries.keys()) {
      this.#lose(key, reason);
    }
  }

  view(now: number): { name: string; heard: number; spoke: boolean }[] {
    return [...this.#entries.values()].map(({ peer, heard, spoke }) => ({
      name: peer.name,
      heard: Math.round(now - heard),
      spoke,
    }));
  }

  #add(adapter: OpenAdapter, address: string, now: number): Entry | undefined {
    const { name, bitrate, counters, attach } = this.#options;
    const peer = new LanPeer({
      name: `${name}/${adapter.place.adapter}/${address}`,
      bitrate,
      counters,
      budget: this.#budget,
      send: packet => adapter.send(packet, address),
    });
    const key = keyOf(adapter, address);
    const entry = { adapter, address, peer, found: now, heard: now, told: now, spoke: false };
    this.#entries.set(key, entry);
    this.#fresh += 1;
    attach(peer);
    if (!peer.running) {
      // The mesh still has the one before it by this name, or stops: the next token tries again.
      this.#entries.delete(key);
      return undefined;
    }
    return entry;
  }

  /** Whether one more may come. Where it is full, whoever was found longest ago and never sent a packet goes. */
  #hasRoom(): boolean {
    const { limit, counters } = this.#options;
    if (this.#fresh >= newAtOnce) {
      counters.add('radio/too-many-new-peers');
      return false;
    }
    if (this.#entries.size < limit) {
      return true;
    }
    const silent = [...this.#entries].find(([, { spoke }]) => !spoke);
    if (silent === undefined) {
      counters.add('radio/too-many-peers');
      return false;
    }
    counters.add('radio/silent-peer-gave-way');
    this.#lose(silent[0], 'another peer was found, and this one had never sent a packet');
    return true;
  }

  #lose(key: string, reason: string): void {
    const entry = this.#entries.get(key);
    this.#entries.delete(key);
    entry?.peer.lose(reason);
  }
}

const keyOf = (adapter: OpenAdapter, address: string) => `${adapter.place.adapter}/${address}`;
