import { Readable } from 'node:stream';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import { mqttLimits } from './config.ts';
import { matches } from './topics.ts';

/** A packet as the broker keeps it: a publish, or the PUBREL that follows one. */
export interface KeptPacket {
  cmd: string;
  topic: string;
  payload: Uint8Array;
  qos: number;
  retain: boolean;
  brokerId?: string;
  brokerCounter?: number;
  messageId?: number | undefined;
}

interface KeptSubscription {
  readonly topic: string;
  readonly qos: number;
}

interface KeptSession {
  readonly subscriptions: Map<string, KeptSubscription>;
  outgoing: KeptPacket[];
  /** Of `outgoing`. */
  bytes: number;
  /** Packet ids of QoS 2 publishes that were accepted and wait for their PUBREL, oldest first. */
  readonly incoming: Set<number>;
}

interface Named {
  readonly id: string;
}

export interface PersistenceParts {
  readonly counters: Counters;
  /** Called with every retained message that is kept (or cleared, by an empty payload). */
  readonly onRetained: (topic: string, payload: Uint8Array) => void;
  /** A client has finished the handshake of a QoS 2 publish. */
  readonly onReleased: (session: string, packetId: number) => void;
}

/**
 * Sessions and retained messages in memory, in the shape the broker library asks for, and bounded in messages
 * and bytes: its own store lets the queue of an absent client grow for ever. Overflow is dropped and counted,
 * newest first. What is kept is a copy: a payload is a view of everything that was read with it.
 */
export class Persistence {
  readonly #parts: PersistenceParts;
  readonly #sessions = new Map<string, KeptSession>();
  readonly #retained = new Map<string, KeptPacket>();
  readonly #wills = new Map<string, object>();
  #retainedBytes = 0;
  #queuedBytes = 0;

  constructor(parts: PersistenceParts) {
    this.#parts = parts;
  }

  async setup(): Promise<void> {}

  async storeRetained(packet: KeptPacket): Promise<void> {
    const { topic, payload } = packet;
    const before = this.#retained.get(topic)?.payload.length;
    const bytes = this.#retainedBytes - (before ?? 0) + payload.length;
    const isNew = before === undefined && payload.length > 0;
    if (bytes > mqttLimits.retainedBytes || (isNew && this.#retained.size >= mqttLimits.retainedTopics)) {
      this.#parts.counters.add('mqtt.retained.refused');
      return;
    }
    this.#retainedBytes = bytes;
    if (payload.length === 0) {
      this.#retained.delete(topic);
    } else {
      this.#retained.set(topic, { ...packet, payload: Buffer.from(payload) });
    }
    this.#parts.onRetained(topic, payload);
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(this.#retainedBy(filters));
  }

  *#retainedBy(filters: readonly string[]): Generator<KeptPacket> {
    for (const filter of filters) {
      const exact = /[+#]/.test(filter) ? undefined : this.#retained.get(filter);
      if (exact !== undefined) {
        yield exact;
      } else if (/[+#]/.test(filter)) {
        for (const [topic, packet] of this.#retained) {
          if (matches(filter, topic)) {
            yield packet;
          }
        }
      }
    }
  }

  async addSubscriptions(client: Named, subscriptions: readonly KeptSubscription[]): Promise<void> {
    const session = this.#session(client);
    for (const { topic, qos } of subscriptions) {
      session.subscriptions.set(topic, { topic, qos });
    }
  }

  async removeSubscriptions(client: Named, filters: readonly string[]): Promise<void> {
    for (const filter of filters) {
      this.#sessions.get(client.id)?.subscriptions.delete(filter);
    }
  }

  async subscriptionsByClient(client: Named): Promise<KeptSubscription[]> {
    return [...(this.#sessions.get(client.id)?.subscriptions.values() ?? [])];
  }

  /** One entry for each session, with the highest QoS of its matching filters. */
  async subscriptionsByTopic(topic: string): Promise<{ clientId: string; topic: string; qos: number }[]> {
    const found = [];
    for (const [clientId, session] of this.#sessions) {
      const matching = [...session.subscriptions.values()].filter(entry => matches(entry.topic, topic));
      const qos = Math.max(0, ...matching.map(entry => entry.qos));
      if (qos > 0) {
        found.push({ clientId, topic, qos });
      }
    }
    return found;
  }

  async cleanSubscriptions(client: Named): Promise<void> {
    this.#forget(client.id);
  }

  async outgoingEnqueue(
    subscription: { readonly clientId: string; readonly qos?: number },
    packet: KeptPacket,
  ): Promise<void> {
    const session = this.#sessions.get(subscription.clientId);
    if (session === undefined) {
      return;
    }
    const bytes = sizeOf(packet);
    if (
      session.outgoing.length >= mqttLimits.queue ||
      session.bytes + bytes > mqttLimits.queueBytes ||
      this.#queuedBytes + bytes > mqttLimits.queuesBytes
    ) {
      this.#parts.counters.add('mqtt.queue.dropped');
      return;
    }
    const qos = Math.min(packet.qos, subscription.qos ?? packet.qos);
    session.outgoing.push({ ...packet, payload: Buffer.from(packet.payload), qos, messageId: undefined });
    this.#account(session, bytes);
  }

  async outgoingEnqueueCombi(
    subscriptions: readonly { readonly clientId: string; readonly qos?: number }[],
    packet: KeptPacket,
  ): Promise<void> {
    for (const subscription of subscriptions) {
      await this.outgoingEnqueue(subscription, packet);
    }
  }

  /** A packet that is not kept (its queue was full) is sent all the same. */
  async outgoingUpdate(client: Named, packet: KeptPacket): Promise<void> {
    const session = this.#sessions.get(client.id);
    for (const [index, kept] of session?.outgoing.entries() ?? []) {
      // A PUBREL has no broker's number, and neither has the one of another handshake that is kept here.
      if (packet.cmd === 'pubrel' && kept.messageId === packet.messageId && session !== undefined) {
        session.outgoing[index] = packet;
        this.#account(session, sizeOf(packet) - sizeOf(kept));
        return;
      }
      if (
        packet.cmd !== 'pubrel' &&
        kept.brokerId === packet.brokerId &&
        kept.brokerCounter === packet.brokerCounter
      ) {
        kept.messageId = packet.messageId;
        return;
      }
    }
  }

  async outgoingClearMessageId(client: Named, packet: KeptPacket): Promise<KeptPacket | undefined> {
    const session = this.#sessions.get(client.id);
    if (session === undefined || packet.messageId === undefined) {
      return undefined;
    }
    const index = session.outgoing.findIndex(kept => kept.messageId === packet.messageId);
    const [cleared] = index < 0 ? [] : session.outgoing.splice(index, 1);
    this.#account(session, cleared === undefined ? 0 : -sizeOf(cleared));
    return cleared;
  }

  outgoingStream(client: Named): Readable {
    return Readable.from([...(this.#sessions.get(client.id)?.outgoing ?? [])]);
  }

  /**
   * Keeps the packet id and no more: the publish itself has been accepted by now. A session that comes back again
   * and again without its PUBRELs loses the oldest ids; the journal knows a repeat of those for a while.
   */
  async incomingStorePacket(client: Named, packet: KeptPacket): Promise<void> {
    const { incoming } = this.#session(client);
    incoming.add(packet.messageId ?? 0);
    if (incoming.size > mqttLimits.inboundHandshakes) {
      const [oldest = 0] = incoming;
      incoming.delete(oldest);
      this.#parts.counters.add('mqtt.handshakes.forgotten');
    }
  }

  /** Rejects where there is none: that is how the library tells a new publish from a repeated one. */
  incomingGetPacket(client: Named, packet: KeptPacket): Promise<Pick<KeptPacket, 'messageId'>> {
    const { messageId } = packet;
    const isKept = this.#sessions.get(client.id)?.incoming.has(messageId ?? 0);
    return isKept === true ? Promise.resolve({ messageId }) : Promise.reject(notKept);
  }

  incomingDelPacket(client: Named, packet: KeptPacket): Promise<void> {
    const packetId = packet.messageId ?? 0;
    if (this.#sessions.get(client.id)?.incoming.delete(packetId) !== true) {
      return Promise.reject(notKept);
    }
    this.#parts.onReleased(client.id, packetId);
    return Promise.resolve();
  }

  async cleanIncoming(client: Named): Promise<void> {
    const session = this.#sessions.get(client.id);
    session?.incoming.clear();
    if (session?.subscriptions.size === 0) {
      this.#forget(client.id);
    }
  }

  async putWill(client: Named, will: object): Promise<void> {
    this.#wills.set(client.id, will);
  }

  async delWill(client: Named): Promise<object | undefined> {
    const will = this.#wills.get(client.id);
    this.#wills.delete(client.id);
    return will;
  }

  /** Wills of brokers in other processes: there are none. */
  streamWill(): Readable {
    return Readable.from([]);
  }

  #session({ id }: Named): KeptSession {
    const session = this.#sessions.get(id) ?? {
      subscriptions: new Map(),
      outgoing: [],
      bytes: 0,
      incoming: new Set(),
    };
    this.#sessions.delete(id);
    this.#sessions.set(id, session);
    if (this.#sessions.size > mqttLimits.sessions) {
      this.#forget(this.#sessions.keys().next().value ?? '');
      this.#parts.counters.add('mqtt.sessions.forgotten');
    }
    return session;
  }

  #forget(id: string): void {
    const session = this.#sessions.get(id);
    if (session !== undefined) {
      this.#account(session, -session.bytes);
      this.#sessions.delete(id);
    }
  }

  #account(session: KeptSession, bytes: number): void {
    session.bytes += bytes;
    this.#queuedBytes += bytes;
  }
}

/** What a kept packet takes beside its topic and payload, bytes, about. */
const overhead = 256;

/** A PUBREL has neither topic nor payload. */
function sizeOf({ topic, payload }: Partial<KeptPacket>): number {
  return overhead + (topic?.length ?? 0) + (payload?.length ?? 0);
}

const notKept = new GatewayError('request/not-found', 'no handshake under this packet id');
