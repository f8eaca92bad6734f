import { z } from 'zod';
import type { Desk } from '../../gateway/desk.ts';
import { priorities } from '../../gateway/message.ts';
import { type Route, route } from './route.ts';

const roomSchema = z
  .looseObject({
    name: z.string(),
    members: z.array(z.string()).describe('who gets what is said there'),
    addresses: z.array(z.string()).describe('by which peers and other hubs write to it'),
  })
  .meta({ id: 'Room' });

const ruleSchema = z
  .looseObject({
    from: z.string().describe('whose messages: * is one piece of a topic, # the rest'),
    type: z.string().exactOptional(),
    to: z.array(z.string()),
    priority: z.enum(priorities).exactOptional(),
    maxRate: z.string().exactOptional().describe('of each sender to each recipient'),
    passed: z.int().describe('deliveries it made since the start'),
    leftOut: z.int().describe('those it did not make because of maxRate; they are not made later'),
  })
  .meta({ id: 'Route' });

/** Rooms and routes as the configuration and the clients' tokens make them. */
export function roomRoutes(desk: Desk): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/rooms',
      summary: 'The rooms the client is a member of, all for an admin',
      tag: 'rooms',
      audience: ['messages:read'],
      responses: {
        200: {
          description: 'all of them, by name',
          schema: z.looseObject({ items: z.array(roomSchema), cursor: z.null() }),
        },
      },
      handle: ({ client }) => ({
        status: 200,
        json: {
          items: desk.rooms
            .list(client)
            .map(({ name, members, addresses }) => ({ name, members, addresses })),
          cursor: null,
        },
      }),
    }),
    route({
      method: 'GET',
      path: '/v1/routes',
      summary: "Rules that add recipients to what comes to the hub's own rooms, and what came of them",
      tag: 'rooms',
      audience: ['admin'],
      responses: {
        200: {
          description: 'in the order of the configuration',
          schema: z.looseObject({ items: z.array(ruleSchema), cursor: z.null() }),
        },
      },
      handle: () => ({ status: 200, json: { items: desk.routes(), cursor: null } }),
    }),
  ];
}
