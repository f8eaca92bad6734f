import { concat, toHex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { appDataLimit } from './announce.ts';
import { LocalDestination } from './destination.ts';
import {
  discoveryAspects,
  discoveryRounds,
  encodeDiscovery,
  encodeNotice,
  type InterfaceNotice,
} from './discovery-wire.ts';
import type { Identity } from './identity.ts';
import { firstInterface } from './management-announces.ts';
import { sha256 } from './packet.ts';
import { transportApp } from './probe.ts';
import { searchStamp, workBlock } from './stamp.ts';
import type { Transport } from './transport.ts';

/** An interface of ours that others may know of. */
export interface PublishedInterface {
  readonly name: string;
  /** ms between two announces */
  readonly interval: number;
  /** Bits of work in the stamp. */
  readonly cost: number;
  /** Only for those who have the network identity. */
  readonly sealed: boolean;
  /** What is said of it now; undefined where there is nothing to say, such as while it is down. */
  notice(): InterfaceNotice | undefined;
}

export interface DiscoveryPublisherParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly transport: Pick<
    Transport,
    'announce' | 'register' | 'deregister' | 'identity' | 'onInterface' | 'interfaces'
  >;
  /** Announces under it where there is one, so that a group of nodes is known by one identity. */
  readonly networkIdentity?: Identity | undefined;
  /** What there is now. */
  readonly published: () => readonly PublishedInterface[];
}

/** ms from the first interface being up to the first announce: people and messages are announced before. */
const firstAfter = 10_000;
/** ms between two looks; one interface is announced in each. Source: RNS 1.5.7. */
const lookEvery = 60_000;
const stampsKept = 128;

/** Announces interfaces of ours, each at its time, until the signal. */
export async function publishInterfaces(parts: DiscoveryPublisherParts, signal: AbortSignal): Promise<void> {
  const { clock, log, counters, transport, published } = parts;
  const announced = new Map<string, number>();
  const stamps = new Map<string, Uint8Array>();
  const due = () =>
    published()
      .map(one => ({ one, at: (announced.get(one.name) ?? Number.NEGATIVE_INFINITY) + one.interval }))
      .filter(({ at }) => at <= clock.monotonic())
      .sort((a, b) => a.at - b.at)[0]?.one;
  try {
    await firstInterface(transport, signal);
    await clock.sleep(firstAfter, signal);
    for (;;) {
      const one = due();
      if (one !== undefined) {
        announced.set(one.name, clock.monotonic());
        try {
          if (await announceInterface(one, stamps, parts, signal)) {
            counters.add('discovery/announced');
          }
        } catch (error) {
          if (signal.aborted) {
            return;
          }
          log.warn(
            { interface: one.name, code: codeOf(error), reason: String(error) },
            'an interface was not announced',
          );
        }
      }
      await clock.sleep(lookEvery, signal);
    }
  } catch (error) {
    if (!signal.aborted) {
      throw error;
    }
  }
}

async function announceInterface(
  one: PublishedInterface,
  stamps: Map<string, Uint8Array>,
  parts: DiscoveryPublisherParts,
  signal: AbortSignal,
): Promise<boolean> {
  const { random, transport, networkIdentity } = parts;
  const notice = one.notice();
  if (notice === undefined) {
    return false;
  }
  const facts = encodeNotice(notice);
  const name = `${toHex(sha256(facts))} ${one.cost}`;
  let stamp = stamps.get(name);
  if (stamp === undefined) {
    stamp = await searchStamp(workBlock(sha256(facts), discoveryRounds), one.cost, { ...parts, signal });
    stamps.set(name, stamp);
    if (stamps.size > stampsKept) {
      stamps.delete(stamps.keys().next().value as string);
    }
  }
  const stamped = concat(facts, stamp);
  if (one.sealed && networkIdentity === undefined) {
    throw new GatewayError('config/invalid', 'a sealed announce of an interface needs a network identity');
  }
  const payload = one.sealed ? (networkIdentity as Identity).public.encrypt(stamped, random) : stamped;
  const appData = encodeDiscovery(payload, one.sealed);
  if (appData.length > appDataLimit(false)) {
    throw new GatewayError('mesh/too-large', `${appData.length} bytes: leave out what need not be said`);
  }
  // Others of the group announce under the same destination: it is ours only while we do, or we would not hear them.
  const destination = new LocalDestination({
    identity: networkIdentity ?? transport.identity,
    appName: transportApp,
    aspects: [...discoveryAspects],
  });
  transport.register(destination);
  try {
    return await transport.announce(destination, { appData });
  } finally {
    transport.deregister(destination);
  }
}
