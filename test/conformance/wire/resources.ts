import { concat } from '../../../src/lib/bytes.ts';
import { codeOf, isGatewayError } from '../../../src/lib/errors.ts';
import { decode } from '../../../src/lib/msgpack.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import { contexts, decodePacket, truncatedHash } from '../../../src/mesh/reticulum/packet.ts';
import { OutgoingResources } from '../../../src/mesh/reticulum/resource-outgoing.ts';
import { segmentHashes } from '../../../src/mesh/reticulum/resource-segment.ts';
import {
  decodeAdvertisement,
  decodeHashmapUpdate,
  decodePartRequest,
  encodeMetadata,
  encodePartRequest,
  encodeResourceProof,
  mapHashLength,
  mapSegmentLength,
  partSize,
  type ResourceAdvertisement,
  segmentSize,
} from '../../../src/mesh/reticulum/resource-wire.ts';
import type { Commands, Params } from '../command.ts';
import { createHandles } from '../handles.ts';
import { bytesIf, flagOf, hex, hexOrNull, integerIf } from '../params.ts';
import { advertisedOn, type Bench, benchOf } from './bench.ts';
import { twin } from './link-injectors.ts';
import { isOf } from './links.ts';
import { type Node, nodeOf } from './node.ts';
import type { IncomingRecord } from './resource-records.ts';
import { listenerOf, outLinkOf } from './state.ts';
import { timeoutOf, until } from './waiting.ts';

/** The reference's states of a Resource. */
export const statuses = {
  rejected: 0,
  queued: 1,
  transferring: 3,
  complete: 6,
  failed: 7,
  corrupt: 8,
} as const;
const names = [
  'NONE',
  'QUEUED',
  'ADVERTISED',
  'TRANSFERRING',
  'AWAITING_PROOF',
  'ASSEMBLING',
  'COMPLETE',
  'FAILED',
  'CORRUPT',
];

interface Sending {
  readonly stop: AbortController;
  status: number;
}

const sendings = createHandles<Sending>('resource');
/** Bytes that a listener of the suite lets a compressed Resource become. */
export const listenerDecompressed = 256 * 1024;

export const commands: Commands = {
  async wire_resource_send(params) {
    const metadata = bytesIf(params, 'metadata');
    const payload = bytesIf(params, 'data') ?? new Uint8Array(0);
    return send(params, payload, metadata?.length ? metadata : undefined);
  },

  /** Zeros that become a great deal more than they travel as, and than the listener lets them. */
  async wire_resource_send_bomb(params) {
    const wanted = integerIf(params, 'decompressed_size') ?? 2 * listenerDecompressed;
    const size = Math.max(listenerDecompressed + 1, Math.min(wanted, 2 * listenerDecompressed));
    const { success, status, resource_id } = await send(params, new Uint8Array(size), undefined);
    return { success, status, size, resource_id };
  },

  async wire_resource_cancel(params) {
    const sending = sendings.of(params, 'resource_id');
    sending.stop.abort();
    await until(() => sending.status !== statuses.transferring, 2000);
    return { cancelled: true, resource_id: params.resource_id, status: sending.status };
  },

  async wire_resource_receiver_status(params) {
    const node = nodeOf(params);
    const listener = listenerOf(params);
    const concluded = () => {
      const last = listener.incoming.at(-1);
      return last !== undefined && statusOf(last) !== statuses.transferring;
    };
    await until(concluded, timeoutOf(params, 0));
    const record = listener.incoming.at(-1);
    if (record === undefined) return { found: false, resource_count: 0 };
    const status = statusOf(record);
    return {
      found: true,
      resource_count: listener.incoming.length,
      status,
      status_name: names[status] ?? null,
      corrupt: status === statuses.corrupt,
      ...updatesOf(node, listener.links, record),
      max_decompressed_size: listenerDecompressed,
      compressed: record.offer.compressed,
      has_metadata: record.offer.metadata,
      metadata: record.metadata instanceof Uint8Array ? hex(record.metadata) : null,
      data: hexOrNull(record.data),
    };
  },

  async wire_resource_create(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const sdu = integerIf(params, 'force_sdu');
    const metadata = bytesIf(params, 'metadata');
    const data = bytesIf(params, 'data') ?? new Uint8Array(0);
    const bench = benchOf(node, link, sdu === undefined ? {} : { sdu });
    const outgoing = new OutgoingResources(bench, node.compressor);
    const stop = new AbortController();
    const sent = outgoing.send(data, {
      compress: flagOf(params, 'auto_compress', true),
      signal: stop.signal,
      ...(metadata?.length ? { metadata } : {}),
    });
    sent.catch(() => {});
    const advertised = await until(() => advertisedOn(bench), 60_000);
    if (advertised === undefined) throw new Error('nothing was advertised');
    const withParts = flagOf(params, 'include_parts', true);
    const { hashmap, parts } = askForAll(node, bench, outgoing, advertised, withParts);
    const whole = metadata?.length ? concat(encodeMetadata(metadata), data) : data;
    const { proof } = segmentHashes(whole.subarray(0, segmentSize), advertised.randomHash);
    if (withParts) await proofHolds(bench, outgoing, advertised, proof, sent);
    stop.abort();
    return {
      hash: hex(advertised.hash),
      truncated_hash: hex(truncatedHash(advertised.hash)),
      random_hash: hex(advertised.randomHash),
      expected_proof: hex(proof),
      hashmap: hex(hashmap),
      num_parts: advertised.parts,
      encrypted: advertised.flags.encrypted,
      compressed: advertised.flags.compressed,
      split: advertised.flags.split,
      total_segments: advertised.segments,
      segment_index: advertised.segment,
      original_hash: hex(advertised.originalHash),
      has_metadata: advertised.flags.metadata,
      flags: bitsOf(bench),
      size: advertised.transferSize,
      total_size: advertised.dataSize,
      sdu: partSize(bench.mtu),
      ...(withParts ? { parts: parts.map(hex) } : {}),
    };
  },
};

async function send(params: Params, payload: Uint8Array, metadata: Uint8Array | undefined) {
  const node = nodeOf(params);
  const link = outLinkOf(params);
  const sending: Sending = { stop: new AbortController(), status: statuses.transferring };
  const id = sendings.add(sending);
  const waits = flagOf(params, 'wait', true);
  const timeout = timeoutOf(params, 30_000);
  let advertised: ResourceAdvertisement | undefined;
  const cancel = node.wire.watch(raw => {
    advertised ??= advertisementIn(node, link, raw);
    return false;
  });
  const sent = link.sendResource(payload, {
    signal: sending.stop.signal,
    ...(metadata === undefined ? {} : { metadata }),
  });
  const done = sent.then(
    () => {
      sending.status = statuses.complete;
    },
    error => {
      sending.status = isGatewayError(error, 'mesh/rejected') ? statuses.rejected : statuses.failed;
    },
  );
  const over = await Promise.race([
    done.then(() => true),
    until(() => (waits ? false : advertised !== undefined), waits ? timeout : 10_000).then(() => false),
  ]);
  cancel();
  if (waits && !over) {
    sending.stop.abort();
    await done;
  }
  return {
    success: sending.status === statuses.complete,
    status: sending.status,
    started: true,
    timed_out: waits && !over,
    resource_id: id,
    size: payload.length,
    ...aboutOf(advertised),
  };
}

function aboutOf(advertised: ResourceAdvertisement | undefined) {
  if (advertised === undefined) return {};
  return {
    original_hash: hex(advertised.originalHash),
    hash: hex(advertised.hash),
    total_segments: advertised.segments,
    segment_index: advertised.segment,
    parts: advertised.parts,
    compressed: advertised.flags.compressed,
    has_metadata: advertised.flags.metadata,
    split: advertised.flags.split,
  };
}

function advertisementIn(node: Node, link: Link, raw: Uint8Array): ResourceAdvertisement | undefined {
  const clear = node.wire.clear(raw);
  if (clear === undefined || !isOf(clear, link, contexts.resourceAdvertisement)) return undefined;
  return decodeAdvertisement(twin(node, link).open(decodePacket(clear).data));
}

function statusOf(record: IncomingRecord): number {
  if (record.data !== undefined) return statuses.complete;
  if (record.failed === undefined) return statuses.transferring;
  return codeOf(record.failed) === 'wire/malformed' ? statuses.corrupt : statuses.failed;
}

/** How often the receiver had to ask for map hashes, and got them, by what passed the tap. */
function updatesOf(node: Node, links: readonly Link[], record: IncomingRecord) {
  const link = links.at(-1);
  if (link === undefined) return {};
  const { open } = twin(node, link);
  const mine = (frames: typeof node.wire.sent, context: number) =>
    frames
      .filter(({ seq, raw }) => seq > record.since && isOf(raw, link, context))
      .map(({ raw }) => open(decodePacket(raw).data));
  const asked = mine(node.wire.sent, contexts.resourceRequest).map(decodePartRequest);
  const got = mine(node.wire.received, contexts.resourceHashmapUpdate).map(decodeHashmapUpdate);
  const known = got.reduce(
    (most, { mapSegment, hashmap }) =>
      Math.max(most, mapSegment * mapSegmentLength + hashmap.length / mapHashLength),
    mapSegmentLength,
  );
  return {
    hmu_requests_sent: asked.filter(({ exhaustedAt }) => exhaustedAt !== undefined).length,
    hashmap_updates_received: got.length,
    hashmap_height: known,
  };
}

/** Asks the sender for all its parts, as a receiver does: what it answers. */
function askForAll(
  node: Node,
  bench: Bench,
  outgoing: OutgoingResources,
  { hash, hashmap: first, parts: count }: ResourceAdvertisement,
  withParts: boolean,
) {
  let hashmap = first;
  let asked = 0;
  const ask = (exhaustedAt: Uint8Array | undefined) => {
    const wanted = withParts ? hashmap.subarray(asked) : new Uint8Array(0);
    outgoing.partRequest(encodePartRequest({ hash, exhaustedAt, wanted }), node.random.bytes(32));
    asked = hashmap.length;
  };
  while (hashmap.length / mapHashLength < count) {
    ask(hashmap.subarray(hashmap.length - mapHashLength));
    const update = bench.of(contexts.resourceHashmapUpdate).at(-1);
    if (update === undefined) throw new Error('no map hashes came');
    hashmap = concat(hashmap, decodeHashmapUpdate(update).hashmap);
  }
  ask(undefined);
  return { hashmap, parts: bench.of(contexts.resource) };
}

/** A proof that the sender takes is the one it expects. */
async function proofHolds(
  bench: Bench,
  outgoing: OutgoingResources,
  { hash, segments }: ResourceAdvertisement,
  proof: Uint8Array,
  sent: Promise<void>,
): Promise<void> {
  let accepted = false;
  const done = sent.then(() => {
    accepted = true;
  });
  done.catch(() => {});
  outgoing.proof(encodeResourceProof({ hash, proof }));
  const next = () => bench.of(contexts.resourceAdvertisement).length > 1;
  if (!(await until(() => accepted || (segments > 1 && next()), 10_000))) {
    throw new Error('the sender expects another proof');
  }
}

/** The flags of the advertisement as they travel. */
function bitsOf(bench: Bench): number | null {
  const map = decode(bench.of(contexts.resourceAdvertisement)[0]!, { maxDepth: 2 });
  const flags = map instanceof Map ? map.get('f') : undefined;
  return typeof flags === 'number' ? flags : null;
}
