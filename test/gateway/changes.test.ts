import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { GatewayError } from '../../src/lib/errors.ts';
import { type MemoryBridge, memoryBridge, openTestSwitch, type TestSwitch, until } from './fixture.ts';

const lxmf = (two: string) => `lxmf:${two.repeat(16)}`;
const [ada, ben, eve, kim] = [lxmf('a1'), lxmf('b2'), lxmf('e5'), lxmf('c3')];
const away = () => {
  throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
};
const stateOf = (hub: TestSwitch, id: string, to: string) =>
  hub.desk.messages.get(hub.owner, id).deliveries.find(one => one.to === to)?.state;
const got = (bridge: MemoryBridge, to: string) =>
  bridge.delivered
    .filter(one => one.to === to)
    .map(({ message }) => [message.type, message.text, message.title, message.data]);

test('an edit is worded by the rule that made the delivery, and reaches whom the message reached, whatever rules and rooms there are by then', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-changes-'));
  try {
    const bridge = memoryBridge();
    let id = '';
    {
      await using hub = await openTestSwitch({ dir, bridges: [bridge] });
      await hub.desk.rooms.create(hub.owner, 'plaza', { members: [eve], consent: 'given' });
      await hub.desk.routes.create('worded', {
        from: 'app:*',
        room: 'plaza',
        type: 'chat.message',
        to: [ada],
        priority: 'bulk',
        maxRate: '1/d',
        template: {
          text: '{from.name}: {text} ({data.n})',
          title: 'From {type}',
          type: 'event.said',
          withoutData: true,
        },
      });
      await hub.desk.routes.create('plain', { from: 'app:*', room: 'plaza', to: [ben], type: 'chat.*' });
      const said = await hub.desk.messages.post(hub.owner, { to: 'room:plaza', text: 'one', data: { n: 1 } });
      ({ id } = said.message);
      await until(() => [ada, ben, eve].every(to => stateOf(hub, id, to) === 'delivered'));
      assert.deepEqual(got(bridge, ada), [['event.said', 'owner: one (1)', 'From chat.message', undefined]]);
      await hub.desk.routes.remove('worded');
      await hub.desk.routes.remove('plain');
      await hub.desk.routes.create('later', { from: 'app:*', room: 'plaza', to: [kim] });
      await hub.desk.rooms.put(hub.owner, 'plaza', { members: [kim], consent: 'given' });
    }
    await using hub = await openTestSwitch({ dir, bridges: [bridge] });
    const edit = await hub.desk.messages.post(hub.owner, {
      to: 'room:plaza',
      type: 'chat.edit',
      text: 'two',
      data: { n: 2 },
      priority: 'high',
      inReplyTo: id,
    });
    assert.deepEqual(
      edit.message.deliveries.map(({ to }) => to),
      [eve, ada, ben],
    );
    await until(() => [ada, ben, eve].every(to => stateOf(hub, edit.message.id, to) === 'delivered'));
    assert.deepEqual(got(bridge, ada).at(-1), [
      'chat.edit',
      'owner: two (2)',
      'From chat.message',
      undefined,
    ]);
    assert.deepEqual(got(bridge, ben).at(-1), ['chat.edit', 'two', undefined, { n: 2 }]);
    assert.equal(bridge.delivered.findLast(({ to }) => to === ada)?.urgency, 'bulk');

    const words = await hub.desk.messages.post(hub.owner, {
      to: 'room:plaza',
      type: 'chat.edit',
      text: 'three',
      inReplyTo: id,
    });
    await until(() => stateOf(hub, words.message.id, ada) === 'delivered');
    assert.equal(got(bridge, ada).at(-1)?.[1], 'owner: three (1)', 'what an edit leaves is as it was');

    const redaction = await hub.desk.messages.post(hub.owner, {
      to: 'room:plaza',
      type: 'chat.redaction',
      text: 'it was wrong',
      data: { n: 3 },
      inReplyTo: id,
    });
    await until(() => [ada, ben, eve].every(to => stateOf(hub, redaction.message.id, to) === 'delivered'));
    assert.deepEqual(got(bridge, ada).at(-1), ['chat.redaction', '', undefined, undefined]);
    assert.deepEqual(got(bridge, ben).at(-1), ['chat.redaction', 'it was wrong', undefined, { n: 3 }]);
    assert.deepEqual(got(bridge, kim), [], 'who came later is told of no change of what it never had');
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('an edit that goes into a message which waits leaves it worded by its rule, also after a restart', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-changes-'));
  const rule = {
    from: 'app:*',
    room: 'plaza',
    to: [ada],
    template: { text: '<{text}>', type: 'event.said', withoutData: true },
  };
  try {
    let id = '';
    {
      const bridge = memoryBridge('lxmf', { tellsWhenSent: true });
      bridge.respond = away;
      await using hub = await openTestSwitch({
        dir,
        bridges: [bridge],
        rooms: { plaza: { members: [] } },
        routes: [rule],
      });
      const said = await hub.desk.messages.post(hub.owner, { to: 'room:plaza', text: 'one', data: 1 });
      ({ id } = said.message);
      await until(() => bridge.delivered.length > 0);
      await hub.desk.routes.change(String(hub.desk.routes.list()[0]?.id), { enabled: false });
      const edit = await hub.desk.messages.post(hub.owner, {
        to: 'room:plaza',
        type: 'chat.edit',
        text: 'two',
        data: 2,
        inReplyTo: id,
      });
      assert.equal(edit.message.deliveries[0]?.state, 'cancelled');
    }
    const bridge = memoryBridge('lxmf', { tellsWhenSent: true });
    await using hub = await openTestSwitch({
      dir,
      bridges: [bridge],
      rooms: { plaza: { members: [] } },
      routes: [rule],
    });
    await until(() => stateOf(hub, id, ada) === 'delivered');
    assert.deepEqual(got(bridge, ada), [['event.said', '<two>', undefined, undefined]]);
    assert.equal(bridge.delivered.length, 1);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('whom a message did not reach is told of no change of it', async () => {
  const bridge = memoryBridge();
  bridge.respond = ({ to }) => {
    if (to === ada) {
      throw new GatewayError('bridge/rejected', 'they want nothing');
    }
    return to === ben ? away() : { state: 'delivered' };
  };
  await using hub = await openTestSwitch({
    bridges: [bridge],
    rooms: { plaza: { members: [ada, ben, eve] } },
  });
  const post = (draft: object) => hub.desk.messages.post(hub.owner, { to: 'room:plaza', ...draft });
  const { message } = await post({ text: 'one' });
  await until(
    () => stateOf(hub, message.id, ada) === 'failed' && stateOf(hub, message.id, eve) === 'delivered',
  );
  const edit = await post({ type: 'chat.edit', text: 'two', inReplyTo: message.id });
  assert.deepEqual(
    edit.message.deliveries.filter(({ state }) => state !== 'cancelled').map(({ to }) => to),
    [ben, eve],
    'who waits for it and who has it',
  );
});

test('what rules said is forgotten with the last message that it was said of', async () => {
  const rule = { from: 'app:*', room: 'plaza', to: [ada], template: { text: '<{text}>' } };
  await using hub = await openTestSwitch({
    bridges: [memoryBridge()],
    rooms: { plaza: { members: [] } },
    routes: [rule],
  });
  const ids: string[] = [];
  for (const text of ['one', 'two']) {
    ids.push((await hub.desk.messages.post(hub.owner, { to: 'room:plaza', text })).message.id);
  }
  await until(() => ids.every(id => stateOf(hub, id, ada) === 'delivered'));
  const ruling = { template: { text: '<{text}>' } };
  assert.deepEqual(
    hub.store.read.reachedBy(ids[0]!, () => true),
    [{ address: ada, ruling }],
  );
  const sweep = (messageCount: number) =>
    hub.store.committer.commit('retention.sweep', {
      part: 'messages',
      now: Date.now(),
      limits: { messageAge: 1e12, messageCount } as never,
    });
  await sweep(1);
  assert.deepEqual(
    hub.store.read.reachedBy(ids[0]!, () => true),
    [],
  );
  assert.deepEqual(
    hub.store.read.reachedBy(ids[1]!, () => true),
    [{ address: ada, ruling }],
  );
  await sweep(0);
  assert.equal(hub.store.read.rulings(), 0);
});
