import { GatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import type { InterfaceHandle } from './dispatch.ts';
import { isRepeatable } from './inbound.ts';
import type { HeldKeys, LinkKeys } from './link-keys.ts';
import type { Told } from './link-port.ts';
import { linkMdu } from './link-wire.ts';
import { encodePacket, packetHash } from './packet.ts';
import type { Sealer } from './resource-segment.ts';
import { openToken, sealToken, tokenIvLength } from './token.ts';
import type { Transport } from './transport.ts';

/** What both ends of a link have agreed on, and what it runs over. */
export interface LinkAgreement {
  /** The line wipes them at its end. */
  readonly keys: LinkKeys;
  readonly mtu: number;
  readonly iface: InterfaceHandle;
  /** Bytes that agreeing on it has cost. */
  readonly cost: number;
}

/** The line of a Link: its key, what fits a packet of it, and how packets leave over its interface. */
export class LinkLine implements Sealer {
  /** 16 B. */
  readonly id: Uint8Array;
  readonly #transport: Pick<Transport, 'transmit' | 'remember'>;
  readonly #random: Random;
  #agreed: LinkAgreement;
  #mdu: number;

  constructor(
    id: Uint8Array,
    agreed: LinkAgreement,
    parts: { readonly transport: Pick<Transport, 'transmit' | 'remember'>; readonly random: Random },
  ) {
    this.id = id;
    this.#agreed = agreed;
    this.#mdu = linkMdu(agreed.mtu);
    this.#transport = parts.transport;
    this.#random = parts.random;
  }

  get mtu(): number {
    return this.#agreed.mtu;
  }

  /** Plaintext that fits one packet. */
  get mdu(): number {
    return this.#mdu;
  }

  get iface(): InterfaceHandle {
    return this.#agreed.iface;
  }

  get cost(): number {
    return this.#agreed.cost;
  }

  /** What of its keys is there. */
  get held(): HeldKeys {
    return this.#agreed.keys.held;
  }

  /** The other end has answered: its cost comes on top. */
  agree(agreed: LinkAgreement): void {
    this.#agreed = { ...agreed, cost: this.#agreed.cost + agreed.cost };
    this.#mdu = linkMdu(agreed.mtu);
  }

  /** Wipes the keys: nothing is sealed or opened any more. */
  end(): void {
    this.#agreed.keys.wipe();
  }

  seal(plaintext: Uint8Array, ahead?: Uint8Array): Uint8Array {
    return sealToken(this.#agreed.keys.key, plaintext, this.#random.bytes(tokenIvLength), ahead);
  }

  open(token: Uint8Array): Uint8Array {
    return openToken(this.#agreed.keys.key, token);
  }

  /** Sends data as it is. Throws `mesh/too-large` where it does not fit the link's MTU. */
  send(packetType: 'data' | 'proof', context: number, data: Uint8Array, told?: Told): void {
    const raw = encodePacket({
      hops: 0,
      contextFlag: false,
      propagation: 'broadcast',
      destinationType: 'link',
      packetType,
      destinationHash: this.id,
      context,
      data,
    });
    if (raw.length > this.mtu) {
      throw new GatewayError('mesh/too-large', `packet of ${raw.length} bytes on a link of ${this.mtu}`);
    }
    const repeat = isRepeatable(context);
    if (told === undefined && repeat) {
      void this.#transport.transmit(raw, this.iface);
      return;
    }
    const hash = packetHash(raw);
    if (!repeat) {
      // Both ends have one key: what a relay on the same air passes on would be read as the other end's.
      this.#transport.remember(hash);
    }
    if (told === undefined) {
      void this.#transport.transmit(raw, this.iface);
      return;
    }
    told.before(hash);
    void this.#transport.transmit(raw, this.iface).then(taken => {
      if (!taken) {
        told.refused?.(hash);
      }
    });
  }
}
