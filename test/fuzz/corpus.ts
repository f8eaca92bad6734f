import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** One case of a page of vectors; what `value` holds depends on the page. */
export interface Case {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly value: Readonly<Record<string, unknown>>;
}

/** The cases of `test/vectors/<page>.json`. */
export function cases(page: string): readonly Case[] {
  const file = join(import.meta.dirname, '../vectors', `${page}.json`);
  const read = JSON.parse(readFileSync(file, 'utf8')) as {
    readonly cases: readonly (Omit<Case, 'bytes'> & { readonly bytes: string })[];
  };
  return read.cases.map(one => ({ ...one, bytes: Uint8Array.fromHex(one.bytes) }));
}

/** Plaintexts of one kind on a page of link packets. */
export function plaintexts(page: string, kind: RegExp): Uint8Array[] {
  return cases(page)
    .filter(({ value }) => kind.test(String(value.kind)) && typeof value.plaintext === 'string')
    .map(({ value }) => Uint8Array.fromHex(value.plaintext as string));
}

/** Bytes that a value of a vector names as hex. */
export function hexIn(one: Case, field: string): Uint8Array {
  return Uint8Array.fromHex(one.value[field] as string);
}
