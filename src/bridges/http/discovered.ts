import { z } from 'zod';
import { hash } from './mesh.ts';
import { type Route, route } from './route.ts';

/** An interface of another node that was announced. Hashes are hex, times ms epoch, frequencies Hz. */
export interface DiscoveredView {
  readonly name: string;
  /** As the reference calls it, such as `BackboneInterface`. */
  readonly type: string;
  readonly status: 'available' | 'unknown' | 'stale';
  readonly reachableOn?: string;
  readonly port?: number;
  readonly frequency?: number;
  readonly bandwidth?: number;
  readonly spreadingFactor?: number;
  readonly codingRate?: number;
  readonly latitude?: number;
  readonly longitude?: number;
  readonly height?: number;
  readonly implementation?: string;
  readonly version?: string;
  /** Whether its node passes on packets of others. */
  readonly transport: boolean;
  readonly transportId: string;
  /** Who announced it. */
  readonly networkId: string;
  readonly operator?: string;
  /** What its access code is made of, as it was published. */
  readonly networkName?: string;
  readonly passphrase?: string;
  /** What reaches it, as a section of the reference's configuration; whoever may not know the passphrase gets none that holds it. */
  readonly configEntry?: string;
  readonly hops: number;
  /** Bits of work in its stamp. */
  readonly value: number;
  readonly discovered: number;
  readonly heard: number;
  /** Announces since the first. */
  readonly heardCount: number;
  /** The interface of ours that is connected to it by itself. */
  readonly interface?: string;
  /** Why none is. */
  readonly refusal?: string;
}

const time = z.int().min(0);
const discoveredSchema = z
  .looseObject({
    name: z.string(),
    type: z.string().describe('as the reference calls it'),
    status: z
      .enum(['available', 'unknown', 'stale'])
      .describe('heard within a day, within three days, or before'),
    reachableOn: z.string().exactOptional(),
    port: z.int().exactOptional(),
    frequency: z.number().exactOptional().describe('Hz'),
    bandwidth: z.number().exactOptional().describe('Hz'),
    spreadingFactor: z.int().exactOptional(),
    codingRate: z.int().exactOptional(),
    latitude: z.number().exactOptional(),
    longitude: z.number().exactOptional(),
    height: z.number().exactOptional().describe('m'),
    implementation: z.string().exactOptional(),
    version: z.string().exactOptional(),
    transport: z.boolean().describe('whether its node passes on packets of others'),
    transportId: hash,
    networkId: hash.describe('who announced it'),
    operator: hash.exactOptional().describe('LXMF address of who runs it'),
    networkName: z.string().exactOptional().describe('of its access code, as it was published'),
    passphrase: z.string().exactOptional().describe('of its access code, as it was published; for the owner'),
    configEntry: z
      .string()
      .exactOptional()
      .describe(
        'what reaches it, as a section of a configuration of the reference; for the owner where a passphrase is in it',
      ),
    hops: z.int(),
    value: z.int().describe('bits of work in its stamp'),
    discovered: time,
    heard: time,
    heardCount: z.int().describe('announces since the first'),
    interface: z.string().exactOptional().describe('of ours, connected to it by itself'),
    refusal: z.string().exactOptional().describe('why none is connected to it by itself'),
  })
  .meta({ id: 'Discovered' });

/** Interfaces that other nodes have announced. */
export function discoveredRoute(all: () => readonly DiscoveredView[]): Route {
  return route({
    method: 'GET',
    path: '/v1/mesh/discovered',
    summary: 'Interfaces that other nodes have announced within a week, the likeliest to be there first',
    tag: 'mesh',
    audience: ['mesh:read'],
    responses: {
      200: {
        description: 'all of them; none where the hub does not listen for them',
        schema: z.looseObject({ items: z.array(discoveredSchema), cursor: z.null() }),
      },
    },
    handle({ client }) {
      // A sealed one was meant for who has the network identity, which is the owner and nobody they let look.
      const mayKnow = client.scopes.includes('admin');
      const items = mayKnow ? all() : all().map(withoutSecret);
      return { status: 200, json: { items, cursor: null } };
    },
  });
}

function withoutSecret(view: DiscoveredView): DiscoveredView {
  const { passphrase, configEntry, ...others } = view;
  return passphrase === undefined && configEntry !== undefined ? { ...others, configEntry } : others;
}
