import type { Duplex } from 'node:stream';
import type { Cancel, Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { mqttLimits } from './config.ts';
import type { Who } from './rights.ts';
import { matches } from './topics.ts';
import { encodePublish } from './wire.ts';

export interface SessionParts {
  /** Client name and MQTT client id: what a returning client is known by. */
  readonly id: string;
  readonly who: Who;
  /** Nothing of the session outlives the connection. */
  readonly clean: boolean;
  readonly stream: Duplex;
  /** Gives packet ids from the same row as the broker library does for this connection. */
  readonly nextPacketId: () => number;
  readonly clock: Clock;
  readonly counters: Counters;
}

/**
 * One connection of one client, for what the hub says to it alone: its inbox, the status of its messages,
 * its errors, the deliveries to its address. These never pass the broker's routing, so nobody else can
 * subscribe to them; they share one window, and whoever fills it waits. A client that leaves one of them
 * unacknowledged or unread for too long is disconnected, so that nothing waits for it for ever.
 */
export class Session {
  readonly id: string;
  readonly who: Who;
  readonly clean: boolean;
  /** Filter → granted QoS. */
  readonly filters = new Map<string, number>();
  readonly #stream: Duplex;
  readonly #nextPacketId: () => number;
  readonly #clock: Clock;
  readonly #counters: Counters;
  /** Unacknowledged, by packet id; the function takes whether the acknowledgement came. */
  readonly #inFlight = new Map<number, (acknowledged: boolean) => void>();
  #unwritten = 0;
  #waiting: (() => void)[] = [];
  #closed = false;

  constructor(parts: SessionParts) {
    this.id = parts.id;
    this.who = parts.who;
    this.clean = parts.clean;
    this.#stream = parts.stream;
    this.#nextPacketId = parts.nextPacketId;
    this.#clock = parts.clock;
    this.#counters = parts.counters;
    parts.stream.on('drain', () => this.#wake());
    parts.stream.once('close', () => this.close());
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** With which QoS the hub's own messages on this topic go to the client, at most 1; undefined without a subscription. */
  qosFor(topic: string): 0 | 1 | undefined {
    let best: 0 | 1 | undefined;
    for (const [filter, qos] of this.filters) {
      if (matches(filter, topic)) {
        best = qos > 0 ? 1 : (best ?? 0);
      }
    }
    return best;
  }

  /** Resolves when the window has room: true; or false when the connection is gone. */
  async room(signal?: AbortSignal): Promise<boolean> {
    while (!this.#closed && signal?.aborted !== true && !this.#hasRoom()) {
      await new Promise<void>(resolve => {
        const wake = () => {
          signal?.removeEventListener('abort', wake);
          resolve();
        };
        this.#waiting.push(wake);
        signal?.addEventListener('abort', wake, { once: true });
      });
    }
    return !this.#closed && signal?.aborted !== true;
  }

  /** Whether a message could be written at once. */
  get hasRoom(): boolean {
    return !this.#closed && this.#hasRoom();
  }

  /**
   * Writes a message; resolves with whether it was acknowledged (QoS 1) or written (QoS 0), and never rejects.
   * Ask for `room` before.
   */
  write(topic: string, payload: Uint8Array, qos: 0 | 1): Promise<boolean> {
    if (this.#closed) {
      return Promise.resolve(false);
    }
    return new Promise(resolve => {
      const cancel = this.#expectAnswer();
      const settle = (taken: boolean) => {
        cancel();
        resolve(taken);
      };
      if (qos === 0) {
        this.#unwritten += 1;
        this.#stream.write(encodePublish(topic, payload), error => {
          this.#unwritten -= 1;
          settle(error === undefined || error === null);
          this.#wake();
        });
        return;
      }
      const packetId = this.#freePacketId();
      this.#inFlight.set(packetId, settle);
      this.#stream.write(encodePublish(topic, payload, packetId));
    });
  }

  #expectAnswer(): Cancel {
    return this.#clock.after(mqttLimits.acknowledgeTimeout, () => {
      this.#counters.add('mqtt.session.silent');
      this.close();
    });
  }

  /** The client acknowledged a packet; ids of the broker's own deliveries pass without effect. */
  acknowledge(packetId: number): void {
    const settle = this.#inFlight.get(packetId);
    this.#inFlight.delete(packetId);
    settle?.(true);
    this.#wake();
  }

  /** Ends the connection, and with it everything that waits for it. */
  close(): void {
    if (this.#closed) {
      return;
    }
    this.#closed = true;
    for (const settle of this.#inFlight.values()) {
      settle(false);
    }
    this.#inFlight.clear();
    this.#wake();
    this.#stream.destroy();
  }

  #hasRoom(): boolean {
    return this.#inFlight.size + this.#unwritten < mqttLimits.window && !this.#stream.writableNeedDrain;
  }

  #freePacketId(): number {
    let packetId = this.#nextPacketId();
    while (this.#inFlight.has(packetId)) {
      packetId = this.#nextPacketId();
    }
    return packetId;
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) {
      wake();
    }
  }
}
