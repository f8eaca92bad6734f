import { LxmfBridge } from '../../../src/bridges/lxmf/bridge.ts';
import type { Delivery, Progress } from '../../../src/gateway/bridge.ts';
import {
  type Address,
  type Attachment,
  defaultLifetime,
  type Message,
} from '../../../src/gateway/message.ts';
import { toHex } from '../../../src/lib/bytes.ts';
import type { Clock } from '../../../src/lib/clock.ts';
import type { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import type { Random } from '../../../src/lib/random.ts';
import { LxmfRouter } from '../../../src/mesh/lxmf/router.ts';
import type { Identity } from '../../../src/mesh/reticulum/identity.ts';
import type { Links } from '../../../src/mesh/reticulum/links.ts';
import type { Transport } from '../../../src/mesh/reticulum/transport.ts';
import { MemoryPort } from './port.ts';

export interface BridgeNodeParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly counters: Counters;
  readonly transport: Transport;
  readonly links: Links;
  readonly identity: Identity;
  readonly displayName?: string;
}

/** A running LXMF bridge over a node, with a switch in memory behind it. */
export class BridgeNode implements AsyncDisposable {
  readonly port = new MemoryPort();
  readonly bridge: LxmfBridge;
  readonly router: LxmfRouter;
  readonly counters: Counters;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #deliveries = 0;

  constructor(parts: BridgeNodeParts) {
    const { clock, random, counters, transport, links, identity } = parts;
    this.counters = counters;
    this.#clock = clock;
    this.router = new LxmfRouter({ clock, log: silentLog, counters, transport, links });
    this.bridge = new LxmfBridge({
      clock,
      random,
      log: silentLog,
      counters,
      transport,
      identity,
      router: this.router,
      hubId: toHex(identity.hash),
      displayName: parts.displayName ?? 'Gateway',
    });
    this.#running = this.bridge.run(this.port, this.#stop.signal);
  }

  get address(): Address {
    return `lxmf:${this.bridge.address}`;
  }

  message(parts: Partial<Message> & { readonly to: Address }): Message {
    const now = this.#clock.now();
    const id = (this.#deliveries++).toString(16).padStart(32, '0');
    return {
      id,
      type: 'chat.message',
      from: 'app:test',
      sentAt: now,
      acceptedAt: now,
      expiresAt: now + defaultLifetime,
      priority: 'normal',
      text: '',
      attachments: [],
      via: [],
      assurance: 'hub',
      ...parts,
    };
  }

  /** A delivery of the message, under the message's own id: `remoteIds` finds it again. */
  delivery(message: Message, how: Partial<Delivery> = {}): Delivery {
    const delivery = { id: message.id, to: message.to, attempt: 1, message, ...how };
    this.port.recipients.set(delivery.id, delivery.to);
    return delivery;
  }

  send(
    parts: Partial<Message> & { readonly to: Address },
    signal = new AbortController().signal,
  ): Promise<Progress> {
    return this.bridge.deliver(this.delivery(this.message(parts)), signal);
  }

  async attach(name: string, mediaType: string, bytes: Uint8Array): Promise<Attachment> {
    return { name, mediaType, ...(await this.port.blobs.put(bytes)) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.router.close();
  }
}
