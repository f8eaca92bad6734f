import { type Address, type Message, nameOf, schemeOf } from './message.ts';
import { type RoutingFacts, route } from './router.ts';

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
 * Of what an earlier process left, what is not to go any more: its recipient is blocked by now, or was taken out of the room it
 * was said in, and whoever did that ended before all of it was called back. Who gets it for another reason, because of what it
 * answers or changes or by a rule, still does, and so does who is in no list of those taken out: they may have it by a rule that is gone.
 */
export function straysIn(
  rows: readonly OpenRow[],
  facts: RoutingFacts,
  messageOf: (id: string) => Message | undefined,
): readonly Stray[] {
  return rows.flatMap(({ id, message, recipient, to }) => {
    if (facts.isBlocked?.(recipient) === true) {
      return [{ id, reason: 'its recipient is blocked' }];
    }
    const room = schemeOf(to) === 'room' ? nameOf(to) : '';
    if (!Object.hasOwn(facts.rooms, room) || facts.rooms[room]?.removed?.includes(recipient) !== true) {
      return [];
    }
    const said = messageOf(message);
    const isMeant =
      said === undefined || route(said, facts).recipients.some(({ address }) => address === recipient);
    return isMeant ? [] : [{ id, reason: `not in the room ${room} any more` }];
  });
}
