import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { matrixLimits } from '../../../src/bridges/matrix/config.ts';
import { eventually, openRig, peer } from './rig.ts';

const limits = matrixLimits as { ghosts: number; ghostsAskedFor: number };
const usual = matrixLimits.ghosts;
after(() => {
  limits.ghosts = usual;
});
const other = `lxmf:${'bb'.repeat(16)}`;

test('whoever comes when there are too many ghosts is heard by the bot, and holds nobody up', async () => {
  await using rig = await openRig({ rooms: { plaza: { members: [] } } });
  await rig.up();
  // The bot, the watcher and one peer.
  limits.ghosts = 3;
  const room = rig.homeserver.person('alice').join('#_kos_plaza:home.test');
  await rig.hear('first', 'room:plaza');
  await rig.hear('too many', 'room:plaza', { from: other });
  await rig.hear('again', 'room:plaza');
  await eventually(() => rig.homeserver.shown(room).length === 3);
  assert.deepEqual(
    rig.homeserver.shown(room).map(({ sender, content }) => [sender, content.body]),
    [
      [`@_kos_${peer}:home.test`, 'first'],
      ['@_kos_bot:home.test', 'bbbbbbbb: too many'],
      [`@_kos_${peer}:home.test`, 'again'],
    ],
  );
  limits.ghosts = usual;
});

test('asking whether there is somebody makes ghosts only as long as there is room enough', async () => {
  await using rig = await openRig();
  await rig.up();
  const of = (digits: string) => `@_kos_${digits.repeat(16)}:home.test`;
  limits.ghostsAskedFor = 3;
  assert.equal(await rig.bridge.appservice.user(of('aa')), true);
  assert.equal(await rig.bridge.appservice.user(of('bb')), false);
  assert.equal(await rig.bridge.appservice.user(of('aa')), true);
});

test('nobody from elsewhere who is not allowed makes ghosts by inviting them', async () => {
  await using rig = await openRig();
  await rig.up();
  const { rooms } = rig.homeserver;
  const ghost = `@_kos_${'dd'.repeat(16)}:home.test`;
  const room = rooms.create('@eve:far.test', { preset: 'private_chat', invite: [ghost] });
  await eventually(() => rig.counters.get('matrix/invite/refused') === 1);
  await eventually(() => rig.homeserver.pusher.idle);
  assert.equal(rooms.membership(room, ghost), 'invite');
  assert.equal(rig.homeserver.requests.filter(line => /register/.test(line)).length, 2);
});
