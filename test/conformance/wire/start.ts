import { toHex } from '../../../src/lib/bytes.ts';
import { LocalClient } from '../../../src/radio/local-client.ts';
import { sharedInstanceInterface } from '../../../src/radio/local-config.ts';
import { LocalServer } from '../../../src/radio/local-server.ts';
import { openPipe } from '../../../src/radio/pipe.ts';
import { TcpClient } from '../../../src/radio/tcp-client.ts';
import { TcpServer } from '../../../src/radio/tcp-server.ts';
import { createPipe } from '../../../src/radio/wired.ts';
import type { Commands, Params } from '../command.ts';
import { flagOf, hex, integerIf, integerOf, textIf, textOf } from '../params.ts';
import { createNode, type Node, nodeOf, takeNode, up } from './node.ts';
import { rpcKeyOf } from './posture.ts';
import { modeOf, settingsOf } from './settings.ts';
import { until } from './waiting.ts';

/** Interfaces of the suite's topologies: one of each kind for each node. */
export const serverName = 'server';
export const clientName = 'client';
const pipeName = 'pipe';
/** bit/s of a pipe in the reference's configuration. */
const pipeBitrate = 1_000_000;
const maxPrograms = 16;
/** ms for an interface to come up. */
const patience = 10_000;

export const commands: Commands = {
  async wire_start_tcp_server(params) {
    const isShared = flagOf(params, 'share_instance', false);
    const type = textIf(params, 'share_instance_type');
    if (type !== undefined && type !== 'tcp' && type !== 'unix') throw new Error(`no socket type: ${type}`);
    const node = createNode(settingsOf(params), { isShared });
    const port = await listen(node, params);
    return {
      ...started(node),
      port,
      transport_enabled: node.settings.forwards,
      ...(isShared ? await share(node, type ?? 'unix') : {}),
    };
  },

  async wire_start_tcp_client(params) {
    const node = createNode(settingsOf(params));
    const host = textOf(params, 'target_host');
    const port = integerOf(params, 'target_port');
    await up(node.attach(new TcpClient({ name: clientName, host, port, ...mediumOf(node) }, node)), patience);
    return started(node);
  },

  /** A program that uses the node of another bridge as its instance. */
  async wire_start_local_client(params) {
    const node = createNode(settingsOf({ enable_transport: false }), { isProgram: true });
    const place = { port: integerOf(params, 'shared_instance_port') };
    const client = new LocalClient({ name: sharedInstanceInterface, place }, node);
    await up(node.attach(client, { local: 'instance' }), patience);
    return started(node);
  },

  async wire_start_pipe_peer(params) {
    const node = createNode(
      settingsOf({ ...params, enable_transport: flagOf(params, 'enable_transport', false) }),
    );
    await up(node.attach(pipeOf(node, params)), patience);
    return started(node);
  },

  async wire_start_pipe_tcp_relay(params) {
    const node = createNode(settingsOf(params));
    const port = await listen(node, params);
    await up(node.attach(pipeOf(node, params)), patience);
    return { ...started(node), port };
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
    const { settings, isShared, isProgram } = nodeOf(params);
    return {
      transport_enabled: settings.forwards,
      is_shared_instance: isShared,
      is_connected_to_shared_instance: isProgram,
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

/** Lets peers connect to the node; returns the port. */
async function listen(node: Node, params: Params): Promise<number> {
  const port = integerIf(params, 'bind_port') ?? 0;
  const server = new TcpServer({ name: serverName, host: '127.0.0.1', port, ...mediumOf(node) }, node);
  await up(node.attach(server), patience);
  node.port = () => server.address?.port;
  const { address } = server;
  if (address === undefined) throw new Error('the server does not listen');
  return address.port;
}

/** Lets programs of this machine use the node. */
async function share(node: Node, type: 'tcp' | 'unix') {
  const name = `wire_${toHex(node.random.bytes(6))}`;
  const place = type === 'tcp' ? { port: 0 } : { name };
  const server = new LocalServer({ name: sharedInstanceInterface, place, maxPrograms }, node);
  await up(node.attach(server, { local: 'programs' }), patience);
  return {
    instance_name: name,
    share_instance_type: type,
    ...(server.port === undefined ? {} : { shared_instance_port: server.port, rpc_key: hex(rpcKeyOf(node)) }),
  };
}

/** A program between two named pipes, as the suite joins two nodes. */
function pipeOf(node: Node, params: Params) {
  const script = 'cat "$1" & cat > "$2"';
  const command = ['bash', '-c', script, 'bash', textOf(params, 'read_fifo'), textOf(params, 'write_fifo')];
  const open = () => openPipe(command, node.clock);
  return createPipe({ name: pipeName, bitrate: pipeBitrate }, { ...node, open });
}

/** What a configuration says of the medium itself. */
function mediumOf({ settings: { bitrate, fixedMtu } }: Node): { bitrate: number; fixedMtu?: number } {
  return { bitrate, ...(fixedMtu === undefined ? {} : { fixedMtu }) };
}

/** The interface that a node's peer is reached over: its own, or of a server the one of whoever connected first. */
export async function peerInterface(node: Node): Promise<string> {
  const listeners = [serverName, sharedInstanceInterface];
  const found = await until(() => node.wire.running.find(name => !listeners.includes(name)), 3000);
  if (found === undefined) throw new Error('nobody is connected');
  return found;
}
