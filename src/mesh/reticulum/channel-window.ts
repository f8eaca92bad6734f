/**
 * How many messages of a Channel may be on their way at once. It grows by one with each that is proven
 * and shrinks by one with each that has to be sent again; how far it may grow follows from the round trip.
 *
 *     round trip      above 1.45 s   above 0.75 s   above 0.18 s   faster
 *     largest window  1              5              12             48
 *
 * The two larger ones are allowed after ten proofs in a row at such a round trip.
 *
 * Source: SPEC.md §11; figures checked against RNS 1.5.7 (test/vectors/channel.json).
 */
export interface ChannelWindow {
  readonly size: number;
  readonly smallest: number;
  readonly largest: number;
  /** The largest shrinks only while it is more than that above the smallest. */
  readonly flexibility: number;
  /** Proofs in a row at a round trip of at most 0.75 s, and of at most 0.18 s. */
  readonly mediumRounds: number;
  readonly fastRounds: number;
}

/** Most messages on their way, whatever the link: a receiver drops what is further ahead than that. */
export const windowMost = 48;

const rttFast = 180;
const rttMedium = 750;
/** ms of round trip above which one message at a time is on its way. */
export const rttSlow = 1450;
const roundsToGrow = 10;
const medium = { smallest: 5, largest: 12 };
const fast = { smallest: 16, largest: windowMost };

/** The window of a new Channel on a link of this round trip, ms. */
export function firstWindow(rtt: number): ChannelWindow {
  const one = rtt > rttSlow;
  return {
    size: one ? 1 : 2,
    smallest: one ? 1 : 2,
    largest: one ? 1 : 5,
    flexibility: one ? 1 : 4,
    mediumRounds: 0,
    fastRounds: 0,
  };
}

/** A message was proven. */
export function grown(window: ChannelWindow, rtt: number): ChannelWindow {
  const size = Math.min(window.size + 1, Math.max(window.size, window.largest));
  if (rtt === 0) {
    return { ...window, size };
  }
  if (rtt <= rttFast) {
    const fastRounds = window.fastRounds + 1;
    const more = fastRounds === roundsToGrow && window.largest < fast.largest ? fast : {};
    return { ...window, ...more, size, fastRounds };
  }
  const mediumRounds = rtt > rttMedium ? 0 : window.mediumRounds + 1;
  const more = mediumRounds === roundsToGrow && window.largest < medium.largest ? medium : {};
  return { ...window, ...more, size, mediumRounds, fastRounds: 0 };
}

/** A message has to be sent again. */
export function shrunk(window: ChannelWindow): ChannelWindow {
  if (window.size <= window.smallest) {
    return window;
  }
  const narrower = window.largest > window.smallest + window.flexibility;
  return { ...window, size: window.size - 1, largest: narrower ? window.largest - 1 : window.largest };
}
