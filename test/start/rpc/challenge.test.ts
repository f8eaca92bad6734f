import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { concat, fromHex, toHex, utf8 } from '../../../src/lib/bytes.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { answerChallenge, makeChallenge, provesKey } from '../../../src/start/rpc/challenge.ts';

const key = fromHex(`${'00'.repeat(31)}07`);

function hmac(digest: string, message: Uint8Array, by = key): Uint8Array {
  return new Uint8Array(createHmac(digest, by).update(message).digest());
}

/** What follows the words in a challenge. */
function messageOf(challenge: Uint8Array): Uint8Array {
  return challenge.subarray('#CHALLENGE#'.length);
}

describe('a challenge between programs of one machine', () => {
  test('asks for SHA-256, over 40 fresh bytes', () => {
    const one = makeChallenge(systemRandom);
    assert.match(Buffer.from(one).toString('latin1'), /^#CHALLENGE#\{sha256\}/);
    assert.equal(messageOf(one).length, '{sha256}'.length + 40);
    assert.notDeepEqual(one, makeChallenge(systemRandom));
  });

  test('is answered with MD5 by Python before 3.12 and with SHA-256 since', () => {
    const challenge = makeChallenge(systemRandom);
    const message = messageOf(challenge);
    assert.ok(provesKey(challenge, hmac('md5', message), key));
    assert.ok(provesKey(challenge, concat(utf8('{sha256}'), hmac('sha256', message)), key));
  });

  test('proves nothing with another key, another digest or a part of the answer', () => {
    const challenge = makeChallenge(systemRandom);
    const message = messageOf(challenge);
    const other = randomBytes(32);
    const sha256 = concat(utf8('{sha256}'), hmac('sha256', message));
    for (const answer of [
      hmac('md5', message, other),
      concat(utf8('{sha256}'), hmac('sha256', message, other)),
      concat(utf8('{sha384}'), hmac('sha384', message)),
      hmac('sha256', message),
      sha256.subarray(0, 24),
      sha256.subarray(0, 8),
      new Uint8Array(0),
      challenge,
    ]) {
      assert.equal(provesKey(challenge, answer, key), false, toHex(answer));
    }
  });

  test('of either form is answered in kind', () => {
    const old = concat(utf8('#CHALLENGE#'), randomBytes(20));
    assert.equal(toHex(answerChallenge(old, key)), toHex(hmac('md5', messageOf(old))));
    const modern = concat(utf8('#CHALLENGE#{sha256}'), randomBytes(40));
    assert.equal(
      toHex(answerChallenge(modern, key)),
      toHex(concat(utf8('{sha256}'), hmac('sha256', messageOf(modern)))),
    );
  });

  test('that is short or no challenge is not answered', () => {
    for (const bytes of [
      concat(utf8('#CHALLENGE#'), randomBytes(19)),
      utf8('#WELCOME#'),
      new Uint8Array(0),
      concat(utf8('#challenge#'), randomBytes(20)),
    ]) {
      assert.throws(() => answerChallenge(bytes, key), { code: 'wire/malformed' });
    }
  });

  test('takes any bytes without harm', () => {
    const challenge = makeChallenge(systemRandom);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 256 }), bytes => {
        assert.equal(provesKey(challenge, bytes, key), false);
        try {
          answerChallenge(bytes, key);
        } catch (error) {
          assert.ok(isGatewayError(error, 'wire/malformed'));
        }
      }),
    );
  });
});
