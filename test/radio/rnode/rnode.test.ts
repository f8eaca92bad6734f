import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LoraChannel } from '../../../src/demo/lora-channel.ts';
import { RNodeEmulator } from '../../../src/demo/rnode-emulator.ts';
import { usualModel } from '../../../src/demo/rnode-firmware.ts';
import type { Clock } from '../../../src/lib/clock.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { supervise } from '../../../src/lib/service.ts';
import type { InterfacePort, Quality } from '../../../src/mesh/interface.ts';
import { planRadio, type RadioPlan, shippedRegions } from '../../../src/radio/region.ts';
import { byteFrame, commands } from '../../../src/radio/rnode/commands.ts';
import { packetTimeOnAir } from '../../../src/radio/rnode/lora.ts';
import { RNode } from '../../../src/radio/rnode/rnode.ts';
import { interfaceContract, type Medium, packetOf } from '../../contract/interface.ts';
import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';

const choice = {
  region: 'eu868-p',
  bandwidth: 125_000,
  spreadingFactor: 8,
  codingRate: 5,
  antennaGain: 2.15,
};

function planOf(more: object = {}): RadioPlan {
  const plan = planRadio({ ...choice, ...more }, shippedRegions);
  assert.ok(!Array.isArray(plan));
  return plan;
}

/** A clock that runs faster than the machine's, so that packets at LoRa's speed need not be waited for. */
function fastClock(factor: number): Clock {
  return {
    now: () => systemClock.now() * factor,
    monotonic: () => systemClock.monotonic() * factor,
    sleep: (delay, signal) => systemClock.sleep(delay / factor, signal),
    after: (delay, callback) => systemClock.after(delay / factor, callback),
  };
}

/** One radio and its interface. */
function radio(
  clock: Clock,
  options: { more?: object; channel?: LoraChannel; name?: string; seed?: number } = {},
) {
  const random = seededRandom(options.seed ?? 1);
  const { name = 'lora' } = options;
  const channel = options.channel ?? new LoraChannel({ clock, random });
  const emulator = new RNodeEmulator({ name, channel, clock, random });
  const counters = new Counters();
  const iface = new RNode(
    { name, port: '/dev/radio', plan: planOf(options.more) },
    { clock, log: silentLog, counters, open: () => emulator.open() },
  );
  return { channel, emulator, iface, counters };
}

async function contractMedium(): Promise<Medium> {
  const { emulator, iface, channel } = radio(fastClock(60));
  const arrived: Uint8Array[] = [];
  let part: Uint8Array | undefined;
  const sniffer = channel.join({
    name: 'sniffer',
    x: 1,
    y: 0,
    hear(frame) {
      const data = frame.subarray(1);
      if ((frame[0]! & 1) === 0) {
        arrived.push(data);
      } else if (part === undefined) {
        part = data;
      } else {
        arrived.push(new Uint8Array([...part, ...data]));
        part = undefined;
      }
    },
  });
  const { settings, txPower } = planOf();
  sniffer.tune({ ...settings, txPower }, 0);
  return {
    iface,
    far: async () => ({
      arrived,
      send(...packets) {
        for (const packet of packets) {
          emulator.inject({ command: commands.data, data: packet });
        }
      },
      cut: () => emulator.unplug(),
    }),
    async [Symbol.asyncDispose]() {
      emulator.close();
    },
  };
}

interfaceContract('an RNode', contractMedium);

/** Lets simulated time pass while the machine looks at its files. */
async function eventually(clock: ManualClock, predicate: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !predicate(); i++) {
    await clock.advance(50);
    await systemClock.sleep(1);
  }
  assert.ok(predicate());
}

/** Runs an interface and notes what it does. */
function running(iface: RNode, receive: (packet: Uint8Array, quality?: Quality) => void = () => {}) {
  const stop = new AbortController();
  const state = { ready: 0, failure: undefined as unknown, stop: () => stop.abort() };
  const port: InterfacePort = { ready: () => void state.ready++, receive, attach() {} };
  const ended = iface.run(port, stop.signal).catch(error => {
    state.failure = error;
  });
  return Object.assign(state, { ended });
}

describe('an RNode', () => {
  test('carries packets of one and of two frames to another, with how well they were heard', async () => {
    const clock = new ManualClock();
    const a = radio(clock, { name: 'a' });
    const b = radio(clock, { name: 'b', channel: a.channel, seed: 2 });
    const heard: [Uint8Array, Quality | undefined][] = [];
    const runA = running(a.iface);
    const runB = running(b.iface, (packet, quality) => void heard.push([packet, quality]));
    await clock.advanceUntil(() => runA.ready + runB.ready === 2);
    for (const length of [30, 254, 255, 500, 508]) {
      void a.iface.send(packetOf(length));
    }
    await clock.advanceUntil(() => heard.length === 5);
    assert.deepEqual(
      heard.map(([packet]) => packet),
      [30, 254, 255, 500, 508].map(packetOf),
    );
    const [, quality] = heard[0]!;
    assert.ok(quality?.rssi !== undefined && quality.rssi > -25 && quality.snr === 13);
    assert.equal(a.channel.log.length, 2 + 3 * 2);
    assert.equal(a.iface.bitrate, 3125);
    const spent = a.iface.airtime().usedMs;
    assert.ok(
      Math.abs(spent - a.channel.airtime().a!) < 5,
      `${spent} counted, ${a.channel.airtime().a} on the air`,
    );
    runA.stop();
    runB.stop();
    await Promise.all([runA.ended, runB.ended]);
    a.emulator.close();
    b.emulator.close();
    await clock.advance(600_000);
    assert.equal(clock.waiting, 0);
  });

  test('refuses what the law has no room for, and its radio knows the same limit', async () => {
    const clock = new ManualClock();
    const { iface, emulator, channel } = radio(clock, { more: { airtimeLimit: 0.1 } });
    const run = running(iface);
    await clock.advanceUntil(() => run.ready === 1);
    assert.equal(emulator.state.settings.longLimit, 10);
    const outcomes: string[] = [];
    for (let i = 0; i < 6; i++) {
      void iface.send(packetOf(500)).then(
        () => outcomes.push('taken'),
        error => outcomes.push(error.code),
      );
      await clock.advance(20_000);
    }
    assert.deepEqual(outcomes, [
      'taken',
      'taken',
      'airtime/exhausted',
      'airtime/exhausted',
      'airtime/exhausted',
      'airtime/exhausted',
    ]);
    assert.ok(channel.airtime().lora! <= 3600);
    assert.ok((iface.hold(100, 'normal')?.delay ?? 0) > 3_000_000);
    const { until: wait } = iface.airtime();
    assert.ok(wait !== undefined && wait > clock.now());
    await clock.advance(wait - clock.now());
    assert.equal(iface.hold(100, 'normal'), undefined);
    assert.deepEqual(iface.hold(100_000, 'normal'), { delay: undefined });
    run.stop();
    await run.ended;
    emulator.close();
  });

  test('sends announces after everything else, and lets no burst of them use up what others need', async () => {
    const clock = new ManualClock();
    const { iface, emulator, channel } = radio(clock, { more: { airtimeLimit: 1 } });
    const run = running(iface);
    await clock.advanceUntil(() => run.ready === 1);
    const announce = packetOf(200);
    announce[0] = 1;
    const packet = packetOf(100);
    packet[0] = 0;
    for (let i = 0; i < 5; i++) {
      void iface.send(announce);
    }
    void iface.send(packet);
    await clock.advance(20_000);
    const sizes = channel.log.map(({ bytes }) => bytes);
    assert.deepEqual(sizes.slice(0, 3), [101, 201, 201]);
    let refused = 0;
    for (let i = 0; i < 60; i++) {
      void iface.send(announce).catch(() => void refused++);
      await clock.advance(5000);
    }
    assert.ok(refused > 20);
    assert.ok(iface.airtime().usedMs < 18_000);
    await iface.send(packet);
    run.stop();
    await run.ended;
    emulator.close();
  });

  test('serves others in turns with us, and lets them neither fill its line nor use up its airtime', async () => {
    const clock = new ManualClock();
    const { iface, emulator, channel } = radio(clock);
    const run = running(iface);
    await clock.advanceUntil(() => run.ready === 1);
    let refused = 0;
    for (let i = 0; i < 100; i++) {
      iface.send(packetOf(250), 'relayed').catch(() => void refused++);
    }
    for (let i = 0; i < 5; i++) {
      void iface.send(packetOf(100), 'own');
    }
    await clock.advance(20_000);
    assert.ok(refused > 70, `${refused} refused`);
    const sizes = channel.log.map(({ bytes }) => bytes);
    assert.deepEqual(sizes.slice(0, 8), [251, 101, 251, 101, 251, 101, 251, 101]);
    for (let i = 0; i < 600; i++) {
      void iface.send(packetOf(250), i % 2 === 0 ? 'relayed' : 'hearsay').catch(() => {});
      await clock.advance(1000);
    }
    const { usedMs, budgetMs } = iface.airtime();
    assert.ok(usedMs > 0.38 * budgetMs && usedMs < 0.43 * budgetMs, `${usedMs} of ${budgetMs}`);
    await iface.send(packetOf(200), 'announce');
    run.stop();
    await run.ended;
    emulator.close();
  });

  test('lets an announce of its own wait however many of others come', async () => {
    const clock = new ManualClock();
    const { iface, emulator, channel } = radio(clock);
    const run = running(iface);
    await clock.advanceUntil(() => run.ready === 1);
    const ours = iface.send(packetOf(222), 'announce');
    for (let i = 0; i < 50; i++) {
      void iface.send(packetOf(180), 'hearsay').catch(() => {});
    }
    await clock.advance(60_000);
    await ours;
    assert.ok(channel.log.some(({ bytes }) => bytes === 223));
    run.stop();
    await run.ended;
    emulator.close();
  });

  test('holds back what the radio has no room for, and loses none of it', async () => {
    const clock = new ManualClock();
    const random = seededRandom(1);
    const channel = new LoraChannel({ clock, random });
    const emulator = new RNodeEmulator({
      name: 'lora',
      channel,
      clock,
      random,
      model: { ...usualModel, queue: 1 },
    });
    const counters = new Counters();
    const iface = new RNode(
      { name: 'lora', port: 'x', plan: planOf() },
      { clock, log: silentLog, counters, open: () => emulator.open() },
    );
    const run = running(iface);
    await clock.advanceUntil(() => run.ready === 1);
    for (let i = 0; i < 6; i++) {
      void iface.send(Uint8Array.of(0, ...packetOf(99 + i)));
    }
    await clock.advance(30_000);
    assert.deepEqual(
      channel.log.map(({ bytes }) => bytes),
      [101, 102, 103, 104, 105, 106],
    );
    assert.ok(counters.get('radio/queue-full') > 0);
    run.stop();
    await run.ended;
    emulator.close();
  });

  test('takes only as much as can be sent while somebody waits for it', async () => {
    const clock = new ManualClock();
    const { iface, emulator } = radio(clock);
    const run = running(iface);
    await clock.advanceUntil(() => run.ready === 1);
    const codes: string[] = [];
    for (let i = 0; i < 60; i++) {
      void iface.send(packetOf(500)).catch(error => codes.push(error.code));
    }
    await clock.advance(0);
    const most = Math.floor(45_000 / packetTimeOnAir(500, planOf().settings));
    assert.ok(
      codes.length >= 60 - most - 3 && codes.every(code => code === 'store/full'),
      String(codes.length),
    );
    run.stop();
    await run.ended;
    emulator.close();
  });

  test('says which port, and what is wrong with it', async () => {
    const clock = new ManualClock();
    const { emulator } = radio(clock);
    const iface = new RNode(
      { name: 'lora', port: 'x', plan: planOf({ txPower: 27 }) },
      { clock, log: silentLog, counters: new Counters(), open: () => emulator.open() },
    );
    const run = running(iface);
    await clock.advance(10_000);
    await run.ended;
    assert.ok(run.failure instanceof GatewayError);
    assert.equal(run.failure.code, 'radio/device');
    assert.equal(
      run.failure.message,
      'lora: the RNode does not take the settings: power 22 dBm instead of 27 dBm',
    );
  });

  test('is turned off when the gateway lets go of it', async () => {
    const clock = new ManualClock();
    const { iface, emulator } = radio(clock);
    const run = running(iface);
    await clock.advanceUntil(() => run.ready === 1);
    assert.equal(emulator.state.on, true);
    assert.equal(iface.facts().device, 'ESP32, firmware 1.86');
    assert.equal(iface.facts().port, 'lora');
    run.stop();
    await run.ended;
    assert.equal(emulator.state.on, false);
    assert.deepEqual(iface.facts(), { ...planOf().settings, txPower: 14 });
  });

  test('unplugged and plugged 30 times at any moment, comes back by itself each time and leaves nothing', async () => {
    const clock = new ManualClock();
    const random = seededRandom(7);
    const { iface, emulator } = radio(clock, { seed: 7 });
    const stop = new AbortController();
    const states: string[] = [];
    const reasons = new Set<string>();
    const service = {
      name: 'lora',
      run: (ready: () => void, signal: AbortSignal) =>
        iface.run({ ready, receive() {}, attach() {} }, signal),
    };
    const life = supervise(service, {
      clock,
      random,
      log: silentLog,
      signal: stop.signal,
      onChange(health) {
        states.push(health.state);
        if (health.reason) {
          reasons.add(health.reason);
        }
        assert.equal(health.bugs, 0, String(health.reason));
      },
    });
    for (let i = 0; i < 30; i++) {
      await clock.advance(random.fraction() * 4000);
      for (let j = 0; j < 3; j++) {
        iface.send(packetOf(500)).catch(() => {});
      }
      await clock.advance(random.fraction() * 2000);
      if (random.fraction() < 0.3) {
        emulator.inject(byteFrame(commands.reset, 0xf8));
      } else {
        emulator.unplug();
      }
    }
    await clock.advanceUntil(() => states.at(-1) === 'up');
    assert.ok(states.filter(state => state === 'up').length > 10);
    assert.deepEqual([...reasons].sort(), ['lora: the RNode restarted', 'lora: unplugged']);
    stop.abort();
    await life;
    emulator.close();
    await clock.advance(600_000);
    assert.equal(clock.waiting, 0);
  });
});

describe('a port that is looked for', () => {
  test('is the first that answers; others hear nothing but the question, and only once', async () => {
    const clock = new ManualClock();
    const { emulator } = radio(clock);
    const written: string[] = [];
    const gps = async () => ({
      path: '/dev/ttyUSB0',
      closed: new Promise<undefined>(() => {}),
      onData() {},
      write: async (bytes: Uint8Array) => void written.push(bytes.toHex()),
      pause() {},
      resume() {},
      async close() {},
    });
    const opened: string[] = [];
    let plugged = false;
    const iface = new RNode(
      { name: 'lora', port: 'auto', plan: planOf() },
      {
        clock,
        log: silentLog,
        counters: new Counters(),
        list: async () =>
          plugged ? ['/dev/busy', '/dev/ttyUSB0', '/dev/radio'] : ['/dev/busy', '/dev/ttyUSB0'],
        async open(path) {
          opened.push(path);
          if (path === '/dev/busy') {
            throw new GatewayError('radio/offline', '/dev/busy: in use by another program');
          }
          return path === '/dev/radio' ? emulator.open() : gps();
        },
      },
    );
    const first = running(iface);
    await eventually(clock, () => first.failure !== undefined);
    assert.ok(first.failure instanceof GatewayError);
    assert.equal(
      first.failure.message,
      'no RNode found: /dev/busy: in use by another program; /dev/ttyUSB0 does not answer like an RNode',
    );
    assert.deepEqual(new Set(written), new Set(['c00873c0']));
    plugged = true;
    const asked = written.length;
    const second = running(iface);
    await eventually(clock, () => second.ready === 1);
    assert.equal(written.length, asked);
    assert.ok(opened.includes('/dev/radio'));
    second.stop();
    await second.ended;
  });

  test('that is not there is told in words', async () => {
    const clock = new ManualClock();
    const iface = new RNode(
      { name: 'lora', port: 'auto', plan: planOf() },
      { clock, log: silentLog, counters: new Counters(), list: async () => [], open: () => Promise.reject() },
    );
    const run = running(iface);
    await run.ended;
    assert.match(
      String(run.failure),
      /no RNode found: no serial port in \/dev\/serial\/by-id, ttyACM\* or ttyUSB\*/,
    );
  });
});
