import type { Clock } from '../lib/clock.ts';
import type { GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import type { ServiceHealth } from '../lib/service.ts';
import { neededToStart, sizeText } from './store/room.ts';
import type { Store } from './store/store.ts';

/** ms between two looks at the disk; while nothing can be kept. */
const lookEvery = 10_000;
const lookAgain = 2000;
/** Bytes below which it is said that the disk will be full soon. */
const littleRoom = 32 * 1024 * 1024;
/** Bytes written to see whether there is room again. */
const probeSize = 16 * 1024;

/**
 * Says that the disk is full or cannot be written, from the first write that met it until one is kept again, that there is
 * little left before that, and which databases are damaged. Until the signal.
 */
export async function watchDisk(
  parts: {
    readonly store: Store;
    readonly clock: Clock;
    readonly random: Random;
    readonly log: Log;
    readonly report: (health: ServiceHealth) => void;
  },
  signal: AbortSignal,
): Promise<void> {
  const { store, clock, random, log, report } = parts;
  /** What the last write met. */
  let met: GatewayError | undefined;
  /** What is said: a full disk that had room for something small is full all the same. */
  let trouble: GatewayError | undefined;
  let said: string | undefined;
  /** Databases that were damaged or have lost something, and the files that say so. */
  let aside: ReadonlyMap<string, string> = new Map();
  const tell = (name: string, health: Pick<ServiceHealth, 'state' | 'reason' | 'code'>) =>
    report({ name, since: clock.now(), bugs: 0, ...health });
  const say = (health: Pick<ServiceHealth, 'state' | 'reason' | 'code'>) => {
    // The amount changes all the time; what is said is that there is little.
    const word = `${health.state} ${health.code}`;
    if (word !== said && (said !== undefined || health.state !== 'up')) {
      tell('disk', health);
    }
    said = word;
  };
  const lookAside = () => {
    const asides = store.asides();
    const there = new Map(asides.map(({ database, file }) => [database, file]));
    for (const { database: name, file, reason } of asides) {
      if (there.get(name) === file && aside.get(name) !== file) {
        log.error({ file }, `${name}: ${reason}`);
        tell(name, { state: 'waiting', code: 'store/unavailable', reason });
      }
    }
    for (const name of aside.keys()) {
      if (!there.has(name)) {
        tell(name, { state: 'up' });
      }
    }
    aside = there;
  };
  const probe = () =>
    store.committer.commit('store.probe', { bytes: random.bytes(probeSize) }).catch(() => undefined);
  const look = async () => {
    const free = await store.freeBytes();
    if (met !== undefined || trouble?.code !== 'store/full' || free === undefined || free >= neededToStart) {
      trouble = met;
    }
    const left = free === undefined ? '' : `: ${sizeText(free)} free`;
    if (trouble?.code === 'store/full') {
      say({ state: 'waiting', code: trouble.code, reason: `no room to store anything${left}` });
    } else if (trouble !== undefined) {
      say({ state: 'waiting', code: trouble.code, reason: `nothing can be stored: ${trouble.message}` });
    } else if (free !== undefined && free < littleRoom) {
      say({ state: 'waiting', reason: `little room left on the disk of the data folder${left}` });
    } else {
      say({ state: 'up' });
    }
  };
  const stops = [
    store.committer.onTrouble(now => {
      met = now;
      trouble = now ?? trouble;
      void look();
    }),
    store.onDamage((file, reason) => {
      const advice = 'copy the data folder away, stop the gateway and put a backup back (kosctl restore)';
      tell(file, { state: 'waiting', code: 'store/unavailable', reason: `damaged: ${reason}; ${advice}` });
    }),
  ];
  try {
    while (!signal.aborted) {
      lookAside();
      if (trouble === undefined) {
        await store.keepBallast();
      }
      // A disk without room need not have been met by a message yet.
      const free = trouble === undefined ? await store.freeBytes() : 0;
      if (free !== undefined && free < neededToStart) {
        await probe();
      }
      await look();
      await clock.sleep(trouble === undefined ? lookEvery : lookAgain, signal).catch(() => undefined);
    }
  } finally {
    for (const stop of stops) {
      stop();
    }
  }
}
