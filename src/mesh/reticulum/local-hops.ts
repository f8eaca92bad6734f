import type { InterfaceHandle } from './dispatch.ts';
import { hashLength, maxHops } from './packet.ts';
import { pathRequestDestination } from './path-request.ts';
import { tunnelDestination } from './tunnel-wire.ts';

/*
 * Programs of one machine share a node: it is the instance, and the socket between them and it is no hop. So
 * what comes over that socket is as far as its sender says, and everything a program has lies 0 hops from its
 * instance and 1 hop from the instance's neighbours. Neighbours therefore send for a program as they would
 * for the instance itself, without its transport id, and the instance is to know where it belongs.
 *
 * Source: the rules of RNS 1.5.7, checked against it in test/interop/shared-instance.test.ts.
 */

/** Whether a program of this machine, which uses this node as its instance, is at the other end. */
export function isProgram(iface: InterfaceHandle | undefined): boolean {
  return iface?.policy?.local === 'programs';
}

/** Whether the node of this machine that this one uses as its instance is at the other end. */
export function isInstance(iface: InterfaceHandle | undefined): boolean {
  return iface?.policy?.local === 'instance';
}

/** How far a packet has come, by the hops it says. */
export function hopsOver(iface: InterfaceHandle, sent: number): number {
  return iface.policy?.local === undefined ? sent + 1 : sent;
}

/**
 * Whether what goes to a destination that many hops away is put in transport, addressed to the next node. A
 * neighbour of our instance is one hop away for us too, but it is the instance that has to send to it.
 */
export function isFar(hops: number, over: InterfaceHandle | undefined): boolean {
  return hops > 1 || (hops === 1 && isInstance(over));
}

/**
 * The hops in a packet of others as it leaves by an interface: the instance takes us for a program and does
 * not count the way to itself, so it is counted for it. 128 or more goes nowhere.
 */
export function hopsOnward(hops: number, out: InterfaceHandle): number {
  return isInstance(out) ? hops + 1 : hops;
}

/** A packet of others, made here, as it leaves by an interface; undefined where it has come as far as anything goes. */
export function countedFor(out: InterfaceHandle, packet: Uint8Array): Uint8Array | undefined {
  if (!isInstance(out)) {
    return packet;
  }
  const hops = hopsOnward(packet[1]!, out);
  if (hops >= maxHops) {
    return undefined;
  }
  const counted = packet.slice();
  counted[1] = hops;
  return counted;
}

/** Plain destinations that every node listens to itself: what is sent there is not spread among programs. */
const ofNodes: ReadonlySet<string> = new Set(
  [pathRequestDestination, tunnelDestination].map(hash => hash.toHex()),
);

/** Whether a plain packet to this destination (16 B) goes from programs to the neighbours, and back. */
export function isSpread(destination: Uint8Array): boolean {
  return destination.length === hashLength && !ofNodes.has(destination.toHex());
}
