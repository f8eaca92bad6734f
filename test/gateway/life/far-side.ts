import type { Delivery } from '../../../src/gateway/bridge.ts';
import type { Address, Message, MessageId } from '../../../src/gateway/message.ts';

/** How a far side is for now. */
export const moods = ['well', 'well', 'away', 'loses', 'loses', 'slow', 'later', 'refuses'] as const;
export type Mood = (typeof moods)[number];

/** What goes over the air or the wire: the same bytes at every attempt where they were settled. */
export interface Packet extends Pick<Message, 'type' | 'text' | 'inReplyTo' | 'via'> {
  /** By which the far side knows it: nothing else tells it one packet from another. */
  readonly key: string;
  readonly delivery: string;
  readonly message: MessageId;
}

export function packetOf({ id, message }: Pick<Delivery, 'id' | 'message'>, key: string): Packet {
  const { type, text, inReplyTo, via } = message;
  return { key, delivery: id, message: message.id, type, text, via, ...(inReplyTo && { inReplyTo }) };
}

/** One address far away, and what it has heard. */
export class FarSide {
  readonly address: Address;
  /** Whether it drops what it has heard before. */
  readonly canTell: boolean;
  mood: Mood = 'well';
  /** Packets as they came in, without those it dropped. */
  readonly heard: (Packet & { readonly hub: string })[] = [];
  /** The words it shows, by message. */
  readonly shown = new Map<MessageId, string>();
  readonly #keys = new Set<string>();
  /** Messages it knows a change of: one that comes later than its change says nothing new. */
  readonly #changed = new Set<MessageId>();

  constructor(address: Address, canTell: boolean) {
    this.address = address;
    this.canTell = canTell;
  }

  /** False where it knew the packet. */
  hear(packet: Packet, hub: string): boolean {
    if (this.canTell && this.#keys.has(packet.key)) {
      return false;
    }
    this.#keys.add(packet.key);
    this.heard.push({ ...packet, hub });
    const { type, text, message, inReplyTo = '' } = packet;
    if (type === 'chat.edit') {
      this.#changed.add(inReplyTo);
      this.shown.set(inReplyTo, text);
    } else if (type === 'chat.redaction') {
      this.#changed.add(inReplyTo);
      this.shown.delete(inReplyTo);
    } else if (!this.#changed.has(message)) {
      this.shown.set(message, text);
    }
    return true;
  }
}
