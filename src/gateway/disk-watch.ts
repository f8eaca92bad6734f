import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import type { ServiceHealth } from '../lib/service.ts';
import { sizeText } from './store/room.ts';
import type { Store } from './store/store.ts';

/** ms between two looks at the disk. */
const lookEvery = 10_000;
/** Bytes below which it is said that the disk will be full soon. */
const littleRoom = 32 * 1024 * 1024;
/** Bytes written to see whether there is room again. */
const probeSize = 16 * 1024;

/**
 * Says that the disk is full, from the first write that met it until there is room again, and before that when there
 * is little left. Until the signal.
 */
export async function watchDisk(
  parts: {
    readonly store: Store;
    readonly clock: Clock;
    readonly random: Random;
    readonly report: (health: ServiceHealth) => void;
  },
  signal: AbortSignal,
): Promise<void> {
  const { store, clock, random, report } = parts;
  let full = false;
  let said: string | undefined;
  const say = (health: Pick<ServiceHealth, 'state' | 'reason' | 'code'>) => {
    // The amount changes all the time; what is said is that there is little.
    const word = `${health.state} ${health.code}`;
    if (word !== said && (said !== undefined || health.state !== 'up')) {
      report({ name: 'disk', since: clock.now(), bugs: 0, ...health });
    }
    said = word;
  };
  const look = async () => {
    const free = await store.freeBytes();
    const left = free === undefined ? '' : `: ${sizeText(free)} free`;
    if (full) {
      say({ state: 'waiting', code: 'store/full', reason: `no room to store anything${left}` });
    } else if (free !== undefined && free < littleRoom) {
      say({ state: 'waiting', reason: `little room left on the disk of the data folder${left}` });
    } else {
      say({ state: 'up' });
    }
  };
  const stop = store.committer.onRoom(room => {
    full = !room;
    void look();
  });
  try {
    while (!signal.aborted) {
      if (full) {
        await store.committer
          .commit('store.probe', { bytes: random.bytes(probeSize) })
          .catch(() => undefined);
      }
      await look();
      await clock.sleep(lookEvery, signal).catch(() => undefined);
    }
  } finally {
    stop();
  }
}
