import { type ChannelWindow, firstWindow, grown, shrunk, windowMost } from './channel-window.ts';

/**
 * The sending side of a Channel: numbers messages, sends as many at once as the window allows, and each
 * again until it is proven.
 *
 *     message ──send──► outstanding ──proven──► delivered
 *                        │   ▲
 *                        └late, up to five tries; then the Channel is given up, and its link with it
 *
 * The state is stepped in place. Times are monotonic ms.
 *
 * Source: SPEC.md §11; time-outs checked against RNS 1.5.7 (test/vectors/channel.json).
 */
export interface ChannelSender {
  window: ChannelWindow;
  /** Of the next message. */
  nextSequence: number;
  /** By sequence, in the order in which they were first sent. */
  readonly outstanding: Map<number, Outstanding>;
  givenUp: boolean;
}

export interface Outstanding {
  readonly sequence: number;
  readonly firstSentAt: number;
  sentAt: number;
  tries: number;
  /** ms from `sentAt`; grows while others join. */
  timeout: number;
}

export type ChannelSenderInput =
  /** The next message leaves: only where `mayStart`. */
  { readonly on: 'message' } | { readonly on: 'proven'; readonly sequence: number } | { readonly on: 'time' };

export type ChannelSenderEffect =
  | { readonly do: 'transmit'; readonly sequence: number }
  | { readonly do: 'delivered'; readonly sequence: number; readonly took: number }
  /** One message was sent as often as it may be. */
  | { readonly do: 'give-up' };

/** What of its link the sender reckons with, ms. */
export interface Pace {
  readonly rtt: number;
  /** What packets wait before they leave. */
  readonly backlog: number;
}

const triesMost = 5;
const backOff = 1.5;
const timeoutRtts = 2.5;
const timeoutShortest = 25;
/** Messages that a time-out allows for beside those on their way. */
const timeoutSpare = 1.5;
const sequences = 0x1_0000;
/**
 * ms that a message has at least before it is given up. By the time-outs alone that would be under a second
 * on a fast link, which a peer that is busy for a moment does not deserve; the reference looks only once a second.
 */
const patience = 5000;

export function startChannelSender(rtt: number): ChannelSender {
  return { window: firstWindow(rtt), nextSequence: 0, outstanding: new Map(), givenUp: false };
}

/** ms that a message sent for the `tries`-th time has to be proven, while so many are on their way. */
export function channelTimeout(tries: number, outstanding: number, rtt: number): number {
  return backOff ** (tries - 1) * Math.max(rtt * timeoutRtts, timeoutShortest) * (outstanding + timeoutSpare);
}

/**
 * Whether one more message may leave now. Also where the window has room, none leaves that is 48 ahead of one
 * not proven yet: the receiver would drop it, and the reference even says it had it.
 */
export function mayStart(state: ChannelSender): boolean {
  const { outstanding, window, nextSequence, givenUp } = state;
  if (givenUp || outstanding.size >= window.size) {
    return false;
  }
  const oldest = outstanding.keys().next().value;
  return oldest === undefined || (nextSequence - oldest + sequences) % sequences < windowMost;
}

/** One step, in place. After it gave up nothing happens any more. */
export function stepChannelSender(
  state: ChannelSender,
  input: ChannelSenderInput,
  pace: Pace,
  now: number,
): readonly ChannelSenderEffect[] {
  if (state.givenUp) {
    return [];
  }
  switch (input.on) {
    case 'message':
      return start(state, pace, now);
    case 'proven':
      return proven(state, input.sequence, pace, now);
    case 'time':
      return late(state, pace, now);
  }
}

/** When the state wants to be stepped with `time`. */
export function channelWakeAt(state: ChannelSender): number {
  let at = Number.POSITIVE_INFINITY;
  if (!state.givenUp) {
    for (const one of state.outstanding.values()) {
      at = Math.min(at, deadline(one));
    }
  }
  return at;
}

function start(state: ChannelSender, pace: Pace, now: number): readonly ChannelSenderEffect[] {
  const sequence = state.nextSequence;
  state.nextSequence = (sequence + 1) % sequences;
  state.outstanding.set(sequence, { sequence, firstSentAt: now, sentAt: now, tries: 1, timeout: 0 });
  lengthen(state, pace);
  return [{ do: 'transmit', sequence }];
}

function proven(
  state: ChannelSender,
  sequence: number,
  pace: Pace,
  now: number,
): readonly ChannelSenderEffect[] {
  const one = state.outstanding.get(sequence);
  if (one === undefined) {
    return [];
  }
  state.outstanding.delete(sequence);
  state.window = grown(state.window, pace.rtt);
  return [{ do: 'delivered', sequence, took: now - one.firstSentAt }];
}

function late(state: ChannelSender, pace: Pace, now: number): readonly ChannelSenderEffect[] {
  const effects: ChannelSenderEffect[] = [];
  for (const one of state.outstanding.values()) {
    if (now < deadline(one)) {
      continue;
    }
    if (one.tries >= triesMost) {
      state.givenUp = true;
      return [...effects, { do: 'give-up' }];
    }
    one.tries += 1;
    one.sentAt = now;
    one.timeout = channelTimeout(one.tries, state.outstanding.size, pace.rtt) + pace.backlog;
    state.window = shrunk(state.window);
    effects.push({ do: 'transmit', sequence: one.sequence });
  }
  lengthen(state, pace);
  return effects;
}

/** Time-outs grow with what is on its way, and never shrink. */
function lengthen({ outstanding }: ChannelSender, { rtt, backlog }: Pace): void {
  for (const one of outstanding.values()) {
    one.timeout = Math.max(one.timeout, channelTimeout(one.tries, outstanding.size, rtt) + backlog);
  }
}

function deadline({ sentAt, timeout, tries, firstSentAt }: Outstanding): number {
  const due = Math.ceil(sentAt + timeout);
  return tries < triesMost ? due : Math.max(due, firstSentAt + patience);
}
