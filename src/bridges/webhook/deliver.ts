import type { Delivery, Progress } from '../../gateway/bridge.ts';
import type { HubFacts } from '../../gateway/desk.ts';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import { type Hook, isOn, type Keeper } from './hook.ts';
import { messagePayload, type Payload } from './payload.ts';
import type { Reply } from './post.ts';
import { attemptOf } from './progress.ts';

export interface DeliverParts {
  readonly hub: HubFacts;
  readonly clock: Clock;
  readonly keeper: Keeper;
  readonly attempts: number;
  readonly send: (hook: Hook, payload: Payload, signal: AbortSignal) => Promise<Reply>;
  readonly onProgress: (hook: Hook) => void;
}

/**
 * One attempt of the outbox to give a message to a webhook that it is addressed to. What does not go through is
 * `bridge/unavailable`: the outbox waits, and knows how long the endpoint wants to be left alone for.
 */
export async function deliverTo(
  hook: Hook | undefined,
  delivery: Delivery,
  parts: DeliverParts,
  signal: AbortSignal,
): Promise<Progress> {
  if (hook === undefined) {
    throw new GatewayError('bridge/rejected', 'there is no such webhook any more');
  }
  if (!isOn(hook)) {
    throw new GatewayError('bridge/unavailable', 'the webhook is disabled', { retryable: true });
  }
  const at = parts.clock.now();
  const payload = messagePayload(hook.id, delivery);
  const reply = await parts.send(hook, payload, signal);
  const attempt = attemptOf({ id: payload.id, type: payload.type, at }, reply);
  const attempts = [attempt, ...hook.progress.attempts].slice(0, parts.attempts);
  const through = reply.state === 'delivered' || reply.state === 'sent';
  hook.progress = {
    ...hook.progress,
    attempts,
    ...(through && { lastSuccessAt: parts.clock.now() }),
    ...(reply.state === 'gone' && {
      ended: { at: parts.clock.now(), reason: 'its endpoint answered 410: it wants no more' },
    }),
  };
  parts.keeper.note(hook);
  parts.onProgress(hook);
  if (reply.state === 'delivered' || reply.state === 'sent') {
    return { state: reply.state };
  }
  throw new GatewayError('bridge/unavailable', reply.reason ?? 'it did not go through', {
    retryable: true,
    detail: { ...(reply.retryAfter !== undefined && { retryAfter: reply.retryAfter }) },
  });
}
