import { silentLog } from '../../../src/lib/log.ts';
import { encodeDeliveryAnnounce } from '../../../src/mesh/lxmf/announce.ts';
import { encodeMessage, type LxmfFields, type PackedMessage } from '../../../src/mesh/lxmf/message.ts';
import type { ReceivedMessage } from '../../../src/mesh/lxmf/receiver.ts';
import { LxmfRouter } from '../../../src/mesh/lxmf/router.ts';
import type { SendOptions } from '../../../src/mesh/lxmf/sender.ts';
import type { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { generateIdentity, type Identity } from '../../../src/mesh/reticulum/identity.ts';
import { type Node, type Nodes, type NodesOptions, twoNodes } from '../reticulum/link-nodes.ts';

/** A node with a router and one delivery destination. */
export interface LxmfNode extends Node {
  readonly router: LxmfRouter;
  readonly identity: Identity;
  readonly local: LocalDestination;
  readonly inbox: ReceivedMessage[];
  /** What taking a message comes to; may be replaced. */
  take: (received: ReceivedMessage) => Promise<void>;
  announce(): Promise<void>;
  pack(to: Uint8Array, text: string, fields?: LxmfFields): PackedMessage;
  send(packed: PackedMessage, options?: Partial<SendOptions>): Promise<'delivered'>;
}

export interface LxmfNodes extends AsyncDisposable {
  readonly nodes: Nodes;
  readonly a: LxmfNode;
  readonly b: LxmfNode;
}

/** Two nodes that write to each other; neither has heard of the other yet. */
export function twoRouters(options: NodesOptions = {}): LxmfNodes {
  const nodes = twoNodes(options);
  const a = withRouter(nodes, nodes.a);
  const b = withRouter(nodes, nodes.b);
  return { nodes, a, b, [Symbol.asyncDispose]: () => nodes[Symbol.asyncDispose]() };
}

function withRouter(nodes: Nodes, node: Node): LxmfNode {
  const { clock } = nodes;
  const { transport, links, counters, random } = node;
  const router = new LxmfRouter({ clock, log: silentLog, counters, transport, links });
  const identity = generateIdentity(random);
  const inbox: ReceivedMessage[] = [];
  const local = router.destination({
    identity,
    appData: () => encodeDeliveryAnnounce('node'),
    onMessage: received => made.take(received),
  });
  router.serve(local);
  const made: LxmfNode = {
    ...node,
    router,
    identity,
    local,
    inbox,
    take: async received => {
      inbox.push(received);
    },
    async announce() {
      await transport.announce(local);
      await clock.advance(20);
    },
    pack(to, text, fields = new Map()) {
      const timestamp = clock.now() / 1000;
      const content = new TextEncoder().encode(text);
      return encodeMessage(
        { destination: to, source: local.hash, timestamp, title: new Uint8Array(), content, fields },
        identity,
      );
    },
    send({ packed }, how = {}) {
      return router.send(packed, { signal: new AbortController().signal, ...how });
    },
  };
  return made;
}
