import type { MeshManagement, ProbeAsked, ProbeView } from '../bridges/http/mesh-management.ts';
import { fromHex, toHex } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import type { BlackholeEntry, BlackholeParts } from '../mesh/reticulum/blackhole.ts';
import { followBlackholes, publishBlackhole } from '../mesh/reticulum/blackhole-exchange.ts';
import type { LocalDestination } from '../mesh/reticulum/destination.ts';
import { interfaceStats, type NodeFacts } from '../mesh/reticulum/interface-stats.ts';
import { announceManagement } from '../mesh/reticulum/management-announces.ts';
import { probe, probeDestinationOf, probeResponder } from '../mesh/reticulum/probe.ts';
import { serveRemoteManagement } from '../mesh/reticulum/remote-management.ts';
import type { Mesh } from './mesh.ts';
import type { MeshConfig } from './mesh-config.ts';

export interface ManagementParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly config: MeshConfig;
  readonly mesh: Mesh;
  /** The node as tools of the reference see it; without it nobody is told over the mesh. */
  readonly node?: NodeStatus;
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

/** Probes of people under way at once: each waits for an answer over the mesh. */
const probing = 4;

/** Registers what the configuration asks for. */
export function createManagement(parts: ManagementParts): Management {
  const { config, mesh, node } = parts;
  const { transport, links, blackhole } = mesh;
  const { identity } = transport;
  const destinations: LocalDestination[] = [];
  const responder = config.probes ? probeResponder(identity) : undefined;
  if (responder !== undefined) {
    transport.register(responder);
    destinations.push(responder);
  }
  const allowed = new Set<string>();
  if (node !== undefined && allowed.size > 0) {
    destinations.push(
      serveRemoteManagement({
        identity,
        allowed,
        transport,
        links,
        status: () => interfaceStats({ ...node.facts(), probeResponder: responder?.hash }),
        titleOf: name => node.titleOf(name),
      }),
    );
  }
  if (config.blackhole.publish) {
    destinations.push(publishBlackhole({ identity, transport, links, blackhole }));
  }
  const { sources } = blackholeOf(config);
  return {
    probeResponder: responder?.hash,
    view: createView(parts),
    async run(signal) {
      await Promise.all([
        announceManagement(destinations, { ...parts, transport }, signal),
        followBlackholes(sources, { ...parts, transport, links, blackhole }, signal),
      ]);
    },
  };
}

function createView({ clock, random, mesh }: ManagementParts): MeshManagement {
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
