import type { Random } from '../../../src/lib/random.ts';
import {
  fastRoundsNeeded,
  patienceAfter,
  patienceBefore,
  rateFast,
  rateVerySlow,
  receiverWakeAt,
  retriesMost,
  verySlowRoundsNeeded,
  windowFirst,
  windowFlexibility,
  windowMaxVerySlow,
} from '../../../src/mesh/reticulum/resource-receiver.ts';
import { sealSegment } from '../../../src/mesh/reticulum/resource-segment.ts';
import { proofRtts, startSender, stepSender } from '../../../src/mesh/reticulum/resource-sender.ts';
import {
  collisionGuard,
  compressedMost,
  decodePartRequest,
  encodePartRequest,
  mapHashLength,
  mapHashOf,
  mapSegmentLength,
  metadataLongest,
  randomHashLength,
  segmentSize,
  windowLargest,
} from '../../../src/mesh/reticulum/resource-wire.ts';
import type { Commands } from '../command.ts';
import { hex, integerIf, textOf } from '../params.ts';
import { hashOf, mtuFor, receiverOf, segmentOf, wantedOf } from './bench.ts';
import { nodeOf } from './node.ts';
import { outLinkOf } from './state.ts';

const now = 0;

export const commands: Commands = {
  wire_resource_constants(params) {
    const segment = segmentOf(nodeOf(params), outLinkOfAny(params), 100, 200);
    const { state } = receiverOf(segment);
    const [sender] = startSender(segment, 10, 1000, now);
    const asked = { hash: new Uint8Array(32), wanted: new Uint8Array(0) };
    const firstByte = (exhaustedAt: Uint8Array | undefined) =>
      encodePartRequest({ ...asked, exhaustedAt })[0]!;
    return {
      WINDOW: windowFirst,
      WINDOW_MIN: state.windowMin,
      WINDOW_MAX: windowLargest,
      MAPHASH_LEN: mapHashLength,
      RANDOM_HASH_SIZE: randomHashLength,
      HASHMAP_MAX_LEN: mapSegmentLength,
      COLLISION_GUARD_SIZE: collisionGuard,
      MAX_EFFICIENT_SIZE: segmentSize,
      METADATA_MAX_SIZE: metadataLongest,
      MAX_RETRIES: retriesMost,
      MAX_ADV_RETRIES: sender.retriesLeft,
      HASHMAP_IS_EXHAUSTED: firstByte(new Uint8Array(mapHashLength)),
      HASHMAP_IS_NOT_EXHAUSTED: firstByte(undefined),
      WINDOW_MAX_SLOW: state.windowMax,
      WINDOW_MAX_VERY_SLOW: windowMaxVerySlow,
      WINDOW_MAX_FAST: windowLargest,
      WINDOW_FLEXIBILITY: windowFlexibility,
      FAST_RATE_THRESHOLD: fastRoundsNeeded,
      VERY_SLOW_RATE_THRESHOLD: verySlowRoundsNeeded,
      RATE_FAST: rateFast,
      RATE_VERY_SLOW: rateVerySlow,
      PART_TIMEOUT_FACTOR: patienceBefore,
      PART_TIMEOUT_FACTOR_AFTER_RTT: patienceAfter,
      PROOF_TIMEOUT_FACTOR: proofRtts,
      AUTO_COMPRESS_MAX_SIZE: compressedMost,
    };
  },

  wire_resource_decompress_limit() {
    return {
      max_decompressed_size: compressedMost,
      auto_compress_limit: compressedMost,
      constant: compressedMost,
    };
  },

  wire_resource_receiver_request_state(params) {
    const segment = segmentOf(nodeOf(params), outLinkOf(params), 1500, 200);
    const receiving = receiverOf(segment);
    const { state } = receiving;
    const initial = {
      window: state.window,
      window_min: state.windowMin,
      window_max: state.windowMax,
      total_parts: state.hashes.length,
      consecutive_height_initial: state.next - 1,
      hashmap_height_initial: state.height,
      waiting_for_hmu_initial: state.awaitingHashmap,
    };
    const fed = Math.min(integerIf(params, 'n') ?? 2, state.hashes.length);
    for (let index = 0; index < fed; index++) receiving.feed(index);
    return {
      ...initial,
      fed,
      received_count: state.received,
      consecutive_height_after: state.next - 1,
      hashmap_height_after: state.height,
    };
  },

  wire_inject_hashmap_update(params) {
    const segment = segmentOf(nodeOf(params), outLinkOf(params), 12_000, 150);
    const receiving = receiverOf(segment);
    const { state } = receiving;
    const advertised = state.height;
    // An update is read when it was asked for: so many parts are fed that it is.
    for (let index = 0; !state.awaitingHashmap && index < advertised; index++) receiving.feed(index);
    const end = Math.min(2 * mapSegmentLength, segment.hashes.length);
    const hashmap = segment.hashmap.subarray(mapSegmentLength * mapHashLength, end * mapHashLength);
    const update = () => {
      receiving.step({ on: 'hashmap', mapSegment: 1, hashmap });
      return state.height;
    };
    const first = update();
    const second = update();
    return {
      total_parts: segment.hashes.length,
      height_after_advert: advertised,
      height_after_first: first,
      height_after_duplicate: second,
      grew_on_first: first > advertised,
      grew_on_duplicate: second > first,
    };
  },

  wire_resource_request_next_content(params) {
    const node = nodeOf(params);
    const variant = textOf(params, 'variant');
    const exhausts = variant === 'exhausted';
    const link = outLinkOf(params);
    const segment = exhausts ? segmentOf(node, link, 14_000, 150) : segmentOf(node, link, 1500, 200);
    const receiving = receiverOf(segment);
    const { state, requests } = receiving;
    // What the receiver knew when it made its latest request.
    let knew = { window: state.window, next: state.next };
    const feed = exhausts ? mapSegmentLength - 1 : variant === 'after_parts' ? 2 : 0;
    for (let index = 0; index < feed; index++) {
      const made = requests.length;
      receiving.feed(index);
      if (requests.length > made) knew = { window: state.window, next: state.next };
    }
    if (variant === 'after_parts') {
      receiving.step({ on: 'time' }, receiverWakeAt(state));
      knew = { window: state.window, next: state.next };
    }
    const request = decodePartRequest(requests.at(-1)!);
    const made = requests.length;
    if (exhausts) receiving.feed(mapSegmentLength - 1);
    const expected: string[] = [];
    for (let at = knew.next; at < Math.min(knew.next + knew.window, state.height); at++) {
      expected.push(hex(hashOf(segment, at)));
    }
    return {
      variant,
      window: knew.window,
      total_parts: segment.hashes.length,
      hashmap_height: state.height,
      consecutive_height: feed - 1,
      requested: wantedOf(request),
      expected,
      exhausted: request.exhaustedAt !== undefined,
      waiting_for_hmu: state.awaitingHashmap,
      second_request_emitted: requests.length > made,
    };
  },

  wire_resource_late_after_cancel(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const late = segmentOf(node, link, 12_000, 150);
    const receiving = receiverOf(late);
    const { state } = receiving;
    receiving.step({ on: 'cancel' });
    const before = { received: state.received, height: state.height };
    receiving.feed(0);
    const receivedAfter = state.received;
    const hashmap = late.hashmap.subarray(
      mapSegmentLength * mapHashLength,
      2 * mapSegmentLength * mapHashLength,
    );
    receiving.step({ on: 'hashmap', mapSegment: 1, hashmap });
    const segment = segmentOf(node, link, 1500, 200);
    const request = { hash: segment.advertisement.hash, exhaustedAt: undefined, wanted: segment.hashmap };
    const [sender] = startSender(segment, 10, 1000, now);
    stepSender(sender, { on: 'cancel' }, now);
    const senderStatus = sender.at;
    const sentBefore = sender.sentParts;
    stepSender(sender, { on: 'request', request }, now);
    const sentAfter = sender.sentParts;
    stepSender(sender, { on: 'proof', proof: segment.expectedProof }, now);
    const [control] = startSender(segment, 10, 1000, now);
    stepSender(control, { on: 'request', request }, now);
    stepSender(control, { on: 'proof', proof: segment.expectedProof }, now);
    return {
      receiver_status: named(state.at),
      receiver_received_before: before.received,
      receiver_received_after_late_part: receivedAfter,
      receiver_height_before: before.height,
      receiver_height_after_late_hmu: state.height,
      sender_status: named(senderStatus),
      sender_sent_before: sentBefore,
      sender_sent_after_late_request: sentAfter,
      sender_status_after_late_proof: named(sender.at),
      control_status_after_proof: named(control.at),
    };
  },

  wire_resource_part_count_derivation(params) {
    const segment = segmentOf(nodeOf(params), outLinkOf(params), 1500, 200);
    const { advertisement } = segment;
    const { state } = receiverOf(segment, { ...advertisement, parts: advertisement.parts + 5 });
    return {
      sender_parts: segment.hashes.length,
      adv_n_genuine: advertisement.parts,
      adv_n_tampered: advertisement.parts + 5,
      transfer_size: advertisement.transferSize,
      receiver_sdu: state.partLength,
      receiver_total_parts: state.hashes.length,
      derived_expected: Math.ceil(advertisement.transferSize / state.partLength),
    };
  },

  /**
   * Two parts that have the same map hash under a random hash, which is the first that the sender draws: both are
   * looked for among random ones, as nobody can make them.
   */
  wire_resource_force_collision(params) {
    const { random } = nodeOf(params);
    const length = 200;
    const unlucky = random.bytes(randomHashLength);
    const [one, other] = collision(random, length, unlucky);
    const sealed = new Uint8Array(3 * length);
    sealed.set(one);
    sealed.set(other, length);
    sealed.set(random.bytes(length), 2 * length);
    const drawn: Uint8Array[] = [];
    const loaded: Random = {
      fraction: () => random.fraction(),
      bytes(count) {
        const bytes = drawn.length === 1 ? unlucky : random.bytes(count);
        drawn.push(bytes);
        return bytes;
      },
    };
    const data = random.bytes(3 * length);
    const facts = {
      dataSize: data.length,
      segment: 1,
      segments: 1,
      originalHash: undefined,
      requestId: undefined,
      flags: { compressed: false, split: false, request: false, response: false, metadata: false },
    };
    const sealer = { seal: () => sealed, open: (token: Uint8Array) => token };
    const { advertisement, hashes } = sealSegment(data, data, facts, mtuFor(length), sealer, loaded);
    const after = hex(advertisement.randomHash);
    return {
      remapped: after !== hex(unlucky),
      random_hash_before: hex(drawn[1]!),
      random_hash_after: after,
      hashmap_changed: hashes[0] !== hashes[1],
      num_parts: hashes.length,
    };
  },
};

function collision(random: Random, length: number, randomHash: Uint8Array): [Uint8Array, Uint8Array] {
  const seen = new Map<number, Uint8Array>();
  for (;;) {
    const part = random.bytes(length);
    const hash = mapHashOf(part, randomHash);
    const twin = seen.get(hash);
    if (twin !== undefined) return [twin, part];
    seen.set(hash, part);
  }
}

function named(at: string): string {
  return at === 'failed' ? 'FAILED' : at === 'done' ? 'COMPLETE' : at.toUpperCase();
}

/** The constants are the same for every link; the suite names none. */
function outLinkOfAny(params: Parameters<typeof nodeOf>[0]) {
  const [link] = nodeOf(params).links.all();
  if (link === undefined) throw new Error('there is no link');
  return link;
}
