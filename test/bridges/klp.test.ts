import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { draftOfKlp, encodeKlp } from '../../src/bridges/klp.ts';
import { check, messageDraftSchema } from '../../src/bridges/schema.ts';
import type { Message } from '../../src/gateway/message.ts';
import { canonicalJson } from '../../src/lib/canonical-json.ts';
import { isGatewayError } from '../../src/lib/errors.ts';

const vectors = JSON.parse(
  readFileSync(new URL('../vectors/klp-envelope.json', import.meta.url), 'utf8'),
) as { cases: { name: string; message: Message; envelope: string }[] };

/** What a client may say of the message, as it would have said it. */
function draftOf({
  id: _,
  from: _from,
  acceptedAt: _at,
  via: _via,
  assurance: _by,
  ...rest
}: Message): unknown {
  const { attachments, text, author: _author, ...said } = rest;
  return {
    ...said,
    ...(text !== '' && { text }),
    ...(attachments.length > 0 && { attachments: attachments.map(({ size: _size, ...one }) => one) }),
  };
}

for (const { name, message, envelope } of vectors.cases) {
  test(`an envelope is written in its one form, and read as the message it was: ${name}`, () => {
    assert.equal(encodeKlp(message), envelope);
    const { draft, key } = draftOfKlp(JSON.parse(envelope), message.from, 0);
    assert.deepEqual(draft, draftOf(message));
    assert.equal(key, message.id);
    check(messageDraftSchema, draft);
  });
}

const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length });
const json = fc.jsonValue({ maxDepth: 3 }).map(value => JSON.parse(JSON.stringify(value)));
/** As a body may be: one with a member of this name is refused before anybody looks at what it says. */
const taken = json.filter(value => !JSON.stringify(value).includes('"__proto__":'));
const free = fc.dictionary(
  fc.string({ minLength: 1, maxLength: 8 }).map(name => `x-${name}`),
  taken,
  { maxKeys: 4 },
);
const optional = <T>(name: string, value: fc.Arbitrary<T>) =>
  fc.option(
    value.map(one => ({ [name]: one })),
    { nil: {} as { [name: string]: T } },
  );

const messages = fc
  .record({
    id: hex(32),
    type: fc.constantFrom('chat.message', 'event', 'sensor.reading', 'x'),
    from: fc.constant('app:board'),
    to: fc.constantFrom('room:hub', 'lxmf:0123456789abcdef0123456789abcdef', 'mqtt:a/b'),
    sentAt: fc.nat(2 ** 40),
    priority: fc.constantFrom('critical', 'high', 'normal', 'bulk'),
    text: fc.string(),
    attachments: fc.array(
      fc.record({
        name: fc.constantFrom('a', 'b.png'),
        mediaType: fc.constant('image/png'),
        size: fc.nat(),
        sha256: hex(64),
      }),
      { maxLength: 2 },
    ),
    via: fc.array(hex(32), { maxLength: 2 }),
    assurance: fc.constantFrom('signed', 'hub', 'unverified'),
  })
  .chain(base =>
    fc
      .tuple(
        fc.integer({ min: 1, max: 2 ** 40 }),
        optional('title', fc.string()),
        optional('data', taken),
        optional('inReplyTo', hex(32)),
        optional('thread', fc.string({ minLength: 1, maxLength: 20 })),
        optional('correlation', fc.string({ minLength: 1, maxLength: 20 })),
      )
      .map(([ttl, ...parts]) =>
        Object.assign({ ...base, expiresAt: base.sentAt + ttl, acceptedAt: 0 }, ...parts),
      ),
  );

test('any message comes back from its envelope, with whatever members others put beside it', () => {
  fc.assert(
    fc.property(messages, free, free, (message, beside, within) => {
      const sent = JSON.parse(encodeKlp(message));
      const withTheirs = { ...beside, ...sent, payload: { ...within, ...sent.payload } };
      const { draft } = draftOfKlp(withTheirs, message.from, 0);
      const { native, ...rest } = draft as { native?: Record<string, string> };
      assert.deepEqual(rest, draftOf(message));
      const again = encodeKlp({ ...message, ...(native && { native }) });
      assert.equal(again, canonicalJson(withTheirs));
    }),
    { numRuns: 300 },
  );
});

test('any JSON is an envelope or is refused with a code', () => {
  fc.assert(
    fc.property(fc.oneof(json, free), fc.option(json, { nil: undefined }), (value, payload) => {
      try {
        draftOfKlp({ to: 'room:hub', ...(value as object), payload }, 'app:a', 0);
      } catch (error) {
        assert.ok(isGatewayError(error), String(error));
      }
    }),
  );
});
