import { resolve } from 'node:path';
import type { ConfiguredView, InterfaceControl, InterfaceEntry } from '../bridges/http/interfaces.ts';
import type { InterfaceView } from '../bridges/http/mesh.ts';
import { describeIssue } from '../config.ts';
import {
  joinPatches,
  mergePatch,
  type Overlay,
  overlayFile,
  overlayLongest,
  readOverlay,
} from '../config-overlay.ts';
import { writeDurably } from '../gateway/store/synced.ts';
import { codeOf, type FieldError, GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { createTurns } from '../lib/turns.ts';
import { type InterfaceConfig, interfaceSchema, radioMistakes, withBase } from '../radio/config.ts';
import type { LiveInterface, LiveInterfaces } from './live-interfaces.ts';

export interface InterfaceControlParts {
  readonly live: LiveInterfaces;
  readonly view: (name: string) => InterfaceView | undefined;
  /** The data folder: what is changed is kept there, and never in the config file. */
  readonly data: string;
  /** The folder that relative paths begin in. */
  readonly base: string;
  /** The entry of a name as file and overlay have it now. Throws `config/invalid`. */
  readonly latest: (name: string) => InterfaceConfig | undefined;
  /** Resolves when an interface has come up or failed, or after a second. */
  readonly settled: (name: string) => Promise<void>;
  readonly log: Log;
}

/**
 * Changes interfaces for the API. A change is in force before it is kept and kept before it is answered; what cannot be
 * kept is taken back. What is kept lies over the config file and outlives a restart.
 */
export function createInterfaceControl(parts: InterfaceControlParts): InterfaceControl {
  const { live, data, base, log } = parts;
  const inTurn = createTurns();

  function named(name: string): LiveInterface {
    const one = live.get(name);
    if (one === undefined) {
      throw new GatewayError('request/not-found', `there is no interface ${name}`);
    }
    return one;
  }

  function viewOf(name: string): ConfiguredView {
    const { config, origin } = named(name);
    const shown = parts.view(name);
    if (shown === undefined) {
      throw new GatewayError('request/not-found', `there is no interface ${name} any more`);
    }
    const kept = readOverlay(data);
    return {
      interface: shown,
      config: JSON.parse(JSON.stringify(config)) as InterfaceEntry,
      origin,
      changed: Object.hasOwn(kept, name) && 'changed' in kept[name]!,
    };
  }

  /**
   * Throws with every mistake: `request/invalid` for an entry that is none, `config/invalid` for one whose members do not go
   * together or break the law of its region, and for whatever a patch makes wrong.
   */
  function parse(entry: unknown, isPatched = false): InterfaceConfig {
    const result = interfaceSchema.safeParse(entry, { reportInput: true });
    const issues = result.success ? [] : result.error.issues.flatMap(describeIssue);
    const errors = [...issues, ...radioMistakes(entry, base)].map(inBody);
    if (!result.success || errors.length > 0) {
      const isEntry = result.success || result.error.issues.every(({ code }) => code === 'custom');
      throw new GatewayError(
        isEntry || isPatched ? 'config/invalid' : 'request/invalid',
        `${errors.length} mistake(s) in the interface`,
        { errors },
      );
    }
    return withBase(result.data as InterfaceConfig, base);
  }

  function keep(next: (before: Overlay) => Overlay): void {
    const text = `${JSON.stringify(next(readOverlay(data)), null, 2)}\n`;
    if (text.length > overlayLongest) {
      // The next start could not read it.
      throw new GatewayError('store/full', `more than ${overlayLongest} characters of changes`);
    }
    writeDurably(data, overlayFile, Buffer.from(text));
  }

  /** Keeps what is in force, or takes it back. */
  async function keepOr(next: (before: Overlay) => Overlay, undo: () => Promise<unknown>): Promise<void> {
    try {
      keep(next);
    } catch (cause) {
      await undo();
      const code = (cause as NodeJS.ErrnoException).code ?? codeOf(cause);
      throw new GatewayError(
        code === 'ENOSPC' || code === 'store/full' ? 'store/full' : 'store/unavailable',
        `the change could not be kept: ${code}`,
        { cause },
      );
    }
  }

  async function shown(name: string): Promise<ConfiguredView> {
    await parts.settled(name);
    return viewOf(name);
  }

  return {
    get: viewOf,
    add: entry =>
      inTurn(async () => {
        const config = parse(entry);
        refuseProgram(config);
        const { name } = config;
        await live.add(config, 'api');
        const added = absolute(entry, base);
        await keepOr(
          before => ({ ...before, [name]: { added } }),
          () => live.remove(name),
        );
        log.info({ interface: name, kind: config.kind }, 'an interface was added through the API');
        return shown(name);
      }),
    change: (name, patch, guard) =>
      inTurn(async () => {
        const { config: before, origin } = named(name);
        guard?.(viewOf(name));
        refuseDiscovered(name, origin);
        const fixed = (['name', 'kind'] as const).filter(key => key in patch && patch[key] !== before[key]);
        if (fixed.length > 0) {
          throw new GatewayError('config/invalid', 'an interface keeps its name and its kind', {
            errors: fixed.map(key => ({
              pointer: `/${key}`,
              detail: `stays ${before[key]}: add another and remove this one`,
            })),
          });
        }
        const config = parse(mergePatch(before, patch), true);
        if ('command' in patch) {
          refuseProgram(config);
        }
        await live.change(config, origin);
        const change = absolute(patch, base);
        await keepOr(
          kept => {
            const own = Object.hasOwn(kept, name) ? kept[name]! : {};
            return {
              ...kept,
              [name]:
                'added' in own
                  ? { added: mergePatch(own.added, change) as InterfaceEntry }
                  : { changed: joinPatches('changed' in own ? own.changed : {}, change) as InterfaceEntry },
            };
          },
          () => live.change(before, origin),
        );
        log.info({ interface: name, keys: Object.keys(patch) }, 'an interface was changed through the API');
        return shown(name);
      }),
    remove: (name, guard) =>
      inTurn(async () => {
        const { config, origin } = named(name);
        guard?.(viewOf(name));
        await live.remove(name);
        if (origin !== 'discovery') {
          await keepOr(
            ({ [name]: _gone, ...others }) =>
              origin === 'file' ? { ...others, [name]: { removed: true } } : others,
            () => live.add(config, origin),
          );
        }
        log.info({ interface: name }, 'an interface was removed through the API');
      }),
    attach: async name => {
      await live.attach(name);
      return shown(name);
    },
    detach: async name => {
      await live.detach(name);
      return viewOf(name);
    },
    reload: async name => {
      await live.reload(name);
      return shown(name);
    },
    reset: (name, guard) =>
      inTurn(async () => {
        const kept = readOverlay(data);
        if (!Object.hasOwn(kept, name)) {
          throw new GatewayError('request/not-found', `the API has changed nothing of ${name}`);
        }
        if (live.get(name) !== undefined) {
          guard?.(viewOf(name));
        }
        keep(({ [name]: _gone, ...others }) => others);
        try {
          const config = parts.latest(name);
          if (config === undefined) {
            await (live.get(name) && live.remove(name));
          } else {
            await (live.get(name) === undefined ? live.add(config, 'file') : live.change(config, 'file'));
          }
        } catch (error) {
          keep(others => ({ ...others, [name]: kept[name]! }));
          throw error;
        }
        log.info({ interface: name }, 'what the API changed of an interface was forgotten');
      }),
  };
}

function inBody({ pointer, detail }: FieldError): FieldError {
  return { pointer: pointer === '(file)' ? '' : `/${pointer.replaceAll('.', '/')}`, detail };
}

function refuseDiscovered(name: string, origin: string): void {
  if (origin === 'discovery') {
    throw new GatewayError(
      'request/conflict',
      `${name} was discovered and is not configured: add it by another name`,
    );
  }
}

/** Whoever may change the hub is not thereby somebody who may run programs as its user. */
function refuseProgram(config: { readonly kind: string }): void {
  if (config.kind === 'pipe') {
    throw new GatewayError(
      'request/forbidden',
      'which program a pipe runs is for the config file alone to say',
    );
  }
}

/** The keys as they were given, with paths that mean the same wherever the gateway is started. */
function absolute(entry: InterfaceEntry, base: string): InterfaceEntry {
  const { ifac, regions } = entry;
  const file =
    typeof ifac === 'object' && ifac !== null && !Array.isArray(ifac) ? ifac.passphraseFile : undefined;
  return {
    ...entry,
    ...(typeof file === 'string' && { ifac: { ...(ifac as object), passphraseFile: resolve(base, file) } }),
    ...(typeof regions === 'string' && { regions: resolve(base, regions) }),
  };
}
