import { createHmac, hkdfSync } from 'node:crypto';

/**
 * HKDF-SHA256 (RFC 5869). `length` bytes from key material, salt and info. Longer than the RFC allows
 * (8160 B, met when a large packet is masked with an access code) the block counter starts over at 0,
 * as the reference's does.
 *
 * Source: RFC 5869; the counter checked against RNS 1.5.7.
 */
export function hkdf(
  material: Uint8Array,
  length: number,
  salt: Uint8Array,
  info: Uint8Array = nothing,
): Uint8Array {
  if (length <= longestStandard) {
    return new Uint8Array(hkdfSync('sha256', material, salt, info, length));
  }
  const key = createHmac('sha256', salt).update(material).digest();
  const derived = new Uint8Array(Math.ceil(length / blockLength) * blockLength);
  let block: Uint8Array = nothing;
  for (let at = 0, counter = 1; at < derived.length; at += blockLength, counter = (counter + 1) & 0xff) {
    block = createHmac('sha256', key).update(block).update(info).update(Uint8Array.of(counter)).digest();
    derived.set(block, at);
  }
  return derived.subarray(0, length);
}

const blockLength = 32;
const longestStandard = 255 * blockLength;
const nothing = new Uint8Array(0);
