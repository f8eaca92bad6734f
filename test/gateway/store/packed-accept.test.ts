import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type AcceptArgs, packAccept, unpackAccept } from '../../../src/gateway/store/packed-accept.ts';

const words = fc.string({ unit: 'binary' });
const bytes = fc.uint8Array({ maxLength: 32 });
const said = fc.array(fc.tuple(words, words)).map(pairs => new Map(pairs));
const orNull = fc.option<string>(words);

const accept = fc.record<AcceptArgs, 'scheme' | 'message' | 'body' | 'deliveries' | 'audience' | 'blobs'>(
  {
    scheme: words,
    remoteId: words,
    fingerprint: bytes,
    message: fc.record(
      { id: words, type: words, from: words, to: words, acceptedAt: fc.nat(), correlation: words },
      { requiredKeys: ['id', 'type', 'from', 'to', 'acceptedAt'] },
    ),
    body: words,
    deliveries: fc.array(
      fc.tuple(
        words,
        words,
        words,
        fc.nat(4),
        fc.nat(),
        fc.constantFrom('queued', 'failed'),
        orNull,
        orNull,
        fc.nat(3),
        words,
      ),
    ),
    audience: fc.array(words),
    blobs: fc.array(words),
    prepared: fc.record({ bytes, remoteId: words }),
    folds: fc.constant([{ delivery: 'd', input: { on: 'cancel' } }] as unknown as NonNullable<
      AcceptArgs['folds']
    >),
    rewrites: said,
    rulings: said,
    device: words,
  },
  { requiredKeys: ['scheme', 'message', 'body', 'deliveries', 'audience', 'blobs'] },
);

test('what the writer unpacks is what was to be accepted, after the way between threads', () => {
  fc.assert(
    fc.property(accept, args => {
      assert.deepEqual(unpackAccept(structuredClone(packAccept(args))), structuredClone(args));
    }),
  );
});
