import { systemClock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import { systemRandom } from '../lib/random.ts';
import type { OpenSerial } from '../radio/serial.ts';
import { LoraChannel } from './lora-channel.ts';
import { RNodeEmulator } from './rnode-emulator.ts';

/** Radios that are not there, on one LoRa channel in real time. */
export interface Air extends Disposable {
  readonly channel: LoraChannel;
  /** Opens the radio of that name, in place of a serial port. */
  readonly open: OpenSerial;
}

/** A radio at each place, in metres. */
export function createAir(places: Readonly<Record<string, readonly [x: number, y: number]>>): Air {
  const parts = { clock: systemClock, random: systemRandom };
  const channel = new LoraChannel(parts);
  const radios = new Map(
    Object.entries(places).map(([name, [x, y]]) => [
      name,
      new RNodeEmulator({ ...parts, name, channel, x, y }),
    ]),
  );
  return {
    channel,
    async open(path) {
      const radio = radios.get(path);
      if (radio === undefined) {
        throw new GatewayError('radio/offline', `${path}: no such device`);
      }
      return radio.open();
    },
    [Symbol.dispose]() {
      for (const radio of radios.values()) {
        radio.close();
      }
    },
  };
}
