import type { Socket } from 'node:net';

/** Whether somebody has proven on it who they are. */
export type Standing = 'stranger' | 'known';

/** Where a connection stands among the idle ones, if it is idle. */
export interface IdlePlace {
  readonly socket: Socket;
  readonly row: Row;
  /** ms of the clock at which it became idle. */
  since: number;
  queue: Queue | undefined;
  previous: IdlePlace | undefined;
  next: IdlePlace | undefined;
}

/** Idle connections in the order in which they became idle. */
interface Queue {
  size: number;
  first: IdlePlace | undefined;
  last: IdlePlace | undefined;
}

/** The connections of one address. */
interface Row extends Readonly<Record<Standing, Queue>> {
  readonly address: string;
  connections: number;
}

/**
 * Idle connections, by address and in the order in which they became idle. A connection becomes idle with every answer and
 * ceases to be with every request, so that both take a few words of memory and no look-up.
 */
export class IdleLines {
  readonly #rows = new Map<string, Row>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** A connection that is not idle yet. */
  open(socket: Socket): IdlePlace {
    const address = socket.remoteAddress ?? '';
    const row = this.#rows.getOrInsertComputed(address, () => ({
      address,
      connections: 0,
      stranger: { size: 0, first: undefined, last: undefined },
      known: { size: 0, first: undefined, last: undefined },
    }));
    row.connections += 1;
    return { socket, row, since: 0, queue: undefined, previous: undefined, next: undefined };
  }

  /** To be called once for each that was opened. */
  close(place: IdlePlace): void {
    this.leave(place);
    const { row } = place;
    row.connections -= 1;
    if (row.connections === 0) {
      this.#rows.delete(row.address);
    }
  }

  enter(place: IdlePlace, standing: Standing, now: number): void {
    this.leave(place);
    const queue = place.row[standing];
    place.since = now;
    place.queue = queue;
    place.previous = queue.last;
    if (queue.last === undefined) {
      queue.first = place;
    } else {
      queue.last.next = place;
    }
    queue.last = place;
    queue.size += 1;
    this.#size += 1;
  }

  leave(place: IdlePlace): void {
    const { queue, previous, next } = place;
    if (queue === undefined) {
      return;
    }
    if (previous === undefined) {
      queue.first = next;
    } else {
      previous.next = next;
    }
    if (next === undefined) {
      queue.last = previous;
    } else {
      next.previous = previous;
    }
    queue.size -= 1;
    this.#size -= 1;
    place.queue = undefined;
    place.previous = undefined;
    place.next = undefined;
  }

  /** The oldest of the address that has most, of strangers while there are any. */
  oldest(): IdlePlace | undefined {
    return this.#oldest('stranger') ?? this.#oldest('known');
  }

  #oldest(standing: Standing): IdlePlace | undefined {
    let most: Queue | undefined;
    for (const { [standing]: queue } of this.#rows.values()) {
      if (queue.size > (most?.size ?? 0)) {
        most = queue;
      }
    }
    return most?.first;
  }
}
