import type { Delivery, Progress } from '../../gateway/bridge.ts';
import type { HubFacts } from '../../gateway/desk.ts';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { WebhookLimits } from './config.ts';
import { type Hook, isOn, type Keeper } from './hook.ts';
import { messagePayload, type Payload } from './payload.ts';
import type { Reply } from './post.ts';
import { attemptOf, isTaken, judgeDelivery } from './progress.ts';

export interface DeliverParts {
  readonly hub: HubFacts;
  readonly clock: Clock;
  readonly keeper: Pick<Keeper, 'note'>;
  readonly limits: Pick<WebhookLimits, 'attempts'>;
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
  hook.progress = judgeDelivery(hook.progress, attempt, reply, {
    now: parts.clock.now(),
    limits: parts.limits,
  });
  parts.keeper.note(hook);
  parts.onProgress(hook);
  if (isTaken(reply)) {
    return { state: reply.state };
  }
  throw new GatewayError('bridge/unavailable', reply.reason ?? 'it did not go through', {
    retryable: true,
    detail: { ...(reply.retryAfter !== undefined && { retryAfter: reply.retryAfter }) },
  });
}
