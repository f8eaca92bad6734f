import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { openGateway } from '../gateway.ts';

const messageLike = fc.record(
  {
    to: fc.oneof(fc.constantFrom('app:a', 'room:hub', 'lxmf:xyz', ''), fc.jsonValue()),
    from: fc.jsonValue(),
    type: fc.oneof(fc.constantFrom('chat.message', 'x.y'), fc.jsonValue()),
    text: fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue()),
    title: fc.oneof(fc.string(), fc.jsonValue()),
    data: fc.jsonValue(),
    attachments: fc.array(
      fc.record(
        {
          name: fc.oneof(fc.constant('x'), fc.jsonValue()),
          base64: fc.oneof(fc.base64String(), fc.jsonValue()),
        },
        { requiredKeys: [] },
      ),
    ),
    inReplyTo: fc.oneof(fc.constant('0'.repeat(32)), fc.jsonValue()),
    priority: fc.oneof(fc.constantFrom('high', 'bulk'), fc.jsonValue()),
    expiresAt: fc.oneof(fc.integer(), fc.double(), fc.jsonValue()),
    native: fc.jsonValue(),
  },
  { requiredKeys: [] },
);

test('any body is taken or refused with a problem, never a fault of the gateway', async () => {
  await using gateway = await openGateway();
  const owner = await gateway.client('a', { scopes: ['admin', 'messages:read', 'messages:send'] });
  const body = fc.oneof(
    messageLike.map(value => JSON.stringify(value)),
    fc.jsonValue().map(value => JSON.stringify(value)),
    fc.string({ unit: 'binary' }),
    fc.uint8Array({ maxLength: 200 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom('/v1/messages', '/v1/tokens'), body, async (path, value) => {
      const answer = await gateway.call(owner, 'POST', path, value);
      assert.ok(answer.status < 500, `${answer.status} ${JSON.stringify(answer.body)}`);
    }),
    { numRuns: 400 },
  );
});

test('any path, query and cursor is answered or refused with a problem', async () => {
  await using gateway = await openGateway();
  const owner = await gateway.client('a', { scopes: ['admin', 'messages:read', 'messages:send'] });
  const word = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 30 }),
    fc.constantFrom('0', '1', '-1', '9'.repeat(30)),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(
        '/v1/messages',
        '/v1/inbox',
        '/v1/peers',
        '/v1/messages/',
        '/v1/blobs/',
        '/v1/peers/',
        '/v1/tokens/',
      ),
      fc.constantFrom('GET', 'DELETE', 'POST', 'PUT'),
      fc.constantFrom('after', 'limit', 'room', 'peer', 'type', 'search', 'toString', '__proto__'),
      word,
      async (path, method, parameter, value) => {
        const encoded = encodeURIComponent(value.toWellFormed());
        const url = path.endsWith('/') ? `${path}${encoded}` : `${path}?${parameter}=${encoded}`;
        const answer = await gateway.call(owner, method, url);
        assert.ok(answer.status < 500, `${method} ${url}: ${answer.status}`);
      },
    ),
    { numRuns: 400 },
  );
});
