import assert from 'node:assert/strict';
import { type ActName, acts, poke, wake, weights } from './life/acts.ts';
import { createChance } from './life/chance.ts';
import { check } from './life/check.ts';
import { say } from './life/said.ts';
import { askWhy, hubNames, World } from './life/world.ts';

/*
 * A random life of two hubs that pass everything on to each other: what is said, changed, taken back and called back, far
 * sides and disks that come and go, rooms, rules and blocks that change, stops, deaths, and time that passes or jumps. At
 * the end everybody is there, and what must hold is looked at. All of it happens in simulated time and in one thread,
 * so that a seed is the same life each time; of one that fails, the fewest acts that still do are told.
 */

interface Step {
  readonly act: ActName;
  readonly seed: number;
}

export interface Life {
  readonly counts: Readonly<Record<string, number>>;
  readonly trace: readonly string[];
  /** What did not hold. */
  readonly failure?: unknown;
}

/** Lives once; rejects where something did not hold. What it gives is what happened, counted. */
export async function runRandomLife(seed: number, turns = 80): Promise<Readonly<Record<string, number>>> {
  const plan = planOf(seed, turns);
  const life = await live(seed, plan);
  if (life.failure === undefined) {
    return life.counts;
  }
  const { steps, life: least } = await shrink(seed, plan, life);
  const { failure } = least;
  const words = failure instanceof Error ? (failure.stack ?? failure.message) : String(failure);
  throw new assert.AssertionError({
    message: [
      `${words}`,
      `in ${steps.length} of ${plan.length} acts: ${steps.map(({ act }) => act).join(' ')}`,
      ...least.trace,
    ].join('\n'),
  });
}

function planOf(seed: number, turns: number): readonly Step[] {
  const chance = createChance(seed);
  return Array.from({ length: turns }, () => ({ act: chance.pick(weights), seed: chance.below(2 ** 31) }));
}

/** One life from its beginning to what is left of it. */
export async function live(seed: number, steps: readonly Step[] = planOf(seed, 80)): Promise<Life> {
  const world = new World(seed);
  try {
    for (const name of hubNames) {
      await wake(world, name);
      const { process } = world.hubs[name];
      assert.ok(process);
      const app = process.desk.clients.create({
        name: 'app',
        scopes: ['messages:read', 'messages:send', 'peers:read', 'rooms:write'],
      });
      await world.drive(app, 'a client');
    }
    for (const [turn, { act, seed: own }] of steps.entries()) {
      const chance = createChance(own);
      world.count(act);
      await acts[act](world, chance);
      await world.clock.advance(chance.pick([0, 1, 1, 5, 40]));
      world.observe();
      if (turn % 8 === 7) {
        await askWhy(world);
      }
    }
    await settle(world);
    world.observe();
    check(world);
    return { counts: world.counts, trace: world.trace };
  } catch (failure) {
    return { counts: world.counts, trace: world.trace, failure };
  } finally {
    for (const name of hubNames) {
      world.hubs[name].kill();
      world.hubs[name].disk.close();
    }
  }
}

/** Everybody is there and well, until nothing is left to do. */
async function settle(world: World): Promise<void> {
  world.tell('everybody is well from now on');
  for (const name of hubNames) {
    const hub = world.hubs[name];
    hub.disk.mood = 'quick';
    if (hub.process === undefined) {
      await wake(world, name);
    }
  }
  for (const [address, side] of world.sides) {
    side.mood = 'well';
    if (world.options.pokes) {
      poke(world, address);
    }
  }
  for (let turn = 0; isBusy(world); turn++) {
    assert.ok(turn < 600, `what waits is not done with:\n${waiting(world)}`);
    for (const said of world.said.filter(one => one.id === undefined && one.refused === undefined)) {
      say(world, said);
    }
    await world.clock.advance(turn < 20 ? 3000 : 60_000);
  }
  for (let turn = 0; turn < 8; turn++) {
    for (const name of hubNames) {
      world.readers[name].read(200);
    }
    await world.clock.advance(200);
  }
}

function isBusy(world: World): boolean {
  return (
    world.asked.size > 0 ||
    world.said.some(({ id, refused }) => id === undefined && refused === undefined) ||
    hubNames.some(name => {
      const { process, disk } = world.hubs[name];
      return process === undefined || process.desk.health().queued > 0 || disk.openRows() > 0;
    })
  );
}

/** What still waits and why, in words. */
function waiting(world: World): string {
  const rows = hubNames.flatMap(name => {
    const { process } = world.hubs[name];
    const list = process?.desk.deliveries.list(process.owner, { limit: 50 }).items ?? [];
    return list.map(
      ({ id, to, state, attempts, reason }) =>
        `${name}: ${world.short(id)} to ${world.short(to)}: ${state}, ${attempts} attempts, ${reason}`,
    );
  });
  return [...[...world.asked].map(({ what }) => `${what} has no answer`), ...rows].join('\n');
}

/** The fewest acts that still fail, found by leaving out more and more of them; bounded in tries. */
async function shrink(seed: number, plan: readonly Step[], life: Life) {
  let steps = plan;
  let least = life;
  let tries = 0;
  for (let size = Math.ceil(steps.length / 2); size >= 1 && tries < 200; ) {
    let isSmaller = false;
    for (let from = 0; from < steps.length && tries < 200; from += size) {
      const fewer = [...steps.slice(0, from), ...steps.slice(from + size)];
      tries += 1;
      const shorter = await live(seed, fewer);
      if (shorter.failure !== undefined) {
        steps = fewer;
        least = shorter;
        isSmaller = true;
        from -= size;
      }
    }
    size =
      isSmaller && size > 1
        ? Math.min(size, Math.ceil(steps.length / 2))
        : size > 1
          ? Math.ceil(size / 2)
          : isSmaller
            ? 1
            : 0;
  }
  return { steps, life: least };
}
