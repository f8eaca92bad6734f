import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../../../src/lib/errors.ts';
import { eventually, ghost, openRig, peer, type Rig } from './rig.ts';

const bot = '@_kos_bot:home.test';

async function withBot(rig: Rig) {
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const room = alice.create([bot]);
  await eventually(() => rig.homeserver.shown(room).length === 1, 'no greeting');
  return {
    alice,
    room,
    async ask(line: string): Promise<string> {
      const before = rig.homeserver.shown(room).length;
      const asked = alice.say(room, line);
      await eventually(() => rig.homeserver.shown(room).length === before + 2, `no answer to ${line}`);
      const answer = rig.homeserver.shown(room).at(-1);
      assert.equal(answer?.sender, bot);
      assert.equal(answer?.content.msgtype, 'm.notice');
      assert.equal(answer?.content['m.relates_to']['m.in_reply_to'].event_id, asked.event_id);
      return answer?.content.body;
    },
  };
}

test('the bot greets, and answers what it is asked', async () => {
  await using rig = await openRig();
  const { ask } = await withBot(rig);
  assert.match(await ask('help'), /identity on \| off/);
  assert.match(await ask('status'), /^Test Street: ready/);
  assert.match(await ask('what?'), /no such command/);
  (await rig.mesh.port).seen(`lxmf:${peer}`, { at: Date.now(), name: 'Bob' });
  assert.match(await ask('peers'), new RegExp(`Bob – lxmf:${peer} – ${ghost}`));
  assert.equal(await ask('peers zebra'), 'Nobody yet.');
});

test('the bot opens a chat with a mesh peer', async () => {
  await using rig = await openRig();
  const { ask, alice } = await withBot(rig);
  assert.match(await ask('chat nobody'), /32 hex digits/);
  assert.match(await ask(`chat lxmf:${peer}`), /You are invited/);
  const room = alice.invitations()[0] ?? '';
  alice.join(room);
  alice.say(room, 'hello');
  await eventually(() => rig.mesh.delivered.length === 1);
  assert.equal(rig.mesh.delivered[0]?.to, `lxmf:${peer}`);
});

test('who is not allowed is turned away by bot and ghosts', async () => {
  await using rig = await openRig({ config: { allow: ['@bob:*'] } });
  await rig.up();
  const alice = rig.homeserver.person('alice');
  for (const invited of [bot, ghost]) {
    const room = alice.create([invited]);
    await eventually(() => rig.homeserver.rooms.membership(room, invited) === 'leave');
  }
  assert.equal(rig.counters.get('matrix/invite/refused'), 2);
  const bob = rig.homeserver.person('bob');
  const room = bob.create([ghost]);
  await eventually(() => rig.homeserver.rooms.membership(room, ghost) === 'join');
});

test('delivery shows in a direct chat: the ghost has read it, and clients that know it see the status', async () => {
  await using rig = await openRig();
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const room = alice.create([ghost]);
  await eventually(() => rig.homeserver.rooms.membership(room, ghost) === 'join');
  const said = alice.say(room, 'hello');
  await eventually(() =>
    rig.homeserver.receipts.some(({ event, user }) => event === said.event_id && user === ghost),
  );
  const statuses = () =>
    rig.homeserver.rooms.events(room).filter(({ type }) => type === 'com.beeper.message_send_status');
  await eventually(() => statuses().some(({ content }) => content.status === 'SUCCESS'));
  assert.equal(statuses().at(-1)?.content['m.relates_to'].event_id, said.event_id);
});

test('what fails for good is said in the chat, and what waits shows why', async () => {
  await using rig = await openRig();
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const room = alice.create([ghost]);
  await eventually(() => rig.homeserver.rooms.membership(room, ghost) === 'join');
  rig.mesh.respond = ({ message }) => {
    throw message.text === 'later'
      ? new GatewayError('bridge/unavailable', 'no path yet', { retryable: true })
      : new GatewayError('bridge/rejected', 'the peer refused the message');
  };
  alice.say(room, 'never');
  await eventually(() => rig.homeserver.shown(room).some(({ content }) => content.msgtype === 'm.notice'));
  const notice = rig.homeserver.shown(room).find(({ content }) => content.msgtype === 'm.notice');
  assert.match(notice?.content.body, /^⚠️ Not delivered to .*the peer refused the message/);
  alice.say(room, 'later');
  await eventually(() =>
    rig.homeserver.rooms
      .events(room)
      .some(({ content }) => content.status === 'PENDING' && content.message === 'no path yet'),
  );
});

test("a person's read receipt makes what the mesh said read", async () => {
  await using rig = await openRig();
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const id = await rig.hear('read me', 'matrix:@alice:home.test');
  const state = () => rig.hub.desk.messages.get(rig.hub.owner, id).deliveries[0]?.state;
  await eventually(() => state() === 'delivered');
  const room = alice.invitations()[0] ?? '';
  alice.join(room);
  alice.read(room, rig.homeserver.shown(room)[0]?.event_id ?? '');
  await eventually(() => state() === 'read');
});

test('a person asks for an address of their own, and peers reach them under it', async () => {
  await using rig = await openRig();
  const { ask } = await withBot(rig);
  assert.match(await ask('identity'), /no address of your own/);
  assert.match(await ask('identity maybe'), /identity on, or identity off/);
});

test('a room that is replaced is followed where the other says so, and never into a room that is known', async () => {
  const bob = `lxmf:${'bb'.repeat(16)}`;
  await using rig = await openRig({ rooms: { plaza: { members: [bob] } } });
  await rig.up();
  const { rooms } = rig.homeserver;
  const mallory = rig.homeserver.person('mallory');
  const chat = mallory.create([ghost]);
  await eventually(() => rooms.membership(chat, ghost) === 'join');
  const carol = rig.homeserver.person('carol');
  const plaza = carol.join('#_kos_plaza:home.test');
  const tell = async (room: string, text: string) => {
    const before = rig.mesh.delivered.length;
    carol.say(room, text);
    await eventually(() => rig.mesh.delivered.length > before);
    return rig.mesh.delivered.at(-1)?.to;
  };
  const replace = async (next: string) => {
    mallory.send(chat, 'm.room.tombstone', { body: 'moved', replacement_room: next }, { state_key: '' });
    await eventually(() => rig.homeserver.pusher.idle);
  };
  await replace(plaza);
  assert.equal(await tell(plaza, 'for the plaza'), bob);

  const yard = rooms.create(carol.userId, { preset: 'public_chat' });
  await replace(yard);
  await eventually(() => rooms.membership(yard, ghost) === 'leave');

  const next = rooms.create(mallory.userId, {
    preset: 'public_chat',
    creation_content: { predecessor: { room_id: chat } },
  });
  await replace(next);
  await eventually(() => rooms.membership(next, ghost) === 'join');
  const before = rig.mesh.delivered.length;
  mallory.say(next, 'here now');
  await eventually(() => rig.mesh.delivered.length > before);
  assert.equal(rig.mesh.delivered.at(-1)?.to, `lxmf:${peer}`);
});

test('in a direct chat only the person whose it is speaks to the mesh, and others are told so', async () => {
  await using rig = await openRig();
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const carol = rig.homeserver.person('carol');
  const chat = alice.create([ghost, carol.userId]);
  carol.join(chat);
  await eventually(() => rig.homeserver.rooms.membership(chat, ghost) === 'join');
  carol.say(chat, 'among ourselves');
  alice.say(chat, 'to the peer');
  await eventually(() => rig.mesh.delivered.length === 1);
  assert.equal(rig.mesh.delivered[0]?.message.text, 'to the peer');
  await eventually(() =>
    rig.homeserver
      .shown(chat)
      .some(({ content, sender }) => sender === ghost && /only what @alice/.test(content.body)),
  );
});

test('a message that was called back is not shown as delivered', async () => {
  await using rig = await openRig();
  await rig.up();
  rig.mesh.respond = () => {
    throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
  };
  const alice = rig.homeserver.person('alice');
  const chat = alice.create([ghost]);
  await eventually(() => rig.homeserver.rooms.membership(chat, ghost) === 'join');
  alice.say(chat, 'never mind');
  await eventually(() => rig.mesh.delivered.length >= 1);
  const { desk, owner } = rig.hub;
  await desk.messages.cancel(owner, desk.messages.list(owner, {}).items[0]?.id ?? '');
  const statuses = () =>
    rig.homeserver.rooms
      .events(chat)
      .filter(({ type }) => type === 'com.beeper.message_send_status')
      .map(({ content }) => content.status);
  await eventually(() => statuses().includes('FAIL_PERMANENT'));
  await eventually(() => /called back/.test(rig.homeserver.shown(chat).at(-1)?.content.body ?? ''));
  assert.ok(!statuses().includes('SUCCESS'));
});
