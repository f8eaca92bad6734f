import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Limits } from './limits.ts';
import { retentionParts } from './store/retention.ts';
import type { Store } from './store/store.ts';

export interface SweepOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly limits: Limits;
}

/**
 * Forgets what is too old or too much: one small job of each part in turn, so that whatever comes in between waits for
 * no more than one, then blobs that nothing names. A part that fails does not keep the others from making room.
 */
export async function sweepOnce(options: SweepOptions, now: number, signal?: AbortSignal): Promise<void> {
  const { store, log, counters, limits } = options;
  for (let open = [...retentionParts]; open.length > 0; ) {
    const left: typeof open = [];
    for (const part of open) {
      if (signal?.aborted === true) {
        return;
      }
      try {
        const { more } = await store.committer.commit('retention.sweep', { part, now, limits });
        if (more) {
          left.push(part);
        }
      } catch (error) {
        counters.add('retention/failed');
        log.warn({ code: codeOf(error), part }, 'what is too old could not be removed');
      }
    }
    open = left;
  }
  try {
    await store.uploads.expire();
    await store.blobs.collect(now - limits.orphanAge, store.read.isBlobNamed);
  } catch (error) {
    counters.add('retention/failed');
    log.warn({ code: codeOf(error), part: 'blobs' }, 'what is too old could not be removed');
  }
}
