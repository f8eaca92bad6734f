import type { Cancel, Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { InterfacePort } from '../../mesh/interface.ts';
import { KissDeframer, type KissFrame, kissFrame } from '../framing/kiss.ts';
import type { SerialLink } from '../serial.ts';
import { byteFrame, commands } from './commands.ts';
import {
  beforeOpen,
  type ChannelReport,
  type DeviceEffect,
  type DeviceInput,
  describeDevice,
  deviceStep,
  leaveFrames,
} from './device.ts';
import { rnodeMtu } from './lora.ts';
import type { DeviceSettings } from './settings.ts';

export interface SessionParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly name: string;
}

/** ms to ask again whether the queue has room, and ms after the time on the air to stop waiting for a word of it. */
const askEvery = 500;
const readyPatience = 5000;
/** ms that a last word may take when the gateway lets go of the radio. */
const leavePatience = 500;

/** One opening of an RNode: carries the bytes between the line and the state machine, until the line or the radio fails. */
export class RNodeSession {
  readonly #link: SerialLink;
  readonly #settings: DeviceSettings;
  readonly #parts: SessionParts;
  readonly #deframer = new KissDeframer({ maxData: 1100 });
  readonly #failed = Promise.withResolvers<GatewayError>();
  #state = beforeOpen;
  #cancelWake: Cancel | undefined;
  #port: InterfacePort | undefined;
  #ready = Promise.withResolvers<boolean>();
  #discarded = 0;

  constructor(link: SerialLink, settings: DeviceSettings, parts: SessionParts) {
    this.#link = link;
    this.#settings = settings;
    this.#parts = parts;
  }

  /** Which device it is, once it is known. */
  get device(): string | undefined {
    return this.#state.at === 'online' ? describeDevice(this.#state.device) : undefined;
  }

  get channel(): ChannelReport | undefined {
    return this.#state.at === 'online' ? this.#state.channel : undefined;
  }

  get online(): boolean {
    return this.#state.at === 'online';
  }

  /**
   * Sets the radio up and receives until the signal; the line is closed when it resolves. Rejects with
   * `radio/offline` or `radio/device`, in words.
   */
  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    const link = this.#link;
    const stopped = Promise.withResolvers<undefined>();
    const stop = () => stopped.resolve(undefined);
    signal.addEventListener('abort', stop, { once: true });
    this.#port = port;
    link.onData(chunk => this.#receive(this.#unframe(chunk), 0));
    try {
      if (!signal.aborted) {
        void this.#step({ on: 'opened' });
        const failure = await Promise.race([
          stopped.promise,
          this.#failed.promise,
          link.closed.then(reason => reason ?? gone()),
        ]);
        if (failure !== undefined && !signal.aborted) {
          throw failure;
        }
      }
    } finally {
      signal.removeEventListener('abort', stop);
      this.#cancelWake?.();
      this.#port = undefined;
      await this.#leave();
      this.#state = beforeOpen;
      this.#ready.resolve(true);
    }
  }

  /** Hands a packet to the radio; resolves when its queue has room for another, or will have by all that is known. */
  async hand(packet: Uint8Array, timeOnAir: number): Promise<void> {
    const { clock } = this.#parts;
    const end = clock.monotonic() + timeOnAir + readyPatience;
    this.#ready = Promise.withResolvers();
    await this.#write([{ command: commands.data, data: packet }, byteFrame(commands.ready, 0)]);
    while (this.online && clock.monotonic() < end) {
      const answer = this.#ready.promise;
      const waited = new AbortController();
      const late = clock.sleep(end - clock.monotonic(), waited.signal).then(() => undefined);
      late.catch(() => {});
      const ready = await Promise.race([answer, late]);
      waited.abort();
      if (ready !== false) {
        return;
      }
      this.#parts.counters.add('radio/queue-full');
      await clock.sleep(askEvery);
      this.#ready = Promise.withResolvers();
      await this.#write([byteFrame(commands.ready, 0)]);
    }
  }

  /** A promise where a packet asks those after it to wait. */
  #step(input: DeviceInput): Promise<void> | undefined {
    const [state, effects] = deviceStep(this.#state, input, this.#settings, this.#parts.clock.monotonic());
    this.#state = state;
    let asked: Promise<void> | undefined;
    for (const effect of effects) {
      asked = this.#carryOut(effect) ?? asked;
    }
    return asked;
  }

  #carryOut(effect: DeviceEffect): Promise<void> | undefined {
    const { clock, log, counters, name } = this.#parts;
    switch (effect.do) {
      case 'write':
        // A line that is lost says so itself.
        this.#write(effect.frames).catch(() => {});
        return undefined;
      case 'wake':
        this.#cancelWake?.();
        this.#cancelWake = clock.after(effect.at - clock.monotonic(), () => void this.#step({ on: 'time' }));
        return undefined;
      case 'online':
        log.info({ interface: name, port: this.#link.path, device: this.device }, 'radio on');
        this.#port?.ready();
        return undefined;
      case 'packet':
        if (effect.packet.length === 0 || effect.packet.length > rnodeMtu) {
          counters.add('wire/malformed');
          return undefined;
        }
        return this.#port?.receive(effect.packet, effect.quality) ?? undefined;
      case 'ready':
        this.#ready.resolve(effect.ready);
        return undefined;
      case 'complain':
        counters.add('radio/device');
        log.warn({ interface: name, reason: effect.text }, 'the radio complains');
        return undefined;
      case 'fail':
        this.#failed.resolve(
          new GatewayError(effect.code, `${this.#link.path}: ${effect.message}`, { retryable: true }),
        );
        return undefined;
    }
  }

  #unframe(chunk: Uint8Array): KissFrame[] {
    const frames = this.#deframer.feed(chunk);
    const { oversize, malformed } = this.#deframer.discarded;
    if (oversize + malformed > this.#discarded) {
      this.#parts.counters.add('wire/malformed', oversize + malformed - this.#discarded);
      this.#discarded = oversize + malformed;
    }
    return frames;
  }

  /** One frame after the other; where a packet asks to wait, the rest and the line wait. */
  #receive(frames: readonly KissFrame[], from: number): void {
    for (let at = from; at < frames.length && this.#port !== undefined; at++) {
      const asked = this.#step({ on: 'frame', frame: frames[at]! });
      if (asked !== undefined) {
        this.#link.pause();
        const resume = () => {
          this.#link.resume();
          this.#receive(frames, at + 1);
        };
        void asked.then(resume, resume);
        return;
      }
    }
  }

  async #write(frames: readonly KissFrame[]): Promise<void> {
    await this.#link.write(Buffer.concat(frames.map(({ command, data }) => kissFrame(command, data))));
  }

  /** Turns the radio off where it was ours: it would answer nobody, but be heard. */
  async #leave(): Promise<void> {
    const { clock } = this.#parts;
    if (this.#state.at === 'online' || this.#state.at === 'configuring') {
      const waited = new AbortController();
      const late = clock.sleep(leavePatience, waited.signal).catch(() => {});
      await Promise.race([this.#write(leaveFrames).catch(() => {}), late]);
      waited.abort();
    }
    await this.#link.close();
  }
}

function gone(): GatewayError {
  return new GatewayError('radio/offline', 'the serial line was closed', { retryable: true });
}
