import { z } from 'zod';
import { type InterfaceView, interfaceSchema } from './mesh.ts';
import { type Route, route } from './route.ts';

/** An interface as it is configured: the keys of `interfaces:` in the config file. */
export type InterfaceEntry = Readonly<Record<string, z.core.util.JSONType>>;

/** An interface with what it is configured to be, and who said so. */
export interface ConfiguredView {
  readonly interface: InterfaceView;
  readonly config: InterfaceEntry;
  /** `file` with a `changed` beside it where the API changed some of its keys. */
  readonly origin: 'file' | 'api' | 'discovery';
  readonly changed: boolean;
}

/**
 * Changes the interfaces of the running hub for their owner; what is changed outlives a restart. Throws `request/not-found`,
 * `request/conflict`, `request/invalid` with a pointer to every mistake, `request/forbidden`, `config/invalid`.
 */
export interface InterfaceControl {
  get(name: string): ConfiguredView;
  add(entry: InterfaceEntry): Promise<ConfiguredView>;
  /** By JSON Merge Patch. */
  change(name: string, patch: InterfaceEntry): Promise<ConfiguredView>;
  remove(name: string): Promise<void>;
  /** Not kept over a restart: `enabled` is. */
  attach(name: string): Promise<ConfiguredView>;
  detach(name: string): Promise<ConfiguredView>;
  reload(name: string): Promise<ConfiguredView>;
  /** Forgets what the API changed of it. */
  reset(name: string): Promise<void>;
}

const entrySchema = z
  .record(z.string().max(64), z.json())
  .describe('keys as in interfaces: of the configuration; kosctl config schema lists them')
  .meta({ id: 'InterfaceEntry' });

const configuredSchema = z
  .looseObject({
    interface: interfaceSchema,
    config: entrySchema.describe('as it is configured, with its defaults'),
    origin: z.enum(['file', 'api', 'discovery']).describe('who asked for it'),
    changed: z.boolean().describe('some keys of it were changed through the API'),
  })
  .meta({ id: 'ConfiguredInterface' });

const params = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/i, 'the name of an interface'),
});
const answer = { description: 'as it is now', schema: configuredSchema };

/**
 * Adding, changing and taking away interfaces while the hub runs; for the owner. `shown` is what the document says of an
 * entry: `InterfaceControl` checks it, because only there the kinds of interfaces are known.
 */
export function interfaceRoutes(control: () => InterfaceControl, shown?: z.ZodType): Route[] {
  const doing = (verb: 'attach' | 'detach' | 'reload', summary: string) =>
    route({
      method: 'POST',
      path: `/v1/mesh/interfaces/{name}/${verb}`,
      summary,
      tag: 'mesh',
      audience: ['admin'],
      params,
      responses: { 200: answer },
      handle: async ({ params: { name } }) => ({ status: 200, json: await control()[verb](name) }),
    });
  return [
    route({
      method: 'POST',
      path: '/v1/mesh/interfaces',
      summary: 'Add an interface; it is there after a restart, too',
      tag: 'mesh',
      audience: ['admin'],
      body: entrySchema,
      ...(shown !== undefined && { bodyShown: shown }),
      responses: {
        201: {
          ...answer,
          headers: { Location: 'its path' },
          links: Object.fromEntries(
            [
              'getMeshInterfacesName',
              'patchMeshInterfacesName',
              'deleteMeshInterfacesName',
              'postMeshInterfacesNameAttach',
              'postMeshInterfacesNameDetach',
              'postMeshInterfacesNameReload',
              'postMeshInterfacesNameReset',
            ].map(operation => [operation, { name: '$response.body#/interface/name' }]),
          ),
        },
      },
      async handle({ body }) {
        const json = await control().add(body as InterfaceEntry);
        return {
          status: 201,
          json,
          headers: { location: `/v1/mesh/interfaces/${encodeURIComponent(json.interface.name)}` },
        };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/mesh/interfaces/{name}',
      summary: 'One interface and its configuration, without secrets',
      tag: 'mesh',
      audience: ['admin'],
      params,
      live: true,
      responses: { 200: answer },
      handle: ({ params: { name } }) => ({ status: 200, json: control().get(name) }),
    }),
    route({
      method: 'PATCH',
      path: '/v1/mesh/interfaces/{name}',
      summary: 'Change some keys of an interface, by JSON Merge Patch; others do not notice',
      tag: 'mesh',
      audience: ['admin'],
      params,
      body: entrySchema,
      responses: { 200: answer },
      handle: async ({ params: { name }, body }) => ({
        status: 200,
        json: await control().change(name, body as InterfaceEntry),
      }),
    }),
    route({
      method: 'DELETE',
      path: '/v1/mesh/interfaces/{name}',
      summary: 'Take an interface away, also where the config file names it',
      tag: 'mesh',
      audience: ['admin'],
      params,
      responses: { 204: { description: 'it is gone' } },
      async handle({ params: { name } }) {
        await control().remove(name);
        return { status: 204 };
      },
    }),
    doing('attach', 'Use an interface again'),
    doing('detach', 'Stop using an interface until it is attached or the hub starts again'),
    doing('reload', 'Close the medium of an interface and open it again, as it is configured now'),
    route({
      method: 'POST',
      path: '/v1/mesh/interfaces/{name}/reset',
      summary: 'Forget what the API changed of an interface: it is as in the config file, or gone',
      tag: 'mesh',
      audience: ['admin'],
      params,
      responses: { 204: { description: 'done' } },
      async handle({ params: { name } }) {
        await control().reset(name);
        return { status: 204 };
      },
    }),
  ];
}
