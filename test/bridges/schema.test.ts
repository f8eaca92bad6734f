import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { shows } from '../../src/bridges/event-filter.ts';
import { problemHeaders, problemOf } from '../../src/bridges/problems.ts';
import {
  check,
  eventJson,
  eventSchema,
  messageDraftSchema,
  messageJson,
  mistakesOf,
  plainDraft,
} from '../../src/bridges/schema.ts';
import type { GatewayEvent } from '../../src/gateway/desk.ts';
import type { Message } from '../../src/gateway/message.ts';
import { errorCodes, GatewayError, isGatewayError } from '../../src/lib/errors.ts';

const peer = `lxmf:${'ab'.repeat(16)}`;

const message: Message = {
  id: '0'.repeat(32),
  type: 'chat.message',
  from: peer,
  to: 'room:hub',
  sentAt: 1,
  acceptedAt: 2,
  expiresAt: 3,
  priority: 'normal',
  text: 'hi',
  attachments: [],
  via: [],
  assurance: 'signed',
};

test('a plain draft is one to the schema too, unchanged, and nothing else is plain', () => {
  const to = fc.oneof(
    fc.constantFrom(peer, 'app:a', 'room:hub', 'app:A', '', `mqtt:${'x'.repeat(600)}`, 7, null),
    fc
      .tuple(fc.constantFrom('app:', 'mqtt:', 'matrix:', 'kmesh:', 'lxmf:', ''), fc.string())
      .map(parts => parts.join('')),
  );
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('x'.repeat(256 * 1024), 'x'.repeat(256 * 1024 + 1), 5, null),
  );
  const draft = fc.oneof(
    { weight: 4, arbitrary: fc.record({ to, text }, { requiredKeys: [] }) },
    fc.record({ to, text, title: fc.string(), more: fc.jsonValue() }, { requiredKeys: ['to'] }),
    fc.jsonValue(),
  );
  let plain = 0;
  fc.assert(
    fc.property(draft, given => {
      const value: unknown = JSON.parse(JSON.stringify(given));
      const found = plainDraft(value);
      const keys = typeof value === 'object' && value !== null ? Object.keys(value) : ['none'];
      const isWhole = mistakesOf(messageDraftSchema, value).errors.length === 0;
      const isPlain = isWhole && keys.every(key => key === 'to' || key === 'text');
      assert.deepEqual(found, isPlain ? check(messageDraftSchema, value) : undefined);
      plain += isPlain ? 1 : 0;
    }),
    { numRuns: 1000 },
  );
  assert.ok(plain > 50, `${plain} of 1000 were plain`);
});

test('every address scheme has its form', () => {
  for (const to of [
    peer,
    'app:a-1',
    'room:hub',
    'mqtt:dev/pump',
    'mqtt:plaza/#',
    'matrix:@a:b.example',
    'kmesh:x',
  ]) {
    assert.deepEqual(mistakesOf(messageDraftSchema, { to }).errors, [], to);
  }
  for (const to of [
    '',
    peer.toUpperCase(),
    'lxmf:ab',
    'app:A',
    'app:',
    'room:a b',
    'mqtt:a b',
    'mqtt:a\u0000',
    'ftp:x',
    `mqtt:${'x'.repeat(600)}`,
  ]) {
    assert.deepEqual(
      mistakesOf(messageDraftSchema, { to }).errors.map(({ pointer }) => pointer),
      ['/to'],
      to,
    );
  }
});

test('data is any JSON, within its depth, and bytes only as base64', () => {
  const deep = (levels: number): unknown => (levels === 0 ? 1 : [deep(levels - 1)]);
  const good = [
    null,
    0,
    false,
    '',
    [],
    {},
    deep(64),
    { mediaType: 'a/b', base64: 'AAAA' },
    { base64: '!', other: 1 },
  ];
  for (const data of good) {
    assert.deepEqual(check(messageDraftSchema, { to: peer, data }).data, data);
  }
  for (const data of [deep(65), { mediaType: 'a/b', base64: '!' }]) {
    assert.deepEqual(
      mistakesOf(messageDraftSchema, { to: peer, data }).errors.map(({ pointer }) => pointer),
      ['/data'],
    );
  }
});

test('base64 as large as a body may be is checked without harm', () => {
  const data = { mediaType: 'a/b', base64: Buffer.alloc(1_500_000, 1).toString('base64') };
  assert.deepEqual(mistakesOf(messageDraftSchema, { to: peer, data }).errors, []);
  data.base64 = `${data.base64.slice(0, -1)}!`;
  assert.equal(mistakesOf(messageDraftSchema, { to: peer, data }).errors.length, 1);
});

test('a body with a million mistakes is answered with a few', () => {
  const draft = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`key-${i}`, i]));
  assert.throws(
    () => check(messageDraftSchema, draft),
    error =>
      isGatewayError(error, 'request/invalid') && error.errors.length <= 60 && error.message.length <= 500,
  );
});

test('native fields are at most 32, and are counted before they are looked at', () => {
  const native = (most: number) =>
    Object.fromEntries(Array.from({ length: most }, (_, n) => [`lxmf:${n}`, 'AA==']));
  const draft = { to: peer, text: '' };
  assert.deepEqual(check(messageDraftSchema, { ...draft, native: native(32) }).native, native(32));
  assert.equal(check(messageDraftSchema, draft).native, undefined);
  const many = { ...native(999), other: '' };
  for (const given of [native(33), many]) {
    assert.deepEqual(mistakesOf(messageDraftSchema, { ...draft, native: given }).errors, [
      { pointer: '/native', detail: 'at most 32 fields' },
    ]);
  }
  assert.equal(mistakesOf(messageDraftSchema, { ...draft, native: { other: '' } }).errors.length, 1);
});

test('what a store keeps beside a message does not leave with it', () => {
  const stored = {
    ...message,
    secret: 'x',
    attachments: [{ name: 'a', mediaType: 'b/c', size: 1, sha256: '0', path: '/x' }],
  };
  assert.deepEqual(messageJson(stored as Message), {
    ...message,
    attachments: [{ name: 'a', mediaType: 'b/c', size: 1, sha256: '0' }],
  });
});

test('an event is shown as its schema says', () => {
  const event: GatewayEvent = {
    cursor: 'e1',
    at: 5,
    kind: 'delivery.changed',
    delivery: {
      id: 'd',
      to: peer,
      bridge: 'lxmf',
      state: 'queued',
      reason: 'no path yet',
      attempts: 1,
      history: [{ state: 'queued', at: 4 }],
      message: message.id,
      correlation: 'mine',
    },
  };
  assert.deepEqual(eventJson(event), event);
  assert.deepEqual(eventSchema.parse(eventJson({ ...event, message })), { ...event, message });
});

test('a filter shows an event if every member given matches by any of its values', () => {
  const event: GatewayEvent = { cursor: 'e1', at: 5, kind: 'message.accepted', message };
  assert.ok(shows({}, event));
  assert.ok(
    shows(
      { kinds: ['peer.seen', 'message.accepted'], peers: [peer], rooms: ['hub'], types: ['chat.message'] },
      event,
    ),
  );
  assert.ok(shows({ rooms: ['room:hub'] }, event));
  assert.ok(!shows({ kinds: ['message.accepted'], peers: ['app:a'] }, event));
  assert.ok(!shows({ rooms: ['plaza'] }, event));
  const seen: GatewayEvent = { cursor: 'e2', at: 6, kind: 'peer.seen', peer: { address: peer, lastSeen: 6 } };
  assert.ok(shows({ peers: [peer] }, seen));
  assert.ok(!shows({ types: ['chat.message'] }, seen));
});

test('every code is a problem with a status of an error', () => {
  for (const code of errorCodes) {
    const problem = problemOf(new GatewayError(code, 'why'));
    assert.equal(problem.type, `urn:kos:problem:${code}`);
    assert.ok(problem.status >= 400 && problem.status < 600);
    const wait = problemHeaders(new GatewayError(code, 'why'))['retry-after'];
    assert.equal(wait !== undefined, [429, 503, 507].includes(problem.status), code);
  }
});

test('whatever is thrown becomes a problem that tells nothing of a fault', () => {
  fc.assert(
    fc.property(fc.anything(), thrown => {
      const problem = problemOf(thrown);
      assert.equal(problem.status, 500);
      assert.equal(problem.detail, problemOf(new GatewayError('internal', 'a secret')).detail);
    }),
  );
});
