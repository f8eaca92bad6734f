import type { Clock } from '../lib/clock.ts';
import type { Attachment } from '../mesh/reticulum/attachment.ts';
import type { IngressBursts } from '../mesh/reticulum/ingress.ts';
import type { BurstFacts, InterfaceFacts } from '../mesh/reticulum/interface-stats.ts';
import { Speeds } from '../mesh/reticulum/speeds.ts';
import type { Transport } from '../mesh/reticulum/transport.ts';
import type { AirtimeView } from '../radio/airtime.ts';
import type { InterfaceConfig } from '../radio/config.ts';
import { placeOf, sharedInstanceInterface } from '../radio/local-config.ts';
import { type LocalPlace, placeInWords } from '../radio/local-socket.ts';
import { RNode } from '../radio/rnode/rnode.ts';
import { addressOf } from './interfaces.ts';
import type { LiveInterface } from './live-interfaces.ts';
import type { NodeStatus } from './management.ts';

export interface NodeStatusParts {
  readonly clock: Clock;
  readonly transport: Transport;
  readonly interfaces: { list(): readonly LiveInterface[] };
  /** Whether packets of others are passed on. */
  readonly forwards: boolean;
  /** Where programs of this machine find the node, if they may. */
  readonly sharedPlace?: LocalPlace | undefined;
}

/** By the words of the reference: its tools sort and hide by them. */
interface Naming {
  readonly title: string;
  readonly type: string;
}

/** The node as tools of the reference see it. Nothing is measured while nobody asks. */
export function createNodeStatus(parts: NodeStatusParts): NodeStatus {
  const { clock, transport, forwards, sharedPlace } = parts;
  const speeds = new Speeds(clock);
  const began = clock.monotonic();

  function configs(): ReadonlyMap<string, InterfaceConfig> {
    return new Map(parts.interfaces.list().map(({ config }) => [config.name, config]));
  }

  /** Of a listener, what those that it found bring: it is limited through them. */
  function burstOf(kind: keyof IngressBursts, attachment: Attachment): BurstFacts | undefined {
    const listens = attachment.iface.listens === true;
    const begun = (listens ? foundBy(attachment) : [attachment])
      .map(one => transport.burstsOf(one)[kind])
      .filter(since => since !== undefined);
    if (begun.length === 0) {
      return undefined;
    }
    const since = clock.now() - (clock.monotonic() - Math.min(...begun));
    return { since, ...(listens && { count: begun.length }) };
  }

  function foundBy({ name }: Attachment): Attachment[] {
    return [...transport.interfaces()].filter(one => one.name.startsWith(`${name}/`));
  }

  function factsOf(attachment: Attachment, known: ReadonlyMap<string, InterfaceConfig>): InterfaceFacts {
    const { name, iface, policy } = attachment;
    const parent = parentOf(name, known);
    const naming = namingOf(name, known, sharedPlace, addressOf(iface));
    const traffic = attachment.wholeTraffic;
    const rationed = iface as typeof iface & { airtime?: () => AirtimeView };
    const radio = iface instanceof RNode ? iface.facts() : undefined;
    const isLan = known.get(name)?.kind === 'lan';
    return {
      name,
      ...naming,
      ...(parent !== undefined && { parent: namingOf(parent, known, sharedPlace).title }),
      ...(iface.listens === true && (isLan ? { peers: attachment.peers } : { clients: attachment.peers })),
      online: attachment.online,
      bitrate: Math.round(attachment.bitrate),
      mtu: attachment.mtu,
      policy,
      traffic,
      speed: speeds.of(attachment, traffic),
      bytesWaiting: attachment.queued,
      announcesWaiting: transport.announcesWaiting(attachment),
      announcesHeld: transport.announcesHeld(attachment),
      announceBurst: burstOf('announces', attachment),
      pathRequestBurst: burstOf('pathRequests', attachment),
      airtime: rationed.airtime?.(),
      noiseFloor: radio?.noiseFloor,
      loadPercent: radio?.loadPercent,
    };
  }

  return {
    facts() {
      const known = configs();
      return {
        interfaces: [...transport.interfaces()].map(attachment => factsOf(attachment, known)),
        transportId: forwards ? transport.identity.hash : undefined,
        uptime: clock.monotonic() - began,
        rss: process.memoryUsage.rss(),
      };
    },
    titleOf: name => namingOf(name, configs(), sharedPlace).title,
  };
}

/** The interface that found this one, where it was found: it is named after it, as `server/192.0.2.1:5000`. */
function parentOf(name: string, known: ReadonlyMap<string, InterfaceConfig>): string | undefined {
  const [parent = name] = name.split('/', 1);
  return parent === name || known.has(name) ? undefined : parent;
}

function namingOf(
  name: string,
  known: ReadonlyMap<string, InterfaceConfig>,
  sharedPlace: LocalPlace | undefined,
  listensAt?: string,
): Naming {
  const parent = parentOf(name, known);
  const what = name.slice((parent?.length ?? -1) + 1);
  if (parent === sharedInstanceInterface || name === sharedInstanceInterface) {
    const place = sharedPlace === undefined ? '' : placeInWords(sharedPlace);
    return parent === undefined
      ? { title: `Shared Instance[${place}]`, type: 'LocalServerInterface' }
      : { title: `LocalInterface[${place}]`, type: 'LocalClientInterface' };
  }
  if (parent !== undefined) {
    return known.get(parent)?.kind === 'lan'
      ? { title: `AutoInterfacePeer[${what}]`, type: 'AutoInterfacePeer' }
      : { title: `TCPInterface[Client on ${parent}/${what}]`, type: 'TCPClientInterface' };
  }
  const config = known.get(name);
  switch (config?.kind) {
    case 'tcp-client':
      return {
        title: `TCPInterface[${name}/${bracketed(config.host)}:${config.port}]`,
        type: 'TCPClientInterface',
      };
    case 'tcp-server': {
      const at = listensAt ?? `${bracketed(config.host)}:${config.port}`;
      return { title: `TCPServerInterface[${name}/${at}]`, type: 'TCPServerInterface' };
    }
    case 'lan':
      return { title: `AutoInterface[${name}]`, type: 'AutoInterface' };
    case 'udp':
      return { title: `UDPInterface[${name}/${config.listen}]`, type: 'UDPInterface' };
    case 'rnode':
      return { title: `RNodeInterface[${name}]`, type: 'RNodeInterface' };
    case 'serial':
      return { title: `SerialInterface[${name}]`, type: 'SerialInterface' };
    case 'kiss':
      return { title: `KISSInterface[${name}]`, type: 'KISSInterface' };
    case 'pipe':
      return { title: `PipeInterface[${name}]`, type: 'PipeInterface' };
    case 'shared': {
      const at = placeInWords(placeOf({ name: config.instance, port: config.port }));
      // Not by the reference's own word for it, LocalInterface, which its rnstatus hides.
      return { title: `SharedInterface[${name}/${at}]`, type: 'LocalClientInterface' };
    }
    default:
      return { title: `Interface[${name}]`, type: 'Interface' };
  }
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
