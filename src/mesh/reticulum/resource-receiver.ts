import { header1Length } from './packet.ts';
import {
  encodePartRequest,
  mapHashLength,
  mapHashOf,
  mapSegmentLength,
  partSize,
  type ResourceAdvertisement,
  windowLargest,
} from './resource-wire.ts';

/**
 * The receiver of one segment of a Resource: asks for a window of parts, and for the next one when all
 * of it is here. The window grows by one each round that goes well, and its ceiling is lifted or
 * lowered as the rate shows a fast or a very slow link. On a fast one it doubles, and is halved where a
 * round goes badly: how much to ask for is the receiver's choice, and the reference answers.
 *
 *     transferring ──all parts──► assembling ──sound──► done
 *          │                          └──not what was advertised──► failed
 *          └──out of retries, cancel, cancelled by the sender, nonsense──► failed
 *
 * The state is stepped in place: it owns a buffer as large as the segment, taken when it starts, into
 * which each part goes at once. Times are monotonic ms.
 *
 * Source: SPEC.md §10; figures checked against RNS 1.5.7.
 */
export interface ResourceReceiver {
  at: 'transferring' | 'assembling' | 'done' | 'failed';
  readonly advertisement: ResourceAdvertisement;
  /** The sealed segment, whole once it is assembling. */
  readonly sealed: Uint8Array;
  readonly partLength: number;
  /** Map hashes by part, as numbers; known up to `height`. */
  readonly hashes: Uint32Array;
  height: number;
  /** 1 where the part is here. */
  readonly here: Uint8Array;
  received: number;
  /** The first part that is not here. */
  next: number;
  outstanding: number;
  awaitingHashmap: boolean;
  window: number;
  windowMin: number;
  windowMax: number;
  fastRounds: number;
  verySlowRounds: number;
  retriesLeft: number;
  lastActivity: number;
  /** Of the last part request: when, how long, whether anything came back, and what was here before it. */
  requestedAt: number;
  requestLength: number;
  answered: boolean;
  bytesBefore: number;
  bytesHere: number;
  /** byte/s from a request to its first part; 0 while unknown. */
  responseRate: number;
  /** byte/s over a whole window; 0 while unknown. */
  dataRate: number;
  /** bit/s the sender's parts are expected at: what time-outs are reckoned by. */
  expectedRate: number;
  patience: number;
}

export type ReceiverInput =
  | { readonly on: 'part'; readonly data: Uint8Array }
  | { readonly on: 'hashmap'; readonly mapSegment: number; readonly hashmap: Uint8Array }
  | { readonly on: 'assembled'; readonly sound: boolean }
  /** We do not want it any more. */
  | { readonly on: 'cancel' }
  /** The sender gave it up. */
  | { readonly on: 'cancelled' }
  /** The link is closed. */
  | { readonly on: 'lost' }
  | { readonly on: 'time' };

export type ReceiverEffect =
  | { readonly do: 'request'; readonly body: Uint8Array }
  | { readonly do: 'progress' }
  | { readonly do: 'assemble' }
  | { readonly do: 'done' }
  | { readonly do: 'cancel' }
  | { readonly do: 'failed'; readonly why: ReceiverFailure };

export type ReceiverFailure =
  | 'timeout'
  | 'corrupt'
  | 'cancelled-here'
  | 'cancelled-there'
  | 'lost'
  | 'malformed';

/** What a link learns from one Resource for the next. */
export interface ReceiverMemory {
  readonly window: number;
  /** bit/s */
  readonly expectedRate: number;
  /** It was fast enough for the largest windows. */
  readonly fast: boolean;
}

export const windowFirst = 4;
const windowMinFirst = 2;
const windowMaxSlow = 10;
export const windowMaxVerySlow = 4;
export const windowFlexibility = 4;
/** Rounds of a fast or very slow rate before the ceiling moves. */
export const fastRoundsNeeded = 4;
export const verySlowRoundsNeeded = 2;
/** byte/s: 50 kbit/s and 2 kbit/s. */
export const rateFast = 50_000 / 8;
export const rateVerySlow = 2000 / 8;
export const retriesMost = 16;
const retryGrace = 250;
const perRetryDelay = 500;
export const patienceBefore = 4;
export const patienceAfter = 2;
const hashmapWaitParts = 3.5;
/** Loopback rounds can take no measurable time. */
const shortestRound = 0.01;

/**
 * Starts on an advertisement. `linkMtu` gives the part size, and with it how many there are, whatever the
 * advertisement says; `rate` is the expected bit/s; `fast` says that the one before on this link was. The caller
 * has agreed to `transferSize` bytes: they are allocated here.
 */
export function startReceiver(
  advertisement: ResourceAdvertisement,
  linkMtu: number,
  rate: number,
  window: number,
  now: number,
  fast = false,
): readonly [ResourceReceiver, readonly ReceiverEffect[]] {
  const partLength = partSize(linkMtu);
  const parts = Math.ceil(advertisement.transferSize / partLength);
  const state: ResourceReceiver = {
    at: 'transferring',
    advertisement: { ...advertisement, parts },
    sealed: new Uint8Array(advertisement.transferSize),
    partLength,
    hashes: new Uint32Array(parts),
    height: 0,
    here: new Uint8Array(parts),
    received: 0,
    next: 0,
    outstanding: 0,
    awaitingHashmap: false,
    window: Math.min(Math.max(window, windowMinFirst), windowLargest),
    windowMin: windowMinFirst,
    windowMax: fast ? windowLargest : windowMaxSlow,
    fastRounds: fast ? fastRoundsNeeded : 0,
    verySlowRounds: 0,
    retriesLeft: retriesMost,
    lastActivity: now,
    requestedAt: now,
    requestLength: 0,
    answered: true,
    bytesBefore: 0,
    bytesHere: 0,
    responseRate: 0,
    dataRate: 0,
    expectedRate: Math.max(rate, 1),
    patience: patienceBefore,
  };
  return [state, learnHashes(state, 0, advertisement.hashmap, now)];
}

/** One step, in place. A receiver that is done or failed stays so. */
export function stepReceiver(
  state: ResourceReceiver,
  input: ReceiverInput,
  now: number,
): readonly ReceiverEffect[] {
  if (state.at === 'done' || state.at === 'failed') {
    return [];
  }
  switch (input.on) {
    case 'part':
      return state.at === 'transferring' ? takePart(state, input.data, now) : [];
    case 'hashmap':
      if (state.at !== 'transferring' || !state.awaitingHashmap) {
        return [];
      }
      state.lastActivity = now;
      state.retriesLeft = retriesMost;
      return learnHashes(state, input.mapSegment, input.hashmap, now);
    case 'assembled':
      if (state.at !== 'assembling') {
        return [];
      }
      if (!input.sound) {
        return fail(state, 'corrupt');
      }
      state.at = 'done';
      return [{ do: 'done' }];
    case 'cancel':
      return fail(state, 'cancelled-here');
    case 'cancelled':
      return fail(state, 'cancelled-there');
    case 'lost':
      return fail(state, 'lost');
    case 'time':
      return state.at === 'transferring' && now >= receiverWakeAt(state) ? retry(state, now) : [];
  }
}

/** When it wants to be stepped with `time`. */
export function receiverWakeAt(state: ResourceReceiver): number {
  if (state.at !== 'transferring') {
    return Number.POSITIVE_INFINITY;
  }
  const extra = (retriesMost - state.retriesLeft) * perRetryDelay;
  const partTime = (state.partLength * 8 * 1000) / state.expectedRate;
  const hashmapWait = state.awaitingHashmap || state.outstanding === 0 ? partTime * hashmapWaitParts : 0;
  const wait =
    state.responseRate > 0
      ? state.patience * state.outstanding * partTime + hashmapWait
      : (state.patience * 3 * partTime) / 8;
  return state.lastActivity + wait + retryGrace + extra;
}

/** 0 … 1 of this segment. */
export function receiverProgress(state: ResourceReceiver): number {
  return state.received / state.advertisement.parts;
}

function takePart(state: ResourceReceiver, data: Uint8Array, now: number): readonly ReceiverEffect[] {
  const index = findPart(state, data);
  if (index < 0) {
    return [];
  }
  state.lastActivity = now;
  state.retriesLeft = retriesMost;
  if (!state.answered) {
    state.answered = true;
    state.patience = patienceAfter;
    const took = Math.max(now - state.requestedAt, shortestRound);
    state.responseRate = ((header1Length + data.length + state.requestLength) * 1000) / took;
    countFast(state, state.responseRate);
  }
  state.sealed.set(data, index * state.partLength);
  state.here[index] = 1;
  state.received += 1;
  state.bytesHere += data.length;
  state.outstanding = Math.max(0, state.outstanding - 1);
  while (state.here[state.next] === 1) {
    state.next += 1;
  }
  if (state.received === state.advertisement.parts) {
    state.at = 'assembling';
    return [{ do: 'progress' }, { do: 'assemble' }];
  }
  if (state.outstanding > 0) {
    return [{ do: 'progress' }];
  }
  endRound(state, now);
  return [{ do: 'progress' }, ...requestNext(state, now)];
}

/** The part that these bytes are, among those of the window that are not here; -1 where they are none of them. */
function findPart(state: ResourceReceiver, data: Uint8Array): number {
  const { advertisement, hashes, here, next, partLength } = state;
  const key = mapHashOf(data, advertisement.randomHash);
  const end = Math.min(next + state.window, state.height);
  for (let index = next; index < end; index++) {
    if (hashes[index] === key && here[index] === 0) {
      const last = index === advertisement.parts - 1;
      const length = last ? advertisement.transferSize - index * partLength : partLength;
      return data.length === length ? index : -1;
    }
  }
  return -1;
}

function endRound(state: ResourceReceiver, now: number): void {
  if (state.window < state.windowMax) {
    state.window = Math.min(isFast(state) ? state.window * 2 : state.window + 1, state.windowMax);
    if (state.window - state.windowMin > windowFlexibility - 1) {
      state.windowMin += 1;
    }
  }
  const took = Math.max(now - state.requestedAt, shortestRound);
  state.dataRate = ((state.bytesHere - state.bytesBefore) * 1000) / took;
  state.expectedRate = Math.max(state.dataRate * 8, 1);
  state.bytesBefore = state.bytesHere;
  countFast(state, state.dataRate);
  if (
    state.fastRounds === 0 &&
    state.dataRate < rateVerySlow &&
    state.verySlowRounds < verySlowRoundsNeeded
  ) {
    state.verySlowRounds += 1;
    if (state.verySlowRounds === verySlowRoundsNeeded) {
      state.windowMax = windowMaxVerySlow;
    }
  }
}

/** Whether the largest windows are allowed. */
export function isFast(state: ResourceReceiver): boolean {
  return state.fastRounds === fastRoundsNeeded;
}

function countFast(state: ResourceReceiver, rate: number): void {
  if (rate > rateFast && state.fastRounds < fastRoundsNeeded) {
    state.fastRounds += 1;
    if (isFast(state)) {
      state.windowMax = windowLargest;
    }
  }
}

function learnHashes(
  state: ResourceReceiver,
  mapSegment: number,
  hashmap: Uint8Array,
  now: number,
): readonly ReceiverEffect[] {
  const from = mapSegment * mapSegmentLength;
  const count = hashmap.length / mapHashLength;
  if (from > state.height || from + count > state.hashes.length) {
    return fail(state, 'malformed');
  }
  const view = new DataView(hashmap.buffer, hashmap.byteOffset, hashmap.length);
  for (let index = 0; index < count; index++) {
    state.hashes[from + index] = view.getUint32(index * mapHashLength);
  }
  state.height = Math.max(state.height, from + count);
  state.awaitingHashmap = false;
  return requestNext(state, now);
}

function requestNext(state: ResourceReceiver, now: number): readonly ReceiverEffect[] {
  if (state.awaitingHashmap) {
    return [];
  }
  const { hashes, here, height } = state;
  const end = Math.min(state.next + state.window, hashes.length);
  const known = Math.min(end, height);
  const wanted = new Uint8Array((known - state.next) * mapHashLength);
  const view = new DataView(wanted.buffer);
  let count = 0;
  for (let index = state.next; index < known; index++) {
    if (here[index] === 0) {
      view.setUint32(count * mapHashLength, hashes[index]!);
      count += 1;
    }
  }
  state.outstanding = count;
  state.awaitingHashmap = end > height;
  const body = encodePartRequest({
    hash: state.advertisement.hash,
    exhaustedAt: state.awaitingHashmap ? mapHashBytes(hashes[height - 1]!) : undefined,
    wanted: wanted.subarray(0, count * mapHashLength),
  });
  state.lastActivity = now;
  state.requestedAt = now;
  state.requestLength = header1Length + body.length;
  state.answered = false;
  state.bytesBefore = state.bytesHere;
  return [{ do: 'request', body }];
}

function retry(state: ResourceReceiver, now: number): readonly ReceiverEffect[] {
  if (state.retriesLeft === 0) {
    return fail(state, 'timeout');
  }
  if (state.window > state.windowMin) {
    state.window = isFast(state) ? Math.max(state.window >> 1, state.windowMin) : state.window - 1;
    if (state.windowMax > state.windowMin) {
      state.windowMax -= 1;
      if (state.windowMax - state.window > windowFlexibility - 1) {
        state.windowMax -= 1;
      }
    }
  }
  state.retriesLeft -= 1;
  state.awaitingHashmap = false;
  return requestNext(state, now);
}

function fail(state: ResourceReceiver, why: ReceiverFailure): readonly ReceiverEffect[] {
  state.at = 'failed';
  const failed: ReceiverEffect = { do: 'failed', why };
  return why === 'cancelled-there' || why === 'lost' ? [failed] : [{ do: 'cancel' }, failed];
}

function mapHashBytes(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}
