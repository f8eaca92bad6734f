import { z } from 'zod';
import { conditionsOf, preconditions, tagged } from './precondition.ts';
import { type Route, route } from './route.ts';

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type SettableLevel = (typeof logLevels)[number];

/** What came of reading the configuration again. Keys are dotted paths of the config file. */
export interface Reloaded {
  /** What is in force now, and was not before. */
  readonly applied: readonly string[];
  /** What differs and needs a restart. */
  readonly restart: readonly string[];
  readonly interfaces: {
    readonly added: readonly string[];
    readonly removed: readonly string[];
    /** Their media were closed and opened anew. */
    readonly restarted: readonly string[];
    /** Used in another way, without a reconnect. */
    readonly governed: readonly string[];
  };
}

/** The configuration that a hub runs by, without secrets. */
export interface ConfigView {
  /** The file it is read from; absent where there is none. */
  readonly file?: string;
  readonly config: unknown;
  /** Interfaces that the API added, changed or removed, by name. */
  readonly overlaid: Readonly<Record<string, 'added' | 'changed' | 'removed'>>;
  /** What differs in the file and needs a restart, as of the last reload. */
  readonly restart: readonly string[];
}

/** What an owner may look at and change of a running hub. */
export interface Settings {
  show(): ConfigView;
  /** Throws `config/invalid` with every mistake; then nothing is changed. */
  reload(): Promise<Reloaded>;
  logLevel(): SettableLevel;
  /** Until the next start, or until the config file says otherwise. */
  setLogLevel(level: SettableLevel): void;
}

const paths = z.array(z.string());
const reloadedSchema = z.looseObject({
  applied: paths.describe('keys of the config file that are in force now'),
  restart: paths.describe('keys that differ and need a restart'),
  interfaces: z
    .looseObject({ added: paths, removed: paths, restarted: paths, governed: paths })
    .describe('by name; governed ones are used in another way without a reconnect'),
});

const levelSchema = z.strictObject({ level: z.enum(logLevels) }).meta({ id: 'LogLevel' });

const levelAnswer = {
  description: 'the level now',
  schema: levelSchema,
  headers: { ETag: 'its tag, for If-Match' },
};

const levelJson = (level: SettableLevel) => ({ level });

/** The configuration of a running hub; for the owner. */
export function settingsRoutes(settings: () => Settings): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/config',
      summary: 'The configuration in force, with its defaults and without secrets',
      tag: 'admin',
      audience: ['admin'],
      responses: {
        200: {
          description: 'what the hub runs by',
          schema: z.looseObject({
            file: z.string().exactOptional().describe('what it is read from'),
            config: z.record(z.string(), z.unknown()),
            overlaid: z
              .record(z.string(), z.enum(['added', 'changed', 'removed']))
              .describe('interfaces that the API changed'),
            restart: paths.describe('keys that differ in the file and need a restart, as of the last reload'),
          }),
        },
      },
      handle: () => ({ status: 200, json: settings().show() }),
    }),
    route({
      method: 'POST',
      path: '/v1/config/reload',
      summary: 'Read the config file again: a file with mistakes changes nothing',
      tag: 'admin',
      audience: ['admin'],
      audit: 'config.reload',
      responses: { 200: { description: 'what is in force now, and what is not', schema: reloadedSchema } },
      handle: async () => ({ status: 200, json: await settings().reload() }),
    }),
    route({
      method: 'GET',
      path: '/v1/log',
      summary: 'The level of the log',
      tag: 'admin',
      audience: ['admin'],
      responses: { 200: levelAnswer },
      handle: () => ({ status: 200, json: levelJson(settings().logLevel()) }),
    }),
    route({
      method: 'PUT',
      path: '/v1/log',
      summary: 'Set the level of the log until the next start',
      tag: 'admin',
      audience: ['admin'],
      audit: 'log.level',
      headers: { 'If-Match': preconditions['If-Match'] },
      body: levelSchema,
      responses: { 200: levelAnswer },
      handle(call) {
        const { level } = call.body;
        conditionsOf<SettableLevel>(call, levelJson)(settings().logLevel());
        settings().setLogLevel(level);
        return { ...tagged(200, levelJson(settings().logLevel())), audit: { target: level } };
      },
    }),
  ];
}
