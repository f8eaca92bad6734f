import { z } from 'zod';
import { type EventKind, eventKinds, type GatewayEvent } from '../gateway/desk.ts';
import type { Address } from '../gateway/message.ts';
import { addressSchema } from './schema.ts';

/** Members of a filter, for schemas that have others beside them. */
export const filterShape = {
  kinds: z.array(z.enum(eventKinds)).min(1).max(16).exactOptional(),
  types: z.array(z.string().min(1).max(64)).min(1).max(64).exactOptional(),
  peers: z.array(addressSchema).min(1).max(64).exactOptional(),
  rooms: z.array(z.string().min(1).max(64)).min(1).max(64).exactOptional(),
};

/** Which events a subscription or a webhook shows: every member that is given must match, by any of its values. */
export const filterSchema = z.strictObject(filterShape);

/** What is looked for; a member that is not there does not matter. */
export interface Filter {
  readonly kinds?: readonly EventKind[] | undefined;
  readonly types?: readonly string[] | undefined;
  readonly peers?: readonly Address[] | undefined;
  readonly rooms?: readonly string[] | undefined;
}

/** Whether a filter shows the event. A member of it that speaks of something the event does not have is no match. */
export function shows(filter: Filter, event: GatewayEvent): boolean {
  const { message, delivery, peer, room: changed } = event;
  const addresses = [message?.from, message?.to, delivery?.to, peer?.address];
  const rooms = [message?.to, delivery?.to, changed && `room:${changed.name}`];
  return (
    any(filter.kinds, (kind: EventKind) => kind === event.kind) &&
    any(filter.types, type => type === message?.type) &&
    any(filter.peers, address => addresses.includes(address)) &&
    any(filter.rooms, room => rooms.includes(`room:${room.replace(/^room:/, '')}`))
  );
}

function any<T>(values: readonly T[] | undefined, matches: (value: T) => boolean): boolean {
  return values === undefined || values.some(matches);
}
