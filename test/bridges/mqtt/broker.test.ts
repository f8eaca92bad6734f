import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collect, openHub } from './hub.ts';
import { openRaw, rawConnect, rawSubscribe, type } from './raw.ts';

const peer = 'ab'.repeat(16);
const stranger = 'cd'.repeat(16);

test('the hub says retained that it is online, and at a clean stop that it is not', async () => {
  await using hub = await openHub();
  const board = await hub.connect('board', ['mqtt']);
  const heard = collect(board);
  await board.subscribeAsync(hub.topics.state, { qos: 1 });
  const [hello] = await heard.take(1);
  assert.equal(hello?.retain, true);
  assert.deepEqual(Object.keys(hello?.json), ['online', 'boot', 'ts']);
  assert.equal(hello?.json.online, true);
  await hub.stop();
  const [goodbye] = await heard.take(1);
  assert.deepEqual([goodbye?.json.online, goodbye?.json.boot], [false, hello?.json.boot]);
});

for (const transport of ['tcp', 'ws'] as const) {
  test(`a publish on tx reaches the peer, and its status comes in order, over ${transport}`, async () => {
    await using hub = await openHub();
    const board = await hub.connect('board', ['mqtt', 'messages:send', 'messages:read'], {}, transport);
    const heard = collect(board);
    await board.subscribeAsync(hub.topics.status('+'), { qos: 1 });
    await board.publishAsync(hub.tx(peer), '{"text":"hello","correlation":"42"}', { qos: 1 });
    const delivery = await hub.mesh.next();
    assert.deepEqual([delivery.to, delivery.message.text], [`lxmf:${peer}`, 'hello']);
    assert.equal(delivery.message.from, 'app:board');
    const states = await heard.take(2);
    hub.mesh.prove(delivery.id);
    states.push(...(await heard.take(1)));
    assert.deepEqual(
      states.map(({ json }) => json.state),
      ['queued', 'sent', 'delivered'],
    );
    for (const { topic, json } of states) {
      assert.equal(topic, hub.topics.status(delivery.message.id));
      assert.deepEqual([json.id, json.correlation, json.to], [delivery.message.id, '42', `lxmf:${peer}`]);
    }
  });
}

test('a payload that is not JSON is text, of any QoS', async () => {
  await using hub = await openHub();
  const board = await hub.connect('board', ['mqtt', 'messages:send']);
  for (const qos of [0, 1, 2] as const) {
    await board.publishAsync(hub.tx(peer), `привет ${qos}`, { qos });
    assert.equal((await hub.mesh.next()).message.text, `привет ${qos}`);
  }
});

test('status goes to the sender alone', async () => {
  await using hub = await openHub();
  const board = await hub.connect('board', ['mqtt', 'messages:send', 'messages:read']);
  const owner = await hub.connect('boss', ['admin']);
  const others = collect(owner);
  await owner.subscribeAsync('#', { qos: 1 });
  await board.publishAsync(hub.tx(peer), 'one', { qos: 1 });
  await hub.mesh.next();
  await owner.publishAsync(hub.tx(stranger), 'two', { qos: 1 });
  const own = await hub.mesh.next();
  const status = await others.find(({ topic }) => topic.includes('/mesh/status/'));
  assert.equal(status.topic, hub.topics.status(own.message.id));
});

test('an inbox message comes on rx to its client alone, and is delivered by the PUBACK', async () => {
  await using hub = await openHub();
  const board = await hub.connect('board', ['mqtt', 'messages:send', 'messages:read']);
  const spy = await hub.connect('spy', ['mqtt', 'messages:read'], {}, 'tcp', []);
  const heard = collect(board);
  const spied = collect(spy);
  await board.subscribeAsync(`${hub.topics.root}/mesh/+/rx`, { qos: 1 });
  await spy.subscribeAsync('#', { qos: 1 });
  await spy.subscribeAsync(hub.topics.rx(peer), { qos: 1 });
  await board.publishAsync(hub.tx(peer), 'question', { qos: 1 });
  const question = (await hub.mesh.next()).message;
  const id = await hub.mesh.say(peer, 'answer', { inReplyTo: question.id });
  const answer = await heard.find(({ topic }) => topic.endsWith('/rx'));
  assert.equal(answer.topic, hub.topics.rx(peer));
  assert.deepEqual([answer.json.id, answer.json.text, answer.json.inReplyTo], [id, 'answer', question.id]);
  await hub.until(() => hub.deliveryState(id, 'app:board') === 'delivered');
  assert.equal(spied.seen.filter(({ topic }) => topic.endsWith('/rx')).length, 0);
});

test('what was not acknowledged comes again, what was does not', async () => {
  await using hub = await openHub();
  const token = await hub.token('board', ['mqtt', 'messages:read']);
  const first = await hub.mesh.say(peer, 'one');
  const open = () => hub.connectWith('board', token, { clientId: 'screen', clean: false });
  {
    const board = await open();
    const heard = collect(board);
    await board.subscribeAsync(hub.topics.rx(peer), { qos: 1 });
    assert.equal((await heard.take(1))[0]?.json.id, first);
    await hub.until(() => hub.deliveryState(first, 'app:board') === 'delivered');
    board.end(true);
  }
  const second = await hub.mesh.say(peer, 'two');
  const board = await hub.connectWith('board', token, { clientId: 'screen', clean: false }, collectEarly);
  const heard = early.get(board) ?? collect(board);
  assert.deepEqual(
    (await heard.take(1)).map(({ json }) => json.id),
    [second],
  );
});

const early = new WeakMap<object, ReturnType<typeof collect>>();
/** Listens from before the connection is up: a resumed session speaks at once. */
function collectEarly(client: Parameters<typeof collect>[0]): void {
  early.set(client, collect(client));
}

test('a long inbox comes a window at a time and whole, also with QoS 0', async () => {
  await using hub = await openHub();
  const ids: string[] = [];
  for (let index = 0; index < 60; index++) {
    ids.push(await hub.mesh.say(peer, `m${index}`));
  }
  for (const qos of [1, 0] as const) {
    const board = await hub.connect(`board-${qos}`, ['mqtt', 'messages:read'], {});
    const heard = collect(board);
    await board.subscribeAsync(hub.topics.rx(peer), { qos });
    const late: string[] = [];
    for (let index = 0; index < 60; index++) {
      late.push(await hub.mesh.say(peer, `q${qos} m${index}`));
    }
    assert.deepEqual(
      (await heard.take(60)).map(({ json }) => json.id),
      late,
    );
    await hub.until(() => hub.deliveryState(late[59] ?? '', `app:board-${qos}`) === 'delivered');
  }
});

test('a reading becomes a message for room:sensors and stays retained, also after a restart', async () => {
  await using hub = await openHub();
  const greenhouse = await hub.connect('greenhouse', ['mqtt']);
  await greenhouse.publishAsync(hub.topics.device('greenhouse', 'state'), '{"t":21.5,"h":44}', { qos: 1 });
  const [reading] = hub.sensorReadings();
  assert.equal(reading?.from, 'mqtt:dev/greenhouse');
  assert.equal(reading?.to, 'room:sensors');
  assert.equal(reading?.text, 'greenhouse: t 21.5, h 44');
  const data = reading?.data as { device: string; values: object };
  assert.deepEqual([data.device, data.values], ['greenhouse', { t: 21.5, h: 44 }]);
  await hub.restart();
  const board = await hub.connect('board', ['mqtt']);
  const heard = collect(board);
  await board.subscribeAsync(`${hub.topics.root}/dev/+/state`, { qos: 1 });
  const [kept] = await heard.take(1);
  assert.deepEqual([kept?.json, kept?.retain], [{ t: 21.5, h: 44 }, true]);
});

test('a refused publish is acknowledged, dropped and explained to its client alone', async () => {
  await using hub = await openHub();
  const board = await hub.connect('board', ['mqtt', 'messages:send']);
  const pump = await hub.connect('pump', ['mqtt']);
  const heard = collect(board);
  const others = collect(pump);
  await board.subscribeAsync(hub.topics.err, { qos: 1 });
  await pump.subscribeAsync([hub.topics.err, `${hub.topics.root}/dev/#`], { qos: 1 });
  const cases: [string, string, string][] = [
    [hub.tx(peer), '{"text":', 'request/invalid'],
    [hub.tx(peer), '{"text":"x","colour":"red"}', 'request/invalid'],
    [hub.tx(peer), '{"text":"x","from":"app:boss"}', 'request/invalid'],
    [hub.tx(peer), `{"text":"x","to":"lxmf:${stranger}"}`, 'request/invalid'],
    [hub.tx('nowhere'), 'x', 'request/forbidden'],
    [hub.topics.device('pump', 'state'), '{"t":1}', 'request/forbidden'],
    [hub.topics.device('pump', 'set'), '1', 'request/forbidden'],
    [hub.topics.rx(peer), '{}', 'request/forbidden'],
    [hub.topics.state, '{"online":false}', 'request/forbidden'],
    [hub.topics.device('board', 'state'), 'no JSON', 'request/invalid'],
    ['elsewhere', 'x', 'request/forbidden'],
  ];
  for (const [topic, payload, code] of cases) {
    await board.publishAsync(topic, payload, { qos: 1, retain: true });
    const [error] = await heard.take(1);
    assert.deepEqual(
      [error?.json.code, error?.json.topic, error?.json.client],
      [code, topic, 'board'],
      payload,
    );
    assert.equal(typeof error?.json.id, 'number');
  }
  assert.equal(board.connected, true);
  assert.equal(hub.mesh.pending(), 0);
  assert.deepEqual(others.seen, []);
});

test('a subscription that can bring nothing is refused, one that can brings only what is open', async () => {
  await using hub = await openHub();
  const pump = await hub.connect('pump', ['mqtt']);
  const spy = await hub.connect('spy', ['mqtt']);
  const heard = collect(spy);
  for (const filter of [hub.topics.rx(peer), hub.tx(peer), hub.topics.device('pump', 'set'), '$SYS/#']) {
    await assert.rejects(spy.subscribeAsync(filter), filter);
  }
  await spy.subscribeAsync('#', { qos: 2 });
  await pump.publishAsync(hub.topics.device('pump', 'ev/door'), 'open', { qos: 1 });
  const event = await heard.find(({ topic }) => topic.includes('/dev/'));
  assert.deepEqual([event.topic, event.text], [hub.topics.device('pump', 'ev/door'), 'open']);
});

test('a heard peer is announced to clients that may see peers', async () => {
  await using hub = await openHub();
  const board = await hub.connect('board', ['mqtt', 'peers:read']);
  const heard = collect(board);
  await board.subscribeAsync(hub.topics.announce, { qos: 1 });
  hub.mesh.port.seen(`lxmf:${peer}`, { at: 7, name: 'Ann', hops: 2 });
  const [announce] = await heard.take(1);
  const { destination, name, hops } = announce?.json ?? {};
  assert.deepEqual([destination, name, hops], [peer, 'Ann', 2]);
});

test('a message to a device waits with a reason until it is there, and its PUBACK delivers it', async () => {
  await using hub = await openHub();
  const token = await hub.token('pump', ['mqtt']);
  const id = await hub.post('mqtt:dev/pump', 'on');
  await hub.until(() => hub.delivery(id)?.reason !== undefined);
  assert.deepEqual(
    [hub.delivery(id)?.state, hub.delivery(id)?.reason],
    ['queued', 'device pump is not connected'],
  );
  const pump = await hub.connectWith('pump', token);
  const heard = collect(pump);
  await pump.subscribeAsync(hub.topics.device('pump', 'set/#'), { qos: 1 });
  const [command] = await heard.take(1);
  assert.deepEqual([command?.topic, command?.json.text], [hub.topics.device('pump', 'set'), 'on']);
  await hub.until(() => hub.delivery(id)?.state === 'delivered');
  assert.deepEqual(
    hub
      .delivery(id)
      ?.history.map(({ state }) => state)
      .filter(state => state !== 'sending' && state !== 'queued'),
    ['sent', 'delivered'],
  );
});

test('a command whose PUBACK is lost, with the connection or with the hub, is said again under its id and is ambiguous nowhere', async () => {
  for (const lost of ['the connection', 'the hub'] as const) {
    await using hub = await openHub();
    const token = await hub.token('pump', ['mqtt']);
    const id = await hub.post('mqtt:dev/pump', 'on');
    {
      // Says nothing of what it is given.
      using raw = openRaw(hub.port);
      raw.socket.write(rawConnect({ clientId: 'x', clean: true, username: 'pump', password: token }));
      await raw.next(type.connack);
      raw.socket.write(rawSubscribe(hub.topics.device('pump', 'set'), 1, 1));
      assert.ok((await raw.next(type.publish)).includes(id));
      await hub.until(() => hub.deliveryState(id, 'mqtt:dev/pump') === 'sent');
      if (lost === 'the hub') {
        await hub.restart();
      }
    }
    await hub.until(() => hub.deliveryState(id, 'mqtt:dev/pump') === 'queued');
    const pump = await hub.connectWith('pump', token);
    const heard = collect(pump);
    await pump.subscribeAsync(hub.topics.device('pump', 'set'), { qos: 1 });
    assert.equal((await heard.take(1))[0]?.json.id, id, lost);
    await hub.until(() => hub.deliveryState(id, 'mqtt:dev/pump') === 'delivered');
    const states = hub.delivery(id)?.history.map(({ state }) => state) ?? [];
    assert.ok(states.includes('queued') && !states.includes('ambiguous'));
  }
});

test('a literal topic is an address too, and what belongs to the hub is none', async () => {
  await using hub = await openHub();
  const lamp = await hub.connect('lamp', ['mqtt', 'messages:read']);
  const heard = collect(lamp);
  await lamp.subscribeAsync('plaza/+', { qos: 0 });
  const id = await hub.post('mqtt:plaza/sign', 'open');
  assert.equal((await heard.take(1))[0]?.json.text, 'open');
  await hub.until(() => hub.delivery(id)?.state === 'sent');
  await assert.rejects(hub.post(`mqtt:${hub.topics.err}`, 'x'), { code: 'request/not-found' });
});

test('a will is a publish of its client like any other', async () => {
  await using hub = await openHub();
  const board = await hub.connect('board', ['mqtt']);
  const heard = collect(board);
  await board.subscribeAsync(`${hub.topics.root}/dev/#`, { qos: 1 });
  const will = (topic: string) => ({
    will: { topic, payload: Buffer.from('offline'), qos: 1 as const, retain: true },
  });
  const forger = await hub.connect('forger', ['mqtt'], will(hub.topics.device('pump', 'avail')));
  forger.stream.destroy();
  const pump = await hub.connect('pump', ['mqtt'], will(hub.topics.device('pump', 'avail')));
  pump.stream.destroy();
  await heard.take(1);
  assert.deepEqual(
    heard.all().map(({ topic, text }) => [topic, text]),
    [[hub.topics.device('pump', 'avail'), 'offline']],
  );
});

test('revoking a token ends its connections', async () => {
  await using hub = await openHub();
  const board = await hub.connect('board', ['mqtt']);
  const closed = new Promise<void>(resolve => board.once('close', () => resolve()));
  await hub.desk.clients.revoke('board');
  await closed;
});

test('a token that ends, is replaced or has other rights ends its connections', async () => {
  await using hub = await openHub();
  const { clients } = hub.desk;
  const closed: Promise<void>[] = [];
  for (const name of ['brief', 'replaced', 'changed']) {
    const device = await hub.connect(name, ['mqtt']);
    closed.push(new Promise(resolve => device.once('close', () => resolve())));
  }
  await clients.rotate('replaced', 100);
  await clients.change('changed', { scopes: ['mqtt', 'messages:send'] });
  await clients.rotate('brief', 60_000);
  await clients.change('brief', { expiresAt: Date.now() + 100 });
  await Promise.all(closed);
});

test('a command is heard by its device and nobody else, whatever they subscribe to', async () => {
  await using hub = await openHub();
  const [pump, spy, owner] = [
    await hub.connect('pump', ['mqtt']),
    await hub.connect('spy', ['mqtt', 'messages:read', 'messages:send']),
    await hub.connect('boss', ['admin']),
  ];
  const [commands, spied] = [collect(pump), collect(spy)];
  await pump.subscribeAsync(hub.topics.device('pump', 'set/#'), { qos: 1 });
  await spy.subscribeAsync(`${hub.topics.root}/#`, { qos: 1 });
  await owner.publishAsync(hub.topics.device('pump', 'set/speed'), '3', { qos: 1 });
  await commands.take(1);
  await owner.publishAsync(hub.topics.device('boss', 'ev/end'), 'x', { qos: 1 });
  await spied.find(({ topic }) => topic.endsWith('/ev/end'));
  assert.ok(spied.seen.every(({ topic }) => !topic.includes('/set')));
});

test('an address that can be no topic is refused when the message is posted', async () => {
  await using hub = await openHub();
  const { client } = await hub.desk.clients.create({ name: 'poster', scopes: ['messages:send'] });
  for (const to of [
    'mqtt:a/#',
    'mqtt:plaza/+',
    'mqtt:$SYS/x',
    `mqtt:kos/v1/${hub.desk.hub.id.slice(0, 8)}/state`,
  ]) {
    await assert.rejects(
      hub.desk.messages.post(client, { to, text: 'x' }),
      { code: 'request/not-found' },
      to,
    );
  }
});
