import { concat, equal, toHex } from '../../lib/bytes.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { MsgpackValue } from '../../lib/msgpack.ts';
import { Alarm } from './alarm.ts';
import type { IncomingBudget } from './incoming-budget.ts';
import type { Compressor, LinkPort } from './link-port.ts';
import { contexts } from './packet.ts';
import { ResourceHandover } from './resource-handover.ts';
import { type OfferDecision, offerOf, type ResourceOffer } from './resource-offer.ts';
import {
  isFast,
  type ReceiverEffect,
  type ReceiverInput,
  type ReceiverMemory,
  type ResourceReceiver,
  receiverProgress,
  receiverWakeAt,
  startReceiver,
  stepReceiver,
  windowFirst,
} from './resource-receiver.ts';
import { segmentHashes } from './resource-segment.ts';
import { failureOf, type Transfer, unpack } from './resource-transfer.ts';
import {
  decodeAdvertisement,
  decodeCancel,
  decodeHashmapUpdate,
  type ResourceAdvertisement,
  splitMetadata,
} from './resource-wire.ts';

/** ms, and round trips, without anything of a Resource after which it has to give its room to another. */
const stallLeast = 2000;
const stallRoundTrips = 8;
/** ms between two segments: the sender compresses and seals a mebibyte, and may be a small machine. */
const segmentPause = 120_000;
const segmentsRemembered = 64;

/** The Resources that come in over one link. */
export class IncomingResources {
  readonly #port: LinkPort;
  readonly #compressor: Compressor | undefined;
  readonly #budget: IncomingBudget;
  readonly #decide: (offer: ResourceOffer, advertisement: ResourceAdvertisement) => OfferDecision;
  readonly #transfers = new Map<string, Transfer>();
  readonly #handover: ResourceHandover;
  /** Segments that are here: an advertisement of one of them is a late repeat. */
  readonly #complete = new Set<string>();
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
    this.#handover = new ResourceHandover(port);
  }

  /** What the next Resource begins with, once one has come. */
  get memory(): ReceiverMemory | undefined {
    return this.#memory;
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
      this.#handover.refuse(advertisement.hash, 'resource/segment-of-none');
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
    this.#handover.asked(packetHash);
  }

  /** The link is closed. */
  lost(): void {
    for (const transfer of [...this.#transfers.values()]) {
      if (transfer.receiver === undefined) {
        this.#end(transfer, failureOf('lost'));
      } else {
        this.#step(transfer, { on: 'lost' });
      }
    }
    this.#handover.lost();
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
      this.#handover.refuse(advertisement.hash, 'resource/rejected');
      return;
    }
    const bytes = dataSize + transferSize;
    const refuse = (code: 'mesh/too-large' | 'store/full', why: string) => {
      this.#handover.refuse(advertisement.hash, `resource/${code}`);
      decision.onFailed?.(new GatewayError(code, why, { detail: { size: dataSize } }));
    };
    if (dataSize > limits.resource) {
      refuse('mesh/too-large', `Resource of ${dataSize} bytes, at most ${limits.resource}`);
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
      staleAt: this.#staleAt(),
      source: this.#port.source,
      giveUp: () => {
        this.#port.counters.add('resource/gave-way');
        this.#cancel(transfer);
      },
    };
    if (
      this.#transfers.size >= limits.perLink ||
      !this.#budget.take(transfer, this.#port.clock.monotonic())
    ) {
      refuse('store/full', 'too many Resources are on their way in');
      return;
    }
    this.#transfers.set(key, transfer);
    decision.onStart?.(() => this.#cancel(transfer));
    this.#start(transfer, advertisement);
  }

  /** From when a Resource of which something came now stands still. */
  #staleAt(): number {
    return this.#port.clock.monotonic() + Math.max(stallLeast, stallRoundTrips * this.#port.rtt);
  }

  #cancel(transfer: Transfer): void {
    if (transfer.receiver !== undefined) {
      this.#step(transfer, { on: 'cancel' });
    } else {
      this.#end(transfer, failureOf('cancelled-here'));
    }
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
      this.#handover.refuse(advertisement.hash, 'resource/segment-unlike-first');
      this.#end(transfer, failureOf('malformed'));
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
        this.#memory?.fast,
      );
      transfer.segment = advertisement.segment;
      transfer.receiver = receiver;
      this.#carryOut(transfer, receiver, effects);
    } catch (error) {
      this.#handover.refuse(advertisement.hash, 'resource/malformed');
      this.#end(transfer, isGatewayError(error) ? error : failureOf('malformed'));
      throw error;
    }
  }

  #rang(transfer: Transfer): void {
    if (transfer.receiver === undefined) {
      this.#end(transfer, failureOf('timeout'));
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
          transfer.staleAt = this.#staleAt();
          transfer.reception.onProgress?.(
            (receiver.advertisement.segment - 1 + receiverProgress(receiver)) /
              receiver.advertisement.segments,
          );
          break;
        case 'assemble':
          void this.#assemble(transfer, receiver);
          break;
        case 'cancel':
          this.#handover.refuse(receiver.advertisement.hash, 'resource/cancelled');
          break;
        case 'failed':
          this.#end(transfer, failureOf(effect.why));
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
    let isBomb = false;
    try {
      data = await unpack(transfer, receiver, this.#port, this.#compressor);
      const hashes = segmentHashes(data, advertisement.randomHash);
      proof = equal(hashes.hash, advertisement.hash) ? hashes.proof : undefined;
    } catch (error) {
      isBomb = isGatewayError(error, 'mesh/too-large');
      if (!isGatewayError(error)) {
        this.#port.log.error({ error }, 'a Resource could not be assembled');
      }
    }
    if (transfer.receiver !== receiver || receiver.at !== 'assembling') {
      return;
    }
    this.#step(transfer, { on: 'assembled', sound: proof !== undefined });
    if (isBomb) {
      this.#port.counters.add('resource/bomb');
      this.#port.close();
    }
    if (data === undefined || proof === undefined) {
      return;
    }
    remember(this.#complete, toHex(advertisement.hash));
    const { window, expectedRate } = receiver;
    this.#memory = { window, expectedRate, fast: isFast(receiver) };
    transfer.receiver = undefined;
    transfer.chunks.push(data);
    transfer.got += data.length;
    transfer.travelled += advertisement.transferSize;
    if (advertisement.segment < advertisement.segments) {
      transfer.alarm.at(this.#port.clock.monotonic() + segmentPause);
      this.#handover.prove(advertisement, proof);
      return;
    }
    this.#deliver(transfer, advertisement, proof);
  }

  #deliver(transfer: Transfer, last: ResourceAdvertisement, proof: Uint8Array): void {
    // What is captured below lives until somebody answers: no more of the transfer than this.
    const { first, chunks, bytes } = transfer;
    const whole = chunks.length === 1 ? chunks[0]! : concat(...chunks);
    let content = { metadata: undefined as MsgpackValue | undefined, content: whole };
    if (first.flags.metadata && whole.length > 0) {
      try {
        content = splitMetadata(whole);
      } catch (error) {
        this.#handover.refuse(last.hash, 'resource/malformed');
        this.#end(transfer, isGatewayError(error) ? error : failureOf('malformed'));
        return;
      }
    }
    const held = { bytes, staleAt: Number.POSITIVE_INFINITY, giveUp() {} };
    this.#budget.pass(transfer, held);
    transfer.alarm.stop();
    this.#transfers.delete(transfer.key);
    this.#handover.hand(
      {
        content: {
          hash: first.originalHash,
          data: content.content,
          metadata: content.metadata,
          transferSize: transfer.travelled,
          requestId: first.requestId,
        },
        last,
        proof,
        release: () => this.#budget.give(held),
      },
      transfer.reception,
    );
  }

  #end(transfer: Transfer, error: GatewayError): void {
    if (this.#transfers.get(transfer.key) !== transfer) {
      return;
    }
    transfer.alarm.stop();
    transfer.receiver = undefined;
    this.#transfers.delete(transfer.key);
    this.#budget.give(transfer);
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
