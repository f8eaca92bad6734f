import { backoff } from '../../gateway/verdict.ts';
import type { WebhookAttempt, WebhookView } from '../../gateway/webhooks.ts';
import type { WebhookLimits } from './config.ts';
import type { Reply } from './post.ts';

/**
 * How a webhook is doing, as a pure function of what it was and what came of an attempt.
 *
 *     well ──▶ failing (waits, tries again) ──▶ ended: too long in vain, or 410
 *       ◀── 2xx ──┘            ◀── enabled again by a person ──┘
 */
export interface Progress
  extends Partial<Pick<WebhookView, 'failingSince' | 'lastSuccessAt' | 'lastFailure' | 'gap'>> {
  readonly failures: number;
  /** ms epoch of the next attempt, where it waits for one. */
  readonly nextAt?: number;
  /** The hub does not try it any more, and why. */
  readonly ended?: { readonly at: number; readonly reason: string };
  readonly attempts: readonly WebhookAttempt[];
}

export const fresh: Progress = { failures: 0, attempts: [] };

export interface Judged {
  readonly progress: Progress;
  /** ms until the next attempt; 0 where the event is done with or nothing is tried any more. */
  readonly delay: number;
}

/** `chance` is in [0, 1); `patience` ms in vain end it. */
export function judge(
  before: Progress,
  sent: Pick<WebhookAttempt, 'id' | 'type' | 'at'>,
  reply: Reply,
  {
    now,
    chance,
    patience,
    limits,
  }: {
    readonly now: number;
    readonly chance: number;
    readonly patience: number;
    readonly limits: Pick<WebhookLimits, 'attempts' | 'firstRetry' | 'longestRetry'>;
  },
): Judged {
  const attempt = attemptOf(sent, reply);
  const { nextAt: _, failingSince = sent.at, ...kept } = remember(before, attempt, limits);
  if (isTaken(reply)) {
    return { progress: { ...kept, failures: 0, lastSuccessAt: now }, delay: 0 };
  }
  const { at, code, status, reason } = attempt;
  const failing: Progress = {
    ...kept,
    failures: before.failures + 1,
    failingSince,
    lastFailure: {
      at,
      ...(code !== undefined && { code }),
      ...(status !== undefined && { status }),
      ...(reason !== undefined && { reason }),
    },
  };
  if (reply.state === 'gone') {
    return { progress: { ...failing, ended: goneAt(now) }, delay: 0 };
  }
  if (now - failingSince >= patience) {
    const days = Math.round(patience / 86_400_000);
    const why = `nothing got through for ${days} day${days === 1 ? '' : 's'}; the last time: ${reason}`;
    return { progress: { ...failing, ended: { at: now, reason: why } }, delay: 0 };
  }
  const jitter = backoff(before.failures, chance, limits);
  // Asked for a time, it comes a little later: not all at once.
  const delay = Math.max(jitter, (reply.retryAfter ?? 0) + chance * limits.firstRetry);
  return { progress: { ...failing, nextAt: now + Math.round(delay) }, delay };
}

/** What a message of the outbox tells of the endpoint; whether it fails is judged by events alone. */
export function judgeDelivery(
  before: Progress,
  attempt: WebhookAttempt,
  reply: Reply,
  { now, limits }: { readonly now: number; readonly limits: Pick<WebhookLimits, 'attempts'> },
): Progress {
  return {
    ...remember(before, attempt, limits),
    ...(isTaken(reply) && { lastSuccessAt: now }),
    ...(reply.state === 'gone' && { ended: goneAt(now) }),
  };
}

/** Whether the endpoint took it. */
export function isTaken(reply: Reply): reply is Reply & { readonly state: 'delivered' | 'sent' } {
  return reply.state === 'delivered' || reply.state === 'sent';
}

/** With one more attempt: the newest first, the oldest forgotten. */
export function remember(
  before: Progress,
  attempt: WebhookAttempt,
  limits: Pick<WebhookLimits, 'attempts'>,
): Progress {
  return { ...before, attempts: [attempt, ...before.attempts].slice(0, limits.attempts) };
}

function goneAt(at: number): NonNullable<Progress['ended']> {
  return { at, reason: 'its endpoint answered 410: it wants no more' };
}

/** An attempt as it is remembered and shown. */
export function attemptOf(sent: Pick<WebhookAttempt, 'id' | 'type' | 'at'>, reply: Reply): WebhookAttempt {
  const { state, duration, status, code, reason } = reply;
  return {
    ...sent,
    state: state === 'gone' ? 'failed' : state,
    duration,
    ...(status !== undefined && { status }),
    ...(code !== undefined && { code }),
    ...(reason !== undefined && { reason }),
  };
}

/** As it goes on when a person has enabled it, or given it another URL: nothing is held against it. */
export function forgiven({ lastSuccessAt, lastFailure, gap, attempts }: Progress): Progress {
  return {
    failures: 0,
    attempts,
    ...(lastSuccessAt !== undefined && { lastSuccessAt }),
    ...(lastFailure !== undefined && { lastFailure }),
    ...(gap !== undefined && { gap }),
  };
}
