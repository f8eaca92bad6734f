import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Delivery, Progress } from '../../src/gateway/bridge.ts';
import type { MessageDraft } from '../../src/gateway/desk.ts';
import { GatewayError, isGatewayError } from '../../src/lib/errors.ts';
import { ManualClock } from '../sim/clock.ts';
import { seededRandom } from '../sim/random.ts';
import { type MemoryBridge, memoryBridge, openTestSwitch, type TestSwitch, testHub } from './fixture.ts';

/*
 * A random life of two hubs that pass everything on to each other: what is said, changed, taken back and called back, far
 * sides that come and go, restarts, and time that passes. At the end everybody is there, and what must hold is
 * looked at: order, once, no echo, nothing lost, and that every far side knows the words that were meant last.
 */

const lxmf = (digit: string) => `lxmf:${digit.repeat(32)}`;
const peers = [lxmf('1'), lxmf('2'), lxmf('3')];
const hubs = {
  near: { ...testHub, id: 'aa'.repeat(16), lxmf: 'ab'.repeat(16) },
  far: { ...testHub, id: 'ba'.repeat(16), lxmf: 'bb'.repeat(16) },
} as const;
type HubName = keyof typeof hubs;
const other = { near: 'far', far: 'near' } as const;

/** How a far side is for now. */
const moods = ['well', 'well', 'away', 'away', 'rejects', 'loses', 'loses', 'slow'] as const;
type Mood = (typeof moods)[number];

interface Said {
  readonly id: string;
  readonly hub: HubName;
  readonly from: 'owner' | 'app';
  readonly to: string;
  readonly order: number;
  /** The words meant last; undefined where it was taken back. */
  words: string | undefined;
  /** Somebody called a delivery back, or a far side refused one: what the far side has is not asked. */
  isSpoilt: boolean;
}

/** What one address has heard. */
class FarSide {
  mood: Mood = 'well';
  /** Delivery ids, each at most once: it deduplicates as LXMF peers do. */
  readonly heard = new Set<string>();
  /** Messages, in the order in which they were first heard. */
  readonly order: string[] = [];
  /** The words it shows by message. */
  readonly shown = new Map<string, string>();

  hear({ id, message }: Delivery): void {
    if (this.heard.has(id)) {
      return;
    }
    this.heard.add(id);
    this.order.push(message.id);
    if (message.type === 'chat.edit') {
      this.shown.set(message.inReplyTo ?? '', message.text);
    } else if (message.type === 'chat.redaction') {
      this.shown.delete(message.inReplyTo ?? '');
    } else {
      this.shown.set(message.id, message.text);
    }
  }
}

/** Lives once; rejects where something did not hold. What it gives is what happened. */
export async function runRandomLife(seed: number, turns = 60): Promise<Record<string, number>> {
  const random = seededRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random.fraction() * list.length)] as T;
  const dir = await mkdtemp(join(tmpdir(), 'kos-life-'));
  const clock = new ManualClock();
  const sides = new Map([...peers, lxmf('a'), lxmf('b')].map(address => [address, new FarSide()]));
  const running = {} as Record<HubName, { hub: TestSwitch; bridge: MemoryBridge }>;
  const said: Said[] = [];
  /** Everything posted, changes and removals too. */
  const posted: { readonly id: string; readonly hub: HubName }[] = [];
  const counts: Record<string, number> = {};
  const count = (what: string) => {
    counts[what] = (counts[what] ?? 0) + 1;
  };
  let order = 0;

  async function respond(name: HubName, delivery: Delivery, signal: AbortSignal): Promise<Progress> {
    const { port } = running[name].bridge;
    const isHub = delivery.to === `lxmf:${hubs[other[name]].lxmf}`;
    const side = sides.get(isHub ? lxmf(name === 'near' ? 'b' : 'a') : delivery.to);
    assert.ok(side, `nobody has ${delivery.to}`);
    switch (side.mood) {
      case 'away':
        throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
      case 'rejects':
        throw new GatewayError('bridge/rejected', 'too strange');
      case 'loses':
        await (await port).report(delivery.id, { state: 'sent' });
        if (random.fraction() < 0.5) {
          side.hear(delivery);
        }
        throw new GatewayError('bridge/unavailable', 'no proof came', { retryable: true });
      case 'slow':
        await clock.sleep(pick([500, 2000, 5000]), signal);
        break;
      default:
    }
    if (isHub) {
      const { message } = delivery;
      await running[other[name]].bridge.say({
        remoteId: `${name}/${delivery.id}`,
        from: `lxmf:${hubs[name].lxmf}`,
        to: delivery.to,
        type: message.type,
        text: message.text,
        via: [...message.via, hubs[name].id],
      });
    }
    side.hear(delivery);
    return { state: 'delivered' };
  }

  async function start(name: HubName): Promise<void> {
    const bridge = memoryBridge('lxmf', { tellsWhenSent: true, concurrency: 4 });
    bridge.respond = (delivery, signal) => respond(name, delivery, signal);
    const hub = await openTestSwitch({
      dir: join(dir, name),
      hub: hubs[name],
      clock,
      bridges: [bridge],
      rooms: { trio: { members: [...peers, 'app:app'] } },
      routes: [
        { from: 'lxmf:*', to: [`lxmf:${hubs[other[name]].lxmf}`] },
        { from: 'app:*', to: [`lxmf:${hubs[other[name]].lxmf}`] },
      ],
    });
    running[name] = { hub, bridge };
  }

  /** Lets things happen: simulated time passes, and the stores get real time. */
  async function pass(ms: number): Promise<void> {
    await clock.advance(ms);
    await new Promise(resolve => setTimeout(resolve, 1));
  }

  async function post(name: HubName, from: Said['from'], draft: MessageDraft): Promise<string | undefined> {
    const { hub } = running[name];
    const client = from === 'owner' ? hub.owner : clientOf(hub);
    try {
      const { message } = await hub.desk.messages.post(client, draft);
      posted.push({ id: message.id, hub: name });
      return message.id;
    } catch (error) {
      assert.ok(isGatewayError(error, 'store/full', 'request/not-found'), String(error));
      return undefined;
    }
  }

  const clientOf = (hub: TestSwitch) => {
    const client = hub.desk.clients.list().find(one => one.name === 'app');
    assert.ok(client);
    return client;
  };

  const acts: Readonly<Record<string, () => Promise<void>>> = {
    async say() {
      const hub = pick(['near', 'far'] as const);
      const from = pick(['owner', 'app'] as const);
      const to = pick([...peers, 'room:trio', 'room:hub', 'room:trio']);
      const words = `${order}`;
      // What a client calls soon is another time once somebody has set the clock.
      const brief = (counts.jump ?? 0) === 0 && random.fraction() < 0.1;
      const id = await post(hub, from, {
        to,
        text: words,
        priority: pick(['normal', 'normal', 'bulk', 'critical']),
        ...(brief && { expiresAt: clock.now() + 20_000 }),
      });
      if (id !== undefined) {
        said.push({ id, hub, from, to, order: order++, words, isSpoilt: brief });
      }
    },
    async hear() {
      const { bridge } = running[pick(['near', 'far'] as const)];
      const from = pick(peers);
      await bridge.say({
        remoteId: `heard-${order++}`,
        from,
        to: pick(['room:hub', 'room:trio']),
        text: from,
      });
    },
    async change() {
      const one = said.length > 0 ? pick(said.slice(-8)) : undefined;
      if (one?.words !== undefined) {
        const words = `${order++} for ${one.order}`;
        const draft = { to: one.to, type: 'chat.edit', text: words, inReplyTo: one.id };
        if ((await post(one.hub, one.from, draft)) !== undefined) {
          one.words = words;
        }
      }
    },
    async takeBack() {
      const one = said.length > 0 ? pick(said.slice(-8)) : undefined;
      if (one?.words !== undefined && random.fraction() < 0.5) {
        if (
          (await post(one.hub, one.from, { to: one.to, type: 'chat.redaction', inReplyTo: one.id })) !==
          undefined
        ) {
          one.words = undefined;
        }
      }
    },
    async callBack() {
      const one = said.length > 0 ? pick(said.slice(-5)) : undefined;
      if (one !== undefined && random.fraction() < 0.5) {
        const { hub } = running[one.hub];
        one.isSpoilt = true;
        await hub.desk.messages.cancel(hub.owner, one.id);
      }
    },
    async mood() {
      const [address, side] = pick([...sides]);
      side.mood = pick(moods);
      if (side.mood === 'well') {
        for (const { bridge } of Object.values(running)) {
          (await bridge.port).reachable(address);
        }
      }
    },
    async wait() {
      await pass(pick([10, 1000, 30_000]));
    },
    async jump() {
      clock.set(pick([-7_200_000, 3_600_000]));
    },
    async restart() {
      if (random.fraction() < 0.3) {
        const name = pick(['near', 'far'] as const);
        await running[name].hub.stop();
        await start(name);
      }
    },
  };

  try {
    for (const name of ['near', 'far'] as const) {
      await start(name);
      await running[name].hub.client('app');
    }
    const weights = [
      ...Object.keys(acts),
      'say',
      'say',
      'say',
      'change',
      'change',
      'change',
      'wait',
      'wait',
      'mood',
    ];
    for (let turn = 0; turn < turns; turn++) {
      const act = pick(weights);
      count(act);
      await acts[act]?.();
      await pass(1);
    }
    for (const side of sides.values()) {
      side.mood = 'well';
    }
    const queued = () => Object.values(running).reduce((sum, { hub }) => sum + hub.desk.health().queued, 0);
    for (let turn = 0; queued() > 0; turn++) {
      assert.ok(turn < 2000, waiting());
      await pass(60_000);
    }
    await settled();
    check();
    return { ...counts, said: said.length };
  } finally {
    for (const { hub } of Object.values(running)) {
      await hub.stop();
    }
    await rm(dir, { recursive: true, force: true });
  }

  /** What still waits and why, in words. */
  function waiting(): string {
    return Object.values(running)
      .flatMap(({ hub }) => hub.desk.deliveries.list(hub.owner, { limit: 50 }).items)
      .map(
        ({ to, state, attempts, reason, history }) =>
          `to ${to}: ${state}, ${attempts} attempts, ${reason}: ${history.map(one => `${one.state} ${one.reason ?? ''} ${one.at}`).join(', ')}`,
      )
      .join('\n');
  }

  function rows(): string {
    return posted
      .flatMap(one => running[one.hub].hub.store.read.deliveriesOf(one.id))
      .filter(row => row.bridge !== 'app' && ['queued', 'sending'].includes(row.state))
      .map(row => JSON.stringify(row))
      .join('\n');
  }

  /** States are written behind what they tell. */
  async function settled(): Promise<void> {
    const isOpen = () =>
      posted.some(one =>
        running[one.hub].hub.store.read
          .deliveriesOf(one.id)
          .some(row => row.bridge !== 'app' && ['queued', 'sending'].includes(row.state)),
      );
    for (let turn = 0; isOpen(); turn++) {
      assert.ok(turn < 4000, `rows are open that nobody works at:\n${waiting()}\n${rows()}`);
      await pass(10);
      // A hub that was restarted just now is still reading what it has to do.
      await new Promise(resolve => setTimeout(resolve, 4));
    }
  }

  function check(): void {
    const failed = new Set<string>();
    for (const one of said) {
      const { store } = running[one.hub].hub;
      assert.ok(store.read.message(one.id), `message ${one.order} is gone`);
      for (const row of store.read.deliveriesOf(one.id)) {
        count(`ended ${row.state}`);
        if (row.bridge !== 'app') {
          assert.ok(
            ['delivered', 'failed', 'expired', 'cancelled'].includes(row.state),
            `delivery of ${one.order} to ${row.recipient} ended ${row.state}`,
          );
        }
      }
    }
    for (const { hub } of Object.values(running)) {
      for (const state of ['failed', 'expired'] as const) {
        for (const item of hub.desk.deliveries.list(hub.owner, { state, limit: 200 }).items) {
          const message = hub.store.read.message(item.message.id);
          failed.add(`${message?.inReplyTo ?? item.message.id} ${item.to}`);
        }
      }
    }
    for (const address of peers) {
      const side = sides.get(address);
      assert.ok(side);
      for (const name of ['near', 'far'] as const) {
        const mine: readonly Said[] = said.filter(({ hub, id }) => hub === name && side.order.includes(id));
        const heardAt: readonly number[] = mine.map(({ id }) => side.order.indexOf(id));
        assert.deepEqual(
          heardAt,
          heardAt.toSorted((a, b) => a - b),
          `${address} heard ${name} out of order`,
        );
      }
      assert.equal(new Set(side.order).size, side.order.length, `${address} heard a message twice`);
      for (const [id, words] of side.shown) {
        assert.notEqual(words, address, `${address} heard its own words again, as ${id}`);
      }
      for (const one of said) {
        const isMeant = one.to === address || one.to === 'room:trio';
        if (!isMeant || one.isSpoilt || failed.has(`${one.id} ${address}`)) {
          continue;
        }
        assert.equal(side.shown.get(one.id), one.words, `${address} does not show what ${one.order} means`);
      }
    }
    for (const { hub } of Object.values(running)) {
      const texts = hub.desk.messages
        .list(hub.owner, { limit: 200 })
        .items.filter(({ type }) => type === 'chat.message')
        .map(({ text, from }) => (text === from ? undefined : text));
      const own = texts.filter(text => text !== undefined && !text.startsWith('lxmf:'));
      assert.equal(new Set(own).size, own.length, 'a hub has something twice');
    }
  }
}
