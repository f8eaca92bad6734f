import { z } from 'zod';
import type { Clock } from '../../lib/clock.ts';
import { type Json, jsonSchema } from '../json-schema.ts';
import { problemSchema } from '../problems.ts';
import { eventSchema } from '../schema.ts';
import { mediaTypesOf, offeredBy } from './offer.ts';
import { operationIdOf } from './operation.ts';
import { type Route, route } from './route.ts';
import { payloadSchema } from './webhooks.ts';

/** The OpenAPI 3.1 document of the table: what is served, what is checked and what is written down are one thing. */
export function openapiDocument(routes: readonly Route[], version: string): Json {
  const schemas: Json = {};
  const problems = {
    'application/problem+json': { schema: jsonSchema(problemSchema, 'output', schemas) },
    'text/plain': {},
  };
  // What a stream carries has no place of its own in OpenAPI 3.1; its name is in the stream's description.
  jsonSchema(eventSchema, 'output', schemas);
  const paths: Record<string, Json> = {};
  const documented = routes.filter(({ undocumented }) => undocumented !== true);
  for (const one of documented) {
    paths[one.path] = { ...paths[one.path], [one.method.toLowerCase()]: operation(one, schemas) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'kOS gateway',
      version,
      description: 'Messages between local programs and a Reticulum and LXMF mesh.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    tags: [...new Set(documented.map(({ tag }) => tag))].map(name => ({ name })),
    paths,
    webhooks: { event: told(schemas) },
    components: {
      schemas: Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1))),
      responses: {
        NotAcceptable: {
          description: 'none of the media types of this operation is one that Accept takes; nothing was done',
          content: problems,
        },
        Problem: {
          description: 'an error, as a problem (RFC 9457)',
          content: problems,
        },
      },
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
    },
  };
}

/** What the hub sends to endpoints of webhooks. */
function told(schemas: Json): Json {
  return {
    post: {
      operationId: 'webhookEvent',
      summary: 'Sent to the endpoint of a webhook, until it is answered 2xx',
      description: 'Signed after Standard Webhooks 1.0.0.',
      tags: ['webhooks'],
      parameters: [
        ['webhook-id', 'the same at every attempt'],
        ['webhook-timestamp', 'of the attempt, seconds since 1970'],
        ['webhook-signature', 'v1,<base64>, several with spaces between'],
      ].map(([name, description]) => ({
        name,
        in: 'header',
        required: true,
        description,
        schema: { type: 'string' },
      })),
      requestBody: {
        required: true,
        content: { 'application/json': { schema: jsonSchema(payloadSchema, 'output', schemas) } },
      },
      responses: {
        '2XX': { description: 'taken' },
        410: { description: 'nothing more is wanted: the webhook is disabled' },
        default: { description: 'it is sent again' },
      },
    },
  };
}

/** The document itself, served. */
export function openapiRoute(clock: Clock, make: () => Json): Route {
  return documentRoute(clock, make, {
    path: '/openapi.json',
    summary: 'This document',
    responses: { 200: { description: 'OpenAPI 3.1', schema: z.looseObject({ openapi: z.string() }) } },
  });
}

/** The AsyncAPI document beside it. */
export function asyncapiRoute(clock: Clock, make: () => Json): Route {
  return documentRoute(clock, make, {
    path: '/asyncapi.json',
    summary: 'WebSocket, MQTT and webhooks, as an AsyncAPI document',
    responses: { 200: { description: 'AsyncAPI 3.0', schema: z.looseObject({ asyncapi: z.string() }) } },
  });
}

/** Made when it is first asked for. */
function documentRoute(
  clock: Clock,
  make: () => Json,
  shown: Pick<Route, 'path' | 'summary' | 'responses'>,
): Route {
  let document: Json | undefined;
  let changed: number | undefined;
  return route({
    ...shown,
    method: 'GET',
    tag: 'status',
    audience: 'public',
    handle() {
      document ??= make();
      changed ??= clock.now();
      return { status: 200, json: document, changed };
    },
  });
}

function operation(one: Route, schemas: Json): Json {
  const audience = one.audience;
  return {
    operationId: operationIdOf(one),
    summary: one.summary,
    tags: [one.tag],
    ...(audience === 'public'
      ? { security: [] }
      : {
          security: [{ token: [] }],
          description: `Needs the scope ${[...audience, ...(audience[0] === 'admin' ? [] : ['admin'])].join(' or ')}.`,
        }),
    parameters: [
      ...parameters(one.params, 'path', schemas),
      ...parameters(one.query, 'query', schemas),
      ...Object.entries(one.headers ?? {}).map(([header, about]) => {
        const { description, ...schema } =
          typeof about === 'string'
            ? { description: about, type: 'string' }
            : (jsonSchema(about, 'input', schemas) as Json);
        const required = one.needed?.includes(header) === true;
        return { name: header, in: 'header', ...(required && { required }), description, schema };
      }),
    ],
    ...(one.body !== undefined && {
      requestBody: {
        required: (one.body !== 'raw' || one.bodyTypes !== undefined) && one.optionalBody !== true,
        content:
          one.body === 'raw'
            ? contents(one.bodyTypes ?? { 'application/octet-stream': null }, 'input', schemas)
            : { 'application/json': { schema: jsonSchema(one.bodyShown ?? one.body, 'input', schemas) } },
      },
    }),
    responses: {
      ...Object.fromEntries(
        Object.entries(one.responses).map(([status, spec]) => [status, response(spec, schemas)]),
      ),
      ...(offeredBy(one) && { 406: { $ref: '#/components/responses/NotAcceptable' } }),
      default: { $ref: '#/components/responses/Problem' },
    },
  };
}

function response(spec: Route['responses'][number], schemas: Json): Json {
  const [mediaType] = mediaTypesOf(spec);
  return {
    description: spec.description,
    ...(spec.headers && {
      headers: Object.fromEntries(
        Object.entries(spec.headers).map(([header, description]) => [
          header,
          { description, schema: { type: 'string' } },
        ]),
      ),
    }),
    ...(mediaType && {
      content: contents({ [mediaType]: spec.schema ?? null, ...spec.also }, 'output', schemas),
    }),
    ...(spec.links && {
      links: Object.fromEntries(
        Object.entries(spec.links).map(([operationId, given]) => [
          operationId,
          { operationId, parameters: given },
        ]),
      ),
    }),
  };
}

function contents(
  types: Readonly<Record<string, z.ZodType | null>>,
  io: 'input' | 'output',
  schemas: Json,
): Json {
  return Object.fromEntries(
    Object.entries(types).map(([mediaType, schema]) => [
      mediaType,
      schema === null ? {} : { schema: jsonSchema(schema, io, schemas) },
    ]),
  );
}

function parameters(shape: z.ZodObject | undefined, where: 'path' | 'query', schemas: Json): Json[] {
  if (shape === undefined) {
    return [];
  }
  const { properties = {}, required = [] } = jsonSchema(shape, 'input', schemas) as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: where,
    required: required.includes(name),
    ...(description !== undefined && { description }),
    schema,
  }));
}
