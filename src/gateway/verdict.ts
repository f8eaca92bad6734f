import { codeOf, type ErrorCode, isGatewayError } from '../lib/errors.ts';
import type { DeliveryInput } from './delivery.ts';
import type { Limits } from './limits.ts';
import { type Attempt, hasLeftNothing } from './waiting-line.ts';

/** What becomes of a delivery whose attempt ended without success. */
export type Verdict =
  /** The far side has said meanwhile what became of it. */
  | { readonly is: 'settled' }
  | { readonly is: 'over'; readonly input: DeliveryInput }
  /** It goes again after `delay` ms. */
  | { readonly is: 'again'; readonly reason: string; readonly code: ErrorCode; readonly delay: number };

/** Codes with which another attempt would only fail again. */
const finalCodes: ReadonlySet<ErrorCode> = new Set(['bridge/rejected', 'mesh/too-large', 'mesh/rejected']);

/**
 * `failures` counts those before this one; `chance` is in [0, 1). An error that says in its detail after
 * how many ms to try again (`retryAfter`) is believed.
 */
export function judge(
  attempt: Attempt,
  error: unknown,
  failures: number,
  chance: number,
  limits: Pick<Limits, 'bugAttempts' | 'firstRetry' | 'longestRetry'>,
): Verdict {
  if (attempt.settled) {
    return { is: 'settled' };
  }
  if (attempt.ending !== undefined) {
    return { is: 'over', input: attempt.ending };
  }
  const code = codeOf(error);
  const known = isGatewayError(error);
  const reason = known ? error.message : 'a mistake in this program, see the log';
  if (!isFinal(error) && mayHaveArrived(attempt, error)) {
    return { is: 'over', input: { on: 'lose', reason } };
  }
  if (isFinal(error) || (!known && attempt.entry.bugs + 1 >= limits.bugAttempts)) {
    return { is: 'over', input: { on: 'fail', code, reason } };
  }
  const told = known ? error.detail.retryAfter : undefined;
  if (typeof told === 'number') {
    return { is: 'again', reason, code, delay: told + chance * limits.firstRetry };
  }
  return { is: 'again', reason, code, delay: attempt.again ? 0 : backoff(failures, chance, limits) };
}

/** Doubles up to the longest wait, with jitter over the upper half. */
export function backoff(
  failures: number,
  chance: number,
  { firstRetry, longestRetry }: Pick<Limits, 'firstRetry' | 'longestRetry'>,
): number {
  const ceiling = Math.min(firstRetry * 2 ** Math.min(failures, 30), longestRetry);
  return ceiling / 2 + (chance * ceiling) / 2;
}

/**
 * Whether the far side may have it and could not tell a repeat: it left and no answer came, or nobody knows how far the attempt
 * got. What `bridge/unavailable` and its like end before that is safe to try again.
 */
function mayHaveArrived(attempt: Attempt, error: unknown): boolean {
  const { deduplicates, tellsWhenSent } = attempt.entry.line.bridge.bridge.carries;
  if (deduplicates || hasLeftNothing(attempt)) {
    return false;
  }
  return tellsWhenSent === true || !isGatewayError(error) || error.code === 'mesh/timeout';
}

function isFinal(error: unknown): boolean {
  return (
    isGatewayError(error) &&
    (finalCodes.has(error.code) || error.code.startsWith('request/') || error.code.startsWith('wire/'))
  );
}
