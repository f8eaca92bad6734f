import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayHear, maySubscribe, publishRefusal, type Who } from '../../../src/bridges/mqtt/rights.ts';
import { topicsOf } from '../../../src/bridges/mqtt/topics.ts';
import type { Scope } from '../../../src/gateway/desk.ts';

const topics = topicsOf('01234567'.repeat(4));
const { root } = topics;
const tx = `${root}/mesh/${'ab'.repeat(16)}/tx`;
const who = (name: string, ...scopes: Scope[]): Who => ({
  client: { id: 'c'.repeat(32), name, scopes, rooms: [] },
});
const pump = who('pump', 'mqtt');
const reader = who('reader', 'mqtt', 'messages:read', 'peers:read');
const sender = who('sender', 'mqtt', 'messages:send');
const owner = who('owner', 'admin');
const nobody: Who = { client: undefined };
const mayPublish = (of: Who, topic: string, retain = false) =>
  publishRefusal(of, topics.parse(topic), retain, name => name === 'pump') === undefined;

test('only the device itself says what a device says', () => {
  for (const leaf of ['state', 'avail', 'hist', 'ack', 'info', 'ev/door']) {
    assert.ok(mayPublish(pump, topics.device('pump', leaf)), leaf);
    assert.ok(!mayPublish(reader, topics.device('pump', leaf)), leaf);
    assert.ok(!mayPublish(nobody, topics.device('pump', leaf)), leaf);
    assert.ok(mayPublish(nobody, topics.device('nameless', leaf)), leaf);
  }
  assert.ok(!mayPublish(pump, topics.device('pump', 'set')));
  assert.ok(!mayPublish(pump, topics.device('pump', 'ev')));
});

test('commands are for an admin and never retained', () => {
  assert.ok(mayPublish(owner, topics.device('pump', 'set')));
  assert.ok(!mayPublish(owner, topics.device('pump', 'set'), true));
  assert.ok(!mayPublish(sender, topics.device('pump', 'set')));
});

test('writing to the mesh needs messages:send', () => {
  assert.ok(mayPublish(sender, tx));
  assert.ok(mayPublish(owner, tx));
  assert.ok(!mayPublish(reader, tx));
  assert.ok(!mayPublish(nobody, tx));
});

test('nobody publishes in the name of the hub', () => {
  for (const topic of [
    topics.state,
    topics.err,
    topics.announce,
    topics.status('x'),
    topics.rx('x'),
    'kos/v2/x',
    '$SYS/x',
  ]) {
    assert.ok(!mayPublish(owner, topic), topic);
  }
});

test('a subscription needs something in it the client may hear', () => {
  assert.ok(maySubscribe(pump, topics, '#'));
  assert.ok(maySubscribe(pump, topics, `${root}/dev/#`));
  assert.ok(maySubscribe(pump, topics, topics.device('pump', 'set/+')));
  assert.ok(!maySubscribe(pump, topics, topics.device('other', 'set')));
  assert.ok(!maySubscribe(pump, topics, `${root}/mesh/+/rx`));
  assert.ok(maySubscribe(reader, topics, `${root}/mesh/+/rx`));
  assert.ok(maySubscribe(reader, topics, topics.announce));
  assert.ok(!maySubscribe(pump, topics, topics.announce));
  assert.ok(!maySubscribe(owner, topics, tx));
  assert.ok(!maySubscribe(owner, topics, '$SYS/#'));
  assert.ok(!maySubscribe(owner, topics, 'kos/v1/fedcba98/#'));
  assert.ok(!maySubscribe(nobody, topics, '#'));
  assert.ok(!maySubscribe(pump, topics, 'plaza'));
  assert.ok(maySubscribe(reader, topics, 'plaza'));
});

test('whatever the filter, a message is heard only by whom it is for', () => {
  assert.ok(mayHear(reader, topics, topics.device('pump', 'state')));
  assert.ok(!mayHear(reader, topics, topics.device('pump', 'set')));
  assert.ok(mayHear(pump, topics, topics.device('pump', 'set/speed')));
  assert.ok(mayHear(owner, topics, topics.device('pump', 'set')));
  for (const topic of [topics.rx('x'), topics.status('x'), topics.err, topics.announce, tx]) {
    assert.ok(!mayHear(owner, topics, topic), topic);
  }
});
