import type { MeshManagement, ProbeAsked, ProbeView } from '../bridges/http/mesh-management.ts';
import { fromHex, toHex } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { addressesOf, type Lookup } from '../lib/names.ts';
import type { Random } from '../lib/random.ts';
import type { BlackholeEntry, BlackholeParts } from '../mesh/reticulum/blackhole.ts';
import { LocalDestination } from '../mesh/reticulum/destination.ts';
import type { Identity } from '../mesh/reticulum/identity.ts';
import type { NodeFacts } from '../mesh/reticulum/interface-stats.ts';
import { announceManagement } from '../mesh/reticulum/management-announces.ts';
import { probe, probeDestinationOf, probeResponder, transportApp } from '../mesh/reticulum/probe.ts';
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
  /** The node as tools of the reference see it; asked for where somebody may see it. */
  readonly node: () => Promise<NodeStatus>;
  /** The identity of the group of nodes that this one belongs to. */
  readonly networkIdentity: Identity | undefined;
  readonly live: LiveInterfaces;
  readonly lookup: Lookup;
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
  /** The facts with what is known here: who answers probes, of which group the node is, whose announce brought an interface. */
  completed(facts: NodeFacts): NodeFacts;
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
export async function createManagement(parts: ManagementParts): Promise<Management> {
  const { clock, config, mesh, networkIdentity, live } = parts;
  const { transport, links, blackhole } = mesh;
  const { identity } = transport;
  const destinations: LocalDestination[] = [];
  const responder = config.probes ? probeResponder(identity, { ...parts, transport }) : undefined;
  if (responder !== undefined) {
    transport.register(responder);
    destinations.push(responder);
  }
  // What few hubs use is loaded where it is used.
  const allowed = new Set(config.remoteManagement.allowed);
  if (allowed.size > 0) {
    const [{ serveRemoteManagement }, { interfaceStats }] = await Promise.all([
      import('../mesh/reticulum/remote-management.ts'),
      import('../mesh/reticulum/interface-stats.ts'),
    ]);
    const node = await parts.node();
    destinations.push(
      serveRemoteManagement({
        identity,
        allowed,
        transport,
        links,
        status: () => interfaceStats(completed(node.facts())),
        titleOf: name => node.titleOf(name),
      }),
    );
  }
  const { sources } = blackholeOf(config);
  const exchange =
    config.blackhole.publish || sources.length > 0
      ? await import('../mesh/reticulum/blackhole-exchange.ts')
      : undefined;
  if (exchange !== undefined && config.blackhole.publish) {
    destinations.push(exchange.publishBlackhole({ ...parts, identity, transport, links, blackhole }));
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
  let discovery: Discovery | undefined;

  function completed(facts: NodeFacts): NodeFacts {
    return {
      ...facts,
      interfaces: facts.interfaces.map(one => ({ ...one, discoveredBy: discovery?.sourceOf(one.name) })),
      probeResponder: responder?.hash,
      networkId: networkIdentity?.hash,
    };
  }

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
    await using opened = openDiscovery({
      ...parts,
      lookup: host => addressesOf(host, parts.lookup),
      config: config.discovery,
    });
    discovery = opened;
    await opened.run(signal);
  }

  return {
    completed,
    view: createView(parts, () => discovery?.discovered() ?? []),
    async run(signal) {
      await Promise.all([
        announceManagement(destinations, { ...parts, transport }, signal),
        exchange?.followBlackholes(sources, { ...parts, transport, links, blackhole }, signal),
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
