import type { BitWriter } from './bits.ts';
import { codeLengths } from './huffman.ts';

/** Symbols that share one Huffman table. */
const groupSize = 50;
/** Rounds of choosing a table for every group and fitting the tables to their groups. */
const rounds = 4;
/** Shorter than the 20 bits of the format: old decoders know no longer ones, and it costs nothing. */
const longestCode = 17;

/** Writes what follows the origin of a block: the used bytes, the tables and the symbols of its sorted bytes. */
export function writeSymbols(writer: BitWriter, sorted: Uint8Array): void {
  const used = usedBytes(sorted);
  const symbols = moveToFront(sorted, used);
  const alphabet = used.length + 2;
  const { lengths, selectors } = fitTables(symbols, alphabet);
  writeUsed(writer, used);
  writer.write(3, lengths.length);
  writer.write(15, selectors.length);
  writeSelectors(writer, selectors);
  for (const table of lengths) {
    writeLengths(writer, table);
  }
  const codes = lengths.map(canonicalCodes);
  for (let group = 0; group < selectors.length; group++) {
    const code = codes[selectors[group]!]!;
    const length = lengths[selectors[group]!]!;
    const end = Math.min(symbols.length, (group + 1) * groupSize);
    for (let i = group * groupSize; i < end; i++) {
      const symbol = symbols[i]!;
      writer.write(length[symbol]!, code[symbol]!);
    }
  }
}

function usedBytes(sorted: Uint8Array): number[] {
  const seen = new Uint8Array(256);
  for (let i = 0; i < sorted.length; i++) {
    seen[sorted[i]!] = 1;
  }
  return [...seen.keys()].filter(byte => seen[byte] === 1);
}

/**
 * Each byte as its place in a list where it then moves to the front. Place p > 0 is symbol p + 1; a run
 * of places 0 is its length in digits 1 and 2 (symbols 0 and 1), lowest first; the last symbol is the end.
 */
function moveToFront(sorted: Uint8Array, used: readonly number[]): Uint16Array {
  const front = Uint8Array.from(used);
  const symbols = new Uint16Array(sorted.length + 1);
  let length = 0;
  let zeros = 0;
  for (let i = 0; i <= sorted.length; i++) {
    const byte = sorted[i];
    if (byte === front[0]) {
      zeros += 1;
      continue;
    }
    while (zeros > 0) {
      symbols[length++] = (zeros - 1) & 1;
      zeros = (zeros - 1) >> 1;
    }
    if (byte === undefined) {
      break;
    }
    let place = 0;
    let moved = front[0]!;
    do {
      place += 1;
      const next = front[place]!;
      front[place] = moved;
      moved = next;
    } while (moved !== byte);
    front[0] = byte;
    symbols[length++] = place + 1;
  }
  symbols[length++] = used.length + 1;
  return symbols.subarray(0, length);
}

/** Up to six tables and which of them each group of symbols uses. */
function fitTables(symbols: Uint16Array, alphabet: number): { lengths: Uint8Array[]; selectors: Uint8Array } {
  const groups = Math.ceil(symbols.length / groupSize);
  const selectors = new Uint8Array(groups);
  let lengths = firstTables(symbols, alphabet, tableCount(symbols.length));
  for (let round = 0; round < rounds; round++) {
    const weights = lengths.map(() => new Uint32Array(alphabet));
    const costs = packCosts(lengths, alphabet);
    for (let group = 0; group < groups; group++) {
      const start = group * groupSize;
      const end = Math.min(symbols.length, start + groupSize);
      const best = cheapest(symbols, start, end, costs, lengths.length);
      selectors[group] = best;
      const weight = weights[best]!;
      for (let i = start; i < end; i++) {
        weight[symbols[i]!]!++;
      }
    }
    lengths = weights.map(weight => codeLengths(weight, longestCode));
  }
  return { lengths, selectors };
}

/** A table costs about as much as it saves on a few hundred symbols. */
function tableCount(symbols: number): number {
  const steps = [200, 600, 1200, 2400];
  return 2 + steps.filter(step => symbols >= step).length;
}

/** Tables that each favour one stretch of the alphabet, all stretches equally frequent. */
function firstTables(symbols: Uint16Array, alphabet: number, count: number): Uint8Array[] {
  const frequency = new Uint32Array(alphabet);
  for (let i = 0; i < symbols.length; i++) {
    frequency[symbols[i]!]!++;
  }
  const tables: Uint8Array[] = [];
  let left = symbols.length;
  let from = 0;
  for (let part = count; part > 0; part--) {
    let share = 0;
    let to = from;
    while (to < alphabet && (share < left / part || part === 1)) {
      share += frequency[to]!;
      to += 1;
    }
    tables.push(new Uint8Array(alphabet).fill(15).fill(0, from, to));
    left -= share;
    from = to;
  }
  return tables;
}

/** A group takes at most 50 × 17 bits, which is 10 bits as a number: three tables are added up at once. */
const costBits = 10;
const costMask = (1 << costBits) - 1;

/** Bits of each symbol in the first three tables, and in the others. */
interface Costs {
  readonly low: Uint32Array;
  readonly high: Uint32Array;
}

function packCosts(lengths: readonly Uint8Array[], alphabet: number): Costs {
  const low = new Uint32Array(alphabet);
  const high = new Uint32Array(alphabet);
  for (const [table, length] of lengths.entries()) {
    const packed = table < 3 ? low : high;
    for (let symbol = 0; symbol < alphabet; symbol++) {
      packed[symbol]! |= length[symbol]! << (costBits * (table % 3));
    }
  }
  return { low, high };
}

/** The table that takes the fewest bits for these symbols. */
function cheapest(symbols: Uint16Array, start: number, end: number, costs: Costs, tables: number): number {
  const { low, high } = costs;
  let lower = 0;
  let upper = 0;
  for (let i = start; i < end; i++) {
    const symbol = symbols[i]!;
    lower += low[symbol]!;
    upper += high[symbol]!;
  }
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let table = 0; table < tables; table++) {
    const bits = ((table < 3 ? lower : upper) >>> (costBits * (table % 3))) & costMask;
    if (bits < least) {
      least = bits;
      best = table;
    }
  }
  return best;
}

/** Codes in order of length, then of symbol. */
function canonicalCodes(lengths: Uint8Array): Uint32Array {
  const codes = new Uint32Array(lengths.length);
  let code = 0;
  for (let length = 1; length <= longestCode; length++) {
    for (let symbol = 0; symbol < lengths.length; symbol++) {
      if (lengths[symbol] === length) {
        codes[symbol] = code++;
      }
    }
    code <<= 1;
  }
  return codes;
}

function writeUsed(writer: BitWriter, used: readonly number[]): void {
  const members = new Uint16Array(16);
  let groups = 0;
  for (const byte of used) {
    members[byte >> 4]! |= 0x8000 >> (byte & 15);
    groups |= 0x8000 >> (byte >> 4);
  }
  writer.write(16, groups);
  for (const member of members) {
    if (member !== 0) {
      writer.write(16, member);
    }
  }
}

function writeSelectors(writer: BitWriter, selectors: Uint8Array): void {
  const order = [0, 1, 2, 3, 4, 5];
  for (const selector of selectors) {
    const place = order.indexOf(selector);
    order.copyWithin(1, 0, place);
    order[0] = selector;
    writer.write(place + 1, (2 << place) - 2);
  }
}

/** Each length as steps from the one before: 10 up, 11 down, 0 there. */
function writeLengths(writer: BitWriter, lengths: Uint8Array): void {
  let current = lengths[0]!;
  writer.write(5, current);
  for (const length of lengths) {
    for (; current < length; current++) {
      writer.write(2, 0b10);
    }
    for (; current > length; current--) {
      writer.write(2, 0b11);
    }
    writer.write(1, 0);
  }
}
