import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { Alarm } from './alarm.ts';
import { Burst, type BurstLimits } from './burst.ts';
import type { Inbound, InterfaceHandle } from './dispatch.ts';
import { groupOf } from './fair-queue.ts';
import { inboundFrom } from './inbound.ts';
import type { IngressPolicy } from './interface-policy.ts';

/** An announce that is kept back, in bytes of its own and not verified yet. */
export interface HeldAnnounce {
  /** Destination hash, hex. */
  readonly key: string;
  readonly hops: number;
  readonly inbound: Inbound;
}

/** Monotonic ms at which the bursts began that an interface is limited for now. */
export interface IngressBursts {
  readonly announces?: number | undefined;
  readonly pathRequests?: number | undefined;
}

export interface IngressParts {
  readonly clock: Clock;
  readonly counters: Counters;
  /** Takes an announce that was held, as if it had come now. */
  readonly release: (held: HeldAnnounce) => void;
  /** Announces held for all interfaces together. */
  readonly capacity?: number;
}

/** Source of the figures: RNS 1.5.7. */
export const ingressDefaults = {
  youngFor: 2 * 3_600_000,
  announceRate: 10,
  announceRateYoung: 3,
  pathRequestRate: 8,
  pathRequestRateYoung: 3,
  calmTime: 15_000,
  penalty: 15_000,
  held: 256,
  releaseEvery: 5000,
} as const;
/** Announces held for all interfaces: whoever opens many connections must not multiply them. */
const defaultCapacity = 4096;
/**
 * ms that the rate of announces is measured over at the least: who has a handful of destinations tells of all at once
 * when it connects, which is no flood. The reference takes three in quick succession for one.
 */
const announceSpan = 2500;
/** ms until it is looked again whether an interface has calmed down. */
const lookAgain = 1000;

/** New destinations that all the peers of a listener bring, as a multiple of what one interface may. */
const listenerShare = 4;
/** ms that it is measured over at the least. */
const crowdSpan = 1000;
/** What one of them may bring in ten seconds however much the others bring. */
const peerLeast = 1;

/** A listener, whose peers together must not bring what none of them may alone. */
interface Listener {
  readonly announces: Burst;
  peers: number;
}

interface Gate {
  /** The one that found it. */
  readonly listener: Listener | undefined;
  readonly announces: Burst;
  readonly pathRequests: Burst;
  readonly held: Map<string, HeldAnnounce>;
  readonly alarm: Alarm;
  /** Monotonic ms before which nothing is released. */
  releaseAt: number;
}

/**
 * What an interface may bring that is new. While it brings announces of unknown destinations faster than its limit,
 * those that nobody asked for are held, bounded, and let in one by one when it is calm again, the nearest first: a
 * flood costs neither signatures nor room in tables. Whoever asks for a destination gets at what is held at once. The
 * peers of a listener are limited together, too: while all of them bring too much, each may bring little.
 *
 * Source: Reticulum manual, “Interfaces › New Interface Rate Limiting”; the figures of RNS 1.5.7. Beside the reference:
 * re-announces of known destinations do not count, and what is held is verified when it is let in, not before.
 */
export class Ingress {
  readonly #parts: IngressParts;
  readonly #gates = new Map<InterfaceHandle, Gate>();
  readonly #listeners = new Map<string, Listener>();
  #held = 0;

  constructor(parts: IngressParts) {
    this.#parts = parts;
  }

  /** Announces held over all interfaces. */
  get size(): number {
    return this.#held;
  }

  /** Announces held of one interface. */
  heldOf(iface: InterfaceHandle): number {
    return this.#gates.get(iface)?.held.size ?? 0;
  }

  /** What an interface brings too much of at this moment. */
  burstsOf(iface: InterfaceHandle): IngressBursts {
    const gate = this.#gates.get(iface);
    const calm = iface.policy?.ingress?.calmTime ?? ingressDefaults.calmTime;
    const now = this.#parts.clock.monotonic();
    return {
      announces: gate?.announces.runsSince(calm, now),
      pathRequests: gate?.pathRequests.runsSince(calm, now),
    };
  }

  /** An announce of a destination came that is not known and nobody waits for; whether it was kept back. */
  holds(key: string, inbound: Inbound): boolean {
    const { iface, raw, quality, packet } = inbound;
    const { clock, counters } = this.#parts;
    if (isFree(iface)) {
      return false;
    }
    const policy = iface.policy?.ingress ?? {};
    const now = clock.monotonic();
    const gate = this.#gate(iface);
    if (gate.held.has(key)) {
      // Which of two is the true one is not known yet: the first stays.
      return true;
    }
    gate.announces.note(now);
    const was = gate.announces.since;
    const lasts = gate.announces.lasts(announceLimits(policy, iface, now), now);
    if (!(lasts || this.#isCrowd(gate, policy, now))) {
      return false;
    }
    if (lasts && was === undefined) {
      gate.releaseAt = now + (policy.penalty ?? ingressDefaults.penalty);
      counters.add('announce/burst');
    } else if (!lasts && gate.held.size === 0) {
      gate.releaseAt = now + (policy.penalty ?? ingressDefaults.penalty);
      counters.add('announce/crowd');
    }
    this.#hold(gate, { key, hops: packet.hops, inbound: inboundFrom(raw.slice(), iface, quality) }, policy);
    return true;
  }

  /** A path request came over an interface; whether it is one of too many, and nothing is to be searched for it. */
  limitsPathRequest(iface: InterfaceHandle): boolean {
    if (isFree(iface)) {
      return false;
    }
    const policy = iface.policy?.ingress ?? {};
    const now = this.#parts.clock.monotonic();
    const { pathRequests } = this.#gate(iface);
    pathRequests.note(now);
    return pathRequests.lasts(requestLimits(policy, iface, now), now);
  }

  /** Somebody wants a way to a destination: what is held of it is let in at once. */
  asked(key: string): void {
    if (this.#held === 0) {
      return;
    }
    for (const gate of this.#gates.values()) {
      const held = gate.held.get(key);
      if (held !== undefined) {
        this.#let(gate, held);
      }
    }
  }

  /** An interface is gone. */
  dropOver(iface: InterfaceHandle): void {
    const gate = this.#gates.get(iface);
    if (gate !== undefined) {
      gate.alarm.stop();
      this.#held -= gate.held.size;
      this.#gates.delete(iface);
      if (gate.listener !== undefined) {
        gate.listener.peers -= 1;
        if (gate.listener.peers === 0) {
          this.#listeners.delete(groupOf(iface.name));
        }
      }
    }
  }

  close(): void {
    for (const iface of [...this.#gates.keys()]) {
      this.dropOver(iface);
    }
  }

  #hold(gate: Gate, held: HeldAnnounce, policy: IngressPolicy): void {
    const { counters, capacity = defaultCapacity } = this.#parts;
    if (gate.held.size >= (policy.held ?? ingressDefaults.held)) {
      counters.add('announce/held-full');
      return;
    }
    gate.held.set(held.key, held);
    this.#held += 1;
    counters.add('announce/held');
    if (this.#held > capacity) {
      counters.add('announce/held-full');
      const fullest = [...this.#gates.values()].reduce((a, b) => (b.held.size > a.held.size ? b : a));
      this.#forget(fullest, [...fullest.held.keys()].at(-1)!);
    }
    gate.alarm.at(gate.releaseAt);
  }

  #ring(iface: InterfaceHandle, gate: Gate): void {
    const policy = iface.policy?.ingress ?? {};
    const now = this.#parts.clock.monotonic();
    if (gate.held.size === 0) {
      return;
    }
    const listener = gate.listener?.announces;
    if (
      gate.announces.exceeds(announceLimits(policy, iface, now), now) ||
      listener?.exceeds(listenerLimits(policy), now)
    ) {
      gate.alarm.at(now + lookAgain);
      return;
    }
    gate.releaseAt = now + (policy.releaseEvery ?? ingressDefaults.releaseEvery);
    gate.alarm.at(gate.releaseAt);
    listener?.note(now);
    this.#let(gate, nearest(gate.held.values()));
  }

  #let(gate: Gate, held: HeldAnnounce): void {
    this.#forget(gate, held.key);
    this.#parts.counters.add('announce/released');
    this.#parts.release(held);
  }

  #forget(gate: Gate, key: string): void {
    gate.held.delete(key);
    this.#held -= 1;
  }

  /** Whether all that a listener found bring too much together, and this one not only little of it. */
  #isCrowd({ announces, listener }: Gate, policy: IngressPolicy, now: number): boolean {
    if (listener === undefined) {
      return false;
    }
    if (listener.announces.lasts(listenerLimits(policy), now) && announces.lately(now) > peerLeast) {
      return true;
    }
    listener.announces.note(now);
    return false;
  }

  #listenerOf({ name }: InterfaceHandle): Listener | undefined {
    const group = groupOf(name);
    if (group === name) {
      return undefined;
    }
    const made = () => ({ announces: new Burst(crowdSpan), peers: 0 });
    const listener = this.#listeners.getOrInsertComputed(group, made);
    listener.peers += 1;
    return listener;
  }

  #gate(iface: InterfaceHandle): Gate {
    return this.#gates.getOrInsertComputed(iface, () => {
      const gate: Gate = {
        listener: this.#listenerOf(iface),
        announces: new Burst(announceSpan),
        pathRequests: new Burst(),
        held: new Map(),
        alarm: new Alarm(this.#parts.clock, () => this.#ring(iface, gate)),
        releaseAt: 0,
      };
      return gate;
    });
  }
}

/** The one that came first of those that are nearest. */
function nearest(held: Iterable<HeldAnnounce>): HeldAnnounce {
  return [...held].reduce((best, one) => (one.hops < best.hops ? one : best));
}

/** Programs of this machine are never held up. */
function isFree({ policy }: InterfaceHandle): boolean {
  return policy?.ingress?.limited === false || policy?.local !== undefined;
}

function isYoung(policy: IngressPolicy, { attachedAt = 0 }: InterfaceHandle, now: number): boolean {
  return now - attachedAt < (policy.youngFor ?? ingressDefaults.youngFor);
}

function announceLimits(policy: IngressPolicy, iface: InterfaceHandle, now: number): BurstLimits {
  const rate = isYoung(policy, iface, now)
    ? (policy.announceRateYoung ?? ingressDefaults.announceRateYoung)
    : (policy.announceRate ?? ingressDefaults.announceRate);
  return { rate, calm: policy.calmTime ?? ingressDefaults.calmTime };
}

function listenerLimits(policy: IngressPolicy): BurstLimits {
  return {
    rate: listenerShare * (policy.announceRate ?? ingressDefaults.announceRate),
    calm: policy.calmTime ?? ingressDefaults.calmTime,
  };
}

function requestLimits(policy: IngressPolicy, iface: InterfaceHandle, now: number): BurstLimits {
  const rate = isYoung(policy, iface, now)
    ? (policy.pathRequestRateYoung ?? ingressDefaults.pathRequestRateYoung)
    : (policy.pathRequestRate ?? ingressDefaults.pathRequestRate);
  return { rate, calm: policy.calmTime ?? ingressDefaults.calmTime };
}
