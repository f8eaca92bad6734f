import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { GatewayError } from '../lib/errors.ts';
import type { InterfacePort } from '../mesh/interface.ts';
import type { Framing } from './framing/framing.ts';
import type { SerialLink } from './serial.ts';

/** Bytes that may wait for a line before more is refused. */
const waitingMost = 64 * 1024;
/** ms after which a device that does not say that it is ready is taken to be. Source: RNS 1.5.7. */
const readyPatience = 5000;

export interface FramedLineParts {
  readonly clock: Clock;
  readonly counters: Counters;
}

export interface FramedLineOptions {
  readonly name: string;
  readonly framing: Framing;
  /** Bytes of the longest packet. */
  readonly mtu: number;
  /** Bytes a second that the line carries: packets are handed to it no faster. Absent where it is not known. */
  readonly pace?: number;
  /** The device says when it has room for the next packet, and is waited for. */
  readonly flowControl?: boolean;
  /** What is said to the device once it is open, before any packet. */
  readonly greeting?: Uint8Array;
}

/**
 * Packets in frames over a line of bytes, one after the other: what waits, waits here, where it is counted and bounded,
 * and not in buffers of the system.
 */
export class FramedLine {
  readonly #link: SerialLink;
  readonly #options: FramedLineOptions;
  readonly #parts: FramedLineParts;
  #port: InterfacePort | undefined;
  #ready = Promise.withResolvers<void>();
  /** The last packet to be sent, and whatever comes before it. */
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(link: SerialLink, options: FramedLineOptions, parts: FramedLineParts) {
    this.#link = link;
    this.#options = options;
    this.#parts = parts;
  }

  /** ms until what waits has left. */
  get backlog(): number {
    const { pace } = this.#options;
    return pace === undefined ? 0 : (this.#waiting * 1000) / pace;
  }

  /**
   * Receives until the signal; the line is closed when it ends. Rejects with `radio/offline` or `radio/device`, in
   * words, where the line is lost.
   */
  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    const link = this.#link;
    const { framing, greeting, mtu } = this.#options;
    const deframer = framing.deframer({ longest: mtu, onReady: () => this.#ready.resolve() });
    const stopped = Promise.withResolvers<undefined>();
    const stop = () => stopped.resolve(undefined);
    signal.addEventListener('abort', stop, { once: true });
    this.#port = port;
    let broken = 0;
    link.onData(chunk => {
      const packets = deframer.feed(chunk);
      if (deframer.broken > broken) {
        this.#parts.counters.add('wire/malformed', deframer.broken - broken);
        broken = deframer.broken;
      }
      this.#receive(packets, 0);
    });
    try {
      if (!signal.aborted) {
        if (greeting !== undefined) {
          await link.write(greeting);
        }
        port.ready();
        const failure = await Promise.race([stopped.promise, link.closed.then(reason => reason ?? gone())]);
        if (failure !== undefined && !signal.aborted) {
          throw failure;
        }
      }
    } finally {
      signal.removeEventListener('abort', stop);
      this.#port = undefined;
      this.#ready.resolve();
      await link.close();
      await this.#last.catch(() => {});
    }
  }

  /** See `Interface.send`; rejects with `store/full` where too much waits already. */
  async send(packet: Uint8Array): Promise<void> {
    const { name, mtu, framing } = this.#options;
    if (this.#port === undefined) {
      throw new GatewayError('radio/offline', `${name} is not open`, { retryable: true });
    }
    if (packet.length > mtu) {
      throw new GatewayError('mesh/too-large', `${packet.length} bytes, ${name} carries ${mtu}`);
    }
    if (this.#waiting + packet.length > waitingMost) {
      this.#parts.counters.add('radio/queue-full');
      throw new GatewayError('store/full', `${name} takes packets more slowly than they come`, {
        retryable: true,
      });
    }
    const framed = framing.frame(packet);
    this.#waiting += framed.length;
    const taken = this.#last.then(() => this.#hand(framed)).finally(() => (this.#waiting -= framed.length));
    this.#last = taken.catch(() => {});
    await taken;
  }

  /** Writes one frame; resolves when the next may follow. */
  async #hand(framed: Uint8Array): Promise<void> {
    const { name, pace, flowControl } = this.#options;
    const { clock } = this.#parts;
    if (this.#port === undefined) {
      throw new GatewayError('radio/offline', `${name} was closed`, { retryable: true });
    }
    this.#ready = Promise.withResolvers();
    const begun = clock.monotonic();
    await this.#link.write(framed);
    const spent = clock.monotonic() - begun;
    const time = pace === undefined ? 0 : (framed.length * 1000) / pace - spent;
    if (time > 0) {
      await this.#wait(time);
    }
    if (flowControl === true) {
      await this.#wait(readyPatience, this.#ready.promise);
    }
  }

  /** Resolves after so many ms, when something else does, or when the line is closed. */
  async #wait(time: number, sooner?: Promise<void>): Promise<void> {
    const waited = new AbortController();
    const late = this.#parts.clock.sleep(time, waited.signal).catch(() => {});
    const closed = this.#link.closed.then(() => {});
    await Promise.race([late, closed, ...(sooner === undefined ? [] : [sooner])]);
    waited.abort();
  }

  /** One packet after the other; where one asks to wait, the rest and the line wait. */
  #receive(packets: readonly Uint8Array[], from: number): void {
    for (let at = from; at < packets.length && this.#port !== undefined; at++) {
      const asked = this.#port.receive(packets[at]!);
      if (asked !== undefined) {
        this.#link.pause();
        const resume = () => {
          this.#link.resume();
          this.#receive(packets, at + 1);
        };
        void asked.then(resume, resume);
        return;
      }
    }
  }
}

function gone(): GatewayError {
  return new GatewayError('radio/offline', 'the line was closed', { retryable: true });
}
