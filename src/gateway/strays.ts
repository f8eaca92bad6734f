import { type Address, type Message, nameOf, schemeOf } from './message.ts';
import { isKept } from './own-rooms.ts';
import { membersOf, type RoutingFacts, route } from './router.ts';

/** A delivery that is not over, and where its message was said. */
export interface OpenRow {
  readonly id: string;
  readonly message: string;
  readonly recipient: Address;
  /** Where its message is to: a room, or the recipient. */
  readonly to: Address;
}

/** A delivery that is not to go any more, and why. */
export interface Stray {
  readonly id: string;
  readonly reason: string;
}

/**
 * Of what an earlier process left, what is not to go any more: its recipient is blocked by now, or out of the room it was said
 * in. Whoever changed that may have ended before it had called all of it back. Who gets it for another reason, because of
 * what it answers or changes or by a rule, still does; of the hub's own rooms only those are out who were taken out.
 */
export function straysIn(
  rows: readonly OpenRow[],
  facts: RoutingFacts,
  messageOf: (id: string) => Message | undefined,
): readonly Stray[] {
  const rooms = new Map<string, ReadonlySet<Address> | undefined>();
  return rows.flatMap(({ id, message, recipient, to }) => {
    if (facts.isBlocked?.(recipient) === true) {
      return [{ id, reason: 'its recipient is blocked' }];
    }
    if (schemeOf(to) !== 'room') {
      return [];
    }
    const room = nameOf(to);
    const members = rooms.getOrInsertComputed(room, () => {
      const found = membersOf(room, facts);
      return found && new Set(found);
    });
    if (members === undefined) {
      return [{ id, reason: `the room ${room} is gone` }];
    }
    if (
      members.has(recipient) ||
      (isKept(room) && facts.rooms[room]?.removed?.includes(recipient) !== true)
    ) {
      return [];
    }
    const said = messageOf(message);
    const isMeant =
      said === undefined || route(said, facts).recipients.some(({ address }) => address === recipient);
    return isMeant ? [] : [{ id, reason: `not in the room ${room} any more` }];
  });
}
