import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkActions, parseActions } from '../../../src/bridges/http/legacy/ntfy/actions.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { openGateway } from '../gateway.ts';

const word = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom(
    '1',
    'yes',
    'all',
    'high',
    'room:alerts',
    '+49',
    'x',
    ' ',
    '=?utf-8?b?/w==?=',
    'view, a, b',
    '10m',
  ),
);
const names = [
  'title',
  'x-priority',
  'tags',
  'click',
  'icon',
  'actions',
  'attach',
  'filename',
  'up',
  'since',
  'poll',
  'm',
];
const fields = [
  'to',
  'text',
  'msg',
  'h',
  'op',
  'app',
  'password',
  'coding',
  'charset',
  'token',
  'key',
  'queue',
  'since',
];
const order = fc.record(
  {
    topic: fc.oneof(fc.constant('alerts'), fc.jsonValue()),
    message: fc.oneof(word, fc.jsonValue()),
    priority: fc.oneof(fc.integer({ min: -200, max: 200 }), fc.jsonValue()),
    tags: fc.jsonValue(),
    actions: fc.jsonValue(),
    filename: fc.jsonValue(),
    id: fc.oneof(fc.constant('a'), fc.jsonValue()),
    phoneNumbers: fc.oneof(fc.array(fc.constantFrom('112', 'app:a', 'x')), fc.jsonValue()),
    textMessage: fc.oneof(fc.record({ text: word }), fc.jsonValue()),
    mmsMessage: fc.jsonValue(),
    ttl: fc.jsonValue(),
    validUntil: fc.jsonValue(),
  },
  { requiredKeys: [] },
);

/** Characters that a header may have. */
function headerOf(text: string): string {
  return Buffer.from(text)
    .toString('latin1')
    .replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, '');
}

test('whatever is said to an interface of another program, it answers or refuses and never fails', async () => {
  await using gateway = await openGateway({
    rooms: { alerts: { members: ['app:a'] } },
    http: {
      legacySend: true,
      sms: { numbers: { '112': 'room:alerts' } },
      ntfy: { topics: { door: 'app:a' } },
    },
  });
  const token = await gateway.client('a', { rooms: ['alerts'] });
  const ask = (method: string, path: string, headers: Record<string, string>, body: string | Uint8Array) =>
    new Promise<{ status: number; text: string }>((resolve, reject) => {
      const bytes = Buffer.from(method === 'GET' ? '' : body);
      const all = { ...headers, 'content-length': String(bytes.length) };
      const call = request(new URL(path, gateway.url), { method, headers: all }, response => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => {
          text += piece;
          // A stream has begun: it is as good as answered.
          if (text.includes('"event":"open"')) {
            response.destroy();
            resolve({ status: 200, text });
          }
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
        response.on('error', () => resolve({ status: response.statusCode ?? 0, text }));
      });
      call.on('error', reject);
      call.end(bytes);
    });
  const paths = [
    ...[
      '/ntfy',
      '/ntfy/alerts',
      '/ntfy/door',
      '/ntfy/alerts/json',
      '/ntfy/alerts,door/sse',
      '/ntfy/alerts/publish',
    ],
    ...[
      '/ntfy/alerts/auth',
      '/ntfy/file/x',
      '/ntfy/v1/account',
      '/cgi-bin/sendsms',
      '/index.php',
      '/v1/send',
    ],
    ...['/3rdparty/v1/messages', '/3rdparty/v1/messages/a'],
  ];
  const body = fc.oneof(
    order.map(value => JSON.stringify(value)),
    fc.string({ unit: 'binary' }),
    fc.uint8Array({ maxLength: 100 }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('GET', 'POST', 'PUT', 'DELETE'),
      fc.constantFrom(...paths),
      fc.dictionary(fc.constantFrom(...names), word.map(headerOf)),
      fc.dictionary(fc.constantFrom(...names, ...fields), word),
      fc.constantFrom('application/json', 'application/x-www-form-urlencoded', 'text/plain'),
      body,
      async (method, path, headers, query, type, payload) => {
        const asked = new URLSearchParams({ ...query, poll: '1', h: token, token, password: token });
        const { status, text } = await ask(
          method,
          `${path}?${asked}`,
          { ...headers, authorization: `Bearer ${token}`, 'content-type': type, connection: 'close' },
          payload,
        );
        assert.ok(status >= 200 && status < 500, `${method} ${path}: ${status} ${text}`);
      },
    ),
    { numRuns: 150 },
  );
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'text/plain', connection: 'close' };
  assert.equal((await ask('POST', '/ntfy/alerts', headers, 'and what is good is taken')).status, 200);
  assert.ok((gateway.hub.counters.snapshot()['legacy/ntfy/accepted'] ?? 0) > 0, 'some of it was good');
});

test('any text for actions is some, or is refused', () => {
  const piece = fc.constantFrom(
    'view',
    'http',
    'copy',
    ',',
    ';',
    '"',
    "'",
    '\\',
    '=',
    'url=',
    'clear',
    ' ',
    'a',
    '[',
    '{',
    'headers.x=',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.array(piece).map(all => all.join('')),
      ),
      text => {
        try {
          assert.ok(parseActions(text).length <= 3);
        } catch (error) {
          assert.ok(isGatewayError(error, 'request/invalid'), String(error));
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test('actions that are too long to look at are refused, as a text and as JSON', () => {
  const headers = Object.fromEntries(Array.from({ length: 3000 }, (_, n) => [`h${n}`, 'x']));
  const short = Object.keys(headers).map(name => `headers.${name}=x`);
  const action = { action: 'http', label: 'l', url: 'https://a.example' };
  for (const ask of [
    () => parseActions(`http, l, https://a.example, ${short.join(', ')}`),
    () => parseActions(JSON.stringify([{ ...action, headers }])),
    () => checkActions([{ ...action, headers }]),
  ]) {
    assert.throws(ask, error => isGatewayError(error, 'request/invalid') && error.detail.ntfy === 40018);
  }
  const some = parseActions(`http, l, https://a.example, ${short.slice(0, 100).join(', ')}`);
  assert.equal(Object.keys(some[0]?.headers ?? {}).length, 100);
});
