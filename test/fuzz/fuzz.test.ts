import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { GatewayError } from '../../src/lib/errors.ts';
import { fuzzTarget, targets } from './decoders.ts';
import { faultOf, type Target } from './target.ts';

/*
 * Any bytes into every decoder and framer: a value or a typed refusal, and memory in proportion.
 *
 *     SEED=7 FUZZ_RUNS=1000000 node --test test/fuzz/fuzz.test.ts
 *
 * FUZZ_RUNS is inputs for a plain decoder; slow ones get their share of it. Without it the run is short and
 * always the same; with it the seed is another one each time. Either way it is printed. What fails is to be
 * added to found.json with a name.
 */

interface Found {
  readonly target: string;
  readonly name: string;
  /** Hex. */
  readonly bytes: string;
}

const runs = Number(process.env.FUZZ_RUNS ?? 600);
const seed = Number(process.env.SEED ?? (process.env.FUZZ_RUNS === undefined ? 1 : Date.now() % 2 ** 31));
const found = JSON.parse(readFileSync(join(import.meta.dirname, 'found.json'), 'utf8')) as readonly Found[];

describe(`any bytes (SEED=${seed} FUZZ_RUNS=${runs})`, () => {
  for (const target of targets) {
    test(`into ${target.name} give a value or a typed refusal`, async () => {
      await fuzzTarget(target, seed, runs);
    });
  }
});

describe('bytes that were trouble once', () => {
  for (const { target: name, name: what, bytes } of found) {
    test(`into ${name}: ${what}`, async () => {
      const target = targets.find(one => one.name === name);
      assert.ok(target, `no target ${name}`);
      assert.equal(await faultOf(target, Uint8Array.fromHex(bytes)), undefined);
    });
  }
});

test('every seed is read without a fault', async () => {
  for (const target of targets) {
    for (const bytes of target.seeds) {
      assert.equal(await faultOf(target, bytes), undefined, `${target.name}: ${bytes.toHex().slice(0, 200)}`);
    }
  }
});

test('a decoder that throws what is not ours, the wrong code, or takes what it is told is found out', async () => {
  const fault = (read: Target['read']) => faultOf({ name: 'bad', seeds: [], read }, new Uint8Array(10));
  assert.match((await fault(() => Buffer.alloc(-1))) ?? '', /RangeError/);
  assert.match((await fault(() => Promise.reject(new TypeError('late')))) ?? '', /TypeError: late/);
  const refuse = () => {
    throw new GatewayError('store/full', 'no');
  };
  assert.match((await fault(refuse)) ?? '', /refused with store\/full/);
  const kept: Uint8Array[] = [];
  assert.match((await fault(() => kept.push(new Uint8Array(64 * 1024 * 1024)))) ?? '', /bytes of memory/);
});
