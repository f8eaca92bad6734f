import { equal, toHex } from '../../lib/bytes.ts';
import type { Cancel, Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { Allowance } from './allowance.ts';
import type { Blackhole } from './blackhole.ts';
import { nameHash } from './destination.ts';
import type { Discovered, DiscoveredInterface } from './discovered.ts';
import {
  decodeDiscovery,
  decodeNotice,
  discoveryAspects,
  discoveryCost,
  discoveryRounds,
  hasKind,
  keptTypes,
  splitStamped,
} from './discovery-wire.ts';
import { groupOf } from './fair-queue.ts';
import type { Identity } from './identity.ts';
import type { Announced } from './lessons.ts';
import { sha256 } from './packet.ts';
import { transportApp } from './probe.ts';
import { stampValue, workBlock } from './stamp.ts';
import type { Transport } from './transport.ts';

export interface DiscoveryListenerParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly transport: Pick<Transport, 'onAnnounce' | 'identity'>;
  readonly discovered: Discovered;
  readonly blackhole: Pick<Blackhole, 'has'>;
  /** Identities (hex) whose announces are looked at; everybody's without any. */
  readonly sources?: ReadonlySet<string>;
  /** What sealed announces are opened with. */
  readonly networkIdentity?: Identity | undefined;
  /** Bits that a stamp must show. Default 16. */
  readonly cost?: number;
  readonly onFound?: (found: DiscoveredInterface) => void;
  /** An interface was announced, with work enough, that says nothing of its kind. */
  readonly onKindless?: (networkId: Uint8Array) => void;
}

/**
 * Stamps checked in a second, and at once, of each configured interface and the peers it found: each takes some
 * 0.3 ms, and a key exchange more where it is sealed.
 */
const checksPerSecond = 10;
const checksAtOnce = 40;
/** Announces whose check is remembered: they come again every few hours. */
const remembered = 2048;

/**
 * Listens to announces of interfaces, and keeps those whose stamp shows enough work. What does not cost its sender
 * enough, comes too often or is not for us is counted and left.
 */
export class DiscoveryListener {
  readonly #parts: DiscoveryListenerParts;
  /** By the name of a configured interface. */
  readonly #allowances = new Map<string, Allowance>();
  /** Value of the stamp by hash of the app data, hex. */
  readonly #values = new Map<string, number>();
  readonly #cancel: Cancel;

  constructor(parts: DiscoveryListenerParts) {
    this.#parts = parts;
    const name = nameHash([transportApp, ...discoveryAspects].join('.'));
    this.#cancel = parts.transport.onAnnounce(announced => this.#heard(announced), { nameHash: name });
  }

  close(): void {
    this.#cancel();
  }

  #heard(announced: Announced): void {
    const { counters, log, discovered, onFound } = this.#parts;
    try {
      const found = this.#take(announced);
      if (found !== undefined) {
        const entry = discovered.take(found);
        onFound?.(entry);
      }
    } catch (error) {
      if (!isGatewayError(error)) {
        log.error({ error }, 'an announced interface could not be taken');
      }
      counters.add(`discovery/${isGatewayError(error) ? 'malformed' : codeOf(error)}`);
    }
  }

  #take({
    appData,
    identity,
    hops,
    interfaceName,
  }: Announced): Parameters<Discovered['take']>[0] | undefined {
    const { counters, sources, blackhole, transport, networkIdentity, onKindless } = this.#parts;
    const { cost = discoveryCost } = this.#parts;
    if (appData === undefined || (sources !== undefined && !sources.has(toHex(identity.hash)))) {
      counters.add('discovery/not-wanted');
      return undefined;
    }
    const { sealed, payload } = decodeDiscovery(appData);
    if (sealed && networkIdentity === undefined) {
      counters.add('discovery/sealed-for-others');
      return undefined;
    }
    const key = toHex(sha256(appData));
    let value = this.#values.get(key);
    if (value !== undefined && value < cost) {
      counters.add('discovery/stamp-too-cheap');
      return undefined;
    }
    if (!this.#mayCheck(groupOf(interfaceName))) {
      counters.add('discovery/too-many');
      return undefined;
    }
    const stamped = sealed ? (networkIdentity as Identity).open(payload, [], false).plaintext : payload;
    const { facts, stamp } = splitStamped(stamped);
    value ??= this.#remember(key, stampValue(workBlock(sha256(facts), discoveryRounds), stamp));
    if (value < cost) {
      counters.add('discovery/stamp-too-cheap');
      return undefined;
    }
    if (!hasKind(facts)) {
      counters.add('discovery/kindless');
      onKindless?.(identity.hash);
      return undefined;
    }
    const notice = decodeNotice(facts);
    const isOwn = equal(notice.transportId, transport.identity.hash);
    if (isOwn || !keptTypes.includes(notice.type) || blackhole.has(notice.transportId)) {
      counters.add('discovery/not-wanted');
      return undefined;
    }
    return { notice, facts: new Uint8Array(facts), networkId: identity.hash, value, hops };
  }

  #mayCheck(group: string): boolean {
    const { clock } = this.#parts;
    return this.#allowances
      .getOrInsertComputed(group, () => new Allowance(clock, checksPerSecond / 1000, checksAtOnce))
      .take(1);
  }

  #remember(key: string, value: number): number {
    this.#values.set(key, value);
    if (this.#values.size > remembered) {
      this.#values.delete(this.#values.keys().next().value as string);
    }
    return value;
  }
}
