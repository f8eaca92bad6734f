import assert from 'node:assert/strict';
import { equal, toHex, utf8 } from '../../src/lib/bytes.ts';
import { codeOf, isGatewayError } from '../../src/lib/errors.ts';
import { encodeMessage } from '../../src/mesh/lxmf/message.ts';
import { ManualClock } from './clock.ts';
import { audience, type Plan, planFifty } from './fifty-plan.ts';
import type { SimNode } from './node.ts';
import { seededRandom } from './random.ts';

/** A message that a program wants to get across, whatever happens. */
interface Letter {
  readonly from: number;
  readonly to: number;
  readonly id: string;
  readonly packed: Uint8Array;
  readonly content: Uint8Array;
  readonly since: number;
  delivered: boolean;
  /** What became of each attempt, for whoever looks for a bug. */
  readonly story: string[];
}

/** Bytes of an unstructured Resource between two servers, likewise. */
interface Cargo {
  readonly from: number;
  readonly to: number;
  readonly data: Uint8Array;
  delivered: boolean;
  readonly story: string[];
}

export interface HourReport {
  readonly letters: number;
  readonly cargoes: number;
  readonly attempts: number;
  /** Messages that were handed up more than once, because their proof was lost. */
  readonly repeats: number;
  /** Messages that were taken before anybody found their sender's announce. */
  readonly unverified: number;
  /** Ways that went in a circle at the end: from where, to where. */
  readonly circles: readonly string[];
  readonly kills: number;
  readonly cuts: number;
  readonly packets: number;
  /** ms of mesh time until all was delivered. */
  readonly until: number;
}

const minute = 60_000;
const announceEvery = 20 * minute;
const calmAt = 46 * minute;
/** ms in which what was lost is announced again: no oftener than announces may be passed on. */
const announces = 2.1 * announceEvery;
const serverCount = 8;

/**
 * An hour of the mesh of fifty: announces, messages between random pairs, Resources, and meanwhile connections that
 * break, cells that hear nothing, a mesh in two halves, and nodes that are killed and come back. Throws where what
 * should arrive does not, arrives changed, or where something is left behind.
 */
export async function runFiftyNodes(seed: number): Promise<HourReport> {
  const clock = new ManualClock();
  const random = seededRandom(seed);
  const plan = planFifty(clock, random, seed);
  const hour = new Hour(clock, random, plan);
  return hour.run();
}

class Hour {
  readonly #clock: ManualClock;
  readonly #random: ReturnType<typeof seededRandom>;
  readonly #plan: Plan;
  readonly #letters: Letter[] = [];
  readonly #cargoes: Cargo[] = [];
  readonly #servers: number[];
  /** Who heard whose announce from the air, not as an answer: listener, then LXMF destination. */
  readonly #heard: Set<string>[];
  readonly #stop = new AbortController();
  #circlesSeen: string[] = [];
  #attempts = 0;
  #kills = 0;
  #cuts = 0;

  constructor(clock: ManualClock, random: ReturnType<typeof seededRandom>, plan: Plan) {
    this.#clock = clock;
    this.#random = random;
    this.#plan = plan;
    this.#heard = plan.nodes.map(() => new Set<string>());
    // Hubs and leaves: what is between them is fast enough for more than a message.
    this.#servers = Array.from({ length: serverCount }, (_, at) => (at < 4 ? at : 38 + (at % 6)));
  }

  async run(): Promise<HourReport> {
    const { nodes, strangers } = this.#plan;
    for (let at = 0; at < nodes.length; at++) {
      this.#listen(at);
      this.#clock.after(this.#within(5 * minute), () => this.#announceOften(at));
    }
    for (const one of strangers) {
      this.#every(
        () => announceEvery / 2 + this.#within(minute),
        calmAt,
        () => one.announce(),
      );
    }
    await this.#clock.advance(8 * minute);
    this.#every(
      () => 15_000,
      45 * minute,
      () => this.#write(),
    );
    this.#every(
      () => 100_000,
      40 * minute,
      () => this.#ship(),
    );
    this.#every(
      () => minute + this.#within(2 * minute),
      42 * minute,
      () => this.#harm(),
    );
    this.#clock.after(15 * minute, () => this.#halve());
    await this.#clock.advance(calmAt - 8 * minute);
    this.#heal();
    const all = [...this.#letters, ...this.#cargoes];
    const isDone = () => all.every(({ delivered }) => delivered);
    await this.#clock.advance(14 * minute);
    await this.#clock.advanceUntil(isDone, { step: 5000, limit: 45 * minute }).catch(() => {});
    const until = this.#clock.monotonic();
    for (const one of all) {
      assert.ok(one.delivered, `${one.from} to ${one.to} never arrived: ${one.story.join('; ')}`);
    }
    this.#checkInboxes();
    this.#circlesSeen = this.#circles();
    // An announce that is lost is lost: the next one has to do it.
    await this.#clock
      .advanceUntil(() => this.#unheard().length === 0, { step: minute, limit: announces })
      .catch(() => {});
    this.#checkAnnounces();
    await this.#comeToRest();
    return this.#report(until);
  }

  #within(ms: number): number {
    return this.#random.fraction() * ms;
  }

  #any(below: number): number {
    return Math.floor(this.#random.fraction() * below);
  }

  #every(gap: () => number, end: number, what: () => void): void {
    const again = () => {
      if (this.#clock.monotonic() < end) {
        what();
        this.#clock.after(gap(), again);
      }
    };
    this.#clock.after(gap(), again);
  }

  #listen(at: number): void {
    this.#plan.nodes[at]!.transport.onAnnounce(({ destinationHash, pathResponse }) => {
      if (!pathResponse) {
        this.#heard[at]!.add(toHex(destinationHash));
      }
    });
  }

  #announceOften(at: number): void {
    if (this.#stop.signal.aborted) {
      return;
    }
    const node = this.#plan.nodes[at]!;
    if (!node.signal.aborted) {
      this.#announce(at);
    }
    this.#clock.after(announceEvery + this.#within(minute), () => this.#announceOften(at));
  }

  #announce(at: number): void {
    const node = this.#plan.nodes[at]!;
    node.announce();
    if (this.#servers.includes(at)) {
      void node.transport.announce(node.destination);
    }
  }

  // ——— what is sent

  #write(): void {
    const { nodes, ports } = this.#plan;
    const from = this.#any(nodes.length);
    const to = (from + 1 + this.#any(nodes.length - 1)) % nodes.length;
    const slowest = (owner: number) =>
      Math.min(...ports.filter(port => port.owner === owner).map(({ bitrate }) => bitrate));
    const slow = Math.min(slowest(from), slowest(to)) < 5000;
    const kind = this.#random.fraction();
    const length = kind < 0.6 || slow ? this.#any(200) : kind < 0.9 ? this.#any(2000) : this.#any(20_000);
    const content = utf8(`${this.#letters.length} `.padEnd(length, 'x'));
    const { packed, id } = encodeMessage(
      {
        destination: nodes[to]!.address.hash,
        source: nodes[from]!.address.hash,
        timestamp: this.#clock.now() / 1000,
        title: new Uint8Array(),
        content,
        fields: new Map(),
      },
      nodes[from]!.disk.identity,
    );
    const since = this.#clock.monotonic();
    const letter = { from, to, id: toHex(id), packed, content, since, delivered: false, story: [] };
    this.#letters.push(letter);
    void this.#deliver(letter);
  }

  /** What an outbox does: again and again, at other times, until the peer has proven it. */
  async #deliver(letter: Letter): Promise<void> {
    await this.#persist(letter, async (from, again) => {
      await from.router.send(letter.packed, {
        signal: AbortSignal.any([from.signal, this.#stop.signal]),
        method: again ? 'direct' : 'any',
        pathPatience: 15_000,
      });
      assert.ok(this.#plan.nodes[letter.to]!.disk.inbox.has(letter.id), 'proven, but not there');
    });
  }

  #ship(): void {
    const from = this.#servers[this.#any(serverCount)]!;
    const to = this.#servers.filter(one => one !== from)[this.#any(serverCount - 1)]!;
    const data = this.#random.bytes(5000 + this.#any(60_000));
    const cargo: Cargo = { from, to, data, delivered: false, story: [] };
    this.#cargoes.push(cargo);
    void this.#persist(cargo, async node => {
      const there = this.#plan.nodes[to]!;
      await node.transport.requestPath(there.destination.hash);
      const before = there.heard.resources.length;
      const link = await node.openLink(there, node.signal);
      try {
        await link.sendResource(data, { signal: node.signal });
        const times = there.heard.resources.slice(before).filter(one => equal(one, data)).length;
        assert.equal(times, 1, 'a Resource that was proven came once');
      } finally {
        link.close();
      }
    });
  }

  async #persist(
    item: Letter | Cargo,
    attempt: (from: SimNode, again: boolean) => Promise<void>,
  ): Promise<void> {
    const from = this.#plan.nodes[item.from]!;
    for (let tries = 0; !item.delivered && !this.#stop.signal.aborted; tries++) {
      if (from.signal.aborted) {
        await this.#clock.sleep(5000);
        continue;
      }
      this.#attempts += 1;
      const life = from.lives;
      const killed = Promise.withResolvers<never>();
      const kill = () => killed.reject(from.signal.reason);
      from.signal.addEventListener('abort', kill, { once: true });
      killed.promise.catch(() => {});
      try {
        await Promise.race([attempt(from, tries > 0), killed.promise]);
        item.delivered = true;
        item.story.push(`${this.#at()} good`);
      } catch (error) {
        if (error instanceof assert.AssertionError) {
          throw error;
        }
        if (
          !isGatewayError(error) &&
          from.lives === life &&
          !from.signal.aborted &&
          !this.#stop.signal.aborted
        ) {
          throw error;
        }
        item.story.push(`${this.#at()} ${codeOf(error)}`);
        await this.#clock.sleep(
          Math.min(120_000, 10_000 * 2 ** Math.min(tries, 4)) * (0.5 + this.#within(0.5)),
        );
      } finally {
        from.signal.removeEventListener('abort', kill);
      }
    }
  }

  #at(): string {
    return `${(this.#clock.monotonic() / minute).toFixed(1)} min`;
  }

  // ——— what goes wrong

  #harm(): void {
    const { backbone, cells, nodes, cables } = this.#plan;
    const kind = this.#any(4);
    this.#cuts += kind < 3 ? 1 : 0;
    if (kind === 0) {
      this.#cut([backbone[this.#any(backbone.length)]!], minute + this.#within(3 * minute));
    } else if (kind === 1) {
      this.#cut([cables[this.#any(cables.length)]!], this.#within(minute));
    } else if (kind === 2) {
      const { ether, loss } = cells[this.#any(cells.length)]!;
      ether.loss = 1;
      this.#clock.after(this.#within(minute), () => {
        ether.loss = loss;
      });
    } else {
      this.#kill(this.#any(nodes.length));
    }
  }

  #kill(at: number): void {
    const node = this.#plan.nodes[at]!;
    if (node.signal.aborted) {
      return;
    }
    this.#kills += 1;
    node.kill();
    this.#clock.after(5000 + this.#within(90_000), () => {
      node.restart();
      this.#listen(at);
      this.#clock.after(1000, () => this.#announce(at));
    });
  }

  #cut(which: Plan['cables'], time: number): void {
    for (const cable of which) {
      cable.cut();
    }
    this.#clock.after(time, () => {
      for (const cable of which) {
        cable.join();
      }
    });
  }

  /** Hubs 1 to 4 on one side, the rest on the other. */
  #halve(): void {
    const side = (name: string) => ['to-1', 'to-2', 'to-3', 'to-4'].includes(name);
    const across = this.#plan.backbone.filter(({ ends: [a, b] }) => side(a.name) !== side(b.name));
    this.#cut(across, 4 * minute);
  }

  #heal(): void {
    for (const cable of this.#plan.cables) {
      cable.join();
    }
    for (const { ether, loss } of this.#plan.cells) {
      ether.loss = loss;
    }
  }

  // ——— what must hold

  #checkInboxes(): void {
    const { nodes } = this.#plan;
    for (const { from, to, id, content } of this.#letters) {
      const there = nodes[to]!.disk.inbox.get(id);
      assert.ok(
        there !== undefined && equal(there.message.message.content, content),
        `${from} to ${to}: changed`,
      );
    }
    const arrived = nodes.reduce((sum, { disk }) => sum + disk.inbox.size, 0);
    assert.equal(arrived, this.#letters.length, 'something arrived that nobody wrote');
  }

  /** From whom to whom a packet would go in a circle now: everybody on the way trusts the next. */
  #circles(): string[] {
    const { nodes } = this.#plan;
    const byId = new Map(nodes.map((node, at) => [toHex(node.transport.identity.hash), at]));
    return nodes.flatMap((target, to) =>
      nodes.flatMap((_, from) => {
        const seen = new Set<number>();
        let at: number | undefined = from;
        while (at !== undefined && at !== to && !seen.has(at)) {
          seen.add(at);
          const path: ReturnType<SimNode['transport']['path']> = nodes[at]!.transport.path(
            target.address.hash,
          );
          at = path === undefined || path.hops === 1 ? undefined : byId.get(toHex(path.nextHop));
        }
        return at !== undefined && at !== to ? [`${from} to ${to}`] : [];
      }),
    );
  }

  /** Who never heard of whom, though the rules say that announces get there. */
  #unheard(): string[] {
    const { nodes } = this.#plan;
    return nodes.flatMap((node, from) => {
      const hash = toHex(node.address.hash);
      const knows = (to: number) =>
        this.#heard[to]!.has(hash) || nodes[to]!.transport.path(node.address.hash) !== undefined;
      return [...audience(this.#plan, from).must].filter(to => !knows(to)).map(to => `${to} of ${from}`);
    });
  }

  #checkAnnounces(): void {
    const { nodes, strangers, meters } = this.#plan;
    assert.deepEqual(this.#unheard(), []);
    for (const [from, node] of nodes.entries()) {
      const { may } = audience(this.#plan, from);
      const hash = toHex(node.address.hash);
      for (const [to, heard] of this.#heard.entries()) {
        assert.ok(to === from || !heard.has(hash) || may.has(to), `${to} heard of ${from} against the rules`);
      }
      for (const stranger of strangers) {
        assert.equal(stranger.transport.recall(node.address.hash), undefined);
        assert.equal(node.transport.recall(stranger.address.hash), undefined);
      }
    }
    const [one, other] = strangers;
    assert.ok(one!.transport.recall(other!.address.hash) && other!.transport.recall(one!.address.hash));
    for (const meter of meters) {
      const worst = meter.worst();
      assert.ok(
        worst <= meter.cap * 1.0001,
        `${meter.name} at ${meter.bitrate} bit/s passed announces on for ${worst} of its time`,
      );
    }
  }

  /** Nobody sends any more: half an hour later nothing is under way, and no table holds more than is known. */
  async #comeToRest(): Promise<void> {
    this.#stop.abort();
    await this.#clock.advance(35 * minute);
    const { nodes, strangers } = this.#plan;
    const destinations = nodes.length + serverCount + strangers.length;
    for (const [at, node] of nodes.entries()) {
      const sizes = node.sizes();
      for (const name of transient) {
        assert.equal(sizes[name] ?? 0, 0, `${name} of ${at}`);
      }
      assert.ok(sizes.known! <= destinations && sizes.paths! <= destinations);
      assert.deepEqual(node.bugs, []);
      assert.equal(node.counters.get('internal'), 0);
    }
    for (const node of [...nodes, ...strangers]) {
      await node.close();
    }
  }

  #report(until: number): HourReport {
    const { nodes, meters } = this.#plan;
    const inboxes = nodes.flatMap(({ disk }) => [...disk.inbox.values()]);
    return {
      letters: this.#letters.length,
      cargoes: this.#cargoes.length,
      attempts: this.#attempts,
      repeats: inboxes.filter(({ times }) => times > 1).length,
      unverified: inboxes.filter(({ message }) => message.assurance === 'unverified').length,
      circles: this.#circlesSeen,
      kills: this.#kills,
      cuts: this.#cuts,
      packets: meters.reduce((sum, meter) => sum + meter.packets, 0),
      until,
    };
  }
}

/** What is of the moment: tables that must be empty in a mesh at rest. */
const transient = [
  'receipts',
  'path-requests',
  'path-searches',
  'path-answers',
  'rebroadcasts',
  'reverse',
  'transit-links',
  'links',
  'links-opening',
  'links-requested',
  'links-inbound',
  'resource-bytes',
  'unwritten',
  'lxmf-held',
  'lxmf-taking',
  'lxmf-links',
  'lxmf-backchannels',
  'lxmf-links-opening',
  'lxmf-peers-waited-for',
] as const;
