import { utf8 } from '../lib/bytes.ts';
import type { Cancel } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Interface, InterfacePort } from '../mesh/interface.ts';
import { FramedLine, type FramedLineOptions, type FramedLineParts } from './framed-line.ts';
import { hdlcFraming, kissFraming, tncCommands } from './framing/framing.ts';
import { kissFrame } from './framing/kiss.ts';
import type { SerialLink } from './serial.ts';
import type { KissOptions, SerialOptions } from './wired-config.ts';

/** Bytes of the longest packet over a serial line or a TNC. Source: RNS 1.5.7. */
const serialMtu = 564;
/** Bytes of the longest packet over a pipe. Source: RNS 1.5.7. */
const pipeMtu = 1064;
/** Bits on a serial line for each byte: with a start and a stop bit. */
const bitsPerByte = 10;
/** ms that a TNC is given after its line was opened, which restarts many of them. Source: RNS 1.5.7. */
const tncSettling = 2000;
/** Bytes of the shortest beacon. Source: RNS 1.5.7. */
const shortestBeacon = 15;

export interface WiredParts extends FramedLineParts {
  /** Opens the line. Rejects with `radio/offline` or `radio/device`, in words. */
  readonly open: () => Promise<SerialLink>;
  /** ms that a TNC is given after its line was opened. */
  readonly settling?: number;
}

/** A line of bytes to one other node, as an interface. */
class Wired implements Interface {
  readonly name: string;
  readonly mtu: number;
  readonly bitrate: number;
  readonly shared: boolean;
  readonly #parts: WiredParts;
  readonly #options: FramedLineOptions;
  readonly #settling: number;
  readonly #beacon: KissOptions['beacon'];
  #line: FramedLine | undefined;
  #cancelBeacon: Cancel | undefined;

  constructor(
    options: FramedLineOptions & {
      readonly bitrate: number;
      readonly settling?: number;
      readonly shared?: boolean;
      readonly beacon?: KissOptions['beacon'];
    },
    parts: WiredParts,
  ) {
    this.name = options.name;
    this.mtu = options.mtu;
    this.bitrate = options.bitrate;
    this.shared = options.shared ?? false;
    this.#options = options;
    this.#settling = options.settling ?? 0;
    this.#beacon = options.beacon;
    this.#parts = parts;
  }

  get backlog(): number {
    return this.#line?.backlog ?? 0;
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    if (signal.aborted) {
      return;
    }
    const link = await this.#parts.open();
    const line = new FramedLine(link, this.#options, this.#parts);
    try {
      await this.#settle(link, signal);
      await line.run(
        {
          ready: () => {
            this.#line = line;
            port.ready();
          },
          receive: packet => port.receive(packet),
          attach: peer => port.attach(peer),
        },
        signal,
      );
    } finally {
      this.#line = undefined;
      this.#cancelBeacon?.();
      this.#cancelBeacon = undefined;
      await link.close();
    }
  }

  async send(packet: Uint8Array): Promise<void> {
    const line = this.#line;
    if (line === undefined) {
      throw new GatewayError('radio/offline', `${this.name} is not open`, { retryable: true });
    }
    await line.send(packet);
    if (this.#beacon !== undefined) {
      const { callsign, every } = this.#beacon;
      this.#cancelBeacon ??= this.#parts.clock.after(every * 1000, () => {
        this.#cancelBeacon = undefined;
        const text = utf8(callsign);
        const padded = new Uint8Array(Math.max(text.length, shortestBeacon));
        padded.set(text);
        // A line that is lost says so itself.
        this.#line?.send(padded).catch(() => {});
      });
    }
  }

  async #settle(link: SerialLink, signal: AbortSignal): Promise<void> {
    const time = this.#parts.settling ?? this.#settling;
    if (time > 0) {
      const waited = new AbortController();
      const rest = this.#parts.clock.sleep(time, AbortSignal.any([signal, waited.signal])).catch(() => {});
      await Promise.race([rest, link.closed]);
      waited.abort();
    }
  }
}

/** A serial line to another node, with HDLC frames: SerialInterface of the reference. */
export function createSerial(
  options: SerialOptions & { readonly name: string },
  parts: WiredParts,
): Interface {
  const { name, speed } = options;
  return new Wired(
    { name, mtu: serialMtu, bitrate: speed, pace: speed / bitsPerByte, framing: hdlcFraming },
    parts,
  );
}

/**
 * A terminal node controller of packet radio on a serial line: KISSInterface of the reference. What leaves is paced by
 * the bitrate on the air, so that it waits here and not in the TNC.
 */
export function createKiss(options: KissOptions & { readonly name: string }, parts: WiredParts): Interface {
  const { name, bitrate, preamble, txTail, persistence, slotTime, flowControl, beacon } = options;
  const set = (command: number, value: number) => kissFrame(command, Uint8Array.of(Math.min(value, 255)));
  const greeting = Buffer.concat([
    set(tncCommands.txDelay, Math.floor(preamble / 10)),
    set(tncCommands.txTail, Math.floor(txTail / 10)),
    set(tncCommands.persistence, persistence),
    set(tncCommands.slotTime, Math.floor(slotTime / 10)),
    ...(flowControl ? [set(tncCommands.ready, 1)] : []),
  ]);
  return new Wired(
    {
      name,
      mtu: serialMtu,
      bitrate,
      pace: bitrate / 8,
      framing: kissFraming,
      flowControl,
      greeting,
      settling: tncSettling,
      shared: true,
      beacon,
    },
    parts,
  );
}

/** A program's standard input and output, with HDLC frames: PipeInterface of the reference. */
export function createPipe(
  options: { readonly name: string; readonly bitrate: number },
  parts: WiredParts,
): Interface {
  return new Wired({ ...options, mtu: pipeMtu, framing: hdlcFraming }, parts);
}
