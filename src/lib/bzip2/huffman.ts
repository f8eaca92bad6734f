import { malformed } from './bits.ts';

/** Bits looked up at once; longer codes are rare and take the slow way. */
const quickBits = 10;
const longest = 20;

/** How to read one code. An entry is `symbol << 5 | bits`. */
export interface DecodingTable {
  /** By the next 10 bits; 0 where the code is longer, or none. */
  readonly quick: Uint16Array;
  /** By the next 20 bits; throws `wire/malformed` where they begin no code. */
  readonly slow: (bits: number) => number;
}

/** The canonical code of these lengths, 1…20 each. Throws `wire/malformed` where there is room for no such code. */
export function decodingTable(lengths: Uint8Array): DecodingTable {
  const counts = new Uint32Array(longest + 2);
  for (const length of lengths) {
    counts[length] = counts[length]! + 1;
  }
  /** First code of each length, filled up to 20 bits; and the first symbol, in order of codes. */
  const firstCode = new Uint32Array(longest + 2);
  const firstSymbol = new Uint32Array(longest + 2);
  let code = 0;
  let symbols = 0;
  for (let length = 1; length <= longest; length++) {
    firstCode[length] = code;
    firstSymbol[length] = symbols;
    code += counts[length]! << (longest - length);
    symbols += counts[length]!;
    if (code > 1 << longest) {
      throw malformed('more codes than bits allow');
    }
  }
  firstCode[longest + 1] = code;
  const ordered = new Uint16Array(lengths.length);
  const place = firstSymbol.slice();
  for (let symbol = 0; symbol < lengths.length; symbol++) {
    const length = lengths[symbol] as number;
    ordered[place[length]!] = symbol;
    place[length] = place[length]! + 1;
  }
  const quick = new Uint16Array(1 << quickBits);
  for (let length = 1; length <= quickBits; length++) {
    const width = 1 << (quickBits - length);
    let at = firstCode[length]! >>> (longest - quickBits);
    for (let i = 0; i < counts[length]!; i++) {
      quick.fill((ordered[firstSymbol[length]! + i]! << 5) | length, at, at + width);
      at += width;
    }
  }
  return {
    quick,
    slow(bits) {
      for (let length = quickBits + 1; length <= longest; length++) {
        if (bits < firstCode[length + 1]!) {
          const index = (bits - firstCode[length]!) >>> (longest - length);
          return (ordered[firstSymbol[length]! + index]! << 5) | length;
        }
      }
      throw malformed('bits of no code');
    },
  };
}

/** Lengths of an optimal prefix code for these weights, `limit` bits at most, 1 at least. */
export function codeLengths(weights: Uint32Array, limit: number): Uint8Array {
  const count = weights.length;
  const scaled = Float64Array.from(weights, weight => Math.max(weight, 1));
  const lengths = new Uint8Array(count);
  const order = Uint16Array.from(weights, (_, symbol) => symbol);
  for (;;) {
    order.sort((a, b) => scaled[a]! - scaled[b]!);
    if (treeDepths(order, scaled, lengths) <= limit) {
      return lengths;
    }
    // Flatter weights give a flatter tree; all equal ones would give 9 bits.
    for (let i = 0; i < count; i++) {
      scaled[i] = Math.floor(scaled[i]! / 2) + 1;
    }
  }
}

/** Joins the two lightest until one is left: leaves by weight in one queue, joined ones in the other. */
function treeDepths(order: Uint16Array, weights: Float64Array, lengths: Uint8Array): number {
  const count = order.length;
  const nodes = 2 * count - 1;
  const weight = new Float64Array(nodes);
  const parent = new Uint16Array(nodes);
  for (let i = 0; i < count; i++) {
    weight[i] = weights[order[i]!]!;
  }
  let leaf = 0;
  let joined = count;
  for (let node = count; node < nodes; node++) {
    for (let child = 0; child < 2; child++) {
      const pick = leaf < count && (joined >= node || weight[leaf]! <= weight[joined]!) ? leaf++ : joined++;
      parent[pick] = node;
      weight[node] = weight[node]! + weight[pick]!;
    }
  }
  const depth = new Uint16Array(nodes);
  let deepest = 0;
  for (let node = nodes - 2; node >= 0; node--) {
    depth[node] = depth[parent[node]!]! + 1;
    if (node < count) {
      lengths[order[node]!] = depth[node]!;
      deepest = Math.max(deepest, depth[node]!);
    }
  }
  return deepest;
}
