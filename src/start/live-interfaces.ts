import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import { type ServiceHealth, supervise } from '../lib/service.ts';
import { createTurns } from '../lib/turns.ts';
import type { Interface } from '../mesh/interface.ts';
import type { Attachment } from '../mesh/reticulum/attachment.ts';
import type { InterfacePolicy } from '../mesh/reticulum/interface-policy.ts';
import type { Transport } from '../mesh/reticulum/transport.ts';
import { type InterfaceConfig, mediumOf } from '../radio/config.ts';

/** Who asked for an interface: the config file, the API, or the mesh itself, which found it and keeps no note of it. */
export type InterfaceOrigin = 'file' | 'api' | 'discovery';

/** An interface that the hub knows of. */
export interface LiveInterface {
  readonly config: InterfaceConfig;
  readonly origin: InterfaceOrigin;
  /** How the mesh uses it, its access code included. */
  readonly policy: InterfacePolicy;
  /** Undefined while it is detached. */
  readonly attachment: Attachment | undefined;
}

/** What became of the interfaces when a whole list took the place of another, by name. */
export interface InterfaceChanges {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** The medium was closed and opened anew. */
  readonly restarted: readonly string[];
  /** Used in another way from now on, without a reconnect. */
  readonly governed: readonly string[];
}

/**
 * The interfaces of a running hub. They are added, changed and taken away one after the other, and those that are
 * not named do not notice: their connections, links and paths stay. What is resolved means that it runs, or has
 * ended, not that its medium is open. All throw `request/not-found` for a name that nobody has and `config/invalid`
 * for what cannot be set up; then everything is as it was.
 */
export interface LiveInterfaces {
  /** All of them, detached ones too, in the order in which they came. */
  list(): readonly LiveInterface[];
  get(name: string): LiveInterface | undefined;
  /** Begins to use one that is detached; whether it was. */
  attach(name: string): Promise<boolean>;
  /** Stops using one until it is attached or the hub starts again; whether it was used. The paths over it are forgotten. */
  detach(name: string): Promise<boolean>;
  /** Closes its medium and opens it again, as it is configured now. Paths over it stay. */
  reload(name: string): Promise<void>;
  /** Throws `request/conflict` for a name that is taken. */
  add(config: InterfaceConfig, origin: InterfaceOrigin, policy?: InterfacePolicy): Promise<void>;
  /** Whether its medium was opened anew for it; where only the mesh's use of it changes it is not. */
  change(config: InterfaceConfig, origin?: InterfaceOrigin): Promise<'governed' | 'restarted' | 'same'>;
  remove(name: string): Promise<void>;
  /** Makes the configured interfaces these, asked for when it is their turn; what discovery brought is left alone. */
  replace(entries: () => readonly ConfiguredInterface[]): Promise<InterfaceChanges>;
  /** Runs those that are enabled until the signal; resolves when all have ended, rejects where one could not be run. */
  run(signal: AbortSignal): Promise<void>;
}

export interface ConfiguredInterface {
  readonly config: InterfaceConfig;
  readonly origin: 'file' | 'api';
}

export interface LiveInterfacesParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly transport: Transport;
  readonly create: (config: InterfaceConfig) => Interface;
  /** Throws `config/invalid` where the entry cannot be used here, such as for a passphrase that is not there. */
  readonly policyFor: (config: InterfaceConfig) => InterfacePolicy;
  /** The entry of a name as it is configured now; undefined where it is not. Throws `config/invalid`. */
  readonly latest?: (name: string) => InterfaceConfig | undefined;
  readonly report: (health: ServiceHealth) => void;
  /** Whether a device or a listener that fails ends the run of all of them. Default false. */
  readonly exitOnError?: boolean;
  /** An interface is no part of the hub any more. */
  readonly forget: (name: string) => void;
}

/** Interfaces at once, whoever asked for them. */
export const interfacesMost = 128;

interface Entry {
  config: InterfaceConfig;
  origin: InterfaceOrigin;
  policy: InterfacePolicy;
  attachment: Attachment | undefined;
  /** Ends its present run; resolves when it has ended. */
  stop: (() => Promise<void>) | undefined;
}

/** Throws `config/invalid` for the first of the entries that cannot be set up. */
export function createLiveInterfaces(
  entries: readonly ConfiguredInterface[],
  parts: LiveInterfacesParts,
): LiveInterfaces {
  const { clock, random, log, transport } = parts;
  const all = new Map<string, Entry>();
  const over = Promise.withResolvers<void>();
  let signal: AbortSignal | undefined;
  const inTurn = createTurns();

  for (const { config, origin } of entries) {
    all.set(config.name, prepared(config, origin));
  }
  for (const entry of all.values()) {
    if (entry.config.enabled) {
      attach(entry);
    }
  }

  function prepared(config: InterfaceConfig, origin: InterfaceOrigin, policy?: InterfacePolicy): Entry {
    return {
      config,
      origin,
      policy: policy ?? parts.policyFor(config),
      attachment: undefined,
      stop: undefined,
    };
  }

  function attach(entry: Entry): void {
    entry.attachment = transport.attach(parts.create(entry.config), entry.policy);
    start(entry);
  }

  /** Runs it from now on; before the hub runs there is nothing to do yet. */
  function start(entry: Entry): void {
    const { attachment } = entry;
    if (signal === undefined || signal.aborted || attachment === undefined || entry.stop !== undefined) {
      return;
    }
    const stop = new AbortController();
    const life = supervise(attachment.service, {
      clock,
      random,
      log,
      signal: AbortSignal.any([signal, stop.signal]),
      onChange: health => {
        parts.report(health);
        if (parts.exitOnError === true && isFatal(entry.config, health)) {
          over.reject(new GatewayError('radio/device', `${health.name} failed: ${health.reason}`));
        }
      },
    });
    life.catch(over.reject);
    entry.stop = async () => {
      stop.abort();
      await life;
      entry.stop = undefined;
    };
  }

  async function detach(entry: Entry): Promise<void> {
    await entry.stop?.();
    entry.attachment?.detach();
    entry.attachment = undefined;
    parts.forget(entry.config.name);
  }

  /** Closes its medium and opens another in its place; where that cannot be made the one before goes on. */
  async function reopen(entry: Entry, config: InterfaceConfig, policy: InterfacePolicy): Promise<void> {
    const { attachment } = entry;
    if (attachment === undefined) {
      return;
    }
    await entry.stop?.();
    try {
      attachment.change(parts.create(config));
      attachment.govern(policy);
    } finally {
      start(entry);
    }
  }

  async function change(
    entry: Entry,
    config: InterfaceConfig,
    origin: InterfaceOrigin,
  ): Promise<'governed' | 'restarted' | 'same'> {
    const policy = parts.policyFor(config);
    const before = entry.config;
    const isOther =
      !isDeepStrictEqual(mediumOf(before), mediumOf(config)) ||
      !(entry.policy.accessCode?.equals(policy.accessCode) ?? policy.accessCode === undefined);
    if (!isOther && isDeepStrictEqual(before, config)) {
      entry.origin = origin;
      return 'same';
    }
    if (isOther && config.enabled) {
      await reopen(entry, config, policy);
      transport.forgetPathsOver(config.name);
    } else {
      entry.attachment?.govern(policy);
    }
    Object.assign(entry, { config, origin, policy });
    // Who changes something else of one that was detached by hand does not mean to attach it.
    if (before.enabled !== config.enabled) {
      if (!config.enabled) {
        await detach(entry);
      } else if (entry.attachment === undefined) {
        attach(entry);
        return 'restarted';
      }
    }
    return isOther && entry.attachment !== undefined ? 'restarted' : 'governed';
  }

  /** Throws `request/conflict` for the name of an interface that is there but not one of these. */
  function mustBeFree(name: string): void {
    if ([...transport.interfaces()].some(one => one.name === name)) {
      throw new GatewayError('request/conflict', `there is an interface ${name} already`);
    }
  }

  /** Throws `store/full`. */
  function mustHaveRoom(count: number): void {
    if (count > interfacesMost) {
      throw new GatewayError('store/full', `at most ${interfacesMost} interfaces`);
    }
  }

  function add(config: InterfaceConfig, origin: InterfaceOrigin, policy?: InterfacePolicy): void {
    if (all.has(config.name)) {
      throw new GatewayError('request/conflict', `there is an interface ${config.name} already`);
    }
    mustBeFree(config.name);
    mustHaveRoom(all.size + 1);
    const entry = prepared(config, origin, policy);
    if (config.enabled) {
      attach(entry);
    }
    all.set(config.name, entry);
  }

  async function remove(entry: Entry): Promise<void> {
    await detach(entry);
    all.delete(entry.config.name);
  }

  function named(name: string): Entry {
    const entry = all.get(name);
    if (entry === undefined) {
      throw new GatewayError('request/not-found', `there is no interface ${name}`);
    }
    return entry;
  }

  return {
    list: () => [...all.values()],
    get: name => all.get(name),
    attach: name =>
      inTurn(async () => {
        const entry = named(name);
        if (entry.attachment !== undefined) {
          return false;
        }
        entry.policy = parts.policyFor(entry.config);
        attach(entry);
        return true;
      }),
    detach: name =>
      inTurn(async () => {
        const entry = named(name);
        const wasUsed = entry.attachment !== undefined;
        await detach(entry);
        return wasUsed;
      }),
    reload: name =>
      inTurn(async () => {
        const entry = named(name);
        const config = (entry.origin === 'discovery' ? undefined : parts.latest?.(name)) ?? entry.config;
        const changed = await change(entry, config, entry.origin);
        if (changed !== 'restarted') {
          await reopen(entry, entry.config, entry.policy);
        }
      }),
    add: (config, origin, policy) => inTurn(async () => add(config, origin, policy)),
    change: (config, origin) =>
      inTurn(async () => {
        const entry = named(config.name);
        return change(entry, config, origin ?? entry.origin);
      }),
    remove: name => inTurn(() => remove(named(name))),
    replace: entries =>
      inTurn(async () => {
        const wanted = entries();
        // What cannot be used is told before anything is changed.
        for (const { config } of wanted) {
          parts.policyFor(config);
          if (!all.has(config.name)) {
            mustBeFree(config.name);
          }
        }
        const names = new Set(wanted.map(({ config }) => config.name));
        const removed = [...all.values()].filter(
          ({ config, origin }) => origin !== 'discovery' && !names.has(config.name),
        );
        mustHaveRoom(all.size - removed.length + [...names].filter(name => !all.has(name)).length);
        const changes = {
          added: [] as string[],
          removed: removed.map(({ config }) => config.name),
          restarted: [] as string[],
          governed: [] as string[],
        };
        for (const entry of removed) {
          await remove(entry);
        }
        for (const { config, origin } of wanted) {
          const entry = all.get(config.name);
          if (entry === undefined) {
            add(config, origin);
            changes.added.push(config.name);
            continue;
          }
          const how = await change(entry, config, origin);
          if (how !== 'same') {
            changes[how].push(config.name);
          }
        }
        return changes;
      }),
    async run(stop) {
      signal = stop;
      for (const entry of all.values()) {
        start(entry);
      }
      const stopped = stop.aborted
        ? Promise.resolve()
        : new Promise<void>(resolve => stop.addEventListener('abort', () => resolve(), { once: true }));
      await Promise.race([stopped, over.promise]);
      // What was begun ends first.
      await inTurn(async () => undefined);
      await Promise.all([...all.values()].map(entry => entry.stop?.()));
    },
  };
}

/**
 * Whether what became of an interface is a failure of it. A connection that is lost or not made yet is none: making it
 * again is what dialling is.
 */
function isFatal({ kind }: InterfaceConfig, { state, bugs }: ServiceHealth): boolean {
  const dials = kind === 'tcp-client' || kind === 'shared';
  return state === 'waiting' && (!dials || bugs > 0);
}
