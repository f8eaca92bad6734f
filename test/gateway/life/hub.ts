import type { Bridge, BridgePort } from '../../../src/gateway/bridge.ts';
import type { Client } from '../../../src/gateway/desk.ts';
import type { ConfiguredRooms } from '../../../src/gateway/room-book.ts';
import type { RouteRule } from '../../../src/gateway/route-rule.ts';
import type { Store } from '../../../src/gateway/store/store.ts';
import { createSwitch, type Switch } from '../../../src/gateway/switch.ts';
import type { Clock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { type ManualClock, sleepOn } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';
import { testHub, testOwnerToken } from '../fixture.ts';
import { createChance } from './chance.ts';
import { createDisk, type Disk } from './disk.ts';

/** The clock of one process: it stands for ever once that is dead, and nothing that was arranged by it happens. */
export function mortalClock(clock: ManualClock, isAlive: () => boolean): Clock {
  const began = clock.monotonic();
  const mortal: Clock = {
    now: () => clock.now(),
    monotonic: () => clock.monotonic() - began,
    after: (delay, callback) => clock.after(delay, () => isAlive() && callback()),
    sleep: (delay, signal) => sleepOn(mortal, delay, signal),
  };
  return mortal;
}

/** One run of a hub, from a start to a stop or to its sudden end. */
export interface Process {
  readonly number: number;
  isAlive: boolean;
  readonly clock: Clock;
  readonly store: Store;
  readonly desk: Switch['desk'];
  /** By the names of the bridges, once they run. */
  readonly ports: Map<string, BridgePort>;
  owner: Client;
  stop(): Promise<void>;
}

export interface HubOptions {
  readonly name: string;
  readonly id: string;
  readonly lxmf: string;
  readonly seed: number;
  readonly clock: ManualClock;
  readonly rooms: ConfiguredRooms;
  readonly routes: readonly RouteRule[];
  /** Made anew for each process. */
  readonly bridges: (process: Process) => readonly Bridge[];
}

/** A hub and its disk, and the process it runs in, if it runs. */
export class Hub {
  readonly options: HubOptions;
  readonly disk: Disk;
  process: Process | undefined;
  #starts = 0;

  constructor(options: HubOptions) {
    this.options = options;
    this.disk = createDisk(createChance(options.seed));
  }

  get name(): string {
    return this.options.name;
  }

  /** Resolves when its owner can act; the process is there before. */
  async start(): Promise<void> {
    const { clock: world, seed, id, lxmf, rooms, routes } = this.options;
    this.#starts += 1;
    const clock = mortalClock(world, () => process.isAlive);
    const store = this.disk.open(clock);
    const process = {
      number: this.#starts,
      isAlive: true,
      clock,
      store,
      ports: new Map(),
    } as unknown as Mutable<Process>;
    const hub = createSwitch({
      store,
      clock,
      random: seededRandom(seed * 1000 + this.#starts),
      log: silentLog,
      counters: new Counters(),
      hub: { ...testHub, id, lxmf },
      rooms,
      routes,
      bridges: this.options.bridges(process),
    });
    process.desk = hub.desk;
    this.process = process;
    await hub.desk.clients.ensureOwner({ given: testOwnerToken });
    process.owner = hub.desk.clients.authenticate(testOwnerToken).client as Client;
    const stopping = new AbortController();
    const running = hub.run(stopping.signal);
    process.stop = async () => {
      stopping.abort();
      await hub.close();
      await running;
      await store.committer.close();
      process.isAlive = false;
      if (this.process === process) {
        this.process = undefined;
      }
    };
  }

  /** Its power is cut: what is not on the disk by now never was. */
  kill(): void {
    if (this.process !== undefined) {
      this.process.isAlive = false;
      this.process = undefined;
    }
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
