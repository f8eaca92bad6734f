import type { KissFrame } from '../framing/kiss.ts';
import { byteFrame, commands, u16Frame, u32Frame } from './commands.ts';
import type { LoraSettings } from './lora.ts';

/** Hz that the frequency may differ: the chip has steps. */
const frequencyTolerance = 100;

/** What an RNode is to be set to. */
export interface DeviceSettings extends LoraSettings {
  /** dBm */
  readonly txPower: number;
  /** Parts of 15 s and of an hour on the air at which the radio itself stops sending; undefined is no limit. */
  readonly shortLimit?: number | undefined;
  readonly longLimit?: number | undefined;
}

/** The values the radio said it took, by command. */
export type TakenSettings = Readonly<Record<number, number>>;

export interface SettingMistake {
  /** It may still come. */
  readonly missing: boolean;
  readonly text: string;
}

/** What a radio took otherwise than it was asked, or has said nothing of yet. */
export function mistakesIn(took: TakenSettings, settings: DeviceSettings): SettingMistake[] {
  return readBack(settings).flatMap(({ command, name, value, unit, tolerance }): SettingMistake[] => {
    const have = took[command];
    if (have === undefined) {
      return [{ missing: true, text: `no word of its ${name}` }];
    }
    const wrong = Math.abs(have - value) > tolerance;
    return wrong ? [{ missing: false, text: `${name} ${have}${unit} instead of ${value}${unit}` }] : [];
  });
}

interface Setting {
  readonly command: number;
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  readonly tolerance: number;
  readonly bytes: 1 | 2 | 4;
}

/** In the order of the reference; the radio is turned on when all are made. */
function readBack(settings: DeviceSettings): Setting[] {
  const { frequency, bandwidth, txPower, spreadingFactor, codingRate, shortLimit, longLimit } = settings;
  const setting = (
    command: number,
    name: string,
    value: number,
    bytes: 1 | 2 | 4,
    { unit = '', tolerance = 0 }: { readonly unit?: string; readonly tolerance?: number } = {},
  ) => ({ command, name, value, bytes, unit, tolerance });
  // The firmware computes limits with fractions that have no exact form: one off is what was asked.
  const limit = { unit: ' hundredths of a percent', tolerance: 1 };
  return [
    setting(commands.frequency, 'frequency', frequency, 4, { unit: ' Hz', tolerance: frequencyTolerance }),
    setting(commands.bandwidth, 'bandwidth', bandwidth, 4, { unit: ' Hz' }),
    setting(commands.txPower, 'power', txPower, 1, { unit: ' dBm' }),
    setting(commands.spreadingFactor, 'spreading factor', spreadingFactor, 1),
    setting(commands.codingRate, 'coding rate', codingRate, 1),
    setting(commands.shortLimit, 'short airtime limit', hundredths(shortLimit), 2, limit),
    setting(commands.longLimit, 'long airtime limit', hundredths(longLimit), 2, limit),
  ];
}

function hundredths(part: number | undefined): number {
  return part === undefined || part >= 1 ? 0 : Math.max(Math.round(part * 10_000), 1);
}

/** What sets a radio up and turns it on. */
export function settingFrames(settings: DeviceSettings): KissFrame[] {
  const frames = readBack(settings).map(({ command, value, bytes }) => {
    return bytes === 1 ? byteFrame(command, value) : (bytes === 2 ? u16Frame : u32Frame)(command, value);
  });
  return [...frames, byteFrame(commands.radioState, 1)];
}

/** What a frame says of a setting is noted; anything else changes nothing. */
export function noteSetting(took: TakenSettings, { command, data }: KissFrame): TakenSettings {
  const bytes = settingBytes[command];
  if (bytes === undefined || data.length !== bytes) {
    return took;
  }
  return { ...took, [command]: data.reduce((value, byte) => value * 256 + byte, 0) };
}

const settingBytes: Readonly<Record<number, number>> = {
  [commands.frequency]: 4,
  [commands.bandwidth]: 4,
  [commands.txPower]: 1,
  [commands.spreadingFactor]: 1,
  [commands.codingRate]: 1,
  [commands.shortLimit]: 2,
  [commands.longLimit]: 2,
  [commands.radioState]: 1,
};
