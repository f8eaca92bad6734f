import { z } from 'zod';
import type { Desk } from '../../gateway/desk.ts';
import { failureSchema, healthSchema } from '../schema.ts';
import { type Route, route } from './route.ts';

const readySchema = z.looseObject({ ready: z.boolean(), failures: z.array(failureSchema) });

export interface StatusParts {
  readonly desk: Desk;
  /** All counters: what was sent, what was dropped and by which code. */
  readonly counters: () => Readonly<Record<string, number>>;
  /** Whether packets of others are passed on: `on` or `off`. */
  readonly transport: string;
  /** Where else the hub is reached, by the name of the door. */
  readonly addresses?: () => Readonly<Record<string, string>>;
}

/** How the gateway is. */
export function statusRoutes({ desk, counters, transport, addresses }: StatusParts): Route[] {
  return [
    route({
      method: 'GET',
      path: '/healthz',
      summary: 'Whether the process answers',
      tag: 'status',
      audience: 'public',
      responses: { 200: { description: 'it does', schema: z.looseObject({ status: z.literal('ok') }) } },
      handle: () => ({ status: 200, json: { status: 'ok' } }),
    }),
    route({
      method: 'GET',
      path: '/readyz',
      summary: 'Whether the hub can be used; what does not work has a name',
      tag: 'status',
      audience: 'public',
      responses: {
        200: { description: 'ready', schema: readySchema },
        503: { description: 'not ready, and why', schema: readySchema },
      },
      handle() {
        const { ready, failures } = desk.health();
        return { status: ready ? 200 : 503, json: { ready, failures } };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/status',
      summary: 'The hub, its parts, its queue and its counters',
      tag: 'status',
      audience: ['mesh:read'],
      responses: {
        200: {
          description: 'the state now',
          schema: healthSchema.extend({
            hub: z.looseObject({
              id: z.string().describe('identity hash'),
              name: z.string(),
              lxmf: z.string().describe('LXMF delivery destination'),
              version: z.string(),
              boot: z.int().describe('starts of this data directory'),
              transport: z.string(),
            }),
            residents: z
              .array(
                z.looseObject({
                  party: z.string().describe('a room, a person or an app of this hub'),
                  name: z.string().describe('as it is announced'),
                  addresses: z.array(z.string()),
                }),
              )
              .describe('who has an address of its own on the mesh'),
            addresses: z
              .record(z.string(), z.string())
              .describe('where else it is reached, by the name of the door'),
            counters: z.record(z.string(), z.number()),
          }),
        },
      },
      handle() {
        const { id, name, lxmf, version, boot } = desk.hub;
        return {
          status: 200,
          json: {
            hub: { id, name, lxmf, version, boot, transport },
            ...desk.health(),
            residents: desk
              .residents()
              .map(({ party, name: shown, addresses }) => ({ party, name: shown, addresses })),
            addresses: addresses?.() ?? {},
            counters: counters(),
          },
        };
      },
    }),
  ];
}
