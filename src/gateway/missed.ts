import type { DeliveryState } from './desk.ts';

/** How a delivery ended that brought its far side nothing. */
export type Missed = 'failed' | 'expired' | 'cancelled';

/** How every reason begins with which a change is not sent because whom it is for has nothing that it could change. */
export const nothingThere = 'its message has not arrived there';

/** How the reason ends of what was called back and is at its far side, which said so later. */
export const arrivedAnyway = 'it arrived all the same';

/** Why a change of a message is not sent where that ended so. What failed and is sent again says by itself what is meant by then. */
export function reasonOfMissed(missed: Missed, type: string): string {
  switch (missed) {
    case 'failed':
      return type === 'chat.edit'
        ? `${nothingThere}: sent again, that says this`
        : `${nothingThere}: it is not sent again`;
    case 'expired':
      return `${nothingThere}: its time was over`;
    case 'cancelled':
      return `${nothingThere}: it was called back`;
  }
}

/** A delivery, as far as it tells whether its far side has something of it; `history` is its JSON. */
export interface Ended {
  /** Of its message. */
  readonly type: string;
  readonly state: DeliveryState;
  readonly reason: string | null;
  readonly attempts: number;
  readonly history: string;
}

/**
 * How it ended, where nothing of it is at its far side; `tells` where its bridge says when something leaves: else whatever was
 * tried, and not refused, may have. An edit that went into the message it changes is there.
 */
export function missedBy(row: Ended, tells: boolean): Missed | undefined {
  const { type, state } = row;
  if (!hasMissed(state) || row.reason?.endsWith(arrivedAnyway) === true) {
    return undefined;
  }
  if (state !== 'failed' && row.attempts > 0 && !tells) {
    return undefined;
  }
  const isThere =
    type === 'chat.edit' ? !isForNobody(row) : /"(?:sent|delivered|ambiguous)"/.test(row.history);
  return isThere ? undefined : state;
}

/** Whether a state is the end of what, as far as was known then, never arrived. */
export function hasMissed(state: DeliveryState): state is Missed {
  return state === 'failed' || state === 'expired' || state === 'cancelled';
}

/** Whether it was not sent because its message had not arrived. */
export function isForNobody({ state, reason }: Pick<Ended, 'state' | 'reason'>): boolean {
  return state === 'cancelled' && reason?.startsWith(nothingThere) === true;
}
