import { systemClock } from '../../../src/lib/clock.ts';
import { shortestAccessCode } from '../../../src/mesh/reticulum/access-code.ts';
import { linkMtuOf } from '../../../src/mesh/reticulum/dispatch.ts';
import { codeSizeDefault } from '../../../src/radio/config.ts';
import { tokenOf } from '../../../src/radio/lan/group.ts';
import { lanMtu } from '../../../src/radio/lan/peer.ts';
import { TcpClient } from '../../../src/radio/tcp-client.ts';
import type { Commands } from '../command.ts';
import { bytesOf, flagOf, hex, numberOf, textOf } from '../params.ts';

/** Kinds of interface of this program by the names of the reference's classes. */
const kinds = {
  SerialInterface: 'serial',
  KISSInterface: 'kiss',
  AX25KISSInterface: 'kiss',
  RNodeInterface: 'rnode',
  PipeInterface: 'pipe',
  TCPServerInterface: 'tcp-server',
  TCPClientInterface: 'tcp-client',
  UDPInterface: 'udp',
} as const;

/** Those of interfaces as they are made, where the kind alone says it. */
const mtus: Readonly<Record<string, () => number>> = {
  TCPInterface: () => new TcpClient(somewhere, parts).mtu,
  BackboneInterface: () => new TcpClient({ ...somewhere, backbone: true }, parts).mtu,
  AutoInterface: () => lanMtu,
};
const somewhere = { name: 'it', host: '127.0.0.1', port: 4242 };
const parts = { clock: systemClock };

/** Larger than any MTU: the interface's own does not decide. */
const anyMtu = Number.MAX_SAFE_INTEGER;

export const commands: Commands = {
  interface_default_ifac_size: () => ({
    default_ifac_size: Object.fromEntries(
      Object.entries(kinds).map(([name, kind]) => [name, codeSizeDefault(kind)]),
    ),
    ifac_min_size: shortestAccessCode,
  }),
  interface_hw_mtu: params => {
    const type = textOf(params, 'type');
    return Object.hasOwn(mtus, type) ? { hw_mtu: mtus[type]!() } : { error: `${type} has no MTU of its own` };
  },
  // An interface that is not asked for its bitrate keeps the link MTU of one packet, whatever the medium carries.
  interface_optimise_mtu: params => {
    const smallest = linkMtuOf(0, anyMtu);
    const mtu = linkMtuOf(flagOf(params, 'autoconfigure', true) ? numberOf(params, 'bitrate') : 0, anyMtu);
    return { hw_mtu: mtu === smallest ? null : mtu, unchanged: !flagOf(params, 'autoconfigure', true) };
  },
  auto_discovery_token: params => ({
    token: hex(tokenOf(bytesOf(params, 'group_id'), textOf(params, 'link_local_addr'))),
  }),
};
