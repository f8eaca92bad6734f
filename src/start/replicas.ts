import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSvcListener, type SvcListener } from '../bridges/svc/listener.ts';
import type { Config } from '../config.ts';
import { readDefinitions } from '../gateway/replicas/definition-file.ts';
import { openReplicas, type Replicas, type ReplicasOptions } from '../gateway/replicas/replicas.ts';
import { writeDurably } from '../gateway/store/synced.ts';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf, GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Lookup } from '../lib/names.ts';
import type { Random } from '../lib/random.ts';
import { type ServiceHealth, supervise } from '../lib/service.ts';
import { endpointOf, listenOrMove } from './listening.ts';

export interface ReplicaParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  /** How names are looked up. */
  readonly lookup: Lookup;
}

/** Replicas that are open, and the listener in front of them. */
export interface RunningReplicas extends AsyncDisposable {
  readonly replicas: Replicas;
  readonly svc: SvcListener;
  /** Where the services are. */
  readonly url: () => string;
  /** Opens the port and keeps the services going until the signal. */
  start(signal: AbortSignal, report: (health: ServiceHealth) => void): Promise<void>;
}

/**
 * Opens the replicas the configuration names; undefined where it names none, and no port is opened then. Throws
 * `config/invalid` with every mistake of every definition.
 */
export async function openConfiguredReplicas(
  config: Config,
  parts: ReplicaParts,
  writes?: (key: Uint8Array) => ReplicasOptions['writes'],
): Promise<RunningReplicas | undefined> {
  const definitions = definitionsOf(config);
  if (definitions.length === 0) {
    return undefined;
  }
  const { data } = config.hub;
  const at = endpointOf(config.listen.replicas);
  const key = openKey(data, parts.random);
  const made = writes?.(key);
  const early: ServiceHealth[] = [];
  let report = (health: ServiceHealth): void => {
    early.push(health);
  };
  await using stack = new AsyncDisposableStack();
  const replicas = stack.use(
    await openReplicas({
      ...parts,
      definitions,
      dir: data,
      key,
      onHealth: health => report(health),
      ...(made !== undefined && { writes: made }),
    }),
  );
  const svc = createSvcListener({ ...parts, replicas, ...at });
  let running: Promise<void> = Promise.resolve();
  const stop = new AbortController();
  stack.defer(async () => {
    stop.abort();
    await running;
  });
  stack.use(svc);
  const opened = stack.move();
  return {
    replicas,
    svc,
    url: () => `${svc.address().url}/svc`,
    async start(signal, to) {
      report = to;
      for (const health of early.splice(0)) {
        to(health);
      }
      await listenOrMove(port => svc.listen(port), at.port, config.given.has('listen.replicas'));
      running = supervise(
        {
          name: 'replicas',
          async run(ready, stopped) {
            ready();
            await replicas.run(stopped);
          },
        },
        { ...parts, signal: AbortSignal.any([signal, stop.signal]), onChange: to },
      );
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** The definitions a configuration names. Throws `config/invalid`, also where a name that is no pattern is not there. */
export function definitionsOf(config: Pick<Config, 'replicas'>) {
  const { replicas } = config;
  if (replicas === undefined) {
    return [];
  }
  if (!/[*?[{]/.test(replicas) && globSync(replicas).length === 0) {
    throw new GatewayError('config/invalid', '1 mistake(s) in the replica definitions', {
      errors: [{ pointer: 'replicas', detail: `${replicas} is not there` }],
    });
  }
  return readDefinitions(replicas);
}

const keyFile = 'replica-key';

/** The secret under which credentials are hashed and writes are sealed: 32 bytes, 0600, made at the first need. */
function openKey(data: string, random: Random): Uint8Array {
  const path = join(data, keyFile);
  if (!existsSync(path)) {
    writeDurably(data, keyFile, random.bytes(32));
  }
  let key: Uint8Array;
  try {
    key = readFileSync(path);
  } catch (cause) {
    throw new GatewayError('store/unavailable', `${path} cannot be read: ${codeOf(cause)}`, { cause });
  }
  if (key.length !== 32) {
    throw new GatewayError('store/unavailable', `${path} is no key: it must have 32 bytes`);
  }
  return key;
}
