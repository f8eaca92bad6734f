import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeDurably } from '../gateway/store/synced.ts';
import { utf8 } from '../lib/bytes.ts';
import { GatewayError } from '../lib/errors.ts';

const fileName = 'owner-token';
/** A token somebody chose must not be one that can be guessed. */
const shortest = 16;
const longest = 256;

/** Writes a new owner token where only the folder's owner can read it, on disk before its hash is kept anywhere. */
export function keepOwnerToken(data: string, token: string): void {
  writeDurably(data, fileName, utf8(`${token}\n`));
}

/** Takes the file away once its token has been shown. */
export function removeOwnerToken(data: string): void {
  rmSync(join(data, fileName), { force: true });
}

/** The token in the file `KOS_OWNER_TOKEN_FILE` names. Throws `config/invalid`. */
export function readOwnerToken(file: string): string {
  let token: string;
  try {
    token = readFileSync(file, 'utf8').trim();
  } catch (cause) {
    throw invalid(`cannot read ${file}`, cause);
  }
  if (token.length < shortest || token.length > longest || !/^[\x21-\x7e]+$/.test(token)) {
    throw invalid(`${file}: a token has ${shortest} to ${longest} printable characters without spaces`);
  }
  return token;
}

function invalid(detail: string, cause?: unknown): GatewayError {
  return new GatewayError('config/invalid', 'the owner token cannot be used', {
    cause,
    errors: [{ pointer: 'KOS_OWNER_TOKEN_FILE', detail }],
  });
}
