import assert from 'node:assert/strict';
import { toHex } from '../../src/lib/bytes.ts';
import { encodeRandomBlob, signAnnounce } from '../../src/mesh/reticulum/announce.ts';
import { LocalDestination } from '../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../src/mesh/reticulum/identity.ts';
import { type InterfaceMode, interfaceModes } from '../../src/mesh/reticulum/interface-policy.ts';
import { contexts, decodePacket, encodePacket } from '../../src/mesh/reticulum/packet.ts';
import { encodePathRequest, pathRequestDestination } from '../../src/mesh/reticulum/path-request.ts';
import { AnnounceMeter } from './announce-meter.ts';
import { ManualClock } from './clock.ts';
import { SimNode } from './node.ts';
import { seededRandom } from './random.ts';
import { Source } from './source.ts';

const minute = 60_000;
const hour = 60 * minute;
const slowBitrate = 1200;

export interface BusyDay {
  readonly seed: number;
  /** Who announces as far nodes do: every few hours, and all again whenever some network comes back. */
  readonly destinations: number;
  /** ms between two announces of one of them, on average. */
  readonly every: number;
}

export interface DayReport {
  readonly announces: number;
  readonly passed: Readonly<Record<string, number>>;
  /** ms until an announce of a neighbour was passed on over every slow interface: the longest. */
  readonly slowest: number;
  readonly answers: number;
}

interface Announcer {
  readonly destination: LocalDestination;
  readonly hops: number;
  readonly via: Uint8Array | undefined;
}

/**
 * A day at a gateway with a fast connection to a large mesh and seven radios of 1,200 bit/s, one in each mode. A
 * thousand destinations announce, in bursts too, some of them far too often; people on the radios ask for paths all
 * the time; and five neighbours announce themselves now and then as they should.
 */
export async function runBusyDay({ seed, destinations, every }: BusyDay): Promise<DayReport> {
  const clock = new ManualClock();
  const random = seededRandom(seed);
  const net = new Source('net');
  const radios = interfaceModes.map(mode => {
    const source = new Source(`radio-${mode}`, { mtu: 508, bitrate: slowBitrate });
    const policy = { mode };
    return {
      mode,
      source,
      policy,
      meter: new AnnounceMeter(source, { now: () => clock.monotonic(), policy }),
    };
  });
  const answers = radios.map(() => [] as { readonly at: number; readonly onAir: number }[]);
  for (const [at, { source }] of radios.entries()) {
    source.onSent = packet => {
      const { packetType, context } = decodePacket(packet);
      if (packetType === 'announce' && context === contexts.pathResponse) {
        answers[at]!.push({ at: clock.monotonic(), onAir: (packet.length * 8000) / slowBitrate });
      }
    };
  }
  const gateway = new SimNode({
    clock,
    seed,
    forwards: true,
    ports: [{ iface: net }, ...radios.map(({ meter, policy }) => ({ iface: meter, policy }))],
  });
  await clock.advance(1000);

  let announces = 0;
  const announce = ({ destination, hops, via }: Announcer) => {
    announces += 1;
    const randomBlob = encodeRandomBlob(random.bytes(5), Math.floor(clock.now() / 1000));
    const packet = signAnnounce(destination, { randomBlob });
    void net.put(
      encodePacket(
        via === undefined
          ? packet
          : { ...packet, hops: hops - 1, transportId: via, propagation: 'transport' },
      ),
    );
  };
  const make = (hops: number, via: Uint8Array | undefined): Announcer => ({
    destination: new LocalDestination({
      identity: generateIdentity(random),
      appName: 'test',
      aspects: ['day'],
      appData: () => random.bytes(20),
    }),
    hops,
    via,
  });
  const relays = Array.from({ length: 6 }, () => random.bytes(16));
  const far = Array.from({ length: destinations }, (_, at) =>
    make(3 + Math.floor(random.fraction() * 8), relays[at % relays.length]),
  );
  const spammers = far.slice(0, 10);
  const neighbours = Array.from({ length: 5 }, () => make(1, undefined));

  const often = (gap: () => number, what: () => void) => {
    const again = () => {
      what();
      clock.after(gap(), again);
    };
    clock.after(gap(), again);
  };
  for (const one of far) {
    often(
      () => every * (0.5 + random.fraction()),
      () => announce(one),
    );
  }
  for (const one of spammers) {
    often(
      () => 10 * minute,
      () => announce(one),
    );
  }
  often(
    () => 6 * hour,
    () => {
      for (const one of far.slice(0, far.length / 2)) {
        clock.after(random.fraction() * 20_000, () => announce(one));
      }
    },
  );
  const told: { readonly key: string; readonly at: number }[] = [];
  for (const [at, one] of neighbours.entries()) {
    clock.after(at * 25 * minute, () =>
      often(
        () => 3 * hour,
        () => {
          told.push({ key: toHex(one.destination.hash), at: clock.monotonic() });
          announce(one);
        },
      ),
    );
  }
  for (const { source } of radios) {
    often(
      () => minute + random.fraction() * minute,
      () => {
        const wanted = far[Math.floor(random.fraction() * far.length)]!.destination.hash;
        const data = encodePathRequest({
          destinationHash: wanted,
          transportId: undefined,
          tag: random.bytes(16),
        });
        void source.put(
          encodePacket({
            hops: 0,
            transportId: undefined,
            contextFlag: false,
            propagation: 'broadcast',
            destinationType: 'plain',
            packetType: 'data',
            destinationHash: pathRequestDestination,
            context: contexts.none,
            data,
          }),
        );
      },
    );
  }

  await clock.advance(24 * hour);
  const sizes = gateway.sizes();
  const known = far.length + neighbours.length;
  assert.ok(sizes['announces-waiting']! <= radios.length * known, 'announces pile up');
  assert.ok(sizes.known! <= known && sizes.paths! <= known);
  assert.deepEqual(gateway.bugs, []);
  assert.equal(gateway.counters.get('internal'), 0);

  let slowest = 0;
  for (const { mode, meter } of radios) {
    checkShare(meter, mode);
    if (mode === 'access-point') {
      continue;
    }
    for (const { key, at } of told.filter(one => one.at < 24 * hour - 10 * minute)) {
      const first = meter.passed.find(one => one.destination === key && one.at >= at);
      assert.ok(first, `an announce of a neighbour never left over the ${mode} radio`);
      slowest = Math.max(slowest, first.at - at);
    }
    for (const { destination } of spammers) {
      const key = toHex(destination.hash);
      const times = meter.passed.filter(one => one.destination === key).length;
      // Six that are let pass, one an hour from then on, and each may leave twice.
      assert.ok(times <= 2 * (24 + 6), `one who announces every ten minutes was passed on ${times} times`);
    }
  }
  assert.ok(slowest < 3 * minute, `a neighbour waited ${slowest} ms behind the flood`);
  for (const of of answers) {
    // A tenth of the time and some at once: 4 kB.
    const atOnce = (4096 * 8000) / slowBitrate;
    for (let from = 0; from < 24 * hour; from += hour) {
      const onAir = of
        .filter(({ at }) => at >= from && at < from + hour)
        .reduce((sum, one) => sum + one.onAir, 0);
      assert.ok(onAir <= 0.1 * hour + atOnce, `answers took ${onAir} ms of an hour`);
    }
  }
  gateway.kill();
  return {
    announces,
    passed: Object.fromEntries(radios.map(({ mode, meter }) => [mode, meter.passed.length])),
    slowest: Math.round(slowest),
    answers: answers.reduce((sum, { length }) => sum + length, 0),
  };
}

/** In every window that begins with an announce, whatever its length, its share and one announce at the most. */
function checkShare(meter: AnnounceMeter, mode: InterfaceMode): void {
  if (mode === 'access-point') {
    assert.equal(meter.passed.length, 0, 'an announce was passed on over an access point');
    return;
  }
  const worst = meter.worst();
  assert.ok(worst <= meter.cap * 1.000_001, `announces took ${worst} of the ${mode} radio's time`);
  for (let from = 0; from < 24 * hour; from += 10 * minute) {
    const within = meter.passed.filter(({ at }) => at >= from && at < from + hour);
    const onAir = within.reduce((sum, one) => sum + one.onAir, 0);
    const longest = Math.max(0, ...within.map(one => one.onAir));
    assert.ok(
      onAir <= meter.cap * hour + longest,
      `${onAir} ms of announces within an hour over the ${mode} radio`,
    );
  }
  assert.ok(meter.passed.length > 500, `the share of the ${mode} radio lies idle`);
}
