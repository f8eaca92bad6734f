import type { KissFrame } from '../radio/framing/kiss.ts';
import { commands, rssiOffset } from '../radio/rnode/commands.ts';
import { type LoraModulation, preambleSymbols, symbolTime } from '../radio/rnode/lora.ts';
import type { FirmwareState } from './rnode-firmware.ts';

/** ms that the airtime limit of an hour looks back. */
export const airtimeWindow = 3_600_000;
const shortWindow = 15_000;
const slotSymbols = 12;
const slotLeast = 24;
const slotMost = 100;
/** dBm */
const noiseFloor = -117;

/** Parts of the last 15 s and of the last hour. */
export function airtimeOf({ spent }: Pick<FirmwareState, 'spent'>, now: number): [number, number] {
  const since = (window: number) =>
    spent.reduce((sum, { at, ms }) => sum + (at > now - window ? ms : 0), 0) / window;
  return [since(shortWindow), since(airtimeWindow)];
}

/** Airtime, load and noise, as it is told every second. */
export function channelReport(state: Pick<FirmwareState, 'spent'>, busy: boolean, now: number): KissFrame {
  const [short, long] = airtimeOf(state, now).map(part => Math.min(Math.round(part * 10_000), 0xffff));
  const load = busy ? 10_000 : short!;
  const words = [short!, long!, load, long!].flatMap(word => [word >> 8, word & 0xff]);
  const level = noiseFloor + rssiOffset;
  return { command: commands.channel, data: Uint8Array.of(...words, level, level, 0xff) };
}

/** Symbol, preamble and slot times, told when the radio is tuned. */
export function physicalReport(settings: LoraModulation): KissFrame {
  const symbol = symbolTime(settings);
  const preamble = preambleSymbols(settings);
  const slot = slotTime(settings);
  const words = [symbol * 1000, 1000 / symbol, preamble, Math.ceil(preamble * symbol), slot, 2 * slot];
  return {
    command: commands.physical,
    data: Uint8Array.from(words.flatMap(word => [(word >> 8) & 0xff, word & 0xff])),
  };
}

/** ms of a slot of the contention window. */
export function slotTime(settings: LoraModulation): number {
  return Math.trunc(Math.min(Math.max(symbolTime(settings) * slotSymbols, slotLeast), slotMost));
}
