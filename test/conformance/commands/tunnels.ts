import { utf8 } from '../../../src/lib/bytes.ts';
import { decodePacket, packetHash, sha256 } from '../../../src/mesh/reticulum/packet.ts';
import { decodeTunnelSynthesis } from '../../../src/mesh/reticulum/tunnel-wire.ts';
import type { Commands } from '../command.ts';
import { hex } from '../params.ts';
import { bringUp, epochOf, instanceOf, mockOf } from './instance.ts';

export const tunnelCommands: Commands = {
  // A node says who it is over a connection that it has just made.
  behavioral_synthesize_tunnel: async params => {
    const mock = mockOf(params);
    mock.iface.drain();
    mock.iface.dials = true;
    await bringUp(mock);
    const said = mock.iface.peek().at(-1);
    if (said === undefined) throw new Error('the node did not say who it is');
    // The test hands it to this very node as if another had said it.
    instanceOf(params).transport.forget(packetHash(said.packet));
    return { iface_id: mock.id, tunnel_id: hex(decodeTunnelSynthesis(decodePacket(said.packet).data).id) };
  },
  behavioral_read_tunnels: params => {
    const instance = instanceOf(params);
    const { paths } = instance.transport.tables;
    const tunnels = [...instance.transport.tunnels()].map(tunnel => {
      const mock = [...instance.mocks.values()].find(({ iface }) => iface.name === tunnel.interfaceName);
      return {
        tunnel_id: tunnel.id,
        interface_hash: mock ? hex(sha256(utf8(mock.iface.name))) : null,
        interface_id: mock?.id ?? null,
        expires: epochOf(instance, tunnel.expires),
        num_paths: [...paths.values()].filter(({ interfaceName }) => interfaceName === tunnel.pathName)
          .length,
      };
    });
    return { tunnels };
  },
};
