import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import { type AgeHeader, longestAgeHeader, readAgeHeader } from './age-header.ts';

/** A backup, and what opens it. */
export interface BackupSource {
  readonly file: string;
  readonly passphrase?: string | undefined;
  /** `AGE-SECRET-KEY-1…` */
  readonly identities: readonly string[];
  /** Told of the bytes read so far. */
  readonly onProgress?: (bytes: number) => void;
}

/** Bytes read at once: one chunk of age, so that what was changed is known to within a few of them. */
const readSize = 64 * 1024;
/** Bytes before the first chunk, and of the tag after each. Source: C2SP age.md, "Payload". */
const nonceSize = 16;
const tagSize = 16;

interface Head extends AgeHeader {
  /** Bytes of the whole file. */
  readonly total: number;
}

/**
 * What the beginning of a file says of its encryption. Throws `request/not-found`, `store/unavailable` for what cannot be read,
 * and what `readAgeHeader` throws, with the name of the file.
 */
export async function backupHeader(file: string): Promise<Head> {
  const handle = await open(file, 'r').catch(cause => {
    throw unreadable(file, cause);
  });
  try {
    const stat = await handle.stat();
    if (stat.isDirectory()) {
      throw new GatewayError('request/invalid', `${file} is a folder, and no backup`);
    }
    const start = Buffer.alloc(longestAgeHeader);
    let length = 0;
    for (let read = -1; read !== 0 && length < start.length; length += read) {
      ({ bytesRead: read } = await handle.read(start, length, start.length - length, length));
    }
    return { ...readAgeHeader(start.subarray(0, length)), total: stat.size };
  } catch (cause) {
    if (isGatewayError(cause) && cause.code.startsWith('wire/')) {
      throw new GatewayError(cause.code, `${file} cannot be restored: ${cause.message}`, { cause });
    }
    throw isGatewayError(cause) ? cause : unreadable(file, cause);
  } finally {
    await handle.close();
  }
}

/**
 * The bytes inside a backup. Throws as `backupHeader` does; `request/invalid` where the key is of another kind than the file
 * was encrypted for, `crypto/undecryptable` where it does not open it, `wire/truncated` and `wire/malformed` where it does and
 * the file was cut off or changed.
 */
export async function* unseal(source: BackupSource): AsyncGenerator<Uint8Array> {
  const { file, passphrase, identities } = source;
  const header = await backupHeader(file);
  requireKind(source, header);
  const { Decrypter } = await import('age-encryption');
  const decrypter = new Decrypter();
  if (passphrase !== undefined) {
    decrypter.addPassphrase(passphrase);
  }
  try {
    for (const identity of identities) {
      decrypter.addIdentity(identity);
    }
  } catch (cause) {
    throw new GatewayError('request/invalid', 'the identity is none of age (AGE-SECRET-KEY-1…)', { cause });
  }
  const bytes = createReadStream(file, { highWaterMark: readSize });
  let read = 0;
  let failure: unknown;
  const counted = (async function* () {
    try {
      for await (const chunk of bytes) {
        read += (chunk as Uint8Array).length;
        source.onProgress?.(read);
        yield new Uint8Array(chunk as Uint8Array);
      }
    } catch (error) {
      failure = unreadable(file, error);
      throw failure;
    }
  })();
  let isOpen = false;
  try {
    const plain = await decrypter.decrypt(ReadableStream.from(counted) as ReadableStream<Uint8Array>);
    isOpen = true;
    yield* plain;
  } catch (cause) {
    if (isGatewayError(cause)) {
      throw cause;
    }
    throw failure ?? (isOpen ? spoiled(file, read, header, cause) : unopened(source, header, cause));
  } finally {
    bytes.destroy();
  }
}

function requireKind({ file, passphrase, identities }: BackupSource, { kinds }: AgeHeader): void {
  const isForPassphrase = kinds.includes('scrypt');
  if (isForPassphrase && passphrase === undefined) {
    throw new GatewayError('request/invalid', `${file} was encrypted with a passphrase, and not for a key`);
  }
  if (!isForPassphrase && identities.length === 0) {
    throw new GatewayError(
      'request/invalid',
      `${file} was encrypted for a key, and not with a passphrase: name the file with the key (--identity KEYFILE)`,
    );
  }
}

/** Why the head does not open. */
function unopened({ file, passphrase }: BackupSource, header: Head, cause: unknown): GatewayError {
  const { message } = cause as Error;
  if (header.total < header.size + nonceSize) {
    return new GatewayError('wire/truncated', `${file} is cut off: it ends after its head`, { cause });
  }
  if (/no identity matched/.test(message)) {
    return new GatewayError(
      'crypto/undecryptable',
      passphrase === undefined
        ? `${file} was encrypted for another key`
        : `the passphrase is not the one of ${file}`,
      { cause },
    );
  }
  return new GatewayError('wire/malformed', `the head of ${file} was changed (${message})`, { cause });
}

/** Why the rest does not, where the head does. Only the last chunk says that it is the last: without it the file is cut off. */
function spoiled(file: string, read: number, { size, total }: Head, cause: unknown): GatewayError {
  if (total < size + nonceSize + tagSize) {
    return new GatewayError('wire/truncated', `${file} is cut off: it ends after its head`, { cause });
  }
  return read < total
    ? new GatewayError(
        'wire/malformed',
        `${file} was changed before byte ${read}: it is not what was written. Nothing of it is used`,
        { cause },
      )
    : new GatewayError(
        'wire/truncated',
        `${file} is cut off, at ${total} bytes, or its last bytes were changed. Nothing of it is used`,
        { cause },
      );
}

function unreadable(file: string, cause: unknown): GatewayError {
  const { code, message } = cause as NodeJS.ErrnoException;
  return code === 'ENOENT'
    ? new GatewayError('request/not-found', `${file} is not there`, { cause })
    : new GatewayError('store/unavailable', `${file} cannot be read: ${message}`, { cause });
}
