import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type KissFrame, kissFrame } from '../../../src/radio/framing/kiss.ts';
import { byteFrame, commands, u16Frame, u32Frame } from '../../../src/radio/rnode/commands.ts';
import {
  beforeOpen,
  type DeviceEffect,
  type DeviceState,
  deviceStep,
} from '../../../src/radio/rnode/device.ts';

const settings = {
  frequency: 869_525_000,
  bandwidth: 125_000,
  spreadingFactor: 8,
  codingRate: 5,
  txPower: 14,
  longLimit: 0.01,
};

/** The state machine with what it has done so far. */
function device() {
  let state: DeviceState = beforeOpen;
  let now = 0;
  const done: DeviceEffect[] = [];
  const step = (input: Parameters<typeof deviceStep>[1]) => {
    const [next, effects] = deviceStep(state, input, settings, now);
    state = next;
    done.push(...effects);
    return effects;
  };
  step({ on: 'opened' });
  return {
    done,
    get state() {
      return state;
    },
    hear: (...frames: KissFrame[]) => frames.flatMap(frame => step({ on: 'frame', frame })),
    pass(ms: number) {
      now += ms;
      return step({ on: 'time' });
    },
    /** Hex of what was written so far. */
    get written() {
      return done.flatMap(effect =>
        effect.do === 'write'
          ? effect.frames.map(({ command, data }) => kissFrame(command, data).toHex())
          : [],
      );
    },
    get failure() {
      const failed = done.find(effect => effect.do === 'fail');
      return failed?.do === 'fail' ? `${failed.code}: ${failed.message}` : undefined;
    },
  };
}

const isRNode = byteFrame(commands.detect, 0x46);
const identity = [
  { command: commands.firmware, data: Uint8Array.of(1, 86) },
  byteFrame(commands.platform, 0x80),
  byteFrame(commands.mcu, 0x81),
];
const readBack = [
  u32Frame(commands.frequency, 869_525_000),
  u32Frame(commands.bandwidth, 125_000),
  byteFrame(commands.txPower, 14),
  byteFrame(commands.spreadingFactor, 8),
  byteFrame(commands.codingRate, 5),
  u16Frame(commands.shortLimit, 0),
  // What the firmware makes of one percent in single precision.
  u16Frame(commands.longLimit, 99),
];
const on = byteFrame(commands.radioState, 1);

function onlineDevice() {
  const made = device();
  made.hear(isRNode, ...identity, ...readBack, on);
  assert.equal(made.state.at, 'online');
  return made;
}

describe('an RNode being set up', () => {
  test('is asked whether it is one, and nothing else is written before it says so', () => {
    const made = device();
    made.hear(byteFrame(commands.platform, 0x80), byteFrame(commands.detect, 0x73));
    made.pass(1000);
    made.pass(1000);
    assert.deepEqual(made.written, ['c00873c0', 'c00873c0', 'c00873c0']);
    made.hear(isRNode);
    assert.deepEqual(made.written.slice(3), ['c05000c0', 'c04800c0', 'c04900c0']);
  });

  test('is on when it has read every setting back, and says so once', () => {
    const made = device();
    made.hear(isRNode, ...identity);
    assert.deepEqual(made.written.slice(4), [
      'c00133d3e608c0',
      'c0020001e848c0',
      'c0030ec0',
      'c00408c0',
      'c00505c0',
      'c00b0000c0',
      'c00c0064c0',
      'c00601c0',
    ]);
    made.hear(...readBack);
    assert.equal(made.state.at, 'configuring');
    made.hear(on, on);
    assert.equal(made.done.filter(effect => effect.do === 'online').length, 1);
  });

  test('that gives no answer is given up within 6 s', () => {
    const made = device();
    for (let i = 0; i < 6; i++) {
      made.pass(1000);
    }
    assert.equal(
      made.failure,
      'radio/offline: no answer of an RNode: another device, or one without RNode firmware',
    );
  });

  test('with firmware that is too old is refused in words', () => {
    for (const [firmware, good] of [
      [[1, 51], false],
      [[1, 52], true],
      [[0, 99], false],
      [[2, 0], true],
    ] as const) {
      const made = device();
      made.hear(isRNode, { command: commands.firmware, data: Uint8Array.from(firmware) });
      assert.equal(made.state.at === 'identifying', good, firmware.join('.'));
      assert.ok(good || /its firmware is .*, at least 1.52 is needed/.test(made.failure ?? ''));
    }
  });

  test('that takes other settings than asked is refused with both', () => {
    const made = device();
    const weak = readBack.map(frame =>
      frame.command === commands.txPower ? byteFrame(frame.command, 10) : frame,
    );
    made.hear(isRNode, ...identity, ...weak, on);
    assert.equal(
      made.failure,
      'radio/device: the RNode does not take the settings: power 10 dBm instead of 14 dBm',
    );
    const near = device();
    near.hear(isRNode, ...identity, u32Frame(commands.frequency, 869_525_061), ...readBack.slice(1), on);
    assert.equal(near.state.at, 'online');
  });

  test('that says too little is given up with what is missing', () => {
    const made = device();
    made.hear(isRNode, ...identity, ...readBack.slice(0, 4), on);
    made.pass(4000);
    assert.match(made.failure ?? '', /no word of its coding rate, no word of its short airtime limit/);
  });

  test('that does not turn its radio on is refused', () => {
    const made = device();
    made.hear(isRNode, ...identity, ...readBack, byteFrame(commands.radioState, 0));
    assert.match(made.failure ?? '', /^radio\/device: the RNode does not turn its radio on/);
  });

  test('whose chip is broken says so', () => {
    const made = device();
    made.hear(isRNode, ...identity, byteFrame(commands.error, 1));
    assert.equal(made.failure, 'radio/device: the RNode says: its LoRa chip cannot be started');
  });
});

describe('an RNode that is on', () => {
  test('tells with each packet how well it was heard, and nothing of the one before', () => {
    const made = onlineDevice();
    const packet = Uint8Array.of(1, 2, 3);
    const effects = made.hear(
      byteFrame(commands.rssi, 157 - 92),
      byteFrame(commands.snr, 0xf6),
      { command: commands.data, data: packet },
      { command: commands.data, data: packet },
    );
    assert.deepEqual(effects, [
      { do: 'packet', packet, quality: { rssi: -92, snr: -2.5 } },
      { do: 'packet', packet, quality: {} },
    ]);
  });

  test('goes on where its complaint is small, and not where it is grave', () => {
    const made = onlineDevice();
    assert.deepEqual(made.hear(byteFrame(commands.error, 4)), [
      { do: 'complain', text: 'its queue is full' },
    ]);
    made.hear(byteFrame(commands.error, 2));
    assert.equal(made.failure, 'radio/device: the RNode says: sending failed');
  });

  test('that restarts, or turns itself off, has to be set up again', () => {
    for (const frame of [byteFrame(commands.reset, 0xf8), byteFrame(commands.radioState, 0)]) {
      const made = onlineDevice();
      made.hear(frame);
      assert.equal(made.state.at, 'failed');
    }
  });

  test('that falls silent is asked for a sign of life, and given up without one', () => {
    const made = onlineDevice();
    made.pass(60_000);
    assert.equal(made.written.at(-1), 'c00873c0');
    made.hear(isRNode);
    made.pass(59_999);
    made.pass(1);
    made.pass(45_000);
    assert.equal(made.failure, 'radio/offline: the RNode does not answer any more');
  });
});

test('whatever it hears, an RNode stays in a state there is, and failed is the end', () => {
  const frame = fc.record({
    command: fc.constantFrom(...Object.values(commands), 0x77),
    data: fc.uint8Array({ maxLength: 12 }),
  });
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 40 }), fc.boolean(), (frames, started) => {
      const made = started ? onlineDevice() : device();
      for (const one of frames) {
        const failed = made.state.at === 'failed';
        made.hear(one);
        made.pass(500);
        assert.ok(!failed || made.state.at === 'failed');
      }
    }),
  );
});
