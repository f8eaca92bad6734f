import type { DeliveryState } from './desk.ts';
import { arrivedAnyway, isForNobody } from './missed.ts';

/**
 * What happens to one delivery, as a pure function of what it was and what was heard of it.
 *
 *     queued ⇄ sending → sent → delivered → read
 *        ├───────┼─────────┼→ failed
 *        ├───────┴→ expired, cancelled      an app's own, unread, from `sent` too; at a restart, where it was called back
 *        │                                  during an attempt and may be sent again
 *        └ underway → ambiguous     the process died, or the answer was lost, during an attempt, and the far side cannot
 *                                   tell repeats apart
 *     failed, ambiguous → queued     somebody asks for it to be sent again
 *     ambiguous → delivered, read, failed     the far side says after all what became of it
 *     failed, expired → delivered, read       the far side proves that it arrived, whatever was said before
 *     cancelled → queued      a change of what seemed not to have arrived, and did
 *
 * An attempt that ends without success leads back to `queued` with its reason, and so does the word of an
 * attempt under way that it waits for something: `underway` tells the two apart.
 * `read`, `failed`, `expired`, `cancelled` and `ambiguous` are ends unless a person or the far side says otherwise, and so is
 * `delivered` but for `read`. What somebody called back stays `cancelled`: if it arrived all the same, its reason says so.
 */
export interface DeliveryStatus {
  readonly state: DeliveryState;
  readonly reason?: string;
  readonly code?: string;
  /** Attempts begun so far. */
  readonly attempts: number;
  /** An attempt has begun and is not known to have ended. */
  readonly underway: boolean;
  /** ms epoch of the next attempt, where one is planned. */
  readonly nextAt?: number;
  readonly history: readonly DeliveryStep[];
}

export interface DeliveryStep {
  readonly state: DeliveryState;
  readonly at: number;
  readonly reason?: string;
}

export type DeliveryInput =
  /** An attempt begins. */
  | { readonly on: 'attempt' }
  /** The attempt ended without success; another follows at `nextAt`. */
  | { readonly on: 'wait'; readonly reason: string; readonly code?: string; readonly nextAt?: number }
  /** Why it waits, whether or not an attempt is under way. */
  | { readonly on: 'explain'; readonly reason: string }
  /** How far it got; `underway` where the attempt goes on. */
  | { readonly on: 'progress'; readonly state: 'sent' | 'delivered' | 'read'; readonly underway?: boolean }
  | { readonly on: 'fail'; readonly code: string; readonly reason: string }
  /** The attempt ended without a word of what came of it, and must not be repeated by itself. */
  | { readonly on: 'lose'; readonly reason: string }
  /** Its time is over; `unread` where it was given to an app that has not acknowledged it. */
  | { readonly on: 'expire'; readonly unread?: boolean }
  | { readonly on: 'cancel'; readonly reason?: string }
  /** It is called back while an attempt is under way, which may succeed: another must not follow, whatever becomes of the process. */
  | { readonly on: 'last'; readonly reason: string }
  /** A person wants it sent again, or knows that what is ambiguous need not be. */
  | { readonly on: 'retry' | 'settle' }
  /** What it changes has arrived after all. */
  | { readonly on: 'revive' }
  /** The process has started again: an attempt that was under way is of unknown outcome. */
  | { readonly on: 'restart'; readonly deduplicates: boolean };

/** How the reason of an attempt begins that no other follows. */
const noOther = 'the last attempt: ';

/** Entries kept of a history: its beginning and its latest part. */
const historyHead = 10;
const historyTail = 40;

/** A delivery as it begins its life, or as it ends at once where it cannot be carried. */
export function newDelivery(at: number, failure?: { code: string; reason: string }): DeliveryStatus {
  const queued: DeliveryStatus = {
    state: 'queued',
    attempts: 0,
    underway: false,
    history: [{ state: 'queued', at }],
  };
  return failure === undefined ? queued : to(queued, 'failed', at, failure);
}

/** Whether the outbox still has to do with it. */
export function isOpen(delivery: Pick<DeliveryStatus, 'state' | 'underway'>): boolean {
  return delivery.state === 'queued' || delivery.state === 'sending' || delivery.underway;
}

/** The delivery after `input`, or undefined where the input changes nothing: it came too late or twice. */
export function step(delivery: DeliveryStatus, input: DeliveryInput, at: number): DeliveryStatus | undefined {
  const { state, underway } = delivery;
  const open = isOpen(delivery);
  switch (input.on) {
    case 'attempt':
      return state === 'queued' && !underway
        ? { ...to(delivery, 'sending', at), attempts: delivery.attempts + 1, underway: true }
        : undefined;
    case 'wait':
      return open ? wait(delivery, input, at) : undefined;
    case 'explain':
      return open && state !== 'sent' && !(state === 'queued' && delivery.reason === input.reason)
        ? { ...to(delivery, 'queued', at, input), underway }
        : undefined;
    case 'progress':
      return progress(delivery, input, at);
    case 'fail':
      return open || state === 'sent' || state === 'ambiguous'
        ? to(delivery, 'failed', at, input)
        : undefined;
    case 'lose':
      return open
        ? to(delivery, 'ambiguous', at, { reason: `${input.reason}: it may or may not have arrived` })
        : undefined;
    case 'expire':
      return open || (state === 'sent' && input.unread === true) ? to(delivery, 'expired', at) : undefined;
    case 'cancel':
      return open ? to(delivery, 'cancelled', at, input) : undefined;
    case 'last':
      return underway && lastFor(delivery) === undefined
        ? { ...to(delivery, state, at, { reason: noOther + input.reason }), underway }
        : undefined;
    case 'retry':
      return state === 'failed' || state === 'ambiguous'
        ? to(delivery, 'queued', at, { reason: 'sent again on request' })
        : undefined;
    case 'settle':
      return state === 'ambiguous'
        ? to(delivery, 'cancelled', at, { reason: 'settled on request: it may or may not have arrived' })
        : undefined;
    case 'revive':
      return isForNobody({ state, reason: delivery.reason ?? null })
        ? to(delivery, 'queued', at, { reason: 'its message arrived after all' })
        : undefined;
    case 'restart':
      return underway ? restarted(delivery, input.deduplicates, at) : undefined;
  }
}

/** Why the attempt under way is the last one, if it is. */
export function lastFor({
  underway,
  history,
}: Pick<DeliveryStatus, 'underway' | 'history'>): string | undefined {
  const begun = history.findLastIndex(({ state, reason }) => state === 'sending' && reason === undefined);
  const step = underway
    ? history.slice(Math.max(begun, 0)).findLast(({ reason }) => reason?.startsWith(noOther))
    : undefined;
  return step?.reason?.slice(noOther.length);
}

function restarted(delivery: DeliveryStatus, deduplicates: boolean, at: number): DeliveryStatus {
  const last = lastFor(delivery);
  if (deduplicates && last === undefined) {
    return to(delivery, 'queued', at, { reason: 'the gateway was restarted' });
  }
  const unknown = to(delivery, 'ambiguous', at, {
    reason: 'the gateway stopped during the attempt: it may or may not have arrived',
  });
  // Its history tells that it may be there: whoever has it is told what becomes of it.
  return deduplicates && last !== undefined ? to(unknown, 'cancelled', at, { reason: last }) : unknown;
}

/** How far along a state is; ends that are no progress outrank everything. */
function rank(state: DeliveryState): number {
  switch (state) {
    case 'queued':
    case 'sending':
      return 0;
    case 'sent':
    case 'ambiguous':
      return 1;
    case 'delivered':
      return 2;
    case 'read':
    case 'failed':
    case 'expired':
    case 'cancelled':
      return 3;
  }
}

function progress(
  delivery: DeliveryStatus,
  input: { readonly state: 'sent' | 'delivered' | 'read'; readonly underway?: boolean },
  at: number,
): DeliveryStatus | undefined {
  if (input.state !== 'sent' && (delivery.state === 'failed' || delivery.state === 'expired')) {
    const before = delivery.state === 'failed' ? 'had failed' : 'had run out of time';
    return to(delivery, input.state, at, { reason: `it arrived after all, and ${before}` });
  }
  if (input.state !== 'sent' && delivery.state === 'cancelled') {
    const { reason = 'called back' } = delivery;
    return reason.endsWith(arrivedAnyway)
      ? undefined
      : to(delivery, 'cancelled', at, { reason: `${reason}; ${arrivedAnyway}` });
  }
  const underway = input.state === 'sent' && delivery.underway && input.underway === true;
  if (rank(input.state) > rank(delivery.state)) {
    return { ...to(delivery, input.state, at), underway };
  }
  return input.state === delivery.state && underway !== delivery.underway
    ? { ...delivery, underway }
    : undefined;
}

function wait(
  delivery: DeliveryStatus,
  input: { readonly reason: string; readonly code?: string; readonly nextAt?: number },
  at: number,
): DeliveryStatus {
  const { nextAt, reason, code } = input;
  const said = delivery.state === 'queued' && delivery.reason === reason && delivery.code === code;
  const { nextAt: _, ...waiting } = said
    ? { ...delivery, underway: false }
    : to(delivery, 'queued', at, { reason, ...(code === undefined ? {} : { code }) });
  return nextAt === undefined ? waiting : { ...waiting, nextAt };
}

/** In another state, with nothing under way. */
function to(
  delivery: DeliveryStatus,
  state: DeliveryState,
  at: number,
  why: { readonly reason?: string; readonly code?: string } = {},
): DeliveryStatus {
  const reason = why.reason === undefined ? {} : { reason: why.reason };
  const code = why.code === undefined ? {} : { code: why.code };
  const whole = [...delivery.history, { state, at, ...reason }];
  const history =
    whole.length > historyHead + historyTail
      ? [...whole.slice(0, historyHead), ...whole.slice(-historyTail)]
      : whole;
  return { state, attempts: delivery.attempts, underway: false, history, ...reason, ...code };
}
