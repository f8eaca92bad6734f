/** A kind of message, as it stands in an envelope. */
export interface MessageType<T> {
  /** 0 … 0xefff; what is above belongs to the protocol. */
  readonly type: number;
  encode(value: T): Uint8Array;
  /**
   * The bytes are a view. Throws `wire/*` where they are no such message: then it is not taken, and since nothing
   * behind it can be delivered, its sender tries in vain and gives the link up.
   */
  decode(bytes: Uint8Array): T;
}

/** A message that came, of a type that was registered. */
export interface ChannelMessage {
  readonly type: number;
  /** What the type's `decode` made of it. */
  readonly value: unknown;
}

/** Who wants messages. Asked in the order of registration. */
export interface ChannelTaker {
  /** True where the message was meant for this taker: no other hears of it. One that throws is passed over. */
  take(message: ChannelMessage): boolean;
  /** False where one more message would be too much: it stays unproven, and its sender sends it again, slower each time. */
  hasRoom?(message: ChannelMessage): boolean;
}

/** How a Channel stands, to be looked at. */
export interface ChannelStatus {
  readonly window: number;
  readonly smallestWindow: number;
  readonly largestWindow: number;
  readonly flexibility: number;
  readonly mediumRounds: number;
  readonly fastRounds: number;
  readonly nextSequence: number;
  readonly nextReceived: number;
  /** Messages that came before their turn. */
  readonly held: number;
  readonly outstanding: readonly { readonly sequence: number; readonly tries: number }[];
  /** Messages that wait for the window. */
  readonly queued: number;
  readonly takers: number;
}
