import { z } from 'zod';
import type { ServiceHealth } from '../../lib/service.ts';

/** What went over an interface, in one direction, since the hub started. */
export interface TrafficView {
  readonly packets: number;
  readonly bytes: number;
  /** Packets the medium did not take. */
  readonly failed?: number;
  /** Announces among them. */
  readonly announces?: number;
  /** Path requests among them. */
  readonly pathRequests?: number;
  /** Packets without the access code of the network. */
  readonly refused?: number;
}

/** How much of a radio's airtime is used. */
export interface AirtimeJson {
  /** Percent of the last 15 s, and of the last hour, that the radio was on the air. */
  readonly shortPercent: number;
  readonly longPercent: number;
  /** Percent of an hour that the region allows. */
  readonly limitPercent: number;
  /** ms of the last hour, and of an hour. */
  readonly usedMs: number;
  readonly budgetMs: number;
  /** ms epoch until when ordinary messages wait. */
  readonly until?: number;
}

/** A network adapter, as a LAN sees it. */
export interface AdapterJson {
  readonly adapter: string;
  /** `deaf`: what is said to everybody on it does not come back. */
  readonly state: 'used' | 'deaf' | 'failed' | 'unused';
  readonly address?: string;
  /** Why it is not used, or not heard. */
  readonly reason?: string;
}

/** An interface, or a peer that one has found. */
export interface InterfaceView extends Pick<ServiceHealth, 'state' | 'reason' | 'code'> {
  readonly name: string;
  /** As in the configuration; `peer` for what another interface found. */
  readonly kind: string;
  /** The interface that found it. */
  readonly parent?: string;
  /** ms epoch of the last change of state, where it is known. */
  readonly since?: number;
  /** Estimated bit/s, and the largest packet in bytes. */
  readonly bitrate: number;
  readonly mtu: number;
  /** Where it listens, as `host:port`. */
  readonly address?: string;
  /** Who asked for it. */
  readonly origin?: 'file' | 'api' | 'discovery';
  readonly mode?: string;
  /** Whether an access code keeps others out. */
  readonly closed?: boolean;
  readonly rx: TrafficView;
  readonly tx: TrafficView;
  /** The same with every peer it ever found, where it finds peers: it only goes up. */
  readonly total?: { readonly rx: TrafficView; readonly tx: TrafficView };
  /** Peers that it has found and that are there. */
  readonly peers?: number;
  /** What waits: bytes of packets of others, announces of others on their way out, and new ones that were held back. */
  readonly queue?: {
    readonly bytes: number;
    readonly announces: number;
    readonly held: number;
  };
  readonly airtime?: AirtimeJson;
  /** The machine's network adapters, for a LAN. */
  readonly adapters?: readonly AdapterJson[];
  readonly radio?: RadioJson;
}

/** How a radio is set and, while it is on, what it is and hears. */
export interface RadioJson {
  /** Hz */
  readonly frequency: number;
  readonly bandwidth: number;
  readonly spreadingFactor: number;
  readonly codingRate: number;
  /** dBm */
  readonly txPower: number;
  readonly device?: string;
  readonly port?: string;
  /** dBm */
  readonly noiseFloor?: number;
  readonly loadPercent?: number;
}

/** The way to a destination. All hashes are hex, all times ms epoch. */
export interface PathView {
  readonly destination: string;
  readonly hops: number;
  readonly interface: string;
  /** The identity next on the way; the destination itself where it is a neighbour. */
  readonly nextHop: string;
  readonly heard: number;
  readonly expires: number;
}

export interface LinkView {
  readonly id: string;
  readonly destination: string;
  readonly role: 'initiator' | 'responder';
  readonly state: string;
  readonly interface: string;
  readonly hops: number;
  /** Bytes of the largest packet on it. */
  readonly mtu?: number;
  /** ms of a round trip, 0 while it is not known. */
  readonly rtt: number;
}

/** What a destination announced last. */
export interface AnnounceView {
  readonly destination: string;
  readonly identity: string;
  /** What its name hashes to, and the name itself where it is a well-known one, such as `lxmf.delivery`. */
  readonly nameHash?: string;
  readonly aspect?: string;
  readonly heard: number;
  readonly hops?: number;
  readonly interface?: string;
}

/** How often a destination has announced itself lately. */
export interface RateView {
  readonly destination: string;
  /** When the last announce came that was in order. */
  readonly heard: number;
  /** How many came too soon since. */
  readonly tooSoon: number;
  /** Until when its announces are not passed on, where they are not. */
  readonly blockedUntil?: number;
}

/** A link between others that goes through this node. */
export interface TransitView {
  readonly id: string;
  readonly destination: string;
  /** From where it was asked for, and to where. */
  readonly from: string;
  readonly to: string;
  /** Hops that its request had come, and has to go. */
  readonly taken: number;
  readonly remaining: number;
  /** The other end has proven itself: packets go through. */
  readonly proven: boolean;
}

/** The mesh as its owner may look at it. */
export interface MeshView {
  /** Announces the hub's destinations; whether an interface took it. */
  announce(): Promise<boolean>;
  interfaces(): readonly InterfaceView[];
  /** In no order. `may`: whether one is of use, by its destination. */
  paths(may?: (destination: string) => boolean): Iterable<PathView>;
  links(): Iterable<LinkView>;
  announces(may?: (destination: string) => boolean): Iterable<AnnounceView>;
  rates(): Iterable<RateView>;
  transit(): Iterable<TransitView>;
  /** Forgets the ways that are wanted so; how many there were. */
  dropPaths(which: { readonly destination?: string; readonly nextHop?: string }): number;
  /** Paths over each configured interface and its peers. */
  pathCounts(): ReadonlyMap<string, number>;
  /** Links by state. */
  linkCounts(): ReadonlyMap<string, number>;
  /** How full the tables of the node are, by names of the code. */
  sizes(): Readonly<Record<string, number>>;
}

const time = z.int().min(0);
const count = z.int().min(0);
const trafficSchema = z.looseObject({
  packets: count,
  bytes: count,
  failed: count.exactOptional().describe('packets the medium did not take'),
  announces: count.exactOptional().describe('announces among them'),
  pathRequests: count.exactOptional().describe('path requests among them'),
  refused: count.exactOptional().describe('packets without the access code of the network'),
});

export const interfaceSchema = z
  .looseObject({
    name: z.string(),
    kind: z.string().describe('as in the configuration; peer for what another interface found'),
    parent: z.string().exactOptional().describe('the interface that found it'),
    state: z.enum(['starting', 'up', 'waiting', 'stopped']),
    reason: z.string().exactOptional().describe('why it is not up'),
    code: z.string().exactOptional(),
    since: time.exactOptional(),
    bitrate: z.number().describe('estimated bit/s'),
    mtu: z.int(),
    address: z.string().exactOptional().describe('where it listens'),
    origin: z.enum(['file', 'api', 'discovery']).exactOptional().describe('who asked for it'),
    mode: z.string().exactOptional(),
    closed: z.boolean().exactOptional().describe('an access code keeps others out'),
    rx: trafficSchema,
    tx: trafficSchema,
    total: z
      .looseObject({ rx: trafficSchema, tx: trafficSchema })
      .exactOptional()
      .describe('the same with every peer it ever found, where it finds peers'),
    peers: count.exactOptional().describe('those that are there'),
    queue: z
      .looseObject({
        bytes: count.describe('of packets of others on their way out'),
        announces: count.describe('of others on their way out'),
        held: count.describe('new announces that were held back because too many came'),
      })
      .exactOptional(),
    airtime: z
      .looseObject({
        shortPercent: z.number().describe('of the last 15 s'),
        longPercent: z.number().describe('of the last hour'),
        limitPercent: z.number().describe('of an hour that the region allows'),
        usedMs: z.number(),
        budgetMs: z.number(),
        until: z.number().exactOptional().describe('ms since 1970 until when ordinary messages wait'),
      })
      .exactOptional(),
    adapters: z
      .array(
        z.looseObject({
          adapter: z.string(),
          state: z
            .enum(['used', 'deaf', 'failed', 'unused'])
            .describe('deaf: what is said to everybody on it does not come back'),
          address: z.string().exactOptional(),
          reason: z.string().exactOptional().describe('why it is not used, or not heard'),
        }),
      )
      .exactOptional()
      .describe('the network adapters of this machine, for a LAN'),
    radio: z
      .looseObject({
        frequency: z.number().describe('Hz'),
        bandwidth: z.number().describe('Hz'),
        spreadingFactor: z.int(),
        codingRate: z.int(),
        txPower: z.int().describe('dBm'),
        device: z.string().exactOptional().describe('which board, while it is on'),
        port: z.string().exactOptional(),
        noiseFloor: z.number().exactOptional().describe('dBm, of boards that tell'),
        loadPercent: z.number().exactOptional().describe('of the last seconds that somebody sent'),
      })
      .exactOptional()
      .describe('how a radio is set, and what it hears'),
  })
  .meta({ id: 'Interface' });

/** 16 bytes in hex. */
export const hash = z.string().regex(/^[0-9a-f]{32}$/, '32 hex digits, lower case');
export const pathSchema = z
  .looseObject({
    destination: hash,
    hops: z.int(),
    interface: z.string(),
    nextHop: hash.describe('identity next on the way; the destination where it is a neighbour'),
    heard: time,
    expires: time,
  })
  .meta({ id: 'Path' });

export const linkSchema = z
  .looseObject({
    id: hash,
    destination: hash,
    role: z.enum(['initiator', 'responder']),
    state: z.string(),
    interface: z.string(),
    hops: z.int(),
    mtu: z.int().exactOptional().describe('bytes of the largest packet on it'),
    rtt: z.number().describe('ms of a round trip, 0 while it is not known'),
  })
  .meta({ id: 'Link' });

export const announceSchema = z
  .looseObject({
    destination: hash,
    identity: hash,
    nameHash: z.string().exactOptional(),
    aspect: z.string().exactOptional().describe('its name, where that is a well-known one'),
    heard: time,
    hops: z.int().exactOptional(),
    interface: z.string().exactOptional(),
  })
  .meta({ id: 'Announce' });

export const rateSchema = z
  .looseObject({
    destination: hash,
    heard: time.describe('when the last announce came that was in order'),
    tooSoon: count.describe('how many came too soon since'),
    blockedUntil: time.exactOptional().describe('until when its announces are not passed on'),
  })
  .meta({ id: 'AnnounceRate' });

export const transitSchema = z
  .looseObject({
    id: hash,
    destination: hash,
    from: z.string().describe('the interface it was asked for over'),
    to: z.string().describe('the interface it goes out over'),
    taken: count.describe('hops that its request had come'),
    remaining: count.describe('hops that it has to go'),
    proven: z.boolean().describe('packets go through'),
  })
  .meta({ id: 'TransitLink' });
