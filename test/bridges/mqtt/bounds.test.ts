import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mqttLimits } from '../../../src/bridges/mqtt/config.ts';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import { ManualClock } from '../../sim/clock.ts';
import { collect, openHub } from './hub.ts';
import { openRaw, type RawClient, rawConnect, rawPublish, rawSubscribe, type } from './raw.ts';

const peer = 'ab'.repeat(16);

test('subscribers that never acknowledge are closed, and what they held up goes to others', async () => {
  const clock = new ManualClock();
  await using hub = await openHub({ clock });
  const mute: RawClient[] = [];
  using _mute = {
    [Symbol.dispose]() {
      for (const raw of mute) {
        raw[Symbol.dispose]();
      }
    },
  };
  for (let index = 0; index < 16; index++) {
    const username = `mute-${index}`;
    const password = await hub.token(username, ['mqtt']);
    const raw = openRaw(hub.port);
    mute.push(raw);
    raw.socket.write(rawConnect({ clientId: 'x', clean: true, username, password }));
    await raw.next(type.connack);
    raw.socket.write(rawSubscribe(`${hub.topics.root}/dev/${username}/set`, 1, 1));
    await hub.post(`mqtt:dev/${username}`, 'on');
    await raw.next(type.publish);
  }
  const pump = await hub.connect('pump', ['mqtt']);
  const heard = collect(pump);
  await pump.subscribeAsync(hub.topics.device('pump', 'set'), { qos: 1 });
  await hub.post('mqtt:dev/pump', 'off');
  assert.deepEqual(heard.seen, []);
  await clock.advance(mqttLimits.acknowledgeTimeout);
  await Promise.all(mute.map(raw => raw.closed));
  assert.equal((await heard.take(1))[0]?.json.text, 'off');
  assert.equal(hub.counters.get('mqtt.session.silent'), 16);
});

test('a client that acknowledges in time stays', async () => {
  const clock = new ManualClock();
  await using hub = await openHub({ clock });
  const pump = await hub.connect('pump', ['mqtt']);
  const heard = collect(pump);
  await pump.subscribeAsync(hub.topics.device('pump', 'set'), { qos: 1 });
  for (const text of ['on', 'off']) {
    const id = await hub.post('mqtt:dev/pump', text);
    assert.equal((await heard.take(1))[0]?.json.text, text);
    await hub.until(() => hub.deliveryState(id, 'mqtt:dev/pump') === 'delivered');
    await clock.advance(mqttLimits.acknowledgeTimeout);
  }
  assert.equal(hub.counters.get('mqtt.session.silent'), 0);
  assert.equal(pump.connected, true);
});

test('a client has so many connections and no more, while others come in', async () => {
  await using hub = await openHub();
  const password = await hub.token('pump', ['mqtt']);
  for (let index = 0; index < mqttLimits.connectionsPerClient; index++) {
    await hub.connectWith('pump', password, { clientId: `c${index}` });
  }
  await assert.rejects(hub.connectWith('pump', password, { clientId: 'more' }), { code: 3 });
  assert.equal(hub.counters.get('mqtt.login.refused'), 1);
  await hub.connect('other', ['mqtt']);
  const again = await hub.connectWith('pump', password, { clientId: 'c0' });
  assert.equal(again.connected, true);
});

test('a handshake that was cut is forgotten after a day, without a restart', async () => {
  const clock = new ManualClock();
  await using hub = await openHub({ clock });
  const password = await hub.token('board', ['mqtt', 'messages:send']);
  const publish = async (dup: boolean) => {
    using raw = openRaw(hub.port);
    raw.socket.write(rawConnect({ clientId: 'b', clean: true, username: 'board', password }));
    await raw.next(type.connack);
    raw.socket.write(rawPublish({ topic: hub.tx(peer), payload: 'hello', qos: 1, id: 7, dup }));
    await raw.next(type.puback);
    raw.socket.destroy();
    await raw.closed;
  };
  await publish(false);
  const first = await hub.mesh.next();
  await publish(true);
  await clock.advance(25 * 60 * 60 * 1000);
  await publish(true);
  assert.notEqual((await hub.mesh.next()).message.id, first.message.id);
  assert.equal(hub.mesh.pending(), 0);
});

test('a filter of unreasonable length is refused', async () => {
  await using hub = await openHub();
  const board = await hub.connect('board', ['mqtt', 'messages:read']);
  const [granted] = await board.subscribeAsync('x'.repeat(mqttLimits.filterLength), { qos: 0 });
  assert.equal(granted?.qos, 0);
  await assert.rejects(board.subscribeAsync('x'.repeat(mqttLimits.filterLength + 1), { qos: 0 }));
});

test('a token that lives longer than a timer can does not end its connections early', async () => {
  const manual = new ManualClock(systemClock.now());
  const clock: Clock = {
    now: () => manual.now(),
    monotonic: () => manual.monotonic(),
    sleep: (delay, signal) => manual.sleep(delay, signal),
    after: (delay, callback) => manual.after(Math.min(delay, 60_000), callback),
  };
  await using hub = await openHub({ clock });
  const expiresAt = manual.now() + 60 * 60 * 1000;
  const { token } = await hub.desk.clients.create({ name: 'pump', scopes: ['mqtt'], expiresAt });
  using raw = openRaw(hub.port);
  raw.socket.write(rawConnect({ clientId: 'x', clean: true, username: 'pump', password: token }));
  await raw.next(type.connack);
  raw.socket.write(Buffer.from([0xc0, 0]));
  await raw.next(type.pingresp);
  await manual.advance(120_000);
  raw.socket.write(Buffer.from([0xc0, 0]));
  await raw.next(type.pingresp);
  await manual.advance(expiresAt - manual.now());
  await raw.closed;
});
