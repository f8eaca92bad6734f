import type { Cancel, Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import type { Inbound, InterfaceHandle } from './dispatch.ts';
import { FairQueue } from './fair-queue.ts';
import { inboundFrom } from './inbound.ts';

/** What may wait, in the order it is served: all else is worked off as it comes. `limited` is what its interface brings too much of. */
export const inboundClasses = ['announce', 'path-request', 'limited'] as const;
export type InboundClass = (typeof inboundClasses)[number];

export interface InboundQueueParts {
  readonly clock: Clock;
  readonly counters: Counters;
  /**
   * Works a packet off; what it cost, in signatures. A promise of that where others do it, which only one of many is
   * given to.
   */
  readonly work: Readonly<
    Record<InboundClass, (inbound: Inbound, isOneOfMany: boolean) => number | Promise<number>>
  >;
  /** A packet could not be read. */
  readonly failed: (from: InterfaceHandle, error: unknown) => void;
}

interface Waiting {
  readonly of: InboundClass;
  readonly inbound: Inbound;
}

interface Source {
  waiting: number;
  /** Asked to bring no more until there is room. */
  relief: PromiseWithResolvers<void> | undefined;
}

/** Signatures checked before everything else has a turn: about 10 ms of this thread, for all interfaces together. */
const workPerTurn = 100;
/** Packets that others work on at once, and what this thread has to do for each, in signatures. */
const besideMost = 32;
const besideCost = 0.5;
/** Packets that wait of one interface before it is asked to bring no more, and of all together. */
const sourceLimit = 256;
const limit = 8192;
/** Packets that one interface may have waiting however many others wait. */
const sourceLeast = 16;
/** One in so many is of the last class that has any: none is starved. */
const fairness = 8;

/**
 * What is heavy of what comes in. As long as this turn of the event loop has room it is worked off at once; beyond, it
 * waits, bounded, in classes and with turns for the interfaces, while data goes on. Whoever brings more than may wait
 * is asked to wait: a stream reads its socket no further. What comes all the same is dropped and counted.
 */
export class InboundQueue {
  readonly #parts: InboundQueueParts;
  readonly #queues: Readonly<Record<InboundClass, FairQueue<Waiting>>> = {
    announce: new FairQueue(),
    'path-request': new FairQueue(),
    limited: new FairQueue(),
  };
  readonly #sources = new Map<InterfaceHandle, Source>();
  /** Work done in this turn. */
  #done = 0;
  /** Packets that others work on. */
  #beside = 0;
  #served = 0;
  #cancelTurn: Cancel | undefined;

  constructor(parts: InboundQueueParts) {
    this.#parts = parts;
  }

  /** Packets that wait. */
  get size(): number {
    const { announce, limited, 'path-request': requests } = this.#queues;
    return announce.size + requests.size + limited.size;
  }

  /** Packets of one interface that wait. */
  waitingOf(iface: InterfaceHandle): number {
    return this.#sources.get(iface)?.waiting ?? 0;
  }

  /** Takes a packet, now or later. A promise asks its medium to bring no more until then. */
  take(of: InboundClass, inbound: Inbound): Promise<void> | undefined {
    if (this.size === 0 && this.#mayWork) {
      this.#work(of, inbound);
      this.#begin();
      return undefined;
    }
    const { iface, raw, quality } = inbound;
    const source = this.#sources.getOrInsertComputed(iface, () => ({ waiting: 0, relief: undefined }));
    if (source.relief !== undefined) {
      this.#parts.counters.add('mesh/inbound-full');
      return source.relief.promise;
    }
    // What came in lies in the medium's buffer.
    this.#queues[of].add(iface.name, { of, inbound: inboundFrom(raw.slice(), iface, quality) });
    source.waiting += 1;
    this.#begin();
    if (source.waiting < (this.size < limit ? sourceLimit : sourceLeast)) {
      return undefined;
    }
    source.relief = Promise.withResolvers<void>();
    return source.relief.promise;
  }

  /** An interface is gone: what it brought leads nowhere. */
  dropOver(iface: InterfaceHandle): void {
    const source = this.#sources.get(iface);
    if (source !== undefined) {
      for (const queue of Object.values(this.#queues)) {
        queue.drop(iface.name);
      }
      this.#sources.delete(iface);
      source.relief?.resolve();
    }
  }

  close(): void {
    this.#cancelTurn?.();
    for (const iface of [...this.#sources.keys()]) {
      this.dropOver(iface);
    }
  }

  #begin(): void {
    this.#cancelTurn ??= this.#parts.clock.after(0, () => this.#turn());
  }

  #turn(): void {
    this.#cancelTurn = undefined;
    this.#done = 0;
    this.#workOff();
  }

  #workOff(): void {
    while (this.size > 0 && this.#mayWork) {
      const { of, inbound } = this.#next();
      this.#left(inbound.iface);
      this.#work(of, inbound);
    }
    if (this.size > 0 && this.#done >= workPerTurn) {
      this.#begin();
    }
  }

  get #mayWork(): boolean {
    return this.#done < workPerTurn && this.#beside < besideMost;
  }

  #next(): Waiting {
    this.#served += 1;
    const has = (of: InboundClass) => this.#queues[of].size > 0;
    const of = this.#served % fairness === 0 ? inboundClasses.findLast(has) : inboundClasses.find(has);
    return this.#queues[of!].shift()!;
  }

  #left(iface: InterfaceHandle): void {
    const source = this.#sources.get(iface);
    if (source === undefined) {
      return;
    }
    source.waiting -= 1;
    if (source.waiting <= sourceLeast / 2) {
      source.relief?.resolve();
      source.relief = undefined;
    }
    if (source.waiting === 0) {
      this.#sources.delete(iface);
    }
  }

  #work(of: InboundClass, inbound: Inbound): void {
    try {
      const cost = this.#parts.work[of](inbound, this.#done > 0);
      if (typeof cost === 'number') {
        this.#done += cost;
        return;
      }
      this.#done += besideCost;
      this.#beside += 1;
      const end = () => {
        this.#beside -= 1;
        this.#workOff();
      };
      void cost.then(end, error => {
        this.#parts.failed(inbound.iface, error);
        end();
      });
    } catch (error) {
      this.#done += 1;
      this.#parts.failed(inbound.iface, error);
    }
  }
}
