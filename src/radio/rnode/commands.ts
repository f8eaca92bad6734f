import type { KissFrame } from '../framing/kiss.ts';

/**
 * What an RNode and its host say to each other, each in a KISS frame: the number of the command, and the
 * bytes of its data. Numbers are big-endian. The radio answers a setting with the value it took, and a
 * question (the value all ones, or for frequency, bandwidth and limits 0 where 0 cannot be set) with the
 * value it has.
 *
 * Source: RNode firmware 1.86 (Framing.h, RNode_Firmware.ino); checked against RNS 1.5.7, whose
 * RNodeInterface talks to our emulator in test/interop/rnode.test.ts.
 */
export const commands = {
  /** Both ways: a packet, at most 508 B. From the radio it follows its RSSI and SNR. */
  data: 0x00,
  /** u32 Hz. */
  frequency: 0x01,
  /** u32 Hz. */
  bandwidth: 0x02,
  /** u8 dBm; the radio answers with what it can do at most, where it was asked for more. */
  txPower: 0x03,
  /** u8, 5 to 12. */
  spreadingFactor: 0x04,
  /** u8, 5 to 8. */
  codingRate: 0x05,
  /** u8: 0 off, 1 on. Off is also the answer of a radio that lacks a setting. */
  radioState: 0x06,
  /** u8: 1 while a setting is missing. */
  radioLock: 0x07,
  /** u8: 0x73 asks whether this is an RNode, 0x46 says that it is. */
  detect: 0x08,
  /** u8 0xff: the host goes. */
  leave: 0x0a,
  /** u16, hundredths of a percent of 15 s on the air at which the radio stops sending; 0 is no limit. */
  shortLimit: 0x0b,
  /** u16, the same of an hour. */
  longLimit: 0x0c,
  /** Asked with any byte, answered with 1 where the radio's queue has room and 0 where it is full. */
  ready: 0x0f,
  /** u32 packets. */
  statRx: 0x21,
  /** u32 packets. */
  statTx: 0x22,
  /** u8, dBm and 157: of the packet that follows. */
  rssi: 0x23,
  /** i8, quarters of a dB: of the packet that follows. */
  snr: 0x24,
  /**
   * About once a second: u16 airtime short and long, u16 channel load short and long, all in hundredths of
   * a percent; u8 current RSSI, noise floor and interference (0xff none), all dBm and 157.
   */
  channel: 0x25,
  /** u16 symbol time µs, symbol rate, preamble symbols, preamble ms, CSMA slot ms, DIFS ms. */
  physical: 0x26,
  /** u8 state, u8 percent. */
  battery: 0x27,
  /** u8 contention window's band, least, most. */
  csma: 0x28,
  /** u8 °C and 120. */
  temperature: 0x29,
  /** u8: see `platforms`. */
  platform: 0x48,
  /** u8 */
  mcu: 0x49,
  /** u8 major, u8 minor. */
  firmware: 0x50,
  /** u8 0xf8: from the host restart, from the radio that it has just started. */
  reset: 0x55,
  /** u8: see `hardwareErrors`. */
  error: 0x90,
} as const;

export const detectRequest = 0x73;
export const detectResponse = 0x46;
export const resetByte = 0xf8;
/** What RSSI values are raised by to be sent as a byte. */
export const rssiOffset = 157;

/** The oldest firmware that the reference works with. */
export const oldestFirmware = [1, 52] as const;

export const platforms: Readonly<Record<number, string>> = { 144: 'AVR', 128: 'ESP32', 112: 'nRF52' };

/** What the radio complains of, and whether it goes on nevertheless. */
export const hardwareErrors: Readonly<Record<number, { readonly text: string; readonly fatal: boolean }>> = {
  1: { text: 'its LoRa chip cannot be started', fatal: true },
  2: { text: 'sending failed', fatal: true },
  3: { text: 'its EEPROM is locked', fatal: false },
  4: { text: 'its queue is full', fatal: false },
  5: { text: 'it runs out of memory', fatal: false },
  6: { text: 'its LoRa chip did not answer in time', fatal: false },
};

export function byteFrame(command: number, value: number): KissFrame {
  return { command, data: Uint8Array.of(value) };
}

export function u16Frame(command: number, value: number): KissFrame {
  return { command, data: Uint8Array.of(value >>> 8, value & 0xff) };
}

export function u32Frame(command: number, value: number): KissFrame {
  const data = new Uint8Array(4);
  new DataView(data.buffer).setUint32(0, value);
  return { command, data };
}
