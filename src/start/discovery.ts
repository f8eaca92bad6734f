import type { DiscoveredView } from '../bridges/http/discovered.ts';
import { fromHex, toHex } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import { refusalOf } from '../mesh/reticulum/autoconnect.ts';
import { Discovered, type DiscoveredInterface } from '../mesh/reticulum/discovered.ts';
import { DiscoveryListener } from '../mesh/reticulum/discovery-listener.ts';
import { type PublishedInterface, publishInterfaces } from '../mesh/reticulum/discovery-publisher.ts';
import { type InterfaceNotice, shownName } from '../mesh/reticulum/discovery-wire.ts';
import type { Identity } from '../mesh/reticulum/identity.ts';
import { referenceEntry } from '../mesh/reticulum/reference-entry.ts';
import type { MeshStorage } from '../mesh/storage.ts';
import { RNode } from '../radio/rnode/rnode.ts';
import { createAutoconnect } from './autoconnect.ts';
import { addressOf, secretsOf } from './interfaces.ts';
import type { LiveInterface, LiveInterfaces } from './live-interfaces.ts';
import type { Mesh } from './mesh.ts';
import type { MeshConfig } from './mesh-config.ts';

export interface DiscoveryParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly storage: MeshStorage;
  readonly config: MeshConfig['discovery'];
  readonly mesh: Mesh;
  readonly live: LiveInterfaces;
  /** Whether packets of others are passed on. */
  readonly forwards: boolean;
  readonly networkIdentity: Identity | undefined;
  /** Shown where an interface has no name of its own for others. */
  readonly hubName: () => string;
  /** Of this program. */
  readonly version: string;
  /** See `AutoconnectParts`. */
  readonly lookup: (host: string) => Promise<readonly string[]>;
}

/** What is announced of our interfaces, and what was heard of others'. */
export interface Discovery extends AsyncDisposable {
  discovered(): DiscoveredView[];
  /** Hex of who announced the other end of an interface of ours; undefined for what was configured. */
  sourceOf(interfaceName: string): string | undefined;
  run(signal: AbortSignal): Promise<void>;
}

/** What this program calls itself to other nodes. */
const implementation = 'kOS';

/** Begins to listen, where that is configured. */
export function openDiscovery(parts: DiscoveryParts): Discovery {
  const { config, mesh, live, networkIdentity } = parts;
  const { transport, blackhole } = mesh;
  const table = config.listen ? new Discovered(parts) : undefined;
  const { sources, cost, autoconnect } = config;
  const listener =
    table &&
    new DiscoveryListener({
      ...parts,
      transport,
      blackhole,
      discovered: table,
      networkIdentity,
      cost,
      ...(sources.length > 0 && { sources: new Set(sources) }),
      onFound: () => connecting?.look(),
      onKindless: networkId =>
        parts.log.debug({ source: toHex(networkId).slice(0, 8) }, 'an interface of no kind was announced'),
    });
  const connecting =
    table && autoconnect.most > 0
      ? createAutoconnect({ ...parts, config: autoconnect, discovered: table, isWanted })
      : undefined;

  /** What was heard before it was blackholed is not wanted either. */
  function isWanted({ networkId, notice }: DiscoveredInterface): boolean {
    return !blackhole.has(networkId) && !blackhole.has(notice.transportId);
  }

  return {
    discovered: () =>
      (table?.values() ?? []).filter(isWanted).map(found => {
        const name = connecting?.nameOf(found);
        const refusal =
          connecting === undefined || name !== undefined ? undefined : refusalOf(found, autoconnect);
        return {
          ...viewOf(found),
          status: (table as Discovered).statusOf(found),
          ...(name !== undefined && { interface: name }),
          ...(refusal !== undefined && { refusal }),
        };
      }),
    sourceOf: name => connecting?.sourceOf(name),
    async run(signal) {
      await Promise.all([
        publishInterfaces(
          { ...parts, transport, published: () => live.list().flatMap(one => published(one, parts)) },
          signal,
        ),
        connecting?.run(signal),
      ]);
    },
    async [Symbol.asyncDispose]() {
      listener?.close();
      await table?.flush();
    },
  };
}

/** An interface of ours that is to be announced, while it is up. */
function published({ config, attachment }: LiveInterface, parts: DiscoveryParts): PublishedInterface[] {
  if (!('discoverable' in config) || config.discoverable === undefined || attachment?.online !== true) {
    return [];
  }
  const { discoverable, name } = config;
  const { interval, cost, sealed } = discoverable;
  const { mesh, forwards, hubName, version } = parts;
  const common = {
    transport: forwards,
    transportId: mesh.transport.identity.hash,
    implementation,
    version,
    name: discoverable.name ?? hubName(),
    latitude: discoverable.latitude,
    longitude: discoverable.longitude,
    height: discoverable.height,
    operator: discoverable.operator === undefined ? undefined : fromHex(discoverable.operator),
  };
  /** Throws `config/invalid` where its passphrase cannot be read any more. */
  const notice = (): InterfaceNotice | undefined => {
    const { iface } = attachment;
    const code = discoverable.publishAccessCode ? secretsOf(config) : {};
    if (config.kind === 'tcp-server') {
      const { reachableOn, port: elsewhere } = config.discoverable ?? {};
      const port = elsewhere ?? Number(addressOf(iface)?.split(':').at(-1));
      // The reference's word for a listener of that wire that holds many connections at once, as ours does.
      return { ...common, ...code, type: 'BackboneInterface', reachableOn, port };
    }
    if (!(iface instanceof RNode)) {
      return undefined;
    }
    const { frequency, bandwidth, spreadingFactor, codingRate } = iface.facts();
    return { ...common, ...code, type: 'RNodeInterface', frequency, bandwidth, spreadingFactor, codingRate };
  };
  return [{ name, interval: interval * 60_000, cost, sealed, notice }];
}

function viewOf(found: DiscoveredInterface): Omit<DiscoveredView, 'status'> {
  const { notice, networkId, value, hops, discovered, heard, heardCount } = found;
  const {
    type,
    transport,
    transportId,
    operator,
    name: _name,
    modulation: _m,
    channel: _c,
    ...facts
  } = notice;
  const given = Object.fromEntries(Object.entries(facts).filter(([, one]) => one !== undefined));
  return {
    name: shownName(notice),
    type,
    ...given,
    transport,
    transportId: toHex(transportId),
    networkId: toHex(networkId),
    ...(operator !== undefined && { operator: toHex(operator) }),
    configEntry: referenceEntry(notice),
    hops,
    value,
    discovered,
    heard,
    heardCount,
  };
}
