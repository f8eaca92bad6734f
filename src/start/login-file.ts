import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LoginFile } from '../bridges/http/login-record.ts';
import { writeDurably } from '../gateway/store/synced.ts';
import { utf8 } from '../lib/bytes.ts';

const name = 'logins.json';

/** Hashes of the log-ins of browsers, so that a restart logs nobody out. */
export function loginFile(data: string): LoginFile {
  return {
    read() {
      try {
        return readFileSync(join(data, name), 'utf8');
      } catch {
        return undefined;
      }
    },
    write: text => writeDurably(data, name, utf8(text)),
  };
}
