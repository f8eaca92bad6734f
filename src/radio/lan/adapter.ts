import { codeOf, GatewayError } from '../../lib/errors.ts';
import type { DatagramSource, Datagrams, Network } from '../network.ts';
import type { Place } from './adapters.ts';
import { type Group, multicastAddress, tokenOf } from './group.ts';

export interface AdapterOptions {
  readonly network: Network;
  readonly group: Group;
  /** UDP; what a peer is told alone comes to the one above. */
  readonly discoveryPort: number;
  /** UDP; the same at every member: packets go there whatever port they come from. */
  readonly dataPort: number;
  /** What came to the group, or to us `alone`, from an address without the adapter. */
  readonly onDiscovery: (datagram: Uint8Array, from: string, alone: boolean) => void;
  readonly onPacket: (packet: Uint8Array, from: string) => void;
  readonly onFailure: (error: GatewayError) => void;
}

/** The sockets on one network adapter: one hears the group, one what is told to us alone, one carries packets. */
export interface OpenAdapter {
  readonly place: Place;
  /** Says to the group that we are here. See `Datagrams.send` for what it rejects with, as all below. */
  announce(): Promise<void>;
  /** Says it to one member, who may not hear the group. */
  tell(peer: string): Promise<void>;
  send(packet: Uint8Array, peer: string): Promise<void>;
  /** Joins the group anew. Throws `radio/offline`. */
  rejoin(): void;
  close(): Promise<void>;
}

/**
 * Opens the sockets on an adapter, all or none; rejects with `radio/offline`, in words.
 *
 * Source: RNS 1.5.7, AutoInterface, and what it says on a wire.
 */
export async function openAdapter(place: Place, options: AdapterOptions): Promise<OpenAdapter> {
  const { network, group, discoveryPort, dataPort, onFailure: failed } = options;
  const { adapter, address } = place;
  const multicast = multicastAddress(group);
  const own = tokenOf(group.name, address);
  const here = `${address}%${adapter}`;
  await using opened = new AsyncDisposableStack();
  const open = async (socket: Parameters<Network['open']>[0]): Promise<Datagrams> => {
    try {
      const datagrams = await network.open(socket);
      opened.defer(() => datagrams.close());
      return datagrams;
    } catch (cause) {
      const { message } = cause as Error;
      throw new GatewayError(codeOf(cause), `UDP port ${socket.port}: ${message}`, {
        retryable: true,
        cause,
      });
    }
  };
  // The one that nobody else can have comes first: it tells whether this place is free.
  const data = await open({
    address: here,
    port: dataPort,
    receive: fromHere(place, options.onPacket),
    failed,
  });
  // What is said from it has the link-local address as its source, of which the token speaks.
  const alone = await open({
    address: here,
    port: discoveryPort + 1,
    shared: true,
    multicastBy: adapter,
    receive: fromHere(place, (datagram, from) => options.onDiscovery(datagram, from, true)),
    failed,
  });
  const all = await open({
    address: group.scope === 'link' ? `${multicast}%${adapter}` : multicast,
    port: discoveryPort,
    shared: true,
    join: { group: multicast, adapter },
    receive: fromHere(place, (datagram, from) => options.onDiscovery(datagram, from, false)),
    failed,
  });
  const owned = opened.move();
  return {
    place,
    announce: () => alone.send(own, discoveryPort, multicast),
    tell: peer => alone.send(own, discoveryPort + 1, `${peer}%${adapter}`),
    send: (packet, peer) => data.send(packet, dataPort, `${peer}%${adapter}`),
    rejoin: () => all.rejoin(),
    close: () => owned.disposeAsync(),
  };
}

/** Only what came by this adapter: a group wider than the link is heard on the socket of every adapter. */
function fromHere(
  { adapter, index }: Place,
  receive: (bytes: Uint8Array, from: string) => void,
): (bytes: Uint8Array, from: DatagramSource) => void {
  return (bytes, { address }) => {
    const [bare = '', zone] = address.split('%');
    if (zone === undefined || zone === adapter || zone === String(index)) {
      receive(bytes, bare);
    }
  };
}
