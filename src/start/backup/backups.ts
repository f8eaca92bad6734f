import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import type { Backups } from '../../bridges/http/backup.ts';
import type { HubFacts } from '../../gateway/desk.ts';
import { backupFolder } from '../../gateway/store/restored.ts';
import type { Store } from '../../gateway/store/store.ts';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { backupFormat } from './manifest.ts';
import type { BackupOrder, BackupWord } from './worker.ts';

export interface BackupsParts {
  readonly data: string;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly hub: () => HubFacts;
  /** The config file, where there is one: kept in the backup for people. */
  readonly file: string | undefined;
}

/** Backups of the running hub, one at a time. */
export function createBackups(parts: BackupsParts): Backups {
  const { data, store, clock, log } = parts;
  let busy = false;
  return {
    async open({ passphrase, recipients = [], blobs = true }, signal) {
      if (busy) {
        throw new GatewayError('request/conflict', 'a backup is being made already', { retryable: true });
      }
      busy = true;
      const { id, name, version } = parts.hub();
      const at = clock.now();
      const order: BackupOrder = {
        dir: data,
        temporary: join(data, backupFolder),
        head: { format: backupFormat, version, hub: id, name, at, blobs },
        extra: configOf(parts.file),
        passphrase,
        recipients,
      };
      // A blob that the copied database names must not go before it is read.
      const held = store.blobs.hold();
      const worker = new Worker(new URL('./worker.ts', import.meta.url), {
        workerData: order,
        name: 'backup',
      });
      const words = wordsOf(worker);
      let ending: Promise<void> | undefined;
      /** However it ends, no copy is left. */
      const end = () => {
        ending ??= (async () => {
          signal.removeEventListener('abort', end);
          await worker.terminate();
          rmSync(order.temporary, { recursive: true, force: true });
          held[Symbol.dispose]();
          busy = false;
        })();
        return ending;
      };
      signal.addEventListener('abort', end, { once: true });
      if (signal.aborted) {
        // Whoever asked was gone before: nobody will read it, and nothing else would end it.
        void end();
      }
      try {
        const first = await words.next();
        if (first.value?.say !== 'ready') {
          throw failure(first.value);
        }
        log.info({ bytes: first.value.estimated, blobs }, 'a backup is being made');
        const bytes = (async function* () {
          try {
            for (;;) {
              worker.postMessage('pull');
              const { value } = await words.next();
              if (value?.say === 'end') {
                log.info({}, 'the backup is made');
                return;
              }
              if (value?.say !== 'bytes') {
                throw failure(value);
              }
              yield value.bytes;
            }
          } finally {
            await end();
          }
        })();
        const stamp = new Date(at).toISOString().slice(0, 16).replaceAll(/[-:]/g, '');
        return {
          name: `kos-${id.slice(0, 8)}-${stamp}.age`,
          estimated: first.value.estimated,
          bytes: Readable.from(bytes, { objectMode: false }),
        };
      } catch (error) {
        await end();
        throw error;
      }
    },
  };
}

function failure(word: BackupWord | undefined): GatewayError {
  return word?.say === 'failed'
    ? new GatewayError(word.code, word.reason, { retryable: word.code === 'store/full' })
    : new GatewayError('store/unavailable', 'the backup ended before it was whole', { retryable: true });
}

/** What the thread says, one by one, until it is gone. */
async function* wordsOf(worker: Worker): AsyncGenerator<BackupWord, undefined> {
  const waiting: BackupWord[] = [];
  let wake = () => {};
  let gone = false;
  worker.on('message', (word: BackupWord) => {
    waiting.push(word);
    wake();
  });
  worker.on('error', error => {
    waiting.push({ say: 'failed', code: 'internal', reason: String(error) });
    wake();
  });
  worker.on('exit', () => {
    gone = true;
    wake();
  });
  for (;;) {
    const word = waiting.shift();
    if (word !== undefined) {
      yield word;
    } else if (gone) {
      return undefined;
    } else {
      await new Promise<void>(resolve => {
        wake = resolve;
      });
    }
  }
}

/** The config file as it is; secrets lie in files of their own, which it names. */
function configOf(file: string | undefined): BackupOrder['extra'] {
  try {
    return file === undefined ? [] : [{ name: 'restored-kos.yaml', text: readFileSync(file, 'utf8') }];
  } catch {
    return [];
  }
}
