import { z } from 'zod';
import type { ReplicaDefinition, Resource, Route } from './definition.ts';
import { compileTemplate, type Template } from './template.ts';
import { duration, size } from './units.ts';

/*
 * No member of the two choices has a default: zod fills defaults in wherever a key is absent, so that a route that
 * changes one thing would put everything else back. What nobody says is in `builtInRead` and `builtInWrite`.
 */

/** What a service or a route may say about reads. */
export const readChoice = z.strictObject({
  mode: z
    .enum(['replica', 'rfc9111', 'bypass'])
    .exactOptional()
    .describe(
      'replica answers offline with what it has; rfc9111 only what HTTP allows; bypass stores nothing',
    ),
  fresh: z
    .union([z.literal('upstream'), duration])
    .exactOptional()
    .describe('how long an answer is used without asking: what the service says, or a time'),
  staleIfError: duration
    .exactOptional()
    .describe('how old an answer may be that stands in for an error or a slow service'),
  offline: duration.exactOptional().describe('how old an answer may be that is served offline'),
  patience: duration
    .exactOptional()
    .describe('how long a client waits for the service where there is an older answer'),
  override: z
    .array(z.enum(['private', 'no-cache', 'no-store', 'must-revalidate']))
    .exactOptional()
    .describe('what the service forbids and is kept or served offline all the same'),
  pin: z.boolean().exactOptional().describe('removed last when room is needed'),
});

const mergeRule = z.enum(['mine', 'theirs', 'union', 'counter', 'max', 'min', 'append', 'hold']);

/** What a service or a route may say about writes. */
export const writeChoice = z.strictObject({
  mode: z
    .enum(['reject', 'queue'])
    .exactOptional()
    .describe('what happens offline: reject answers 503 at once, queue keeps the write and sends it later'),
  answer: z
    .enum(['mirror', 'accepted'])
    .exactOptional()
    .describe('mirror answers a queued write as the service would; accepted always answers 202'),
  idempotency: z
    .strictObject({
      by: z.enum(['none', 'header', 'body']).exactOptional().describe('how the service knows a repeat'),
      header: z
        .string()
        .regex(/^[A-Za-z0-9-]{1,64}$/)
        .exactOptional(),
      pointer: z.string().max(256).exactOptional().describe('where a body has the key'),
      retention: duration.exactOptional().describe('how long the service remembers a key'),
    })
    .exactOptional(),
  precondition: z
    .enum(['none', 'if-match', 'compare'])
    .exactOptional()
    .describe('how a change made elsewhere is found before it is overwritten'),
  conflict: z.enum(['hold', 'mine', 'theirs', 'merge', 'fork']).exactOptional(),
  merge: z
    .record(z.string(), mergeRule)
    .exactOptional()
    .describe('rule by JSON pointer where both sides changed it'),
  onAmbiguous: z
    .enum(['hold', 'retry', 'probe'])
    .exactOptional()
    .describe('what to do where nobody knows whether the service did it'),
  onReject: z.enum(['keep', 'revert']).exactOptional().describe('whether a refused write stays visible here'),
  invalidates: z
    .array(z.string().max(512))
    .max(16)
    .exactOptional()
    .describe('paths that a write changes besides its own'),
  maxBody: size.exactOptional().describe('largest body that is queued'),
  expires: duration.exactOptional().describe('how long a queued write is tried'),
});

type ReadChoice = z.output<typeof readChoice>;
type WriteChoice = z.output<typeof writeChoice>;

/** How reads of a route go, every question answered. Times in ms. */
export type ReadPolicy = Required<ReadChoice>;

/** How writes of a route go, every question answered. Times in ms, sizes in bytes. */
export type WritePolicy = Required<Omit<WriteChoice, 'idempotency'>> & {
  readonly idempotency: {
    readonly by: 'none' | 'header' | 'body';
    readonly header: string;
    readonly pointer: string;
    readonly retention: number;
  };
};

const day = 86_400_000;

export const builtInRead: ReadPolicy = {
  mode: 'replica',
  fresh: 'upstream',
  staleIfError: 7 * day,
  offline: 30 * day,
  patience: 2000,
  override: [],
  pin: false,
};

export const builtInWrite: WritePolicy = {
  mode: 'reject',
  answer: 'mirror',
  idempotency: { by: 'none', header: 'Idempotency-Key', pointer: '', retention: day },
  precondition: 'none',
  conflict: 'hold',
  merge: {},
  onAmbiguous: 'hold',
  onReject: 'keep',
  invalidates: [],
  maxBody: 1024 * 1024,
  expires: 30 * day,
};

/** Everything the definition says about a request. */
export interface Policy {
  readonly read: ReadPolicy;
  readonly write: WritePolicy;
  readonly stream: boolean;
  /** The template of the route that matched, and its named parts. */
  readonly route?: string;
  readonly params: Readonly<Record<string, string>>;
  /** The resource the path is of. */
  readonly resource?: ResourceMatch;
}

export interface ResourceMatch {
  readonly resource: Resource;
  readonly kind: 'collection' | 'item';
  /** Named parts of the path; an item's last one is its id. */
  readonly params: Readonly<Record<string, string>>;
  /** The item's id as it stands in the path, decoded. */
  readonly id?: string;
}

/** Answers what holds for a request; compiled once for a definition. */
export interface Policies {
  of(method: string, path: string): Policy;
  resourceOf(path: string): ResourceMatch | undefined;
}

interface CompiledRoute {
  readonly route: Route;
  readonly template: Template;
  readonly methods: ReadonlySet<string> | undefined;
  readonly read: ReadPolicy;
  readonly write: WritePolicy;
}

/** Precedence: built in, then the service's defaults, then the first route that matches. */
export function compilePolicies(definition: ReplicaDefinition): Policies {
  const { defaults } = definition;
  const read: ReadPolicy = { ...builtInRead, ...defaults.read };
  const write = mergeWrite(builtInWrite, defaults.write);
  const operations = operationsOf(definition.document);
  const routes = definition.routes.flatMap((route): CompiledRoute[] => {
    const { path, methods, operationId } = route.match;
    const operation = operationId === undefined ? undefined : operations.get(operationId);
    const text = path ?? operation?.path;
    if (text === undefined) {
      return [];
    }
    const given = methods ?? (operation === undefined ? undefined : [operation.method]);
    return [
      {
        route,
        template: compileTemplate(text),
        methods: given === undefined ? undefined : new Set(given),
        read: { ...read, ...route.read },
        write: mergeWrite(write, route.write ?? {}),
      },
    ];
  });
  const resources = definition.resources.flatMap(resource => [
    { resource, kind: 'item' as const, template: compileTemplate(resource.item) },
    { resource, kind: 'collection' as const, template: compileTemplate(resource.collection) },
  ]);

  function resourceOf(path: string): ResourceMatch | undefined {
    // A literal step beats a named one: /notes/archive is no item where it is a collection.
    let found: ResourceMatch | undefined;
    for (const { resource, kind, template } of resources) {
      const params = template.match(path);
      if (params !== undefined && (found === undefined || (kind === 'collection' && found.kind === 'item'))) {
        const id = kind === 'item' ? params[template.names.at(-1) ?? ''] : undefined;
        found = { resource, kind, params, ...(id !== undefined && { id }) };
      }
    }
    return found;
  }

  return {
    resourceOf,
    of(method, path) {
      const resource = resourceOf(path);
      const known = resource === undefined ? {} : { resource };
      // HEAD is a GET without its body wherever nobody says otherwise.
      const asked = method === 'HEAD' ? ['HEAD', 'GET'] : [method];
      for (const entry of routes) {
        if (entry.methods !== undefined && !asked.some(name => entry.methods?.has(name))) {
          continue;
        }
        const params = entry.template.match(path);
        if (params !== undefined) {
          const { read, write, route, template } = entry;
          return { read, write, stream: route.stream !== undefined, route: template.text, params, ...known };
        }
      }
      return { read, write, stream: false, params: resource?.params ?? {}, ...known };
    },
  };
}

function mergeWrite(base: WritePolicy, choice: WriteChoice): WritePolicy {
  const { idempotency, ...rest } = choice;
  return { ...base, ...rest, idempotency: { ...base.idempotency, ...idempotency } };
}

/** An operation of an OpenAPI document. */
export interface Operation {
  readonly method: string;
  readonly path: string;
}

const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];

/** Operations of an OpenAPI document by operationId; what has none is under `METHOD path`. */
export function operationsOf(document: unknown): ReadonlyMap<string, Operation> {
  const operations = new Map<string, Operation>();
  const paths = record(record(document).paths);
  for (const [path, item] of Object.entries(paths)) {
    for (const method of methods) {
      const operation = record(item)[method];
      if (operation !== undefined) {
        const { operationId } = record(operation);
        const upper = method.toUpperCase();
        operations.set(typeof operationId === 'string' ? operationId : `${upper} ${path}`, {
          method: upper,
          path,
        });
      }
    }
  }
  return operations;
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
