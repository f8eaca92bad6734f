import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { verifies } from '../bridges/webhook/receiver.ts';
import { eventually } from './clients.ts';
import { callHttp } from './daemon.ts';
import { messageActs } from './users/messages.ts';
import { shown } from './users/oracle.ts';
import { assertClean, ownerActs } from './users/owner.ts';
import { checkWindow, otherActs } from './users/things.ts';
import { names, openWorld, type User, type World } from './users/world.ts';

/** Operations that the three and their owner do not get an answer from, and why. All of them are refused to the three. */
export const notExercised: Readonly<Record<string, string>> = {
  postMeshProbe:
    'nobody is on the mesh to answer: test/interop/hosted.test.ts; here it is called, and times out',
  postMeshPathRequest: 'the same',
  postReplicasIdLink: 'needs a service to stand in for: test/e2e/replica.test.ts',
  getReplicasIdQueue: 'the same',
  postReplicasIdQueueOperationRetry: 'the same',
  postReplicasIdQueueOperationResolve: 'the same',
  deleteReplicasIdQueueOperation: 'the same',
  deleteMeshPathsDestination: 'a hub without peers has no path to forget: test/bridges/http/mesh.test.ts',
};

/**
 * Three clients whose rights change do so many random things, among them everything that is none of their business, while
 * the owner does what owners do. A model says what each answer must be; what comes over sockets and webhooks is checked
 * against it, every operation is refused to whoever lacks the scope, and at the end the log, at its most talkative, is
 * searched for every token, key and word. Rejects with the first thing that crosses.
 */
export async function runThreeUsers({ seed, operations }: { seed: number; operations: number }) {
  await using world = await openWorld(seed);
  const { pick, random, daemon } = world;
  const everyday = { ...messageActs(world), ...otherActs(world) };
  const rare = ownerActs(world);
  const alone = new Set(['rooms', 'changeRoom', 'role', 'rotate', 'login', 'logins']);
  const all = { ...everyday, ...rare };
  const done = new Map<string, number>();

  const act = async (kind: string, user: User, n: number) => {
    done.set(kind, (done.get(kind) ?? 0) + 1);
    const one = all[kind as keyof typeof all];
    assert.ok(one);
    const run = () => one(user, n);
    await (alone.has(kind) ? run() : world.beside(run));
  };

  for (let n = 0; n < 3; n++) {
    await act('post', 'ann', n);
    await act('say', 'ann', n);
  }
  const often = Object.keys(everyday);
  const seldom = Object.keys(rare);
  await inLanes(operations, async n => {
    const kind = random.fraction() < 0.05 ? pick(seldom) : pick([...often, 'post', 'post', 'get', 'speak']);
    await act(kind, pick(names), n);
  });
  let n = operations;
  // What chance has left out, by one who may do the most.
  const mighty = async () => {
    await world.owner('PATCH', '/v1/tokens/cat', { body: { role: 'operator' } });
    world.roles.cat = 'operator';
  };
  await mighty();
  // These draw lots themselves about what they do.
  const varied = [...often, 'rotate'];
  for (let turn = 0; turn < 40 && missing(world).length > 0; turn++) {
    for (const kind of turn === 0 ? Object.keys(all) : varied) {
      if (turn > 0 && missing(world).length === 0) {
        break;
      }
      n += 1;
      await act(kind, 'cat', n);
      if (world.roles.cat !== 'operator') {
        await mighty();
      }
    }
  }
  await settle(world);
  await refuseWithoutScope(world);
  const exercised = world.exercised.size;
  assert.deepEqual(missing(world), [], 'every operation is exercised, or has a reason not to be');
  for (const [id, why] of Object.entries(notExercised)) {
    assert.ok(!world.exercised.has(id), `${id} is exercised, though ${why}`);
  }

  const identity = await readFile(join(daemon.data, 'identity')).catch(() => undefined);
  if (identity !== undefined) {
    world.secrets.add(identity.toString('hex')).add(identity.toString('base64'));
    world.secrets.add(identity.subarray(0, 32).toString('hex')).add(identity.subarray(32).toString('hex'));
  }
  assert.equal(await daemon.stop(), 0);
  const log = world.log();
  assert.match(log, /"level":"?(?:10|trace)/, 'it says all it can');
  assertClean(world, log, 'the log');
  return { operations: n, messages: world.said.length, exercised, kinds: Object.fromEntries(done) };
}

/** Does something so many times, 8 at a time. Rejects with what failed first, once nothing is under way. */
export async function inLanes(times: number, act: (n: number) => Promise<void>): Promise<void> {
  let n = 0;
  const failures: unknown[] = [];
  const lane = async () => {
    while (n < times && failures.length === 0) {
      n += 1;
      await act(n).catch(failure => failures.push(failure));
    }
  };
  await Promise.all(Array.from({ length: 8 }, lane));
  if (failures.length > 0) {
    throw failures[0];
  }
}

/** Operations that were neither answered nor left out for a reason. */
function missing(world: World): string[] {
  return world.operations.map(({ id }) => id).filter(id => !world.exercised.has(id) && !(id in notExercised));
}

/** What came over sockets and webhooks, to the end. */
async function settle(world: World): Promise<void> {
  await world.owner('PATCH', '/v1/tokens/ann', { body: { role: 'member' } });
  world.roles.ann = 'member';
  const last = await world.open('ann');
  last.socket.send(JSON.stringify({ op: 'subscribe', id: 'end', filter: {} }));
  await eventually('the last socket is subscribed', () => last.frames.some(({ op }) => op === 'subscribed'));
  const text = world.words('the end');
  const { status, body } = await world.owner<{ id: string; from: string }>('POST', '/v1/messages', {
    body: { to: 'app:ann', text },
  });
  assert.equal(status, 201);
  world.note(body, 'owner', 'app:ann', text);
  await eventually('the stream has come to the end', () =>
    last.frames.some(({ message }) => (message as { id?: string } | undefined)?.id === body.id),
  );
  for (const window of world.windows) {
    checkWindow(world, window);
    window.socket.terminate();
  }
  assert.ok(world.webhooks.length > 0);
  checkPosts(world);
  world.oracle.judge();
  await checkSenders(world);
  const all = [...world.secrets].filter(secret => secret.startsWith('whsec_'));
  for (const one of world.receiver.received.slice(0, 50)) {
    assert.ok(
      all.some(secret => verifies(secret, one)),
      'each is signed',
    );
  }
}

/** Whatever was posted to webhooks was for whose they are. */
export function checkPosts(world: World): void {
  for (const one of world.receiver.received) {
    const user = one.path.split('/')[1] as User;
    const message = one.data?.message?.id ?? one.data?.delivery?.message;
    const known = message === undefined ? undefined : world.byId.get(message);
    assert.ok(
      known === undefined || known.from === user || known.got.has(user),
      `a webhook of ${user} got ${one.raw.slice(0, 300)} of ${shown(known)}`,
    );
    world.oracle.hears(user, one.raw, 'a webhook', 'event');
  }
}

/** What was said is still of who said it, as whoever may see everything sees it. */
async function checkSenders(world: World): Promise<void> {
  const step = Math.ceil(world.said.length / 300);
  for (const one of world.said.filter((_, at) => at % step === 0)) {
    const { body } = await world.owner<{ from: string; to: string }>('GET', `/v1/messages/${one.id}`);
    assert.deepEqual([body.from, body.to], [`app:${one.from}`, one.to], `${one.id} has changed hands`);
  }
}

/** Every operation that needs a scope is refused to each user who has none of its scopes, and to whoever has no token. */
async function refuseWithoutScope(world: World): Promise<void> {
  for (const { method, path, scopes } of world.operations) {
    if (scopes.length === 0) {
      continue;
    }
    const url = path.replaceAll(/\{(\w+)\}/g, (_, name) => (name === 'address' ? 'app:ann' : '0'.repeat(32)));
    for (const user of names) {
      if (!scopes.some(scope => world.holds(user, scope))) {
        const { status } = await world.call(user, method, url);
        assert.equal(status, 403, `${user} (${world.roles[user]}) ${method} ${url}`);
      }
    }
    const { status } = await callHttp(world.daemon.ready.http, method, url, {});
    assert.equal(status, 401, `nobody ${method} ${url}`);
  }
}
