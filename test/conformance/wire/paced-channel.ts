import { Channel } from '../../../src/mesh/reticulum/channel.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import { contexts, decodePacket, packetHash } from '../../../src/mesh/reticulum/packet.ts';
import { benchOf } from './bench.ts';
import { twin } from './link-injectors.ts';
import type { Node } from './node.ts';

/**
 * A channel over a link whose round trip is what the test says. All else is the link's own: what it sends leaves over
 * the link's interface, sealed with its key, and the other end's proofs come back the same way.
 */
export function pacedChannel(node: Node, link: Link, rtt: number): Channel {
  const { packet, sign } = twin(node, link);
  const bench = benchOf(node, link, { rtt });
  const channel = new Channel(
    {
      ...bench,
      get usable() {
        return link.usable;
      },
      sendSealed(context, body, told) {
        const raw = packet(context, body);
        told?.before(packetHash(raw));
        void node.transport.transmit(raw, link.iface);
      },
      sendClear(type, context, body) {
        void node.transport.transmit(packet(context, body, { clear: true, type }), link.iface);
      },
      close: () => link.close(),
    },
    { sign, verify: (signature, message) => link.remote?.verify(signature, message) === true },
  );
  node.wire.listen(raw => {
    const received = decodePacket(raw);
    if (
      received.packetType === 'proof' &&
      received.context === contexts.none &&
      received.destinationHash.toHex() === link.key
    ) {
      channel.proof(received.data);
    }
  });
  return channel;
}
