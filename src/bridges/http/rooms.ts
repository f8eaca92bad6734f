import { z } from 'zod';
import type { Desk } from '../../gateway/desk.ts';
import { type Route, route } from './route.ts';

const roomSchema = z
  .looseObject({
    name: z.string(),
    members: z.array(z.string()).describe('who gets what is said there'),
    addresses: z.array(z.string()).describe('by which peers and other hubs write to it'),
  })
  .meta({ id: 'Room' });

/** Rooms as the configuration and the clients' tokens make them. */
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
  ];
}
