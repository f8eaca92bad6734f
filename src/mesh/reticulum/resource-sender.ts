import { equal } from '../../lib/bytes.ts';
import { retriesMost } from './resource-receiver.ts';
import type { SealedSegment } from './resource-segment.ts';
import {
  collisionGuard,
  encodeHashmapUpdate,
  mapHashLength,
  mapSegmentLength,
  type PartRequest,
  windowLargest,
} from './resource-wire.ts';

/**
 * The sender of one segment of a Resource: advertises, sends the parts it is asked for, waits for the
 * proof.
 *
 *     advertised ──request──► transferring ◄──request── awaiting proof
 *         │                        └──all parts sent once──►┘      │
 *         │                                                        └──proof──► done
 *         └──out of retries, cancel, rejected, lost, requests that cannot be──► failed
 *
 * The state is stepped in place. Times are monotonic ms.
 *
 * Source: SPEC.md §10; figures checked against RNS 1.5.7.
 */
export interface ResourceSender {
  at: 'advertised' | 'transferring' | 'awaiting-proof' | 'done' | 'failed';
  readonly segment: SealedSegment;
  /** Of the link, ms, until the first request tells better. */
  rtt: number;
  /** ms the receiver has to ask for parts after an advertisement. */
  readonly advertisementTimeout: number;
  advertisedAt: number;
  lastActivity: number;
  lastPartAt: number;
  retriesLeft: number;
  /** 1 where the part was sent. */
  readonly sent: Uint8Array;
  sentParts: number;
  /** Parts below this are not asked for any more. */
  searchFrom: number;
}

export type SenderInput =
  | { readonly on: 'request'; readonly request: PartRequest }
  /** SHA-256 of data and hash, as the receiver says. */
  | { readonly on: 'proof'; readonly proof: Uint8Array }
  | { readonly on: 'cancel' }
  /** The receiver does not want it. */
  | { readonly on: 'rejected' }
  | { readonly on: 'lost' }
  | { readonly on: 'time' };

export type SenderEffect =
  | { readonly do: 'advertise' }
  | { readonly do: 'part'; readonly index: number }
  | { readonly do: 'hashmap'; readonly body: Uint8Array }
  | { readonly do: 'progress' }
  /** Ask for the proof again: it may have been lost on the way. */
  | { readonly do: 'query-proof' }
  | { readonly do: 'done' }
  | { readonly do: 'cancel' }
  | { readonly do: 'failed'; readonly why: SenderFailure };

export type SenderFailure = 'timeout' | 'unproven' | 'cancelled' | 'rejected' | 'lost' | 'malformed';

const advertisementRetries = 4;
const processingGrace = 1000;
const senderGrace = 10_000;
const requestRtts = 6;
export const proofRtts = 3;
const proofRetries = 3;
/** 0.5 s more for each retry the receiver has: 0.5 + 1 + … + 8 s. */
const retryWaits = (500 * retriesMost * (retriesMost + 1)) / 2;

/** Starts by advertising. `timeout`: ms the receiver has for its first request, beside one second of grace. */
export function startSender(
  segment: SealedSegment,
  linkRtt: number,
  timeout: number,
  now: number,
): readonly [ResourceSender, readonly SenderEffect[]] {
  const state: ResourceSender = {
    at: 'advertised',
    segment,
    rtt: linkRtt,
    advertisementTimeout: timeout + processingGrace,
    advertisedAt: now,
    lastActivity: now,
    lastPartAt: now,
    retriesLeft: advertisementRetries,
    sent: new Uint8Array(segment.advertisement.parts),
    sentParts: 0,
    searchFrom: 0,
  };
  return [state, [{ do: 'advertise' }]];
}

/** One step, in place. A sender that is done or failed stays so. */
export function stepSender(state: ResourceSender, input: SenderInput, now: number): readonly SenderEffect[] {
  if (state.at === 'done' || state.at === 'failed') {
    return [];
  }
  switch (input.on) {
    case 'request':
      return answer(state, input.request, now);
    case 'proof':
      if (!equal(input.proof, state.segment.expectedProof)) {
        return [];
      }
      state.at = 'done';
      return [{ do: 'done' }];
    case 'cancel':
      return fail(state, 'cancelled');
    case 'rejected':
      return fail(state, 'rejected');
    case 'lost':
      return fail(state, 'lost');
    case 'time':
      return now >= senderWakeAt(state) ? late(state, now) : [];
  }
}

/** When it wants to be stepped with `time`. */
export function senderWakeAt(state: ResourceSender): number {
  switch (state.at) {
    case 'advertised':
      return state.advertisedAt + state.advertisementTimeout;
    case 'transferring':
      return state.lastActivity + state.rtt * requestRtts * retriesMost + senderGrace + retryWaits;
    case 'awaiting-proof':
      return state.lastPartAt + state.rtt * proofRtts + senderGrace;
    default:
      return Number.POSITIVE_INFINITY;
  }
}

/** 0 … 1 of this segment. */
export function senderProgress(state: ResourceSender): number {
  return state.sentParts / state.segment.advertisement.parts;
}

function answer(state: ResourceSender, request: PartRequest, now: number): readonly SenderEffect[] {
  const { segment } = state;
  if (state.at === 'advertised') {
    state.rtt = now - state.advertisedAt;
  }
  state.at = 'transferring';
  state.retriesLeft = retriesMost;
  state.lastActivity = now;
  const effects: SenderEffect[] = [];
  const { wanted } = request;
  const view = new DataView(wanted.buffer, wanted.byteOffset, wanted.length);
  const asked = Math.min(wanted.length / mapHashLength, windowLargest + mapSegmentLength);
  let cursor = state.searchFrom;
  for (let at = 0; at < asked; at++) {
    const index = find(state, view.getUint32(at * mapHashLength), cursor);
    if (index < 0) {
      continue;
    }
    cursor = index + 1;
    if (state.sent[index] === 0) {
      state.sent[index] = 1;
      state.sentParts += 1;
    }
    state.lastPartAt = now;
    effects.push({ do: 'part', index });
  }
  if (request.exhaustedAt !== undefined) {
    const body = nextHashes(state, request.exhaustedAt);
    if (body === undefined) {
      return fail(state, 'malformed');
    }
    effects.push({ do: 'hashmap', body });
  }
  if (state.sentParts === segment.advertisement.parts) {
    state.at = 'awaiting-proof';
    state.retriesLeft = proofRetries;
  }
  effects.push({ do: 'progress' });
  return effects;
}

/** The part of this map hash, looked for from `cursor` on and then from the start of what may be asked for; -1 where there is none. */
function find(state: ResourceSender, mapHash: number, cursor: number): number {
  const { hashes } = state.segment;
  const end = Math.min(state.searchFrom + collisionGuard, hashes.length);
  for (let index = cursor; index < end; index++) {
    if (hashes[index] === mapHash) {
      return index;
    }
  }
  for (let index = state.searchFrom; index < cursor; index++) {
    if (hashes[index] === mapHash) {
      return index;
    }
  }
  return -1;
}

/** The update after the hash that the receiver knows last; undefined where that one ends no map segment. */
function nextHashes(state: ResourceSender, last: Uint8Array): Uint8Array | undefined {
  const { hashmap, advertisement } = state.segment;
  const index = find(state, new DataView(last.buffer, last.byteOffset).getUint32(0), state.searchFrom);
  const known = index + 1;
  if (index < 0 || known % mapSegmentLength !== 0 || known >= advertisement.parts) {
    return undefined;
  }
  state.searchFrom = Math.max(known - 1 - windowLargest, 0);
  const end = Math.min(known + mapSegmentLength, advertisement.parts);
  return encodeHashmapUpdate({
    hash: advertisement.hash,
    mapSegment: known / mapSegmentLength,
    hashmap: hashmap.subarray(known * mapHashLength, end * mapHashLength),
  });
}

function late(state: ResourceSender, now: number): readonly SenderEffect[] {
  if (state.at === 'transferring') {
    return fail(state, 'timeout');
  }
  if (state.retriesLeft === 0) {
    return fail(state, state.at === 'advertised' ? 'timeout' : 'unproven');
  }
  state.retriesLeft -= 1;
  if (state.at === 'advertised') {
    state.advertisedAt = now;
    state.lastActivity = now;
    return [{ do: 'advertise' }];
  }
  state.lastPartAt = now;
  return [{ do: 'query-proof' }];
}

function fail(state: ResourceSender, why: SenderFailure): readonly SenderEffect[] {
  state.at = 'failed';
  const failed: SenderEffect = { do: 'failed', why };
  return why === 'rejected' || why === 'lost' ? [failed] : [{ do: 'cancel' }, failed];
}
