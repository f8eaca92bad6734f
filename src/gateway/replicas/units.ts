import { z } from 'zod';

const second = 1000;
const durations: Readonly<Record<string, number>> = {
  ms: 1,
  s: second,
  m: 60 * second,
  h: 3600 * second,
  d: 86_400 * second,
};

const sizes: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** A duration such as `2s` or `30d` as ms. */
export const duration = z
  .string()
  .regex(/^\d{1,9}(?:ms|s|m|h|d)$/, 'a duration such as 500ms, 2s, 10m, 12h or 30d')
  .transform(text => scaled(text, durations));

/** A size such as `64MiB` as bytes. */
export const size = z
  .string()
  .regex(/^\d{1,9}(?:B|KiB|MiB|GiB)$/, 'a size such as 512B, 64KiB, 512MiB or 2GiB')
  .transform(text => scaled(text, sizes));

function scaled(text: string, units: Readonly<Record<string, number>>): number {
  const digits = /^\d+/.exec(text)?.[0] ?? '0';
  return Number(digits) * (units[text.slice(digits.length)] ?? 1);
}
