import { toHex } from '../../lib/bytes.ts';
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

/** A packet as it came in. */
export function inboundOf(
  packet: Packet,
  raw: Uint8Array,
  iface: InterfaceHandle,
  quality: Quality | undefined,
): Inbound {
  return new CameIn(packet, raw, iface, quality);
}

/** Hash and key are made when they are asked for: parts of Resources, which are many and long, have no use for them. */
class CameIn implements Inbound {
  readonly packet: Packet;
  readonly raw: Uint8Array;
  readonly iface: InterfaceHandle;
  readonly quality: Quality | undefined;
  #hash: Uint8Array | undefined;
  #key: string | undefined;

  constructor(packet: Packet, raw: Uint8Array, iface: InterfaceHandle, quality: Quality | undefined) {
    this.packet = packet;
    this.raw = raw;
    this.iface = iface;
    this.quality = quality;
  }

  get hash(): Uint8Array {
    this.#hash ??= packetHash(this.raw);
    return this.#hash;
  }

  get key(): string {
    this.#key ??= toHex(this.packet.destinationHash);
    return this.#key;
  }

  get interfaceName(): string {
    return this.iface.name;
  }
}

/** A packet that came in earlier and was kept, in bytes of its own. Throws `wire/*`. */
export function inboundFrom(raw: Uint8Array, iface: InterfaceHandle, quality: Quality | undefined): Inbound {
  return inboundOf(decodePacket(raw, hopsOver(iface, 0)), raw, iface, quality);
}
