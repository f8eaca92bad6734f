/**
 * Reticulum's HDLC on a stream: what a TCP or a serial interface puts around a packet. No address, no
 * checksum: packets carry their own proof.
 *
 *     FLAG 7e | packet, each 7e as 7d 5e and each 7d as 7d 5d | FLAG 7e
 *
 * One flag may end a frame and begin the next. Source: the reference's TCP interface; checked against
 * RNS 1.5.7 (test/vectors/hdlc.json).
 */
const FLAG = 0x7e;
const ESC = 0x7d;
const MASK = 0x20;

/** A Reticulum header without content: a frame this short or shorter holds no packet. */
const longestRunt = 19;

/** The largest packet of the reference's TCP interface, and the longest access code before it. */
const defaultMaxFrame = 262_144 + 64;

/** The packet between two flags, as fresh bytes. */
export function frame(packet: Uint8Array): Uint8Array {
  let escapes = 0;
  for (let i = 0; i < packet.length; i++) {
    const byte = packet[i];
    if (byte === FLAG || byte === ESC) {
      escapes += 1;
    }
  }
  const framed = new Uint8Array(packet.length + escapes + 2);
  framed[0] = FLAG;
  if (escapes === 0) {
    framed.set(packet, 1);
  } else {
    let at = 1;
    for (let i = 0; i < packet.length; i++) {
      const byte = packet[i] as number;
      if (byte === FLAG || byte === ESC) {
        framed[at++] = ESC;
        framed[at++] = byte ^ MASK;
      } else {
        framed[at++] = byte;
      }
    }
  }
  framed[framed.length - 1] = FLAG;
  return framed;
}

/** What a deframer gave up, in frames but for `noise`, which is bytes before the first flag. */
export interface HdlcDiscarded {
  /** Too short to be a packet. */
  readonly runts: number;
  /** Longer than a packet may be. */
  readonly oversize: number;
  /** An escape before the flag, or one of neither FLAG nor ESC. */
  readonly malformed: number;
  readonly noise: number;
}

/** A buffer this large is given back once its frame is out; most frames need a fraction of it. */
const keptBuffer = 16_384;

/**
 * Frames out of a stream that arrives in any pieces. Never throws: what is no packet is counted in
 * `discarded`, and the next flag is where it begins anew. Holds one frame at most.
 */
export class HdlcDeframer {
  readonly #maxFrame: number;
  /** The frame whose end has not come. */
  #buffer = new Uint8Array(0);
  #held = 0;
  /** `between`: no flag was seen yet. `skip`: the frame is too long, waiting for its flag. */
  #at: 'between' | 'frame' | 'skip' = 'between';
  #runts = 0;
  #oversize = 0;
  #malformed = 0;
  #noise = 0;

  /** `maxFrame`: longest packet in bytes, unescaped. */
  constructor({ maxFrame = defaultMaxFrame }: { readonly maxFrame?: number } = {}) {
    this.#maxFrame = maxFrame;
  }

  get discarded(): HdlcDiscarded {
    return {
      runts: this.#runts,
      oversize: this.#oversize,
      malformed: this.#malformed,
      noise: this.#noise,
    };
  }

  /** The packets this chunk completes, possibly views into it: the chunk changes owner. */
  feed(chunk: Uint8Array): Uint8Array[] {
    const packets: Uint8Array[] = [];
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
    // Buffer searches with memchr, but what leaves here are plain arrays.
    const searched = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    let start = 0;
    for (;;) {
      const flag = searched.indexOf(FLAG, start);
      if (flag === -1) {
        break;
      }
      if (flag > start || this.#held > 0) {
        this.#complete(bytes.subarray(start, flag), packets);
      }
      this.#at = 'frame';
      start = flag + 1;
    }
    if (start < bytes.length) {
      this.#hold(bytes.subarray(start));
    }
    return packets;
  }

  /** `piece` is the end of a frame: all of it, or what follows the bytes held. */
  #complete(piece: Uint8Array, packets: Uint8Array[]): void {
    let escaped = piece;
    if (this.#held > 0) {
      this.#hold(piece);
      escaped = this.#buffer.slice(0, this.#held);
      this.#forget();
    }
    if (this.#at === 'between') {
      this.#noise += piece.length;
    } else if (this.#at === 'frame') {
      this.#accept(escaped, packets);
    }
  }

  #accept(escaped: Uint8Array, packets: Uint8Array[]): void {
    const packet = unescaped(escaped);
    if (packet === undefined) {
      this.#malformed += 1;
    } else if (packet.length <= longestRunt) {
      this.#runts += 1;
    } else if (packet.length > this.#maxFrame) {
      this.#oversize += 1;
    } else {
      packets.push(packet);
    }
  }

  #hold(piece: Uint8Array): void {
    if (this.#at === 'between') {
      this.#noise += piece.length;
      return;
    }
    if (this.#at === 'skip') {
      return;
    }
    const length = this.#held + piece.length;
    if (length > this.#maxFrame * 2) {
      this.#oversize += 1;
      this.#at = 'skip';
      this.#forget();
      return;
    }
    if (length > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(length, this.#buffer.length * 2));
      larger.set(this.#buffer.subarray(0, this.#held));
      this.#buffer = larger;
    }
    this.#buffer.set(piece, this.#held);
    this.#held = length;
  }

  #forget(): void {
    this.#held = 0;
    if (this.#buffer.length > keptBuffer) {
      this.#buffer = new Uint8Array(0);
    }
  }
}

/** The bytes themselves where nothing is escaped; undefined where an escape makes no sense. */
function unescaped(bytes: Uint8Array): Uint8Array | undefined {
  let mark = bytes.indexOf(ESC);
  if (mark === -1) {
    return bytes;
  }
  const plain = new Uint8Array(bytes.length - 1);
  let from = 0;
  let length = 0;
  while (mark !== -1) {
    plain.set(bytes.subarray(from, mark), length);
    length += mark - from;
    const meant = (bytes[mark + 1] ?? 0) ^ MASK;
    if (meant !== FLAG && meant !== ESC) {
      return undefined;
    }
    plain[length] = meant;
    length += 1;
    from = mark + 2;
    mark = bytes.indexOf(ESC, from);
  }
  plain.set(bytes.subarray(from), length);
  return plain.subarray(0, length + bytes.length - from);
}
