import { isHeld, isOver, moved, type OperationStatus } from './outbox-operation.ts';

/*
 *   queued ──send──► inflight ──answer──► done
 *     ▲ ▲               │ │ │
 *     │ └──── retry ────┘ │ └──► conflict │ rejected │ ambiguous   held until a person decides
 *     │                   └────► needs-auth                        until a token is good again
 *     └── retry, mine, not-sent, credentials                       expired after its time, discarded by a person
 */

/** What is known of the far side's word on an operation. */
export type Verdict = 'done' | 'conflict' | 'needs-auth' | 'retry' | 'rejected';

/** What a status of the origin means for a write. Only 2xx and 303 say that it was done. */
export function verdictOf(method: string, status: number): Verdict {
  if ((status >= 200 && status < 300) || status === 303) {
    return 'done';
  }
  if (method === 'DELETE' && (status === 404 || status === 410)) {
    return 'done';
  }
  if (status === 409 || status === 412 || status === 428) {
    return 'conflict';
  }
  if (status === 401 || status === 403 || status === 407 || status === 511) {
    return 'needs-auth';
  }
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    return 'retry';
  }
  return 'rejected';
}

/** What happens to an operation. */
export type ReplayInput =
  | { readonly on: 'send' }
  | { readonly on: 'done'; readonly given?: string; readonly etag?: string; readonly reason?: string }
  | { readonly on: 'refused'; readonly as: 'conflict' | 'needs-auth' | 'rejected'; readonly reason: string }
  /** The origin, or what is before it, asks for another time; `after` in ms where it said when. */
  | { readonly on: 'put-off'; readonly reason: string; readonly after?: number }
  /** No byte of it can have arrived. */
  | { readonly on: 'unsent'; readonly reason: string }
  /** It may have arrived, or may not. `again` where sending it again does no harm. */
  | { readonly on: 'lost'; readonly reason: string; readonly again: boolean }
  /** It is another request now, over what the origin has: it needs another key. */
  | { readonly on: 'rebase'; readonly reason: string }
  | { readonly on: 'credentials' }
  | { readonly on: 'expire' }
  | { readonly on: 'retry' }
  /** A person says that an attempt in doubt was not done. */
  | { readonly on: 'not-done' }
  | { readonly on: 'over' }
  | { readonly on: 'discard'; readonly reason: string };

export interface ReplayChance {
  /** In [0, 1), for the jitter. */
  readonly fraction: number;
}

/** ms: the ceiling of the first wait, the highest, and the longest an origin may ask for. */
export const firstWait = 1000;
export const longestWait = 5 * 60 * 1000;
export const longestRetryAfter = 24 * 60 * 60 * 1000;

/** The status after an input, or undefined where the input does not apply in this state. */
export function step(
  status: OperationStatus,
  input: ReplayInput,
  at: number,
  { fraction }: ReplayChance,
): OperationStatus | undefined {
  if (isOver(status)) {
    return undefined;
  }
  const { state } = status;
  const wait = () =>
    Math.round(fraction * Math.min(firstWait * 2 ** Math.min(status.failures, 30), longestWait));
  switch (input.on) {
    case 'send':
      return state === 'queued'
        ? moved(status, 'inflight', at, { attempts: status.attempts + 1, sentAt: status.sentAt ?? at })
        : undefined;
    case 'done': {
      const { given, etag, reason } = input;
      return moved(status, 'done', at, {
        doneAt: at,
        failures: 0,
        ...(given !== undefined && { given }),
        ...(etag !== undefined && { etag }),
        ...(reason !== undefined && { reason }),
      });
    }
    case 'refused':
      return state === 'inflight'
        ? moved(status, input.as, at, {
            reason: input.reason,
            code: codes[input.as],
            failures: 0,
            lost: false,
          })
        : undefined;
    case 'put-off':
      return state === 'inflight'
        ? moved(status, 'queued', at, {
            reason: input.reason,
            code: 'bridge/unavailable',
            failures: status.failures + 1,
            nextAt: at + (input.after === undefined ? wait() : Math.min(input.after, longestRetryAfter)),
            waits: 'time',
          })
        : undefined;
    case 'unsent': {
      if (state !== 'inflight') {
        return undefined;
      }
      const { sentAt, ...never } = status;
      // Nothing of an earlier attempt is in doubt either: the key has not been used yet.
      const before = status.lost ? status : never;
      return moved(before, 'queued', at, {
        reason: input.reason,
        code: 'bridge/unavailable',
        failures: status.failures + 1,
        nextAt: at + wait(),
        waits: 'link',
      });
    }
    case 'lost':
      if (state !== 'inflight') {
        return undefined;
      }
      return input.again
        ? moved(status, 'queued', at, {
            reason: input.reason,
            code: 'bridge/unavailable',
            failures: status.failures + 1,
            nextAt: at + wait(),
            waits: 'link',
            lost: true,
          })
        : moved(status, 'ambiguous', at, { reason: input.reason, lost: true });
    case 'rebase':
      return state === 'inflight'
        ? moved(status, 'queued', at, {
            reason: input.reason,
            failures: status.failures + 1,
            nextAt: at + wait(),
            waits: 'time',
            ...another(status),
          })
        : undefined;
    case 'credentials':
      return state === 'needs-auth' ? moved(status, 'queued', at) : undefined;
    case 'expire':
      return state === 'queued' || state === 'needs-auth'
        ? moved(status, 'expired', at, { reason: 'not delivered within its time' })
        : undefined;
    case 'retry':
      return state === 'inflight'
        ? undefined
        : moved(status, 'queued', at, {
            failures: 0,
            // A service may answer a known key with the same refusal for ever.
            ...(state === 'rejected' || state === 'conflict' || state === 'expired' ? another(status) : {}),
          });
    case 'not-done': {
      const { sentAt: _, ...never } = status;
      return state === 'ambiguous' ? moved(never, 'queued', at, { failures: 0, lost: false }) : undefined;
    }
    case 'over':
      return isHeld(status)
        ? moved(status, 'queued', at, { failures: 0, over: true, ...another(status) })
        : undefined;
    case 'discard':
      return state === 'inflight' ? undefined : moved(status, 'discarded', at, { reason: input.reason });
  }
}

/** Under another key, of which nothing is known yet. */
function another({ round = 0 }: OperationStatus): Partial<OperationStatus> {
  return { round: round + 1, lost: false };
}

const codes = {
  conflict: 'replica/conflict',
  'needs-auth': 'request/unauthenticated',
  rejected: 'replica/rejected',
} as const;
