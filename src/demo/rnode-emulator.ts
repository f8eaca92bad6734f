import type { Cancel, Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Random } from '../lib/random.ts';
import { KissDeframer, type KissFrame, kissFrame } from '../radio/framing/kiss.ts';
import type { SerialLink } from '../radio/serial.ts';
import type { LoraChannel, Seat } from './lora-channel.ts';
import {
  type FirmwareEffect,
  type FirmwareInput,
  type FirmwareModel,
  type FirmwareState,
  firmware,
  firmwareStep,
} from './rnode-firmware.ts';

export interface EmulatorOptions {
  readonly name: string;
  readonly channel: LoraChannel;
  readonly clock: Clock;
  readonly random: Random;
  /** Metres. Default 0. */
  readonly x?: number;
  readonly y?: number;
  readonly model?: FirmwareModel;
}

/** A device with RNode firmware that is not there: bytes on one side, the simulated air on the other. */
export class RNodeEmulator {
  readonly #options: EmulatorOptions;
  readonly #seat: Seat;
  readonly #deframer = new KissDeframer();
  #state: FirmwareState;
  #wakeAt = Number.POSITIVE_INFINITY;
  #cancelWake: Cancel | undefined;
  #cancelSent: Cancel | undefined;
  #say: ((bytes: Uint8Array) => void) | undefined;
  #unplug: (() => void) | undefined;

  constructor(options: EmulatorOptions) {
    const { name, x = 0, y = 0, channel, model } = options;
    this.#options = options;
    this.#state = firmware(model);
    this.#seat = channel.join({
      name,
      x,
      y,
      hear: (frame, quality) => this.#step({ on: 'air', frame, quality }),
    });
  }

  get state(): FirmwareState {
    return this.#state;
  }

  /** Who hears what it says to its host, in place of whoever did before. */
  onSay(listener: ((bytes: Uint8Array) => void) | undefined): void {
    this.#say = listener;
  }

  /** What the host says, in any pieces. */
  feed(bytes: Uint8Array): void {
    for (const frame of this.#deframer.feed(bytes)) {
      this.#step({ on: 'host', frame });
    }
  }

  /** Says something to the host that the firmware would only say when something is broken. */
  inject(frame: KissFrame): void {
    this.#say?.(kissFrame(frame.command, frame.data));
  }

  /** Starts anew, as after a loss of power. */
  boot(): void {
    this.#cancelSent?.();
    this.#step({ on: 'boot' });
  }

  /** Its serial port, in this process. Rejects with `radio/offline` while it is open already. */
  async open(): Promise<SerialLink> {
    const { name } = this.#options;
    if (this.#unplug !== undefined) {
      throw new GatewayError('radio/offline', `${name}: in use by another program`, { retryable: true });
    }
    const closed = Promise.withResolvers<GatewayError | undefined>();
    let listener = (_: Uint8Array) => {};
    let held: Uint8Array[] | undefined;
    let open = true;
    const end = (reason: GatewayError | undefined) => {
      if (open) {
        open = false;
        this.onSay(undefined);
        this.#unplug = undefined;
        closed.resolve(reason);
      }
    };
    this.onSay(bytes => (held === undefined ? listener(bytes) : held.push(bytes)));
    this.#unplug = () => end(lost(name));
    return {
      path: name,
      closed: closed.promise,
      onData(next) {
        listener = next;
      },
      write: async bytes => {
        if (!open) {
          throw lost(name);
        }
        this.feed(bytes);
      },
      pause() {
        held ??= [];
      },
      resume() {
        const waiting = held ?? [];
        held = undefined;
        for (const [index, bytes] of waiting.entries()) {
          if (held === undefined) {
            listener(bytes);
          } else {
            held = [...held, ...waiting.slice(index)];
            return;
          }
        }
      },
      async close() {
        end(undefined);
      },
    };
  }

  /** Pulled out: its port is gone and it has no power. It can be opened again at once. */
  unplug(): void {
    this.#unplug?.();
    this.boot();
  }

  /** Leaves the air for good. */
  close(): void {
    this.#unplug?.();
    this.#cancelWake?.();
    this.#cancelSent?.();
    this.#seat.leave();
    this.onSay(undefined);
  }

  #step(input: FirmwareInput): void {
    const { clock, random } = this.#options;
    const [state, effects] = firmwareStep(this.#state, input, clock.monotonic(), () => random.fraction());
    this.#state = state;
    for (const effect of effects) {
      this.#carryOut(effect);
    }
  }

  #carryOut(effect: FirmwareEffect): void {
    const { clock } = this.#options;
    switch (effect.do) {
      case 'say':
        this.#say?.(kissFrame(effect.frame.command, effect.frame.data));
        return;
      case 'tune':
        this.#seat.tune(effect.to, clock.monotonic());
        return;
      case 'transmit':
        this.#cancelSent = clock.after(this.#seat.transmit(effect.frame), () => this.#step({ on: 'sent' }));
        return;
      case 'wake':
        this.#wake(effect.at);
    }
  }

  /** The sooner of two wakes is kept: each one asks for the next. */
  #wake(at: number): void {
    const { clock } = this.#options;
    if (at >= this.#wakeAt) {
      return;
    }
    this.#cancelWake?.();
    this.#wakeAt = at;
    this.#cancelWake = clock.after(at - clock.monotonic(), () => {
      this.#wakeAt = Number.POSITIVE_INFINITY;
      this.#step({ on: 'time', busy: this.#seat.busy() });
    });
  }
}

function lost(name: string): GatewayError {
  return new GatewayError('radio/offline', `${name}: unplugged`, { retryable: true });
}
