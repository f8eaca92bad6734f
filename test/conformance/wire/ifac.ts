import { connect } from 'node:net';
import { type AccessCode, accessKey } from '../../../src/mesh/reticulum/access-code.ts';
import { linkMtuOf } from '../../../src/mesh/reticulum/dispatch.ts';
import { Identity } from '../../../src/mesh/reticulum/identity.ts';
import { packetMtu } from '../../../src/mesh/reticulum/packet.ts';
import { leastBitrate } from '../../../src/radio/config.ts';
import { tcpBitrate, tcpMtu } from '../../../src/radio/tcp-client.ts';
import type { Commands } from '../command.ts';
import { bytesIf, bytesOf, hex, integerIf, textOf } from '../params.ts';
import { announceOf, strangerOf } from './aside.ts';
import { type Node, nodeOf } from './node.ts';
import { defaultIfacSize } from './settings.ts';
import { clientName, serverName } from './start.ts';
import { until } from './waiting.ts';

export const commands: Commands = {
  wire_ifac_compute(params) {
    const { settings } = nodeOf(params);
    const key = accessKey(settings);
    const size = integerIf(params, 'ifac_size') ?? settings.ifacSize;
    const signature = new Identity(key).sign(bytesOf(params, 'packet_data'));
    return {
      ifac_key: hex(key),
      ifac_size: size,
      signature: hex(signature),
      ifac: hex(signature.subarray(signature.length - size)),
    };
  },

  wire_ifac_signature(params) {
    const { policy, settings } = nodeOf(params);
    return {
      ifac_signature: hex(codeOf(policy.accessCode).signature),
      ifac_key: hex(accessKey(settings)),
      ifac_size: codeOf(policy.accessCode).size,
      default_ifac_size: defaultIfacSize,
    };
  },

  wire_interface_hw_mtu(params) {
    const own = interfaceOf(nodeOf(params));
    const fixed = own.mtu !== tcpMtu;
    return {
      hw_mtu: own.linkMtu,
      link_mtu_discovery: true,
      reticulum_mtu: packetMtu,
      autoconfigure_mtu: !fixed,
      fixed_mtu: fixed,
      class_hw_mtu: linkMtuOf(Number.POSITIVE_INFINITY, tcpMtu),
    };
  },

  wire_interface_bitrate(params) {
    return {
      bitrate: interfaceOf(nodeOf(params)).bitrate,
      bitrate_guess: tcpBitrate,
      minimum_bitrate: leastBitrate,
    };
  },

  /** A genuine frame, whole, cut, sealed or not, as a peer would bring it. */
  async wire_inject_raw_frame(params) {
    const node = nodeOf(params);
    const variant = textOf(params, 'variant');
    const destination = strangerOf(node, 'inject');
    const plain = announceOf(node, destination, bytesIf(params, 'app_data') ?? node.random.bytes(5));
    const code = node.policy.accessCode;
    const sizes = code === undefined ? {} : { ifac_size: code.size };
    if (variant === 'build_masked') {
      const raw = codeOf(code).seal(plain);
      return { dest_hash: destination.key, raw: hex(raw), frame_len: raw.length, ...sizes };
    }
    const external = variant === 'inject_external';
    const hash = external ? bytesOf(params, 'dest_hash', 16) : destination.hash;
    const frame = external
      ? bytesOf(params, 'raw')
      : frameOf(variant, plain, code, integerIf(params, 'trim_to'));
    node.wire.inject(await peerOf(node), frame);
    const path = await until(() => node.transport.path(hash), 300);
    return { dest_hash: hex(hash), frame_len: frame.length, learned: path !== undefined, ...sizes };
  },
};

function frameOf(
  variant: string,
  plain: Uint8Array,
  code: AccessCode | undefined,
  trimTo: number | undefined,
): Uint8Array {
  switch (variant) {
    case 'masked_full':
      return codeOf(code).seal(plain);
    case 'masked_short':
      return codeOf(code)
        .seal(plain)
        .subarray(0, 2 + codeOf(code).size);
    case 'plain_on_ifac':
    case 'plain_on_open':
      return plain;
    case 'min_short':
      return plain.subarray(0, trimTo ?? 2);
    default:
      throw new Error(`no such frame: ${variant}`);
  }
}

function codeOf(code: AccessCode | undefined): AccessCode {
  if (code === undefined) throw new Error('the interface has no access code');
  return code;
}

function interfaceOf(node: Node) {
  const own = [...node.transport.interfaces()].find(({ name }) => name === serverName || name === clientName);
  if (own === undefined) throw new Error('the node has no interface');
  return own;
}

/** An interface that a frame can come in over: where nobody has connected to our server, somebody does now. */
async function peerOf(node: Node): Promise<string> {
  const find = () => node.wire.running.find(name => name === clientName || name.startsWith(`${serverName}/`));
  const there = find();
  if (there !== undefined) return there;
  const port = node.port?.();
  if (port === undefined) throw new Error('nobody can connect to this node');
  const socket = connect({ host: '127.0.0.1', port });
  socket.on('error', () => {});
  socket.unref();
  const found = await until(find, 3000);
  if (found === undefined) throw new Error('nobody could connect');
  return found;
}
