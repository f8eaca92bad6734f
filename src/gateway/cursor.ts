import { GatewayError } from '../lib/errors.ts';

/**
 * The lists that are read with a cursor. `unread` is one of events too: it was gained by a reader that came for what it has
 * not read, and that nothing else has to be told of what was forgotten around it.
 */
export type CursorKind = 'inbox' | 'event' | 'unread' | 'message' | 'delivery' | 'audit';

/**
 * A row number as something nobody should look into: a letter for its list, the data directory's own
 * mark, and the number. The mark tells a cursor of another data directory apart.
 */
export interface Cursors {
  encode(kind: CursorKind, row: number): string;
  /** Throws `request/invalid` for what was never a cursor of this list, `request/cursor-expired` for one of another data directory. */
  decode(kind: CursorKind, cursor: string): number;
}

/** What a cursor of one of these lists looks like: anything else was never one. */
export function cursorShape(...kinds: readonly CursorKind[]): RegExp {
  return new RegExp(`^[${kinds.map(kind => kind[0]).join('')}][0-9a-f]{4}-[0-9a-z]{1,10}$`);
}

export function createCursors(epoch: string): Cursors {
  return {
    encode: (kind, row) => `${kind[0]}${epoch}-${row.toString(36)}`,
    decode(kind, cursor) {
      if (!cursorShape(kind).test(cursor)) {
        throw new GatewayError('request/invalid', 'not a cursor of this list', {
          errors: [{ pointer: '/after', detail: 'not a cursor of this list' }],
        });
      }
      if (cursor.slice(1, 5) !== epoch) {
        throw new GatewayError('request/cursor-expired', 'the cursor belongs to another data directory');
      }
      return Number.parseInt(cursor.slice(6), 36);
    },
  };
}

/** The event a cursor of either kind stands for. Throws as `Cursors.decode` does. */
export function eventOf(
  cursors: Cursors,
  cursor: string,
): { readonly row: number; readonly kind: CursorKind } {
  const kind = cursor.startsWith('u') ? 'unread' : 'event';
  return { row: cursors.decode(kind, cursor), kind };
}
