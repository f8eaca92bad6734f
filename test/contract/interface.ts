import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { isGatewayError } from '../../src/lib/errors.ts';
import type { Interface, InterfacePort } from '../../src/mesh/interface.ts';

/** The other end of what an interface carries, made by hand. */
export interface FarEnd {
  /** Puts packets on the medium, all at once. */
  send(...packets: readonly Uint8Array[]): void;
  /** Packets that arrived there, in order. */
  readonly arrived: readonly Uint8Array[];
  /** Breaks the medium. */
  cut(): void;
}

/** An interface and what it needs around it. */
export interface Medium extends AsyncDisposable {
  readonly iface: Interface;
  /** The far end of the connection that the interface has now, or gets. */
  far(): Promise<FarEnd>;
}

/**
 * What every Interface promises (src/mesh/interface.ts). One that listens is tested through the first
 * peer it finds.
 */
export function interfaceContract(name: string, make: () => Promise<Medium>): void {
  describe(`${name} as an Interface`, () => {
    test('is ready once, runs until it is told to stop, and leaves nothing open', async () => {
      const before = resources();
      {
        await using medium = await make();
        const running = new Running(medium.iface);
        await running.up(medium);
        assert.equal(running.ready, 1);
        await running.stop();
        assert.equal(running.failure, undefined);
      }
      for (let i = 0; i < 100 && resources().length > before.length; i++) {
        await turn();
      }
      assert.ok(resources().length <= before.length, `left open: ${resources()}, before: ${before}`);
    });

    test('does not begin where it was told to stop already', async () => {
      await using medium = await make();
      const running = new Running(medium.iface, AbortSignal.abort());
      await running.ended;
      assert.equal(running.failure, undefined);
      assert.equal(running.ready, 0);
    });

    test('refuses to send before it is up and after it stopped', async () => {
      await using medium = await make();
      await assert.rejects(medium.iface.send(packetOf(20)), { code: 'radio/offline' });
      const running = new Running(medium.iface);
      await running.up(medium);
      await running.stop();
      await assert.rejects(running.carrier.send(packetOf(20)), { code: 'radio/offline' });
    });

    test('carries packets of every length and byte whole and in order, both ways', async () => {
      await using medium = await make();
      const running = new Running(medium.iface);
      const far = await running.up(medium);
      const lengths = [20, 100, 500, 1000, 8192, 16_384].filter(length => length <= medium.iface.mtu);
      const packets = lengths.map(packetOf);
      for (const packet of packets) {
        await running.carrier.send(packet);
      }
      far.send(...packets);
      await until(() => far.arrived.length >= packets.length && running.received.length >= packets.length);
      assert.deepEqual(far.arrived, packets);
      assert.deepEqual(running.received, packets);
      await running.stop();
    });

    test('gives packets of which nobody changes the bytes afterwards', async () => {
      await using medium = await make();
      const running = new Running(medium.iface);
      const far = await running.up(medium);
      far.send(packetOf(200));
      await until(() => running.received.length === 1);
      for (let i = 0; i < 50; i++) {
        far.send(packetOf(499));
      }
      await until(() => running.received.length === 51);
      assert.deepEqual(running.received[0], packetOf(200));
      await running.stop();
    });

    test('gives the next packet only when the one before is dealt with', async () => {
      await using medium = await make();
      const running = new Running(medium.iface);
      const far = await running.up(medium);
      const held = Promise.withResolvers<void>();
      running.hold = held.promise;
      far.send(packetOf(30), packetOf(40), packetOf(50));
      await until(() => running.received.length > 0);
      far.send(packetOf(60));
      for (let i = 0; i < 20; i++) {
        await turn();
      }
      assert.equal(running.received.length, 1);
      running.hold = undefined;
      held.resolve();
      await until(() => running.received.length === 4);
      assert.deepEqual(running.received, [30, 40, 50, 60].map(packetOf));
      await running.stop();
    });

    test('rejects in words when the medium is lost, sends nothing then, and runs again', async () => {
      await using medium = await make();
      const first = new Running(medium.iface);
      (await first.up(medium)).cut();
      await first.lost;
      assert.ok(isGatewayError(first.failure, 'radio/offline', 'radio/device'), String(first.failure));
      assert.notEqual(first.failure.message, '');
      await assert.rejects(first.carrier.send(packetOf(20)), { code: 'radio/offline' });
      await first.stop();
      const second = new Running(medium.iface);
      const far = await second.up(medium);
      await second.carrier.send(packetOf(50));
      await until(() => far.arrived.length === 1);
      await second.stop();
      assert.equal(second.failure, undefined);
    });
  });
}

/** Runs an interface, and the peers it finds, as a node would. */
class Running {
  readonly ended: Promise<void>;
  /** Ends with the run of whatever carries packets. */
  lost: Promise<void>;
  readonly received: Uint8Array[] = [];
  ready = 0;
  failure: unknown;
  hold: Promise<void> | undefined;
  carrier: Interface;
  readonly #stop = new AbortController();
  readonly #found = Promise.withResolvers<void>();

  constructor(iface: Interface, signal?: AbortSignal) {
    this.carrier = iface;
    this.lost = this.#run(iface, signal ?? this.#stop.signal, iface.listens !== true);
    this.ended = this.lost;
  }

  /** Resolves when packets can cross. */
  async up(medium: Medium): Promise<FarEnd> {
    const far = await Promise.race([medium.far(), this.ended.then(() => undefined)]);
    if (far === undefined) {
      throw this.failure;
    }
    await this.#found.promise;
    return far;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.ended, this.lost]);
  }

  async #run(iface: Interface, signal: AbortSignal, carries: boolean): Promise<void> {
    const port: InterfacePort = {
      ready: () => {
        if (carries) {
          this.ready += 1;
          this.carrier = iface;
          this.#found.resolve();
        }
      },
      receive: packet => {
        this.received.push(packet);
        return this.hold;
      },
      attach: peer => {
        this.lost = this.#run(peer, signal, true);
      },
    };
    try {
      await iface.run(port, signal);
    } catch (error) {
      this.failure = error;
    }
  }
}

/** A packet of a length, with every byte there is, also those that framing escapes. */
export function packetOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 7 + length) & 0xff);
}

/** Waits for something that other tasks of this process bring about; what never comes is a failure, not a hang. */
export async function until(reached: () => boolean): Promise<void> {
  const end = performance.now() + 30_000;
  while (!reached()) {
    assert.ok(performance.now() < end, `did not come about within 30 s: ${reached}`);
    await turn();
  }
}

function resources(): string[] {
  return process
    .getActiveResourcesInfo()
    .filter(kind => /TCP|Pipe|UDP|TTY/.test(kind))
    .sort();
}
