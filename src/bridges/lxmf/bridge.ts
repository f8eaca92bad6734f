import type { Bridge, BridgePort, Capabilities, Delivery, Incoming, Progress } from '../../gateway/bridge.ts';
import { type Address, type Attachment, type Message, nameOf, schemeOf } from '../../gateway/message.ts';
import { fromHex, toHex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { decodeDeliveryAnnounce, deliveryName, encodeDeliveryAnnounce } from '../../mesh/lxmf/announce.ts';
import { decodeMessage, encodeMessage, type PackedMessage } from '../../mesh/lxmf/message.ts';
import type { ReceivedMessage } from '../../mesh/lxmf/receiver.ts';
import type { LxmfRouter } from '../../mesh/lxmf/router.ts';
import type { SendProgress } from '../../mesh/lxmf/sender.ts';
import { type LocalDestination, nameHash } from '../../mesh/reticulum/destination.ts';
import type { Identity } from '../../mesh/reticulum/identity.ts';
import type { Announced } from '../../mesh/reticulum/lessons.ts';
import { hashLength } from '../../mesh/reticulum/packet.ts';
import type { Transport } from '../../mesh/reticulum/transport.ts';
import { Addresses, type OwnAddress } from './addresses.ts';
import { AnnounceSchedule } from './announce-schedule.ts';
import { authorOf } from './author.ts';
import { readMessage } from './incoming.ts';
import { nativeEntry } from './native.ts';
import { composeMessage, type OutgoingFile } from './outgoing.ts';
import { expiryHere, timestampOf } from './times.ts';
import { WaitingPeers } from './waiting-peers.ts';

export interface LxmfBridgeParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly transport: Transport;
  readonly router: LxmfRouter;
  /** The hub's own: its delivery destination is where this bridge receives for all who have no other. */
  readonly identity: Identity;
  /** 32 hex: this hub's own id, written into what other hubs may pass on. */
  readonly hubId: string;
  /** Announced with the destination. */
  readonly displayName: string | undefined;
}

const mebibyte = 1024 * 1024;

/**
 * The LXMF mesh as a Bridge: `lxmf:<32 hex>` is a peer's delivery destination. Receives under the
 * hub's destination and those of its residents, proves what the switch has on disk, and sends each delivery in the same bytes at
 * every attempt, so that a peer knows a repeat by its id.
 */
export class LxmfBridge implements Bridge {
  readonly name = 'lxmf';
  readonly carries: Capabilities = {
    textBytes: mebibyte,
    attachmentBytes: 8 * mebibyte,
    replies: true,
    receipts: false,
    deduplicates: true,
    tellsWhenSent: true,
    concurrency: 32,
    window: 16,
  };
  /** 32 hex: the hub's delivery destination. */
  readonly address: string;
  readonly residence: Addresses;
  readonly #parts: LxmfBridgeParts;
  readonly #destination: LocalDestination;
  readonly #announces: AnnounceSchedule;
  readonly #waiting: WaitingPeers;
  /** The last message of each sender that is being taken in. */
  readonly #arrived = new Map<string, Promise<void>>();
  #port: BridgePort | undefined;

  constructor(parts: LxmfBridgeParts) {
    this.#parts = parts;
    this.#destination = parts.router.destination({
      identity: parts.identity,
      appData: () => encodeDeliveryAnnounce(parts.displayName),
      onMessage: received => this.#receive(received),
    });
    this.address = this.#destination.key;
    this.residence = new Addresses({
      ...parts,
      onMessage: received => this.#receive(received),
      announce: destination => this.#announces.changed(destination),
    });
    this.#announces = new AnnounceSchedule({
      ...parts,
      destination: this.#destination,
      others: () => this.residence.destinations(),
    });
    this.#waiting = new WaitingPeers({ ...parts, retry: address => this.#port?.reachable(address) });
  }

  async run(port: BridgePort, signal: AbortSignal): Promise<void> {
    const { transport, router } = this.#parts;
    this.#port = port;
    router.serve(this.#destination);
    this.residence.serve();
    const stop = [
      transport.onAnnounce(announced => this.#heard(port, announced), { nameHash: nameHash(deliveryName) }),
      transport.onInterface(({ iface, online }) => {
        if (online) {
          this.#waiting.cameUp(iface);
        }
      }),
      () => this.#waiting.stop(),
    ];
    try {
      port.ready();
      await this.#announces.run(signal);
    } finally {
      for (const cancel of stop) {
        cancel();
      }
      this.residence.withdraw();
      router.withdraw(this.#destination);
      this.#port = undefined;
    }
  }

  /** Announces the hub now, and its residents after it; whether a medium took the hub's. */
  announceNow(): Promise<boolean> {
    return this.#announces.now();
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<Progress> {
    signal.throwIfAborted();
    const port = this.#port;
    if (port === undefined) {
      throw new GatewayError('bridge/unavailable', 'the LXMF bridge is starting', { retryable: true });
    }
    const peer = peerOf(delivery.to);
    const { packed, id } = await this.#packed(port, delivery, peer);
    this.#checkSource(packed);
    const remoteId = toHex(id);
    const refusal = this.#airtime(peer, packed.length, delivery);
    if (refusal !== undefined) {
      throw refusal;
    }
    const reports: Promise<void>[] = [];
    try {
      await this.#parts.router.send(packed, {
        signal,
        method: delivery.attempt > 1 && !this.#neverLeft(delivery.to) ? 'direct' : 'any',
        // Whoever has no path holds nobody up: the answer to the search brings the delivery back.
        pathPatience: 0,
        onProgress: progress => {
          if (progress.at === 'sent') {
            // The parts of a large one go back and forth: a packet behind them would be there first.
            const alone = progress.whole ? {} : { alone: true };
            reports.push(port.report(delivery.id, { state: 'sent', ...alone }));
          } else {
            port.explain(delivery.id, reasons[progress.at]);
          }
        },
      });
      await settle(reports, this.#parts.log);
    } catch (error) {
      await settle(reports, this.#parts.log);
      const unsent = isGatewayError(error, 'radio/offline', 'mesh/no-path');
      throw (unsent && this.#airtime(peer, packed.length, delivery)) || this.#failure(error, delivery.to);
    }
    this.#waiting.delivered(delivery.to);
    return { state: 'delivered', remoteId };
  }

  prepare(
    delivery: Pick<Delivery, 'id' | 'to' | 'message'>,
  ): { readonly bytes: Uint8Array; readonly remoteId: string } | undefined {
    const port = this.#port;
    const { attachments, inReplyTo } = delivery.message;
    if (port === undefined || attachments.length > 0) {
      return undefined;
    }
    // What it speaks of may still wait to be packed, and has an id by its own first attempt.
    if (inReplyTo !== undefined && port.remoteIds(inReplyTo, delivery.to).length === 0) {
      return undefined;
    }
    const { packed, id } = this.#pack(port, delivery, peerOf(delivery.to), []);
    return { bytes: packed, remoteId: toHex(id) };
  }

  /** The bytes of a delivery: those it was given before the first attempt or in it, or now, for this and all that follow. */
  async #packed(port: BridgePort, delivery: Delivery, peer: Uint8Array): Promise<PackedMessage> {
    const { remembered, message } = delivery;
    // Packed under an address that was given up before anything left: whoever sent it is somebody else by now.
    const isStale = remembered !== undefined && delivery.attempt === 1 && !this.#isServed(remembered);
    if (remembered !== undefined && !isStale) {
      return { packed: remembered, id: decodeMessage(remembered).id };
    }
    const files = await Promise.all(message.attachments.map(attachment => fileOf(port, attachment)));
    const made = this.#pack(port, delivery, peer, files);
    await port.remember(delivery.id, made.packed, toHex(made.id));
    return made;
  }

  #pack(
    port: BridgePort,
    { id, to, message }: Pick<Delivery, 'id' | 'to' | 'message'>,
    peer: Uint8Array,
    files: readonly OutgoingFile[],
  ): PackedMessage {
    const related = message.inReplyTo && port.remoteIds(message.inReplyTo, to)[0];
    const own = this.#ownAddress(port, message);
    return encodeMessage(
      {
        destination: peer,
        source: own.destination.hash,
        timestamp: timestampOf(message, id),
        ...composeMessage(message, files, related, this.#parts.hubId, authorOf(port, message, own)),
      },
      own.identity,
    );
  }

  /** What was packed under an address that has been given up since cannot be sent or packed anew: its id would change. */
  #checkSource(packed: Uint8Array): void {
    if (!this.#isServed(packed)) {
      throw new GatewayError('bridge/rejected', 'its sender has given up its address on the mesh');
    }
  }

  #isServed(packed: Uint8Array): boolean {
    const source = toHex(packed.subarray(hashLength, 2 * hashLength));
    return source === this.address || this.residence.get(`lxmf:${source}`) !== undefined;
  }

  /**
   * Whom a message leaves as: the room it was said in, so that an answer comes back to it; else whoever sent it, if it has
   * an address; else the hub.
   */
  #ownAddress(port: BridgePort, message: Message): OwnAddress {
    const room = schemeOf(message.to) === 'room' ? port.residentOf(message.to) : undefined;
    const resident = room ?? port.residentOf(message.from);
    const own = resident?.addresses
      .map(address => this.residence.get(address))
      .find(one => one !== undefined);
    return own ?? { identity: this.#parts.identity, destination: this.#destination };
  }

  /** One after the other for each sender: files take longer to keep than what was said after them. */
  async #receive(received: ReceivedMessage): Promise<void> {
    const source = toHex(received.message.source);
    const before = this.#arrived.get(source);
    const taken = before === undefined ? this.#take(received) : before.then(() => this.#take(received));
    const settled = taken.catch(() => undefined);
    this.#arrived.set(source, settled);
    try {
      await taken;
    } finally {
      if (this.#arrived.get(source) === settled) {
        this.#arrived.delete(source);
      }
    }
  }

  async #take(received: ReceivedMessage): Promise<void> {
    const port = this.#port;
    if (port === undefined) {
      throw new GatewayError('bridge/unavailable', 'the LXMF bridge is stopping', { retryable: true });
    }
    const { message, id, assurance, hops } = received;
    const source = toHex(message.source);
    const from = `lxmf:${source}`;
    const { files, relation, native, expiresAt, avatar, ...reading } = readMessage(message);
    const attachments: Attachment[] = [];
    // Whoever is refused fills no disk: what it sent is proven, as every node proves what it ignores, and dropped.
    for (const { name, mediaType, bytes } of port.refuses(from) ? [] : files) {
      attachments.push({ name, mediaType, ...(await port.blobs.put(bytes)) });
    }
    const inReplyTo = relation && port.resolve(relation.id);
    const unresolved =
      relation !== undefined && inReplyTo === undefined ? message.fields.get(relation.field) : undefined;
    const kept =
      unresolved === undefined ? native : { ...native, ...nativeEntry(relation!.field, unresolved) };
    const incoming: Incoming = {
      ...reading,
      ...expiryHere(reading.sentAt, expiresAt, this.#parts.clock.now()),
      remoteId: id,
      from,
      to: `lxmf:${toHex(message.destination)}`,
      attachments,
      ...(inReplyTo === undefined ? {} : { inReplyTo }),
      ...(kept === undefined ? {} : { native: kept }),
      assurance,
      urgent: true,
    };
    await port.accept(incoming);
    const looks = assurance === 'signed' && avatar !== undefined ? { avatar } : {};
    port.seen(from, { at: this.#parts.clock.now(), hops, ...looks });
  }

  #heard(port: BridgePort, announced: Announced): void {
    const address = `lxmf:${toHex(announced.destinationHash)}`;
    const { clock, counters } = this.#parts;
    let name: string | undefined;
    try {
      name = decodeDeliveryAnnounce(announced.appData).displayName;
    } catch (error) {
      counters.add(codeOf(error));
    }
    port.seen(address, { at: clock.now(), hops: announced.hops, ...(name ? { name } : {}) });
    port.reachable(address);
  }

  /** Whether the last attempt for this address failed before a packet left. */
  #neverLeft(to: Address): boolean {
    const code = this.#waiting.failure(to);
    return code === 'mesh/no-path' || code === 'radio/offline';
  }

  /** Why a message is not begun now where the radio towards the peer has no airtime left for it. */
  #airtime(peer: Uint8Array, bytes: number, delivery: Delivery): GatewayError | undefined {
    const { clock, transport } = this.#parts;
    const hold = transport.hold(peer, bytes, delivery.urgency ?? delivery.message.priority);
    if (hold === undefined) {
      return undefined;
    }
    if (hold.delay === undefined) {
      return new GatewayError('airtime/exhausted', 'larger than the airtime budget of an hour', {
        retryable: true,
        detail: { retryAfter: tooLargeRetry },
      });
    }
    const until = clockTime(clock.now() + hold.delay);
    return new GatewayError('airtime/exhausted', `airtime budget until ${until}`, {
      retryable: true,
      detail: { retryAfter: hold.delay },
    });
  }

  #failure(error: unknown, to: Address): unknown {
    if (!isGatewayError(error)) {
      return error;
    }
    switch (error.code) {
      case 'mesh/no-path':
      case 'mesh/timeout':
      case 'mesh/link-closed':
      case 'radio/offline':
      case 'store/full':
        this.#waiting.failed(to, error.code);
        return new GatewayError('bridge/unavailable', unavailable[error.code], {
          retryable: true,
          cause: error,
        });
      case 'mesh/rejected':
        return new GatewayError(
          'bridge/rejected',
          'the peer refused the message, it may be too large for it',
          {
            cause: error,
          },
        );
      default:
        return error;
    }
  }
}

const reasons: Readonly<Record<Exclude<SendProgress['at'], 'sent'>, string>> = {
  'searching-path': 'no path yet, asking the mesh',
  'opening-link': 'opening a link to the peer',
};

/** ms after which a message that a radio has no budget for is looked at again: there may be another path. */
const tooLargeRetry = 600_000;

/** The time on the hub's clock, as `14:20`: the minute after which it is. */
function clockTime(at: number): string {
  const next = new Date(Math.ceil(at / 60_000) * 60_000);
  return `${String(next.getHours()).padStart(2, '0')}:${String(next.getMinutes()).padStart(2, '0')}`;
}

const unavailable = {
  'mesh/no-path': 'no path yet',
  'mesh/timeout': 'peer did not answer',
  'mesh/link-closed': 'the link to the peer closed',
  'radio/offline': 'no interface is up',
  'store/full': 'too much is on its way to this peer',
} as const;

/** 16 B of an `lxmf:` address; `bridge/rejected` where it is none. */
function peerOf(to: Address): Uint8Array {
  try {
    if (schemeOf(to) === 'lxmf') {
      return fromHex(nameOf(to), hashLength);
    }
  } catch (error) {
    if (!isGatewayError(error)) {
      throw error;
    }
  }
  throw new GatewayError('bridge/rejected', `${to} is no LXMF address: lxmf: and 32 hex digits`);
}

/** An attachment with its bytes; `bridge/rejected` where they are gone. */
async function fileOf(port: BridgePort, attachment: Attachment): Promise<OutgoingFile> {
  try {
    return { attachment, bytes: await port.blobs.read(attachment.sha256) };
  } catch (error) {
    if (isGatewayError(error, 'request/not-found')) {
      throw new GatewayError('bridge/rejected', `the attachment ${attachment.name} is gone`, {
        cause: error,
      });
    }
    throw error;
  }
}

/** Waits for reports; what the store cannot note now is told by the delivery's end. */
async function settle(reports: readonly Promise<void>[], log: Log): Promise<void> {
  for (const result of await Promise.allSettled(reports)) {
    if (result.status === 'rejected') {
      log.warn({ code: codeOf(result.reason) }, 'progress of a delivery was not noted');
    }
  }
}
