import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeDurably } from '../../gateway/store/synced.ts';
import { fromHex, toHex, utf8 } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import { encodeIdentity, type Identity } from '../../mesh/reticulum/identity.ts';
import { sha256 } from '../../mesh/reticulum/packet.ts';

export const rpcKeyFile = 'rpc_key';
/** Bytes of a key that somebody chose. */
const shortest = 16;
const longest = 256;

/** The key that stands in a file or a configuration, hex; undefined where that is none. */
export function parseRpcKey(text: string): Uint8Array | undefined {
  try {
    const key = fromHex(text.trim());
    return key.length >= shortest && key.length <= longest ? key : undefined;
  } catch {
    return undefined;
  }
}

/** The key of programs that share the Identity's file, and so need no configuration. */
export function rpcKeyOfIdentity(identity: Identity): Uint8Array {
  return sha256(encodeIdentity(identity));
}

/** The file that holds a key. */
export function encodeRpcKey(key: Uint8Array): Uint8Array {
  return utf8(`${toHex(key)}\n`);
}

/**
 * The key by which programs of this machine and their instance know each other: the one in the file `rpc_key`,
 * hex, as it stands in the programs' own configurations; made from the hub's Identity and written, 0600, where
 * there is none. Throws `config/invalid` for a file that holds no key.
 */
export function openRpcKey(data: string, identity: Identity): Uint8Array {
  const path = join(data, rpcKeyFile);
  if (!existsSync(path)) {
    const key = rpcKeyOfIdentity(identity);
    writeDurably(data, rpcKeyFile, encodeRpcKey(key));
    return key;
  }
  const key = parseRpcKey(read(path));
  if (key === undefined) {
    // Without what is in it.
    throw new GatewayError('config/invalid', `${path} holds no key`, {
      errors: [{ pointer: path, detail: `${shortest} to ${longest} bytes in hex` }],
    });
  }
  return key;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
