import type { Delivery } from '../../gateway/bridge.ts';
import type { GatewayEvent, HubFacts } from '../../gateway/desk.ts';
import { eventJson, messageJson } from '../schema.ts';

/**
 * What is sent for one thing that happened: the same bytes and the same id at every attempt, also after a restart.
 *
 *     {"type": "message.accepted", "timestamp": "2026-01-31T12:00:00.000Z", "data": {…}}
 *
 * `data` is the event as `GET /v1/events` shows it. Source: Standard Webhooks 1.0.0, “Payload structure”.
 */
export interface Payload {
  /** `webhook-id`: no full stop, which the signature joins with. */
  readonly id: string;
  readonly type: string;
  readonly body: Uint8Array;
}

type Hub = Pick<HubFacts, 'id' | 'name'>;

/** An event. Its id names the hub and the place among its events, so that receivers of several hubs do not mix them up. */
export function eventPayload(hub: Hub, event: GatewayEvent): Payload {
  return payload(`evt_${placeOf(hub, event.cursor)}`, event.kind, event.at, eventJson(event));
}

/** Events behind a cursor were forgotten before they could be sent. */
export function gapPayload(
  hub: Hub,
  webhook: string,
  gap: { readonly at: number; readonly after: string },
  lastSuccessAt: number | undefined,
): Payload {
  const id = `gap_${placeOf(hub, gap.after)}-${gap.at.toString(36)}`;
  return payload(id, 'webhook.gap', gap.at, {
    webhook,
    after: gap.after,
    ...(lastSuccessAt !== undefined && { lastSuccessAt }),
    detail: 'events behind this cursor were forgotten before they could be sent; what is still there follows',
  });
}

/** A message that is for the webhook itself, as a member of a room or the target of a route. */
export function messagePayload(webhook: string, { id, message }: Pick<Delivery, 'id' | 'message'>): Payload {
  return payload(`dlv_${id}`, 'webhook.message', message.acceptedAt, {
    webhook,
    delivery: id,
    message: messageJson(message),
  });
}

/** Somebody pressed the button. */
export function testPayload(
  hub: Hub,
  webhook: { readonly id: string; readonly client: string },
  nonce: Uint8Array,
  now: number,
): Payload {
  return payload(`test_${nonce.toHex()}`, 'webhook.test', now, {
    webhook: webhook.id,
    client: webhook.client,
    hub: { id: hub.id, name: hub.name },
  });
}

function payload(id: string, type: string, at: number, data: object): Payload {
  const body = JSON.stringify({ type, timestamp: new Date(at).toISOString(), data });
  return { id, type, body: Buffer.from(body) };
}

/** A cursor without the letter that says how it is read. */
function placeOf(hub: Hub, cursor: string): string {
  return `${hub.id.slice(0, 8)}-${cursor.slice(1)}`;
}
