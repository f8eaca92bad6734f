import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { GatewayError, isGatewayError } from '../../src/lib/errors.ts';
import type { Interface } from '../../src/mesh/interface.ts';
import { type Framing, hdlcFraming, kissFraming } from '../../src/radio/framing/framing.ts';
import { KissDeframer, kissFrame } from '../../src/radio/framing/kiss.ts';
import { openPipe } from '../../src/radio/pipe.ts';
import type { SerialLink } from '../../src/radio/serial.ts';
import { createKiss, createPipe, createSerial, type WiredParts } from '../../src/radio/wired.ts';
import type { KissOptions } from '../../src/radio/wired-config.ts';
import { interfaceContract, type Medium, packetOf, until } from '../contract/interface.ts';
import { ManualClock } from '../sim/clock.ts';

const lost = () => new GatewayError('radio/offline', 'unplugged', { retryable: true });

/** A line in memory, with its far end in hand. */
class Line {
  readonly written: Uint8Array[] = [];
  readonly #closed = Promise.withResolvers<GatewayError | undefined>();
  #listener = (_: Uint8Array) => {};
  #paused = false;
  #held: Uint8Array[] = [];
  onWrite = (_: Uint8Array) => {};

  readonly link: SerialLink = {
    path: '/dev/line',
    closed: this.#closed.promise,
    onData: listener => {
      this.#listener = listener;
    },
    write: async bytes => {
      this.written.push(new Uint8Array(bytes));
      this.onWrite(bytes);
    },
    pause: () => {
      this.#paused = true;
    },
    resume: () => {
      this.#paused = false;
      const held = this.#held;
      this.#held = [];
      for (const chunk of held) {
        this.say(chunk);
      }
    },
    close: async () => this.#closed.resolve(undefined),
  };

  say(chunk: Uint8Array): void {
    if (this.#paused) {
      this.#held.push(chunk);
    } else {
      this.#listener(chunk);
    }
  }

  cut(): void {
    this.#closed.resolve(lost());
  }
}

function medium(create: (parts: WiredParts) => Interface, framing: Framing): () => Promise<Medium> {
  return async () => {
    const lines: Line[] = [];
    const iface = create({
      clock: systemClock,
      counters: new Counters(),
      settling: 0,
      async open() {
        const line = new Line();
        lines.push(line);
        return line.link;
      },
    });
    let seen = 0;
    return {
      iface,
      async far() {
        await until(() => lines.length > seen);
        seen = lines.length;
        const line = lines.at(-1) as Line;
        const arrived: Uint8Array[] = [];
        const deframer = framing.deframer();
        line.onWrite = bytes => void arrived.push(...deframer.feed(bytes));
        return {
          arrived,
          send: (...packets) => {
            for (const packet of packets) {
              line.say(framing.frame(packet));
            }
          },
          cut: () => line.cut(),
        };
      },
      async [Symbol.asyncDispose]() {},
    };
  };
}

const serialLine = { speed: 4_000_000, dataBits: 8, parity: 'none', stopBits: 1, port: '/dev/line' } as const;
const tnc: KissOptions & { name: string } = {
  ...serialLine,
  name: 'tnc',
  bitrate: 1_000_000,
  preamble: 350,
  txTail: 20,
  persistence: 64,
  slotTime: 20,
  flowControl: false,
};

interfaceContract(
  'Serial',
  medium(parts => createSerial({ ...serialLine, name: 'wire' }, parts), hdlcFraming),
);
interfaceContract(
  'Kiss',
  medium(parts => createKiss(tnc, parts), kissFraming),
);

/** A program that carries bytes between its standard input and output and a socket of ours. */
const relay = `
  const socket = require('node:net').connect(Number(process.argv[1]), '127.0.0.1');
  process.stdin.pipe(socket).on('close', () => process.exit(1)).on('error', () => {});
  socket.pipe(process.stdout);
`;

interfaceContract('Pipe', async () => {
  const sockets: Socket[] = [];
  const server = createServer(socket => void sockets.push(socket.on('error', () => {}))).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const command = [process.execPath, '-e', relay, String(port)];
  const iface = createPipe(
    { name: 'child', bitrate: 1_000_000 },
    { clock: systemClock, counters: new Counters(), open: () => openPipe(command, systemClock) },
  );
  let seen = 0;
  return {
    iface,
    async far() {
      await until(() => sockets.length > seen);
      seen = sockets.length;
      const socket = sockets.at(-1) as Socket;
      const arrived: Uint8Array[] = [];
      const deframer = hdlcFraming.deframer();
      socket.on('data', (chunk: Buffer) => void arrived.push(...deframer.feed(new Uint8Array(chunk))));
      return {
        arrived,
        send: (...packets) => {
          for (const packet of packets) {
            socket.write(new Uint8Array(hdlcFraming.frame(packet)));
          }
        },
        cut: () => socket.destroy(),
      };
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) {
        socket.destroy();
      }
      server.close();
      await once(server, 'close');
    },
  };
});

describe('A pipe', () => {
  // What comes in on one line goes out on the other: a program in the middle, whose far end is in hand.
  const echo = ['sh', '-c', 'exec cat'];

  test('carries packets through a program, and says why it ended', async () => {
    const counters = new Counters();
    let command = echo;
    const iface = createPipe(
      { name: 'child', bitrate: 1_000_000 },
      { clock: systemClock, counters, open: () => openPipe(command, systemClock) },
    );
    const received: Uint8Array[] = [];
    const ready = Promise.withResolvers<void>();
    const stop = new AbortController();
    const running = iface.run(
      { ready: ready.resolve, attach() {}, receive: packet => void received.push(packet) },
      stop.signal,
    );
    await ready.promise;
    for (const length of [20, 500, 1000]) {
      await iface.send(packetOf(length));
    }
    await until(() => received.length === 3);
    assert.deepEqual(received, [20, 500, 1000].map(packetOf));
    stop.abort();
    await running;
    await assert.rejects(iface.send(packetOf(20)), { code: 'radio/offline' });

    command = ['sh', '-c', 'echo out of paper >&2; exit 3'];
    await assert.rejects(
      iface.run({ ready() {}, attach() {}, receive() {} }, new AbortController().signal),
      error => isGatewayError(error, 'radio/offline') && /sh ended with 3: out of paper/.test(error.message),
    );
    command = ['/nowhere/at-all'];
    await assert.rejects(
      iface.run({ ready() {}, attach() {}, receive() {} }, new AbortController().signal),
      error => isGatewayError(error, 'radio/device') && /no such program/.test(error.message),
    );
  });

  test('ends what a program has started when it is stopped', async () => {
    const link = await openPipe(['sh', '-c', 'sleep 1000 & echo $!; wait'], systemClock);
    let said = '';
    link.onData(chunk => {
      said += Buffer.from(chunk).toString();
    });
    await until(() => said.includes('\n'));
    const pid = Number(said);
    await link.close();
    await until(() => {
      try {
        process.kill(pid, 0);
        return false;
      } catch {
        return true;
      }
    });
  });

  test('of a program that does not listen to its end is ended all the same', async () => {
    const link = await openPipe(
      ['sh', '-c', 'trap "" TERM; echo up; while :; do sleep 0.1; done'],
      systemClock,
    );
    let said = '';
    link.onData(chunk => {
      said += Buffer.from(chunk).toString();
    });
    await until(() => said.includes('up'));
    await link.close();
  });
});

/** A TNC on a clock that stands still, run until the end of the test. */
async function onBench(options: Partial<KissOptions>) {
  const clock = new ManualClock();
  const counters = new Counters();
  const line = new Line();
  const iface = createKiss({ ...tnc, ...options }, { clock, counters, open: async () => line.link });
  const stop = new AbortController();
  const ready = Promise.withResolvers<void>();
  const received: Uint8Array[] = [];
  const running = iface.run(
    { ready: ready.resolve, attach() {}, receive: packet => void received.push(packet) },
    stop.signal,
  );
  await clock.advance(2000);
  await ready.promise;
  const deframer = new KissDeframer();
  const frames = () => line.written.splice(0).flatMap(bytes => deframer.feed(bytes));
  return {
    clock,
    counters,
    line,
    iface,
    received,
    frames,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

test('a TNC is set up before the first packet', async () => {
  await using bench = await onBench({
    preamble: 500,
    txTail: 2550,
    persistence: 255,
    slotTime: 10,
    flowControl: true,
  });
  assert.deepEqual(
    bench.frames().map(({ command, data }) => [command, data[0]]),
    [
      [1, 50],
      [4, 255],
      [2, 255],
      [3, 1],
      [15, 1],
    ],
  );
});

test('packets wait here while the air carries those before, and beyond a bound they are refused', async () => {
  await using bench = await onBench({ bitrate: 1200 });
  bench.frames();
  const first = bench.iface.send(packetOf(150));
  let second = false;
  void bench.iface.send(packetOf(150)).then(() => {
    second = true;
  });
  await bench.clock.advance(10);
  assert.equal(bench.frames().length, 1);
  assert.ok((bench.iface.backlog ?? 0) > 1900, `${bench.iface.backlog} ms`);
  await bench.clock.advance(1100);
  await first;
  await bench.clock.advance(10);
  assert.deepEqual([bench.frames().length, second], [1, false]);
  await bench.clock.advance(1100);
  assert.equal(second, true);
  const refused: unknown[] = [];
  for (let n = 0; n < 200; n++) {
    bench.iface.send(packetOf(500)).catch(error => refused.push(error));
  }
  await bench.clock.advance(1);
  assert.ok(refused.length > 50 && refused.every(error => isGatewayError(error, 'store/full')));
  assert.equal(bench.counters.get('radio/queue-full'), refused.length);
  await assert.rejects(bench.iface.send(new Uint8Array(565)), { code: 'mesh/too-large' });
});

test('with flow control the next packet waits until the TNC says that it is ready, or for five seconds', async () => {
  await using bench = await onBench({ flowControl: true });
  bench.frames();
  const sent = [
    bench.iface.send(packetOf(20)),
    bench.iface.send(packetOf(30)),
    bench.iface.send(packetOf(40)),
  ];
  await bench.clock.advance(100);
  assert.equal(bench.frames().length, 1);
  bench.line.say(kissFrame(15, Uint8Array.of(1)));
  await bench.clock.advance(100);
  assert.equal(bench.frames().length, 1);
  await bench.clock.advance(5000);
  assert.equal(bench.frames().length, 1);
  bench.line.say(kissFrame(15, Uint8Array.of(1)));
  await bench.clock.advance(10);
  await Promise.all(sent);
});

test('a beacon says who is sending, some time after something was sent and not before', async () => {
  await using bench = await onBench({ beacon: { callsign: 'N0CALL', every: 600 } });
  bench.frames();
  await bench.clock.advance(700_000);
  assert.deepEqual(bench.frames(), []);
  const sent = bench.iface.send(packetOf(20));
  await bench.clock.advance(100);
  await sent;
  bench.frames();
  await bench.clock.advance(600_000);
  const beacons = bench.frames();
  assert.deepEqual(
    beacons.map(({ command, data }) => [
      command,
      data.length,
      Buffer.from(data).toString().replace(/\0+$/, ''),
    ]),
    [[0, 15, 'N0CALL']],
  );
  await bench.clock.advance(700_000);
  assert.deepEqual(bench.frames(), [], 'a beacon is not followed by another of itself');
});

test('what a TNC says that is no packet is none, on any of its ports', async () => {
  await using bench = await onBench({});
  for (const command of [0x00, 0x10, 0x0f, 0x06, 0xf0]) {
    bench.line.say(kissFrame(command, packetOf(30)));
  }
  bench.line.say(Uint8Array.of(0xc0, 0x00, 0xdb, 0x01, 0xc0));
  assert.equal(bench.received.length, 3);
  assert.equal(bench.counters.get('wire/malformed'), 1);
});
