import { z } from 'zod';
import type { Page } from '../../gateway/desk.ts';
import {
  type AnnounceView,
  announceSchema,
  hash,
  interfaceSchema,
  type LinkView,
  linkSchema,
  type MeshView,
  type PathView,
  pathSchema,
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
    list<PathView, typeof pathQuery>({
      name: 'paths',
      summary: 'The known ways, by destination',
      schema: pathSchema,
      query: pathQuery,
      all: () => mesh.paths(),
      keyOf: one => one.destination,
      isWanted: (one, { destination, interface: name, maxHops }) =>
        (destination === undefined || one.destination === destination) &&
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
      all: () => mesh.announces(),
      keyOf: one => one.destination,
      isWanted: (one, { destination, identity, aspect, interface: name, maxHops }) =>
        (destination === undefined || one.destination === destination) &&
        (identity === undefined || one.identity === identity) &&
        (aspect === undefined || one.aspect === aspect) &&
        (name === undefined || (one.interface !== undefined && isOver(one.interface, name))) &&
        (maxHops === undefined || (one.hops ?? 256) <= maxHops),
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

/** Whether an interface is the one of this name, or a peer that it has found. */
function isOver(name: string, wanted: string | undefined): boolean {
  return wanted === undefined || name === wanted || name.startsWith(`${wanted}/`);
}

interface Table<T, Q extends z.ZodObject> {
  readonly name: string;
  readonly summary: string;
  readonly schema: z.ZodType;
  readonly query: Q;
  readonly all: () => Iterable<T>;
  readonly keyOf: (one: T) => string;
  readonly isWanted: (one: T, query: z.output<Q>) => boolean;
}

/** One table of the mesh, a page at a time, in the order of its keys. */
function list<T, Q extends typeof pathQuery | typeof linkQuery | typeof announceQuery>(
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
        pageOf(all(), one => isWanted(one, asked), keyOf, asked.after ?? '', asked.limit ?? 50),
        one => one,
      );
    },
  });
}

/** The first after a key, in order: of a long table no more is sorted than some pages. */
function pageOf<T>(
  all: Iterable<T>,
  isWanted: (one: T) => boolean,
  keyOf: (one: T) => string,
  after: string,
  limit: number,
): Page<T> {
  const byKey = (a: T, b: T) => (keyOf(a) < keyOf(b) ? -1 : 1);
  let first: T[] = [];
  let last: string | undefined;
  for (const one of all) {
    const key = keyOf(one);
    if (key > after && (last === undefined || key < last) && isWanted(one)) {
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
