import { isIP } from 'node:net';
import { z } from 'zod';
import type { FieldError } from '../../lib/errors.ts';
import { isPublicAddress } from '../../lib/public-address.ts';
import { type ReadPolicy, readChoice, type WritePolicy, writeChoice } from './policy.ts';
import { templateMistake } from './template.ts';
import { duration, size } from './units.ts';

const template = z
  .string()
  .max(512)
  .superRefine((text, context) => {
    const mistake = templateMistake(text);
    if (mistake !== undefined) {
      context.addIssue({ code: 'custom', message: `a path template such as /notes/{id}: ${mistake}` });
    }
  });

const pointer = z
  .string()
  .max(256)
  .regex(/^(?:\/(?:[^~/]|~[01])*)*$/, 'a JSON pointer such as /items; empty for the whole document');

const fieldName = z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/, 'a header field name');
const file = z.string().min(1).describe('file name, from the folder of the definition');
const queryName = z.string().min(1).max(64);

const url = z.string().superRefine((text, context) => {
  const at = URL.parse(text);
  const wrong = (message: string) => context.addIssue({ code: 'custom', message });
  if (at === null || !['http:', 'https:'].includes(at.protocol)) {
    wrong('an http: or https: URL');
  } else if (at.username !== '' || at.password !== '') {
    wrong('without a user or password: give credentials by "inject"');
  } else if (at.search !== '' || at.hash !== '') {
    wrong('without a query or fragment');
  }
});

const upstream = z.strictObject({
  url: url.describe('where the service is; paths of clients are put below its path'),
  timeouts: z
    .strictObject({
      connect: duration.prefault('3s').describe('TCP and TLS'),
      headers: duration.prefault('15s').describe('from the sent request to the head of the answer'),
      idle: duration
        .prefault('30s')
        .describe('between two pieces of a body; streams named by a route are exempt'),
    })
    .prefault({}),
  probe: z
    .strictObject({
      path: z
        .string()
        .regex(/^\/[!-~]*$/, 'a path that begins with /')
        .default('/')
        .describe('what is asked for to see whether the service is there'),
      every: duration.prefault('30s').describe('longest wait between two probes while it is not'),
      contains: z.string().min(1).max(256).exactOptional().describe('text the body of the probe must have'),
    })
    .prefault({}),
  expect: z
    .strictObject({
      types: z
        .array(z.string().regex(/^[a-z0-9.+*-]+\/[a-z0-9.+*-]+$/, 'a media type such as application/json'))
        .min(1)
        .max(16)
        .exactOptional()
        .describe(
          'media types of this service: an answer of another type is a captive portal, not the service',
        ),
    })
    .prefault({}),
  concurrency: z.int().min(1).max(256).default(16).describe('connections to the service'),
  allowPrivate: z
    .boolean()
    .default(false)
    .describe('whether it may lie on this machine or in a private network'),
  caFile: file
    .exactOptional()
    .describe('PEM of the authority that signed its certificate, instead of the usual ones'),
  host: z.string().min(1).max(255).exactOptional().describe('Host field sent, instead of that of the URL'),
  via: z.boolean().default(true).describe('whether a Via field tells the service of this gateway'),
  forwarded: z
    .enum(['none', 'x-forwarded'])
    .default('none')
    .describe('x-forwarded tells the service address, host and scheme of the client'),
  inject: z
    .array(z.strictObject({ name: fieldName, file }))
    .max(8)
    .default([])
    .describe('header fields the gateway adds itself, from files with a secret'),
});

const identity = z.strictObject({
  partition: z
    .array(fieldName)
    .min(1)
    .max(8)
    .default(['authorization', 'cookie', 'x-api-key'])
    .describe('header fields that tell users apart: each set of values has a replica of its own'),
  subject: z
    .strictObject({
      jwtClaim: z
        .string()
        .min(1)
        .max(64)
        .describe('claim that stays the same when a token is renewed, such as sub'),
      proof: z
        .string()
        .regex(/^\/[!-~]*$/, 'a path that begins with /')
        .describe('a GET that the service answers with 2xx to a good token only, such as /me'),
    })
    .exactOptional()
    .describe(
      'keeps the replica of a user when the token changes; the new token is shown to the service first',
    ),
  offlineAuth: z
    .enum(['last-good', 'none'])
    .default('last-good')
    .describe('last-good serves offline who was served online; none serves nobody who sends credentials'),
  offlineAuthFor: duration
    .prefault('14d')
    .describe('how long after it was last good a token is served offline'),
});

const storage = z.strictObject({
  cache: size.prefault('256MiB').describe('bytes of answers kept'),
  user: size.prefault('64MiB').describe('bytes of answers kept of one user'),
  maxEntry: size.prefault('4MiB').describe('largest answer kept; larger ones only pass through'),
  outbox: size.prefault('64MiB').describe('bytes of queued writes'),
});

const resource = z.strictObject({
  collection: template.describe('path of the list'),
  item: template.describe('path of one: the collection and one named step'),
  id: z
    .strictObject({
      pointer: pointer.default('/id').describe('where an item has its id'),
      source: z
        .array(z.enum(['location', 'body', 'client']))
        .min(1)
        .default(['location', 'body'])
        .describe('who gives the id: the service in Location or body, or the client'),
      type: z
        .enum(['string', 'uuid', 'integer'])
        .default('string')
        .describe('what provisional ids look like'),
    })
    .prefault({}),
  list: z
    .strictObject({
      pointer: pointer
        .default('')
        .describe('where the list answer has its array; empty where it is the array'),
      total: pointer.exactOptional().describe('where it counts all'),
      page: z
        .strictObject({
          style: z.enum(['none', 'cursor', 'offset', 'page']).default('none'),
          param: queryName.exactOptional().describe('query parameter of the page'),
          size: queryName.exactOptional().describe('query parameter of how many'),
          next: pointer.exactOptional().describe('where the answer has the next cursor'),
        })
        .prefault({}),
      insert: z.enum(['prepend', 'append', 'none']).default('append').describe('where a new item is shown'),
      filter: z
        .record(queryName, z.string().max(256))
        .default({})
        .describe(
          'query parameters that choose items: "<pointer> equals {value}" or "<pointer> contains {value}"',
        ),
    })
    .prefault({}),
  stamps: z
    .strictObject({ created: pointer.exactOptional(), updated: pointer.exactOptional() })
    .prefault({})
    .describe('where an item has its times, filled in until the service says them'),
  template: z
    .record(z.string(), z.json())
    .default({})
    .describe('members of a new item that the service would add'),
  refs: z
    .array(z.strictObject({ in: template, pointer }))
    .max(32)
    .default([])
    .describe('where other resources name an item of this one'),
  complete: z
    .boolean()
    .default(false)
    .describe('whether the stored list is all there is, so that what is not in it is 404'),
});

const route = z.strictObject({
  match: z
    .strictObject({
      path: template.exactOptional(),
      methods: z
        .array(z.string().regex(/^[A-Z]{1,16}$/, 'a method in upper case'))
        .min(1)
        .exactOptional()
        .describe('all where left out'),
      operationId: z
        .string()
        .min(1)
        .max(256)
        .exactOptional()
        .describe('of the OpenAPI document, instead of path and methods'),
    })
    .refine(
      match => (match.path === undefined) !== (match.operationId === undefined),
      'a path or an operationId, one of them',
    ),
  read: readChoice.exactOptional(),
  write: writeChoice.exactOptional(),
  stream: z
    .enum(['sse'])
    .exactOptional()
    .describe('an endless answer: passed through, never stored, no idle time'),
});

/** One replica definition file. */
export const definitionSchema = z.strictObject({
  version: z.literal(1),
  id: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'lower-case letters, digits and hyphens, at most 32')
    .describe('the name in /svc/{id}/'),
  title: z.string().min(1).max(120).exactOptional(),
  upstream,
  openapi: z
    .strictObject({
      document: file,
      validate: z
        .enum(['off', 'warn', 'enforce'])
        .default('warn')
        .describe('whether queued bodies are checked against it'),
    })
    .exactOptional(),
  identity: identity.prefault({}),
  storage: storage.prefault({}),
  guard: z
    .strictObject({ tokenFile: file })
    .exactOptional()
    .describe('clients must call /svc/{id}/~{token}/… instead'),
  order: z
    .enum(['partition', 'resource', 'service'])
    .default('partition')
    .describe('queued writes keep their order within a user, a resource, or all'),
  defaults: z
    .strictObject({ read: readChoice.prefault({}), write: writeChoice.prefault({}) })
    .prefault({})
    .describe('policies of every route that says nothing else'),
  resources: z.array(resource).max(128).default([]),
  routes: z.array(route).max(512).default([]).describe('the first that matches holds'),
});

export type ReplicaFile = z.output<typeof definitionSchema>;
export type Resource = ReplicaFile['resources'][number];
export type Route = ReplicaFile['routes'][number];

/** A definition that was read: the file's keys with defaults, and what they were found to mean. */
export interface ReplicaDefinition extends Omit<ReplicaFile, 'title'> {
  readonly title: string;
  /** The file it came from, absolute. */
  readonly file: string;
  /** The OpenAPI document as parsed, where there is one. */
  readonly document?: unknown;
}

export type { ReadPolicy, WritePolicy };

/** JSON Schema of a definition file, for editors and `kosctl replica schema`. */
export function definitionJsonSchema(): object {
  return z.toJSONSchema(definitionSchema, { io: 'input', unrepresentable: 'any' });
}

/** What no single value shows; on the raw tree, so that it is told together with everything else that is wrong. */
export function crossMistakes(raw: Readonly<Record<string, unknown>>): FieldError[] {
  const mistakes: FieldError[] = [];
  const resources = array(raw.resources);
  const collections = new Set(resources.map(entry => text(entry.collection)));
  const seen = new Set<string>();
  resources.forEach((entry, at) => {
    const collection = text(entry.collection);
    const item = text(entry.item);
    const below = item.startsWith(`${collection}/`) ? item.slice(collection.length + 1) : '';
    if (item !== '' && collection !== '' && !/^\{[^{}/]+\}$/.test(below)) {
      mistakes.push({
        pointer: `resources.${at}.item`,
        detail: `"${item}" is wrong: the collection's path and one named step, such as ${collection}/{id}`,
      });
    }
    if (seen.has(collection)) {
      mistakes.push({
        pointer: `resources.${at}.collection`,
        detail: `"${collection}" is wrong: used twice`,
      });
    }
    seen.add(collection);
    array(entry.refs).forEach((ref, index) => {
      const target = text(ref.in);
      if (![...collections].some(known => known === target || known.endsWith(target))) {
        mistakes.push({
          pointer: `resources.${at}.refs.${index}.in`,
          detail: `"${target}" is wrong: not the collection of a resource here`,
        });
      }
    });
  });
  const { url: address, allowPrivate } = (raw.upstream ?? {}) as { url?: unknown; allowPrivate?: unknown };
  const host = URL.parse(text(address))?.hostname.replace(/^\[|\]$/g, '') ?? '';
  if (allowPrivate !== true && (host === 'localhost' || (isIP(host) !== 0 && !isPublicAddress(host)))) {
    mistakes.push({
      pointer: 'upstream.url',
      detail: `"${host}" is wrong: on this machine or in a private network; say allowPrivate: true if that is meant`,
    });
  }
  return mistakes;
}

function array(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(value)
    ? value.map(entry => (typeof entry === 'object' && entry !== null ? entry : {}))
    : [];
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
