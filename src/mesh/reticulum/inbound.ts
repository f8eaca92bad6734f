import type { Quality } from '../interface.ts';
import type { Inbound, InterfaceHandle } from './dispatch.ts';
import { hopsOver } from './local-hops.ts';
import { contexts, decodePacket, type Packet, packetHash } from './packet.ts';

/** Contexts of link packets that may be the same twice: what is sent again is meant to be read again. */
const repeating: ReadonlySet<number> = new Set([
  contexts.keepalive,
  contexts.resourceRequest,
  contexts.resourceProof,
  contexts.resource,
  contexts.cacheRequest,
  contexts.channel,
]);

/** Whether a packet that is about this may come more than once: it is passed on again, and taken again where it is of a link. */
export function isRepeatable(context: number): boolean {
  return repeating.has(context);
}

/** A packet as it came in. The hash is made when it is asked for: parts of Resources, which are many and long, have no use for it. */
export function inboundOf(
  packet: Packet,
  raw: Uint8Array,
  iface: InterfaceHandle,
  quality: Quality | undefined,
): Inbound {
  let hash: Uint8Array | undefined;
  return {
    packet,
    raw,
    get hash() {
      hash ??= packetHash(raw);
      return hash;
    },
    interfaceName: iface.name,
    iface,
    quality,
  };
}

/** A packet that came in earlier and was kept, in bytes of its own. Throws `wire/*`. */
export function inboundFrom(raw: Uint8Array, iface: InterfaceHandle, quality: Quality | undefined): Inbound {
  const sent = decodePacket(raw);
  return inboundOf({ ...sent, hops: hopsOver(iface, sent.hops) }, raw, iface, quality);
}
