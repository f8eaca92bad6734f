import assert from 'node:assert/strict';
import { utf8 } from '../../src/lib/bytes.ts';
import { isGatewayError } from '../../src/lib/errors.ts';
import { encodeMessage } from '../../src/mesh/lxmf/message.ts';
import { Cable } from './cable.ts';
import { ManualClock } from './clock.ts';
import { Doorway } from './doorway.ts';
import { Ether } from './ether.ts';
import { SimNode } from './node.ts';
import { seededRandom } from './random.ts';

const minute = 60_000;
const hour = 60 * minute;

export interface LifeReport {
  readonly messages: number;
  readonly delivered: number;
  readonly visitors: number;
  /** Tables of the gateway at rest, after six hours and after a day. */
  readonly early: Readonly<Record<string, number>>;
  readonly late: Readonly<Record<string, number>>;
  /** The most there was of each. */
  readonly most: Readonly<Record<string, number>>;
}

/**
 * A day of a gateway: residents behind it on a radio, others behind another hub, messages and links between them all
 * the time, Resources now and then; visitors that nobody has seen before come over a listener or on the radio, talk,
 * and go; residents are switched off and on. It rests in the sixth hour and in the last: what it holds then must be
 * what there is to hold, and no more after a day than after a morning.
 */
export async function runDayOfLife(seed: number): Promise<LifeReport> {
  const clock = new ManualClock();
  const random = seededRandom(seed);
  const any = (below: number) => Math.floor(random.fraction() * below);
  const medium = { clock, random };
  let seeds = seed * 10_000;
  const ether = new Ether({ ...medium, loss: 0.02, latency: 10, bitrate: 20_000 });
  const doorway = new Doorway('door');
  const trunk = new Cable(['uplink', 'downlink'], { ...medium, latency: 40 });
  const gateway = new SimNode({
    clock,
    seed: seeds++,
    forwards: true,
    lxmf: true,
    ratchets: true,
    ports: [
      { iface: trunk.ends[0] },
      { iface: ether.join('gateway'), policy: { mode: 'roaming' } },
      { iface: doorway },
    ],
  });
  const far = [new Cable(['a', 'hub'], medium), new Cable(['b', 'hub'], medium)] as const;
  const hub = new SimNode({
    clock,
    seed: seeds++,
    forwards: true,
    lxmf: true,
    ports: [{ iface: trunk.ends[1] }, { iface: far[0].ends[0] }, { iface: far[1].ends[0] }],
  });
  const make = (iface: SimNode['options']['ports']) =>
    new SimNode({ clock, seed: seeds++, lxmf: true, ratchets: true, ports: iface ?? [] });
  const residents = [
    make([{ iface: far[0].ends[1] }]),
    make([{ iface: far[1].ends[1] }]),
    ...Array.from({ length: 4 }, (_, at) => make([{ iface: ether.join(`resident-${at}`) }])),
    gateway,
  ];

  const most: Record<string, number> = {};
  let quiet = false;
  let messages = 0;
  let delivered = 0;
  let visitors = 0;
  const write = (from: SimNode, to: SimNode) => {
    messages += 1;
    const length = any(10) === 0 ? 3000 : any(150);
    const { packed } = encodeMessage(
      {
        destination: to.address.hash,
        source: from.address.hash,
        timestamp: clock.now() / 1000,
        title: new Uint8Array(),
        content: utf8(`${messages} `.padEnd(length, 'x')),
        fields: new Map(),
      },
      from.disk.identity,
    );
    from.router.send(packed, { signal: AbortSignal.any([from.signal, to.signal]) }).then(
      () => {
        delivered += 1;
      },
      (error: unknown) => {
        if (!isGatewayError(error) && !from.signal.aborted && !to.signal.aborted) {
          throw error;
        }
      },
    );
  };
  const often = (gap: () => number, what: () => void) => {
    const again = () => {
      if (!quiet) {
        what();
      }
      clock.after(gap(), again);
    };
    clock.after(gap(), again);
  };
  const alive = () => residents.filter(({ signal }) => !signal.aborted);
  const visit = () => {
    visitors += 1;
    const onRadio = any(3) === 0;
    const line = new Cable([`visitor-${visitors}`, 'hub'], { ...medium, latency: 30 });
    const visitor = make([{ iface: onRadio ? ether.join(`visitor-${visitors}`) : line.ends[1] }]);
    if (!onRadio) {
      doorway.admit(line.ends[0]);
    }
    clock.after(2000, () => visitor.announce());
    for (let said = 0; said < 3; said++) {
      const other = alive()[any(alive().length)]!;
      clock.after(10_000 + any(2 * minute), () => write(visitor, other));
      clock.after(minute + any(4 * minute), () => write(other, visitor));
    }
    clock.after(10_000, () => {
      void visitor.transport.requestPath(random.bytes(16)).catch(() => {});
    });
    clock.after(5 * minute + any(20 * minute), () => {
      visitor.kill();
      line.cut();
      ether.leave(`visitor-${visitors}`);
    });
  };

  for (const node of [...residents, hub]) {
    clock.after(any(minute), () => node.announce());
    often(
      () => 4 * hour + any(hour),
      () => node.signal.aborted || node.announce(),
    );
  }
  await clock.advance(2 * minute);
  often(
    () => minute + any(2 * minute),
    () => write(alive()[any(alive().length)]!, alive()[any(alive().length)]!),
  );
  often(() => 10 * minute + any(10 * minute), visit);
  often(
    () => 2 * hour,
    () => {
      const gone = residents[any(residents.length - 1)]!;
      gone.kill();
      clock.after(any(20 * minute), () => {
        gone.restart();
        clock.after(1000, () => gone.announce());
      });
    },
  );
  const run = async (until: number) => {
    while (clock.monotonic() < until) {
      await clock.advance(10 * minute);
      for (const [name, size] of Object.entries(gateway.sizes())) {
        most[name] = Math.max(most[name] ?? 0, size);
      }
    }
  };
  /** An hour without anybody, and what is left then. */
  const rest = async (until: number) => {
    quiet = true;
    await run(until);
    quiet = false;
    return gateway.sizes();
  };
  await run(5 * hour);
  const early = await rest(6 * hour);
  await run(23 * hour);
  const late = await rest(24 * hour);
  check(early, late, most, residents.length + 1, visitors);
  assert.deepEqual(gateway.bugs, []);
  assert.equal(gateway.counters.get('internal'), 0);
  for (const node of [...residents, hub]) {
    node.kill();
  }
  return { messages, delivered, visitors, early, late, most };
}

/** What only grows until its bound is reached, by design: who was ever heard of, and what not to take twice. */
const remembers: ReadonlySet<string> = new Set(['known', 'duplicates', 'path-request-tags']);
/** Paths to visitors on the radio hold for six hours, and their rates are watched as long as they may be one's. */
const lingers: ReadonlySet<string> = new Set(['paths', 'announce-rates', 'announced']);

function check(
  early: Readonly<Record<string, number>>,
  late: Readonly<Record<string, number>>,
  most: Readonly<Record<string, number>>,
  residents: number,
  visitors: number,
): void {
  assert.deepEqual(Object.keys(late), Object.keys(early));
  for (const [name, size] of Object.entries(late)) {
    if (lingers.has(name)) {
      assert.ok(size <= most[name]! && size <= residents + visitors / 3, `${name}: ${size} after a day`);
    } else if (!remembers.has(name)) {
      assert.equal(size, early[name], `${name} after a day, and after a morning`);
    }
  }
  assert.ok(late.known! <= residents + visitors, `${late.known} known of ${residents} and ${visitors}`);
  // 500,000 and 16,000 in each of two generations.
  assert.ok(late.duplicates! <= 1_000_000 && late['path-request-tags']! <= 32_000);
}
