import { z } from 'zod';
import { type Route, route } from './route.ts';

export interface MeshParts {
  /** Announces the hub's destinations; whether an interface took it. */
  readonly announce: () => Promise<boolean>;
}

/** What an owner may ask of the mesh. */
export function meshRoutes({ announce }: MeshParts): Route[] {
  return [
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
      handle: async () => ({ status: 200, json: { sent: await announce() } }),
    }),
  ];
}
