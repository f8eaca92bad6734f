import { concat, equal, toHex } from '../../lib/bytes.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { MsgpackValue } from '../../lib/msgpack.ts';
import { Alarm } from './alarm.ts';
import type { Compressor, LinkPort } from './link-port.ts';
import { contexts } from './packet.ts';
import { type OfferDecision, offerOf, type ResourceOffer, type ResourceReception } from './resource-offer.ts';
import { proofPacketHash } from './resource-outgoing.ts';
import {
  type ReceiverEffect,
  type ReceiverFailure,
  type ReceiverInput,
  type ReceiverMemory,
  type ResourceReceiver,
  receiverProgress,
  receiverWakeAt,
  startReceiver,
  stepReceiver,
  windowFirst,
} from './resource-receiver.ts';
import { openSegment, segmentHashes } from './resource-segment.ts';
import {
  decodeAdvertisement,
  decodeCancel,
  decodeHashmapUpdate,
  encodeResourceProof,
  type ResourceAdvertisement,
  resourceHashLength,
  splitMetadata,
} from './resource-wire.ts';

export interface ResourceLimits {
  /** Bytes of the largest Resource taken. */
  readonly resource: number;
  /** Bytes of all Resources on their way in, over all links. */
  readonly total: number;
  /** Resources on their way in over one link. */
  readonly perLink: number;
}

export const resourceLimits: ResourceLimits = {
  resource: 32 * 1024 * 1024,
  total: 128 * 1024 * 1024,
  perLink: 8,
};

/** Bytes that Resources on their way in may take, shared by all links. */
export class IncomingBudget {
  readonly limits: ResourceLimits;
  #used = 0;

  constructor(limits: ResourceLimits = resourceLimits) {
    this.limits = limits;
  }

  get used(): number {
    return this.#used;
  }

  /** Whether there was room for them. */
  take(bytes: number): boolean {
    if (this.#used + bytes > this.limits.total) {
      return false;
    }
    this.#used += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#used -= bytes;
  }
}

/** ms between two segments: the sender compresses and seals a mebibyte, and may be a small machine. */
const segmentPause = 120_000;
/** Proofs kept to be sent again when asked for. */
const proofsRemembered = 16;
const segmentsRemembered = 64;

/** The Resources that come in over one link. */
export class IncomingResources {
  readonly #port: LinkPort;
  readonly #compressor: Compressor | undefined;
  readonly #budget: IncomingBudget;
  readonly #decide: (offer: ResourceOffer, advertisement: ResourceAdvertisement) => OfferDecision;
  readonly #transfers = new Map<string, Transfer>();
  /** What gives back the room of Resources handed up and not proven yet. */
  readonly #held = new Set<() => void>();
  /** Segments that are here: an advertisement of one of them is a late repeat. */
  readonly #complete = new Set<string>();
  /** By hash of the proof's packet. */
  readonly #proofs = new Map<string, Uint8Array>();
  #memory: ReceiverMemory | undefined;

  constructor(
    port: LinkPort,
    compressor: Compressor | undefined,
    budget: IncomingBudget,
    decide: (offer: ResourceOffer, advertisement: ResourceAdvertisement) => OfferDecision,
  ) {
    this.#port = port;
    this.#compressor = compressor;
    this.#budget = budget;
    this.#decide = decide;
  }

  /** An advertisement, opened. Throws `wire/*`. */
  advertised(body: Uint8Array): void {
    const advertisement = decodeAdvertisement(body);
    const key = toHex(advertisement.originalHash);
    if (this.#complete.has(toHex(advertisement.hash))) {
      return;
    }
    const known = this.#transfers.get(key);
    if (known) {
      this.#nextSegment(known, advertisement);
      return;
    }
    if (advertisement.segment !== 1) {
      this.#refuse(advertisement.hash, 'resource/segment-of-none');
      return;
    }
    this.#offered(key, advertisement);
  }

  /** A part, as it travelled: nothing says of which Resource. */
  part(data: Uint8Array): void {
    for (const transfer of this.#transfers.values()) {
      this.#step(transfer, { on: 'part', data });
    }
  }

  /** A hashmap update, opened. Throws `wire/*`. */
  hashmapUpdate(body: Uint8Array): void {
    const update = decodeHashmapUpdate(body);
    const transfer = this.#byHash(update.hash);
    if (transfer) {
      this.#step(transfer, { on: 'hashmap', mapSegment: update.mapSegment, hashmap: update.hashmap });
    }
  }

  /** The sender's cancel, opened. Throws `wire/*`. */
  cancelled(body: Uint8Array): void {
    const transfer = this.#byHash(decodeCancel(body));
    if (transfer) {
      this.#step(transfer, { on: 'cancelled' });
    }
  }

  /** The sender asks for a packet again: the only ones kept are proofs. */
  asked(packetHash: Uint8Array): void {
    const proof = packetHash.length === resourceHashLength ? this.#proofs.get(toHex(packetHash)) : undefined;
    if (proof) {
      this.#port.sendClear('proof', contexts.resourceProof, proof);
    }
  }

  /** The link is closed. */
  lost(): void {
    for (const transfer of [...this.#transfers.values()]) {
      if (transfer.receiver === undefined) {
        this.#end(transfer, errorOf('lost'));
      } else {
        this.#step(transfer, { on: 'lost' });
      }
    }
    for (const release of [...this.#held]) {
      release();
    }
  }

  #offered(key: string, advertisement: ResourceAdvertisement): void {
    const { limits } = this.#budget;
    const { dataSize, transferSize } = advertisement;
    const decision = this.#decide(offerOf(advertisement), advertisement);
    if (decision === 'ignore') {
      this.#port.counters.add('resource/ignored');
      return;
    }
    if (decision === 'reject') {
      this.#refuse(advertisement.hash, 'resource/rejected');
      return;
    }
    const bytes = dataSize + transferSize;
    const refuse = (code: 'mesh/too-large' | 'store/full', why: string) => {
      this.#refuse(advertisement.hash, `resource/${code}`);
      decision.onFailed?.(new GatewayError(code, why, { detail: { size: dataSize } }));
    };
    if (dataSize > limits.resource) {
      refuse('mesh/too-large', `Resource of ${dataSize} bytes, at most ${limits.resource}`);
      return;
    }
    if (this.#transfers.size >= limits.perLink || !this.#budget.take(bytes)) {
      refuse('store/full', 'too many Resources are on their way in');
      return;
    }
    const transfer: Transfer = {
      key,
      first: advertisement,
      reception: decision,
      bytes,
      chunks: [],
      got: 0,
      travelled: 0,
      segment: 0,
      receiver: undefined,
      alarm: new Alarm(this.#port.clock, () => this.#rang(transfer)),
    };
    this.#transfers.set(key, transfer);
    decision.onStart?.(() => {
      if (transfer.receiver !== undefined) {
        this.#step(transfer, { on: 'cancel' });
      } else {
        this.#end(transfer, errorOf('cancelled-here'));
      }
    });
    this.#start(transfer, advertisement);
  }

  #nextSegment(transfer: Transfer, advertisement: ResourceAdvertisement): void {
    const { first, receiver } = transfer;
    if (receiver !== undefined || advertisement.segment !== transfer.segment + 1) {
      return;
    }
    if (
      advertisement.segments !== first.segments ||
      advertisement.dataSize !== first.dataSize ||
      advertisement.transferSize > 2 * first.transferSize + first.dataSize
    ) {
      this.#refuse(advertisement.hash, 'resource/segment-unlike-first');
      this.#end(transfer, errorOf('malformed'));
      return;
    }
    this.#start(transfer, advertisement);
  }

  #start(transfer: Transfer, advertisement: ResourceAdvertisement): void {
    const { clock, mtu, establishmentRate } = this.#port;
    const rate = this.#memory?.expectedRate ?? establishmentRate;
    try {
      const [receiver, effects] = startReceiver(
        advertisement,
        mtu,
        rate,
        this.#memory?.window ?? windowFirst,
        clock.monotonic(),
      );
      transfer.segment = advertisement.segment;
      transfer.receiver = receiver;
      this.#carryOut(transfer, receiver, effects);
    } catch (error) {
      this.#refuse(advertisement.hash, 'resource/malformed');
      this.#end(transfer, isGatewayError(error) ? error : errorOf('malformed'));
      throw error;
    }
  }

  #rang(transfer: Transfer): void {
    if (transfer.receiver === undefined) {
      this.#end(transfer, errorOf('timeout'));
    } else {
      this.#step(transfer, { on: 'time' });
    }
  }

  #step(transfer: Transfer, input: ReceiverInput): void {
    const { receiver } = transfer;
    if (receiver === undefined) {
      return;
    }
    this.#carryOut(transfer, receiver, stepReceiver(receiver, input, this.#port.clock.monotonic()));
  }

  #carryOut(transfer: Transfer, receiver: ResourceReceiver, effects: readonly ReceiverEffect[]): void {
    for (const effect of effects) {
      switch (effect.do) {
        case 'request':
          this.#port.sendSealed(contexts.resourceRequest, effect.body);
          break;
        case 'progress':
          transfer.reception.onProgress?.(
            (receiver.advertisement.segment - 1 + receiverProgress(receiver)) /
              receiver.advertisement.segments,
          );
          break;
        case 'assemble':
          void this.#assemble(transfer, receiver);
          break;
        case 'cancel':
          this.#refuse(receiver.advertisement.hash, 'resource/cancelled');
          break;
        case 'failed':
          this.#end(transfer, errorOf(effect.why));
          break;
        case 'done':
          break;
      }
    }
    if (transfer.receiver === receiver) {
      transfer.alarm.at(receiverWakeAt(receiver));
    }
  }

  async #assemble(transfer: Transfer, receiver: ResourceReceiver): Promise<void> {
    const { advertisement } = receiver;
    let data: Uint8Array | undefined;
    let proof: Uint8Array | undefined;
    try {
      data = await this.#unpack(transfer, receiver);
      const hashes = segmentHashes(data, advertisement.randomHash);
      proof = equal(hashes.hash, advertisement.hash) ? hashes.proof : undefined;
    } catch (error) {
      if (!isGatewayError(error)) {
        this.#port.log.error({ error }, 'a Resource could not be assembled');
      }
    }
    if (transfer.receiver !== receiver || receiver.at !== 'assembling') {
      return;
    }
    this.#step(transfer, { on: 'assembled', sound: proof !== undefined });
    if (data === undefined || proof === undefined) {
      return;
    }
    remember(this.#complete, toHex(advertisement.hash));
    this.#memory = { window: receiver.window, expectedRate: receiver.expectedRate };
    transfer.receiver = undefined;
    transfer.chunks.push(data);
    transfer.got += data.length;
    transfer.travelled += advertisement.transferSize;
    if (advertisement.segment < advertisement.segments) {
      transfer.alarm.at(this.#port.clock.monotonic() + segmentPause);
      this.#prove(advertisement, proof);
      return;
    }
    this.#deliver(transfer, advertisement, proof);
  }

  async #unpack(transfer: Transfer, receiver: ResourceReceiver): Promise<Uint8Array> {
    const { advertisement } = receiver;
    const room = transfer.first.dataSize - transfer.got;
    const packed = openSegment(advertisement, receiver.sealed, this.#port);
    if (!advertisement.flags.compressed) {
      if (packed.length > room) {
        throw new GatewayError('wire/malformed', 'a Resource holds more than it said');
      }
      return packed;
    }
    if (this.#compressor === undefined) {
      throw new GatewayError('wire/unsupported', 'a compressed Resource, and nothing to decompress it with');
    }
    return await this.#compressor.decompress(packed, room);
  }

  #deliver(transfer: Transfer, last: ResourceAdvertisement, proof: Uint8Array): void {
    const { first, chunks } = transfer;
    const whole = chunks.length === 1 ? chunks[0]! : concat(...chunks);
    let content = { metadata: undefined as MsgpackValue | undefined, content: whole };
    if (first.flags.metadata && whole.length > 0) {
      try {
        content = splitMetadata(whole);
      } catch (error) {
        this.#refuse(last.hash, 'resource/malformed');
        this.#end(transfer, isGatewayError(error) ? error : errorOf('malformed'));
        return;
      }
    }
    transfer.alarm.stop();
    this.#transfers.delete(transfer.key);
    const release = () => {
      if (this.#held.delete(release)) {
        this.#budget.give(transfer.bytes);
      }
    };
    this.#held.add(release);
    transfer.reception.onResource({
      hash: first.originalHash,
      data: content.content,
      metadata: content.metadata,
      transferSize: transfer.travelled,
      requestId: first.requestId,
      prove: () => {
        release();
        this.#prove(last, proof);
      },
      reject: () => {
        release();
        this.#refuse(last.hash, 'resource/rejected');
      },
    });
  }

  #prove(advertisement: ResourceAdvertisement, proof: Uint8Array): void {
    const body = encodeResourceProof({ hash: advertisement.hash, proof });
    this.#proofs.set(toHex(proofPacketHash(this.#port.id, { advertisement, expectedProof: proof })), body);
    if (this.#proofs.size > proofsRemembered) {
      this.#proofs.delete(this.#proofs.keys().next().value!);
    }
    this.#port.sendClear('proof', contexts.resourceProof, body);
  }

  #refuse(hash: Uint8Array, count: string): void {
    this.#port.counters.add(count);
    this.#port.sendSealed(contexts.resourceReceiverCancel, hash);
  }

  #end(transfer: Transfer, error: GatewayError): void {
    if (this.#transfers.get(transfer.key) !== transfer) {
      return;
    }
    transfer.alarm.stop();
    transfer.receiver = undefined;
    this.#transfers.delete(transfer.key);
    this.#budget.give(transfer.bytes);
    transfer.reception.onFailed?.(error);
  }

  #byHash(hash: Uint8Array): Transfer | undefined {
    for (const transfer of this.#transfers.values()) {
      if (transfer.receiver !== undefined && equal(transfer.receiver.advertisement.hash, hash)) {
        return transfer;
      }
    }
    return undefined;
  }
}

function remember(set: Set<string>, key: string): void {
  set.add(key);
  if (set.size > segmentsRemembered) {
    set.delete(set.values().next().value!);
  }
}

/** One Resource on its way in, over all its segments. */
interface Transfer {
  readonly key: string;
  readonly first: ResourceAdvertisement;
  readonly reception: ResourceReception;
  /** What it holds of the budget. */
  readonly bytes: number;
  readonly chunks: Uint8Array[];
  got: number;
  travelled: number;
  segment: number;
  /** Of the segment that is coming; undefined between two. */
  receiver: ResourceReceiver | undefined;
  readonly alarm: Alarm;
}

function errorOf(why: ReceiverFailure): GatewayError {
  switch (why) {
    case 'timeout':
      return new GatewayError('mesh/timeout', 'the sender of a Resource went silent', { retryable: true });
    case 'lost':
      return new GatewayError('mesh/link-closed', 'the link closed under a Resource', { retryable: true });
    case 'cancelled-there':
      return new GatewayError('mesh/rejected', 'the sender cancelled the Resource');
    case 'cancelled-here':
      return new GatewayError('mesh/rejected', 'the Resource was cancelled here');
    case 'corrupt':
      return new GatewayError('wire/malformed', 'a Resource is not what was advertised');
    case 'malformed':
      return new GatewayError('wire/malformed', 'a Resource that cannot be');
  }
}
