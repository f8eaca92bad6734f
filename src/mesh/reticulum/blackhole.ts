import { equal, fromHex, toHex } from '../../lib/bytes.ts';
import type { Cancel, Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { createTurns } from '../../lib/turns.ts';
import type { MeshStorage } from '../storage.ts';
import {
  type Blackholed,
  blackholedMost,
  decodeBlackholeList,
  encodeBlackholeList,
  reasonLongest,
} from './blackhole-wire.ts';
import { Listeners } from './listeners.ts';
import { hashLength } from './packet.ts';

/** An Identity that this node does not listen to. */
export interface BlackholeEntry extends Blackholed {
  /** 16 B: whose list it is on; our own hash for ours. */
  readonly source: Uint8Array;
  /** It is in the configuration, and goes only with it. */
  readonly configured: boolean;
}

export interface BlackholeParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly storage: MeshStorage;
  /** Our own identity hash, 16 B: the source of what is put on the list here. */
  readonly own: Uint8Array;
  /** Whose lists (identity hashes, 16 B) are used besides; lists of others that are stored are forgotten. */
  readonly sources?: readonly Uint8Array[];
  /** Identities of the configuration, 16 B. */
  readonly configured?: readonly Uint8Array[];
}

/** Where exceptions are stored; no identity hash. */
const exceptionsKey = '00';

/**
 * Identities whose announces are neither learnt nor passed on: our own list, and those of sources that we
 * believe. Ours wins: what we lift stays lifted although a source lists it. Each list is stored on its own,
 * under its source, in the form in which lists are answered.
 */
export class Blackhole {
  readonly #parts: BlackholeParts;
  readonly #own: string;
  /** By source, then by identity hash, all as hex. */
  readonly #lists = new Map<string, ReadonlyMap<string, Blackholed>>();
  /** Identities that are heard whatever a source says. */
  #exceptions: ReadonlySet<string> = new Set();
  /** What holds, of all lists. */
  #blocked = new Map<string, BlackholeEntry>();
  readonly #changed: Listeners<undefined>;
  readonly #inTurn = createTurns();

  /** Loads what is stored; a list that does not decode is counted and forgotten. */
  constructor(parts: BlackholeParts) {
    const { storage, counters, log, sources = [] } = parts;
    this.#parts = parts;
    this.#own = toHex(parts.own);
    this.#changed = new Listeners(log);
    const wanted = new Set([this.#own, ...sources.map(toHex)]);
    for (const { key, value } of storage.load('blackhole')) {
      try {
        if (key === exceptionsKey) {
          this.#exceptions = new Set(keyed(decodeBlackholeList(value, parts.own)).keys());
        } else if (wanted.has(key)) {
          this.#lists.set(key, keyed(decodeBlackholeList(value, fromHex(key, hashLength))));
        } else {
          this.#forget(key);
        }
      } catch (error) {
        counters.add(codeOf(error));
        this.#forget(key);
      }
    }
    this.#blocked = this.#merged();
  }

  /** Identities that are not listened to now. */
  get size(): number {
    return this.#blocked.size;
  }

  /** Whether an Identity (hash, 16 B) is not listened to. */
  has(identityHash: Uint8Array): boolean {
    return this.#blocked.size > 0 && this.get(identityHash) !== undefined;
  }

  /** Why it is not listened to. */
  get(identityHash: Uint8Array): BlackholeEntry | undefined {
    const key = toHex(identityHash);
    const entry = this.#blocked.get(key);
    if (entry?.until !== undefined && entry.until <= this.#parts.clock.now()) {
      this.#blocked.delete(key);
      return undefined;
    }
    return entry;
  }

  /** All that holds now, by identity hash. */
  entries(): BlackholeEntry[] {
    const now = this.#parts.clock.now();
    return [...this.#blocked]
      .filter(([, { until }]) => until === undefined || until > now)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, entry]) => entry);
  }

  /** More is blackholed from now on, or less. */
  onChange(listener: () => void): Cancel {
    return this.#changed.add(listener);
  }

  /**
   * Puts an Identity on our own list, or changes its entry; whether it was not on it. Resolves when durable.
   * Throws `request/conflict` for ourselves or a time that is over, `request/invalid` for a long reason, `store/full` for
   * a full list.
   */
  add(
    identityHash: Uint8Array,
    how: { readonly until?: number | undefined; readonly reason?: string | undefined } = {},
  ): Promise<boolean> {
    const { until, reason } = how;
    const { own, clock } = this.#parts;
    if (identityHash.length !== hashLength || (reason?.length ?? 0) > reasonLongest) {
      throw new GatewayError(
        'request/invalid',
        `a hash of ${hashLength} bytes, and a reason of ${reasonLongest} characters`,
      );
    }
    if (equal(identityHash, own)) {
      throw new GatewayError('request/conflict', 'the hash of an identity of somebody else');
    }
    if (until !== undefined && until <= clock.now()) {
      throw new GatewayError('request/conflict', 'a time to come, in ms since 1970');
    }
    const key = toHex(identityHash);
    return this.#inTurn(async () => {
      const before = this.#list(this.#own);
      const entry = {
        identityHash: new Uint8Array(identityHash),
        origin: own,
        until,
        reason: reason === '' ? undefined : reason,
      };
      const next = new Map(this.#current(before)).set(key, entry);
      if (next.size > blackholedMost) {
        throw new GatewayError('store/full', `${blackholedMost} identities are on the list already`);
      }
      await this.#keep(this.#own, next);
      await this.#except(key, false);
      this.#settle();
      return !before.has(key);
    });
  }

  /**
   * Listens to an Identity again, whoever put it on a list; whether it was on one. Resolves when durable. Throws
   * `request/conflict` for one of the configuration.
   */
  remove(identityHash: Uint8Array): Promise<boolean> {
    const key = toHex(identityHash);
    return this.#inTurn(async () => {
      if (this.#isConfigured(key)) {
        throw new GatewayError('request/conflict', 'this identity is blackholed in the configuration');
      }
      const isBlocked = this.get(identityHash) !== undefined;
      const mine = this.#list(this.#own);
      if (mine.has(key)) {
        const rest = new Map(this.#current(mine));
        rest.delete(key);
        await this.#keep(this.#own, rest);
      }
      const isListed = [...this.#lists].some(([source, list]) => source !== this.#own && list.has(key));
      if (isListed) {
        await this.#except(key, true);
      }
      this.#settle();
      return isBlocked;
    });
  }

  /** A source (16 B) gave its list: what was on the one before and is not on this is heard again. Resolves when durable. */
  replace(source: Uint8Array, list: readonly Blackholed[]): Promise<void> {
    const { own, counters, sources = [] } = this.#parts;
    const key = toHex(source);
    if (!sources.some(one => equal(one, source))) {
      return Promise.resolve();
    }
    return this.#inTurn(async () => {
      // What we put on a list ourselves is ours to lift: it does not come back by way of others.
      const theirs = list.filter(one => !equal(one.origin, own) && !equal(one.identityHash, own));
      await this.#keep(key, keyed(theirs.slice(0, blackholedMost)));
      counters.add('blackhole/list-taken');
      this.#settle();
    });
  }

  #list(source: string): ReadonlyMap<string, Blackholed> {
    return this.#lists.get(source) ?? new Map();
  }

  /** The list without what is over. */
  #current(list: ReadonlyMap<string, Blackholed>): Iterable<[string, Blackholed]> {
    const now = this.#parts.clock.now();
    return [...list].filter(([, { until }]) => until === undefined || until > now);
  }

  async #keep(source: string, list: ReadonlyMap<string, Blackholed>): Promise<void> {
    await this.#parts.storage.save('blackhole', source, encodeBlackholeList(list.values()));
    this.#lists.set(source, list);
  }

  /** Whether an Identity is heard whatever sources say. */
  async #except(key: string, wanted: boolean): Promise<void> {
    if (this.#exceptions.has(key) === wanted) {
      return;
    }
    const next = new Set(this.#exceptions);
    if (wanted) {
      next.add(key);
    } else {
      next.delete(key);
    }
    if (next.size > blackholedMost) {
      throw new GatewayError('store/full', `${blackholedMost} identities are exempt already`);
    }
    const entries = [...next].map(one => ({
      identityHash: fromHex(one, hashLength),
      origin: this.#parts.own,
      until: undefined,
      reason: undefined,
    }));
    await this.#parts.storage.save('blackhole', exceptionsKey, encodeBlackholeList(entries));
    this.#exceptions = next;
  }

  #isConfigured(key: string): boolean {
    return (this.#parts.configured ?? []).some(hash => toHex(hash) === key);
  }

  /** Puts the lists together again: ours wins, then the source named first. */
  #settle(): void {
    this.#blocked = this.#merged();
    this.#changed.tell(undefined);
  }

  #merged(): Map<string, BlackholeEntry> {
    const { own, sources = [], configured = [] } = this.#parts;
    const merged = new Map<string, BlackholeEntry>();
    for (const identityHash of configured) {
      const entry = { identityHash, origin: own, source: own, until: undefined, reason: undefined };
      merged.set(toHex(identityHash), { ...entry, configured: true });
    }
    for (const source of [own, ...sources]) {
      const isOwn = equal(source, own);
      for (const [key, entry] of this.#current(this.#list(toHex(source)))) {
        if (!merged.has(key) && (isOwn || !this.#exceptions.has(key))) {
          merged.set(key, { ...entry, source, configured: false });
        }
      }
    }
    return merged;
  }

  #forget(key: string): void {
    const { storage, log } = this.#parts;
    storage.remove('blackhole', key).catch((error: unknown) => {
      log.warn({ code: codeOf(error) }, 'a blackhole list that is not used any more could not be removed');
    });
  }
}

function keyed(entries: readonly Blackholed[]): Map<string, Blackholed> {
  return new Map(entries.map(entry => [toHex(entry.identityHash), entry]));
}
