import { z } from 'zod';
import type { Page } from '../../gateway/desk.ts';
import type { ServiceHealth } from '../../lib/service.ts';
import { pageAnswer, pageSchema } from './page.ts';
import { integerParam, type Route, route } from './route.ts';

/** What went over an interface, in one direction, since the hub started. */
export interface TrafficView {
  readonly packets: number;
  readonly bytes: number;
  /** Packets the medium did not take. */
  readonly failed?: number;
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
  readonly rx: TrafficView;
  readonly tx: TrafficView;
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
  /** ms of a round trip, 0 while it is not known. */
  readonly rtt: number;
}

/** What a destination announced last. */
export interface AnnounceView {
  readonly destination: string;
  readonly identity: string;
  readonly heard: number;
  readonly hops?: number;
  readonly interface?: string;
}

/** The mesh as its owner may look at it. */
export interface MeshView {
  /** Announces the hub's destinations; whether an interface took it. */
  announce(): Promise<boolean>;
  interfaces(): readonly InterfaceView[];
  /** In no order. */
  paths(): Iterable<PathView>;
  links(): Iterable<LinkView>;
  announces(): Iterable<AnnounceView>;
}

const time = z.int().min(0);
const trafficSchema = z.looseObject({
  packets: z.int().min(0),
  bytes: z.int().min(0),
  failed: z.int().min(0).exactOptional().describe('packets the medium did not take'),
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
    rx: trafficSchema,
    tx: trafficSchema,
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

const hash = z.string().regex(/^[0-9a-f]{32}$/);
const pathSchema = z
  .looseObject({
    destination: hash,
    hops: z.int(),
    interface: z.string(),
    nextHop: hash.describe('identity next on the way; the destination where it is a neighbour'),
    heard: time,
    expires: time,
  })
  .meta({ id: 'Path' });

const linkSchema = z
  .looseObject({
    id: hash,
    destination: hash,
    role: z.enum(['initiator', 'responder']),
    state: z.string(),
    interface: z.string(),
    hops: z.int(),
    rtt: z.number().describe('ms of a round trip, 0 while it is not known'),
  })
  .meta({ id: 'Link' });

const announceSchema = z
  .looseObject({
    destination: hash,
    identity: hash,
    heard: time,
    hops: z.int().exactOptional(),
    interface: z.string().exactOptional(),
  })
  .meta({ id: 'Announce' });

const listQuery = z.strictObject({
  after: hash.exactOptional().describe('the cursor of an earlier answer'),
  limit: integerParam(1, 200, 'default 50'),
});

/** What rnstatus and rnpath show, and what an owner may ask of the mesh. */
export function meshRoutes(mesh: MeshView): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/mesh/interfaces',
      summary: 'How the mesh is reached: state, traffic and airtime of every interface and peer',
      tag: 'mesh',
      audience: ['mesh:read'],
      responses: {
        200: {
          description: 'all of them; peers after the interface that found them',
          schema: z.looseObject({ items: z.array(interfaceSchema), cursor: z.null() }),
        },
      },
      handle: () => ({ status: 200, json: { items: mesh.interfaces(), cursor: null } }),
    }),
    list(
      'paths',
      'The known ways, by destination',
      pathSchema,
      () => mesh.paths(),
      one => one.destination,
    ),
    list(
      'links',
      'Links that are open or opening, by id',
      linkSchema,
      () => mesh.links(),
      one => one.id,
    ),
    list(
      'announces',
      'Destinations known from announces, by destination',
      announceSchema,
      () => mesh.announces(),
      one => one.destination,
    ),
    route({
      method: 'POST',
      path: '/v1/mesh/announce',
      summary: "Announce the hub's destinations now",
      tag: 'mesh',
      audience: ['admin'],
      responses: {
        200: {
          description: 'done, as far as there is an interface to do it over',
          schema: z.looseObject({ sent: z.boolean().describe('whether an interface took it') }),
        },
      },
      handle: async () => ({ status: 200, json: { sent: await mesh.announce() } }),
    }),
  ];
}

/** One table of the mesh, a page at a time, in the order of its keys. */
function list<T>(
  name: string,
  summary: string,
  schema: z.ZodType,
  all: () => Iterable<T>,
  keyOf: (one: T) => string,
): Route {
  return route({
    method: 'GET',
    path: `/v1/mesh/${name}`,
    summary,
    tag: 'mesh',
    audience: ['mesh:read'],
    query: listQuery,
    responses: { 200: { description: 'a page', schema: pageSchema(schema) } },
    handle: ({ query, request }) =>
      pageAnswer(request, pageOf(all(), keyOf, query.after ?? '', query.limit ?? 50), one => one),
  });
}

function pageOf<T>(all: Iterable<T>, keyOf: (one: T) => string, after: string, limit: number): Page<T> {
  const rest = [...all].filter(one => keyOf(one) > after).sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  const items = rest.slice(0, limit);
  const last = items.at(-1);
  return { items, cursor: rest.length > limit && last !== undefined ? keyOf(last) : null };
}
