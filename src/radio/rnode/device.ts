import type { ErrorCode } from '../../lib/errors.ts';
import type { Quality } from '../../mesh/interface.ts';
import type { KissFrame } from '../framing/kiss.ts';
import {
  byteFrame,
  commands,
  detectRequest,
  detectResponse,
  hardwareErrors,
  oldestFirmware,
  platforms,
  resetByte,
  rssiOffset,
} from './commands.ts';
import {
  type DeviceSettings,
  mistakesIn,
  noteSetting,
  settingFrames,
  type TakenSettings,
} from './settings.ts';

/**
 * The host's side of an RNode, as a pure function of what it says and of time.
 *
 *     detecting → identifying → configuring → online
 *         └────────────┴─────────────┴───────────┴→ failed
 *
 * Nothing but the question whether it is an RNode is written before that is answered: the port may be
 * somebody else's.
 */
export type DeviceState =
  | { readonly at: 'detecting'; readonly since: number; readonly asked: number }
  | { readonly at: 'identifying'; readonly since: number; readonly device: DeviceFacts }
  | {
      readonly at: 'configuring';
      readonly since: number;
      readonly device: DeviceFacts;
      readonly took: TakenSettings;
    }
  | {
      readonly at: 'online';
      readonly device: DeviceFacts;
      readonly quality: Quality;
      readonly channel: ChannelReport | undefined;
      /** When it last said something, ms. */
      readonly heard: number;
      /** Since when it is asked for a sign of life. */
      readonly probed: number | undefined;
    }
  | { readonly at: 'failed' };

/** What an RNode says of itself. */
export interface DeviceFacts {
  /** Major and minor. */
  readonly firmware?: readonly [number, number];
  readonly platform?: number;
  readonly mcu?: number;
}

/** What an RNode says of its channel, about once a second. Parts are of 1. */
export interface ChannelReport {
  readonly airtimeShort: number;
  readonly airtimeLong: number;
  readonly loadShort: number;
  readonly loadLong: number;
  /** dBm */
  readonly noiseFloor: number;
}

export type DeviceInput =
  | { readonly on: 'opened' }
  | { readonly on: 'frame'; readonly frame: KissFrame }
  | { readonly on: 'time' };

export type DeviceEffect =
  | { readonly do: 'write'; readonly frames: readonly KissFrame[] }
  /** Call with `time` at this moment, ms. */
  | { readonly do: 'wake'; readonly at: number }
  | { readonly do: 'online' }
  | { readonly do: 'packet'; readonly packet: Uint8Array; readonly quality: Quality }
  /** Whether its queue has room for another packet. */
  | { readonly do: 'ready'; readonly ready: boolean }
  /** It complains, and goes on. */
  | { readonly do: 'complain'; readonly text: string }
  | { readonly do: 'fail'; readonly code: ErrorCode; readonly message: string };

type Step = readonly [DeviceState, readonly DeviceEffect[]];

/** ms between two questions whether it is an RNode: one that restarts when its port is opened hears the first not. */
const detectEvery = 1000;
/** ms for the answer. An ESP32 takes 2 s to start. */
export const detectPatience = 6000;
const identifyPatience = 3000;
const configurePatience = 4000;
/** ms of silence after which it is asked for a sign of life, and ms for that: a slow packet keeps it busy long. */
const quietLongest = 60_000;
const answerPatience = 45_000;

export const beforeOpen: DeviceState = { at: 'failed' };

const detectFrame = byteFrame(commands.detect, detectRequest);

/** What is written to any port that may be an RNode's, and all that is written until it answers. */
export const detectFrames: readonly KissFrame[] = [detectFrame];

/** Said before the port is closed. */
export const leaveFrames: readonly KissFrame[] = [
  byteFrame(commands.radioState, 0),
  byteFrame(commands.leave, 0xff),
];

/** The next state and what is to be done. `now` by a clock that never goes back, ms. */
export function deviceStep(
  state: DeviceState,
  input: DeviceInput,
  settings: DeviceSettings,
  now: number,
): Step {
  if (input.on === 'opened') {
    return [{ at: 'detecting', since: now, asked: now }, [write(detectFrames), wake(now + detectEvery)]];
  }
  switch (state.at) {
    case 'detecting':
      return detecting(state, input, now);
    case 'identifying':
      return identifying(state, input, settings, now);
    case 'configuring':
      return configuring(state, input, settings, now);
    case 'online':
      return online(state, input, now);
    case 'failed':
      return [state, []];
  }
}

function detecting(state: DeviceState & { at: 'detecting' }, input: DeviceInput, now: number): Step {
  if (input.on === 'frame' && isDetected(input.frame)) {
    return [
      { at: 'identifying', since: now, device: {} },
      [
        write([byteFrame(commands.firmware, 0), byteFrame(commands.platform, 0), byteFrame(commands.mcu, 0)]),
        wake(now + identifyPatience),
      ],
    ];
  }
  if (now >= state.since + detectPatience) {
    return fail('radio/offline', 'no answer of an RNode: another device, or one without RNode firmware');
  }
  if (input.on === 'time' && now >= state.asked + detectEvery) {
    return [{ ...state, asked: now }, [write(detectFrames), wake(now + detectEvery)]];
  }
  return [state, []];
}

function identifying(
  state: DeviceState & { at: 'identifying' },
  input: DeviceInput,
  settings: DeviceSettings,
  now: number,
): Step {
  const device = input.on === 'frame' ? learn(state.device, input.frame) : state.device;
  const { firmware, platform, mcu } = device;
  if (firmware !== undefined && (firmware[0] - oldestFirmware[0] || firmware[1] - oldestFirmware[1]) < 0) {
    return fail(
      'radio/device',
      `its firmware is ${firmware.join('.')}, at least ${oldestFirmware.join('.')} is needed: update it with rnodeconf`,
    );
  }
  if (firmware !== undefined && platform !== undefined && mcu !== undefined) {
    return [
      { at: 'configuring', since: now, device, took: {} },
      [write(settingFrames(settings)), wake(now + configurePatience)],
    ];
  }
  if (now >= state.since + identifyPatience) {
    return fail('radio/device', 'an RNode that does not say which firmware it has');
  }
  return [{ ...state, device }, []];
}

function configuring(
  state: DeviceState & { at: 'configuring' },
  input: DeviceInput,
  settings: DeviceSettings,
  now: number,
): Step {
  if (input.on === 'frame') {
    const broken = complaint(input.frame);
    if (broken !== undefined) {
      return broken.fatal
        ? fail('radio/device', `the RNode says: ${broken.text}`)
        : [state, [{ do: 'complain', text: broken.text }]];
    }
  }
  const took = input.on === 'frame' ? noteSetting(state.took, input.frame) : state.took;
  const mistakes = mistakesIn(took, settings);
  const late = now >= state.since + configurePatience;
  // The state is answered last. What was not heard by then may still come, what differs may not.
  const answered = took[commands.radioState] !== undefined && !mistakes.some(({ missing }) => missing);
  if (!answered && !late) {
    return [{ ...state, took }, []];
  }
  if (mistakes.length > 0) {
    const said = mistakes.map(({ text }) => text).join(', ');
    return fail('radio/device', `the RNode does not take the settings: ${said}`);
  }
  if (took[commands.radioState] !== 1) {
    return fail(
      'radio/device',
      'the RNode does not turn its radio on: it may lack a valid configuration of its own',
    );
  }
  return [
    { at: 'online', device: state.device, quality: {}, channel: undefined, heard: now, probed: undefined },
    [{ do: 'online' }, wake(now + quietLongest)],
  ];
}

function online(state: DeviceState & { at: 'online' }, input: DeviceInput, now: number): Step {
  if (input.on !== 'frame') {
    return quiet(state, now);
  }
  const { command, data } = input.frame;
  const alive = { ...state, heard: now, probed: undefined };
  switch (command) {
    case commands.data:
      return [{ ...alive, quality: {} }, [{ do: 'packet', packet: data, quality: state.quality }]];
    case commands.rssi:
      return [
        { ...alive, quality: data.length === 1 ? { ...state.quality, rssi: data[0]! - rssiOffset } : {} },
        [],
      ];
    case commands.snr:
      return [
        {
          ...alive,
          quality: data.length === 1 ? { ...state.quality, snr: ((data[0]! << 24) >> 24) / 4 } : {},
        },
        [],
      ];
    case commands.ready:
      return [alive, data.length === 1 ? [{ do: 'ready', ready: data[0] !== 0 }] : []];
    case commands.channel:
      return [{ ...alive, channel: channelReport(data) ?? state.channel }, []];
    case commands.radioState:
      return data[0] === 0 ? fail('radio/device', 'the RNode turned its radio off') : [alive, []];
    case commands.reset:
      return data[0] === resetByte ? fail('radio/device', 'the RNode restarted') : [alive, []];
    case commands.error: {
      const { text, fatal } = complaint(input.frame) ?? { text: 'something', fatal: false };
      return fatal ? fail('radio/device', `the RNode says: ${text}`) : [alive, [{ do: 'complain', text }]];
    }
    default:
      return [alive, []];
  }
}

/** Boards without statistics say nothing unless asked; one that hangs says nothing even then. */
function quiet(state: DeviceState & { at: 'online' }, now: number): Step {
  if (state.probed !== undefined) {
    return now >= state.probed + answerPatience
      ? fail('radio/offline', 'the RNode does not answer any more')
      : [state, [wake(state.probed + answerPatience)]];
  }
  if (now < state.heard + quietLongest) {
    return [state, [wake(state.heard + quietLongest)]];
  }
  return [{ ...state, probed: now }, [write(detectFrames), wake(now + answerPatience)]];
}

/** Whether a frame says that this is an RNode. */
export function isDetected({ command, data }: KissFrame): boolean {
  return command === commands.detect && data.length === 1 && data[0] === detectResponse;
}

function learn(device: DeviceFacts, { command, data }: KissFrame): DeviceFacts {
  const [first, second] = data;
  if (command === commands.firmware && first !== undefined && second !== undefined) {
    return { ...device, firmware: [first, second] };
  }
  if (command === commands.platform && first !== undefined) {
    return { ...device, platform: first };
  }
  return command === commands.mcu && first !== undefined ? { ...device, mcu: first } : device;
}

function channelReport(data: Uint8Array): ChannelReport | undefined {
  if (data.length !== 11) {
    return undefined;
  }
  const part = (at: number) => (data[at]! * 256 + data[at + 1]!) / 10_000;
  return {
    airtimeShort: part(0),
    airtimeLong: part(2),
    loadShort: part(4),
    loadLong: part(6),
    noiseFloor: data[9]! - rssiOffset,
  };
}

function complaint({ command, data }: KissFrame): { text: string; fatal: boolean } | undefined {
  if (command !== commands.error) {
    return undefined;
  }
  const code = data[0] ?? 0;
  return hardwareErrors[code] ?? { text: `error ${code}`, fatal: true };
}

/** Which device it is, for people: `ESP32, firmware 1.86`. */
export function describeDevice({ firmware, platform }: DeviceFacts): string {
  return `${platforms[platform ?? -1] ?? 'RNode'}, firmware ${firmware?.join('.') ?? 'unknown'}`;
}

function write(frames: readonly KissFrame[]): DeviceEffect {
  return { do: 'write', frames };
}

function wake(at: number): DeviceEffect {
  return { do: 'wake', at };
}

function fail(code: ErrorCode, message: string): Step {
  return [{ at: 'failed' }, [{ do: 'fail', code, message }]];
}
