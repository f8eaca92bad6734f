/** What decides how LoRa sounds on the air. */
export interface LoraSettings {
  /** Hz, centre. */
  readonly frequency: number;
  /** Hz. */
  readonly bandwidth: number;
  /** 5 to 12. */
  readonly spreadingFactor: number;
  /** 5 to 8: so many bits on the air for four. */
  readonly codingRate: number;
}

/** What time on air follows from. */
export type LoraModulation = Omit<LoraSettings, 'frequency'>;

/** The bandwidths that LoRa chips have, Hz: of the SX126x and SX127x, and above 500 kHz of the SX128x. */
export const loraBandwidths: readonly number[] = [
  7800, 10_400, 15_600, 20_800, 31_250, 41_700, 62_500, 125_000, 250_000, 500_000, 203_125, 406_250, 812_500,
  1_625_000,
];

/** Bytes of an RNode's frame on the air: one byte header and so much of a packet. */
export const loraFrameData = 254;
/** Bytes of the largest packet: two frames. */
export const rnodeMtu = 2 * loraFrameData;

/** bit/s of payload, as the reference counts: a path's worth and all time-outs follow from it. */
export function loraBitrate({ bandwidth, spreadingFactor, codingRate }: LoraModulation): number {
  return (spreadingFactor * (4 / codingRate) * bandwidth) / 2 ** spreadingFactor;
}

/** ms of one symbol. */
export function symbolTime({ bandwidth, spreadingFactor }: LoraModulation): number {
  return (2 ** spreadingFactor * 1000) / bandwidth;
}

/**
 * Symbols of the preamble that RNode firmware sends: at least 18, and 24 ms worth of them, or 6 ms above
 * 30 kbit/s. Source: RNode firmware 1.86, `updateBitrate`.
 */
export function preambleSymbols(modulation: LoraModulation): number {
  const target = loraBitrate(modulation) > 30_000 ? 6 : 24;
  return Math.max(18, Math.ceil(target / symbolTime(modulation)));
}

/**
 * ms that one LoRa frame of `bytes` is on the air, explicit header and CRC on, low data rate optimisation
 * where a symbol takes more than 16 ms. Source: Semtech AN1200.13 and the SX1261/2 data sheet, 6.1.4 (for
 * spreading factors 5 and 6).
 */
export function frameTimeOnAir(bytes: number, modulation: LoraModulation): number {
  const { spreadingFactor, codingRate } = modulation;
  const symbol = symbolTime(modulation);
  const short = spreadingFactor < 7;
  const optimised = symbol > 16 ? 2 : 0;
  const bits = 8 * bytes + 16 - 4 * spreadingFactor + (short ? 0 : 8) + 20;
  const payload = Math.max(Math.ceil(bits / (4 * (spreadingFactor - optimised))), 0) * codingRate;
  const preamble = preambleSymbols(modulation) + (short ? 6.25 : 4.25);
  return (preamble + 8 + payload) * symbol;
}

/** ms that an RNode is on the air with a packet: in one frame, or in two from 255 bytes on. */
export function packetTimeOnAir(bytes: number, modulation: LoraModulation): number {
  if (bytes <= loraFrameData) {
    return frameTimeOnAir(bytes + 1, modulation);
  }
  return (
    frameTimeOnAir(loraFrameData + 1, modulation) +
    frameTimeOnAir(Math.min(bytes, rnodeMtu) - loraFrameData + 1, modulation)
  );
}
