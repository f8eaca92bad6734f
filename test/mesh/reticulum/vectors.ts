import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '../../../src/lib/random.ts';

export interface VectorCase<Value> {
  readonly name: string;
  /** Hex. */
  readonly bytes: string;
  readonly value: Value;
}

/** What the reference made of a kind; see test/vectors/README.md. */
export function vectors<Value>(kind: string): readonly VectorCase<Value>[] {
  const path = join(import.meta.dirname, '../../vectors', `${kind}.json`);
  return (JSON.parse(readFileSync(path, 'utf8')) as { cases: readonly VectorCase<Value>[] }).cases;
}

export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.fromHex(hex);
}

/** Hex of bytes, or null where there are none, as vectors have it. */
export function hexOf(bytes: Uint8Array | undefined): string | null {
  return bytes === undefined ? null : bytes.toHex();
}

/** Chance that gives exactly these draws, in order, and no more. */
export function drawing(...draws: readonly string[]): Random {
  const left = draws.map(bytesOf);
  return {
    bytes(length) {
      const next = left.shift();
      if (next?.length !== length) {
        throw new RangeError(`a draw of ${length} bytes was not foreseen`);
      }
      return next;
    },
    fraction: () => 0.5,
  };
}
