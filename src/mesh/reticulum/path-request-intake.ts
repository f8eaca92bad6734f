import { concat, toHex } from '../../lib/bytes.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Announcer } from './announcer.ts';
import type { Inbound, InterfaceHandle } from './dispatch.ts';
import { Duplicates } from './duplicates.ts';
import type { Forwarding } from './forwarding.ts';
import type { InboundQueue } from './inbound-queue.ts';
import type { Ingress } from './ingress.ts';
import type { Local, Locals } from './locals.ts';
import { packetHash, packetMtu, sha256 } from './packet.ts';
import { decodePathRequest } from './path-request.ts';
import type { SlotHash } from './slot-hash.ts';

export interface PathRequestIntakeParts {
  readonly log: Log;
  readonly counters: Counters;
  readonly locals: Locals;
  readonly announcer: Announcer;
  readonly heard: Duplicates;
  readonly slotHash: SlotHash;
  /** Undefined on a node that does nothing for others. */
  readonly forwarding: Forwarding | undefined;
  readonly ingress: Ingress;
  /** Where a request has its turn, which then comes back to `answer`. */
  readonly queue: () => InboundQueue;
  readonly transmit: (packet: Uint8Array, iface: InterfaceHandle) => Promise<boolean>;
}

/** Tags of path requests remembered, in each of two generations. */
const tagsKept = 16_000;

/** Takes the path requests of others: each once, in its turn, and answered here, by what is known, or by asking on. */
export class PathRequestIntake {
  readonly #parts: PathRequestIntakeParts;
  readonly #tags: Duplicates;

  constructor(parts: PathRequestIntakeParts) {
    this.#parts = parts;
    this.#tags = new Duplicates(tagsKept, parts.slotHash);
  }

  /** Tags of path requests remembered. */
  get tags(): number {
    return this.#tags.size;
  }

  /** Takes one that came in. Throws `wire/truncated`, `wire/malformed`. A promise asks its medium to wait. */
  take(inbound: Inbound): Promise<void> | undefined {
    const { locals, forwarding, counters, ingress, queue } = this.#parts;
    if (inbound.raw.length > packetMtu) {
      // It may have to wait, and nobody asks at such length.
      throw new GatewayError('wire/malformed', `path request of ${inbound.raw.length} bytes`);
    }
    const { destinationHash, tag } = decodePathRequest(inbound.packet.data);
    if (forwarding === undefined && locals.get(toHex(destinationHash)) === undefined) {
      return undefined;
    }
    const question = sha256(concat(destinationHash, tag));
    if (this.#tags.has(question)) {
      counters.add('mesh/duplicate');
      return undefined;
    }
    this.#tags.add(question);
    const limited = ingress.limitsPathRequest(inbound.iface);
    return queue().take(limited ? 'limited' : 'path-request', inbound);
  }

  /** Answers one, or has others asked; what it cost. `limited`: nothing is searched for it. */
  answer(inbound: Inbound, limited: boolean): number {
    const { locals, forwarding, ingress, announcer } = this.#parts;
    const { packet, iface } = inbound;
    const request = decodePathRequest(packet.data);
    const { destinationHash, tag } = request;
    const key = toHex(destinationHash);
    const local = locals.get(key);
    if (local === undefined) {
      ingress.asked(key);
      forwarding?.relay.requested(request, inbound, limited);
    } else if (local.destination.kind === 'single' && announcer.mayAnswer(local.destination, iface.name)) {
      void this.#announce(local, iface, toHex(tag));
    }
    return 1;
  }

  async #announce({ destination, ring }: Local, iface: InterfaceHandle, tag: string): Promise<void> {
    const { announcer, heard, transmit, counters, log } = this.#parts;
    try {
      const bytes = await announcer.answer(destination, ring, tag);
      heard.add(packetHash(bytes));
      await transmit(bytes, iface);
    } catch (error) {
      counters.add(codeOf(error));
      log.warn({ destination: destination.key.slice(0, 8), error }, 'a path request could not be answered');
    }
  }
}
