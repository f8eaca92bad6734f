import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** One case of a page of vectors that the reference made. */
export interface VectorCase<Value> {
  readonly name: string;
  readonly bytes: string;
  readonly value: Value;
}

/** The cases of `test/vectors/<kind>.json`. */
export function vectors<Value>(kind: string): readonly VectorCase<Value>[] {
  const path = join(import.meta.dirname, '../../vectors', `${kind}.json`);
  return (JSON.parse(readFileSync(path, 'utf8')) as { cases: VectorCase<Value>[] }).cases;
}
