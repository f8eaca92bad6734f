import { getHeapStatistics } from 'node:v8';
import { isGatewayError } from '../../src/lib/errors.ts';

/** Something in src that reads bytes from outside. */
export interface Target {
  readonly name: string;
  /** Reads an input to its end, with everything its first users do to the value. */
  readonly read: (bytes: Uint8Array) => unknown;
  /** Valid inputs to begin with. */
  readonly seeds: readonly Uint8Array[];
  /** Codes it may refuse with; all `wire/*` without them. */
  readonly codes?: RegExp;
  /** Bytes it may allocate whatever the input: what it is told may come out of it. */
  readonly cap?: number;
  /** How many times slower than a plain decoder it is: it gets so many fewer inputs. */
  readonly cost?: number;
}

const wire = /^wire\//;
/** What the engine itself takes meanwhile: code, inline caches, garbage of earlier inputs. */
const slack = 12 * 1024 * 1024;
/** A value may take this many times the bytes it came in: a list element is one byte there and a tagged word here. */
const expansion = 400;

/**
 * Why reading the input is a fault of ours, or undefined: anything thrown but a GatewayError with a code
 * of the target, and memory that is out of proportion to the input.
 */
export async function faultOf(target: Target, bytes: Uint8Array): Promise<string | undefined> {
  const before = allocated();
  try {
    const value = target.read(bytes);
    if (value instanceof Promise) {
      await value;
    }
  } catch (error) {
    if (!isGatewayError(error)) {
      return error instanceof Error ? (error.stack ?? error.message) : `threw ${String(error)}`;
    }
    if (!(target.codes ?? wire).test(error.code)) {
      return `refused with ${error.code}: ${error.message}`;
    }
  }
  const taken = allocated() - before;
  const allowed = slack + (target.cap ?? 0) + expansion * bytes.length;
  return taken > allowed ? `took ${taken} bytes of memory, ${allowed} are in proportion` : undefined;
}

function allocated(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
}
