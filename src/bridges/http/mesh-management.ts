import { z } from 'zod';
import { GatewayError } from '../../lib/errors.ts';
import { type DiscoveredView, discoveredRoute } from './discovered.ts';
import { hash, type PathView, pathSchema } from './mesh.ts';
import { type Route, route } from './route.ts';

/** A destination to probe, or the node whose own destination for that is meant; hex. */
export interface ProbeAsked {
  readonly destination?: string;
  readonly node?: string;
  readonly count: number;
  readonly size: number;
  /** ms for each */
  readonly timeout?: number;
  readonly pause: number;
}

/** What came of probes. Hashes are hex, times ms. */
export interface ProbeView {
  readonly destination: string;
  readonly hops: number;
  readonly interface: string;
  readonly nextHop: string;
  readonly sent: number;
  readonly received: number;
  readonly lossPercent: number;
  readonly rtt?: { readonly min: number; readonly avg: number; readonly max: number };
  readonly probes: readonly {
    readonly rtt?: number;
    readonly code?: string;
    readonly rssi?: number;
    readonly snr?: number;
  }[];
}

/** An identity whose announces are left out. */
export interface BlackholeView {
  readonly identity: string;
  readonly from: 'configuration' | 'hub' | 'source';
  /** Whose list it is on, where it is not ours. */
  readonly source?: string;
  /** Who listed it first, as that source says. */
  readonly origin?: string;
  /** ms epoch */
  readonly until?: number;
  readonly reason?: string;
}

/** What an owner may do with the mesh beyond looking at it. */
export interface MeshManagement {
  probe(asked: ProbeAsked, signal: AbortSignal): Promise<ProbeView>;
  /** The way to a destination (hex), asked for anew. */
  requestPath(destination: string): Promise<PathView>;
  readonly blackhole: {
    list(): readonly BlackholeView[];
    /** Whether it was not on our list. */
    add(
      identity: string,
      how: { readonly until?: number | undefined; readonly reason?: string | undefined },
    ): Promise<boolean>;
    /** Whether it was on a list. */
    remove(identity: string): Promise<boolean>;
  };
  /** Interfaces that other nodes have announced. */
  discovered(): readonly DiscoveredView[];
}

/** ms that probes of one request may take, all together. */
const probingTime = 300_000;

const probeSchema = z
  .looseObject({
    destination: hash,
    hops: z.int(),
    interface: z.string(),
    nextHop: hash,
    sent: z.int(),
    received: z.int(),
    lossPercent: z.number(),
    rtt: z
      .looseObject({ min: z.number(), avg: z.number(), max: z.number() })
      .exactOptional()
      .describe('ms of those that were answered'),
    probes: z.array(
      z.looseObject({
        rtt: z.number().exactOptional(),
        code: z.string().exactOptional().describe('why there was no answer'),
        rssi: z.number().exactOptional().describe('dBm of the answer, by our own radio'),
        snr: z.number().exactOptional().describe('dB of the answer, by our own radio'),
      }),
    ),
  })
  .meta({ id: 'Probe' });

const blackholeSchema = z
  .looseObject({
    identity: hash,
    from: z.enum(['configuration', 'hub', 'source']).describe('who put it there'),
    source: hash.exactOptional().describe('the node whose list it is on'),
    origin: hash.exactOptional().describe('who listed it first, as that source says'),
    until: z.int().exactOptional().describe('ms since 1970; for good without it'),
    reason: z.string().exactOptional(),
  })
  .meta({ id: 'Blackholed' });

const howToProbe = {
  count: z.int().min(1).max(16).default(1),
  size: z.int().min(1).max(383).default(16).describe('bytes in each'),
  timeout: z.int().min(100).max(120_000).exactOptional().describe('ms to wait for each answer'),
  pause: z.int().min(0).max(60_000).default(1000).describe('ms between two'),
};
const probed = {
  destination: hash.describe('destination hash; it must prove what it gets'),
  node: hash.describe('instead of it, identity hash of a node that answers probes'),
};

/** One object, so that every mistake has its place; the document shows the two it may be. */
const probeBody = z
  .strictObject({
    destination: probed.destination.exactOptional(),
    node: probed.node.exactOptional(),
    ...howToProbe,
  })
  .refine(({ destination, node }) => (destination === undefined) !== (node === undefined), {
    error: 'a destination or a node',
  });
const probeShown = z.union([
  z.strictObject({ destination: probed.destination, ...howToProbe }),
  z.strictObject({ node: probed.node, ...howToProbe }),
]);

/** Probes, path requests, the blackhole and what was discovered. */
export function meshManagementRoutes(mesh: () => MeshManagement): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/mesh/probe',
      summary: 'Ask a destination whether it is there, and how long the way is; the way is asked for first',
      tag: 'mesh',
      audience: ['admin'],
      body: probeBody,
      bodyShown: probeShown,
      timeout: probingTime,
      responses: { 200: { description: 'what came of it, answers or none', schema: probeSchema } },
      handle: async ({ body, signal }) => ({
        status: 200,
        json: await mesh().probe(body, signal),
      }),
    }),
    route({
      method: 'POST',
      path: '/v1/mesh/path-request',
      summary: 'Ask the mesh for the way to a destination, also where one is known',
      tag: 'mesh',
      audience: ['admin'],
      body: z.strictObject({ destination: hash }),
      timeout: probingTime,
      responses: { 200: { description: 'the way', schema: pathSchema } },
      handle: async ({ body }) => ({ status: 200, json: await mesh().requestPath(body.destination) }),
    }),
    route({
      method: 'GET',
      path: '/v1/mesh/blackhole',
      summary: 'Identities whose announces are neither learnt nor passed on',
      tag: 'mesh',
      audience: ['admin'],
      responses: {
        200: {
          description: 'all of them, by identity',
          schema: z.looseObject({ items: z.array(blackholeSchema), cursor: z.null() }),
        },
      },
      handle: () => ({ status: 200, json: { items: mesh().blackhole.list(), cursor: null } }),
    }),
    route({
      method: 'POST',
      path: '/v1/mesh/blackhole',
      summary: 'Leave out an identity from now on, or change why and until when; its paths are forgotten',
      tag: 'mesh',
      audience: ['admin'],
      body: z.strictObject({
        identity: hash,
        until: z.int().min(0).exactOptional().describe('ms since 1970; for good without it'),
        reason: z.string().max(256).exactOptional(),
      }),
      responses: {
        200: { description: 'it was there and is changed', schema: blackholeSchema },
        201: {
          description: 'it is there',
          schema: blackholeSchema,
          links: { deleteMeshBlackholeIdentity: { identity: '$response.body#/identity' } },
        },
      },
      async handle({ body }) {
        const { identity, ...how } = body;
        const isNew = await mesh().blackhole.add(identity, how);
        const entry = mesh()
          .blackhole.list()
          .find(one => one.identity === identity);
        return { status: isNew ? 201 : 200, json: entry ?? { identity, from: 'hub' } };
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/mesh/blackhole/{identity}',
      summary: 'Hear an identity again, whoever put it on a list',
      tag: 'mesh',
      audience: ['admin'],
      params: z.strictObject({ identity: hash }),
      responses: { 204: { description: 'it is heard again' } },
      async handle({ params }) {
        if (!(await mesh().blackhole.remove(params.identity))) {
          throw new GatewayError('request/not-found', `${params.identity} is not blackholed`);
        }
        return { status: 204 };
      },
    }),
    discoveredRoute(() => mesh().discovered()),
  ];
}
