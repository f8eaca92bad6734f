import { z } from 'zod';
import { type InterfaceView, interfaceSchema } from './mesh.ts';
import { preconditions, requireVersion, versionTag } from './precondition.ts';
import { type Answer, type Call, type Route, route } from './route.ts';
import { tagOf } from './validator.ts';

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

/** Throws `request/precondition-failed` where an interface is not any more what its client has read. */
export type InterfaceGuard = (before: ConfiguredView) => void;

/**
 * Changes the interfaces of the running hub for their owner; what is changed outlives a restart. A guard is asked before
 * anything is done, and no other change through the API comes between. Throws `request/not-found`,
 * `request/conflict`, `request/invalid` with a pointer to every mistake, `request/forbidden`, `config/invalid`.
 */
export interface InterfaceControl {
  get(name: string): ConfiguredView;
  add(entry: InterfaceEntry): Promise<ConfiguredView>;
  /** By JSON Merge Patch. */
  change(name: string, patch: InterfaceEntry, guard?: InterfaceGuard): Promise<ConfiguredView>;
  remove(name: string, guard?: InterfaceGuard): Promise<void>;
  /** Not kept over a restart: `enabled` is. */
  attach(name: string): Promise<ConfiguredView>;
  detach(name: string): Promise<ConfiguredView>;
  reload(name: string): Promise<ConfiguredView>;
  /** Forgets what the API changed of it. */
  reset(name: string, guard?: InterfaceGuard): Promise<void>;
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
const headers = { ETag: 'its tag, for If-Match' };
const answer = { description: 'as it is now', schema: configuredSchema, headers };
const ifMatch = { 'If-Match': preconditions['If-Match'] };

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
      handle: async ({ params: { name } }) => answerOf(200, await control()[verb](name)),
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
          headers: { ...headers, Location: 'its path' },
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
        const made = await control().add(body as InterfaceEntry);
        const location = `/v1/mesh/interfaces/${encodeURIComponent(made.interface.name)}`;
        return answerOf(201, made, { location });
      },
    }),
    route({
      method: 'GET',
      path: '/v1/mesh/interfaces/{name}',
      summary: 'One interface and its configuration, without secrets',
      tag: 'mesh',
      audience: ['admin'],
      params,
      responses: { 200: answer },
      handle: ({ params: { name } }) => answerOf(200, control().get(name)),
    }),
    route({
      method: 'PATCH',
      path: '/v1/mesh/interfaces/{name}',
      summary: 'Change some keys of an interface, by JSON Merge Patch; others do not notice',
      tag: 'mesh',
      audience: ['admin'],
      params,
      headers: ifMatch,
      body: entrySchema,
      responses: { 200: answer },
      handle: async call =>
        answerOf(200, await control().change(call.params.name, call.body as InterfaceEntry, guardOf(call))),
    }),
    route({
      method: 'DELETE',
      path: '/v1/mesh/interfaces/{name}',
      summary: 'Take an interface away, also where the config file names it',
      tag: 'mesh',
      audience: ['admin'],
      params,
      headers: ifMatch,
      responses: { 204: { description: 'it is gone' } },
      async handle(call) {
        await control().remove(call.params.name, guardOf(call));
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
      headers: ifMatch,
      responses: { 204: { description: 'done' } },
      async handle(call) {
        await control().reset(call.params.name, guardOf(call));
        return { status: 204 };
      },
    }),
  ];
}

function answerOf(
  status: number,
  view: ConfiguredView,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  return { status, json: view, headers: { ...headers, etag: versionTag(versionOf(view), view) } };
}

/** Its configuration and who asked for it: its traffic and its state are no change that anybody made. */
function versionOf({ config, origin, changed }: ConfiguredView): string {
  return tagOf(JSON.stringify([config, origin, changed])).slice(1, -1);
}

function guardOf(call: Call<unknown, unknown, unknown>): InterfaceGuard | undefined {
  const tags = call.header('if-match');
  return tags === undefined ? undefined : before => requireVersion(tags, versionOf(before));
}
