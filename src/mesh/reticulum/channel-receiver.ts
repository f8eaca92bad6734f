import { windowMost } from './channel-window.ts';

/** The receiving side of a Channel: messages in the order in which they were sent, each once. Stepped in place. */
export interface ChannelReceiver<T> {
  /** Sequence of the message that is delivered next. */
  next: number;
  /** What came before its turn, by sequence; at most 48. */
  readonly held: Map<number, T>;
}

/** `ahead`: further than any sender may be; `again`: it was here before. */
export type ChannelArrival = 'new' | 'again' | 'ahead';

const sequences = 0x1_0000;

export function startChannelReceiver<T>(): ChannelReceiver<T> {
  return { next: 0, held: new Map() };
}

/** What a message of this sequence would be. */
export function arrivalOf({ next, held }: ChannelReceiver<unknown>, sequence: number): ChannelArrival {
  const ahead = (sequence - next + sequences) % sequences;
  if (ahead > windowMost) {
    return ahead < sequences / 2 ? 'ahead' : 'again';
  }
  return held.has(sequence) ? 'again' : 'new';
}

/** Takes a new message; what may be delivered now, in order. */
export function arrive<T>(state: ChannelReceiver<T>, sequence: number, message: T): readonly T[] {
  if (sequence !== state.next) {
    state.held.set(sequence, message);
    return [];
  }
  const ready = [message];
  state.next = (state.next + 1) % sequences;
  while (state.held.has(state.next)) {
    ready.push(state.held.get(state.next) as T);
    state.held.delete(state.next);
    state.next = (state.next + 1) % sequences;
  }
  return ready;
}
