/**
 * KISS as RNodes speak it: a command and its data between two FENDs.
 *
 *     FEND c0 | command 1 | data, each c0 as db dc and each db as db dd | FEND c0
 *
 * One FEND may end a frame and begin the next. Source: the KISS specification (Chepponis and Karn, 1987)
 * and the RNode firmware 1.86 (Framing.h); checked against RNS 1.5.7 in test/interop/rnode.test.ts.
 */
const FEND = 0xc0;
const FESC = 0xdb;
const TFEND = 0xdc;
const TFESC = 0xdd;

/** What stands between two FENDs. */
export interface KissFrame {
  readonly command: number;
  readonly data: Uint8Array;
}

/** The largest thing an RNode says is its display, 1024 B; a packet has 508 at most. */
const defaultMaxData = 1100;

/** A frame as it goes over the wire, in bytes of its own. */
export function kissFrame(command: number, data: Uint8Array): Uint8Array {
  const framed = new Uint8Array(2 * data.length + 3);
  framed[0] = FEND;
  framed[1] = command;
  let at = 2;
  for (const byte of data) {
    if (byte === FEND || byte === FESC) {
      framed[at++] = FESC;
      framed[at++] = byte === FEND ? TFEND : TFESC;
    } else {
      framed[at++] = byte;
    }
  }
  framed[at++] = FEND;
  return framed.slice(0, at);
}

/**
 * The packet in a frame of a TNC: its command is 0, whatever port of the TNC its upper half names. Undefined where the
 * TNC says something else.
 */
export function packetOf({ command, data }: KissFrame): Uint8Array | undefined {
  return (command & 0x0f) === 0 ? data : undefined;
}

/** What a deframer gave up: frames but for `noise`, which is bytes before the first FEND. */
export interface KissDiscarded {
  /** Longer than a frame may be: left out, or cut to its beginning. */
  readonly oversize: number;
  /** An escape before the FEND, or one of neither FEND nor FESC. */
  readonly malformed: number;
  readonly noise: number;
}

export interface KissDeframerOptions {
  readonly maxData?: number;
  readonly cuts?: boolean;
}

/**
 * Frames out of a stream that arrives in any pieces. Never throws: what makes no sense is counted in
 * `discarded`, and the next FEND is where it begins anew. A radio that restarts says things that are no
 * frames; they come out as frames with commands nobody knows, or not at all. Holds one frame at most.
 */
export class KissDeframer {
  readonly #maxData: number;
  readonly #cuts: boolean;
  readonly #buffer: Uint8Array;
  #held = 0;
  #escaped = false;
  /**
   * `between`: no FEND was seen yet. `skip`: the frame is no good, waiting for its FEND. `full`: no more of it is taken,
   * and what is held is good.
   */
  #at: 'between' | 'frame' | 'full' | 'skip' = 'between';
  #oversize = 0;
  #malformed = 0;
  #noise = 0;

  /**
   * `maxData`: most bytes of data in a frame, unescaped. `cuts`: whether of a longer one its beginning is taken, instead
   * of nothing.
   */
  constructor({ maxData = defaultMaxData, cuts = false }: KissDeframerOptions = {}) {
    this.#maxData = maxData;
    this.#cuts = cuts;
    this.#buffer = new Uint8Array(maxData + 1);
  }

  get discarded(): KissDiscarded {
    return { oversize: this.#oversize, malformed: this.#malformed, noise: this.#noise };
  }

  /** The frames this chunk completes, in bytes of their own. */
  feed(chunk: Uint8Array): KissFrame[] {
    const frames: KissFrame[] = [];
    for (const byte of chunk) {
      if (byte === FEND) {
        this.#end(frames);
      } else if (this.#at === 'between') {
        this.#noise += 1;
      } else if (this.#at === 'frame') {
        this.#take(byte);
      }
    }
    return frames;
  }

  #end(frames: KissFrame[]): void {
    if (this.#at === 'frame' && this.#escaped) {
      this.#malformed += 1;
    } else if ((this.#at === 'frame' || this.#at === 'full') && this.#held > 0) {
      frames.push({ command: this.#buffer[0]!, data: this.#buffer.slice(1, this.#held) });
    }
    this.#at = 'frame';
    this.#held = 0;
    this.#escaped = false;
  }

  #take(byte: number): void {
    let meant = byte;
    if (this.#escaped) {
      this.#escaped = false;
      if (byte !== TFEND && byte !== TFESC) {
        this.#malformed += 1;
        this.#at = 'skip';
        return;
      }
      meant = byte === TFEND ? FEND : FESC;
    } else if (byte === FESC) {
      this.#escaped = true;
      return;
    }
    if (this.#held > this.#maxData) {
      this.#oversize += 1;
      this.#at = this.#cuts ? 'full' : 'skip';
      return;
    }
    this.#buffer[this.#held++] = meant;
  }
}
