import { AccessCode } from '../../src/mesh/reticulum/access-code.ts';
import {
  type InterfaceMode,
  type InterfacePolicy,
  passesAnnounce,
} from '../../src/mesh/reticulum/interface-policy.ts';
import { AnnounceMeter } from './announce-meter.ts';
import { Cable } from './cable.ts';
import type { ManualClock } from './clock.ts';
import { Ether } from './ether.ts';
import { type Port, SimNode } from './node.ts';
import type { seededRandom } from './random.ts';

/**
 * Fifty nodes as a mesh of today has them, by a seed:
 *
 *     8 hubs on a ring of connections with two chords, some fast, some not the same both ways
 *     6 radio cells of five stations, one on each of six hubs, each hub's side in another mode; one with an access code
 *     6 leaves that dial the two hubs without a cell
 *     a chain of 6 radio hops that goes out from the last hub
 *     and beside them two strangers on the air of the cell with the access code, who know another one
 */
export interface Plan {
  readonly nodes: readonly SimNode[];
  readonly strangers: readonly SimNode[];
  readonly hubs: readonly SimNode[];
  readonly cables: readonly Cable[];
  /** The connections between hubs. */
  readonly backbone: readonly Cable[];
  readonly cells: readonly Cell[];
  readonly meters: readonly AnnounceMeter[];
  readonly ports: readonly PlannedPort[];
}

export interface Cell {
  readonly ether: Ether;
  readonly mode: InterfaceMode;
  readonly bitrate: number;
  readonly loss: number;
}

/** One interface of one node, and which others hear it. */
export interface PlannedPort {
  readonly owner: number;
  readonly policy: InterfacePolicy;
  readonly segment: number;
  readonly bitrate: number;
}

export const hubCount = 8;
const cellModes: readonly InterfaceMode[] = [
  'access-point',
  'roaming',
  'internal',
  'boundary',
  'gateway',
  'full',
];
const backboneModes: readonly InterfaceMode[] = ['full', 'point-to-point', 'gateway'];
const cellSize = 5;

export function planFifty(clock: ManualClock, random: ReturnType<typeof seededRandom>, seed: number): Plan {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random.fraction() * from.length)]!;
  const medium = { clock, random };
  const ports: PlannedPort[] = [];
  const meters: AnnounceMeter[] = [];
  const own: Port[][] = Array.from({ length: 50 }, () => []);
  const cables: Cable[] = [];
  const cells: Cell[] = [];
  let segments = 0;

  const plug = (owner: number, iface: Port['iface'], policy: InterfacePolicy, segment: number) => {
    const meter = new AnnounceMeter(iface, { now: () => clock.monotonic(), policy });
    meters.push(meter);
    own[owner]!.push({ iface: meter, policy });
    ports.push({ owner, policy, segment, bitrate: iface.bitrate });
  };
  const connect = (
    a: number,
    b: number,
    bitrates: readonly [number, number],
    modes: readonly [InterfaceMode, InterfaceMode],
  ): Cable => {
    const cable = new Cable([`to-${b}`, `to-${a}`], {
      ...medium,
      bitrates,
      latency: pick([5, 20, 80, 250]),
      jitter: 10,
      loss: pick([0, 0, 0.01]),
    });
    const segment = segments++;
    plug(a, cable.ends[0], { mode: modes[0] }, segment);
    plug(b, cable.ends[1], { mode: modes[1] }, segment);
    cables.push(cable);
    return cable;
  };

  const fast: readonly (readonly [number, number])[] = [
    [10_000_000, 10_000_000],
    [20_000_000, 1_000_000],
    [2_000_000, 256_000],
    [64_000, 512_000],
  ];
  const pairs = [...Array.from({ length: hubCount }, (_, at) => [at, (at + 1) % hubCount]), [0, 4], [2, 6]];
  const backbone = pairs.map(([a, b]) =>
    connect(a!, b!, pick(fast), [pick(backboneModes), pick(backboneModes)]),
  );

  const order = cellModes.toSorted(() => random.fraction() - 0.5);
  const code = (networkName: string) => new AccessCode({ networkName, passphrase: 'correct horse', size: 8 });
  for (const [hub, mode] of order.entries()) {
    const bitrate = mode === 'access-point' ? 1200 : pick([5000, 10_000, 20_000, 50_000]);
    const loss = 0.01 + random.fraction() * 0.04;
    const ether = new Ether({ ...medium, loss, duplication: 0.01, latency: 10, bitrate, mtu: 508 });
    const segment = segments++;
    const secret = mode === 'gateway' ? { accessCode: code('elm') } : {};
    plug(hub, ether.join('cell'), { mode, ...secret }, segment);
    for (let at = 0; at < cellSize; at++) {
      plug(hubCount + hub * cellSize + at, ether.join(`s${at}`), secret, segment);
    }
    cells.push({ ether, mode, bitrate, loss });
  }
  const leaves = hubCount + cellModes.length * cellSize;
  for (let at = 0; at < 6; at++) {
    connect(leaves + at, hubCount - 1 - (at % 2), pick(fast), ['full', 'gateway']);
  }
  const chain = leaves + 6;
  for (let at = 0; at < 6; at++) {
    connect(at === 0 ? hubCount - 1 : chain + at - 1, chain + at, [20_000, 20_000], ['full', 'full']);
  }

  const node = (at: number) =>
    new SimNode({
      clock,
      seed: seed * 100 + at,
      forwards: at < hubCount || at >= chain || (at < leaves && random.fraction() < 0.4),
      lxmf: true,
      ratchets: true,
      ahead: Math.round((random.fraction() - 0.5) * 600_000),
      ports: own[at]!,
    });
  const nodes = own.map((_, at) => node(at));
  const secretCell = cells.find(({ mode }) => mode === 'gateway')!;
  const strangers = [0, 1].map(
    at =>
      new SimNode({
        clock,
        seed: seed * 100 + 60 + at,
        forwards: true,
        lxmf: true,
        ports: [{ iface: secretCell.ether.join(`stranger-${at}`), policy: { accessCode: code('oak') } }],
      }),
  );
  return { nodes, strangers, hubs: nodes.slice(0, hubCount), cables, backbone, cells, meters, ports };
}

/**
 * Who hears announces of a node, by the rules of the modes: `may` by any way, and `must` by a way on which it makes
 * no difference over which interface it came first.
 */
export function audience(
  plan: Plan,
  from: number,
): { readonly must: Set<number>; readonly may: Set<number> } {
  const { ports, nodes } = plan;
  const sidesOf = (owner: number) => ports.filter(port => port.owner === owner);
  const heardBy = (port: PlannedPort) =>
    ports.filter(other => other.segment === port.segment && other.owner !== port.owner);
  /** Over which of its interfaces each may have heard it. */
  const heardOn = new Map<number, Set<PlannedPort>>([[from, new Set()]]);
  const leaves = (owner: number, out: PlannedPort, heard: PlannedPort | undefined) =>
    owner === from
      ? out.policy.mode !== 'access-point'
      : nodes[owner]!.options.forwards === true && passesAnnounce(out.policy, heard?.policy ?? {});
  const waiting = [from];
  for (let owner = waiting.pop(); owner !== undefined; owner = waiting.pop()) {
    const heard = owner === from ? [undefined] : [...heardOn.get(owner)!];
    for (const out of sidesOf(owner)) {
      if (!heard.some(one => leaves(owner, out, one))) {
        continue;
      }
      for (const listener of heardBy(out)) {
        const known = heardOn.getOrInsertComputed(listener.owner, () => new Set());
        if (listener.owner !== from && !known.has(listener)) {
          known.add(listener);
          waiting.push(listener.owner);
        }
      }
    }
  }
  const must = new Set<number>([from]);
  for (const owner of must) {
    const heard = owner === from ? [undefined] : [...heardOn.get(owner)!];
    for (const out of sidesOf(owner).filter(side => heard.every(one => leaves(owner, side, one)))) {
      for (const { owner: listener } of heardBy(out)) {
        must.add(listener);
      }
    }
  }
  must.delete(from);
  const may = new Set(heardOn.keys());
  may.delete(from);
  return { must, may };
}
