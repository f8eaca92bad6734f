import assert from 'node:assert/strict';
import type { Delivery } from '../../../src/gateway/bridge.ts';
import type { Client } from '../../../src/gateway/desk.ts';
import { type Address, nameOf, schemeOf } from '../../../src/gateway/message.ts';
import { codeOf, type ErrorCode, isGatewayError } from '../../../src/lib/errors.ts';
import { ManualClock } from '../../sim/clock.ts';
import { bridgesOf, type Known } from './carrier.ts';
import { type Chance, createChance } from './chance.ts';
import { FarSide, type Packet } from './far-side.ts';
import { Hub, type Process } from './hub.ts';
import { Reader } from './reader.ts';
import type { Said } from './said.ts';
import { Society } from './society.ts';

const lxmf = (digit: string) => `lxmf:${digit.repeat(32)}`;
export const peers = [lxmf('1'), lxmf('2'), lxmf('3')];
/** Far sides that cannot tell a repeat. */
export const phones = ['sms:bell', 'sms:lamp'];
export const hubNames = ['near', 'far'] as const;
export type HubName = (typeof hubNames)[number];

/** What differs from life to life. */
export interface LifeOptions {
  readonly window: number;
  readonly concurrency: number;
  readonly prepares: boolean;
  readonly plainTells: boolean;
  /** Bridges say when a far side can be reached again. */
  readonly pokes: boolean;
}

/** What an end of a process leaves to be asked again. */
const perhapsLater: readonly ErrorCode[] = ['store/full', 'store/unavailable'];

/** Two hubs, everybody they have to do with, and what is known of all that from outside. */
export class World {
  readonly clock = new ManualClock(1_780_000_000_000);
  readonly chance: Chance;
  readonly options: LifeOptions;
  readonly hubs: Readonly<Record<HubName, Hub>>;
  readonly sides = new Map<Address, FarSide>();
  readonly readers: Readonly<Record<HubName, Reader>>;
  readonly societies: Readonly<Record<HubName, Society>>;
  readonly said: Said[] = [];
  /** By remote id: what somebody far away has said, and the id it got. */
  readonly spoken = new Map<
    string,
    { readonly hub: HubName; id?: string; readonly say: () => Promise<void> }
  >();
  readonly breaks = new Map<string, () => void>();
  /** Words that some far sides cannot take: `<address> <words>`. */
  readonly poison = new Map<string, 'refused' | 'breaks'>();
  /** Messages and deliveries that a person wanted called back. */
  readonly calledBack = new Set<string>();
  readonly trace: string[] = [];
  readonly counts: Record<string, number> = {};
  /** The first thing that did not hold. */
  failure: unknown;
  /** Somebody has set the clock: what a client calls soon may be another time than it was. */
  jumps = 0;
  order = 0;
  /** What was asked of hubs and has no answer yet. */
  readonly asked = new Set<{ readonly what: string; readonly process: Process }>();
  readonly #known = new Map<string, Known>();
  readonly #links = new Map<string, number>();
  #keys = 0;

  constructor(seed: number) {
    const chance = createChance(seed);
    this.chance = chance;
    this.options = {
      window: chance.pick([1, 1, 3]),
      concurrency: chance.pick([1, 2, 4]),
      prepares: chance.odds(0.5),
      plainTells: chance.odds(0.5),
      pokes: chance.odds(0.5),
    };
    const ids = { near: ['aa', 'ab'], far: ['ba', 'bb'] } as const;
    const other = { near: 'far', far: 'near' } as const;
    const hubOf = (name: HubName): Hub =>
      new Hub({
        name,
        id: ids[name][0].repeat(16),
        lxmf: ids[name][1].repeat(16),
        seed: seed * 2 + hubNames.indexOf(name),
        clock: this.clock,
        rooms: { trio: { members: [...peers, 'app:app', 'sms:lamp'] } },
        routes: ['lxmf:*', 'app:*'].map(from => ({ from, to: [`lxmf:${ids[other[name]][1].repeat(16)}`] })),
        bridges: process => bridgesOf(this, () => this.hubs[name], process),
      });
    this.hubs = { near: hubOf('near'), far: hubOf('far') };
    for (const address of [...peers, ...hubNames.map(name => `lxmf:${ids[name][1].repeat(16)}`)]) {
      this.sides.set(address, new FarSide(address, true));
    }
    for (const address of phones) {
      this.sides.set(address, new FarSide(address, false));
    }
    this.readers = { near: new Reader(this, 'near'), far: new Reader(this, 'far') };
    this.societies = { near: new Society(this.hubs.near), far: new Society(this.hubs.far) };
  }

  tell(line: string): void {
    this.trace.push(`${(this.clock.monotonic() / 1000).toFixed(3).padStart(10)}  ${line}`);
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  /** An address or an id as a trace shows it. */
  short(word: string): string {
    const hub = hubNames.find(name => word === `lxmf:${this.hubs[name].options.lxmf}`);
    return (
      hub ??
      (schemeOf(word) === 'lxmf' ? nameOf(word).slice(0, 2) : schemeOf(word) === '' ? word.slice(-6) : word)
    );
  }

  /** ms of the world since it began, whatever its clocks say. */
  get elapsed(): number {
    return this.clock.monotonic();
  }

  newKey(delivery: string): string {
    this.#keys += 1;
    return `${this.short(delivery)}/${this.#keys}`;
  }

  known(delivery: string): Known {
    return this.#known.getOrInsertComputed(delivery, () => ({
      attempts: 0,
      left: 0,
      key: undefined,
      leftSinceAsked: 0,
      asked: 0,
      isHeld: false,
      isUnderway: false,
      stale: new Set(),
      told: undefined,
    }));
  }

  sideOf(to: Address): FarSide {
    const side = this.sides.get(to);
    assert.ok(side, `nobody has ${to}`);
    return side;
  }

  poisonOf(side: FarSide, words: string): 'refused' | 'breaks' | undefined {
    return this.poison.get(`${side.address} ${words}`);
  }

  /** Whether a new attempt may begin at all. */
  mayBegin(hub: Hub, process: Process, delivery: Delivery, known: Known): void {
    const what = `${hub.name}: an attempt of ${this.short(delivery.id)} to ${this.short(delivery.to)}`;
    assert.ok(!known.isHeld, `${what}, which is ambiguous`);
    assert.notEqual(delivery.message.from, delivery.to, `${what}, who said it`);
    const society = this.societies[hub.name as HubName];
    assert.ok(!society.isBlocked(delivery.to), `${what}, who is blocked`);
    const isOut = known.asked === 0 && society.isOut(delivery.message, delivery.to);
    assert.ok(!isOut, `${what}, who is out of the room`);
    const row = process.store.read.delivery(delivery.id);
    assert.ok(row, `${what}, which is not kept`);
    assert.equal(row.recipient, delivery.to);
    if (this.jumps === 0) {
      assert.ok(row.expires_at > process.clock.now(), `${what}, whose time is over`);
    }
  }

  /** When what takes so long arrives: a link keeps its order. */
  inOrder(hub: string, to: Address, transit: number): number {
    const link = `${hub} ${to}`;
    const at = Math.max(this.#links.get(link) ?? 0, this.elapsed + transit);
    this.#links.set(link, at);
    return at;
  }

  /** A packet reaches its far side; whether that has it now. */
  async arrive(hub: Hub, side: FarSide, packet: Packet): Promise<boolean> {
    const name = hubNames.find(one => side.address === `lxmf:${this.hubs[one].options.lxmf}`);
    if (name === undefined) {
      side.hear(packet, hub.name);
      return true;
    }
    const port = this.hubs[name].process?.ports.get('lxmf');
    if (port === undefined) {
      return false;
    }
    try {
      await port.accept({
        remoteId: packet.key,
        from: `lxmf:${hub.options.lxmf}`,
        to: side.address,
        type: packet.type,
        text: packet.text,
        via: [...packet.via, hub.options.id],
        assurance: 'signed',
      });
      side.hear(packet, hub.name);
      return true;
    } catch (error) {
      this.allow(error, perhapsLater);
      return false;
    }
  }

  /** What a far side says of a delivery in its own time, to whatever process is there then. */
  say(hub: Hub, bridge: string, delivery: string): void {
    this.clock.after(this.chance.below(3000), () => {
      const port = hub.process?.ports.get(bridge);
      if (port !== undefined) {
        this.tell(`${hub.name}: word that ${this.short(delivery)} was delivered`);
        const state = this.chance.pick(['delivered', 'delivered', 'read'] as const);
        port.report(delivery, { state }).catch(error => this.allow(error, perhapsLater));
      }
    });
  }

  /** Whatever does not hold inside a bridge must not be taken for a failure of the far side. */
  watched<T>(work: Promise<T>): Promise<T> {
    work.catch(error => {
      if (error instanceof assert.AssertionError) {
        this.failure ??= error;
      }
    });
    return work;
  }

  allow(error: unknown, codes: readonly ErrorCode[]): void {
    if (!isGatewayError(error, ...codes)) {
      this.failure ??= error;
    }
  }

  /** Asks a hub for something without waiting; an answer that comes after its process has ended never does. */
  ask<T>(
    hub: HubName,
    what: string,
    request: (process: Process) => Promise<T>,
    { answered, codes = [], refused }: Answers<T> = {},
  ): void {
    const { process } = this.hubs[hub];
    if (process?.owner === undefined) {
      return;
    }
    const question = { what, process };
    this.asked.add(question);
    this.count(what);
    let answer: Promise<T>;
    try {
      answer = request(process);
    } catch (error) {
      answer = Promise.reject(error);
    }
    answer
      .then(
        value => process.isAlive && answered?.(value, process),
        error => {
          if (process.isAlive) {
            this.allow(error, [...perhapsLater, ...codes]);
            this.tell(`${hub}: ${what} is refused: ${codeOf(error)}`);
            refused?.(codeOf(error), process);
          }
        },
      )
      .catch(error => {
        this.failure ??= error;
      })
      .finally(() => this.asked.delete(question));
  }

  client(process: Process, name: 'owner' | 'app'): Client {
    const client =
      name === 'owner' ? process.owner : process.desk.clients.list().find(one => one.name === 'app');
    assert.ok(client, `${name} is not known any more`);
    return client;
  }

  /** Lets time pass until something is done. */
  async drive<T>(work: Promise<T>, what: string): Promise<T> {
    let isDone = false;
    const done = work.finally(() => {
      isDone = true;
    });
    done.catch(() => {});
    for (let turn = 0; !isDone; turn++) {
      assert.ok(turn < 30_000, `${what} never ended`);
      await this.clock.advance(turn < 100 ? 1 : 10);
    }
    return await done;
  }

  /** What a look from outside must find at any time. */
  observe(): void {
    if (this.failure !== undefined) {
      throw this.failure;
    }
    for (const name of hubNames) {
      const { disk } = this.hubs[name];
      this.societies[name].observe();
      for (const id of disk.ambiguous()) {
        const known = this.known(id);
        known.isHeld = known.told?.isAlive !== true;
      }
    }
  }
}

/** What waits must say why, but for a moment: states are written behind what they tell. */
export async function askWhy(world: World): Promise<void> {
  const first = silent(world);
  if (first.length > 0) {
    await world.clock.advance(3000);
    const still = silent(world).filter(one => first.includes(one));
    assert.deepEqual(still, [], 'nobody knows why they wait');
  }
}

function silent(world: World): readonly string[] {
  return hubNames.flatMap(name => {
    const { process, disk } = world.hubs[name];
    if (process?.owner === undefined || !disk.isWell) {
      return [];
    }
    const held = process.desk.deliveries.list(process.owner, { state: 'ambiguous', limit: 200 }).items;
    assert.deepEqual(
      new Set(held.map(({ id }) => id)),
      new Set(disk.ambiguous()),
      `${name}: what is ambiguous is not shown`,
    );
    return process.desk.deliveries
      .list(process.owner, { limit: 200 })
      .items.filter(({ id, state, reason }) => {
        const isSilent = state === 'queued' && reason === undefined;
        return isSilent && !world.known(id).isUnderway;
      })
      .map(({ id, to }) => `${name}: ${world.short(id)} to ${world.short(to)}`);
  });
}

interface Answers<T> {
  readonly answered?: (value: T, process: Process) => void;
  /** Refusals that are right. */
  readonly codes?: readonly ErrorCode[];
  readonly refused?: (code: string, process: Process) => void;
}
