import { Counters } from '../../../src/lib/counters.ts';
import type { InterfaceHandle } from '../../../src/mesh/reticulum/dispatch.ts';
import { inboundOf } from '../../../src/mesh/reticulum/inbound.ts';
import { Ingress } from '../../../src/mesh/reticulum/ingress.ts';
import { decodePacket } from '../../../src/mesh/reticulum/packet.ts';
import { BridgeClock } from '../clock.ts';
import type { Command } from '../command.ts';
import { hex, textsOf } from '../params.ts';
import { instanceOf, mockOf } from './instance.ts';

/** How often what is held is let in here, ms. */
const releaseEvery = 1000;

/** The gate of one interface that a burst goes on at, on a clock that only moves when something is to be let in. */
export class HeldAnnounces {
  readonly #clock = new BridgeClock();
  readonly #held = new Set<string>();
  readonly #ingress: Ingress;
  readonly #iface: InterfaceHandle;

  constructor(iface: InterfaceHandle) {
    // What is too much is anything at all, and it is calm at once: only the order is looked at.
    const ingress = { announceRateYoung: Number.MIN_VALUE, calmTime: 0, penalty: releaseEvery, releaseEvery };
    this.#iface = { ...handleOf(iface), policy: { ingress } };
    this.#clock.hold();
    this.#ingress = new Ingress({
      clock: this.#clock,
      counters: new Counters(),
      release: ({ key }) => this.#held.delete(key),
    });
  }

  get keys(): readonly string[] {
    return [...this.#held];
  }

  hold(raw: Uint8Array): { readonly key: string; readonly hops: number } {
    const packet = decodePacket(raw);
    const key = hex(packet.destinationHash);
    if (this.#ingress.holds(key, inboundOf(packet, raw, this.#iface, undefined))) this.#held.add(key);
    return { key, hops: packet.hops };
  }

  /** Time goes on until one is let in. */
  async release(): Promise<void> {
    const before = this.#held.size;
    for (let tries = 0; tries < 100 && this.#held.size === before; tries++) {
      await this.#clock.advanceTo(this.#clock.monotonic() + releaseEvery);
      this.#clock.hold();
    }
  }
}

const handleOf = ({ name, mtu, bitrate, linkMtu, online }: InterfaceHandle): InterfaceHandle => ({
  name,
  mtu,
  bitrate,
  linkMtu,
  online,
});

export const holdAndRelease: Command = async params => {
  const { id, attachment } = mockOf(params);
  const gate = instanceOf(params).held.getOrInsertComputed(id, () => new HeldAnnounces(attachment));
  const hops: Record<string, number> = {};
  for (const text of textsOf(params, 'announces')) {
    const held = gate.hold(Uint8Array.fromHex(text));
    hops[held.key] = held.hops;
  }
  const before = gate.keys;
  await gate.release();
  const after = gate.keys;
  return {
    held_before: before,
    held_after: after,
    released: before.filter(key => !after.includes(key)),
    hops,
  };
};
