import type { FrameRoom } from './framing.ts';

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

/** Frames are cut from pieces of this size: memory of its own for each would take longer than framing it. */
const slabSize = 131_072;
let slab = new Uint8Array(slabSize);
let slabUsed = 0;
/** From this length on it pays to have escapes searched for and the bytes between them copied. */
const longPacket = 512;

/** The packet between two flags. The bytes are the caller's, but their memory holds other frames too: not to be transferred. */
export function frame(packet: Uint8Array): Uint8Array {
  const most = 2 * packet.length + 2;
  if (most > slabSize / 2) {
    return frameInto(new Uint8Array(most), 0, packet);
  }
  if (slabUsed + most > slabSize) {
    slab = new Uint8Array(slabSize);
    slabUsed = 0;
  }
  const framed = frameInto(slab, slabUsed, packet);
  slabUsed += framed.length;
  return framed;
}

function frameInto(target: Uint8Array, start: number, packet: Uint8Array): Uint8Array {
  target[start] = FLAG;
  const put = packet.length < longPacket ? putShort : putLong;
  const end = put(target, start + 1, packet);
  target[end] = FLAG;
  return target.subarray(start, end + 1);
}

/** Writes the escaped bytes and says where they end. */
function putShort(target: Uint8Array, start: number, packet: Uint8Array): number {
  let at = start;
  for (let i = 0; i < packet.length; i++) {
    const byte = packet[i]!;
    if (byte === FLAG || byte === ESC) {
      target[at++] = ESC;
      target[at++] = byte ^ MASK;
    } else {
      target[at++] = byte;
    }
  }
  return at;
}

/** The same with `memchr` and `memcpy`, which is what Buffer has. */
function putLong(target: Uint8Array, start: number, packet: Uint8Array): number {
  const source = asBuffer(packet);
  const { length } = source;
  let at = start;
  let from = 0;
  let nextFlag = find(source, FLAG, 0);
  let nextEsc = find(source, ESC, 0);
  while (nextFlag < length || nextEsc < length) {
    const mark = Math.min(nextFlag, nextEsc);
    at += source.copy(target, at, from, mark);
    target[at++] = ESC;
    target[at++] = source[mark]! ^ MASK;
    from = mark + 1;
    if (mark === nextFlag) {
      nextFlag = find(source, FLAG, from);
    } else {
      nextEsc = find(source, ESC, from);
    }
  }
  return at + source.copy(target, at, from);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Where the byte is from `from` on; the length where it is not. */
function find(source: Buffer, byte: number, from: number): number {
  const at = source.indexOf(byte, from);
  return at === -1 ? source.length : at;
}

/** What a deframer gave up, in frames but for `noise`, which is bytes before the first flag. */
export interface HdlcDiscarded {
  /** Too short to be a packet. */
  readonly runts: number;
  /** Longer than a packet may be, or than there is room for now. */
  readonly oversize: number;
  /** An escape before the flag, or one of neither FLAG nor ESC. */
  readonly malformed: number;
  readonly noise: number;
}

export interface HdlcDeframerOptions {
  readonly maxFrame?: number | undefined;
  readonly room?: FrameRoom | undefined;
}

/** A buffer this large is given back once its frame is out; most frames need a fraction of it. */
const keptBuffer = 16_384;

/**
 * Frames out of a stream that arrives in any pieces. Never throws: what is no packet is counted in
 * `discarded`, and the next flag is where it begins anew. Holds one frame at most.
 */
export class HdlcDeframer {
  readonly #maxFrame: number;
  readonly #room: FrameRoom | undefined;
  /** The frame whose end has not come. */
  #buffer = new Uint8Array(0);
  #held = 0;
  /** `between`: no flag was seen yet. `skip`: the frame is too long, waiting for its flag. */
  #at: 'between' | 'frame' | 'skip' = 'between';
  #runts = 0;
  #oversize = 0;
  #malformed = 0;
  #noise = 0;

  /** `maxFrame`: longest packet in bytes, unescaped. `room`: see `DeframerOptions`. */
  constructor({ maxFrame = defaultMaxFrame, room }: HdlcDeframerOptions = {}) {
    this.#maxFrame = maxFrame;
    this.#room = room;
  }

  get discarded(): HdlcDiscarded {
    return {
      runts: this.#runts,
      oversize: this.#oversize,
      malformed: this.#malformed,
      noise: this.#noise,
    };
  }

  /** The packets this chunk completes, possibly views into it: the chunk changes owner, and is changed. */
  feed(chunk: Uint8Array): Uint8Array[] {
    const packets: Uint8Array[] = [];
    // What leaves here are plain arrays.
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
    const searched = asBuffer(chunk);
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

  /** Forgets what is held. */
  end(): void {
    this.#room?.give(this.#buffer.length);
    this.#buffer = new Uint8Array(0);
    this.#held = 0;
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
    if (length > this.#maxFrame * 2 || !this.#grow(length)) {
      this.#oversize += 1;
      this.#at = 'skip';
      this.#forget();
      return;
    }
    this.#buffer.set(piece, this.#held);
    this.#held = length;
  }

  /** Whether the buffer has room for so many bytes now. */
  #grow(length: number): boolean {
    const had = this.#buffer.length;
    if (length <= had) {
      return true;
    }
    const size = Math.min(Math.max(length, had * 2), this.#maxFrame * 2);
    if (this.#room?.take(had, size - had) === false) {
      return false;
    }
    const larger = new Uint8Array(size);
    larger.set(this.#buffer.subarray(0, this.#held));
    this.#buffer = larger;
    return true;
  }

  #forget(): void {
    this.#held = 0;
    if (this.#buffer.length > keptBuffer) {
      this.end();
    }
  }
}

/** The packet, written over its escaped bytes; undefined where an escape makes no sense. */
function unescaped(bytes: Uint8Array): Uint8Array | undefined {
  const source = asBuffer(bytes);
  let mark = find(source, ESC, 0);
  let from = 0;
  let length = 0;
  while (mark < bytes.length) {
    length += from === 0 ? mark : source.copy(source, length, from, mark);
    const meant = (bytes[mark + 1] ?? 0) ^ MASK;
    if (meant !== FLAG && meant !== ESC) {
      return undefined;
    }
    bytes[length] = meant;
    length += 1;
    from = mark + 2;
    mark = find(source, ESC, from);
  }
  return from === 0 ? bytes : bytes.subarray(0, length + source.copy(source, length, from));
}
