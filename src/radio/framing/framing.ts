import { frame, HdlcDeframer } from './hdlc.ts';
import { KissDeframer, kissFrame, packetOf } from './kiss.ts';

/** How packets are told apart on a stream of bytes. */
export interface Framing {
  frame(packet: Uint8Array): Uint8Array;
  /** A reader of one stream; it holds one frame at most. */
  deframer(options?: DeframerOptions): Deframer;
}

/** Memory that several share; see `SendRoom`. */
export interface FrameRoom {
  take(waiting: number, bytes: number): boolean;
  give(bytes: number): void;
}

export interface DeframerOptions {
  /** Bytes of the longest packet. */
  readonly longest?: number;
  /** Shared with other streams: memory for frames whose end has not come. Default as much as the longest takes. */
  readonly room?: FrameRoom;
  /** The device at the other end has room for another packet, where it says so. */
  readonly onReady?: () => void;
}

export interface Deframer {
  /** The packets that this chunk completes. */
  feed(chunk: Uint8Array): Uint8Array[];
  /** Frames that held no packet, or only the beginning of one. */
  readonly broken: number;
  /** The stream is over: gives back what it takes of shared memory. */
  end?(): void;
}

/** Reticulum's HDLC, as on TCP, serial lines and pipes. */
export const hdlcFraming: Framing = {
  frame,
  deframer({ longest, room } = {}) {
    const deframer = new HdlcDeframer({ maxFrame: longest, room });
    return {
      feed: chunk => deframer.feed(chunk),
      end: () => deframer.end(),
      get broken() {
        const { runts, oversize, malformed } = deframer.discarded;
        return runts + oversize + malformed;
      },
    };
  },
};

/** Commands of a TNC. Source: the KISS specification; `ready` as the reference's KISS interface has it. */
export const tncCommands = {
  data: 0x00,
  txDelay: 0x01,
  persistence: 0x02,
  slotTime: 0x03,
  txTail: 0x04,
  ready: 0x0f,
} as const;

/**
 * KISS as a TNC speaks it: a packet is the data of command 0 on any of its ports. One that is too long is cut, as the
 * reference cuts it, and counted.
 */
export const kissFraming: Framing = {
  frame: packet => kissFrame(tncCommands.data, packet),
  deframer({ longest, onReady } = {}) {
    const deframer = new KissDeframer({ cuts: true, ...(longest !== undefined && { maxData: longest }) });
    return {
      feed: chunk =>
        deframer.feed(chunk).flatMap(found => {
          if ((found.command & 0x0f) === tncCommands.ready) {
            onReady?.();
          }
          const packet = packetOf(found);
          return packet === undefined || packet.length === 0 ? [] : [packet];
        }),
      get broken() {
        const { oversize, malformed } = deframer.discarded;
        return oversize + malformed;
      },
    };
  },
};
