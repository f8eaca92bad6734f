import type { Quality } from '../mesh/interface.ts';
import type { KissFrame } from '../radio/framing/kiss.ts';
import {
  byteFrame,
  commands,
  detectRequest,
  detectResponse,
  resetByte,
  rssiOffset,
  u16Frame,
  u32Frame,
} from '../radio/rnode/commands.ts';
import { frameTimeOnAir, loraBitrate, loraFrameData, rnodeMtu } from '../radio/rnode/lora.ts';
import type { Tuning } from './lora-channel.ts';
import { airtimeOf, airtimeWindow, channelReport, physicalReport, slotTime } from './rnode-reports.ts';

/**
 * What the firmware of an RNode does, as a pure function of what the host says, what is heard on the air
 * and time: the answers to detection and settings, the queue, carrier sensing, packets in two frames,
 * statistics, airtime limits. While it sends it listens to nobody, its host included.
 *
 * Source: RNode firmware 1.86 (RNode_Firmware.ino, Utilities.h, Config.h).
 */
export interface FirmwareState {
  readonly model: FirmwareModel;
  readonly on: boolean;
  readonly settings: Settings;
  /** Packets to be sent, oldest first. */
  readonly queue: readonly Uint8Array[];
  readonly contention: Contention | undefined;
  /** Frames that are still to be sent at once; the first is on the air. */
  readonly sending: readonly Uint8Array[];
  /** What the host said meanwhile. */
  readonly unread: readonly KissFrame[];
  /** The first part of a packet in two frames. */
  readonly part:
    | { readonly sequence: number; readonly data: Uint8Array; readonly quality: Quality }
    | undefined;
  /** What was sent in the last hour. */
  readonly spent: readonly { readonly at: number; readonly ms: number }[];
  readonly received: number;
  readonly sent: number;
  readonly reportAt: number;
}

/** Which device it says it is. */
export interface FirmwareModel {
  /** Major and minor. */
  readonly firmware: readonly [number, number];
  readonly platform: number;
  readonly mcu: number;
  /** dBm that it can do at most. */
  readonly mostPower: number;
  /** Packets that it queues. */
  readonly queue: number;
  /** Bytes that it queues. */
  readonly queueBytes: number;
}

export interface Settings {
  readonly frequency: number;
  readonly bandwidth: number;
  readonly txPower: number;
  readonly spreadingFactor: number;
  readonly codingRate: number;
  /** Hundredths of a percent. */
  readonly shortLimit: number;
  readonly longLimit: number;
}

/** Waiting for quiet: a fixed time, then a random one that is not lost when somebody else sends. */
interface Contention {
  /** Since when it is quiet. */
  readonly quietSince: number | undefined;
  /** When it looked last. */
  readonly looked: number;
  /** ms */
  readonly target: number;
  readonly passed: number;
}

export type FirmwareInput =
  | { readonly on: 'boot' }
  | { readonly on: 'host'; readonly frame: KissFrame }
  | {
      readonly on: 'air';
      readonly frame: Uint8Array;
      readonly quality: Required<Pick<Quality, 'rssi' | 'snr'>>;
    }
  /** Somebody is heard sending, or not. */
  | { readonly on: 'time'; readonly busy: boolean }
  /** The frame on the air has ended. */
  | { readonly on: 'sent' };

export type FirmwareEffect =
  | { readonly do: 'say'; readonly frame: KissFrame }
  | { readonly do: 'tune'; readonly to: Tuning | undefined }
  | { readonly do: 'transmit'; readonly frame: Uint8Array }
  /** Call with `time` at this moment, ms. */
  | { readonly do: 'wake'; readonly at: number };

/** A common board: an ESP32 with an SX1262. */
export const usualModel: FirmwareModel = {
  firmware: [1, 86],
  platform: 0x80,
  mcu: 0x81,
  mostPower: 22,
  queue: 200,
  queueBytes: 6144,
};

const splitFlag = 0x01;
const reportEvery = 1000;
const windows = 15;
/** bit/s above which it sends one packet at a time instead of its whole queue. */
const guardFrom = 14_000;

export function firmware(model: FirmwareModel = usualModel): FirmwareState {
  const settings = {
    frequency: 0,
    bandwidth: 0,
    txPower: 0xff,
    spreadingFactor: 0,
    codingRate: 5,
    shortLimit: 0,
    longLimit: 0,
  };
  return {
    model,
    on: false,
    settings,
    queue: [],
    contention: undefined,
    sending: [],
    unread: [],
    part: undefined,
    spent: [],
    received: 0,
    sent: 0,
    reportAt: 0,
  };
}

/** `chance` gives numbers in [0, 1). */
export function firmwareStep(
  state: FirmwareState,
  input: FirmwareInput,
  now: number,
  chance: () => number,
): [FirmwareState, FirmwareEffect[]] {
  switch (input.on) {
    case 'boot':
      return [
        firmware(state.model),
        [{ do: 'tune', to: undefined }, say(byteFrame(commands.reset, resetByte))],
      ];
    case 'host':
      return state.sending.length > 0
        ? [{ ...state, unread: [...state.unread, input.frame].slice(-256) }, []]
        : host(state, input.frame, now);
    case 'air':
      return air(state, input.frame, input.quality);
    case 'sent':
      return sent(state, now);
    case 'time':
      return time(state, input.busy, now, chance);
  }
}

function host(
  state: FirmwareState,
  { command, data }: KissFrame,
  now: number,
): [FirmwareState, FirmwareEffect[]] {
  const { settings, model } = state;
  const byte = data[0] ?? 0;
  switch (command) {
    case commands.data:
      return enqueue(state, data, now);
    case commands.detect:
      return [state, byte === detectRequest ? [say(byteFrame(commands.detect, detectResponse))] : []];
    case commands.firmware:
      return [state, [say({ command, data: Uint8Array.from(model.firmware) })]];
    case commands.platform:
      return [state, [say(byteFrame(command, model.platform))]];
    case commands.mcu:
      return [state, [say(byteFrame(command, model.mcu))]];
    case commands.ready:
      return [state, [say(byteFrame(command, isFull(state) ? 0 : 1))]];
    case commands.statRx:
      return [state, [say(u32Frame(command, state.received))]];
    case commands.statTx:
      return [state, [say(u32Frame(command, state.sent))]];
    case commands.radioLock:
      return [state, [say(byteFrame(command, isLocked(settings) ? 1 : 0))]];
    case commands.radioState:
      return turn(state, byte, now);
    case commands.reset:
      return byte === resetByte ? firmwareStep(state, { on: 'boot' }, now, () => 0) : [state, []];
    case commands.frequency:
    case commands.bandwidth:
    case commands.txPower:
    case commands.spreadingFactor:
    case commands.codingRate:
    case commands.shortLimit:
    case commands.longLimit:
      return set(state, command, data);
    default:
      return [state, []];
  }
}

function set(state: FirmwareState, command: number, data: Uint8Array): [FirmwareState, FirmwareEffect[]] {
  const { mostPower } = state.model;
  const given = data.reduce((sum, byte) => sum * 256 + byte, 0);
  const byteAsked = data.length === 1 && given === 0xff;
  const next = { ...state.settings };
  let answer: KissFrame | undefined;
  if (command === commands.frequency && data.length === 4) {
    next.frequency = given || next.frequency;
    answer = u32Frame(command, next.frequency);
  } else if (command === commands.bandwidth && data.length === 4) {
    next.bandwidth = given || next.bandwidth;
    answer = u32Frame(command, next.bandwidth);
  } else if (command === commands.txPower && data.length === 1) {
    next.txPower = byteAsked ? next.txPower : Math.min(given, mostPower);
    answer = byteFrame(command, next.txPower);
  } else if (command === commands.spreadingFactor && data.length === 1) {
    next.spreadingFactor = byteAsked ? next.spreadingFactor : Math.min(Math.max(given, 5), 12);
    answer = byteFrame(command, next.spreadingFactor);
  } else if (command === commands.codingRate && data.length === 1) {
    next.codingRate = byteAsked ? next.codingRate : Math.min(Math.max(given, 5), 8);
    answer = byteFrame(command, next.codingRate);
  } else if (command === commands.shortLimit && data.length === 2) {
    next.shortLimit = limit(given);
    answer = u16Frame(command, next.shortLimit);
  } else if (command === commands.longLimit && data.length === 2) {
    next.longLimit = limit(given);
    answer = u16Frame(command, next.longLimit);
  }
  const changed = { ...state, settings: next };
  return [
    changed,
    [...(answer ? [say(answer)] : []), ...(state.on ? [tune(changed), say(physicalReport(next))] : [])],
  ];
}

/** As the firmware keeps it: a fraction in single precision, which some values do not survive whole. */
function limit(given: number): number {
  const part = Math.fround(given / 10_000);
  return part >= 1 ? 0 : Math.trunc(Math.fround(Math.fround(part * 100) * 100));
}

function turn(state: FirmwareState, asked: number, now: number): [FirmwareState, FirmwareEffect[]] {
  const stateOf = (on: boolean) => say(byteFrame(commands.radioState, on ? 1 : 0));
  if (asked === 0) {
    const off = { ...state, on: false, contention: undefined };
    return [off, [tune(off), stateOf(false)]];
  }
  if (asked !== 1) {
    return [state, [stateOf(state.on)]];
  }
  if (state.on || isLocked(state.settings)) {
    return [state, [stateOf(state.on), stateOf(state.on)]];
  }
  const on = { ...state, on: true, reportAt: now + reportEvery };
  return [
    on,
    [
      say(physicalReport(on.settings)),
      tune(on),
      stateOf(true),
      stateOf(true),
      { do: 'wake', at: now + slotTime(on.settings) / 2 },
    ],
  ];
}

function enqueue(state: FirmwareState, packet: Uint8Array, now: number): [FirmwareState, FirmwareEffect[]] {
  if (packet.length === 0 || packet.length > rnodeMtu || isFull(state)) {
    return [state, []];
  }
  return [{ ...state, queue: [...state.queue, packet] }, state.on ? [{ do: 'wake', at: now }] : []];
}

function air(
  state: FirmwareState,
  frame: Uint8Array,
  quality: Required<Pick<Quality, 'rssi' | 'snr'>>,
): [FirmwareState, FirmwareEffect[]] {
  const [header] = frame;
  if (!state.on || header === undefined) {
    return [state, []];
  }
  const data = frame.subarray(1);
  const sequence = header >> 4;
  if ((header & splitFlag) === 0) {
    return hand({ ...state, part: undefined }, data, quality);
  }
  if (state.part?.sequence !== sequence) {
    return [{ ...state, part: { sequence, data, quality } }, []];
  }
  const whole = Buffer.concat([state.part.data, data]).subarray(0, rnodeMtu);
  return hand({ ...state, part: undefined }, whole, quality);
}

function hand(
  state: FirmwareState,
  packet: Uint8Array,
  { rssi, snr }: Required<Pick<Quality, 'rssi' | 'snr'>>,
): [FirmwareState, FirmwareEffect[]] {
  return [
    { ...state, received: state.received + 1 },
    [
      say(byteFrame(commands.rssi, rssi + rssiOffset)),
      say(byteFrame(commands.snr, Math.round(snr * 4))),
      say({ command: commands.data, data: packet }),
    ],
  ];
}

function time(
  state: FirmwareState,
  busy: boolean,
  now: number,
  chance: () => number,
): [FirmwareState, FirmwareEffect[]] {
  if (!state.on || state.sending.length > 0) {
    return [state, []];
  }
  const report = now >= state.reportAt;
  const reported = report ? { ...state, reportAt: now + reportEvery } : state;
  const [next, effects] = contend(reported, busy, now, chance);
  const again = next.queue.length > 0 ? now + slotTime(next.settings) / 2 : next.reportAt;
  return [
    next,
    [
      ...(report ? [say(channelReport(next, busy, now))] : []),
      ...effects,
      ...(next.sending.length > 0 ? [] : [{ do: 'wake' as const, at: Math.max(again, now + 1) }]),
    ],
  ];
}

function contend(
  state: FirmwareState,
  busy: boolean,
  now: number,
  chance: () => number,
): [FirmwareState, FirmwareEffect[]] {
  const slot = slotTime(state.settings);
  if (state.queue.length === 0 || isOverLimit(state, now)) {
    return [state, []];
  }
  const contention = state.contention ?? {
    quietSince: undefined,
    looked: now,
    target: Math.floor(chance() * (windows - 1)) * slot,
    passed: 0,
  };
  if (busy) {
    return [{ ...state, contention: { ...contention, quietSince: undefined, looked: now } }, []];
  }
  const quietSince = contention.quietSince ?? now;
  const waitedFrom = Math.max(quietSince + 2 * slot, contention.looked);
  const passed = contention.passed + Math.max(now - waitedFrom, 0);
  if (now < quietSince + 2 * slot || passed < contention.target) {
    return [{ ...state, contention: { ...contention, quietSince, looked: now, passed } }, []];
  }
  // A slow channel is kept until the queue is empty; on a fast one others get their turn after each packet.
  const count = loraBitrate(state.settings) <= guardFrom ? state.queue.length : 1;
  const sending = state.queue.slice(0, count).flatMap(packet => framesOf(packet, chance));
  return [
    { ...state, queue: state.queue.slice(count), sending, contention: undefined, sent: state.sent + count },
    sending[0] === undefined ? [] : [{ do: 'transmit', frame: sending[0] }],
  ];
}

/** A packet as it goes on the air: a header of a random sequence number and whether it is one of two. */
function framesOf(packet: Uint8Array, chance: () => number): Uint8Array[] {
  const split = packet.length > loraFrameData;
  const header = (Math.floor(chance() * 16) << 4) | (split ? splitFlag : 0);
  const frame = (part: Uint8Array) => Uint8Array.of(header, ...part);
  return split
    ? [frame(packet.subarray(0, loraFrameData)), frame(packet.subarray(loraFrameData))]
    : [frame(packet)];
}

function sent(state: FirmwareState, now: number): [FirmwareState, FirmwareEffect[]] {
  const [over, ...sending] = state.sending;
  const ms = over === undefined ? 0 : frameTimeOnAir(over.length, state.settings);
  const spent = [...state.spent, { at: now, ms }].filter(({ at }) => at > now - airtimeWindow);
  const next = { ...state, sending, spent };
  if (sending[0] !== undefined) {
    return [next, [{ do: 'transmit', frame: sending[0] }]];
  }
  let quiet: FirmwareState = { ...next, unread: [] };
  const effects: FirmwareEffect[] = [say(channelReport(quiet, false, now))];
  for (const frame of state.unread) {
    const [after, more] = host(quiet, frame, now);
    quiet = after;
    effects.push(...more);
  }
  return [quiet, [...effects, { do: 'wake', at: now + 1 }]];
}

function isLocked({ frequency, bandwidth, txPower, spreadingFactor }: Settings): boolean {
  return frequency === 0 || bandwidth === 0 || txPower === 0xff || spreadingFactor === 0;
}

function isFull({ queue, model }: FirmwareState): boolean {
  const bytes = queue.reduce((sum, { length }) => sum + length, 0);
  return queue.length >= model.queue || bytes >= model.queueBytes;
}

function isOverLimit(state: FirmwareState, now: number): boolean {
  const { shortLimit, longLimit } = state.settings;
  const [short, long] = airtimeOf(state, now);
  return (shortLimit > 0 && short >= shortLimit / 10_000) || (longLimit > 0 && long >= longLimit / 10_000);
}

function tune({ on, settings }: FirmwareState): FirmwareEffect {
  const { frequency, bandwidth, spreadingFactor, codingRate, txPower } = settings;
  return { do: 'tune', to: on ? { frequency, bandwidth, spreadingFactor, codingRate, txPower } : undefined };
}

function say(frame: KissFrame): FirmwareEffect {
  return { do: 'say', frame };
}
