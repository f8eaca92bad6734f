import { createHash } from 'node:crypto';
import {
  createReadStream,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { Encrypter } from 'age-encryption';
import { storeError } from '../../gateway/store/database.ts';
import { type ErrorCode, GatewayError, isGatewayError } from '../../lib/errors.ts';
import {
  type BackupHead,
  type BackupManifest,
  belongs,
  databasesFirst,
  headName,
  manifestName,
} from './manifest.ts';
import { tarEnd, tarHeader, tarPadding, tarSize } from './tar.ts';

/*
 * The thread that makes a backup: it copies the databases while the hub writes on, and packs and encrypts as fast as somebody reads.
 * The event loop of the hub has nothing to do with it but to pass the bytes on, and memory holds a few chunks.
 */

export interface BackupOrder {
  readonly dir: string;
  /** Where copies of databases lie for a while: a folder only the owner may read, made and removed here. */
  readonly temporary: string;
  readonly head: BackupHead;
  /** Kept under this name beside the others; what it says is not in the data folder. */
  readonly extra: readonly { readonly name: string; readonly text: string }[];
  readonly passphrase?: string | undefined;
  readonly recipients: readonly string[];
}

/** From the thread: how much it will be, then bytes for each `pull`, then the end; or what went wrong. */
export type BackupWord =
  | { readonly say: 'ready'; readonly estimated: number }
  | { readonly say: 'bytes'; readonly bytes: Uint8Array }
  | { readonly say: 'end' }
  | { readonly say: 'failed'; readonly code: ErrorCode; readonly reason: string };

/** 64 MiB of memory for the time of a second: a hub has 512 MiB. */
const workFactor = 16;
/** Bytes beside the copies that must stay free. */
const spare = 32 * 1024 * 1024;
/** Bytes in one message to the hub. */
const chunkSize = 256 * 1024;
/** Pages copied in one step: all, because a step that others wrote in between begins anew. */
const allPages = 2 ** 31 - 1;

const order = workerData as BackupOrder;
const port = parentPort;

const say = (word: BackupWord) => port?.postMessage(word);

try {
  await run();
} catch (error) {
  const ours = storeError(error);
  const known = isGatewayError(ours, 'store/full', 'store/unavailable', 'config/invalid');
  say({ say: 'failed', code: known ? ours.code : 'internal', reason: (error as Error).message });
} finally {
  rmSync(order.temporary, { recursive: true, force: true });
  port?.close();
}

async function run(): Promise<void> {
  const names = readdirSync(order.dir).filter(
    name => belongs(name) && statSync(join(order.dir, name)).isFile(),
  );
  const databases = databasesFirst(names);
  requireRoom(databases);
  rmSync(order.temporary, { recursive: true, force: true });
  mkdirSync(order.temporary, { mode: 0o700 });
  for (const name of databases) {
    await copy(name);
  }
  const small = names
    .filter(name => !databases.includes(name))
    .map(name => ({ name, bytes: new Uint8Array(readFileSync(join(order.dir, name))) }));
  const extra = order.extra.map(({ name, text }) => ({ name, bytes: new TextEncoder().encode(text) }));
  const held = [...small, ...extra];
  let estimated = 0;
  for (const name of databases) {
    estimated += tarSize(statSync(join(order.temporary, name)).size);
  }
  for (const { bytes } of held) {
    estimated += tarSize(bytes.length);
  }
  for (const { size } of order.head.blobs ? blobs() : []) {
    estimated += tarSize(size);
  }
  const encrypter = new Encrypter();
  if (order.passphrase !== undefined) {
    encrypter.setScryptWorkFactor(workFactor);
    encrypter.setPassphrase(order.passphrase);
  }
  for (const recipient of order.recipients) {
    try {
      encrypter.addRecipient(recipient);
    } catch (cause) {
      throw new GatewayError('config/invalid', `${recipient.slice(0, 12)}… is no public key of age`, {
        cause,
      });
    }
  }
  const sealed = await encrypter.encrypt(
    ReadableStream.from(archive(databases, held)) as ReadableStream<Uint8Array>,
  );
  const pulls = pullsOf();
  say({ say: 'ready', estimated });
  let pending: Uint8Array[] = [];
  let length = 0;
  const flush = async () => {
    await pulls.next();
    say({ say: 'bytes', bytes: Buffer.concat(pending) });
    pending = [];
    length = 0;
  };
  for await (const chunk of sealed) {
    pending.push(chunk);
    length += chunk.length;
    if (length >= chunkSize) {
      await flush();
    }
  }
  if (length > 0) {
    await flush();
  }
  await pulls.next();
  say({ say: 'end' });
}

/** A copy of one database as it is at this moment, looked through: a backup of a damaged one is none. */
async function copy(name: string): Promise<void> {
  const source = new DatabaseSync(join(order.dir, name), { readOnly: true, timeout: 5000 });
  const target = join(order.temporary, name);
  try {
    await backup(source, target, { rate: allPages });
  } finally {
    source.close();
  }
  const made = new DatabaseSync(target);
  try {
    made.exec('PRAGMA journal_mode = DELETE; PRAGMA temp_store = MEMORY');
    const found = made.prepare('PRAGMA quick_check(1)').get()?.quick_check;
    if (found !== 'ok') {
      throw new GatewayError('store/unavailable', `${name} is damaged: ${found}. Nothing was backed up`);
    }
  } finally {
    made.close();
  }
}

function requireRoom(databases: readonly string[]): void {
  let needed = spare;
  for (const name of databases) {
    for (const suffix of ['', '-wal']) {
      needed += statSync(join(order.dir, name + suffix), { throwIfNoEntry: false })?.size ?? 0;
    }
  }
  const { bavail, bsize } = statfsSync(order.dir);
  if (bavail * bsize < needed) {
    const mib = Math.ceil(needed / 1024 / 1024);
    throw new GatewayError(
      'store/full',
      `a backup needs ${mib} MiB free beside the databases, for as long as it is made`,
    );
  }
}

async function* archive(
  databases: readonly string[],
  held: readonly { readonly name: string; readonly bytes: Uint8Array }[],
): AsyncGenerator<Uint8Array> {
  const { at } = order.head;
  const files: BackupManifest['files'] = [];
  const whole = function* (name: string, bytes: Uint8Array) {
    yield tarHeader(name, bytes.length, at);
    yield bytes;
    yield tarPadding(bytes.length);
  };
  const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value, null, 1));
  yield* whole(headName, text(order.head));
  for (const { name, bytes } of held) {
    yield* whole(name, bytes);
    files.push({ name, size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });
  }
  for (const name of databases) {
    const path = join(order.temporary, name);
    const { size } = statSync(path);
    const hash = createHash('sha256');
    yield tarHeader(name, size, at);
    for await (const chunk of createReadStream(path)) {
      hash.update(chunk);
      yield chunk as Uint8Array;
    }
    yield tarPadding(size);
    files.push({ name, size, sha256: hash.digest('hex') });
    rmSync(path);
  }
  const counted = { count: 0, bytes: 0 };
  for (const { name, size } of order.head.blobs ? blobs() : []) {
    yield tarHeader(name, size, at);
    for await (const chunk of createReadStream(join(order.dir, name))) {
      yield chunk as Uint8Array;
    }
    yield tarPadding(size);
    counted.count += 1;
    counted.bytes += size;
  }
  yield* whole(manifestName, text({ files, blobs: counted } satisfies BackupManifest));
  yield tarEnd;
}

function* blobs(): Generator<{ readonly name: string; readonly size: number }> {
  const root = join(order.dir, 'blobs');
  for (const first of readdirSync(root).filter(one => /^[0-9a-f]{2}$/.test(one))) {
    for (const second of readdirSync(join(root, first))) {
      for (const sha256 of readdirSync(join(root, first, second))) {
        const name = `blobs/${first}/${second}/${sha256}`;
        yield { name, size: statSync(join(order.dir, name)).size };
      }
    }
  }
}

/** One for each time that somebody wants bytes. */
async function* pullsOf(): AsyncGenerator<void> {
  let wanted = 0;
  let wake = () => {};
  port?.on('message', () => {
    wanted += 1;
    wake();
  });
  for (;;) {
    while (wanted === 0) {
      await new Promise<void>(resolve => {
        wake = resolve;
      });
    }
    wanted -= 1;
    yield;
  }
}
