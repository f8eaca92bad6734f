import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Bridge } from '../../src/gateway/bridge.ts';
import type { GatewayEvent } from '../../src/gateway/desk.ts';
import { GatewayError, isGatewayError } from '../../src/lib/errors.ts';
import { type MemoryBridge, memoryBridge, openTestSwitch, type TestSwitch, until } from './fixture.ts';

const lxmf = (two: string) => `lxmf:${two.repeat(16)}`;
const [ada, ben, eve] = [lxmf('a1'), lxmf('b2'), lxmf('e5')];

/** A mesh that gives local parties addresses, as LXMF does, and says which are open. */
function mesh(): MemoryBridge & { readonly open: Map<string, string> } {
  const open = new Map<string, string>();
  let made = 0;
  const residence: Bridge['residence'] = {
    make() {
      made += 1;
      return { address: `lxmf:${String(made).padStart(32, '0')}`, key: new Uint8Array(4) };
    },
    open: ({ address, party }) => void open.set(address, party),
    close: address => void open.delete(address),
  };
  return Object.assign(memoryBridge(), { residence, open });
}

const code = (wanted: string) => (error: unknown) => isGatewayError(error) && error.code === wanted;
const said = (bridge: MemoryBridge, to: string) =>
  bridge.delivered.filter(one => one.to === to).map(one => one.message.text);
const eventsOf = (hub: TestSwitch, kind: GatewayEvent['kind'], client = hub.owner) =>
  hub.desk.events.read(client, start(hub), 500).items.filter(event => event.kind === kind);
const starts = new WeakMap<TestSwitch, string>();
const start = (hub: TestSwitch) => starts.get(hub)!;

async function open(options: Parameters<typeof openTestSwitch>[0] & { readonly mesh?: MemoryBridge } = {}) {
  const bridge = options.mesh ?? mesh();
  const hub = await openTestSwitch({ bridges: [bridge], ...options });
  starts.set(hub, hub.desk.events.cursor);
  return { hub, bridge: bridge as ReturnType<typeof mesh> };
}

test('a room made while the hub runs has an address, carries what is said, and is there after a restart', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-rooms-'));
  try {
    let address = '';
    {
      const { hub, bridge } = await open({ dir });
      await using _ = hub;
      const room = await hub.desk.rooms.create(hub.owner, 'plaza', { members: [ada], consent: 'given' });
      address = room.addresses[0]!;
      assert.equal(bridge.open.get(address), 'room:plaza');
      assert.equal(room.source, 'api');
      await hub.desk.messages.post(hub.owner, { to: 'room:plaza', text: 'hello' });
      await until(() => said(bridge, ada).includes('hello'));
      await assert.rejects(hub.desk.rooms.create(hub.owner, 'plaza', {}), code('request/conflict'));
      await assert.rejects(hub.desk.rooms.create(hub.owner, 'Not A Name', {}), code('request/invalid'));
    }
    const { hub, bridge } = await open({ dir });
    await using _ = hub;
    const room = hub.desk.rooms.get(hub.owner, 'plaza');
    assert.deepEqual(room.members, [ada]);
    assert.deepEqual(room.addresses, [address]);
    await hub.desk.messages.post(hub.owner, { to: 'room:plaza', text: 'again' });
    await until(() => said(bridge, ada).includes('again'));
    await hub.desk.rooms.remove(hub.owner, 'plaza');
    assert.throws(() => hub.desk.rooms.get(hub.owner, 'plaza'), code('request/not-found'));
    await assert.rejects(
      hub.desk.messages.post(hub.owner, { to: 'room:plaza', text: 'x' }),
      code('request/not-found'),
    );
    await until(() => !bridge.open.has(address));
    const history = hub.desk.messages.list(hub.owner, { room: 'plaza' }).items;
    assert.deepEqual(
      history.map(({ text }) => text),
      ['again', 'hello'],
      'an admin reads what was said there',
    );
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('a room that is made anew while it still gives up its address keeps it', async () => {
  const { hub, bridge } = await open();
  await using _ = hub;
  const address = (await hub.desk.rooms.create(hub.owner, 'den', {})).addresses[0]!;
  for (let turn = 0; turn < 5; turn++) {
    await hub.desk.rooms.remove(hub.owner, 'den');
    await hub.desk.rooms.create(hub.owner, 'den', {});
    // Commits are in order: whatever was begun before is over behind these.
    for (let more = 0; more < 3; more++) {
      await hub.desk.messages.post(hub.owner, { to: 'room:den', text: 'x' });
    }
    await until(() => bridge.open.get(address) === 'room:den');
    assert.deepEqual(hub.desk.rooms.get(hub.owner, 'den').addresses, [address]);
  }
});

test('what was changed of a configured room lies over it and can be forgotten', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-rooms-'));
  const yard = 'mqtt:yard';
  try {
    for (const [members, wanted] of [
      [
        ['mqtt:a', yard],
        ['mqtt:a', 'mqtt:new'],
      ],
      [
        ['mqtt:a', yard, 'mqtt:later'],
        ['mqtt:a', 'mqtt:later', 'mqtt:new'],
      ],
      [
        ['mqtt:a', 'mqtt:later'],
        ['mqtt:a', 'mqtt:later', 'mqtt:new'],
      ],
      [
        ['mqtt:a', yard],
        ['mqtt:a', yard, 'mqtt:new'],
      ],
    ] as const) {
      const { hub } = await open({ dir, rooms: { plaza: { members } }, mesh: memoryBridge('mqtt') });
      await using _ = hub;
      const { rooms } = hub.desk;
      if (members.length === 2 && wanted.length === 2) {
        await rooms.addMember(hub.owner, 'plaza', 'mqtt:new');
        await rooms.removeMember(hub.owner, 'plaza', yard);
      }
      const room = rooms.get(hub.owner, 'plaza');
      assert.deepEqual(room.members, wanted);
      assert.deepEqual([room.source, room.changed], ['config', true]);
      assert.equal(room.memberStates.find(one => one.address === 'mqtt:new')?.source, 'api');
    }
    const { hub } = await open({
      dir,
      rooms: { plaza: { members: ['mqtt:a'] } },
      mesh: memoryBridge('mqtt'),
    });
    await using _ = hub;
    await hub.desk.rooms.reset(hub.owner, 'plaza');
    assert.deepEqual(hub.desk.rooms.get(hub.owner, 'plaza').members, ['mqtt:a']);
    await hub.desk.rooms.remove(hub.owner, 'plaza');
    assert.throws(() => hub.desk.rooms.get(hub.owner, 'plaza'), code('request/not-found'));
    await hub.desk.rooms.create(hub.owner, 'plaza', { members: ['mqtt:b'] });
    assert.deepEqual(hub.desk.rooms.get(hub.owner, 'plaza').members, ['mqtt:b']);
    await hub.desk.rooms.reset(hub.owner, 'plaza');
    assert.deepEqual(hub.desk.rooms.get(hub.owner, 'plaza').members, ['mqtt:a']);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('what waits for somebody taken out of a room is cancelled with the reason, and the rest goes on', async () => {
  const bridge = mesh();
  bridge.respond = () => {
    throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
  };
  const { hub } = await open({ mesh: bridge, rooms: { plaza: { members: [ada, ben] } } });
  await using _ = hub;
  const { id } = (await hub.desk.messages.post(hub.owner, { to: 'room:plaza', text: 'hello' })).message;
  const direct = (await hub.desk.messages.post(hub.owner, { to: ada, text: 'to ada alone' })).message;
  const states = () =>
    Object.fromEntries(
      hub.desk.messages.get(hub.owner, id).deliveries.map(({ to, state, reason }) => [to, [state, reason]]),
    );
  // Before its first attempt a delivery waits for the bridge, which is another reason.
  await until(() =>
    hub.desk.rooms.get(hub.owner, 'plaza').memberStates.every(one => one.trouble?.reason === 'no path yet'),
  );
  const trouble = hub.desk.rooms.get(hub.owner, 'plaza').memberStates[0]?.trouble;
  assert.deepEqual([trouble?.message, trouble?.state, trouble?.reason], [id, 'queued', 'no path yet']);
  await hub.desk.rooms.removeMember(hub.owner, 'plaza', ada);
  await until(() => states()[ada]?.[0] === 'cancelled');
  assert.deepEqual(states()[ada], ['cancelled', 'not in the room plaza any more']);
  assert.equal(states()[ben]?.[0], 'queued');
  assert.equal(hub.desk.messages.get(hub.owner, direct.id).deliveries[0]?.state, 'queued');
  await hub.desk.rooms.remove(hub.owner, 'plaza');
  await until(() => states()[ben]?.[0] === 'cancelled');
  assert.deepEqual(states()[ben], ['cancelled', 'the room plaza is gone']);
});

test('members hear of a change of their room, others do not, and an app that is taken out does for the last time', async () => {
  const { hub } = await open();
  await using _ = hub;
  const { client: ann } = await hub.client('ann', { rooms: [] });
  const { client: bob } = await hub.client('bob', { rooms: [] });
  await hub.desk.rooms.create(ann, 'plaza', {});
  assert.deepEqual(hub.desk.rooms.get(ann, 'plaza').members, ['app:ann'], 'whoever makes it is in it');
  await hub.desk.rooms.change(ann, 'plaza', { members: ['app:ann', 'mqtt:x'] });
  assert.throws(() => hub.desk.rooms.get(bob, 'plaza'), code('request/not-found'));
  await assert.rejects(hub.desk.rooms.addMember(bob, 'plaza', 'app:bob'), code('request/not-found'));
  await assert.rejects(hub.desk.rooms.put(bob, 'plaza', { members: [] }), code('request/conflict'));
  await hub.desk.rooms.removeMember(hub.owner, 'plaza', 'app:ann');
  await hub.desk.rooms.addMember(hub.owner, 'plaza', 'mqtt:y');
  assert.throws(() => hub.desk.rooms.get(ann, 'plaza'), code('request/not-found'));
  const seen = (client: typeof ann) =>
    eventsOf(hub, 'room.changed', client).map(
      event => (event.room as unknown as { members: string[] }).members,
    );
  assert.deepEqual(seen(ann), [['app:ann'], ['app:ann', 'mqtt:x'], ['mqtt:x']]);
  assert.deepEqual(seen(bob), []);
  assert.equal(seen(hub.owner).length, 4);
});

test("only an admin changes the hub's own rooms, the configuration's rooms away, or a room of others", async () => {
  const { hub } = await open({ rooms: { plaza: { members: ['app:ann'] } } });
  await using _ = hub;
  const { client: ann } = await hub.client('ann', { rooms: ['hub'] });
  const { client: reader } = await hub.client('reader', { scopes: ['messages:read'], rooms: ['plaza'] });
  await assert.rejects(hub.desk.rooms.addMember(ann, 'hub', 'mqtt:x'), code('request/forbidden'));
  await assert.rejects(hub.desk.rooms.remove(ann, 'plaza'), code('request/forbidden'));
  await assert.rejects(hub.desk.rooms.addMember(reader, 'plaza', 'mqtt:x'), code('request/forbidden'));
  await assert.rejects(
    hub.desk.rooms.change(ann, 'plaza', { members: ['app:ann', ada], consent: 'given' }),
    code('request/forbidden'),
  );
  await hub.desk.rooms.addMember(ann, 'plaza', 'mqtt:x');
  await assert.rejects(hub.desk.rooms.remove(hub.owner, 'hub'), code('request/conflict'));
  // Who is in the hub's own room by a token is taken out of it, and stays out.
  await hub.desk.rooms.removeMember(hub.owner, 'hub', 'app:ann');
  assert.ok(!hub.desk.rooms.get(hub.owner, 'hub').members.includes('app:ann'));
  await hub.desk.rooms.addMember(hub.owner, 'sensors', 'mqtt:all-readings');
  assert.deepEqual(hub.desk.rooms.get(hub.owner, 'sensors').members, ['mqtt:all-readings']);
  await hub.desk.rooms.addMember(hub.owner, 'hub', 'app:ann');
  assert.ok(hub.desk.rooms.get(ann, 'hub').members.includes('app:ann'));
});

test('what was said in a room that is gone is not read by making a room of its name', async () => {
  const { hub } = await open({ rooms: { yard: { members: ['app:ann'] } } });
  await using _ = hub;
  const { client: ann } = await hub.client('ann', { rooms: [] });
  const { client: bob } = await hub.client('bob', { rooms: [] });
  await hub.desk.rooms.create(ann, 'den', {});
  for (const name of ['den', 'yard']) {
    await hub.desk.messages.post(ann, { to: `room:${name}`, text: 'between us' });
    await hub.desk.rooms.remove(name === 'den' ? ann : hub.owner, name);
    await assert.rejects(hub.desk.rooms.create(bob, name, {}), code('request/conflict'));
    await assert.rejects(hub.desk.rooms.put(bob, name, {}), code('request/conflict'));
    assert.deepEqual(hub.desk.messages.list(bob, {}).items, []);
  }
  // One that nothing was said in leaves nothing to read, and an admin knows what is there.
  await hub.desk.rooms.create(ann, 'loft', {});
  await hub.desk.rooms.remove(ann, 'loft');
  await hub.desk.rooms.create(bob, 'loft', {});
  await hub.desk.rooms.create(hub.owner, 'den', {});
});

test('whoever asks to join an open room that is full is answered, and the word is not refused for ever', async () => {
  const members = Array.from({ length: 256 }, (_, index) => `mqtt:seat/${index}`);
  const { hub, bridge } = await open();
  await using _ = hub;
  const { addresses } = await hub.desk.rooms.create(hub.owner, 'plaza', { members, open: true });
  const [to] = addresses;
  const port = await bridge.port;
  await port.accept({
    remoteId: 'j1',
    from: eve,
    to: to!,
    type: 'chat.message',
    text: '/join',
    assurance: 'signed',
  });
  await until(() => said(bridge, eve).some(text => text.includes('full')));
  assert.ok(!hub.desk.rooms.get(hub.owner, 'plaza').members.includes(eve));
});

test('strangers that come and go in an open room leave nothing behind', async () => {
  const { hub, bridge } = await open();
  await using _ = hub;
  const made = await hub.desk.rooms.create(hub.owner, 'plaza', { open: true });
  for (const [index, from] of [ada, ben, eve].entries()) {
    await bridge.say({ remoteId: `in${index}`, from, to: made.addresses[0]!, text: '/join' });
    assert.ok(hub.desk.rooms.get(hub.owner, 'plaza').members.includes(from));
    await hub.desk.messages.post(hub.owner, { to: 'room:plaza', text: `hello ${index}` });
    await until(() => said(bridge, from).includes(`hello ${index}`));
    await bridge.say({ remoteId: `out${index}`, from, to: made.addresses[0]!, text: '/leave' });
  }
  assert.deepEqual(hub.desk.rooms.get(hub.owner, 'plaza').members, []);
  assert.deepEqual([...hub.store.read.peerNotes()], []);
});

test('somebody on the mesh is asked into a room, gets nothing of it before saying yes, and leaves by a word', async () => {
  const { hub, bridge } = await open();
  await using _ = hub;
  const { client: ann } = await hub.client('ann', { rooms: [] });
  await hub.desk.rooms.create(ann, 'plaza', {});
  const room = await hub.desk.rooms.addMember(ann, 'plaza', ada);
  assert.equal(room.memberStates.find(one => one.address === ada)?.consent, 'asked');
  await until(() => said(bridge, ada).length === 1);
  assert.match(said(bridge, ada)[0]!, /asks you into the room plaza.*\/join/);
  await hub.desk.messages.post(ann, { to: 'room:plaza', text: 'before' });
  const at = room.addresses[0]!;
  const forged = { from: ada, to: at, text: '/join', assurance: 'unverified' } as const;
  await bridge.say({ remoteId: 'forged', ...forged });
  assert.equal(
    hub.desk.rooms.get(ann, 'plaza').memberStates[1]?.consent,
    'asked',
    'nobody joins for another',
  );
  await bridge.say({ remoteId: 'join', from: ada, to: at, text: ' /Join\n' });
  assert.equal(hub.desk.rooms.get(ann, 'plaza').memberStates[1]?.consent, 'given');
  await hub.desk.messages.post(ann, { to: 'room:plaza', text: 'after' });
  await until(() => said(bridge, ada).includes('after'));
  assert.ok(!said(bridge, ada).includes('before'));
  assert.match(said(bridge, ada)[1]!, /You are in the room plaza/);
  await bridge.say({ remoteId: 'leave', from: ada, to: at, text: '/leave' });
  assert.deepEqual(hub.desk.rooms.get(ann, 'plaza').members, ['app:ann']);
  await hub.desk.messages.post(ann, { to: 'room:plaza', text: 'without her' });
  await until(() => said(bridge, ada).some(text => text.startsWith('You have left')));
  assert.ok(!said(bridge, ada).includes('without her'));
  const words = (await hub.desk.inbox.read(ann, {})).items.map(({ message }) => message.text);
  assert.ok(!words.some(text => /join$|leave$/i.test(text.trim())) || words.includes('/join'), 'forged only');
  // She said yes once: another room tells her, and does not ask.
  await hub.desk.rooms.create(ann, 'yard', { members: [ada] });
  await hub.desk.messages.post(ann, { to: 'room:yard', text: 'in the yard' });
  await until(() => said(bridge, ada).includes('in the yard'));
});

test('whoever says no is not asked again, whoever is in an open room joined by a word', async () => {
  const { hub, bridge } = await open();
  await using _ = hub;
  const made = await hub.desk.rooms.create(hub.owner, 'plaza', { members: [ben], open: true });
  const at = made.addresses[0]!;
  await bridge.say({ remoteId: '1', from: ben, to: at, text: '/leave' });
  assert.equal(hub.desk.directory.get(hub.owner, ben).consent, 'refused');
  await assert.rejects(hub.desk.rooms.addMember(hub.owner, 'plaza', ben), code('request/conflict'));
  await bridge.say({ remoteId: '2', from: eve, to: at, text: '/join' });
  assert.deepEqual(hub.desk.rooms.get(hub.owner, 'plaza').members, [eve]);
  await hub.desk.rooms.change(hub.owner, 'plaza', { open: false });
  await bridge.say({ remoteId: '3', from: ada, to: at, text: '/join' });
  assert.deepEqual(hub.desk.rooms.get(hub.owner, 'plaza').members, [eve]);
  await until(() => said(bridge, ada).some(text => text.includes('is not open')));
  // Ben changes his mind by himself.
  await hub.desk.rooms.change(hub.owner, 'plaza', { open: true });
  await bridge.say({ remoteId: '4', from: ben, to: at, text: '/join' });
  assert.equal(hub.desk.directory.get(hub.owner, ben).consent, 'given');
  assert.ok(hub.desk.rooms.get(hub.owner, 'plaza').members.includes(ben));
});

test('a blocked address is neither heard nor written to, whatever waits for it is cancelled, also after a restart', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-rooms-'));
  try {
    {
      const bridge = mesh();
      bridge.respond = () => {
        throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
      };
      const { hub } = await open({ dir, mesh: bridge, rooms: { plaza: { members: [ada, eve] } } });
      await using _ = hub;
      const waiting = (await hub.desk.messages.post(hub.owner, { to: eve, text: 'hello' })).message;
      await hub.desk.directory.change(hub.owner, eve, { blocked: true });
      await hub.desk.blocks.add('lxmf:ff*', 'a whole crowd');
      const [delivery] = hub.desk.messages.get(hub.owner, waiting.id).deliveries;
      assert.deepEqual([delivery?.state, delivery?.reason], ['cancelled', 'its recipient is blocked']);
      for (const pattern of ['app:owner', 'room:plaza', 'nothing', 'lxmf:*****']) {
        await assert.rejects(hub.desk.blocks.add(pattern), code('request/invalid'), pattern);
      }
    }
    const { hub, bridge } = await open({ dir, rooms: { plaza: { members: [ada, eve] } } });
    await using _ = hub;
    for (const from of [eve, lxmf('ff')]) {
      await bridge.say({ remoteId: `of ${from}`, from, to: 'room:hub', text: 'let me in' });
    }
    assert.deepEqual(hub.desk.messages.list(hub.owner, { room: 'hub' }).items, []);
    assert.equal(hub.counters.get('blocked/dropped'), 2);
    const { refuses } = await bridge.port;
    assert.deepEqual([refuses(eve), refuses(ada)], [true, false]);
    await assert.rejects(
      hub.desk.messages.post(hub.owner, { to: eve, text: 'x' }),
      code('request/forbidden'),
    );
    const { message } = await hub.desk.messages.post(hub.owner, { to: 'room:plaza', text: 'to the others' });
    assert.deepEqual(
      message.deliveries.map(({ to }) => to),
      [ada],
    );
    assert.equal(hub.desk.rooms.get(hub.owner, 'plaza').memberStates[1]?.blocked, true);
    assert.equal(hub.desk.directory.get(hub.owner, eve).blocked, true);
    await hub.desk.directory.change(hub.owner, eve, { blocked: false });
    await bridge.say({ remoteId: 'later', from: eve, to: 'room:hub', text: 'thanks' });
    assert.equal(hub.desk.messages.list(hub.owner, { room: 'hub' }).items.length, 1);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('a peer that refuses gets nothing of rooms and routes, and still what is written to it alone', async () => {
  const { hub, bridge } = await open({
    rooms: { plaza: { members: [ada, ben] } },
    routes: [{ from: 'app:*', to: [ben] }],
  });
  await using _ = hub;
  await hub.desk.directory.change(hub.owner, ben, { consent: 'refused' });
  for (const to of ['room:plaza', 'room:hub']) {
    await hub.desk.messages.post(hub.owner, { to, text: to });
  }
  await hub.desk.messages.post(hub.owner, { to: ben, text: 'you alone' });
  await until(() => said(bridge, ben).includes('you alone') && said(bridge, ada).includes('room:plaza'));
  assert.deepEqual(said(bridge, ben), ['you alone']);
});

test('whoever was put into a room is told so once, also where the gateway dies before it has said so or noted that it did', async () => {
  const unavailable = () => Promise.reject(new GatewayError('store/unavailable', 'it is gone'));
  for (const lost of ['accept', 'rooms.put'] as const) {
    const dir = await mkdtemp(join(tmpdir(), 'kos-rooms-'));
    try {
      const before = mesh();
      {
        const { hub } = await open({ dir, mesh: before });
        await using _ = hub;
        await hub.desk.rooms.create(hub.owner, 'plaza', { members: [] });
        const { committer } = hub.store;
        const { commit } = committer;
        committer.commit = ((verb, args, options) =>
          verb === lost && (verb === 'accept' || options?.lazy === true)
            ? unavailable()
            : commit(verb, args as never, options)) as typeof commit;
        const room = await hub.desk.rooms.addMember(hub.owner, 'plaza', ada);
        assert.equal(room.memberStates.find(({ address }) => address === ada)?.consent, 'asked');
        await hub.desk.rooms.addMember(hub.owner, 'plaza', ben, 'given');
      }
      const after = mesh();
      const { hub } = await open({ dir, mesh: after });
      await using _ = hub;
      await until(() => hub.desk.health().queued === 0);
      const all = (to: string) => [...said(before, to), ...said(after, to)];
      await until(() => all(ada).length > 0 && all(ben).length > 0, `nobody was told (${lost})`);
      assert.equal(all(ada).length, 1, lost);
      assert.match(all(ada)[0] ?? '', /asks you into the room plaza/);
      assert.match(all(ben)[0] ?? '', /You are in the room plaza/);
      await until(() => hub.store.read.roomChanges().every(({ change }) => change.untold === undefined));
      assert.equal(all(ben).length, 1, lost);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  }
});

test('what a template says is what goes out, also after a restart; an app and the history have the message itself', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-rooms-'));
  const reading = { type: 'sensor.reading', from: 'mqtt:dev/pump', to: 'room:sensors' } as const;
  const data = { device: 'pump', values: { temperature: 21.456 } };
  try {
    {
      const bridge = mesh();
      bridge.respond = () => {
        throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
      };
      const mqtt = memoryBridge('mqtt');
      const { hub } = await open({ dir, bridges: [bridge, mqtt] });
      await using _ = hub;
      await hub.desk.routes.create('warm', {
        from: 'mqtt:dev/#',
        type: 'sensor.*',
        to: [ada, 'app:owner'],
        template: {
          text: '{data.values.temperature|round:1|unit:°C} at {from.id}',
          title: 'Pump\n{data.device|upper}',
          type: 'chat.message',
          withoutData: true,
        },
      });
      await mqtt.say({ ...reading, remoteId: '1', text: '', data });
      await until(() => bridge.delivered.length > 0);
    }
    const { hub, bridge } = await open({ dir });
    await using _ = hub;
    assert.deepEqual(hub.desk.routes.get('warm').source, 'api');
    await until(() => bridge.delivered.length > 0);
    const { text, title, type, data: sent, from } = bridge.delivered[0]!.message;
    assert.deepEqual(
      [text, title, type, sent, from],
      ['21.5 °C at dev/pump', 'Pump PUMP', 'chat.message', undefined, reading.from],
    );
    const [item] = (await hub.desk.inbox.read(hub.owner, {})).items;
    assert.deepEqual([item?.message.text, item?.message.data], ['', data]);
    assert.deepEqual(hub.desk.messages.list(hub.owner, { type: 'sensor.reading' }).items[0]?.data, data);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('a rule that stops keeps later ones out; order, urgency and room say which are asked', async () => {
  const { hub, bridge } = await open({
    routes: [{ from: 'app:*', to: [eve] }],
    rooms: { plaza: { members: [] } },
  });
  await using _ = hub;
  await hub.desk.routes.create('first', {
    from: 'app:*',
    to: [ada],
    order: -1,
    stop: true,
    minPriority: 'high',
  });
  await hub.desk.routes.create('square', { from: 'app:*', to: [ben], room: 'plaza' });
  const to = async (room: string, priority: 'critical' | 'normal') =>
    (
      await hub.desk.messages.post(hub.owner, { to: `room:${room}`, text: 'x', priority })
    ).message.deliveries.map(one => one.to);
  assert.deepEqual(await to('hub', 'critical'), [ada]);
  assert.deepEqual(await to('hub', 'normal'), [eve]);
  assert.deepEqual(await to('plaza', 'critical'), [ben]);
  const ids = hub.desk.routes.list().map(({ id, passed }) => [id, passed]);
  assert.deepEqual(
    ids.map(([, passed]) => passed),
    [1, 1, 1],
  );
  await hub.desk.routes.change(String(ids[1]![0]), { enabled: false });
  assert.deepEqual(await to('hub', 'normal'), []);
  assert.equal(eventsOf(hub, 'route.changed').length, 3);
  await until(() => bridge.delivered.length === 3);
});

test('members that come and go while others speak: nothing is left waiting for who is out, and nothing said to who is in is lost', async () => {
  const bridge = mesh();
  bridge.respond = () => {
    throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
  };
  const { hub } = await open({ mesh: bridge, rooms: { plaza: { members: [ada, ben, eve] } } });
  await using _ = hub;
  const { rooms, messages } = hub.desk;
  const post = (text: string) => messages.post(hub.owner, { to: 'room:plaza', text });
  const work: Promise<unknown>[] = [];
  for (let n = 0; n < 30; n++) {
    work.push(post(`${n}`));
    const who = [ada, ben][n % 2]!;
    const isOut = n % 4 < 2;
    work.push(
      (isOut
        ? rooms.removeMember(hub.owner, 'plaza', who)
        : rooms.addMember(hub.owner, 'plaza', who, 'given')
      ).catch(() => undefined),
    );
    if (n % 7 === 0) {
      await Promise.all(work.splice(0));
    }
  }
  await Promise.all(work);
  for (const who of [ada, ben]) {
    await rooms.removeMember(hub.owner, 'plaza', who).catch(() => undefined);
  }
  const waits = () => hub.store.read.waitingOf('room:plaza').map(({ recipient }) => recipient);
  await until(() => !waits().includes(ada) && !waits().includes(ben), 'something still waits for them');
  const toEve = messages
    .list(hub.owner, { room: 'plaza', limit: 200 })
    .items.filter(({ deliveries }) =>
      deliveries.some(({ to, state }) => to === eve && state !== 'cancelled'),
    );
  assert.equal(toEve.length, 30);
});

test('an attempt that is under way when its member is taken out is the last one', async () => {
  const bridge = mesh();
  const gate = Promise.withResolvers<never>();
  gate.promise.catch(() => undefined);
  bridge.respond = () => gate.promise;
  const { hub } = await open({ mesh: bridge, rooms: { plaza: { members: [ada] } } });
  await using _ = hub;
  const { id } = (await hub.desk.messages.post(hub.owner, { to: 'room:plaza', text: 'hello' })).message;
  await until(() => bridge.delivered.length === 1);
  await hub.desk.directory.change(hub.owner, ada, { blocked: true });
  await hub.desk.rooms.removeMember(hub.owner, 'plaza', ada);
  gate.reject(new GatewayError('bridge/unavailable', 'peer did not answer', { retryable: true }));
  const delivery = () => hub.desk.messages.get(hub.owner, id).deliveries[0];
  await until(() => delivery()?.state === 'cancelled');
  assert.equal(delivery()?.reason, 'its recipient is blocked');
  assert.equal(bridge.delivered.length, 1);
});
