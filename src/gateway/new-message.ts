import type { Incoming } from './bridge.ts';
import type { DeliveryView } from './desk.ts';
import {
  type Address,
  defaultLifetime,
  longestLifetime,
  type Message,
  type MessageId,
  messageId,
  schemeOf,
} from './message.ts';
import { sensorRoom } from './own-rooms.ts';
import { viewOf } from './store/delivery-table.ts';
import type { NewDeliveryRow } from './store/new-delivery.ts';
import type { AcceptArgs } from './store/packed-accept.ts';

/** Schemes whose ids mean something on this hub only. */
const localSchemes: ReadonlySet<string> = new Set(['app', 'mqtt', 'room']);

/** The id of what somebody may say again. */
export function idOf(scheme: string, remoteId: string, hubId: string): MessageId {
  return messageId(scheme, localSchemes.has(scheme) ? `${hubId}/${remoteId}` : remoteId);
}

/** What the switch makes of what came in. Its members are in the order in which they are shown, so that its JSON can be. */
export function messageOf(id: MessageId, incoming: Incoming, to: string, now: number): Message {
  const { type, from, text, title, data, inReplyTo, thread, correlation, assurance, author, native } =
    incoming;
  const sentAt = incoming.sentAt ?? now;
  const expiresAt = Math.min(incoming.expiresAt ?? now + defaultLifetime, now + longestLifetime);
  const priority = incoming.priority ?? 'normal';
  const attachments = incoming.attachments ?? [];
  const via = incoming.via ?? [];
  const head = { id, type, from, to, sentAt, acceptedAt: now, expiresAt, priority, text };
  const isPlain =
    title === undefined &&
    data === undefined &&
    inReplyTo === undefined &&
    thread === undefined &&
    correlation === undefined &&
    author === undefined &&
    native === undefined;
  if (isPlain) {
    return { ...head, attachments, via, assurance };
  }
  return {
    ...head,
    ...(title === undefined ? {} : { title }),
    ...(data === undefined ? {} : { data }),
    attachments,
    ...(inReplyTo === undefined ? {} : { inReplyTo }),
    ...(thread === undefined ? {} : { thread }),
    ...(correlation === undefined ? {} : { correlation }),
    via,
    assurance,
    ...(author === undefined ? {} : { author }),
    ...(native === undefined ? {} : { native }),
  };
}

/** What the rows name; the whole is in the body. */
export function headOf({ id, type, from, to, acceptedAt, correlation }: Message): AcceptArgs['message'] {
  const head = { id, type, from, to, acceptedAt };
  return correlation === undefined ? head : { ...head, correlation };
}

/** The apps that hear of a message, each once. */
export function audienceOf(from: Address, apps: readonly Address[]): readonly Address[] {
  return schemeOf(from) === 'app' ? [from, ...apps.filter(app => app !== from)] : apps;
}

/** Whether it is the newest of a device. */
export function isReading(message: Message): boolean {
  return message.type === 'sensor.reading' && message.to === `room:${sensorRoom}`;
}

/** A delivery that was accepted just now, as interfaces show it. */
export function newViewOf(row: NewDeliveryRow, acceptedAt: number): DeliveryView {
  const { id, recipient: to, bridge, state } = row;
  return state === 'queued'
    ? { id, to, bridge, state, attempts: 0, history: [{ state, at: acceptedAt }] }
    : viewOf(row);
}
