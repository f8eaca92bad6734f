import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, ghost, openRig, peer } from './rig.ts';

test('a person invites the ghost of a mesh peer and writes to the peer, who answers in the same chat', async () => {
  await using rig = await openRig();
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const room = alice.create([ghost]);
  alice.say(room, 'said before the ghost came');
  await eventually(() => rig.homeserver.rooms.membership(room, ghost) === 'join');
  alice.say(room, 'and after');
  await eventually(() => rig.mesh.delivered.length === 2);
  assert.deepEqual(
    rig.mesh.delivered.map(({ to, message }) => [to, message.from, message.text]),
    [
      [`lxmf:${peer}`, 'matrix:@alice:home.test', 'said before the ghost came'],
      [`lxmf:${peer}`, 'matrix:@alice:home.test', 'and after'],
    ],
  );
  await rig.hear('hello Alice', 'matrix:@alice:home.test');
  await eventually(() => rig.homeserver.shown(room).length === 3);
  const last = rig.homeserver.shown(room).at(-1);
  assert.equal(last?.sender, ghost);
  assert.equal(last?.content.body, 'hello Alice');
});

test('a mesh peer writes first: a chat is made, the person invited, and the ghost has the announced name', async () => {
  await using rig = await openRig({ config: { invite: '@alice:home.test' } });
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const port = await rig.mesh.port;
  port.seen(`lxmf:${peer}`, { at: Date.now(), name: 'Bob on the hill' });
  await rig.hear('anybody there?');
  await eventually(() => alice.invitations().length === 1);
  const [room = ''] = alice.invitations();
  await eventually(() => rig.homeserver.shown(room).length === 1);
  assert.equal(rig.homeserver.shown(room)[0]?.content.body, 'anybody there?');
  assert.equal(rig.homeserver.names.get(ghost), 'Bob on the hill');
  alice.join(room);
  alice.say(room, 'I am');
  await eventually(() => rig.mesh.delivered.length === 1);
  assert.equal(rig.mesh.delivered[0]?.to, `lxmf:${peer}`);
  assert.equal(rig.mesh.delivered[0]?.message.text, 'I am');
});

test('each configured room has a portal: what is said there goes to the members, and comes back to nobody who said it', async () => {
  await using rig = await openRig({ rooms: { plaza: { members: [`lxmf:${peer}`] } } });
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const room = alice.join('#_kos_plaza:home.test');
  const said = alice.say(room, 'good morning');
  await eventually(() => rig.mesh.delivered.length === 1);
  const message = rig.mesh.delivered[0]?.message;
  assert.equal(message?.to, 'room:plaza');
  assert.equal(message?.text, 'good morning');
  await eventually(() => rig.homeserver.receipts.some(({ event }) => event === said.event_id));
  await rig.hear('and to you', 'room:plaza', { inReplyTo: message?.id });
  await eventually(() => rig.homeserver.shown(room).length === 2);
  const answer = rig.homeserver.shown(room)[1];
  assert.equal(answer?.sender, ghost);
  assert.deepEqual(answer?.content['m.relates_to'], { 'm.in_reply_to': { event_id: said.event_id } });
  assert.equal(rig.homeserver.shown(room).filter(({ content }) => content.body === 'good morning').length, 1);
});

test('a room made while the gateway runs has its portal at once, and a Matrix room is entered and left as it comes and goes', async () => {
  await using rig = await openRig();
  await rig.up();
  const { desk, owner } = rig.hub;
  await desk.rooms.create(owner, 'plaza', { members: [`lxmf:${peer}`] });
  const alice = rig.homeserver.person('alice');
  await eventually(() => rig.homeserver.rooms.aliases.has('#_kos_plaza:home.test'));
  const portal = alice.join('#_kos_plaza:home.test');
  alice.say(portal, 'in the portal');
  await eventually(() => rig.mesh.delivered.length === 1);
  assert.equal(rig.mesh.delivered[0]?.message.to, 'room:plaza');
  const own = alice.create([]);
  const bot = '@_kos_bot:home.test';
  await desk.rooms.addMember(owner, 'plaza', `matrix:${own}`);
  alice.invite(own, bot);
  await eventually(() => rig.homeserver.rooms.membership(own, bot) === 'join');
  alice.say(own, 'in a room of her own');
  await eventually(() => rig.mesh.delivered.length === 2);
  await eventually(() => rig.homeserver.shown(portal).length === 2, 'the portal hears it as well');
  await desk.rooms.removeMember(owner, 'plaza', `matrix:${own}`);
  await eventually(() => rig.homeserver.rooms.membership(own, bot) === 'leave');
  await desk.rooms.remove(owner, 'plaza');
  alice.say(portal, 'is anybody there?');
  await eventually(() => rig.counters.get('matrix/refused/request/not-found') === 1);
  await desk.rooms.create(owner, 'plaza', { members: [`lxmf:${peer}`] });
  alice.say(portal, 'and now?');
  await eventually(() => rig.mesh.delivered.some(({ message }) => message.text === 'and now?'));
  assert.ok(!rig.mesh.delivered.some(({ message }) => message.text === 'is anybody there?'));
});
