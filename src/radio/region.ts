import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { type FieldError, GatewayError } from '../lib/errors.ts';
import shipped from './regions.json' with { type: 'json' };
import type { LoraSettings } from './rnode/lora.ts';

/** What the law of a place allows in one band. */
const regionSchema = z.strictObject({
  description: z.string().min(1).max(200),
  low: z.int().min(100_000_000).max(3_000_000_000).describe('Hz, lower edge of the band'),
  high: z.int().min(100_000_000).max(3_000_000_000).describe('Hz, upper edge of the band'),
  maxPower: z.number().min(-20).max(60).describe('dBm radiated, as `power` counts it'),
  maxConducted: z
    .number()
    .min(-20)
    .max(60)
    .optional()
    .describe('dBm into the antenna, where the rule limits that as well, whatever the antenna gains'),
  power: z.enum(['erp', 'eirp']).describe('against a dipole or against an isotropic antenna'),
  dutyCycle: z.number().gt(0).max(100).describe('percent of an hour that may be sent; 100 is no limit'),
  frequency: z.int().describe('Hz, taken where none is set'),
  rule: z.string().min(1).max(300).describe('where it is written'),
  note: z.string().max(500).optional().describe('what the figures do not say'),
});

export type Region = z.infer<typeof regionSchema>;

const regionsSchema = z.record(z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/), regionSchema);

/** The regions that come with the gateway, by name. */
export const shippedRegions: Readonly<Record<string, Region>> = regionsSchema.parse(shipped);

/**
 * The shipped regions with those of a file of the same shape beside or in place of them. Throws
 * `config/invalid` for a file that cannot be read.
 */
export function readRegions(file: string | undefined): Readonly<Record<string, Region>> {
  if (file === undefined) {
    return shippedRegions;
  }
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new GatewayError('config/invalid', `${file}: ${code ?? message}`, { cause });
  }
  const parsed = regionsSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new GatewayError(
      'config/invalid',
      `${file}: ${issue?.path.join('.') || 'the file'}: ${issue?.message}`,
    );
  }
  return { ...shippedRegions, ...parsed.data };
}

/** What a config entry says of a radio. */
export interface RadioChoice {
  readonly region: string;
  /** Hz */
  readonly frequency?: number | undefined;
  /** Hz */
  readonly bandwidth: number;
  readonly spreadingFactor: number;
  readonly codingRate: number;
  /** dBm into the antenna. */
  readonly txPower?: number | undefined;
  /** dBi */
  readonly antennaGain: number;
  /** Percent of an hour, where less than the law allows is wanted. */
  readonly airtimeLimit?: number | undefined;
}

/** What a radio is set to, and how long it may be on the air. */
export interface RadioPlan {
  readonly settings: LoraSettings;
  /** dBm into the antenna. */
  readonly txPower: number;
  /** Part of an hour, in (0, 1]. */
  readonly airtimeLimit: number;
  readonly region: Region;
}

/** dB that a dipole gains over an isotropic antenna. */
const dipoleGain = 2.15;
/** dBm taken where none is set and the law allows more: what every board can do. */
const usualPower = 14;

/**
 * The settings that a choice comes to in its region, or what is illegal in it: each value with the range
 * that is accepted.
 */
export function planRadio(
  choice: RadioChoice,
  regions: Readonly<Record<string, Region>>,
): RadioPlan | FieldError[] {
  const region = Object.hasOwn(regions, choice.region) ? regions[choice.region] : undefined;
  if (region === undefined) {
    const names = Object.keys(regions).join(', ');
    return [
      {
        pointer: 'region',
        detail: `${JSON.stringify(choice.region)} is wrong: no such region, one of ${names}`,
      },
    ];
  }
  const frequency = choice.frequency ?? region.frequency;
  const mistakes: FieldError[] = [];
  const { bandwidth, antennaGain } = choice;
  const lowest = region.low + bandwidth / 2;
  const highest = region.high - bandwidth / 2;
  if (lowest > highest) {
    mistakes.push({
      pointer: 'bandwidth',
      detail: `${bandwidth} is wrong: at most ${region.high - region.low} Hz, all of ${band(choice.region, region)}`,
    });
  } else if (frequency < lowest || frequency > highest) {
    mistakes.push({
      pointer: 'frequency',
      detail:
        `${frequency} is wrong: ${Math.ceil(lowest)} to ${Math.floor(highest)} Hz, so that ${bandwidth} Hz of ` +
        `bandwidth stay within ${band(choice.region, region)}`,
    });
  }
  const gain = region.power === 'erp' ? antennaGain - dipoleGain : antennaGain;
  const most = Math.floor(Math.min(region.maxPower - gain, region.maxConducted ?? 37, 37) + 1e-9);
  const txPower = choice.txPower ?? Math.max(Math.min(usualPower, most), 0);
  if (txPower > most) {
    mistakes.push({
      pointer: choice.txPower === undefined ? 'antennaGain' : 'txPower',
      detail:
        `${choice.txPower ?? antennaGain} is wrong: ${choice.region} allows ${region.maxPower} dBm ` +
        `${region.power.toUpperCase()}, ` +
        (region.maxConducted === undefined ? '' : `${region.maxConducted} dBm of it from the radio, `) +
        (most < 0
          ? `which an antenna of ${antennaGain} dBi exceeds at any power`
          : `which is 0 to ${most} dBm into an antenna of ${antennaGain} dBi (${region.rule})`),
    });
  }
  const { airtimeLimit = region.dutyCycle } = choice;
  if (airtimeLimit > region.dutyCycle) {
    mistakes.push({
      pointer: 'airtimeLimit',
      detail: `${airtimeLimit} is wrong: ${choice.region} allows ${region.dutyCycle} % of an hour (${region.rule})`,
    });
  }
  if (mistakes.length > 0) {
    return mistakes;
  }
  const { spreadingFactor, codingRate } = choice;
  return {
    settings: { frequency, bandwidth, spreadingFactor, codingRate },
    txPower,
    airtimeLimit: airtimeLimit / 100,
    region,
  };
}

function band(name: string, { low, high, rule }: Region): string {
  return `${name}, ${low / 1e6} to ${high / 1e6} MHz (${rule})`;
}
