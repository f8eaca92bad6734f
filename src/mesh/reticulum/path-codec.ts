import { fromHex, fromUtf8, Reader, utf8, Writer } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import { emittedAt, randomBlobLength } from './announce.ts';
import { hashLength } from './packet.ts';
import type { Path, PathRecord } from './path-table.ts';

/*
 * A path as it is stored under the destination hash:
 *
 *     version 1 | hops 1 | next hop 16 | packet hash 32 | heard 8 | expires 8, both ms epoch |
 *     interface name: length 1, UTF-8 … | random blobs: count 1, 10 B each, newest last
 */
const version = 1;

/** Fresh bytes of a path as it is stored. */
export function encodePath(path: Path & { readonly blobs: Uint8Array }): Uint8Array {
  const name = utf8(path.interfaceName).subarray(0, 255);
  return new Writer(68 + name.length + path.blobs.length)
    .u8(version)
    .u8(path.hops)
    .raw(path.nextHop)
    .raw(path.packetHash)
    .u64(BigInt(Math.round(path.heard)))
    .u64(BigInt(Math.round(path.expires)))
    .u8(name.length)
    .raw(name)
    .u8(path.blobs.length / randomBlobLength)
    .raw(path.blobs)
    .finish();
}

/** The path stored under a key, which is the destination hash as hex. Throws `wire/*`. */
export function decodePath(key: string, bytes: Uint8Array): PathRecord {
  const reader = new Reader(bytes);
  const found = reader.u8('version');
  if (found !== version) {
    throw new GatewayError('wire/unsupported', `stored path of version ${found}`);
  }
  const hops = reader.u8('hops');
  const nextHop = new Uint8Array(reader.take(hashLength, 'next hop'));
  const packetHash = new Uint8Array(reader.take(32, 'packet hash'));
  const heard = Number(reader.u64('heard'));
  const expires = Number(reader.u64('expires'));
  const interfaceName = fromUtf8(reader.take(reader.u8('name length'), 'interface name'), 'interface name');
  const blobs = new Uint8Array(reader.take(reader.u8('blob count') * randomBlobLength, 'random blobs'));
  let emitted = 0;
  for (let at = 0; at < blobs.length; at += randomBlobLength) {
    emitted = Math.max(emitted, emittedAt(blobs.subarray(at, at + randomBlobLength)));
  }
  reader.end('stored path');
  return {
    destinationHash: fromHex(key, hashLength),
    hops,
    nextHop,
    interfaceName,
    heard,
    expires,
    packetHash,
    emitted,
    blobs,
    unresponsive: false,
    used: heard,
  };
}
