import type { Params } from './command.ts';

/*
 * Readers of a command's params: each names the param that is wrong, and each bounds what it takes. The suite sends
 * null for what it leaves out, so that null and absent are the same.
 */

/** Bytes of the largest param: an assembled Resource of the suite's largest test. */
const largest = 64 * 1024 * 1024;

/** A param that must be there, as bytes; `length` when only one length is right. */
export function bytesOf(params: Params, name: string, length?: number): Uint8Array {
  const bytes = bytesIf(params, name);
  if (bytes === undefined) throw missing(name);
  if (length !== undefined && bytes.length !== length)
    throw wrong(name, `must be ${length} bytes, not ${bytes.length}`);
  return bytes;
}

export function bytesIf(params: Params, name: string): Uint8Array | undefined {
  const text = textIf(params, name, largest * 2);
  if (text === undefined) return undefined;
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(text)) throw wrong(name, 'must be hex');
  return Uint8Array.fromHex(text);
}

export function textOf(params: Params, name: string, limit = 1_000_000): string {
  return textIf(params, name, limit) ?? fail(missing(name));
}

export function textIf(params: Params, name: string, limit = 1_000_000): string | undefined {
  const value = params[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw wrong(name, 'must be text');
  if (value.length > limit) throw wrong(name, `must be at most ${limit} characters`);
  return value;
}

export function numberOf(params: Params, name: string): number {
  return numberIf(params, name) ?? fail(missing(name));
}

export function numberIf(params: Params, name: string): number | undefined {
  const value = params[name];
  if (value === undefined || value === null) return undefined;
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isFinite(number)) throw wrong(name, 'must be a number');
  return number;
}

export function integerOf(params: Params, name: string): number {
  return integerIf(params, name) ?? fail(missing(name));
}

export function integerIf(params: Params, name: string): number | undefined {
  const number = numberIf(params, name);
  if (number === undefined) return undefined;
  if (!Number.isSafeInteger(number)) throw wrong(name, 'must be an integer');
  return number;
}

/** A flag, or what it is when the suite leaves it out. */
export function flagOf(params: Params, name: string, otherwise: boolean): boolean {
  return flagIf(params, name) ?? otherwise;
}

export function flagIf(params: Params, name: string): boolean | undefined {
  const value = params[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'boolean') throw wrong(name, 'must be true or false');
  return value;
}

/** A list, empty when left out. */
export function listOf(params: Params, name: string, limit = 100_000): readonly unknown[] {
  const value = params[name];
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw wrong(name, 'must be a list');
  if (value.length > limit) throw wrong(name, `must have at most ${limit} entries`);
  return value;
}

/** A list of texts; one text with commas is a list as well. */
export function textsOf(params: Params, name: string): readonly string[] {
  const value = params[name];
  if (typeof value === 'string') return value === '' ? [] : value.split(',');
  return listOf(params, name).map(entry =>
    typeof entry === 'string' ? entry : fail(wrong(name, 'must be a list of texts')),
  );
}

export const hex = (bytes: Uint8Array): string => bytes.toHex();

export const hexOrNull = (bytes: Uint8Array | undefined): string | null => bytes?.toHex() ?? null;

function missing(name: string): Error {
  return new Error(`the param ${name} is missing`);
}

function wrong(name: string, why: string): Error {
  return new Error(`the param ${name} ${why}`);
}

function fail(error: Error): never {
  throw error;
}
