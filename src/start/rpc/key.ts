import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromHex, toHex, utf8 } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import { encodeIdentity, type Identity } from '../../mesh/reticulum/identity.ts';
import { sha256 } from '../../mesh/reticulum/packet.ts';
import { writeDurably } from '../durable-file.ts';

const fileName = 'rpc_key';
/** Bytes of a key that somebody chose. */
const shortest = 16;
const longest = 256;

/**
 * The key by which programs of this machine and their instance know each other: the one in the file `rpc_key`,
 * hex, as it stands in the programs' own configurations; made from the hub's Identity and written, 0600, where
 * there is none. Throws `config/invalid` for a file that holds no key.
 */
export function openRpcKey(data: string, identity: Identity): Uint8Array {
  const path = join(data, fileName);
  if (!existsSync(path)) {
    // What a program has that shares the Identity's file, and so needs no configuration.
    const key = sha256(encodeIdentity(identity));
    writeDurably(data, fileName, utf8(`${toHex(key)}\n`));
    return key;
  }
  try {
    const text = readFileSync(path, 'utf8').trim();
    const key = fromHex(text);
    if (key.length >= shortest && key.length <= longest) {
      return key;
    }
  } catch {
    // Told below, without what is in it.
  }
  throw new GatewayError('config/invalid', `${path} holds no key`, {
    errors: [{ pointer: path, detail: `${shortest} to ${longest} bytes in hex` }],
  });
}
