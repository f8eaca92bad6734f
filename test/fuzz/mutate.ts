import type { Random } from '../../src/lib/random.ts';

/** Longest input made here; longer seeds are cut first. */
const longest = 24_000;

/** A whole number from 0 to `below` - 1. */
export function pick(random: Random, below: number): number {
  return Math.floor(random.fraction() * below);
}

export function one<T>(random: Random, from: readonly T[]): T {
  return from[pick(random, from.length)] as T;
}

/** Heads that claim much: lengths of msgpack, of a Reader's integers, of MQTT, and runs that hide in any field. */
const bombs: readonly Uint8Array[] = [
  'c6ffffffff',
  'c67fffffff',
  'db7fffffff',
  'c9ffffffff01',
  'ddffffffff',
  'dd0fffffff',
  'dfffffffff',
  'df00ffffff',
  'dcffff',
  'deffff',
  'c5ffff',
  'cfffffffffffffffff',
  'd38000000000000000',
  'cb7ff0000000000000',
  'cbfff8000000000000',
  'ca7f800000',
  'ffffff7f',
  'ffffffff',
  '7fffffff',
  '00000000',
  '80000000',
  'ffff',
  '7d7e',
  '7e7e',
].map(hex => Uint8Array.fromHex(hex));

/** Beginnings of something inside something: list, map with a key, extension-free long forms, JSON and YAML. */
const nests: readonly Uint8Array[] = [
  '91',
  '8101',
  '9291',
  'dc0001',
  'dd00000001',
  'df0000000101',
  '5b',
  '7b2261223a',
].map(hex => Uint8Array.fromHex(hex));

type Mutation = (bytes: Uint8Array, random: Random, seeds: readonly Uint8Array[]) => Uint8Array;

const mutations: readonly Mutation[] = [
  function flip(bytes, random) {
    const changed = Uint8Array.from(bytes);
    for (let left = 1 + pick(random, 4); left > 0 && changed.length > 0; left--) {
      const at = pick(random, changed.length);
      changed[at] = (changed[at] as number) ^ (1 << pick(random, 8));
    }
    return changed;
  },
  function set(bytes, random) {
    const changed = Uint8Array.from(bytes);
    if (changed.length > 0) {
      changed[pick(random, changed.length)] = one(random, [
        0,
        1,
        0x7f,
        0x80,
        0xc1,
        0xfe,
        0xff,
        pick(random, 256),
      ]);
    }
    return changed;
  },
  function cut(bytes, random) {
    return bytes.slice(0, pick(random, bytes.length + 1));
  },
  function remove(bytes, random) {
    const at = pick(random, bytes.length + 1);
    return join(bytes.subarray(0, at), bytes.subarray(at + 1 + pick(random, 8)));
  },
  function insert(bytes, random) {
    const at = pick(random, bytes.length + 1);
    return join(bytes.subarray(0, at), random.bytes(1 + pick(random, 8)), bytes.subarray(at));
  },
  function bomb(bytes, random) {
    const at = pick(random, bytes.length + 1);
    const claim = one(random, bombs);
    const over = random.fraction() < 0.5 ? claim.length : 0;
    return join(bytes.subarray(0, at), claim, bytes.subarray(at + over));
  },
  function nest(bytes, random) {
    const head = one(random, nests);
    const at = pick(random, bytes.length + 1);
    const deep = new Uint8Array(head.length * one(random, [8, 40, 200, 2000]));
    for (let place = 0; place < deep.length; place += head.length) {
      deep.set(head, place);
    }
    return join(bytes.subarray(0, at), deep, bytes.subarray(at));
  },
  function repeat(bytes, random) {
    const from = pick(random, bytes.length + 1);
    const piece = bytes.subarray(from, from + 1 + pick(random, 64));
    const times = one(random, [1, 2, 20]);
    return join(bytes.subarray(0, from), ...Array<Uint8Array>(times).fill(piece), bytes.subarray(from));
  },
  function splice(bytes, random, seeds) {
    const other = one(random, seeds);
    return join(
      bytes.subarray(0, pick(random, bytes.length + 1)),
      other.subarray(pick(random, other.length + 1)),
    );
  },
];

/** The next input: now and then bytes of pure chance or a seed as it is, else a seed with a few things done to it. */
export function nextInput(random: Random, seeds: readonly Uint8Array[]): Uint8Array {
  const kind = random.fraction();
  if (kind < 0.15 || seeds.length === 0) {
    return random.bytes(pick(random, one(random, [8, 64, 600, 2000])));
  }
  let bytes = one(random, seeds);
  if (kind < 0.18) {
    return Uint8Array.from(bytes);
  }
  for (let left = 1 + pick(random, 3); left > 0; left--) {
    bytes = one(random, mutations)(bytes.subarray(0, longest), random, seeds);
  }
  return bytes.slice(0, longest);
}

function join(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
