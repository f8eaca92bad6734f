import { isGatewayError } from '../../../src/lib/errors.ts';
import { decode, encode } from '../../../src/lib/msgpack.ts';
import { IncomingBudget } from '../../../src/mesh/reticulum/incoming-budget.ts';
import { LinkContents } from '../../../src/mesh/reticulum/link-contents.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import { contexts } from '../../../src/mesh/reticulum/packet.ts';
import { IncomingResources } from '../../../src/mesh/reticulum/resource-incoming.ts';
import { OutgoingResources } from '../../../src/mesh/reticulum/resource-outgoing.ts';
import { partOf, type SealedSegment, segmentHashes } from '../../../src/mesh/reticulum/resource-segment.ts';
import { type ResourceSender, startSender, stepSender } from '../../../src/mesh/reticulum/resource-sender.ts';
import {
  encodeAdvertisement,
  encodePartRequest,
  encodeResourceProof,
  mapHashOf,
  type ResourceAdvertisement,
} from '../../../src/mesh/reticulum/resource-wire.ts';
import type { Commands } from '../command.ts';
import { hex, textOf } from '../params.ts';
import { advertisedOn, type Bench, benchOf, hashOf, receiverOf, segmentOf } from './bench.ts';
import { type Node, nodeOf } from './node.ts';
import { statuses } from './resources.ts';
import { outLinkOf } from './state.ts';
import { sleep, until } from './waiting.ts';

/** ms since some moment: the state machines are told what time it is. */
const now = 0;
const senderStatus: Readonly<Record<ResourceSender['at'], string>> = {
  advertised: 'ADVERTISED',
  transferring: 'TRANSFERRING',
  'awaiting-proof': 'AWAITING_PROOF',
  done: 'COMPLETE',
  failed: 'FAILED',
};
const strategies = { none: 0, all: 2 } as const;

export const commands: Commands = {
  async wire_inject_crafted_resource_proof(params) {
    const node = nodeOf(params);
    const variant = textOf(params, 'variant');
    const bench = benchOf(node, outLinkOf(params));
    const outgoing = new OutgoingResources(bench, undefined);
    const data = node.random.bytes(200);
    const stop = new AbortController();
    let concluded = false;
    outgoing.send(data, { signal: stop.signal }).then(
      () => {
        concluded = true;
      },
      () => {},
    );
    const advertised = await until(() => advertisedOn(bench), 5000);
    if (advertised === undefined) throw new Error('nothing was advertised');
    const { hash, randomHash } = advertised;
    const genuine = encodeResourceProof({ hash, proof: segmentHashes(data, randomHash).proof });
    const proofs: Readonly<Record<string, () => Uint8Array>> = {
      valid: () => genuine,
      wrong_proof: () => encodeResourceProof({ hash, proof: node.random.bytes(32) }),
      wrong_length_short: () => genuine.subarray(0, 32),
      wrong_length_long: () => Uint8Array.of(...genuine, ...node.random.bytes(32)),
    };
    const proof = proofs[variant]?.();
    if (proof === undefined) throw new Error(`no such proof: ${variant}`);
    refused(() => outgoing.proof(proof));
    await until(() => concluded, 200);
    const done = concluded;
    stop.abort();
    return {
      variant,
      concluded: done,
      status: done ? statuses.complete : 2,
      status_name: done ? 'COMPLETE' : 'ADVERTISED',
      proof_len: proof.length,
    };
  },

  wire_inject_crafted_resource_part(params) {
    const node = nodeOf(params);
    const variant = textOf(params, 'variant');
    const segment = segmentOf(node, outLinkOf(params), 1500, 200);
    const receiving = receiverOf(segment);
    const { state } = receiving;
    const { window } = state;
    if (variant === 'duplicate_filled') receiving.feed(0);
    const before = state.received;
    if (variant === 'forged_map_hash') {
      receiving.step({ on: 'part', data: node.random.bytes(segment.partLength) });
    } else {
      receiving.feed(variant === 'beyond_window' ? window : 0);
    }
    return {
      variant,
      accepted: state.received > before,
      parts_before: before,
      parts_after: state.received,
      total_parts: state.hashes.length,
      window,
      received_count_after: state.received,
    };
  },

  async wire_inject_crafted_resource_request(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const variant = textOf(params, 'variant');
    switch (variant) {
      case 'misaligned_hmu':
        return { variant, ...exhaustedAt(segmentOf(node, link, 6000, 50), 0) };
      case 'aligned':
        return { variant, ...exhaustedAt(segmentOf(node, link, 6000, 50), 73) };
      case 'aligned_scope':
        return {
          variant,
          part_index: 148,
          window_max: 75,
          ...exhaustedAt(segmentOf(node, link, 9000, 50), 147),
        };
      case 'serve_all':
        return { variant, ...serveAll(segmentOf(node, link, 1500, 200)) };
      case 'duplicate':
        return { variant, ...(await askTwice(node, link)) };
      default:
        throw new Error(`no such part request: ${variant}`);
    }
  },

  async wire_inject_corrupt_assembled_resource(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const variant = textOf(params, 'variant');
    const genuine = segmentOf(node, link, 900, 200);
    const segment = variant === 'corrupt' ? spoilt(node, genuine) : genuine;
    const arriving = arrivals(node, link);
    arriving.incoming.advertised(encodeAdvertisement(segment.advertisement));
    for (let index = 0; index < segment.hashes.length; index++)
      arriving.incoming.part(partOf(segment, index));
    await until(() => arriving.complete > 0 || arriving.failed !== undefined, 3000);
    const proofs = arriving.proofs();
    return {
      variant,
      status: arriving.complete > 0 ? statuses.complete : statuses.corrupt,
      status_name: arriving.complete > 0 ? 'COMPLETE' : 'CORRUPT',
      complete: arriving.complete > 0,
      corrupt: isGatewayError(arriving.failed, 'wire/malformed'),
      proof_calls: proofs,
      proof_sent: proofs > 0,
      total_parts: segment.hashes.length,
    };
  },

  async wire_inject_duplicate_resource_adv(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const arriving = arrivals(node, link);
    const body = encodeAdvertisement(segmentOf(node, link, 800, link.mtu - 36).advertisement);
    arriving.incoming.advertised(body);
    const first = arriving.started;
    arriving.incoming.advertised(body);
    return {
      first_accepted: first === 1,
      second_created: arriving.started > first,
      incoming_count: arriving.started,
      incoming_count_after_first: first,
    };
  },

  wire_inject_malformed_resource_adv(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const variant = textOf(params, 'variant');
    const arriving = arrivals(node, link);
    const genuine = encodeAdvertisement(segmentOf(node, link, 400, link.mtu - 36).advertisement);
    const { crashed } = refused(() =>
      arriving.incoming.advertised(
        variant === 'garbage' ? Uint8Array.of(0xc1, ...node.random.bytes(40)) : withoutHash(genuine),
      ),
    );
    return { variant, inbound_started: arriving.started > 0, crashed };
  },

  wire_inject_resource_adv_flags(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const variant = textOf(params, 'variant');
    const strategy = variant === 'plain_accept_all' ? 'all' : 'none';
    const bench = benchOf(node, link);
    const contents = new LinkContents(bench, {
      sign: () => new Uint8Array(64),
      verify: () => false,
      proofStrategy: () => 'none',
      onPacket: () => {},
      compressor: undefined,
      budget: new IncomingBudget(),
      handlers: undefined,
      maxRequestSize: undefined,
      onResourceOffer: () => (strategy === 'all' ? { onResource: () => {} } : 'ignore'),
    });
    const { advertisement } = segmentOf(node, link, 600, bench.mtu - 36);
    contents.take(
      contexts.resourceAdvertisement,
      encodeAdvertisement(flagged(node, variant, advertisement)),
      node.random.bytes(32),
    );
    const accepted = bench.of(contexts.resourceRequest).length > 0;
    contents.lost();
    return { variant, accepted, strategy: strategies[strategy] };
  },

  async wire_resource_receiver_proof_count(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const segment = segmentOf(node, link, 1200, 200);
    const arriving = arrivals(node, link, 200);
    arriving.incoming.advertised(encodeAdvertisement(segment.advertisement));
    const total = segment.hashes.length;
    for (let index = 0; index < total - 1; index++) arriving.incoming.part(partOf(segment, index));
    await sleep(20);
    const before = arriving.proofs();
    arriving.incoming.part(partOf(segment, total - 1));
    await until(() => arriving.complete > 0, 3000);
    return {
      total_parts: total,
      proofs_before_final: before,
      proofs_after_assembly: arriving.proofs(),
      status_name: arriving.complete > 0 ? 'COMPLETE' : 'TRANSFERRING',
      complete: arriving.complete > 0,
    };
  },

  async wire_resource_progress(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const segment = segmentOf(node, link, 1500, 200);
    const arriving = arrivals(node, link, 200);
    arriving.incoming.advertised(encodeAdvertisement(segment.advertisement));
    const total = segment.hashes.length;
    const fed = Math.floor(total / 2);
    const initial = arriving.progress.at(-1) ?? 0;
    for (let index = 0; index < fed; index++) arriving.incoming.part(partOf(segment, index));
    const calls = arriving.progress.length;
    const mid = arriving.progress.at(-1) ?? 0;
    arriving.incoming.lost();
    return {
      total_parts: total,
      fed,
      received_count: Math.round(mid * total),
      progress_initial: initial,
      progress_mid: mid,
      progress_callback_calls: calls,
    };
  },

  async wire_resource_window_inheritance(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const arriving = arrivals(node, link, 150);
    const first = segmentOf(node, link, 1500, 150);
    arriving.incoming.advertised(encodeAdvertisement(first.advertisement));
    for (let index = 0; index < first.hashes.length; index++) arriving.incoming.part(partOf(first, index));
    await until(() => arriving.complete > 0, 3000);
    const learnt = arriving.incoming.memory?.window ?? 0;
    const asked = arriving.bench.of(contexts.resourceRequest).length;
    // Long enough that the window is what bounds the first request.
    arriving.incoming.advertised(encodeAdvertisement(segmentOf(node, link, 6000, 150).advertisement));
    const request = arriving.bench.of(contexts.resourceRequest)[asked];
    arriving.incoming.lost();
    return {
      default_window: receiverOf(first).state.window,
      total_parts_1: first.hashes.length,
      completed_1: arriving.complete > 0,
      window_after_complete: learnt,
      link_last_window: learnt,
      window2_initial: request === undefined ? 0 : (request.length - 33) / 4,
    };
  },

  async wire_resource_outgoing_queue_state(params) {
    const node = nodeOf(params);
    const bench = benchOf(node, outLinkOf(params));
    const outgoing = new OutgoingResources(bench, undefined);
    const stop = new AbortController();
    const advertised = () => bench.of(contexts.resourceAdvertisement).length;
    const send = () => outgoing.send(node.random.bytes(800), { signal: stop.signal }).catch(() => {});
    void send();
    const left = await until(() => advertised() === 1, 3000);
    void send();
    const second = await until(() => advertised() > 1, 200);
    stop.abort();
    return {
      ready_empty: left === true,
      ready_with_one: second === true,
      first_status: 2,
      first_status_name: 'ADVERTISED',
      second_status: second === true ? 2 : statuses.queued,
      second_status_name: second === true ? 'ADVERTISED' : 'QUEUED',
      queued: second !== true,
    };
  },
};

/** What comes in on a bench, and what became of it. */
interface Arrivals {
  readonly bench: Bench;
  readonly incoming: IncomingResources;
  started: number;
  complete: number;
  failed: Error | undefined;
  readonly progress: number[];
  proofs(): number;
}

function arrivals(node: Node, link: Link, sdu = 200): Arrivals {
  const bench = benchOf(node, link, { sdu });
  const arriving: Arrivals = {
    bench,
    started: 0,
    complete: 0,
    failed: undefined,
    progress: [],
    proofs: () => bench.of(contexts.resourceProof).length,
    incoming: new IncomingResources(bench, node.compressor, new IncomingBudget(), () => ({
      onStart: () => {
        arriving.started += 1;
      },
      onProgress: progress => arriving.progress.push(progress),
      onFailed: error => {
        arriving.failed = error;
      },
      onResource: resource => {
        arriving.complete += 1;
        resource.prove();
      },
    })),
  };
  return arriving;
}

/** What a sender does when the map hashes after a part are asked for. */
function exhaustedAt(segment: SealedSegment, part: number) {
  const [state] = startSender(segment, 10, 1000, now);
  const before = state.searchFrom;
  const wanted = new Uint8Array(0);
  const request = { hash: segment.advertisement.hash, exhaustedAt: hashOf(segment, part), wanted };
  stepSender(state, { on: 'request', request }, now);
  return {
    cancelled: state.at === 'failed',
    status: state.at === 'failed' ? statuses.failed : statuses.transferring,
    status_name: senderStatus[state.at],
    scope_before: before,
    scope_after: state.searchFrom,
  };
}

function serveAll(segment: SealedSegment) {
  const [state] = startSender(segment, 10, 1000, now);
  const request = { hash: segment.advertisement.hash, exhaustedAt: undefined, wanted: segment.hashmap };
  const ask = () =>
    stepSender(state, { on: 'request', request }, now).flatMap(effect =>
      effect.do === 'part' ? [effect.index] : [],
    );
  const served = ask();
  const { sentParts, at } = state;
  const bytes = (indices: readonly number[]) => indices.map(index => hex(partOf(segment, index))).join();
  return {
    served_indices: served,
    sent_parts: sentParts,
    total_parts: segment.hashes.length,
    identical_on_resend: bytes(ask()) === bytes(served),
    status_name: senderStatus[at],
  };
}

/** The same packet asks for everything twice. */
async function askTwice(node: Node, link: Link) {
  const bench = benchOf(node, link, { sdu: 200 });
  const outgoing = new OutgoingResources(bench, undefined);
  const stop = new AbortController();
  outgoing.send(node.random.bytes(1500), { signal: stop.signal }).catch(() => {});
  const advertised = await until(() => advertisedOn(bench), 3000);
  if (advertised === undefined) throw new Error('nothing was advertised');
  const { hash, hashmap, parts } = advertised;
  const body = encodePartRequest({ hash, exhaustedAt: undefined, wanted: hashmap });
  const packet = node.random.bytes(32);
  const served = () => bench.of(contexts.resource).length;
  outgoing.partRequest(body, packet);
  const first = served();
  outgoing.partRequest(body, packet);
  const second = served();
  stop.abort();
  const deduped = second === first;
  return {
    total_parts: parts,
    first_served: first,
    second_served: second,
    first_in_hashlist: deduped,
    req_hashlist_len: deduped ? 1 : 2,
    deduped,
  };
}

/** A segment one byte of which was changed before it was cut into parts: every part is as advertised, the whole is not. */
function spoilt(node: Node, { sealed, partLength, ...segment }: SealedSegment): SealedSegment {
  const damaged = new Uint8Array(sealed);
  damaged[Math.floor(damaged.length / 2)]! ^= 1 + (node.random.bytes(1)[0]! % 255);
  const { advertisement } = segment;
  const hashes = segment.hashes.map((_, index) =>
    mapHashOf(damaged.subarray(index * partLength, (index + 1) * partLength), advertisement.randomHash),
  );
  const hashmap = new Uint8Array(hashes.length * 4);
  const view = new DataView(hashmap.buffer);
  for (const [index, hash] of hashes.entries()) view.setUint32(index * 4, hash);
  return {
    ...segment,
    sealed: damaged,
    partLength,
    hashes,
    hashmap,
    advertisement: { ...advertisement, hashmap: hashmap.subarray(0, advertisement.hashmap.length) },
  };
}

function flagged(node: Node, variant: string, advertisement: ResourceAdvertisement): ResourceAdvertisement {
  const request = variant === 'request_autoaccept';
  const response = variant === 'response_no_pending_request';
  return {
    ...advertisement,
    requestId: request || response ? node.random.bytes(16) : undefined,
    flags: { ...advertisement.flags, request, response },
  };
}

function withoutHash(body: Uint8Array): Uint8Array {
  const map = decode(body, { maxDepth: 2 });
  if (!(map instanceof Map)) throw new Error('no advertisement');
  map.delete('h');
  return encode(map);
}

/** Whether something failed otherwise than by saying that it cannot be read. */
function refused(act: () => void): { crashed: boolean } {
  try {
    act();
    return { crashed: false };
  } catch (error) {
    return { crashed: !(isGatewayError(error) && error.code.startsWith('wire/')) };
  }
}
