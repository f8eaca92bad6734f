import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import type { Random } from '../../lib/random.ts';
import type { Burden } from '../interface.ts';
import type { Attachments } from './attachments.ts';
import type { Inbound, InterfaceHandle } from './dispatch.ts';
import type { Identity } from './identity.ts';
import type { KnownDestinations } from './known.ts';
import { isProgram, isSpread } from './local-hops.ts';
import type { PathRequest } from './path-request.ts';
import type { PathTable } from './path-table.ts';
import { Qualities } from './qualities.ts';
import { Relay } from './relay.ts';
import type { SlotHash } from './slot-hash.ts';
import type { TableSizes } from './table-sizes.ts';
import { Transit } from './transit.ts';
import type { TransitLink, TransitLinkChange } from './transit-links.ts';

export interface ForwardingParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly counters: Counters;
  readonly identity: Identity;
  readonly slotHash: SlotHash;
  readonly paths: PathTable;
  readonly known: KnownDestinations;
  readonly attachments: () => Attachments;
  /** The interface that ways of a name lead over, if it is up. */
  readonly interfaceNamed: (pathName: string) => InterfaceHandle | undefined;
  /** Whether packets of everybody are passed on, and not only those of programs of this machine. */
  readonly forwards: boolean;
  /** Whether programs of this machine use this node. */
  readonly sharedInstance: boolean;
  /** ms that an answer to a path request may take. */
  readonly pathTimeout: () => number;
  /** Sends a packet made here over one interface. */
  readonly transmit: (packet: Uint8Array, iface: InterfaceHandle, burden: Burden) => void;
  readonly askOn: (request: PathRequest, iface: InterfaceHandle, burden: Burden) => void;
  /** See `TransitParts`. */
  readonly isOurs: (linkKey: string) => boolean;
  readonly forget: (hash: Uint8Array) => void;
  /** A link of others is there, or gone. */
  readonly linkChanged: (change: TransitLinkChange) => void;
  /** The destination (16 B) of a link request that came over `from` and was passed on did not answer, and is near. */
  readonly unanswered: (destination: Uint8Array, from: InterfaceHandle) => void;
}

/** What a node does for others: it carries their packets, and tells them the way. */
export interface Forwarding {
  readonly relay: Relay;
  readonly transit: Transit;
  /** How well what came in was heard, for programs that ask. */
  readonly qualities: Qualities | undefined;
  /** A plain packet came in that is for no node itself: programs hear it, and what they say the neighbours. */
  spread(inbound: Inbound): void;
  /** How full its tables are. */
  sizes(): TableSizes;
  /** An interface is gone. */
  dropOver(iface: InterfaceHandle): void;
  close(): void;
}

export function createForwarding(parts: ForwardingParts): Forwarding {
  const { counters, paths, attachments } = parts;
  const known = (key: string) => parts.known.get(key);
  const { interfaceNamed } = parts;
  const transportId = parts.identity.hash;
  const qualities = parts.sharedInstance ? new Qualities() : undefined;
  const relay = new Relay({
    ...parts,
    known,
    interfaceNamed,
    transportId,
    sending: () => attachments().allSending(),
    path(key) {
      // A way that nothing can go is told to nobody.
      const path = paths.get(key);
      return path && interfaceNamed(path.interfaceName) ? path : undefined;
    },
    over(key) {
      const interfaceName = paths.interfaceNameOf(key);
      return interfaceName === undefined ? undefined : interfaceNamed(interfaceName);
    },
  });
  const transit = new Transit({
    ...parts,
    known,
    transportId,
    interfaceOf: path => interfaceNamed(path.interfaceName),
    changed: parts.linkChanged,
    pass: (packet, out, burden, from) => attachments().pass(packet, out, burden, from),
    unproven(link) {
      counters.add('relay/link-unanswered');
      if (isNear(link)) {
        parts.unanswered(link.destinationHash, link.receivedOn);
      }
    },
  });
  return {
    relay,
    transit,
    qualities,
    spread({ packet, raw, iface }) {
      if (
        packet.packetType !== 'data' ||
        packet.propagation !== 'broadcast' ||
        !isSpread(packet.destinationHash)
      ) {
        return;
      }
      for (const other of attachments().allSending()) {
        if (other !== iface && (isProgram(iface) || isProgram(other))) {
          counters.add('local/spread');
          void other.pass(raw.slice(), isProgram(iface) ? 'own' : 'relayed', iface);
        }
      }
    },
    sizes: () => ({ ...relay.sizes(), ...transit.sizes() }),
    dropOver(iface) {
      relay.dropOver(iface);
      transit.dropOver(iface);
    },
    close() {
      relay.close();
      transit.close();
    },
  };
}

/** Whether nobody but this node is there to notice that the way is dead. */
function isNear({ takenHops, remainingHops }: TransitLink): boolean {
  return takenHops <= 1 || remainingHops <= 1;
}
