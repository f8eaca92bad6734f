import type { AnnounceView, InterfaceView, MeshView } from '../bridges/http/mesh.ts';
import { fromHex, toHex } from '../lib/bytes.ts';
import type { ServiceHealth } from '../lib/service.ts';
import type { Interface } from '../mesh/interface.ts';
import type { Attachment } from '../mesh/reticulum/attachment.ts';
import { nameHash } from '../mesh/reticulum/destination.ts';
import { groupOf } from '../mesh/reticulum/fair-queue.ts';
import type { Traffic } from '../mesh/reticulum/traffic.ts';
import { Lan } from '../radio/lan/lan.ts';
import { sharedInstanceInterface } from '../radio/local-config.ts';
import { RNode } from '../radio/rnode/rnode.ts';
import { addressOf } from './interfaces.ts';
import type { LiveInterface, LiveInterfaces } from './live-interfaces.ts';
import type { Mesh } from './mesh.ts';

export interface MeshViewParts {
  readonly mesh: Mesh;
  readonly interfaces: LiveInterfaces;
  readonly services: () => readonly ServiceHealth[];
  readonly announce: () => Promise<boolean>;
}

/** What windows show of the mesh: read when it is asked for, nothing is kept. */
export function createMeshView({ mesh, interfaces: live, services, announce }: MeshViewParts): MeshView {
  const { transport, links, router } = mesh;
  return {
    announce,
    interfaces() {
      const kinds = new Map<string, string>(live.list().map(({ config: { name, kind } }) => [name, kind]));
      if ([...transport.interfaces()].some(({ name }) => name === sharedInstanceInterface)) {
        kinds.set(sharedInstanceInterface, sharedInstanceInterface);
      }
      const health = new Map(services().map(service => [service.name, service]));
      const views: InterfaceView[] = [...transport.interfaces()].map(one => ({
        ...interfaceView(one, kinds, health.get(one.name)),
        ...(live.get(one.name) && { origin: live.get(one.name)!.origin }),
        queue: {
          bytes: one.queued,
          announces: transport.announcesWaiting(one),
          held: transport.announcesHeld(one),
        },
      }));
      views.push(
        ...live
          .list()
          .filter(one => one.attachment === undefined)
          .map(unusedView),
      );
      const order = [...kinds.keys()];
      const placeOf = ({ name, parent }: InterfaceView) => order.indexOf(parent ?? name);
      return views.sort(
        (a, b) =>
          placeOf(a) - placeOf(b) ||
          Number(a.parent !== undefined) - Number(b.parent !== undefined) ||
          (a.name < b.name ? -1 : 1),
      );
    },
    *paths(may) {
      for (const path of transport.paths(may)) {
        yield {
          destination: toHex(path.destinationHash),
          hops: path.hops,
          interface: path.interfaceName,
          nextHop: toHex(path.nextHop),
          heard: path.heard,
          expires: path.expires,
        };
      }
    },
    *links() {
      for (const link of links.all()) {
        yield {
          id: link.key,
          destination: toHex(link.destinationHash),
          role: link.role,
          state: link.state.at,
          interface: link.iface.name,
          hops: link.hops,
          mtu: link.mtu,
          rtt: Math.round(link.rtt),
        };
      }
    },
    *announces(may) {
      for (const known of transport.known(may)) {
        const path = transport.path(known.destinationHash);
        yield {
          destination: toHex(known.destinationHash),
          identity: toHex(known.identity.hash),
          ...nameOf(known.nameHash),
          heard: known.heard,
          ...(path !== undefined && { hops: path.hops, interface: path.interfaceName }),
        };
      }
    },
    *rates() {
      for (const { destinationHash, last, violations, blockedUntil } of transport.announceRates()) {
        yield {
          destination: toHex(destinationHash),
          heard: Math.round(last),
          tooSoon: violations,
          ...(blockedUntil > 0 && { blockedUntil: Math.round(blockedUntil) }),
        };
      }
    },
    *transit() {
      for (const link of transport.transitLinks()) {
        yield {
          id: link.key,
          destination: toHex(link.destinationHash),
          from: link.receivedOn.name,
          to: link.sentOn.name,
          taken: link.takenHops,
          remaining: link.remainingHops,
          proven: link.proven,
        };
      }
    },
    dropPaths({ destination, nextHop }) {
      if (destination !== undefined) {
        return Number(transport.dropPath(fromHex(destination, 16)));
      }
      const over = Iterator.from(transport.paths()).filter(path => toHex(path.nextHop) === nextHop);
      return over.toArray().filter(path => transport.dropPath(path.destinationHash)).length;
    },
    pathCounts() {
      const counts = new Map<string, number>();
      for (const [name, count] of transport.pathCounts()) {
        const root = groupOf(name);
        counts.set(root, (counts.get(root) ?? 0) + count);
      }
      return counts;
    },
    linkCounts() {
      const counts = new Map<string, number>();
      for (const { state } of links.all()) {
        counts.set(state.at, (counts.get(state.at) ?? 0) + 1);
      }
      return counts;
    },
    sizes: () => ({ ...transport.sizes(), ...router.sizes() }),
  };
}

/** Names that many destinations have, by their hash. */
const wellKnown: ReadonlyMap<string, string> = new Map(
  [
    'lxmf.delivery',
    'lxmf.propagation',
    'nomadnetwork.node',
    'rnstransport.probe',
    'rnstransport.remote.management',
    'rnstransport.discovery.interface',
    'rncp.receive',
    'rnx.execute',
    'call.audio',
    'lxst.telephony',
  ].map(name => [toHex(nameHash(name)), name]),
);

function nameOf(hash: Uint8Array): Pick<AnnounceView, 'nameHash' | 'aspect'> {
  const key = toHex(hash);
  const aspect = wellKnown.get(key);
  return { nameHash: key, ...(aspect !== undefined && { aspect }) };
}

function trafficView(traffic: Traffic): Pick<InterfaceView, 'rx' | 'tx'> {
  return {
    rx: {
      packets: traffic.rxPackets,
      bytes: traffic.rxBytes,
      announces: traffic.rxAnnounces,
      pathRequests: traffic.rxPathRequests,
      refused: traffic.refused,
    },
    tx: {
      packets: traffic.txPackets,
      bytes: traffic.txBytes,
      failed: traffic.txFailed,
      announces: traffic.txAnnounces,
      pathRequests: traffic.txPathRequests,
    },
  };
}

/** One that is configured and not used. */
function unusedView({ config: { name, kind, enabled } }: LiveInterface): InterfaceView {
  const nothing = { packets: 0, bytes: 0 };
  return {
    name,
    kind,
    state: 'stopped',
    reason: enabled ? 'detached' : 'not enabled',
    bitrate: 0,
    mtu: 0,
    rx: nothing,
    tx: nothing,
  };
}

function interfaceView(
  attachment: Attachment,
  kinds: ReadonlyMap<string, string>,
  health: ServiceHealth | undefined,
): InterfaceView {
  const { name, iface, policy, traffic } = attachment;
  const kind = kinds.get(name);
  // What a listener or a LAN finds is named after it: `server/192.0.2.1:5000`.
  const parent = kind === undefined ? name.split('/', 1)[0] : undefined;
  const address = addressOf(iface);
  const airtime = airtimeOf(iface);
  const adapters = iface instanceof Lan ? iface.view?.adapters : undefined;
  return {
    name,
    kind: kind ?? 'peer',
    ...(parent !== undefined && { parent }),
    state: health?.state ?? (attachment.online ? 'up' : 'starting'),
    ...(health?.reason !== undefined && { reason: health.reason }),
    ...(health?.code !== undefined && { code: health.code }),
    ...(health !== undefined && { since: health.since }),
    bitrate: attachment.bitrate,
    mtu: attachment.mtu,
    ...(address !== undefined && { address }),
    mode: policy.mode ?? 'full',
    ...(policy.accessCode !== undefined && { closed: true }),
    ...trafficView(traffic),
    ...(iface.listens === true && { total: trafficView(attachment.wholeTraffic), peers: attachment.peers }),
    ...(airtime !== undefined && { airtime }),
    ...(adapters !== undefined && { adapters }),
    ...(iface instanceof RNode && { radio: iface.facts() }),
  };
}

/** A radio that rations its airtime says how much of it is used. */
function airtimeOf(iface: Interface): InterfaceView['airtime'] {
  const rationed = iface as Interface & { airtime?: () => NonNullable<InterfaceView['airtime']> };
  return rationed.airtime?.();
}
