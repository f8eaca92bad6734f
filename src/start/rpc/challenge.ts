import { createHmac, timingSafeEqual } from 'node:crypto';
import { concat, equal, utf8 } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';

/**
 * How two ends of a Python multiprocessing connection prove to each other that they have the same key: each
 * sends a challenge, which the other answers with an HMAC over all that follows its first 11 bytes.
 *
 *     #CHALLENGE# | {sha256} | 40 random       since Python 3.12; answered by {sha256} | HMAC
 *     #CHALLENGE# | 20 random                  before;            answered by HMAC-MD5
 *     #WELCOME# or #FAILURE#
 *
 * An older end answers the newer form as it would its own, with HMAC-MD5 over all of it. That MD5 is broken as
 * a hash does not help who wants to forge an HMAC of 20 fresh bytes.
 *
 * Source: Python, multiprocessing.connection; checked against Python 3.9 to 3.13
 * (test/interop/rpc-handshake.test.ts).
 */
const prefix = utf8('#CHALLENGE#');
export const welcome: Uint8Array = utf8('#WELCOME#');
export const failure: Uint8Array = utf8('#FAILURE#');
/** Bytes of the longest frame while keys are proven. */
export const longestProof = 256;
/** Bytes of the shortest challenge that is answered: with less to sign, an answer could be had for another's challenge. */
const shortestChallenge = 20;

/** What Python calls the digests that an end may ask for, and what they are called here. */
const digests: ReadonlyMap<string, string> = new Map([
  ['md5', 'md5'],
  ['sha256', 'sha256'],
  ['sha384', 'sha384'],
  ['sha3_256', 'sha3-256'],
  ['sha3_384', 'sha3-384'],
]);
const md5Length = 16;
const ourDigest = 'sha256';

/** A fresh challenge, as it is sent. */
export function makeChallenge(random: Random): Uint8Array {
  return concat(prefix, utf8(`{${ourDigest}}`), random.bytes(40));
}

/** Whether the answer to a challenge of ours proves the key; in a time that tells nothing about either. */
export function provesKey(challenge: Uint8Array, answer: Uint8Array, key: Uint8Array): boolean {
  const message = challenge.subarray(prefix.length);
  const { digest = answer.length === md5Length ? 'md5' : undefined, rest } = withDigest(answer);
  if (digest !== ourDigest && digest !== 'md5') {
    return false;
  }
  const expected = macOf(digest, message, key);
  return expected.length === rest.length && timingSafeEqual(expected, rest);
}

/** The answer to a challenge of the other end. Throws `wire/malformed` for what is none. */
export function answerChallenge(challenge: Uint8Array, key: Uint8Array): Uint8Array {
  const message = challenge.subarray(prefix.length);
  if (!equal(challenge.subarray(0, prefix.length), prefix) || message.length < shortestChallenge) {
    throw new GatewayError('wire/malformed', 'no challenge');
  }
  const { digest } = withDigest(message);
  return digest === undefined
    ? macOf('md5', message, key)
    : concat(utf8(`{${digest}}`), macOf(digest, message, key));
}

function macOf(digest: string, message: Uint8Array, key: Uint8Array): Uint8Array {
  return createHmac(digests.get(digest) ?? 'sha256', key)
    .update(message)
    .digest();
}

/** The digest that stands in front in braces, where there is one we know, and what follows it. */
function withDigest(bytes: Uint8Array): { readonly digest: string | undefined; readonly rest: Uint8Array } {
  const end = bytes[0] === 0x7b ? bytes.subarray(0, 12).indexOf(0x7d) : -1;
  const name = Buffer.from(bytes.subarray(1, Math.max(end, 1))).toString('latin1');
  return digests.has(name)
    ? { digest: name, rest: bytes.subarray(end + 1) }
    : { digest: undefined, rest: bytes };
}
