import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { httpConfigSchema } from './bridges/http/config.ts';
import { lxmfConfig } from './bridges/lxmf/config.ts';
import { matrixConfigSchema } from './bridges/matrix/config.ts';
import { mqttConfigSchema } from './bridges/mqtt/config.ts';
import { webhookConfigSchema } from './bridges/webhook/config.ts';
import { crossChecks, show, type Tree } from './config-checks.ts';
import { overlay, readOverlay } from './config-overlay.ts';
import { addressSchema, ruleSchema } from './gateway/route-schema.ts';
import { type FieldError, GatewayError } from './lib/errors.ts';
import { type InterfaceConfig, interfaceSchema, withBase } from './radio/config.ts';
import { sharedInstanceSchema } from './radio/local-config.ts';
import { meshConfigSchema } from './start/mesh-config.ts';

const missing = (what: string) => z.undefined({ error: `${what}: not available in this version` }).optional();

const endpoint = z
  .string()
  .regex(
    /^(?:\[[0-9a-f:]+\]|[^:\s[\]]+):\d{1,5}$/i,
    'host:port, such as 127.0.0.1:8080; an IPv6 address in brackets',
  )
  .refine(
    text => Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535,
    'port from 0 to 65535; 0 picks a free one',
  );

const defaultData = './data';

/** The whole config file. Every key has a default: no file at all is a good configuration. */
export const configSchema = z.strictObject({
  hub: z
    .strictObject({
      name: z
        .string()
        .trim()
        .min(1)
        .max(64)
        .default('kOS hub')
        .describe('shown in announces and in MQTT info'),
      data: z.string().min(1).default(defaultData).describe('folder of everything the gateway keeps'),
      transport: z.boolean().default(true).describe('forward for others: a Reticulum transport node'),
      staticTransportIdentity: z
        .boolean()
        .default(false)
        .describe('be known to other nodes by the same identity after each start, also without transport'),
      exitOnInterfaceError: z
        .boolean()
        .default(false)
        .describe(
          'end with status 1 when a device or a listener fails, for a service manager to start the hub again; else only that interface is tried again',
        ),
    })
    .prefault({}),
  listen: z
    .strictObject({
      http: endpoint.default('127.0.0.1:8080').describe('REST, WebSocket and MQTT over WebSocket'),
      mqtt: endpoint.default('127.0.0.1:1883').describe('MQTT broker'),
      mqtts: missing('mqtts'),
      replicas: endpoint
        .default('127.0.0.1:8081')
        .describe('replicas of cloud services; opened only where one is defined'),
      legacy: endpoint
        .optional()
        .describe(
          'ntfy at the root, and what else bridges.http turns on for programs that exist already, for those that take a host and no path',
        ),
    })
    .prefault({}),
  interfaces: z.array(interfaceSchema).max(64).default([]),
  sharedInstance: sharedInstanceSchema
    .optional()
    .describe('programs of this machine use this gateway as their Reticulum instance'),
  mesh: meshConfigSchema.prefault({}),
  bridges: z
    .strictObject({
      lxmf: lxmfConfig.prefault({}),
      http: httpConfigSchema.prefault({}),
      mqtt: mqttConfigSchema.prefault({}),
      matrix: matrixConfigSchema.optional(),
      webhook: webhookConfigSchema.prefault({}),
    })
    .prefault({}),
  rooms: z
    .record(
      z.string(),
      z.strictObject({
        members: z.array(addressSchema).max(256).default([]).describe('who gets what is sent to the room'),
        open: z
          .boolean()
          .optional()
          .describe(
            'whoever writes /join to it on the mesh becomes a member; otherwise members are only added',
          ),
      }),
    )
    .default({})
    .describe('conversations with members on any bridge, by name'),
  routes: z
    .array(ruleSchema)
    .max(256)
    .default([])
    .describe("recipients for what comes to the hub's own rooms: readings of sensors, messages to the hub"),
  replicas: z
    .string()
    .min(1)
    .optional()
    .describe('replica definition files, such as ./replicas/*.replica.yaml'),
  log: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info').describe('log level'),
});

type Parsed = z.infer<typeof configSchema>;

/** The configuration with every default filled in; `hub.data` is absolute. */
export type Config = Omit<Parsed, 'interfaces'> & {
  readonly interfaces: readonly InterfaceConfig[];
  /** Keys that were given and not left to their defaults, as dotted paths: a busy default port gives way, a given one does not. */
  readonly given: ReadonlySet<string>;
  /** Interfaces that the API added, changed or removed, by name: the list is the one with that done. */
  readonly overlaid: Readonly<Record<string, 'added' | 'changed' | 'removed'>>;
};

export interface ConfigSource {
  /** A YAML file, or none. */
  readonly file?: string | undefined;
  /** The tree of keys itself, where there is no file. */
  readonly keys?: Readonly<Record<string, unknown>>;
  /** Overrides in `KOS_…` variables. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Overrides `hub.data`. */
  readonly data?: string | undefined;
}

/** Reads, overrides and checks. Throws `config/invalid` with every mistake at once in `errors`. */
export function loadConfig(source: ConfigSource): Config {
  const raw = source.file === undefined ? structuredClone(source.keys ?? {}) : readFile(source.file);
  const mistakes = applyEnvironment(raw, source.environment ?? {});
  if (source.data !== undefined) {
    put(raw, ['hub', 'data'], resolve(source.data));
  }
  const base = baseOf(source);
  const { overlaid, pointerOf } = layOver(raw, base);
  const result = configSchema.safeParse(raw, { reportInput: true });
  if (!result.success) {
    mistakes.push(...result.error.issues.flatMap(describeIssue).map(pointerOf));
  }
  mistakes.push(...crossChecks(raw, base).map(pointerOf));
  if (mistakes.length > 0 || !result.success) {
    throw new GatewayError(
      'config/invalid',
      `${mistakes.length} mistake(s) in ${source.file ?? 'the configuration'}`,
      {
        errors: mistakes,
      },
    );
  }
  const config = result.data as unknown as Omit<Config, 'given' | 'overlaid'>;
  const { matrix, webhook, ...rest } = config.bridges;
  const { caFile } = webhook;
  const bridges = {
    ...rest,
    webhook: caFile === undefined ? webhook : { ...webhook, caFile: resolve(base, caFile) },
  };
  return {
    ...config,
    hub: { ...config.hub, data: resolve(base, config.hub.data) },
    bridges:
      matrix === undefined
        ? bridges
        : { ...bridges, matrix: { ...matrix, registration: resolve(base, matrix.registration) } },
    ...(config.replicas !== undefined && { replicas: resolve(base, config.replicas) }),
    ...(config.mesh.networkIdentity !== undefined && {
      mesh: { ...config.mesh, networkIdentity: resolve(base, config.mesh.networkIdentity) },
    }),
    interfaces: config.interfaces.map(entry => withBase(entry, base)),
    given: new Set(leaves(raw)),
    overlaid,
  };
}

/** The data folder that a configuration names, also where it has mistakes elsewhere. Throws `config/invalid`. */
export function dataFolderOf(source: ConfigSource): string {
  if (source.data !== undefined) {
    return resolve(source.data);
  }
  const raw = source.file === undefined ? structuredClone(source.keys ?? {}) : readFile(source.file);
  applyEnvironment(raw, source.environment ?? {});
  const data = (raw.hub as Tree | null | undefined)?.data;
  return resolve(baseOf(source), typeof data === 'string' ? data : defaultData);
}

/** The folder that relative paths of a configuration begin in. */
export function baseOf(source: ConfigSource): string {
  return source.file === undefined ? '.' : dirname(resolve(source.file));
}

/** Lays what the API changed over the interfaces of the tree, in place. Throws `config/invalid`. */
function layOver(
  raw: Tree,
  base: string,
): Pick<Config, 'overlaid'> & { readonly pointerOf: (mistake: FieldError) => FieldError } {
  const given = (raw.hub as Tree | null | undefined)?.data ?? defaultData;
  const over = typeof given === 'string' ? readOverlay(resolve(base, given)) : {};
  if (Object.keys(over).length === 0 || !(raw.interfaces === undefined || Array.isArray(raw.interfaces))) {
    return { overlaid: {}, pointerOf: mistake => mistake };
  }
  const { interfaces, pointerOf } = overlay(raw.interfaces ?? [], over);
  raw.interfaces = interfaces;
  return {
    overlaid: Object.fromEntries(
      Object.entries(over).map(([name, how]) => [
        name,
        Object.keys(how)[0] as 'added' | 'changed' | 'removed',
      ]),
    ),
    pointerOf: ({ pointer, detail }) => ({ pointer: pointerOf(pointer), detail }),
  };
}

/** Every mistake on a line of its own: path, what is wrong. */
export function formatMistakes(error: GatewayError): string {
  return [error.message, ...error.errors.map(mistake => `  ${mistake.pointer}: ${mistake.detail}`)].join(
    '\n',
  );
}

function readFile(file: string): Tree {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new GatewayError('config/invalid', `cannot read ${file}`, {
      cause,
      errors: [{ pointer: file, detail: (cause as NodeJS.ErrnoException).code ?? String(cause) }],
    });
  }
  const document = parseDocument(text, { uniqueKeys: true, maxAliasCount: 0 } as Parameters<
    typeof parseDocument
  >[1]);
  if (document.errors.length > 0) {
    throw new GatewayError('config/invalid', `${file} is not YAML`, {
      errors: document.errors.map(error => ({
        pointer: `line ${error.linePos?.[0].line ?? 1}`,
        detail: error.message.split('\n')[0] ?? error.message,
      })),
    });
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 0 }) ?? {};
  } catch (cause) {
    throw new GatewayError('config/invalid', `${file} cannot be read`, {
      cause,
      errors: [{ pointer: file, detail: 'aliases such as *name are not taken: write the value out' }],
    });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new GatewayError('config/invalid', `${file} is no mapping of keys`, {
      errors: [{ pointer: file, detail: 'expected keys such as "hub:" and "listen:"' }],
    });
  }
  return value as Tree;
}

/** Names that are not keys of the file but mean something to the programs. */
const otherVariables = new Set([
  'KOS_CONFIG',
  'KOS_OWNER_TOKEN_FILE',
  'KOS_URL',
  'KOS_TOKEN_FILE',
  'KOS_PASSPHRASE_FILE',
]);

function applyEnvironment(
  raw: Tree,
  environment: Readonly<Record<string, string | undefined>>,
): FieldError[] {
  const mistakes: FieldError[] = [];
  const variables = Object.entries(environment).filter(
    ([name, text]) => name.startsWith('KOS_') && text !== undefined && !otherVariables.has(name),
  ) as [string, string][];
  const scalars = variables.length === 0 ? new Map<string, Scalar>() : scalarPaths();
  for (const [name, text] of variables) {
    const scalar = scalars.get(name);
    if (scalar === undefined) {
      mistakes.push({ pointer: name, detail: 'no key of the configuration has this variable' });
      continue;
    }
    put(raw, scalar.keys, ofType(text, scalar.type));
  }
  return mistakes;
}

interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
}

interface Scalar {
  readonly keys: readonly string[];
  readonly type: JsonSchema['type'];
}

/** What a variable's text means where the schema expects this type; the text itself where it is none of it. */
function ofType(text: string, type: JsonSchema['type']): unknown {
  if (type === 'boolean' && (text === 'true' || text === 'false')) {
    return text === 'true';
  }
  return (type === 'number' || type === 'integer') && /^-?\d+$/.test(text) ? Number(text) : text;
}

/** `KOS_LISTEN_HTTP` → `['listen', 'http']`, for every scalar that is not inside a list. */
function scalarPaths(): Map<string, Scalar> {
  const paths = new Map<string, Scalar>();
  const walk = (schema: JsonSchema, path: readonly string[]) => {
    for (const [key, child] of Object.entries(schema.properties ?? {})) {
      const here = [...path, key];
      if (child.properties !== undefined) {
        walk(child, here);
      } else if (child.type !== 'array' && child.type !== 'object') {
        const snake = here.map(part => part.replace(/[A-Z]/g, letter => `_${letter}`).toUpperCase());
        paths.set(`KOS_${snake.join('_')}`, { keys: here, type: child.type });
      }
    }
  };
  walk(configJsonSchema() as JsonSchema, []);
  return paths;
}

/** JSON Schema of the config file, for editors and for `kosctl config schema`. */
export function configJsonSchema(): object {
  return z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' });
}

function put(tree: Tree, path: readonly string[], value: unknown): void {
  let at = tree;
  for (const key of path.slice(0, -1)) {
    const next = at[key];
    if (typeof next === 'object' && next !== null) {
      at = next as Tree;
    } else {
      const fresh: Tree = {};
      at[key] = fresh;
      at = fresh;
    }
  }
  at[path.at(-1) ?? ''] = value;
}

function leaves(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [path];
  }
  return Object.entries(value).flatMap(([key, child]) => leaves(child, path === '' ? key : `${path}.${key}`));
}

/** What is wrong by a schema, by dotted path. */
export function describeIssue(issue: z.core.$ZodIssue): FieldError[] {
  const path = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(key => ({ pointer: path === '' ? key : `${path}.${key}`, detail: 'no such key' }));
  }
  const given = show(issue.input);
  return [
    {
      pointer: path === '' ? '(file)' : path,
      detail: `${given === undefined ? 'missing' : `${given} is wrong`}: ${issue.message}${range(issue)}`,
    },
  ];
}

function range(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value') {
    return '';
  }
  if (issue.code === 'invalid_union' && 'discriminator' in issue) {
    return `: one of tcp-client, tcp-server, lan, udp, rnode, serial, kiss, pipe, shared`;
  }
  return '';
}
