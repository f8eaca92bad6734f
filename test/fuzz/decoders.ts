import assert from 'node:assert/strict';
import { seededRandom } from '../sim/random.ts';
import { edgeTargets } from './edges.ts';
import { meshTargets } from './mesh.ts';
import { nextInput } from './mutate.ts';
import { faultOf, type Target } from './target.ts';

/** Everything that reads bytes from outside. */
export const targets: readonly Target[] = [...meshTargets, ...edgeTargets];

/** Any bytes into one of them, so many times, slow ones their share of it. Throws with the input that is a fault. */
export async function fuzzTarget(target: Target, seed: number, runs: number): Promise<number> {
  const random = seededRandom(seed * 1000 + targets.indexOf(target));
  const count = Math.max(20, Math.round(runs / (target.cost ?? 1)));
  for (let run = 0; run < count; run++) {
    const bytes = nextInput(random, target.seeds);
    const fault = await faultOf(target, bytes);
    const { name } = target;
    assert.equal(fault, undefined, `SEED=${seed}: ${JSON.stringify({ target: name, bytes: bytes.toHex() })}`);
  }
  return count;
}

/** The same for all of them; how many inputs there were. */
export async function fuzzDecoders(seed: number, runs: number): Promise<number> {
  let inputs = 0;
  for (const target of targets) {
    inputs += await fuzzTarget(target, seed, runs);
  }
  return inputs;
}
