import { utf8 } from '../../lib/bytes.ts';
import { Float, type MsgpackValue } from '../../lib/msgpack.ts';
import { type InterfaceMode, type InterfacePolicy, interfaceModes } from './interface-policy.ts';
import { sha256 } from './packet.ts';
import type { Path } from './path-table.ts';
import type { Speed } from './speeds.ts';
import { standing } from './speeds.ts';
import type { Traffic } from './traffic.ts';

/**
 * The status of a node in the form that tools of the reference read: `interface_stats`, `path_table` and
 * `rate_table` of the RPC socket, `/status` and `/path` of remote management. What this node has no figure for is
 * nought or nil, because the tools stop without the key.
 *
 * Source: RNS 1.5.7, what its rnstatus and rnpath read (test/interop/management.test.ts).
 */
export interface InterfaceFacts {
  /** As configured, such as `uplink`. */
  readonly name: string;
  /** As the reference writes it, such as `TCPInterface[uplink/hub.example:4242]`: its tools sort and hide by it. */
  readonly title: string;
  /** The reference's class of it, such as `TCPClientInterface`. */
  readonly type: string;
  /** Title of the interface that found it. */
  readonly parent?: string | undefined;
  /** Connections of a listener; undefined for what does not listen. */
  readonly clients?: number | undefined;
  /** Neighbours of a LAN. */
  readonly peers?: number | undefined;
  readonly online: boolean;
  readonly bitrate: number;
  readonly mtu: number;
  readonly policy: InterfacePolicy;
  readonly traffic: Traffic;
  readonly speed: Speed;
  /** Bytes that wait for it. */
  readonly bytesWaiting?: number | undefined;
  /** Announces that wait for it. */
  readonly announcesWaiting?: number | undefined;
  /** Announces held back because too many came. */
  readonly announcesHeld?: number | undefined;
  /** What it, or those that it found, bring too much of now. */
  readonly announceBurst?: BurstFacts | undefined;
  readonly pathRequestBurst?: BurstFacts | undefined;
  /** Percent of the last 15 s and of the last hour. */
  readonly airtime?: { readonly shortPercent: number; readonly longPercent: number } | undefined;
  /** dBm */
  readonly noiseFloor?: number | undefined;
  readonly loadPercent?: number | undefined;
  /** Hex of the network identity whose announce brought it. */
  readonly discoveredBy?: string | undefined;
}

/** Too much of something, that lasts. */
export interface BurstFacts {
  /** Wall ms. */
  readonly since: number;
  /** Of a listener: over how many of its connections. */
  readonly count?: number | undefined;
}

/** A node, as its status tells. */
export interface NodeFacts {
  readonly interfaces: readonly InterfaceFacts[];
  /** Undefined where nothing is passed on. */
  readonly transportId?: Uint8Array | undefined;
  readonly networkId?: Uint8Array | undefined;
  /** Destination hash that answers probes. */
  readonly probeResponder?: Uint8Array | undefined;
  /** ms since it was started. */
  readonly uptime: number;
  /** Bytes of memory. */
  readonly rss?: number | undefined;
}

/** What `rnstatus` shows. */
export function interfaceStats(node: NodeFacts): MsgpackValue {
  const outer = node.interfaces.filter(({ parent }) => parent === undefined);
  const sum = (value: (facts: InterfaceFacts) => number) =>
    outer.reduce((total, facts) => total + value(facts), 0);
  return new Map<MsgpackValue, MsgpackValue>([
    ['interfaces', node.interfaces.map(oneInterface)],
    ['rxb', sum(({ traffic }) => traffic.rxBytes)],
    ['txb', sum(({ traffic }) => traffic.txBytes)],
    ['rxs', new Float(sum(({ speed }) => speed.rx))],
    ['txs', new Float(sum(({ speed }) => speed.tx))],
    ['arxb', sum(({ traffic }) => traffic.rxAnnounceBytes)],
    ['atxb', sum(({ traffic }) => traffic.txAnnounceBytes)],
    ['arxs', new Float(sum(({ speed }) => speed.rxAnnounce))],
    ['atxs', new Float(sum(({ speed }) => speed.txAnnounce))],
    ['arxf', new Float(sum(({ speed }) => speed.rxAnnounces))],
    ['atxf', new Float(sum(({ speed }) => speed.txAnnounces))],
    ['prxb', sum(({ traffic }) => traffic.rxPathRequestBytes)],
    ['ptxb', sum(({ traffic }) => traffic.txPathRequestBytes)],
    ['prxs', new Float(sum(({ speed }) => speed.rxPathRequest))],
    ['ptxs', new Float(sum(({ speed }) => speed.txPathRequest))],
    ['prxf', new Float(sum(({ speed }) => speed.rxPathRequests))],
    ['ptxf', new Float(sum(({ speed }) => speed.txPathRequests))],
    ['rxpps', new Float(sum(({ speed }) => speed.rxPackets))],
    ['txpps', new Float(sum(({ speed }) => speed.txPackets))],
    // Packets are taken as they come, the medium waiting where there are too many: there are no queues to be full.
    ...['rxqt', 'rxqd', 'rxqa', 'rxqp', 'rxqil', 'rxqtd', 'rxqdd', 'rxqad', 'rxqpd', 'rxqild'].map(noughtOf),
    ...['tqpressure', 'dqpressure', 'aqpressure', 'pqpressure', 'ilqpressure'].map(noughtOf),
    ['txq', null],
    ...(node.transportId === undefined
      ? []
      : ([
          ['transport_id', node.transportId],
          ['network_id', node.networkId ?? null],
          ['transport_uptime', new Float(node.uptime / 1000)],
          ['probe_responder', node.probeResponder ?? null],
        ] as const)),
    ['rss', node.rss ?? null],
  ]);
}

/** Bytes (32) by which tools of the reference know an interface. */
export function interfaceHash(title: string): Uint8Array {
  return sha256(utf8(title));
}

/** What `rnpath -t` shows; `titleOf` gives the title of an interface by its name. */
export function pathStats(
  paths: Iterable<Path>,
  titleOf: (interfaceName: string) => string,
  only: { readonly destination?: Uint8Array | undefined; readonly maxHops?: number | undefined } = {},
): MsgpackValue[] {
  const stats: MsgpackValue[] = [];
  const wanted = only.destination?.toHex();
  for (const path of paths) {
    const { destinationHash, hops } = path;
    if (hops > (only.maxHops ?? 255) || (wanted !== undefined && wanted !== destinationHash.toHex())) {
      continue;
    }
    stats.push(
      new Map<MsgpackValue, MsgpackValue>([
        ['hash', destinationHash],
        ['timestamp', new Float(path.heard / 1000)],
        ['via', path.nextHop],
        ['hops', hops],
        ['expires', new Float(path.expires / 1000)],
        ['interface', titleOf(path.interfaceName)],
      ]),
    );
  }
  return stats;
}

/** How often a destination has announced itself lately. */
export interface RateFacts {
  /** 16 B. */
  readonly destinationHash: Uint8Array;
  /** ms epoch of the last announce that was in order. */
  readonly last: number;
  readonly violations: number;
  /** ms epoch until when its announces are not passed on; 0 where they are. */
  readonly blockedUntil: number;
  /** ms epoch of its last announces, at most 16. */
  readonly heard: readonly number[];
}

/** What `rnpath -r` shows. */
export function rateStats(rates: Iterable<RateFacts>, destination?: Uint8Array): MsgpackValue[] {
  const stats: MsgpackValue[] = [];
  const wanted = destination?.toHex();
  for (const { destinationHash, last, violations, blockedUntil, heard } of rates) {
    if (wanted === undefined || wanted === destinationHash.toHex()) {
      stats.push(
        new Map<MsgpackValue, MsgpackValue>([
          ['hash', destinationHash],
          ['last', new Float(last / 1000)],
          ['rate_violations', violations],
          ['blocked_until', new Float(blockedUntil / 1000)],
          ['timestamps', heard.map(time => new Float(time / 1000))],
        ]),
      );
    }
  }
  return stats;
}

/** The reference's number of a mode. */
export function modeCode(mode: InterfaceMode | undefined): number {
  return interfaceModes.indexOf(mode ?? 'full') + 1;
}

function oneInterface(facts: InterfaceFacts): MsgpackValue {
  const { policy, traffic, speed = standing, airtime } = facts;
  const { rateTarget, rateGrace, ratePenalty } = policy.announce ?? {};
  const code = policy.accessCode;
  const optional: (readonly [string, MsgpackValue])[] = [];
  if (facts.parent !== undefined) {
    optional.push(
      ['parent_interface_name', facts.parent],
      ['parent_interface_hash', interfaceHash(facts.parent)],
    );
  }
  if (facts.peers !== undefined) {
    optional.push(['peers', facts.peers]);
  }
  if (airtime !== undefined) {
    optional.push(
      ['airtime_short', new Float(airtime.shortPercent)],
      ['airtime_long', new Float(airtime.longPercent)],
    );
  }
  if (facts.loadPercent !== undefined) {
    const load = new Float(facts.loadPercent);
    optional.push(['channel_load_short', load], ['channel_load_long', load]);
  }
  if (facts.noiseFloor !== undefined) {
    optional.push(['noise_floor', facts.noiseFloor]);
  }
  return new Map<MsgpackValue, MsgpackValue>([
    ['clients', facts.clients ?? null],
    ...optional,
    ['bitrate', facts.bitrate],
    ['rxs', new Float(speed.rx)],
    ['txs', new Float(speed.tx)],
    ['arxs', new Float(speed.rxAnnounce)],
    ['atxs', new Float(speed.txAnnounce)],
    ['prxs', new Float(speed.rxPathRequest)],
    ['ptxs', new Float(speed.txPathRequest)],
    ['ifac_signature', code?.signature ?? null],
    ['ifac_size', code?.size ?? null],
    ['ifac_netname', code?.networkName ?? null],
    ['autoconnect_source', facts.discoveredBy ?? null],
    ['announce_queue', facts.announcesWaiting ?? null],
    ['name', facts.title],
    ['short_name', facts.name],
    ['hash', interfaceHash(facts.title)],
    ['type', facts.type],
    ['mtu', facts.mtu],
    ['rxb', traffic.rxBytes],
    ['txb', traffic.txBytes],
    ['arxb', traffic.rxAnnounceBytes],
    ['atxb', traffic.txAnnounceBytes],
    ['arxc', traffic.rxAnnounces],
    ['atxc', traffic.txAnnounces],
    ['prxb', traffic.rxPathRequestBytes],
    ['ptxb', traffic.txPathRequestBytes],
    ['prxc', traffic.rxPathRequests],
    ['ptxc', traffic.txPathRequests],
    ['txdrp', traffic.txFailed],
    ['txdrb', traffic.txFailedBytes],
    ['txstalled', false],
    ['txbuffered', facts.bytesWaiting ?? 0],
    ['incoming_announce_frequency', new Float(speed.rxAnnounces)],
    ['outgoing_announce_frequency', new Float(speed.txAnnounces)],
    ['incoming_pr_frequency', new Float(speed.rxPathRequests)],
    ['outgoing_pr_frequency', new Float(speed.txPathRequests)],
    ['announce_rate_target', rateTarget === undefined ? null : Math.round(rateTarget / 1000)],
    ['announce_rate_penalty', ratePenalty === undefined ? null : Math.round(ratePenalty / 1000)],
    ['announce_rate_grace', rateGrace ?? null],
    ['held_announces', facts.announcesHeld ?? 0],
    ...burstOf('', facts.announceBurst),
    ...burstOf('pr_', facts.pathRequestBurst),
    ['status', facts.online],
    ['mode', modeCode(policy.mode)],
    ['gravity', 0],
    ['announces_to_internal', policy.announcesToInternal ?? null],
    ['protocol_violations', 0],
    ['ifac_violations', traffic.refused],
    ['packet_filter_hits', 0],
  ]);
}

function burstOf(kind: '' | 'pr_', facts: BurstFacts | undefined): (readonly [string, MsgpackValue])[] {
  return [
    [`${kind}burst_active`, facts !== undefined],
    [`${kind}burst_activated`, facts === undefined ? 0 : new Float(facts.since / 1000)],
    [`${kind}burst_count`, facts?.count ?? 0],
  ];
}

function noughtOf(key: string): readonly [string, MsgpackValue] {
  return [key, 0];
}
