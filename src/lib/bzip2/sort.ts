type Text = Uint8Array | Int32Array;

/**
 * The order of all suffixes of `text`, whose symbols are 0…`alphabet` - 1; a suffix that begins a
 * longer one comes before it. Induced sorting: linear time whatever the text, where comparing
 * rotations would go quadratic on repetitive ones.
 *
 * Source: Nong, Zhang and Chan, “Linear Suffix Array Construction by Almost Pure Induced-Sorting”, 2009.
 */
export function suffixOrder(text: Text, alphabet: number): Int32Array {
  const n = text.length;
  const order = new Int32Array(n);
  if (n < 2) {
    return order;
  }
  const rising = risingSuffixes(text);
  const ends = bucketEnds(text, alphabet);
  let valleys = 0;
  order.fill(-1);
  const tails = ends.slice();
  for (let i = 1; i < n; i++) {
    if (rising[i] === 1 && rising[i - 1] === 0) {
      order[--tails[text[i]!]!] = i;
      valleys += 1;
    }
  }
  induce(text, order, ends);
  if (valleys > 1) {
    sortValleys(text, order, rising, valleys);
    // The valleys are in their final order at the front: put each at the end of its bucket.
    const sorted = order.slice(0, valleys);
    order.fill(-1);
    tails.set(ends);
    for (let i = valleys - 1; i >= 0; i--) {
      const at = sorted[i]!;
      order[--tails[text[at]!]!] = at;
    }
    induce(text, order, ends);
  }
  return order;
}

/** 1 where a suffix is less than the one that follows it. Valleys are where a 1 follows a 0. */
function risingSuffixes(text: Text): Uint8Array {
  const rising = new Uint8Array(text.length);
  for (let i = text.length - 2; i >= 0; i--) {
    const here = text[i]!;
    const after = text[i + 1]!;
    rising[i] = here < after || (here === after && rising[i + 1] === 1) ? 1 : 0;
  }
  return rising;
}

/** Where the suffixes that begin with each symbol end. */
function bucketEnds(text: Text, alphabet: number): Int32Array {
  const ends = new Int32Array(alphabet);
  for (let i = 0; i < text.length; i++) {
    ends[text[i]!]!++;
  }
  let sum = 0;
  for (let symbol = 0; symbol < alphabet; symbol++) {
    sum += ends[symbol]!;
    ends[symbol] = sum;
  }
  return ends;
}

/**
 * From valleys in order to all in order: the falling from the left, then the rising from the right.
 * Which of them a suffix is follows from the bucket that the next one lies in: looking it up would be
 * one more step into memory that is in no cache.
 */
function induce(text: Text, order: Int32Array, ends: Int32Array): void {
  const n = text.length;
  const alphabet = ends.length;
  const heads = new Int32Array(alphabet);
  for (let symbol = 1; symbol < alphabet; symbol++) {
    heads[symbol] = ends[symbol - 1]!;
  }
  const last = text[n - 1]!;
  order[heads[last]!] = n - 1;
  heads[last] = heads[last]! + 1;
  for (let symbol = 0, i = 0; symbol < alphabet; symbol++) {
    for (const end = ends[symbol]!; i < end; i++) {
      const before = order[i]! - 1;
      if (before >= 0) {
        const first = text[before]!;
        if (first >= symbol) {
          const at = heads[first]!;
          order[at] = before;
          heads[first] = at + 1;
        }
      }
    }
  }
  heads.set(ends);
  for (let symbol = alphabet - 1, i = n - 1; symbol >= 0; symbol--) {
    for (const start = symbol === 0 ? 0 : ends[symbol - 1]!; i >= start; i--) {
      const before = order[i]! - 1;
      if (before >= 0) {
        const first = text[before]!;
        // Of its own bucket only the rising, which lie where they have just been put, go before it.
        if (first < symbol || (first === symbol && i >= heads[symbol]!)) {
          const at = heads[first]! - 1;
          order[at] = before;
          heads[first] = at;
        }
      }
    }
  }
}

/** Leaves the valleys in order at the front of `order`. What lies between two of them is sorted already. */
function sortValleys(text: Text, order: Int32Array, rising: Uint8Array, valleys: number): void {
  const n = text.length;
  let found = 0;
  for (let i = 0; i < n; i++) {
    const at = order[i]!;
    if (at > 0 && rising[at] === 1 && rising[at - 1] === 0) {
      order[found++] = at;
    }
  }
  // Two valleys are never neighbours, so half of their offset is a place of their own for a name.
  const names = order.subarray(valleys).fill(-1);
  let name = -1;
  let previous = -1;
  for (let i = 0; i < valleys; i++) {
    const at = order[i]!;
    if (previous < 0 || !sameStretch(text, rising, previous, at)) {
      name += 1;
    }
    names[at >> 1] = name;
    previous = at;
  }
  if (name + 1 === valleys) {
    return;
  }
  const reduced = new Int32Array(valleys);
  let count = 0;
  for (let i = 0; i < names.length; i++) {
    if (names[i]! >= 0) {
      reduced[count++] = names[i]!;
    }
  }
  const inner = suffixOrder(reduced, name + 1);
  const places = reduced;
  count = 0;
  for (let i = 1; i < n; i++) {
    if (rising[i] === 1 && rising[i - 1] === 0) {
      places[count++] = i;
    }
  }
  for (let i = 0; i < valleys; i++) {
    order[i] = places[inner[i]!]!;
  }
}

/** Whether the text from `a` to its next valley is the one from `b`; one that runs into the end is like no other. */
function sameStretch(text: Text, rising: Uint8Array, a: number, b: number): boolean {
  for (let i = 0; ; i++) {
    if (a + i >= text.length || b + i >= text.length || text[a + i] !== text[b + i]) {
      return false;
    }
    const aEnds = i > 0 && rising[a + i] === 1 && rising[a + i - 1] === 0;
    const bEnds = i > 0 && rising[b + i] === 1 && rising[b + i - 1] === 0;
    if (aEnds || bEnds) {
      return aEnds && bEnds;
    }
  }
}

/** Where the least rotation of `text` begins; the first such place of a periodic one. Linear time. */
export function leastRotation(text: Uint8Array): number {
  const n = text.length;
  let best = 0;
  let other = 1;
  let same = 0;
  while (other < n && same < n) {
    const left = best + same;
    const right = other + same;
    const a = text[left < n ? left : left - n]!;
    const b = text[right < n ? right : right - n]!;
    if (a === b) {
      same += 1;
      continue;
    }
    if (a < b) {
      other += same + 1;
    } else {
      best = Math.max(best + same + 1, other);
      other = best + 1;
    }
    same = 0;
  }
  return best;
}
