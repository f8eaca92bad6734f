import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectAsync } from 'mqtt';
import { mqttLimits } from '../../../src/bridges/mqtt/config.ts';
import { collect, openHub } from './hub.ts';
import { openRaw, rawConnect, rawDisconnect, rawPublish, rawPubrel, rawSubscribe, type } from './raw.ts';

const peer = 'ab'.repeat(16);

test('MQTT 5 is refused by its reason code and with a log line, over TCP and WebSocket', async () => {
  await using hub = await openHub();
  const token = await hub.token('board', ['mqtt']);
  for (const url of [hub.tcp, hub.ws]) {
    await assert.rejects(
      connectAsync(
        url,
        { username: 'board', password: token, protocolVersion: 5, reconnectPeriod: 0 },
        false,
      ),
      (error: { code?: number }) => error.code === 0x84,
    );
  }
  using raw = openRaw(hub.port);
  raw.socket.write(rawConnect({ clientId: 'x', clean: true, username: 'board', password: token, level: 5 }));
  const connack = await raw.next(type.connack);
  assert.equal(connack[3], 0x84);
  await raw.closed;
  assert.equal(hub.counters.get('mqtt.connection.version'), 3);
  const line = hub.lines.find(({ message }) => message.includes('MQTT 5'));
  assert.match(String(line?.facts.remote), /127\.0\.0\.1/);
  assert.match(line?.message ?? '', /MQTT 3\.1\.1/);
});

test('garbage before a CONNECT closes the connection and is counted', async () => {
  await using hub = await openHub();
  for (const bytes of ['GET / HTTP/1.1\r\n\r\n', '\x00', '\x10\xff\xff\xff\xff\xff', '\x30\x03\x00\x01a']) {
    using raw = openRaw(hub.port);
    raw.socket.write(Buffer.from(bytes, 'latin1'));
    await raw.closed;
  }
  assert.equal(hub.counters.get('mqtt.connection.garbage'), 4);
});

test('a wrong password, a foreign name and a missing scope are refused, each by its code, and counted', async () => {
  await using hub = await openHub();
  const board = await hub.token('board', ['mqtt']);
  const plain = await hub.token('plain', ['messages:read']);
  const cases: [string, string | undefined, number][] = [
    ['board', 'wrong', 4],
    ['plain', board, 4],
    ['plain', plain, 5],
    ['board', undefined, 5],
  ];
  for (const [username, password, code] of cases) {
    await assert.rejects(
      connectAsync(
        hub.tcp,
        { username, ...(password !== undefined && { password }), protocolVersion: 4, reconnectPeriod: 0 },
        false,
      ),
      (error: { code?: number }) => error.code === code,
      `${username} ${password}`,
    );
  }
  assert.equal(hub.counters.get('mqtt.login.refused'), 4);
});

test('no client id without a clean session is refused with 2', async () => {
  await using hub = await openHub();
  using raw = openRaw(hub.port);
  const password = await hub.token('board', ['mqtt']);
  raw.socket.write(rawConnect({ clientId: '', clean: false, username: 'board', password }));
  assert.equal((await raw.next(type.connack))[3], 2);
  await raw.closed;
});

test('another client with the same client id neither takes over a session nor hears it', async () => {
  await using hub = await openHub();
  const board = await hub.connect('board', ['mqtt'], { clientId: 'same' });
  let closed = false;
  board.on('close', () => {
    closed = true;
  });
  await hub.connect('other', ['mqtt'], { clientId: 'same' });
  await board.publishAsync(hub.topics.device('board', 'ev/x'), 'still here', { qos: 1 });
  assert.equal(closed, false);
});

test('a connection works when every byte comes by itself', async () => {
  await using hub = await openHub();
  const password = await hub.token('board', ['mqtt', 'messages:send']);
  using raw = openRaw(hub.port);
  raw.socket.setNoDelay(true);
  const bytes = Buffer.concat([
    rawConnect({ clientId: 'slow', clean: true, username: 'board', password }),
    rawPublish({ topic: hub.tx(peer), payload: 'a', qos: 1, id: 1 }),
    rawPublish({ topic: hub.tx(peer), payload: 'b', qos: 1, id: 2 }),
  ]);
  for (const byte of bytes) {
    raw.socket.write(Uint8Array.of(byte));
    await new Promise(setImmediate);
  }
  assert.equal((await raw.next(type.connack))[3], 0);
  assert.equal((await raw.next(type.puback))[3], 1);
  assert.equal((await raw.next(type.puback))[3], 2);
});

test('publishes that come with the CONNECT in one piece are taken in order', async () => {
  await using hub = await openHub();
  const password = await hub.token('board', ['mqtt', 'messages:send']);
  using raw = openRaw(hub.port);
  raw.socket.write(
    Buffer.concat([
      rawConnect({ clientId: 'fast', clean: true, username: 'board', password }),
      ...Array.from({ length: 30 }, (_, index) =>
        rawPublish({
          topic: hub.tx(peer),
          payload: index % 7 === 3 ? '{' : `m${index}`,
          qos: 1,
          id: index + 1,
        }),
      ),
    ]),
  );
  for (let id = 1; id <= 30; id++) {
    assert.equal((await raw.next(type.puback))[3], id);
  }
});

for (const qos of [1, 2] as const) {
  for (const restart of [false, true]) {
    const broke = restart ? 'the hub was restarted' : 'the connection broke';
    test(`a QoS ${qos} publish sent again with DUP after ${broke} is one message`, async () => {
      await using hub = await openHub();
      const password = await hub.token('board', ['mqtt', 'messages:send']);
      const connect = rawConnect({ clientId: 'dev', clean: false, username: 'board', password });
      const publish = { topic: hub.tx(peer), payload: 'once', qos, id: 9 } as const;
      {
        using raw = openRaw(hub.port);
        raw.socket.write(connect);
        await raw.next(type.connack);
        raw.socket.write(rawPublish(publish));
        await hub.mesh.next();
      }
      if (restart) {
        await hub.restart();
      }
      using raw = openRaw(hub.port);
      raw.socket.write(connect);
      await raw.next(type.connack);
      raw.socket.write(rawPublish({ ...publish, dup: true }));
      await raw.next(qos === 1 ? type.puback : type.pubrec);
      if (qos === 2) {
        raw.socket.write(rawPubrel(9));
        await raw.next(type.pubcomp);
      }
      raw.socket.write(rawPublish(publish));
      await raw.next(qos === 1 ? type.puback : type.pubrec);
      assert.equal((await hub.mesh.next()).message.text, 'once');
      assert.equal(hub.mesh.pending(), 0);
    });
  }
}

test('a QoS 2 handshake that was finished leaves its packet id free, even for a DUP', async () => {
  await using hub = await openHub();
  const password = await hub.token('board', ['mqtt', 'messages:send']);
  using raw = openRaw(hub.port);
  raw.socket.write(rawConnect({ clientId: 'dev', clean: false, username: 'board', password }));
  for (const dup of [false, true]) {
    raw.socket.write(rawPublish({ topic: hub.tx(peer), payload: 'twice', qos: 2, id: 3, dup }));
    await raw.next(type.pubrec);
    raw.socket.write(rawPubrel(3));
    await raw.next(type.pubcomp);
    await hub.mesh.next();
  }
});

test('a client that says goodbye has nothing more to repeat', async () => {
  await using hub = await openHub();
  const password = await hub.token('board', ['mqtt', 'messages:send']);
  for (const dup of [false, true]) {
    using raw = openRaw(hub.port);
    raw.socket.write(rawConnect({ clientId: 'dev', clean: true, username: 'board', password }));
    await raw.next(type.connack);
    raw.socket.write(rawPublish({ topic: hub.tx(peer), payload: 'x', qos: 1, id: 1, dup }));
    await raw.next(type.puback);
    raw.socket.write(rawDisconnect);
    await raw.closed;
    await hub.mesh.next();
  }
});

test('a packet beyond the limit ends the connection before its bytes come', async () => {
  await using hub = await openHub();
  const password = await hub.token('board', ['mqtt']);
  using raw = openRaw(hub.port);
  raw.socket.write(rawConnect({ clientId: 'big', clean: true, username: 'board', password }));
  await raw.next(type.connack);
  raw.socket.write(Buffer.from('30ffff7f', 'hex'));
  await raw.closed;
  assert.equal(hub.counters.get('mqtt.packet.request/too-large'), 1);
});

test('anonymous devices exist only where the configuration says so, and may only speak for themselves', async () => {
  await using hub = await openHub({ anonymous: true });
  await hub.token('pump', ['mqtt']);
  const device = await connectAsync(hub.tcp, { protocolVersion: 4, reconnectPeriod: 0 }, false);
  hub.opened.push(device);
  await device.publishAsync(hub.topics.device('window', 'state'), '{"open":true}', { qos: 1 });
  await device.publishAsync(hub.topics.device('pump', 'state'), '{"on":true}', { qos: 1 });
  await device.publishAsync(hub.tx(peer), 'x', { qos: 1 });
  await assert.rejects(device.subscribeAsync('#'));
  assert.deepEqual(
    hub.sensorReadings().map(({ from, assurance }) => [from, assurance]),
    [['mqtt:dev/window', 'unverified']],
  );
  assert.equal(hub.mesh.pending(), 0);
});

test('a client that acknowledges nothing is given one window, and the rest when it comes back', async () => {
  await using hub = await openHub();
  const password = await hub.token('board', ['mqtt', 'messages:read']);
  const ids: string[] = [];
  for (let index = 0; index < 30; index++) {
    ids.push(await hub.mesh.say(peer, `m${index}`));
  }
  using raw = openRaw(hub.port);
  raw.socket.write(rawConnect({ clientId: 'mute', clean: true, username: 'board', password }));
  await raw.next(type.connack);
  raw.socket.write(rawSubscribe(hub.topics.rx(peer), 1, 1));
  for (let index = 0; index < mqttLimits.window; index++) {
    const packet = await raw.next(type.publish);
    assert.ok(packet.includes(ids[index] ?? '?'));
  }
  raw.socket.write(Buffer.from([0xc0, 0]));
  await raw.next(type.pingresp);
  assert.equal(hub.counters.get('mqtt.rx.pushed'), mqttLimits.window);
  raw.socket.destroy();
  const board = await hub.connectWith('board', password);
  const heard = collect(board);
  await board.subscribeAsync(hub.topics.rx(peer), { qos: 1 });
  assert.deepEqual(
    (await heard.take(30)).map(({ json }) => json.id),
    ids,
  );
});
