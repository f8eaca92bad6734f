import type { Residence } from '../../gateway/bridge.ts';
import type { Address } from '../../gateway/message.ts';
import { codeOf, GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { encodeDeliveryAnnounce } from '../../mesh/lxmf/announce.ts';
import { deliveryHash } from '../../mesh/lxmf/peer-links.ts';
import type { OnMessage } from '../../mesh/lxmf/receiver.ts';
import type { LxmfRouter } from '../../mesh/lxmf/router.ts';
import type { LocalDestination } from '../../mesh/reticulum/destination.ts';
import {
  decodeIdentity,
  encodeIdentity,
  generateIdentity,
  type Identity,
} from '../../mesh/reticulum/identity.ts';

/** A delivery destination and the Identity it signs with. */
export interface OwnAddress {
  readonly identity: Identity;
  readonly destination: LocalDestination;
}

export interface AddressesParts {
  readonly random: Random;
  readonly log: Log;
  readonly router: LxmfRouter;
  readonly onMessage: OnMessage;
  /** It is served now, or its name has changed. */
  readonly announce: (destination: LocalDestination) => void;
}

/** The delivery destinations of local parties, each with an Identity of its own, beside the hub's. */
export class Addresses implements Residence {
  readonly #parts: AddressesParts;
  /** By address. */
  readonly #open = new Map<Address, OwnAddress & { name: string }>();
  #serving = false;

  constructor(parts: AddressesParts) {
    this.#parts = parts;
  }

  make(): { readonly address: Address; readonly key: Uint8Array } {
    const identity = generateIdentity(this.#parts.random);
    return { address: addressOf(identity), key: encodeIdentity(identity) };
  }

  open(resident: { readonly address: Address; readonly key: Uint8Array; readonly name: string }): void {
    const { address, name } = resident;
    const { log, router, onMessage, announce } = this.#parts;
    const before = this.#open.get(address);
    if (before !== undefined) {
      const renamed = before.name !== name;
      before.name = name;
      if (renamed && this.#serving) {
        announce(before.destination);
      }
      return;
    }
    try {
      const identity = decodeIdentity(resident.key);
      if (addressOf(identity) !== address) {
        throw new GatewayError('store/unavailable', 'a key is not that of its address');
      }
      const destination = router.destination({
        identity,
        appData: () => encodeDeliveryAnnounce(own.name),
        onMessage,
      });
      const own = { identity, destination, name };
      this.#open.set(address, own);
      if (this.#serving) {
        router.serve(destination);
        announce(destination);
      }
    } catch (error) {
      log.error({ code: codeOf(error), destination: address.slice(5, 13) }, 'an address cannot be served');
    }
  }

  close(address: Address): void {
    const own = this.#open.get(address);
    this.#open.delete(address);
    if (own !== undefined && this.#serving) {
      this.#parts.router.withdraw(own.destination);
    }
  }

  get(address: Address): OwnAddress | undefined {
    return this.#open.get(address);
  }

  /** All there are, in the order they were opened. */
  destinations(): LocalDestination[] {
    return [...this.#open.values()].map(({ destination }) => destination);
  }

  /** Takes messages for all of them from now on. */
  serve(): void {
    this.#serving = true;
    for (const { destination } of this.#open.values()) {
      this.#parts.router.serve(destination);
    }
  }

  /** Takes nothing more for any of them. */
  withdraw(): void {
    this.#serving = false;
    for (const { destination } of this.#open.values()) {
      this.#parts.router.withdraw(destination);
    }
  }
}

function addressOf(identity: Identity): Address {
  return `lxmf:${deliveryHash(identity.public).toHex()}`;
}
