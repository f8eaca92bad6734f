import { type InterfaceMode, interfaceModes } from '../../../src/mesh/reticulum/interface-policy.ts';
import { TcpClient, tcpBitrate } from '../../../src/radio/tcp-client.ts';
import { TcpServer } from '../../../src/radio/tcp-server.ts';
import type { Commands, Params } from '../command.ts';
import { hex, integerIf, integerOf, textIf, textOf } from '../params.ts';
import { createNode, type Node, nodeOf, takeNode, up } from './node.ts';
import { until } from './waiting.ts';

/** Bytes of an access code over TCP, and how many bits a configuration must at least name. */
export const defaultIfacSize = 16;
const ifacSizeLeast = 8;
/** bit/s below which a configured bitrate is no bitrate. */
export const lowestBitrate = 5;
/** Interfaces of the suite's topologies: one for each node. */
export const serverName = 'server';
export const clientName = 'client';

/** What the reference calls modes, in our words. */
const modeNames: Readonly<Record<string, InterfaceMode>> = {
  full: 'full',
  access_point: 'access-point',
  accesspoint: 'access-point',
  ap: 'access-point',
  point_to_point: 'point-to-point',
  pointtopoint: 'point-to-point',
  ptp: 'point-to-point',
  roaming: 'roaming',
  boundary: 'boundary',
  gateway: 'gateway',
  gw: 'gateway',
  internal: 'internal',
};

export const commands: Commands = {
  async wire_start_tcp_server(params) {
    const node = createNode(settingsOf(params));
    const port = integerIf(params, 'bind_port') ?? 0;
    const server = new TcpServer({ name: serverName, host: '127.0.0.1', port, ...mediumOf(params) }, node);
    await up(node.attach(server), 10_000);
    node.port = () => server.address?.port;
    const address = server.address;
    if (address === undefined) throw new Error('the server does not listen');
    return { ...started(node), port: address.port, transport_enabled: node.forwards };
  },

  async wire_start_tcp_client(params) {
    const node = createNode(settingsOf(params));
    const host = textOf(params, 'target_host');
    const port = integerOf(params, 'target_port');
    await up(node.attach(new TcpClient({ name: clientName, host, port, ...mediumOf(params) }, node)), 10_000);
    return started(node);
  },

  wire_set_interface_mode(params) {
    const mode = textOf(params, 'mode');
    const node = nodeOf(params);
    node.policy.mode = modeOf(mode);
    return { mode };
  },

  async wire_stop(params) {
    const node = takeNode(params);
    await node?.stop();
    return { stopped: node !== undefined };
  },

  wire_tx_bytes(params) {
    const { transport } = nodeOf(params);
    return { tx_bytes: [...transport.interfaces()].reduce((sum, { traffic }) => sum + traffic.txBytes, 0) };
  },

  wire_transport_enabled(params) {
    const node = nodeOf(params);
    return {
      transport_enabled: node.forwards,
      is_shared_instance: false,
      is_connected_to_shared_instance: false,
    };
  },

  wire_get_received_packets(params) {
    const since = integerIf(params, 'since_seq') ?? 0;
    const { wire } = nodeOf(params);
    const packets = wire.received
      .filter(({ seq }) => seq > since)
      .map(({ seq, at, raw, interfaceName }) => ({
        seq,
        timestamp_ms: at,
        raw_hex: hex(raw),
        packet_type: raw.length >= 2 ? raw[0]! & 0x03 : null,
        destination_hash_hex: raw.length >= 18 ? hex(raw.subarray(2, 18)) : null,
        context: raw[18] ?? null,
        interface_name: interfaceName,
      }));
    return { packets, highest_seq: wire.lastSeq };
  },

  /** A seam that this stack has not: nothing happens between a link's proof and its first packet. */
  wire_set_race_inducer(params) {
    return { seam: textIf(params, 'seam') ?? null, delay_ms: integerIf(params, 'delay_ms') ?? 0 };
  },
};

function started(node: Node) {
  return { handle: node.handle, identity_hash: hex(node.identity.hash) };
}

function settingsOf(params: Params) {
  const bits = integerIf(params, 'ifac_size');
  const mode = textIf(params, 'mode');
  return {
    forwards: params.enable_transport !== false && params.enable_transport !== null,
    mode: mode === undefined || mode === '' ? undefined : modeOf(mode),
    networkName: textIf(params, 'network_name') || undefined,
    passphrase: textIf(params, 'passphrase') || undefined,
    ifacSize: bits !== undefined && bits >= ifacSizeLeast ? bits >> 3 : defaultIfacSize,
  };
}

/** What a configuration says of the medium itself. */
function mediumOf(params: Params): { bitrate?: number; fixedMtu?: number } {
  const bitrate = integerIf(params, 'bitrate');
  const fixedMtu = integerIf(params, 'fixed_mtu');
  return {
    bitrate: bitrate !== undefined && bitrate >= lowestBitrate ? bitrate : tcpBitrate,
    ...(fixedMtu === undefined ? {} : { fixedMtu }),
  };
}

export function modeOf(text: string): InterfaceMode {
  const mode = modeNames[text.trim().toLowerCase()];
  if (mode === undefined || !interfaceModes.includes(mode)) throw new Error(`no interface mode: ${text}`);
  return mode;
}

/** The interface that a node's peer is reached over: its own, or of a server the one of whoever connected first. */
export async function peerInterface(node: Node): Promise<string> {
  const found = await until(() => node.wire.running.find(name => name !== serverName), 3000);
  if (found === undefined) throw new Error('nobody is connected');
  return found;
}
