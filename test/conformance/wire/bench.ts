import { silentLog } from '../../../src/lib/log.ts';
import type { LinkPort } from '../../../src/mesh/reticulum/link-port.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import { linkMdu } from '../../../src/mesh/reticulum/link-wire.ts';
import { contexts } from '../../../src/mesh/reticulum/packet.ts';
import {
  type ResourceReceiver,
  startReceiver,
  stepReceiver,
  windowFirst,
} from '../../../src/mesh/reticulum/resource-receiver.ts';
import { partOf, type SealedSegment, sealSegment } from '../../../src/mesh/reticulum/resource-segment.ts';
import {
  decodeAdvertisement,
  type PartRequest,
  partSize,
  type ResourceAdvertisement,
} from '../../../src/mesh/reticulum/resource-wire.ts';
import { twin } from './link-injectors.ts';
import type { Node } from './node.ts';

/** Something that a link's contents said, before it was sealed. */
export interface Said {
  readonly context: number;
  readonly body: Uint8Array;
}

/** A link's port with nobody behind it: what its contents say is noted, and the test answers. */
export interface Bench extends LinkPort {
  readonly said: readonly Said[];
  /** What was said in one context, the oldest first. */
  of(context: number): readonly Uint8Array[];
}

const plain = { compressed: false, split: false, request: false, response: false, metadata: false };

/** `sdu`: bytes of a Resource's part, where it is not to be the link's own. */
export function benchOf(node: Node, link: Link, { sdu, rtt }: { sdu?: number; rtt?: number } = {}): Bench {
  const said: Said[] = [];
  const { seal, open } = twin(node, link);
  const mtu = sdu === undefined ? link.mtu : mtuFor(sdu);
  return {
    id: link.id,
    mtu,
    mdu: sdu === undefined ? link.mdu : Math.max(linkMdu(mtu), 0),
    rtt: rtt ?? link.rtt,
    establishmentRate: 1_000_000,
    backlog: 0,
    usable: true,
    source: 'bench',
    remote: link.remote,
    clock: node.clock,
    random: node.random,
    log: silentLog,
    counters: node.counters,
    seal,
    open,
    sendSealed(context, body, told) {
      told?.before(node.random.bytes(32));
      said.push({ context, body: new Uint8Array(body) });
    },
    sendClear(_as, context, body) {
      said.push({ context, body: new Uint8Array(body) });
    },
    close() {},
    said,
    of: context => said.filter(one => one.context === context).map(({ body }) => body),
  };
}

export function mtuFor(sdu: number): number {
  return sdu + (1000 - partSize(1000));
}

/** A genuine segment of random data, sealed with the link's key, in parts of so many bytes. */
export function segmentOf(node: Node, link: Link, length: number, sdu: number): SealedSegment {
  const data = node.random.bytes(length);
  const facts = {
    dataSize: length,
    segment: 1,
    segments: 1,
    originalHash: undefined,
    requestId: undefined,
    flags: plain,
  };
  return sealSegment(data, data, facts, mtuFor(sdu), twin(node, link), node.random);
}

/** The receiver of a segment, and the requests it made. */
export interface Receiving {
  readonly state: ResourceReceiver;
  readonly requests: Uint8Array[];
  /** Hands it a part of the segment. */
  feed(index: number): void;
  step(input: Parameters<typeof stepReceiver>[1], now?: number): void;
}

export function receiverOf(
  segment: SealedSegment,
  advertisement: ResourceAdvertisement = segment.advertisement,
) {
  const mtu = mtuFor(segment.partLength);
  const [state, first] = startReceiver(advertisement, mtu, 1_000_000, windowFirst, 0);
  const requests: Uint8Array[] = [];
  const note = (effects: ReturnType<typeof stepReceiver>) => {
    for (const effect of effects) if (effect.do === 'request') requests.push(effect.body);
  };
  note(first);
  const receiving: Receiving = {
    state,
    requests,
    feed: index => receiving.step({ on: 'part', data: partOf(segment, index) }),
    step: (input, now = 0) => note(stepReceiver(state, input, now)),
  };
  return receiving;
}

/** What was asked for, as a list of map hashes in hex. */
export function wantedOf({ wanted }: PartRequest): string[] {
  const hashes: string[] = [];
  for (let at = 0; at < wanted.length; at += 4) hashes.push(wanted.subarray(at, at + 4).toHex());
  return hashes;
}

export function hashOf(segment: SealedSegment, index: number): Uint8Array {
  return segment.hashmap.subarray(index * 4, index * 4 + 4);
}

/** The first advertisement that was made on a bench. */
export function advertisedOn(bench: Bench): ResourceAdvertisement | undefined {
  const [body] = bench.of(contexts.resourceAdvertisement);
  return body && decodeAdvertisement(body);
}
