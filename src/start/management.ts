import type { MeshManagement, ProbeAsked, ProbeView } from '../bridges/http/mesh-management.ts';
import { fromHex, toHex } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import type { BlackholeEntry, BlackholeParts } from '../mesh/reticulum/blackhole.ts';
import { followBlackholes, publishBlackhole } from '../mesh/reticulum/blackhole-exchange.ts';
import { LocalDestination } from '../mesh/reticulum/destination.ts';
import type { Identity } from '../mesh/reticulum/identity.ts';
import { interfaceStats, type NodeFacts } from '../mesh/reticulum/interface-stats.ts';
import { announceManagement } from '../mesh/reticulum/management-announces.ts';
import { probe, probeDestinationOf, probeResponder, transportApp } from '../mesh/reticulum/probe.ts';
import { serveRemoteManagement } from '../mesh/reticulum/remote-management.ts';
import type { MeshStorage } from '../mesh/storage.ts';
import type { Discovery } from './discovery.ts';
import type { LiveInterfaces } from './live-interfaces.ts';
import type { Mesh } from './mesh.ts';
import type { MeshConfig } from './mesh-config.ts';

export interface ManagementParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly config: MeshConfig;
  readonly mesh: Mesh;
  /** The node as tools of the reference see it. */
  readonly node: NodeStatus;
  /** The identity of the group of nodes that this one belongs to. */
  readonly networkIdentity: Identity | undefined;
  readonly live: LiveInterfaces;
  readonly storage: MeshStorage;
  /** Whether packets of others are passed on. */
  readonly forwards: boolean;
  /** Shown to others where an interface has no name of its own for them. */
  readonly hubName: () => string;
  /** Of this program. */
  readonly version: string;
}

/** What remote management tells. */
export interface NodeStatus {
  facts(): NodeFacts;
  /** An interface as the reference would write it, by our name of it. */
  titleOf(interfaceName: string): string;
}

/** What this node is to other nodes and to who looks after it. */
export interface Management {
  readonly view: MeshManagement;
  /** Destination hash (16 B) that answers probes. */
  readonly probeResponder: Uint8Array | undefined;
  /** Identity hash (16 B) of the group of nodes. */
  readonly networkId: Uint8Array | undefined;
  /** Announces its destinations and follows the lists of others until the signal. */
  run(signal: AbortSignal): Promise<void>;
}

/** What of the blackhole is configured, in bytes. */
export function blackholeOf({
  blackhole,
}: MeshConfig): Required<Pick<BlackholeParts, 'sources' | 'configured'>> {
  const { identities, sources } = blackhole;
  return { sources: sources.map(hash => fromHex(hash)), configured: identities.map(hash => fromHex(hash)) };
}

/**
 * Names of the destinations by which a group of nodes is known.
 *
 * Source: RNS 1.5.7, seen by its announces.
 */
function networkAspects(identity: Identity): readonly (readonly string[])[] {
  return [['network', 'instance', toHex(identity.hash)], ['network']];
}

/** ms until an interface that others are to know of is seen, where there was none. */
const discoveryLook = 30_000;
/** Probes of people under way at once: each waits for an answer over the mesh. */
const probing = 4;

/** Registers what the configuration asks for. */
export function createManagement(parts: ManagementParts): Management {
  const { clock, config, mesh, node, networkIdentity, live } = parts;
  const { transport, links, blackhole } = mesh;
  const { identity } = transport;
  const networkId = networkIdentity?.hash;
  const destinations: LocalDestination[] = [];
  const responder = config.probes ? probeResponder(identity) : undefined;
  if (responder !== undefined) {
    transport.register(responder);
    destinations.push(responder);
  }
  const allowed = new Set(config.remoteManagement.allowed);
  if (allowed.size > 0) {
    destinations.push(
      serveRemoteManagement({
        identity,
        allowed,
        transport,
        links,
        status: () => interfaceStats({ ...node.facts(), probeResponder: responder?.hash, networkId }),
        titleOf: name => node.titleOf(name),
      }),
    );
  }
  if (config.blackhole.publish) {
    destinations.push(publishBlackhole({ identity, transport, links, blackhole }));
  }
  if (networkIdentity !== undefined) {
    for (const aspects of networkAspects(networkIdentity)) {
      const destination = new LocalDestination({
        identity: networkIdentity,
        appName: transportApp,
        aspects,
      });
      transport.register(destination);
      destinations.push(destination);
    }
  }
  const { sources } = blackholeOf(config);
  let discovery: Discovery | undefined;

  /** Loaded when it is used: few hubs look for others, or want to be found. */
  async function discover(signal: AbortSignal): Promise<void> {
    const isWanted = () =>
      config.discovery.listen ||
      live.list().some(({ config: one }) => 'discoverable' in one && one.discoverable !== undefined);
    try {
      while (!isWanted()) {
        await clock.sleep(discoveryLook, signal);
      }
    } catch {
      return;
    }
    const { openDiscovery } = await import('./discovery.ts');
    await using opened = openDiscovery({ ...parts, config: config.discovery });
    discovery = opened;
    await opened.run(signal);
  }

  return {
    probeResponder: responder?.hash,
    networkId,
    view: createView(parts, () => discovery?.discovered() ?? []),
    async run(signal) {
      await Promise.all([
        announceManagement(destinations, { ...parts, transport }, signal),
        followBlackholes(sources, { ...parts, transport, links, blackhole }, signal),
        discover(signal),
      ]);
    },
  };
}

function createView(
  { clock, random, mesh }: ManagementParts,
  discovered: MeshManagement['discovered'],
): MeshManagement {
  const { transport, blackhole } = mesh;
  let asking = 0;
  return {
    async probe(asked, signal) {
      if (asking >= probing) {
        throw new GatewayError('request/rate-limited', `${probing} probes are under way`, {
          retryable: true,
        });
      }
      asking += 1;
      try {
        const destination = destinationOf(asked);
        const report = await probe({ ...asked, destination, signal }, { clock, random, transport });
        return probeView(report);
      } finally {
        asking -= 1;
      }
    },
    async requestPath(destination) {
      const path = await transport.requestPath(fromHex(destination), { insist: true });
      return {
        destination,
        hops: path.hops,
        interface: path.interfaceName,
        nextHop: toHex(path.nextHop),
        heard: path.heard,
        expires: path.expires,
      };
    },
    blackhole: {
      list: () => blackhole.entries().map(entry => blackholeView(entry, transport.identity.hash)),
      add: (hash, how) => blackhole.add(fromHex(hash), how),
      remove: hash => blackhole.remove(fromHex(hash)),
    },
    discovered,
  };
}

function destinationOf({ destination, node }: ProbeAsked): Uint8Array {
  return node === undefined ? fromHex(destination ?? '') : probeDestinationOf(fromHex(node));
}

function probeView(report: Awaited<ReturnType<typeof probe>>): ProbeView {
  const { destination, hops, interfaceName, nextHop, results } = report;
  const times = results.flatMap(({ rtt }) => rtt ?? []);
  const rounded = (ms: number) => Math.round(ms * 100) / 100;
  return {
    destination: toHex(destination),
    hops,
    interface: interfaceName,
    nextHop: toHex(nextHop),
    sent: results.length,
    received: times.length,
    lossPercent: rounded((1 - times.length / results.length) * 100),
    ...(times.length > 0 && {
      rtt: {
        min: rounded(Math.min(...times)),
        avg: rounded(times.reduce((sum, one) => sum + one, 0) / times.length),
        max: rounded(Math.max(...times)),
      },
    }),
    probes: results.map(({ rtt, ...rest }) => ({ ...rest, ...(rtt !== undefined && { rtt: rounded(rtt) }) })),
  };
}

function blackholeView(entry: BlackholeEntry, own: Uint8Array) {
  const { identityHash, source, origin, until, reason, configured } = entry;
  const isOwn = toHex(source) === toHex(own);
  return {
    identity: toHex(identityHash),
    from: configured ? ('configuration' as const) : isOwn ? ('hub' as const) : ('source' as const),
    ...(!isOwn && { source: toHex(source) }),
    ...(toHex(origin) !== toHex(source) && { origin: toHex(origin) }),
    ...(until !== undefined && { until }),
    ...(reason !== undefined && { reason }),
  };
}
