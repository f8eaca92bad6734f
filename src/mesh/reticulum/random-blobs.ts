import { concat, equal } from '../../lib/bytes.ts';
import { randomBlobLength } from './announce.ts';

/** Source: RNS 1.5.7. */
const blobsKept = 64;

/** Random blobs of announces taken lately, 10 B each, newest last: here none. */
export const noBlobs = new Uint8Array(0);

/** Where among blobs one is, in bytes; -1 where it is none of them. */
export function blobAt(blobs: Uint8Array, blob: Uint8Array): number {
  for (let at = blobs.length - randomBlobLength; at >= 0; at -= randomBlobLength) {
    if (equal(blobs.subarray(at, at + randomBlobLength), blob)) {
      return at;
    }
  }
  return -1;
}

/** Fresh bytes of the blobs with one more, or again, at their end. */
export function withBlob(blobs: Uint8Array, blob: Uint8Array): Uint8Array {
  const known = blobAt(blobs, blob);
  const others =
    known === -1 ? blobs : concat(blobs.subarray(0, known), blobs.subarray(known + randomBlobLength));
  return concat(others.subarray(Math.max(0, others.length - (blobsKept - 1) * randomBlobLength)), blob);
}
