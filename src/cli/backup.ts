import { readFileSync, statSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFolder } from '../gateway/store/synced.ts';
import { GatewayError } from '../lib/errors.ts';
import { type Call, type Command, dataOf, print, refusal, targetOf, usage } from './call.ts';
import { bytesOf, openAnswer, readAnswer } from './connection.ts';

const backupUse = 'backup FILE [--recipient age1…,… | --passphrase-file FILE] [--no-blobs]';
const restoreUse =
  'restore FILE [--passphrase-file FILE | --identity FILE] [--data DIR] [--force] [--resend] [--check]';

/** One file that holds the hub. */
export const backupCommands: ReadonlyMap<string, Command> = new Map<string, Command>([
  [
    'backup',
    {
      words: backupUse.slice('backup '.length),
      does: 'everything the running hub keeps, in one file encrypted for age',
      run: backup,
    },
  ],
  [
    'restore',
    {
      words: restoreUse.slice('restore '.length),
      does: 'make a data folder of a backup; needs no running gateway, --check only reads it',
      run: restore,
    },
  ],
]);

async function backup(c: Call): Promise<number> {
  const [file, more] = c.words;
  const { recipient } = c.options;
  const passphrase = passphraseOf(c);
  if (file === undefined || more !== undefined || (passphrase === undefined) === (recipient === undefined)) {
    usage(backupUse);
  }
  const body = {
    ...(passphrase !== undefined && { passphrase }),
    ...(typeof recipient === 'string' && { recipients: recipient.split(',') }),
    blobs: c.options['no-blobs'] !== true,
  };
  const part = `${file}.part`;
  const target = await open(part, 'w', 0o600).catch(error => {
    throw unwritable(part, error);
  });
  let size = 0;
  try {
    const { bytes, estimated } = await download(c, body);
    const bar = progress('backup', estimated);
    for await (const chunk of bytes) {
      await target.writeFile(chunk);
      size += chunk.length;
      bar.show(size);
    }
    bar.end();
    await target.sync();
    await target.close();
    await rename(part, file);
    syncFolder(dirname(file));
  } catch (error) {
    await target.close().catch(() => undefined);
    await rm(part, { force: true });
    throw unwritable(part, error);
  }
  return await print(
    c,
    { file, size },
    `${file}: ${size} bytes. kosctl restore ${file} --check reads it through`,
  );
}

async function restore(c: Call): Promise<number> {
  const [file, more] = c.words;
  if (file === undefined || more !== undefined) {
    usage(restoreUse);
  }
  const { identity } = c.options;
  const passphrase = passphraseOf(c);
  const identities = typeof identity === 'string' ? identitiesOf(identity) : [];
  if ((passphrase === undefined) === (identities.length === 0)) {
    usage(restoreUse);
  }
  const total = statSync(file, { throwIfNoEntry: false })?.size;
  if (total === undefined) {
    throw new GatewayError('request/not-found', `${file} is not there`);
  }
  const bar = progress('restore', total);
  const source = { file, passphrase, identities, onProgress: bar.show };
  const { checkBackup, restoreBackup } = await import('../start/backup/restore.ts');
  if (c.options.check === true) {
    const { head, names, blobs } = await checkBackup(source);
    bar.end();
    const text = `${file} is whole: hub ${head.name} (${head.hub}) as of ${new Date(head.at).toISOString()}, ${names.length} files, ${blobs} blobs`;
    return await print(c, { head, files: names, blobs }, text);
  }
  const dir = dataOf(c);
  const { force, resend } = c.options;
  const done = await restoreBackup({
    ...source,
    dir,
    force: force === true,
    resend: resend === true,
    now: Date.now(),
  });
  bar.end();
  const { head, held, queued, writes, aside } = done;
  const lines = [
    `${dir} is hub ${head.name} (${head.hub}) as of ${new Date(head.at).toISOString()}`,
    ...(aside === undefined ? [] : [`what was there lies in ${dir}/${aside}`]),
    `deliveries that waited: ${queued} go on, ${held} are held as ambiguous, for they may have arrived since`,
    ...(writes === 0
      ? []
      : [`writes for cloud services that waited: ${writes}, taken for sent without an answer`]),
    'tokens that were revoked since are good again: kosctl token list',
    `a config file that was in the backup lies in ${dir}/restored-kos.yaml`,
  ];
  return await print(c, done, lines.join('\n'));
}

/** An error of the file system in words; others unchanged. */
function unwritable(path: string, error: unknown): unknown {
  const { syscall, message } = error as NodeJS.ErrnoException;
  return syscall === undefined
    ? error
    : new GatewayError('store/unavailable', `${path} cannot be written: ${message}`, { cause: error });
}

function passphraseOf(c: Call): string | undefined {
  const file = c.options['passphrase-file'];
  return typeof file === 'string' ? read(file).split(/\r?\n/)[0] : undefined;
}

/** The secret keys of a file as `age-keygen` writes it. */
function identitiesOf(file: string): string[] {
  const found = read(file)
    .split(/\r?\n/)
    .filter(line => line.startsWith('AGE-SECRET-KEY-'));
  if (found.length === 0) {
    throw new GatewayError('config/invalid', `${file} holds no key of age (AGE-SECRET-KEY-1…)`);
  }
  return found;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new GatewayError('config/invalid', `${file} cannot be read`, { cause });
  }
}

/** The backup as it comes. Throws `bridge/rejected` with the problem's words, `bridge/unavailable`, `wire/malformed`. */
async function download(
  c: Call,
  body: unknown,
): Promise<{ readonly bytes: AsyncIterable<Uint8Array>; readonly estimated: number }> {
  const target = targetOf(c);
  const response = await openAnswer(target, 'POST', '/v1/backup', body, c.signal);
  if (response.statusCode !== 200) {
    throw refusal(await readAnswer(target, response));
  }
  const estimated = response.headers['kos-estimated-size'];
  if (estimated === undefined) {
    response.destroy();
    throw new GatewayError('wire/malformed', 'the answer is no backup: is this a kOS gateway?');
  }
  return { bytes: bytesOf(target, response), estimated: Number(estimated) };
}

/** A bar on a terminal, on stderr. */
function progress(name: string, total: number) {
  const began = performance.now();
  const width = 30;
  let shown = 0;
  return {
    show(done: number) {
      const now = performance.now();
      if (process.stderr.isTTY !== true || now - shown < 100) {
        return;
      }
      shown = now;
      const share = total === 0 ? 0 : Math.min(1, done / total);
      const left = share === 0 ? 0 : ((now - began) / share) * (1 - share);
      const full = Math.floor(share * width);
      const mib = (done / 1024 / 1024).toFixed(1);
      process.stderr.write(
        `\r${name} [${'#'.repeat(full)}${'.'.repeat(width - full)}] ${mib} MiB, ${Math.ceil(left / 1000)} s left `,
      );
    },
    end() {
      if (process.stderr.isTTY === true) {
        process.stderr.write('\r\x1b[K');
      }
    },
  };
}
