import { readFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isHeld } from '../gateway/store/rewound.ts';
import { syncFolder } from '../gateway/store/synced.ts';
import { GatewayError, isGatewayError } from '../lib/errors.ts';
import { ask, type Call, type Command, dataOf, print, printable, refusal, targetOf, usage } from './call.ts';
import { bytesOf, openAnswer, readAnswer } from './connection.ts';
import { passphraseOf } from './passphrase.ts';
import { createProgress } from './progress.ts';

const backupUse = 'backup FILE [--recipient age1…,… | --passphrase-file FILE|-] [--no-blobs]';
const restoreUse =
  'restore FILE [--passphrase-file FILE|- | --identity FILE] [--data DIR] [--force] [--resend] [--check]';
const heldUse = 'restore --resume | restore --settle';

/** One file that holds the hub. */
export const backupCommands: ReadonlyMap<string, Command> = new Map<string, Command>([
  [
    'backup',
    {
      words: backupUse.slice('backup '.length),
      does: 'everything the running hub keeps, in one file encrypted for age; asks for a passphrase on a terminal',
      run: backup,
    },
  ],
  [
    'restore',
    {
      words: `${restoreUse.slice('restore '.length)} | --resume | --settle`,
      does: 'make a data folder of a backup; needs no running gateway, --check only reads it. Of a running one: --resume sends what is held since, --settle does not',
      run: restore,
    },
  ],
]);

async function backup(c: Call): Promise<number> {
  const [file, more] = c.words;
  const { recipient } = c.options;
  if (
    file === undefined ||
    more !== undefined ||
    (recipient !== undefined && 'passphrase-file' in c.options)
  ) {
    usage(backupUse);
  }
  const passphrase = recipient === undefined ? await passphraseOf(c, 'new') : undefined;
  if (recipient === undefined && passphrase === undefined) {
    usage(
      `${backupUse}\nWithout a terminal to ask at, --passphrase-file or KOS_PASSPHRASE_FILE must name it`,
    );
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
  const bar = createProgress('backup');
  let size = 0;
  try {
    bar.say('the databases are copied');
    const { bytes, estimated } = await download(c, body);
    for await (const chunk of bytes) {
      await target.writeFile(chunk);
      size += chunk.length;
      bar.show(size, estimated);
    }
    bar.say('written to the disk');
    await target.sync();
    await target.close();
    await rename(part, file);
    syncFolder(dirname(file));
  } catch (error) {
    await target.close().catch(() => undefined);
    await rm(part, { force: true });
    throw unwritable(part, error);
  } finally {
    bar.end();
  }
  return await print(
    c,
    { file, size },
    `${file}: ${size} bytes. kosctl restore ${file} --check reads it through`,
  );
}

async function restore(c: Call): Promise<number> {
  const [file, more] = c.words;
  const { identity, resume, settle, force, resend } = c.options;
  if (file === undefined && (resume === true) !== (settle === true)) {
    return await releaseHeld(c, resume === true);
  }
  if (file === undefined || more !== undefined || resume === true || settle === true) {
    usage(`${restoreUse}\n       kosctl ${heldUse}`);
  }
  // Before anybody is asked for anything: what the file is.
  const { backupHeader } = await import('../start/backup/unseal.ts');
  const { kinds, total } = await backupHeader(file);
  const identities = typeof identity === 'string' ? identitiesOf(identity) : [];
  const passphrase = kinds.includes('scrypt') ? await passphraseOf(c, 'known') : undefined;
  if (kinds.includes('scrypt') && passphrase === undefined) {
    usage(`${restoreUse}\n${file} has a passphrase: --passphrase-file or KOS_PASSPHRASE_FILE must name it`);
  }
  const bar = createProgress('restore');
  bar.say('opened');
  const source = { file, passphrase, identities, onProgress: (read: number) => bar.show(read, total) };
  const { checkBackup, restoreBackup } = await import('../start/backup/restore.ts');
  if (c.options.check === true) {
    const { head, names, blobs } = await checkBackup(source).finally(bar.end);
    const text = `${file} is whole: hub ${head.name} (${head.hub}) as of ${new Date(head.at).toISOString()}, ${names.length} files, ${blobs} blobs`;
    return await print(c, { head, files: names, blobs }, text);
  }
  const dir = dataOf(c);
  const done = await restoreBackup({
    ...source,
    dir,
    force: force === true,
    resend: resend === true,
    now: Date.now(),
    onStep: step => {
      if (!step.startsWith('read ')) {
        bar.say('put in place');
      }
    },
  }).finally(bar.end);
  const { head, held, queued, writes, aside } = done;
  const lines = [
    `${dir} is hub ${head.name} (${head.hub}) as of ${new Date(head.at).toISOString()}`,
    ...(aside === undefined ? [] : [`what was there lies in ${dir}/${aside}`]),
    `deliveries that waited: ${queued} go on, ${held} are held as ambiguous, for they may have arrived since`,
    ...(held === 0
      ? []
      : ['once the hub runs, kosctl restore --resume sends all of them, kosctl restore --settle none']),
    ...(writes === 0
      ? []
      : [`writes for cloud services that waited: ${writes}, taken for sent without an answer`]),
    'tokens that were revoked since are good again: kosctl token list',
    `a config file that was in the backup lies in ${dir}/restored-kos.yaml`,
    'stop the hub that the backup was made of before this one starts: two with one identity are one too many',
  ];
  return await print(c, done, lines.join('\n'));
}

/** What is held because the hub is of an earlier state is sent, or known not to be needed, all of it. */
async function releaseHeld(c: Call, send: boolean): Promise<number> {
  const released: string[] = [];
  const refused: { id: string; to: string; why: string }[] = [];
  let after = '';
  do {
    const page = await ask(c, 'GET', `/v1/deliveries?state=ambiguous&limit=200${after}`);
    const { items, cursor } = page.body as {
      items: { id: string; to: string; reason?: string }[];
      cursor: string | null;
    };
    for (const { id, to } of items.filter(item => isHeld(item.reason))) {
      try {
        await (send
          ? ask(c, 'POST', `/v1/deliveries/${id}/retry`)
          : ask(c, 'DELETE', `/v1/deliveries/${id}`));
        released.push(id);
      } catch (error) {
        if (!isGatewayError(error, 'bridge/rejected')) {
          throw error;
        }
        refused.push({ id, to, why: error.message });
      }
    }
    after = cursor === null ? '' : `&after=${encodeURIComponent(cursor)}`;
  } while (after !== '');
  const lines = [
    `${released.length} deliveries that were held ${send ? 'are sent' : 'are settled: they are not sent again'}`,
    ...refused.map(({ id, to, why }) => `  ${id} to ${printable(to)} stays: ${printable(why)}`),
  ];
  await print(c, { released, refused }, lines.join('\n'));
  return refused.length === 0 ? 0 : 1;
}

/** An error of the file system in words; others unchanged. */
function unwritable(path: string, error: unknown): unknown {
  const { syscall, message } = error as NodeJS.ErrnoException;
  return syscall === undefined
    ? error
    : new GatewayError('store/unavailable', `${path} cannot be written: ${message}`, { cause: error });
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
