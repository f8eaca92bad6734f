import { isDeepStrictEqual } from 'node:util';
import type { Reloaded, SettableLevel, Settings } from '../bridges/http/settings.ts';
import type { Config } from '../config.ts';
import { GatewayError } from '../lib/errors.ts';
import type { LeveledLog } from '../lib/log.ts';
import { createTurns } from '../lib/turns.ts';
import type { LiveInterfaces } from './live-interfaces.ts';

export interface SettingsParts {
  readonly config: Config;
  /** The config file's name, where there is one. */
  readonly file: string | undefined;
  /** Reads the configuration again; undefined where it came from nowhere. Throws `config/invalid`. */
  readonly reread: (() => Config) | undefined;
  readonly live: LiveInterfaces;
  readonly log: LeveledLog;
  /** Rooms, routes and names as they are from now on. */
  readonly adopt: (config: Config) => Promise<void>;
}

/** Keys that a running hub takes over; the interfaces are another matter. All others need a restart. */
const live: readonly (readonly [path: string, take: (into: Config, from: Config) => Config])[] = [
  ['log', (into, { log }) => ({ ...into, log })],
  ['hub.name', (into, { hub: { name } }) => ({ ...into, hub: { ...into.hub, name } })],
  [
    'bridges.lxmf.displayName',
    (
      into,
      {
        bridges: {
          lxmf: { displayName },
        },
      },
    ) => ({
      ...into,
      bridges: { ...into.bridges, lxmf: { ...into.bridges.lxmf, displayName } },
    }),
  ],
  [
    'bridges.webhook',
    (into, { bridges: { webhook } }) => ({ ...into, bridges: { ...into.bridges, webhook } }),
  ],
  ['rooms', (into, { rooms }) => ({ ...into, rooms })],
  ['routes', (into, { routes }) => ({ ...into, routes })],
];

/** The configuration in force, and how it is read again. */
export function createSettings(parts: SettingsParts): Settings & { readonly current: () => Config } {
  const { log } = parts;
  let current = parts.config;
  let restart: readonly string[] = [];
  const inTurn = createTurns();

  async function reload(): Promise<Reloaded> {
    if (parts.reread === undefined) {
      throw new GatewayError(
        'request/conflict',
        'this hub was not started from a configuration that can be read again',
      );
    }
    const { reread } = parts;
    let next = current;
    const interfaces = await parts.live.replace(() => {
      // Not before: what the API changes meanwhile is to be in it.
      next = reread();
      return next.interfaces.map(config => ({
        config,
        origin: next.overlaid[config.name] === 'added' ? 'api' : 'file',
      }));
    });
    const differing = differences(tree(current), tree(next));
    const isLive = (path: string) => live.some(([key]) => path === key || path.startsWith(`${key}.`));
    const applied = differing.filter(isLive);
    restart = differing.filter(path => !isLive(path));
    const before = current;
    current = live.reduce((into, [, take]) => take(into, next), {
      ...current,
      interfaces: next.interfaces,
      overlaid: next.overlaid,
    });
    if (before.log !== current.log) {
      log.level = current.log;
    }
    if (applied.some(path => path !== 'log')) {
      await parts.adopt(current);
    }
    const touched = Object.values(interfaces).flat() as string[];
    const answer = {
      applied: [...touched.sort().map(name => `interfaces.${name}`), ...applied],
      restart,
      interfaces,
    };
    log.info({ applied: answer.applied, restart }, 'the configuration was read again');
    return answer;
  }

  return {
    current: () => current,
    show: () => ({
      ...(parts.file !== undefined && { file: parts.file }),
      config: JSON.parse(JSON.stringify(tree(current, true))),
      overlaid: current.overlaid,
      restart,
    }),
    reload: () => inTurn(reload),
    logLevel: () => log.level as SettableLevel,
    setLogLevel(level) {
      log.level = level;
      log.info({ level }, 'the log has another level');
    },
  };
}

/** The configuration as keys of the file. */
function tree(config: Config, whole = false): Record<string, unknown> {
  const { given: _given, overlaid: _overlaid, interfaces, ...rest } = config;
  return whole ? { ...rest, interfaces } : rest;
}

/** Dotted paths of what differs; a list is one value. */
function differences(before: unknown, after: unknown, path = ''): string[] {
  if (isDeepStrictEqual(before, after)) {
    return [];
  }
  if (!isTree(before) || !isTree(after)) {
    return [path];
  }
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap(key =>
    differences(before[key], after[key], path === '' ? key : `${path}.${key}`),
  );
}

function isTree(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
