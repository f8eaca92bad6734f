import { z } from 'zod';
import type { Page } from '../../gateway/desk.ts';
import { GatewayError } from '../../lib/errors.ts';
import {
  type AnnounceView,
  announceSchema,
  hash,
  type InterfaceView,
  interfaceSchema,
  type LinkView,
  linkSchema,
  type MeshView,
  type PathView,
  pathSchema,
  type RateView,
  rateSchema,
  type TransitView,
  transitSchema,
} from './mesh.ts';
import { pageAnswer, pageSchema } from './page.ts';
import { integerParam, type Route, route } from './route.ts';

const paging = {
  after: hash.exactOptional().describe('the cursor of an earlier answer'),
  limit: integerParam(1, 200, 'default 50'),
};
const over = {
  interface: z.string().max(128).exactOptional().describe('only over this interface or a peer of it'),
  maxHops: integerParam(0, 255, 'only as far as this'),
};
const pathQuery = z.strictObject({
  ...paging,
  ...over,
  destination: hash.exactOptional().describe('only this one'),
  nextHop: hash.exactOptional().describe('only over this node'),
});
const linkQuery = z.strictObject({
  ...paging,
  interface: over.interface,
  destination: hash.exactOptional().describe('only links to this one'),
});
const announceQuery = z.strictObject({
  ...paging,
  ...over,
  destination: hash.exactOptional().describe('only this one'),
  identity: hash.exactOptional().describe('only destinations of this identity'),
  aspect: z.string().max(128).exactOptional().describe('only by this name, such as lxmf.delivery'),
});

const ofOne = z.strictObject({ ...paging, destination: hash.exactOptional().describe('only this one') });
const interfaceQuery = z.strictObject({
  after: z.string().max(160).exactOptional().describe('the cursor of an earlier answer'),
  limit: integerParam(1, 1000, 'default 1000'),
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
      query: interfaceQuery,
      responses: {
        200: {
          description: 'a page; peers after the interface that found them',
          schema: pageSchema(interfaceSchema),
          links: { getMeshInterfacesName: { name: '$response.body#/items/0/name' } },
        },
      },
      handle({ query, request }) {
        const all = mesh.interfaces();
        const { after = '', limit = 1000 } = query;
        return pageAnswer(
          request,
          pageOf(
            () => all,
            () => true,
            placesOf(all),
            after,
            limit,
          ),
          one => one,
        );
      },
    }),
    list<PathView, typeof pathQuery>({
      name: 'paths',
      summary: 'The known ways, by destination',
      schema: pathSchema,
      query: pathQuery,
      all: (may, { destination }) => mesh.paths(onlyOf(destination, may)),
      keyOf: one => one.destination,
      isWanted: (one, { destination, nextHop, interface: name, maxHops }) =>
        (destination === undefined || one.destination === destination) &&
        (nextHop === undefined || one.nextHop === nextHop) &&
        isOver(one.interface, name) &&
        one.hops <= (maxHops ?? 255),
    }),
    list<LinkView, typeof linkQuery>({
      name: 'links',
      summary: 'Links that are open or opening, by id',
      schema: linkSchema,
      query: linkQuery,
      all: () => mesh.links(),
      keyOf: one => one.id,
      isWanted: (one, { destination, interface: name }) =>
        (destination === undefined || one.destination === destination) && isOver(one.interface, name),
    }),
    list<AnnounceView, typeof announceQuery>({
      name: 'announces',
      summary: 'Destinations known from announces, by destination',
      schema: announceSchema,
      query: announceQuery,
      all: (may, { destination }) => mesh.announces(onlyOf(destination, may)),
      keyOf: one => one.destination,
      isWanted: (one, { destination, identity, aspect, interface: name, maxHops }) =>
        (destination === undefined || one.destination === destination) &&
        (identity === undefined || one.identity === identity) &&
        (aspect === undefined || one.aspect === aspect) &&
        (name === undefined || (one.interface !== undefined && isOver(one.interface, name))) &&
        (maxHops === undefined || (one.hops ?? 256) <= maxHops),
    }),
    list<RateView, typeof ofOne>({
      name: 'rates',
      summary: 'How often destinations have announced themselves lately, by destination',
      schema: rateSchema,
      query: ofOne,
      all: () => mesh.rates(),
      keyOf: one => one.destination,
      isWanted: (one, { destination }) => destination === undefined || one.destination === destination,
    }),
    list<TransitView, typeof ofOne>({
      name: 'transit',
      summary: 'Links between others that go through this node, by id',
      schema: transitSchema,
      query: ofOne,
      all: () => mesh.transit(),
      keyOf: one => one.id,
      isWanted: (one, { destination }) => destination === undefined || one.destination === destination,
    }),
    route({
      method: 'DELETE',
      path: '/v1/mesh/paths/{destination}',
      summary: 'Forget the way to a destination: it is asked for again when it is needed',
      tag: 'mesh',
      audience: ['admin'],
      params: z.strictObject({ destination: hash }),
      responses: { 204: { description: 'forgotten' } },
      handle({ params: { destination } }) {
        if (mesh.dropPaths({ destination }) === 0) {
          throw new GatewayError('request/not-found', `no way to ${destination} is known`);
        }
        return { status: 204 };
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/mesh/paths',
      summary: 'Forget all ways over a node',
      tag: 'mesh',
      audience: ['admin'],
      query: z.strictObject({ nextHop: hash.describe('over which they lead') }),
      responses: {
        200: { description: 'done', schema: z.looseObject({ dropped: z.int().min(0) }) },
      },
      handle: ({ query: { nextHop } }) => ({ status: 200, json: { dropped: mesh.dropPaths({ nextHop }) } }),
    }),
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

/** By which interfaces are in order: as they are listed, each with its peers behind it. */
function placesOf(interfaces: readonly InterfaceView[]): (one: InterfaceView) => string {
  const roots = interfaces.filter(({ parent }) => parent === undefined).map(({ name }) => name);
  return ({ name, parent }) =>
    `${String(roots.indexOf(parent ?? name) + 1).padStart(4, '0')}${parent === undefined ? '' : `/${name}`}`;
}

/** Whether an interface is the one of this name, or a peer that it has found. */
function isOver(name: string, wanted: string | undefined): boolean {
  return wanted === undefined || name === wanted || name.startsWith(`${wanted}/`);
}

type MayBe = (key: string) => boolean;

interface Table<T, Q extends z.ZodObject> {
  readonly name: string;
  readonly summary: string;
  readonly schema: z.ZodType;
  readonly query: Q;
  /** `may`: whether one is of use, by its key; whoever makes one only then need not make the rest. */
  readonly all: (may: MayBe, query: z.output<Q>) => Iterable<T>;
  readonly keyOf: (one: T) => string;
  readonly isWanted: (one: T, query: z.output<Q>) => boolean;
}

/** One table of the mesh, a page at a time, in the order of its keys. */
function list<T, Q extends typeof pathQuery | typeof linkQuery | typeof announceQuery | typeof ofOne>(
  table: Table<T, Q>,
): Route {
  const { name, summary, schema, query: querySchema, all, keyOf, isWanted } = table;
  return route({
    method: 'GET',
    path: `/v1/mesh/${name}`,
    summary,
    tag: 'mesh',
    audience: ['mesh:read'],
    query: querySchema as z.ZodObject,
    responses: { 200: { description: 'a page', schema: pageSchema(schema) } },
    handle({ query, request }) {
      const asked = query as z.output<Q>;
      return pageAnswer(
        request,
        pageOf(
          may => all(may, asked),
          one => isWanted(one, asked),
          keyOf,
          asked.after ?? '',
          asked.limit ?? 50,
        ),
        one => one,
      );
    },
  });
}

function onlyOf(key: string | undefined, may: MayBe): MayBe {
  return key === undefined ? may : one => one === key && may(one);
}

/** The first after a key, in order: of a long table no more is sorted than some pages, nor made where that asks first. */
function pageOf<T>(
  all: (may: MayBe) => Iterable<T>,
  isWanted: (one: T) => boolean,
  keyOf: (one: T) => string,
  after: string,
  limit: number,
): Page<T> {
  const byKey = (a: T, b: T) => (keyOf(a) < keyOf(b) ? -1 : 1);
  let first: T[] = [];
  let last: string | undefined;
  const may = (key: string) => key > after && (last === undefined || key < last);
  for (const one of all(may)) {
    if (may(keyOf(one)) && isWanted(one)) {
      first.push(one);
      if (first.length > 8 * (limit + 1)) {
        first = first.sort(byKey).slice(0, limit + 1);
        last = keyOf(first[limit] as T);
      }
    }
  }
  first.sort(byKey);
  const items = first.slice(0, limit);
  const end = items.at(-1);
  return { items, cursor: first.length > limit && end !== undefined ? keyOf(end) : null };
}
