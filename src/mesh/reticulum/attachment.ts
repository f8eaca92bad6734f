import type { Cancel, Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Service } from '../../lib/service.ts';
import type { SignatureThreads } from '../../lib/signature-threads.ts';
import { type Burden, type Hold, type Interface, type Quality, taken, type Urgency } from '../interface.ts';
import { AccessGate } from './access-gate.ts';
import { type InterfaceHandle, linkMtuOf } from './dispatch.ts';
import type { InterfacePolicy } from './interface-policy.ts';
import { SlowLine } from './slow-line.ts';
import { isAnnounce, type Traffic, TrafficCount } from './traffic.ts';

export interface AttachmentParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly receive: (
    from: Attachment,
    packet: Uint8Array,
    quality: Quality | undefined,
  ) => void | Promise<void>;
  /** A packet came without the network's access code, which took as long to find out as a signature. */
  readonly refused: (from: Attachment) => void | Promise<void>;
  /** It went up or down. */
  readonly changed: (attachment: Attachment) => void;
  /** Attaches a peer that this interface found; undefined where its name is taken. */
  readonly attachPeer: (peer: Interface) => Attachment | undefined;
  readonly detached: (attachment: Attachment) => void;
  /** See `TransportParts`. */
  readonly threads: SignatureThreads | undefined;
}

/** bit/s from which a medium may make senders wait. */
const fastBitrate = 1_000_000;
/** Bytes on their way out of a fast medium before senders wait. */
const fastQueue = 512 * 1024;
/** ms that a sender waits for a medium that takes nothing: one peer that does not read must not stop all others. */
const fastPatience = 1000;

/** An interface in use: whether it is up, what it carried, and the peers it found. */
export class Attachment implements InterfaceHandle {
  /** To be supervised by whoever attached it. */
  readonly service: Service;
  readonly attachedAt: number;
  readonly #parts: AttachmentParts;
  readonly #detach = new AbortController();
  readonly #peers = new Map<Attachment, Promise<void>>();
  #iface: Interface;
  #policy: InterfacePolicy;
  readonly #traffic = new TrafficCount();
  /** What peers carried that are gone. */
  readonly #gone = new TrafficCount();
  #online = false;
  /** Bytes that the medium has not taken yet, and who waits until they are fewer. */
  #waiting = 0;
  #relief: PromiseWithResolvers<void> | undefined;
  #cancelRelief: Cancel | undefined;
  #gate: AccessGate | undefined;
  /** Senders have waited in vain: nobody waits until there is room again. */
  #stalled = false;
  /** What is passed on while its bitrate is low. */
  #slow: SlowLine | undefined;

  constructor(iface: Interface, policy: InterfacePolicy, parts: AttachmentParts) {
    this.#iface = iface;
    this.#policy = policy;
    this.#parts = parts;
    this.attachedAt = parts.clock.monotonic();
    this.service = { name: iface.name, run: (ready, signal) => this.#run(ready, signal) };
  }

  get name(): string {
    return this.#iface.name;
  }

  /** The medium it has now. */
  get iface(): Interface {
    return this.#iface;
  }

  get policy(): InterfacePolicy {
    return this.#policy;
  }

  get mtu(): number {
    return this.iface.mtu;
  }

  get bitrate(): number {
    return this.policy.bitrate ?? this.iface.bitrate;
  }

  get backlog(): number {
    return this.iface.backlog ?? 0;
  }

  get shared(): boolean {
    return this.iface.shared === true;
  }

  get linkMtu(): number {
    return linkMtuOf(this.bitrate, this.iface.mtu);
  }

  get online(): boolean {
    return this.#online;
  }

  /** Whether packets are sent over it now. */
  get sends(): boolean {
    return this.#online && this.policy.outgoing !== false && this.iface.listens !== true;
  }

  get traffic(): Traffic {
    return this.#traffic.now;
  }

  /** Peers that it found and has now. */
  get peers(): number {
    return this.#peers.size;
  }

  /** Its traffic and that of the peers it found, those that are gone among them. */
  get wholeTraffic(): Traffic {
    const whole = new TrafficCount();
    whole.add(this.traffic);
    whole.add(this.#gone.now);
    for (const peer of this.#peers.keys()) {
      whole.add(peer.traffic);
    }
    return whole.now;
  }

  /** Bytes passed on for others that the medium has not taken yet. */
  get queued(): number {
    return this.#waiting + (this.#slow?.size ?? 0);
  }

  /**
   * Goes on with another medium of the same name, from its next run on: paths, links and counts stay as they do over a
   * connection that breaks and comes back. Throws `config/invalid` for another name or while it is up.
   */
  change(iface: Interface): void {
    if (iface.name !== this.name || this.#online) {
      throw new GatewayError('config/invalid', `${this.name} cannot become ${iface.name} now`);
    }
    this.#iface = iface;
  }

  /** It is used so from now on, and so are the peers that it has found: nothing is reconnected. */
  govern(policy: InterfacePolicy): void {
    this.#policy = policy;
    for (const peer of this.#peers.keys()) {
      peer.govern(policy);
    }
  }

  /** Stops it and its peers, and forgets it and the paths over it. Its supervision is to be ended first. */
  detach(): void {
    this.#detach.abort();
    this.#parts.detached(this);
  }

  /**
   * Sends what is passed on for others; the bytes change owner. A promise asks whoever brings it to wait until the
   * medium has room. A medium so slow that everything else would wait with it has a short queue instead, in which
   * `source`, the interface that it came over, has its turn, and what does not fit is dropped and counted.
   */
  pass(packet: Uint8Array, burden: Burden, source: InterfaceHandle): Promise<void> | undefined {
    if (this.bitrate < fastBitrate) {
      this.#slowLine().pass(packet, burden, source.name);
      return undefined;
    }
    if (this.#stalled && this.#waiting + packet.length > fastQueue) {
      this.#parts.counters.add('relay/queue-full');
      return undefined;
    }
    const { length } = packet;
    const sending = this.#send(packet, burden);
    if (typeof sending === 'boolean') {
      return undefined;
    }
    this.#waiting += length;
    void sending.then(() => {
      this.#waiting -= length;
      if (this.#waiting < fastQueue / 2) {
        this.#stalled = false;
        this.#relieve();
      }
    });
    if (this.#waiting < fastQueue) {
      return undefined;
    }
    if (this.#relief === undefined) {
      this.#relief = Promise.withResolvers<void>();
      this.#cancelRelief = this.#parts.clock.after(fastPatience, () => {
        this.#stalled = true;
        this.#relieve();
      });
    }
    return this.#relief.promise;
  }

  #slowLine(): SlowLine {
    this.#slow ??= new SlowLine({
      clock: this.#parts.clock,
      counters: this.#parts.counters,
      bitrate: () => this.bitrate,
      send: (packet, burden) => this.#send(packet, burden),
    });
    return this.#slow;
  }

  /** Who waits for room goes on. */
  #relieve(): void {
    this.#cancelRelief?.();
    this.#relief?.resolve();
    this.#relief = undefined;
  }

  /** What keeps a message from being begun over it now; see `Interface.hold`. */
  hold(bytes: number, urgency: Urgency): Hold | undefined {
    return this.iface.hold?.(bytes, urgency);
  }

  /** Whether the medium took the packet. Never rejects: why not is counted by code. */
  async send(packet: Uint8Array, burden?: Burden): Promise<boolean> {
    return this.#send(packet, burden);
  }

  /** Whether the medium took it, at once where that is known at once: most packets of others leave so. */
  #send(packet: Uint8Array, burden?: Burden): boolean | Promise<boolean> {
    if (!this.sends) {
      this.#parts.counters.add('radio/offline');
      return false;
    }
    const { accessCode } = this.policy;
    return accessCode === undefined
      ? this.#put(packet, packet, burden)
      : this.#gates().seal(accessCode, packet, sealed => this.#put(packet, sealed, burden));
  }

  #put(packet: Uint8Array, sealed: Uint8Array, burden: Burden | undefined): boolean | Promise<boolean> {
    try {
      const sending = this.iface.send(sealed, burden ?? (isAnnounce(packet) ? 'announce' : 'own'));
      return sending === taken
        ? this.#sent(packet)
        : sending.then(
            () => this.#sent(packet),
            (error: unknown) => this.#failed(packet, error),
          );
    } catch (error) {
      return this.#failed(packet, error);
    }
  }

  #sent(packet: Uint8Array): true {
    this.#traffic.sent(packet);
    return true;
  }

  #failed(packet: Uint8Array, error: unknown): false {
    this.#traffic.failed(packet);
    this.#parts.counters.add(codeOf(error));
    if (!isGatewayError(error)) {
      this.#parts.log.error({ interface: this.name, error }, 'an interface failed to send');
    }
    return false;
  }

  async #run(ready: () => void, outer: AbortSignal): Promise<void> {
    const stopped = new AbortController();
    const signal = AbortSignal.any([outer, this.#detach.signal]);
    try {
      await this.iface.run(
        {
          ready: () => {
            this.#setOnline(true);
            ready();
          },
          receive: (packet, quality) => this.#receive(packet, quality),
          attach: peer => this.#attachPeer(peer, stopped.signal),
        },
        signal,
      );
    } finally {
      this.#setOnline(false);
      stopped.abort();
      await Promise.all(this.#peers.values());
    }
  }

  #receive(packet: Uint8Array, quality: Quality | undefined): void | Promise<void> {
    const { accessCode } = this.policy;
    return accessCode === undefined
      ? this.#opened(packet, packet, quality)
      : this.#gates().open(accessCode, packet, opened =>
          // It may have gone down while a thread looked at the code.
          this.#online ? this.#opened(packet, opened, quality) : undefined,
        );
  }

  /** `opened`: what is behind the access code, undefined where it is of no network of ours. */
  #opened(
    packet: Uint8Array,
    opened: Uint8Array | undefined,
    quality: Quality | undefined,
  ): void | Promise<void> {
    this.#traffic.received(packet, opened);
    if (opened === undefined) {
      this.#parts.counters.add('access-code/refused');
      return this.#parts.refused(this);
    }
    return this.#parts.receive(this, opened, quality);
  }

  #gates(): AccessGate {
    this.#gate ??= new AccessGate(this.#parts.clock, this.#parts.threads);
    return this.#gate;
  }

  #attachPeer(peer: Interface, signal: AbortSignal): void {
    const { log } = this.#parts;
    const attachment = this.#parts.attachPeer(peer);
    if (attachment === undefined) {
      log.warn({ interface: peer.name }, 'a peer by the name of another interface was turned away');
      return;
    }
    const life = attachment.service
      .run(() => {}, signal)
      .catch((error: unknown) => {
        if (signal.aborted) {
          return;
        }
        if (isGatewayError(error)) {
          log.info({ interface: peer.name, code: error.code, reason: error.message }, 'peer gone');
        } else {
          log.error({ interface: peer.name, error }, 'a bug ended a peer');
        }
      })
      .finally(() => {
        attachment.detach();
        this.#peers.delete(attachment);
        this.#gone.add(attachment.traffic);
      });
    this.#peers.set(attachment, life);
  }

  #setOnline(online: boolean): void {
    if (this.#online !== online) {
      this.#online = online;
      this.#parts.changed(this);
    }
  }
}
