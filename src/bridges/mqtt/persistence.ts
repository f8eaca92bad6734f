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
  readonly incoming: Map<number, KeptPacket>;
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
 * Sessions and retained messages in memory, in the shape the broker library asks for, and bounded: its own
 * store lets the queue of an absent client grow for ever. Overflow is dropped and counted, newest first.
 */
export class Persistence {
  readonly #parts: PersistenceParts;
  readonly #sessions = new Map<string, KeptSession>();
  readonly #retained = new Map<string, KeptPacket>();
  readonly #wills = new Map<string, object>();
  #retainedBytes = 0;

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
    this.#sessions.delete(client.id);
  }

  async outgoingEnqueue(
    subscription: { readonly clientId: string; readonly qos?: number },
    packet: KeptPacket,
  ): Promise<void> {
    const session = this.#sessions.get(subscription.clientId);
    if (session === undefined) {
      return;
    }
    if (session.outgoing.length >= mqttLimits.queue) {
      this.#parts.counters.add('mqtt.queue.dropped');
      return;
    }
    const qos = Math.min(packet.qos, subscription.qos ?? packet.qos);
    session.outgoing.push({ ...packet, qos, messageId: undefined });
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
    const outgoing = this.#sessions.get(client.id)?.outgoing ?? [];
    for (const [index, kept] of outgoing.entries()) {
      if (kept.brokerId === packet.brokerId && kept.brokerCounter === packet.brokerCounter) {
        kept.messageId = packet.messageId;
        return;
      }
      if (packet.cmd === 'pubrel' && kept.messageId === packet.messageId) {
        outgoing[index] = packet;
        return;
      }
    }
  }

  async outgoingClearMessageId(client: Named, packet: KeptPacket): Promise<KeptPacket | undefined> {
    const outgoing = this.#sessions.get(client.id)?.outgoing ?? [];
    const index =
      packet.messageId === undefined ? -1 : outgoing.findIndex(kept => kept.messageId === packet.messageId);
    return index < 0 ? undefined : outgoing.splice(index, 1)[0];
  }

  outgoingStream(client: Named): Readable {
    return Readable.from([...(this.#sessions.get(client.id)?.outgoing ?? [])]);
  }

  async incomingStorePacket(client: Named, packet: KeptPacket): Promise<void> {
    this.#session(client).incoming.set(packet.messageId ?? 0, packet);
  }

  /** Rejects where there is none: that is how the library tells a new publish from a repeated one. */
  incomingGetPacket(client: Named, packet: KeptPacket): Promise<KeptPacket> {
    const kept = this.#sessions.get(client.id)?.incoming.get(packet.messageId ?? 0);
    return kept === undefined ? Promise.reject(notKept) : Promise.resolve(kept);
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
      this.#sessions.delete(client.id);
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
      incoming: new Map(),
    };
    this.#sessions.delete(id);
    this.#sessions.set(id, session);
    if (this.#sessions.size > mqttLimits.sessions) {
      this.#sessions.delete(this.#sessions.keys().next().value ?? '');
      this.#parts.counters.add('mqtt.sessions.forgotten');
    }
    return session;
  }
}

const notKept = new GatewayError('request/not-found', 'no handshake under this packet id');
