import { GatewayError } from '../../lib/errors.ts';

/*
 * What a file of age says in the clear before its bytes: enough to tell a file that cannot be a backup, or whose head is missing,
 * from one for which the key is another. Source: C2SP age.md, "Textual header": a version line, stanzas `-> TYPE ARGUMENT…` each
 * with a body in lines of base64 whose last is shorter than 64, and a line `--- MAC`.
 */

export interface AgeHeader {
  /** Types of its stanzas, in order: `scrypt` for a passphrase, `X25519` for a key. */
  readonly kinds: readonly string[];
  /** Bytes up to where what is encrypted begins. */
  readonly size: number;
}

/** Bytes in which a header must end: some hundred recipients. */
export const longestAgeHeader = 64 * 1024;

const version = 'age-encryption.org/v1';
const armor = '-----BEGIN AGE ENCRYPTED FILE-----';

/** Beginnings of files that are taken for a backup by mistake. */
const others: readonly (readonly [offset: number, start: string, what: string])[] = [
  [0, 'SQLite format 3\0', 'a SQLite database'],
  [0, '\x1f\x8b', 'a gzip file'],
  [0, 'PK\x03\x04', 'a zip file'],
  [0, '\x28\xb5\x2f\xfd', 'a zstd file'],
  [257, 'ustar', 'a tar that is not encrypted'],
];

/**
 * Reads the header at the beginning of a file. Throws `wire/truncated` where the file ends before it does, `wire/malformed`
 * for a file that is none of age, `wire/unsupported` for one in armor or of another version.
 */
export function readAgeHeader(bytes: Uint8Array): AgeHeader {
  const text = Buffer.from(bytes.subarray(0, longestAgeHeader)).toString('latin1');
  if (text.startsWith(armor)) {
    throw new GatewayError(
      'wire/unsupported',
      'it is a file of age in armor, which a gateway does not write: age -d opens it',
    );
  }
  if (!text.startsWith(`${version}\n`)) {
    throw notOfAge(text);
  }
  const kinds: string[] = [];
  let at = version.length + 1;
  const line = () => {
    const end = text.indexOf('\n', at);
    if (end < 0) {
      throw text.length === longestAgeHeader
        ? new GatewayError('wire/malformed', 'its head was changed: it does not end')
        : new GatewayError(
            'wire/truncated',
            `it is cut off: it ends inside its head, after ${text.length} bytes`,
          );
    }
    const found = text.slice(at, end);
    at = end + 1;
    return found;
  };
  for (;;) {
    const first = line();
    if (first.startsWith('--- ')) {
      return { kinds, size: at };
    }
    const [, kind] = /^-> ([!-~]+)(?: [!-~]+)*$/.exec(first) ?? [];
    if (kind === undefined) {
      throw new GatewayError('wire/malformed', `its head was changed, before byte ${at}`);
    }
    kinds.push(kind);
    while (line().length === 64) {}
  }
}

function notOfAge(text: string): GatewayError {
  if (text === '') {
    return new GatewayError('wire/truncated', 'it is empty');
  }
  if (version.startsWith(text.trimEnd())) {
    return new GatewayError(
      'wire/truncated',
      `it is cut off: it ends inside its head, after ${text.length} bytes`,
    );
  }
  const [other] = /^age-encryption\.org\/\S{1,20}/.exec(text) ?? [];
  if (other !== undefined) {
    return new GatewayError('wire/unsupported', `it is a file of age of another version (${other})`);
  }
  const what = others.find(([offset, start]) => text.startsWith(start, offset))?.[2];
  return new GatewayError(
    'wire/malformed',
    `it is no backup, for it is no file of age${what === undefined ? '' : `: it looks like ${what}`}`,
  );
}
