import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { SignatureThreads } from '../../lib/signature-threads.ts';
import type { Burden, Interface, Quality } from '../interface.ts';
import { Attachment } from './attachment.ts';
import type { InterfaceHandle } from './dispatch.ts';
import type { InterfacePolicy } from './interface-policy.ts';

export interface AttachmentsParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly receive: (
    from: InterfaceHandle,
    packet: Uint8Array,
    quality: Quality | undefined,
  ) => void | Promise<void>;
  /** See `AttachmentParts`. */
  readonly refused: (from: InterfaceHandle) => void | Promise<void>;
  readonly changed: (attachment: Attachment) => void;
  /** It is gone for good, or until it is attached again. */
  readonly detached: (attachment: Attachment) => void;
  /** See `TransportParts`. */
  readonly threads?: SignatureThreads | undefined;
}

/** All interfaces in use, the peers they found included. */
export class Attachments {
  readonly #parts: AttachmentsParts;
  readonly #attachments = new Map<string, Attachment>();

  constructor(parts: AttachmentsParts) {
    this.#parts = parts;
  }

  /** Throws `config/invalid` where the name is taken. */
  attach(iface: Interface, policy: InterfacePolicy): Attachment {
    const { clock, log, counters, receive, refused, changed, detached, threads } = this.#parts;
    if (this.#attachments.has(iface.name)) {
      throw new GatewayError('config/invalid', `two interfaces are called ${iface.name}`);
    }
    const attachment = new Attachment(iface, policy, {
      clock,
      log,
      counters,
      receive,
      refused,
      changed,
      threads,
      attachPeer: peer =>
        this.#attachments.has(peer.name) ? undefined : this.attach(peer, attachment.policy),
      detached: gone => {
        if (this.#attachments.get(gone.name) === gone) {
          this.#attachments.delete(gone.name);
          detached(gone);
        }
      },
    });
    this.#attachments.set(iface.name, attachment);
    return attachment;
  }

  values(): Iterable<Attachment> {
    return this.#attachments.values();
  }

  /** The interface of a name. */
  named(name: string): Attachment | undefined {
    return this.#attachments.get(name);
  }

  /** The interface of a name, if packets can leave by it now. */
  sending(name: string): Attachment | undefined {
    const attachment = this.#attachments.get(name);
    return attachment?.sends ? attachment : undefined;
  }

  /** All that packets can leave by now. */
  allSending(): Attachment[] {
    return [...this.#attachments.values()].filter(attachment => attachment.sends);
  }

  /** See `Attachment.pass`; a handle that was detached takes nothing. */
  pass(
    packet: Uint8Array,
    target: InterfaceHandle,
    burden: Burden,
    source: InterfaceHandle,
  ): Promise<void> | undefined {
    const attachment = this.#attachments.get(target.name);
    return attachment === target ? attachment.pass(packet, burden, source) : undefined;
  }

  /** Whether a medium took the packet; never rejects. A handle that was detached takes nothing. */
  async transmit(packet: Uint8Array, target: InterfaceHandle | 'all', burden?: Burden): Promise<boolean> {
    if (target === 'all') {
      return sendOver(this.allSending(), packet);
    }
    const attachment = this.#attachments.get(target.name);
    return attachment !== undefined && attachment === target && attachment.send(packet, burden);
  }
}

/** Whether any of them took the packet; never rejects. */
export async function sendOver(attachments: readonly Attachment[], packet: Uint8Array): Promise<boolean> {
  const taken = await Promise.all(attachments.map(attachment => attachment.send(packet)));
  return taken.includes(true);
}
