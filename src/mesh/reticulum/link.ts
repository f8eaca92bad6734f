/**
 * The life of a Link, as a function of what happens and when.
 *
 *     initiator   pending ───proof───►┐              ┌──silence──► stale ──silence──► closed (timeout)
 *                                     ├──► active ◄──┴──inbound──────┘
 *     responder   handshake ──RTT────►┘       │
 *                                             └──close, closed by peer, lost──► closed
 *     pending, handshake ──deadline──► closed (timeout)
 *
 * An authentic packet in handshake counts as the RTT: the initiator sends that one only once, and it
 * may be lost. All times are monotonic ms; what the runner must do comes back as effects.
 *
 * Source: SPEC.md §6; timings checked against RNS 1.5.7.
 */
export type LinkRole = 'initiator' | 'responder';

export type LinkState = LinkOpening | LinkOpen | LinkClosed;

export interface LinkOpening {
  /** `pending` waits for a proof, `handshake` for the RTT. */
  readonly at: 'pending' | 'handshake';
  readonly role: LinkRole;
  readonly requestedAt: number;
  readonly deadline: number;
}

export interface LinkOpen {
  readonly at: 'active' | 'stale';
  readonly role: LinkRole;
  readonly activatedAt: number;
  readonly rtt: number;
  /** Silence after which the initiator asks whether anybody is there; twice that makes the link stale. */
  readonly keepalive: number;
  readonly lastInbound: number;
  readonly lastOutbound: number;
  readonly lastKeepalive: number;
  /** When a stale link is given up. */
  readonly closeAt: number;
}

export interface LinkClosed {
  readonly at: 'closed';
  readonly reason: LinkCloseReason;
}

/** `here` and `there` say who closed it; `lost` that the interface it ran over is gone. */
export type LinkCloseReason = 'timeout' | 'here' | 'there' | 'lost';

export type LinkInput =
  /** A link request proof whose signature holds. */
  | { readonly on: 'proof' }
  /** The initiator's RTT, ms. */
  | { readonly on: 'rtt'; readonly rtt: number }
  /** A packet of this link. `authentic`: only the peer can have made it. */
  | { readonly on: 'inbound'; readonly authentic: boolean }
  /** The initiator asks whether anybody is there. */
  | { readonly on: 'question' }
  | { readonly on: 'outbound' }
  | { readonly on: 'close' }
  | { readonly on: 'closed' }
  | { readonly on: 'lost' }
  | { readonly on: 'time' };

export type LinkEffect =
  | { readonly do: 'send-rtt'; readonly rtt: number }
  | { readonly do: 'send-keepalive'; readonly as: 'question' | 'answer' }
  | { readonly do: 'send-close' }
  | { readonly do: 'established' }
  | { readonly do: 'closed'; readonly reason: LinkCloseReason }
  /** Step with `time` no later than then. */
  | { readonly do: 'wake'; readonly at: number };

/** ms the reference gives each hop of a link's establishment. */
export const establishmentPerHop = 6000;
const keepaliveLongest = 360_000;
const keepaliveShortest = 5000;
/** The RTT, ms, from which on the keepalive is the longest: 360 s / 1.75 s = 205.7. */
const keepaliveSlowestRtt = 1750;
const staleFactor = 2;
/**
 * Share of the keepalive that must have passed in silence for a question to be answered. A little less than all of
 * it: a question comes after just that long, and one that the air brought sooner than the last is a question still.
 */
const answerAfter = 0.8;
const closeRtts = 4;
const closeGrace = 5000;
/** A peer that claims more than any establishment may take gets this. */
const rttLongest = 366_000;
const trafficRtts = 6;
/** The reference's floor is 5 ms, but it looks only once a second, and peers rely on that while they store. */
const trafficShortest = 1000;

/** A link whose request is about to leave. `firstHop`: ms the first hop is given beside 6 s per hop. */
export function requested(now: number, hops: number, firstHop: number): LinkState {
  const deadline = now + firstHop + establishmentPerHop * Math.max(1, hops);
  return { at: 'pending', role: 'initiator', requestedAt: now, deadline };
}

/** A link whose request came in over `hops`. */
export function accepted(now: number, hops: number): LinkState {
  const deadline = now + establishmentPerHop * Math.max(1, hops) + keepaliveLongest;
  return { at: 'handshake', role: 'responder', requestedAt: now, deadline };
}

/** ms of silence between keepalives at this RTT: RTT × 205.7, at least 5 s, at most 360 s. */
export function keepaliveOf(rtt: number): number {
  const wanted = rtt * (keepaliveLongest / keepaliveSlowestRtt);
  return Math.max(Math.min(wanted, keepaliveLongest), keepaliveShortest);
}

/** ms in which a packet sent over a link of this RTT is expected to be proven. */
export function trafficTimeout(rtt: number): number {
  return Math.max(rtt * trafficRtts, trafficShortest);
}

/** One step. A closed link stays closed, whatever happens. */
export function stepLink(
  state: LinkState,
  input: LinkInput,
  now: number,
): readonly [LinkState, readonly LinkEffect[]] {
  if (state.at === 'closed') {
    return [state, []];
  }
  switch (input.on) {
    case 'close':
      return close('here', state.at === 'pending' ? [] : [{ do: 'send-close' }]);
    case 'closed':
      return close('there');
    case 'lost':
      return close('lost');
    default:
      return isOpen(state) ? stepOpen(state, input, now) : stepOpening(state, input, now);
  }
}

function isOpen(state: LinkOpening | LinkOpen): state is LinkOpen {
  return state.at === 'active' || state.at === 'stale';
}

/** When the state wants to be stepped with `time`; never for a closed one. */
export function wakeAt(state: LinkState): number {
  switch (state.at) {
    case 'pending':
    case 'handshake':
      return state.deadline;
    case 'active': {
      const stale = state.lastInbound + staleFactor * state.keepalive;
      return state.role === 'initiator' ? Math.min(stale, keepaliveDue(state)) : stale;
    }
    case 'stale':
      return state.closeAt;
    case 'closed':
      return Number.POSITIVE_INFINITY;
  }
}

function stepOpening(
  state: LinkOpening,
  input: LinkInput,
  now: number,
): readonly [LinkState, readonly LinkEffect[]] {
  const measured = now - state.requestedAt;
  if (input.on === 'time') {
    return now >= state.deadline ? close('timeout') : [state, [{ do: 'wake', at: state.deadline }]];
  }
  if (state.at === 'pending' && input.on === 'proof') {
    const active = activate(state.role, measured, now);
    return [
      active,
      [{ do: 'send-rtt', rtt: measured }, { do: 'established' }, { do: 'wake', at: wakeAt(active) }],
    ];
  }
  if (state.at === 'handshake' && (input.on === 'rtt' || (input.on === 'inbound' && input.authentic))) {
    const rtt = input.on === 'rtt' ? Math.max(measured, Math.min(input.rtt, rttLongest)) : measured;
    // Nothing has left since the proof, which the first question comes one keepalive after.
    const active = { ...activate(state.role, rtt, now), lastOutbound: state.requestedAt };
    return [active, [{ do: 'established' }, { do: 'wake', at: wakeAt(active) }]];
  }
  return [state, []];
}

function stepOpen(
  state: LinkOpen,
  input: LinkInput,
  now: number,
): readonly [LinkState, readonly LinkEffect[]] {
  switch (input.on) {
    case 'inbound':
      return [{ ...state, at: 'active', lastInbound: now }, []];
    case 'outbound':
      return [{ ...state, lastOutbound: now }, []];
    case 'rtt': {
      if (state.role === 'initiator') {
        return [state, []];
      }
      const rtt = Math.min(input.rtt, rttLongest);
      const known: LinkOpen = { ...state, at: 'active', rtt, keepalive: keepaliveOf(rtt), lastInbound: now };
      return [known, [{ do: 'wake', at: wakeAt(known) }]];
    }
    case 'question': {
      if (state.role === 'initiator') {
        return [state, []];
      }
      const heard: LinkOpen = { ...state, at: 'active', lastInbound: now };
      return now >= state.lastOutbound + answerAfter * state.keepalive
        ? [{ ...heard, lastOutbound: now }, [{ do: 'send-keepalive', as: 'answer' }]]
        : [heard, []];
    }
    case 'time':
      return state.at === 'stale' ? stepStale(state, now) : stepActive(state, now);
    default:
      return [state, []];
  }
}

function stepActive(state: LinkOpen, now: number): readonly [LinkState, readonly LinkEffect[]] {
  const effects: LinkEffect[] = [];
  let next = state;
  if (state.role === 'initiator' && now >= keepaliveDue(state)) {
    effects.push({ do: 'send-keepalive', as: 'question' });
    next = { ...next, lastOutbound: now, lastKeepalive: now };
  }
  if (now >= state.lastInbound + staleFactor * state.keepalive) {
    next = { ...next, at: 'stale', closeAt: now + state.rtt * closeRtts + closeGrace };
  }
  effects.push({ do: 'wake', at: wakeAt(next) });
  return [next, effects];
}

function stepStale(state: LinkOpen, now: number): readonly [LinkState, readonly LinkEffect[]] {
  return now >= state.closeAt
    ? close('timeout', [{ do: 'send-close' }])
    : [state, [{ do: 'wake', at: state.closeAt }]];
}

/** One keepalive from the last, once either direction has been silent for as long. */
function keepaliveDue(state: LinkOpen): number {
  return Math.max(Math.min(state.lastInbound, state.lastOutbound), state.lastKeepalive) + state.keepalive;
}

function activate(role: LinkRole, rtt: number, now: number): LinkOpen {
  return {
    at: 'active',
    role,
    activatedAt: now,
    rtt,
    keepalive: keepaliveOf(rtt),
    lastInbound: now,
    lastOutbound: now,
    lastKeepalive: now,
    closeAt: Number.POSITIVE_INFINITY,
  };
}

function close(
  reason: LinkCloseReason,
  first: LinkEffect[] = [],
): readonly [LinkState, readonly LinkEffect[]] {
  return [{ at: 'closed', reason }, [...first, { do: 'closed', reason }]];
}
