import { concat, equal } from '../../../src/lib/bytes.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { nameHash } from '../../../src/mesh/reticulum/destination.ts';
import { Discovered, type DiscoveredInterface } from '../../../src/mesh/reticulum/discovered.ts';
import { DiscoveryListener } from '../../../src/mesh/reticulum/discovery-listener.ts';
import {
  type DiscoverableType,
  discoverableTypes,
  discoveryAspects,
  discoveryCost,
  discoveryRounds,
  encodeDiscovery,
  encodeNotice,
  type InterfaceNotice,
} from '../../../src/mesh/reticulum/discovery-wire.ts';
import { generateIdentity, type Identity } from '../../../src/mesh/reticulum/identity.ts';
import type { Announced, AnnounceFilter } from '../../../src/mesh/reticulum/lessons.ts';
import { sha256 } from '../../../src/mesh/reticulum/packet.ts';
import { transportApp } from '../../../src/mesh/reticulum/probe.ts';
import { isReachable } from '../../../src/mesh/reticulum/reachable-on.ts';
import { searchStamp, workBlock } from '../../../src/mesh/reticulum/stamp.ts';
import type { Transport } from '../../../src/mesh/reticulum/transport.ts';
import { MemoryStorage } from '../../mesh/reticulum/memory-storage.ts';
import { BridgeClock } from '../clock.ts';
import type { Params } from '../command.ts';
import { flagOf, numberIf, textIf } from '../params.ts';

/** `rnstransport.discovery.interface` */
export const discoveryName = [transportApp, ...discoveryAspects].join('.');

/**
 * What is announced of an interface of a kind; undefined for what is not announced: another kind, a client, or an
 * address that is none.
 */
export function noticeOf(type: string, fields: Params, transportId: Uint8Array, transport: boolean) {
  const isTnc = type === 'TCPClientInterface' && flagOf(fields, 'kiss_framing', false);
  const shown = isTnc ? 'KISSInterface' : type;
  const kind = discoverableTypes.find(one => one === shown);
  const reachableOn = reachOf(shown, fields);
  if (kind === undefined || kind === 'TCPClientInterface') return undefined;
  if (reachableOn !== undefined && !isReachable(reachableOn)) return undefined;
  const secrets = flagOf(fields, 'publish_ifac', false);
  const notice: InterfaceNotice = {
    type: kind,
    transport,
    transportId,
    name: textIf(fields, 'name'),
    latitude: numberIf(fields, 'latitude'),
    longitude: numberIf(fields, 'longitude'),
    height: numberIf(fields, 'height'),
    reachableOn,
    ...(secrets && {
      networkName: textIf(fields, 'ifac_netname'),
      passphrase: textIf(fields, 'ifac_netkey'),
    }),
    ...mediumOf(kind, fields),
  };
  return notice;
}

function reachOf(type: string, fields: Params): string | undefined {
  if (type === 'I2PInterface')
    return flagOf(fields, 'connectable', false) ? textIf(fields, 'b32') : undefined;
  return type === 'BackboneInterface' || type === 'TCPServerInterface'
    ? textIf(fields, 'reachable_on')
    : undefined;
}

function mediumOf(type: DiscoverableType, fields: Params): Partial<InterfaceNotice> {
  const band = { frequency: numberIf(fields, 'frequency'), bandwidth: numberIf(fields, 'bandwidth') };
  const modulation = textIf(fields, 'modulation');
  switch (type) {
    case 'BackboneInterface':
    case 'TCPServerInterface':
      return { port: numberIf(fields, 'port') };
    case 'RNodeInterface':
      return { ...band, spreadingFactor: numberIf(fields, 'sf'), codingRate: numberIf(fields, 'cr') };
    case 'WeaveInterface':
      return { ...band, channel: numberIf(fields, 'channel'), modulation };
    case 'KISSInterface':
      return { ...band, modulation };
    default:
      return {};
  }
}

export interface Stamped {
  readonly facts: Uint8Array;
  readonly stamp: Uint8Array;
  readonly appData: Uint8Array;
}

/** App data for facts: stamped, and sealed for a network identity where there is one. */
export async function stampedFor(facts: Uint8Array, cost: number, network?: Identity): Promise<Stamped> {
  const search = { clock: new BridgeClock(), random: systemRandom, signal: new AbortController().signal };
  const stamp = await searchStamp(workBlock(sha256(facts), discoveryRounds), cost, search);
  const stamped = concat(facts, stamp);
  const payload = network ? network.public.encrypt(stamped, systemRandom) : stamped;
  return { facts, stamp, appData: encodeDiscovery(payload, network !== undefined) };
}

export const stampedNotice = (notice: InterfaceNotice, cost: number, network?: Identity): Promise<Stamped> =>
  stampedFor(encodeNotice(notice), cost, network);

export interface HearingOptions {
  readonly cost?: number | undefined;
  readonly sources?: ReadonlySet<string> | undefined;
  readonly network?: Identity | undefined;
}

/** A listener for announced interfaces whose announces come from the test, and what it has found. */
export class Hearing {
  readonly clock = new BridgeClock();
  readonly counters = new Counters();
  readonly discovered: Discovered;
  readonly cost: number;
  found: DiscoveredInterface | undefined;
  /** One of no kind was announced. */
  kindless = false;
  #listener: (announced: Announced) => void = () => {};
  #filter: AnnounceFilter | undefined;

  constructor(options: HearingOptions) {
    const { clock, counters } = this;
    this.cost = options.cost ?? discoveryCost;
    this.discovered = new Discovered({ clock, counters, log: silentLog, storage: new MemoryStorage() });
    const transport: Pick<Transport, 'onAnnounce' | 'identity'> = {
      identity: generateIdentity(systemRandom),
      onAnnounce: (listener, filter) => {
        this.#listener = listener;
        this.#filter = filter;
        return () => {};
      },
    };
    new DiscoveryListener({
      clock,
      counters,
      log: silentLog,
      transport,
      discovered: this.discovered,
      blackhole: { has: () => false },
      ...(options.sources && { sources: options.sources }),
      ...(options.cost !== undefined && { cost: options.cost }),
      networkIdentity: options.network,
      onFound: found => {
        this.found = found;
      },
      onKindless: () => {
        this.kindless = true;
      },
    });
  }

  /** Which destinations it listens to, if it is those of discovery. */
  get name(): string | undefined {
    const wanted = this.#filter?.nameHash;
    return wanted && equal(wanted, nameHash(discoveryName)) ? discoveryName : undefined;
  }

  hear(appData: Uint8Array, identity: Identity): DiscoveredInterface | undefined {
    this.found = undefined;
    this.kindless = false;
    const nothing = new Uint8Array(0);
    this.#listener({
      destinationHash: identity.hash,
      identity: identity.public,
      nameHash: nameHash(discoveryName),
      appData,
      ratchet: undefined,
      ratchetHeard: 0,
      heard: this.clock.now(),
      packetHash: sha256(appData),
      announce: nothing,
      announceHasRatchet: false,
      used: false,
      hops: 1,
      interfaceName: 'mock',
      pathResponse: false,
      quality: undefined,
    });
    return this.found;
  }
}
