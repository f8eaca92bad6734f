import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Cancel, Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { GatewayError } from '../lib/errors.ts';
import { type InterfacePort, taken } from '../mesh/interface.ts';
import { type Deframer, type Framing, hdlcFraming } from './framing/framing.ts';
import { SendRoom } from './send-room.ts';

/** ms after which a peer that takes nothing is given up. */
const stallLimit = 12_000;
/** Bytes of one turn that are gathered before they are written. */
const gatheredMost = 65_536;
/** ms of work on one chunk before others have a turn: a burst must not hold up the commits it waits for. */
const turnTime = 4;
/** ms of silence before the connection is probed. */
const keepAliveDelay = 5000;

export interface HdlcSocketParts {
  readonly clock: Clock;
  /** Frames that hold no packet are counted as `wire/malformed`. */
  readonly counters?: Counters;
  /** How packets are told apart. Default HDLC. */
  readonly framing?: Framing;
  /** Whether a peer that takes nothing is kept all the same, and only what is sent to it meanwhile lost. Default false. */
  readonly patient?: boolean;
  /** Shared with the other peers of a listener. Default its own. */
  readonly room?: SendRoom;
  /** The same for packets that have come in part. Default as much as one takes. */
  readonly inRoom?: SendRoom;
}

interface Waiting {
  readonly framed: Uint8Array;
  /** Bytes of the packet in it. */
  readonly size: number;
  readonly took: () => void;
  readonly lost: (error: GatewayError) => void;
}

/**
 * Packets in HDLC frames over a connected socket. The socket is handed little at a time, so that a
 * peer that is slow can be told from one that takes nothing.
 */
export class HdlcSocket {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #counters: Counters | undefined;
  readonly #patient: boolean;
  readonly #room: SendRoom;
  readonly #framing: Framing;
  readonly #deframer: Deframer;
  #discarded = 0;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #ended: GatewayError | undefined;
  /** Frames of this turn that have not been written. */
  #gathered: Uint8Array[] = [];
  #gatheredBytes = 0;
  #gathering = false;
  /** Of this turn. */
  #frames = 0;
  #alone = true;
  #cancelStall: Cancel | undefined;

  constructor(
    socket: Socket,
    {
      clock,
      counters,
      patient = false,
      framing = hdlcFraming,
      room = new SendRoom(),
      inRoom,
    }: HdlcSocketParts,
  ) {
    this.#socket = socket;
    this.#room = room;
    this.#framing = framing;
    this.#deframer = framing.deframer(inRoom && { room: inRoom });
    this.#patient = patient;
    this.#clock = clock;
    this.#counters = counters;
  }

  /**
   * Receives until the signal, which closes the connection; resolves when it is closed. Rejects with
   * `radio/offline`, in words, when the connection is lost.
   */
  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    const socket = this.#socket;
    const closed = Promise.withResolvers<void>();
    let failure: Error | undefined;
    const stop = () => socket.destroy();
    socket.on('error', error => {
      failure = error;
    });
    socket.once('close', () => closed.resolve());
    if (socket.closed) {
      closed.resolve();
    }
    socket.on('data', (chunk: Buffer) => this.#receive(this.#unframe(chunk), 0, port));
    socket.once('end', () => socket.destroy());
    socket.on('drain', () => this.#drained());
    signal.addEventListener('abort', stop, { once: true });
    try {
      if (signal.aborted) {
        socket.destroy();
      } else if (!socket.destroyed) {
        socket.setNoDelay(true);
        socket.setKeepAlive(true, keepAliveDelay);
        port.ready();
      }
      await closed.promise;
    } finally {
      signal.removeEventListener('abort', stop);
      this.#end(failure);
    }
    if (!signal.aborted) {
      throw this.#ended;
    }
  }

  /** See `Interface.send`; rejects with `store/full` where too much waits for this peer already. */
  send(packet: Uint8Array): Promise<void> {
    if (this.#ended || this.#socket.destroyed) {
      return Promise.reject(
        this.#ended ?? new GatewayError('radio/offline', 'connection closed', { retryable: true }),
      );
    }
    if (this.#waiting.length === 0 && !this.#socket.writableNeedDrain) {
      this.#write(this.#framing.frame(packet));
      return taken;
    }
    return this.#wait(packet);
  }

  async #wait(packet: Uint8Array): Promise<void> {
    // Reckoned without its frame: what is refused is not to cost the work of framing it.
    const size = packet.length;
    if (!this.#room.take(this.#waitingBytes, size)) {
      throw new GatewayError('store/full', 'the peer takes packets more slowly than they come', {
        retryable: true,
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ framed: this.#framing.frame(packet), size, took: resolve, lost: reject });
    this.#waitingBytes += size;
    await promise;
  }

  #unframe(chunk: Uint8Array): Uint8Array[] {
    const packets = this.#deframer.feed(chunk);
    const discarded = this.#deframer.broken;
    if (discarded > this.#discarded) {
      this.#counters?.add('wire/malformed', discarded - this.#discarded);
      this.#discarded = discarded;
    }
    return packets;
  }

  /** One frame after the other; where a packet asks to wait, or a turn grows long, the rest and the socket wait. */
  #receive(packets: readonly Uint8Array[], from: number, port: InterfacePort): void {
    const turnEnds = this.#clock.monotonic() + turnTime;
    for (let at = from; at < packets.length; at++) {
      if (this.#socket.destroyed) {
        return;
      }
      const asked = port.receive(packets[at]!);
      const long = at + 1 < packets.length && this.#clock.monotonic() >= turnEnds;
      const pause = asked ?? (long ? nextTurn() : undefined);
      if (pause !== undefined) {
        this.#socket.pause();
        const resume = () => {
          this.#socket.resume();
          this.#receive(packets, at + 1, port);
        };
        void pause.then(resume, resume);
        return;
      }
    }
  }

  /**
   * What is written within one turn of the event loop leaves in one piece. Where the last turn had one frame, the next
   * one leaves at once: somebody waits for it.
   */
  #write(framed: Uint8Array): void {
    this.#frames += 1;
    if (!this.#gathering) {
      this.#gathering = true;
      const alone = this.#alone;
      process.nextTick(() => {
        this.#gathering = false;
        this.#alone = this.#frames === 1;
        this.#frames = 0;
        this.#flush();
      });
      if (alone) {
        this.#put(framed);
        return;
      }
    }
    const last = this.#gathered.at(-1);
    const joined = last && joinedWith(last, framed);
    if (joined) {
      this.#gathered[this.#gathered.length - 1] = joined;
    } else {
      this.#gathered.push(framed);
    }
    this.#gatheredBytes += framed.length;
    if (this.#gatheredBytes >= gatheredMost) {
      this.#flush();
    }
  }

  #flush(): void {
    const pieces = this.#gathered;
    if (pieces.length === 0 || this.#socket.destroyed) {
      return;
    }
    this.#gathered = [];
    this.#gatheredBytes = 0;
    const several = pieces.length > 1;
    if (several) {
      this.#socket.cork();
    }
    for (const piece of pieces) {
      this.#put(piece);
    }
    if (several) {
      this.#socket.uncork();
    }
  }

  #put(bytes: Uint8Array): void {
    if (!this.#socket.write(bytes) && !this.#patient) {
      this.#cancelStall ??= this.#clock.after(stallLimit, () => {
        this.#socket.destroy(
          new GatewayError('radio/offline', 'the peer takes nothing', { retryable: true }),
        );
      });
    }
  }

  #drained(): void {
    this.#cancelStall?.();
    this.#cancelStall = undefined;
    let at = 0;
    for (; at < this.#waiting.length && !this.#socket.writableNeedDrain; at++) {
      const { framed, size, took } = this.#waiting[at]!;
      this.#waitingBytes -= size;
      this.#room.give(size);
      this.#write(framed);
      took();
    }
    this.#waiting = this.#waiting.slice(at);
  }

  #end(failure: Error | undefined): void {
    this.#cancelStall?.();
    this.#cancelStall = undefined;
    this.#ended = lost(failure);
    for (const { lost: reject } of this.#waiting) {
      reject(this.#ended);
    }
    this.#room.give(this.#waitingBytes);
    this.#deframer.end?.();
    this.#waiting = [];
    this.#waitingBytes = 0;
  }
}

/** Both as one where they lie side by side in memory, as frames made one after the other do. */
function joinedWith(first: Uint8Array, second: Uint8Array): Uint8Array | undefined {
  const { buffer, byteOffset, length } = first;
  return second.buffer === buffer && second.byteOffset === byteOffset + length
    ? new Uint8Array(buffer, byteOffset, length + second.length)
    : undefined;
}

function lost(failure: Error | undefined): GatewayError {
  if (failure instanceof GatewayError) {
    return failure;
  }
  return new GatewayError(
    'radio/offline',
    failure ? inWords(failure) : 'the other end closed the connection',
    {
      retryable: true,
      cause: failure,
    },
  );
}

/** Why a socket failed, for people. */
export function inWords(failure: Error & { readonly code?: string }): string {
  const code = failure.code ?? '';
  return socketFailures[code] ?? `${failure.message || 'connection failed'}${code && ` (${code})`}`;
}

const socketFailures: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused: nothing listens there',
  ECONNRESET: 'the other end broke the connection off',
  EPIPE: 'the other end closed the connection',
  ETIMEDOUT: 'the other end does not answer',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  ENOTFOUND: 'no such host name',
  EAI_AGAIN: 'host name cannot be looked up now',
  EADDRINUSE: 'the port is in use by another program',
  EADDRNOTAVAIL: 'this machine does not have that address',
  EACCES: 'not allowed to use that port',
};
