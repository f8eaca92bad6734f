import { toHex } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf, GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import { AccessCode } from '../mesh/reticulum/access-code.ts';
import { endpointKey, refusalOf } from '../mesh/reticulum/autoconnect.ts';
import type { Discovered, DiscoveredInterface } from '../mesh/reticulum/discovered.ts';
import { isIpAddress } from '../mesh/reticulum/reachable-on.ts';
import { interfaceSchema, policyOf } from '../radio/config.ts';
import type { LiveInterfaces } from './live-interfaces.ts';
import type { MeshConfig } from './mesh-config.ts';

export interface AutoconnectParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly config: MeshConfig['discovery']['autoconnect'];
  readonly discovered: Pick<Discovered, 'values' | 'statusOf'>;
  readonly isWanted: (found: DiscoveredInterface) => boolean;
  readonly live: Pick<LiveInterfaces, 'list' | 'get' | 'add' | 'remove'>;
  /** The addresses of a host name. Strangers announce them: one that nobody answers for holds nothing up. */
  readonly lookup: (host: string) => Promise<readonly string[]>;
}

/** Connects to what was discovered, and lets go of what is gone. */
export interface Autoconnect {
  /** Something was discovered: look at once. */
  look(): void;
  /** The interface that is connected to it. */
  nameOf(found: DiscoveredInterface): string | undefined;
  /** Hex of who announced the other end of such an interface. */
  sourceOf(interfaceName: string): string | undefined;
  run(signal: AbortSignal): Promise<void>;
}

interface Connection {
  readonly name: string;
  readonly source: string;
  /** Monotonic ms since when it is down; undefined while it is up. */
  downSince: number | undefined;
}

/** ms between two looks. */
const lookEvery = 15_000;
/** ms that a connection may be down before it gives its place to another. */
const downMost = 60_000;
/** ms until a place that was not there is tried again. */
const restAfter = 300_000;
const restingMost = 1024;
const accessCodeSize = 16;

/** Nothing is connected before `run`. */
export function createAutoconnect(parts: AutoconnectParts): Autoconnect {
  const { clock, random, log, counters, config, discovered, isWanted, live } = parts;
  const connections = new Map<string, Connection>();
  /** Places that were not there, and monotonic ms until which they are left alone. */
  const resting = new Map<string, number>();
  let wake: (() => void) | undefined;

  async function leaveDown(): Promise<void> {
    for (const [key, connection] of [...connections]) {
      const attachment = live.get(connection.name)?.attachment;
      const now = clock.monotonic();
      connection.downSince = attachment?.online === true ? undefined : (connection.downSince ?? now);
      // Who takes it away by hand does not want it back at once either.
      if (attachment !== undefined && now - (connection.downSince ?? now) < downMost) {
        continue;
      }
      connections.delete(key);
      resting.set(key, now + restAfter);
      if (resting.size > restingMost) {
        resting.delete(resting.keys().next().value as string);
      }
      counters.add('discovery/disconnected');
      log.info({ interface: connection.name }, 'a discovered interface is gone');
      await live.remove(connection.name).catch(() => {});
    }
  }

  function candidates(): DiscoveredInterface[] {
    const configured = new Set(
      live
        .list()
        .flatMap(({ config: one }) => (one.kind === 'tcp-client' ? [`${one.host}:${one.port}`] : [])),
    );
    return discovered.values().filter(found => {
      const { reachableOn, port } = found.notice;
      const key = endpointKey(found);
      return (
        discovered.statusOf(found) === 'available' &&
        isWanted(found) &&
        refusalOf(found, config) === undefined &&
        !connections.has(key) &&
        !configured.has(`${reachableOn}:${port}`) &&
        (resting.get(key) ?? 0) <= clock.monotonic()
      );
    });
  }

  /**
   * The address behind the name that was announced, which may be one that is not to be connected to: it is looked up
   * once, and what was looked at is what is dialled. Throws `mesh/rejected`.
   */
  async function placeOf(found: DiscoveredInterface): Promise<string | undefined> {
    const { reachableOn } = found.notice;
    if (reachableOn === undefined || isIpAddress(reachableOn)) {
      return reachableOn;
    }
    const addresses = await parts.lookup(reachableOn);
    const isRefused = (address: string) =>
      refusalOf({ ...found, notice: { ...found.notice, reachableOn: address } }, config) !== undefined;
    if (addresses.length === 0 || addresses.some(isRefused)) {
      throw new GatewayError('mesh/rejected', `${reachableOn} leads where nothing is connected to by itself`);
    }
    return addresses[0];
  }

  async function connect(found: DiscoveredInterface): Promise<void> {
    const key = endpointKey(found);
    const name = `found-${key.slice(0, 8)}`;
    const { port, networkName, passphrase } = found.notice;
    const hasCode = networkName !== undefined || passphrase !== undefined;
    const source = toHex(found.networkId);
    connections.set(key, { name, source, downSince: undefined });
    try {
      const host = await placeOf(found);
      const entry = interfaceSchema.parse({ name, kind: 'tcp-client', host, port, mode: config.mode });
      const policy = {
        ...policyOf(entry),
        ...(hasCode && { accessCode: new AccessCode({ networkName, passphrase, size: accessCodeSize }) }),
      };
      await live.add(entry, 'discovery', policy);
      counters.add('discovery/connected');
      log.info({ interface: name, host, port, source: source.slice(0, 8) }, 'a discovered interface is used');
    } catch (error) {
      connections.delete(key);
      resting.set(key, clock.monotonic() + restAfter);
      log.warn({ interface: name, code: codeOf(error) }, 'a discovered interface could not be used');
    }
  }

  return {
    look: () => wake?.(),
    nameOf: found => connections.get(endpointKey(found))?.name,
    sourceOf: name => [...connections.values()].find(one => one.name === name)?.source,
    async run(signal) {
      while (!signal.aborted) {
        await leaveDown();
        for (let free = config.most - connections.size; free > 0; free--) {
          const among = candidates();
          const chosen = among[Math.floor(random.fraction() * among.length)];
          if (chosen === undefined) {
            break;
          }
          await connect(chosen);
        }
        const woken = new Promise<void>(resolve => {
          wake = resolve;
        });
        await Promise.race([woken, clock.sleep(lookEvery, signal).catch(() => {})]);
      }
    },
  };
}
