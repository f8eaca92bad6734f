import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { seed } from '../sim/seed.ts';
import { eventually } from './clients.ts';
import { checkPosts, inLanes } from './three-users.ts';
import { createGate, type Gate, type Leak } from './users/gate.ts';
import { messageActs } from './users/messages.ts';
import { assertClean, ownerActs } from './users/owner.ts';
import { checkWindow, otherActs } from './users/things.ts';
import { names, openWorld, type User, type World } from './users/world.ts';

/*
 * That the three users find nothing says something only if they would: a real hub is made to leak, by a gate in front of
 * it that takes a call for somebody else's or adds to what comes back, and the same random life has to name the leak.
 */

const aMessage = /^\/v1\/messages\/[^/]+$/;

/** A call is taken for the owner's, who may do everything. */
const forgets = (method: string, path: RegExp): Leak => ({
  takenFor: call => (call.method === method && path.test(call.path) ? 'owner' : undefined),
});

interface Planted {
  readonly leak: Leak;
  /** What the failure says. */
  readonly names: RegExp;
  /** What is done more often, so that it need not take long. */
  readonly often: string;
}

const reads: Readonly<Record<string, Planted>> = {
  'an inbox whose query forgets the owner': {
    leak: {
      takenFor: ({ user, path }) => (user === 'ann' && path.startsWith('/v1/inbox') ? 'cat' : undefined),
    },
    names: /^ann saw .* in (?:inbox|GET \/v1\/inbox)/,
    often: 'inbox',
  },
  'a message that is shown to whoever knows its id': {
    leak: forgets('GET', aMessage),
    names: /^\w+ (?:\(.*\) read |saw words of \w+ in GET \/v1\/messages\/)/,
    often: 'get',
  },
  'a list of messages that forgets its filter': {
    leak: forgets('GET', /^\/v1\/messages(?:\?|$)/),
    names: /^\w+ (?:\(.*\) listed |saw .* in (?:GET )?\/v1\/messages)/,
    often: 'list',
  },
  'conversations of everybody': {
    leak: forgets('GET', /^\/v1\/conversations/),
    names: /^\w+ (?:\(.*\) conversations|saw .* in (?:GET \/v1\/)?conversations)/,
    often: 'conversations',
  },
  'deliveries of everybody': {
    leak: forgets('GET', /^\/v1\/deliveries$/),
    names: /^\w+ (?:\(.*\) deliveries|saw .* in GET \/v1\/deliveries|saw deliveries of)/,
    often: 'deliveries',
  },
  'webhooks of everybody': {
    leak: forgets('GET', /^\/v1\/webhooks/),
    names:
      /^\w+ (?:saw the webhook|saw words of \w+ in GET \/v1\/webhooks|\(.*\) (?:webhooks|GET {2}of a webhook))/,
    often: 'hooks',
  },
  'a list that needs no scope': {
    leak: forgets('GET', /^\/v1\/peers$/),
    names: /^ben \(sender\) peers: 200/,
    often: 'peers',
  },
};

const writes: Readonly<Record<string, Planted>> = {
  'a message that anybody may cancel': {
    // Nor does the answer say what was cancelled: it is the deed that must be found.
    leak: { ...forgets('DELETE', aMessage), answer: { path: aMessage, change: () => '{}' } },
    names: /^\w+ \(\w+\) cancelled .*: 200, not 40/,
    often: 'cancel',
  },
  'a webhook that anybody may change': {
    leak: forgets('PATCH', /^\/v1\/webhooks\//),
    names: /^\w+ \(\w+\) PATCH .* of a webhook of \w+: 200, not 40/,
    often: 'hookPatch',
  },
  // The last, because what was sent and not noted may carry files.
  'a sender who is taken for another': {
    leak: {
      takenFor: ({ user, method, path }) =>
        method === 'POST' && path === '/v1/messages' && user === 'ben' ? 'owner' : undefined,
    },
    names:
      /^(?:what ben sent is of owner|ben \(sender\) (?:edited|named a sender)|never happened: ben may attach)/,
    often: 'post',
  },
};

const events: Readonly<Record<string, Planted>> = {
  'an event stream that forgets the audience': {
    leak: forgets('GET', /^\/v1\/events/),
    names: /^\w+ (?:\(.*\) events|got |saw .* in an event)/,
    often: 'events',
  },
  'a socket that overhears others': {
    leak: { overhears: 'owner' },
    names: /^\w+ (?:has events without|got |saw .* in an event)/,
    often: 'speak',
  },
};

describe(`a leak is named by the three users (SEED=${seed})`, { timeout: 300_000 }, () => {
  let gate: Gate;
  let world: World;
  before(async () => {
    gate = createGate();
    world = await openWorld(seed, gate.before);
    for (const user of names) {
      await messageActs(world).post?.(user, 0);
      await messageActs(world).post?.(user, 1);
    }
    await ownerActs(world).say?.('ann', 2);
  });
  after(async () => {
    await gate?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
  });

  test('of a hub without one they say nothing', () => live(world, 100));
  test('event: a webhook of another', async () => {
    const { received } = world.receiver;
    await otherActs(world).hook?.('cat', 0);
    const text = world.words('to oneself');
    const sent = await world.call<{ id: string; from: string }>('cat', 'POST', '/v1/messages', {
      body: { to: 'app:cat', text },
    });
    world.note(sent.body, 'cat', 'app:cat', text);
    const one = await eventually('it is posted to cat', () =>
      received.find(({ path, data }) => path.startsWith('/cat/') && data?.message?.id === sent.body.id),
    );
    checkPosts(world);
    received.push({ ...one, path: '/ann/1' });
    assert.throws(() => checkPosts(world), /a webhook of ann got /);
    received.pop();
  });
  test('read: words of others where there is no id beside them', async () => {
    const change = (user: User, text: string) => {
      const other = world.said.find(one => one.from !== user && !world.maySee(user, one));
      const words = other && world.oracle.wordsOf(other);
      return words ? text.replace('{', `{"last":"${words}",`) : text;
    };
    await caught({
      leak: { answer: { path: /^\/v1\/me$/, change } },
      names: /^\w+ saw words of \w+ in GET \/v1\/me/,
      often: 'self',
    });
  });
  for (const [kind, leaks] of Object.entries({ read: reads, event: events, write: writes })) {
    for (const [name, planted] of Object.entries(leaks)) {
      test(`${kind}: ${name}`, () => caught(planted));
    }
  }
  test('log: a token, a body, and either in another form', () => {
    const log = world.log();
    assertClean(world, log, 'the log');
    const one = world.said.find(({ from }) => from === 'ann');
    const words = `said: ${one && world.oracle.wordsOf(one)}`;
    const basic = Buffer.from(`:${world.tokens.cat}`).toString('base64');
    world.secrets.add(basic);
    for (const [planted, named] of [
      [world.tokens.ben, /the log holds the secret/],
      [world.daemon.ready.ownerToken, /the log holds the secret/],
      [`authorization: Basic ${basic}`, /the log holds the secret/],
      [words, /the log holds the words/],
      ...[0, 1, 2].map(
        shift =>
          [Buffer.from(`${'-'.repeat(shift)}${words}`).toString('base64'), /the log holds base64/] as const,
      ),
    ] as const) {
      const line = JSON.stringify({ level: 10, msg: `planted ${planted}` });
      const middle = log.indexOf('\n', log.length / 2) + 1;
      const leaking = `${log.slice(0, middle)}${line}\n${log.slice(middle)}`;
      assert.throws(() => assertClean(world, leaking, 'the log'), { message: named });
    }
  });

  /** Fails unless the leak is found, and named, before so many things were done. */
  async function caught(planted: Planted): Promise<void> {
    gate.leak = planted.leak;
    try {
      await assert.rejects(live(world, 3000, planted.often), (error: Error) => {
        assert.match(error.message, planted.names);
        return true;
      });
    } finally {
      gate.leak = {};
      await forget(world);
    }
  }
});

/** What the three do every day, so many times, and all that has come to them so far. */
async function live(world: World, times: number, often?: string): Promise<void> {
  const begin = world.said.length * 10_000;
  const acts = { ...messageActs(world), ...otherActs(world) };
  const kinds = Object.keys(acts).filter(kind => kind !== 'login' && kind !== 'logins');
  await inLanes(times, async n => {
    const usual = world.pick([...kinds, 'post', 'post', 'get', 'speak']);
    const kind = (world.random.fraction() < 0.2 ? (often ?? usual) : usual) as keyof typeof acts;
    const run = async () => acts[kind]?.(world.pick(names), begin + n);
    await (kind === 'rooms' || kind === 'changeRoom' ? run() : world.beside(run));
    if (n % 50 === 0) {
      for (const window of world.windows) {
        checkWindow(world, window);
      }
    }
  });
  world.oracle.judge();
}

/** What came while the hub was leaking is not judged again, and what was written to webhooks is gone. */
async function forget(world: World): Promise<void> {
  for (const { socket } of world.windows.splice(0)) {
    socket.terminate();
  }
  for (const one of world.webhooks.splice(0)) {
    await world.owner('DELETE', `/v1/webhooks/${one.id}`);
  }
  world.receiver.received.length = 0;
  world.oracle.forget();
}
