import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Log, silentLog } from '../../../src/lib/log.ts';
import { Refusal } from '../../sim/homeserver-rooms.ts';
import { eventually, ghost, openRig, peer, type Rig } from './rig.ts';

const rooms = { plaza: { members: [`lxmf:${peer}`] } };
const count = 20;
const numbers = (word: string) => Array.from({ length: count }, (_, index) => `${word} ${index}`);

async function inPlaza(rig: Rig) {
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const room = alice.join('#_kos_plaza:home.test');
  await eventually(() => rig.homeserver.pusher.idle);
  return { alice, room };
}

const heard = (rig: Rig) => rig.mesh.delivered.map(({ message }) => message.text);
const seen = (rig: Rig, room: string) =>
  rig.homeserver
    .shown(room)
    .filter(({ sender }) => sender === ghost)
    .map(({ content }) => content.body);

test('what is said in Matrix while the gateway is away arrives once and in order when it is back', async () => {
  await using rig = await openRig({ rooms });
  const { alice, room } = await inPlaza(rig);
  await rig.stop();
  for (const text of numbers('away')) {
    alice.say(room, text);
  }
  await rig.start();
  await eventually(() => rig.mesh.delivered.length >= count);
  await eventually(() => rig.homeserver.pusher.idle);
  assert.deepEqual(heard(rig), numbers('away'));
});

test('what the mesh says while the homeserver is away waits with its reason, and arrives once and in order', async () => {
  await using rig = await openRig({ rooms });
  const { room } = await inPlaza(rig);
  await rig.homeserver.kill();
  await eventually(() => rig.hub.desk.health().failures.some(({ name }) => name === 'matrix'));
  let last = '';
  for (const text of numbers('waiting')) {
    last = await rig.hear(text, 'room:plaza');
  }
  const [delivery] = rig.hub.desk.messages.get(rig.hub.owner, last).deliveries;
  assert.equal(delivery?.state, 'queued');
  assert.match(delivery?.reason ?? '', /homeserver is not reachable/);
  await rig.homeserver.start();
  await eventually(() => seen(rig, room).length >= count);
  assert.deepEqual(seen(rig, room), numbers('waiting'));
});

test('a homeserver that is killed and forgets what it had to push loses nothing: the rooms are read back, in order', async () => {
  await using rig = await openRig({ rooms });
  const { alice, room } = await inPlaza(rig);
  alice.say(room, 'before');
  await eventually(() => rig.mesh.delivered.length === 1);
  // Said and killed in the same instant: nothing of it was pushed, and what was in flight is not sent again.
  for (const text of numbers('lost')) {
    alice.say(room, text);
  }
  await rig.homeserver.kill();
  await eventually(() => rig.hub.desk.health().failures.some(({ name }) => name === 'matrix'));
  await rig.homeserver.start();
  for (const text of numbers('later')) {
    alice.say(room, text);
  }
  await eventually(() => rig.mesh.delivered.length >= 2 * count + 1);
  assert.deepEqual(heard(rig), ['before', ...numbers('lost'), ...numbers('later')]);
  assert.ok(rig.counters.get('matrix/read-back') > 0);
});

test('a homeserver that pushes everything twice under other numbers is heard once', async () => {
  await using rig = await openRig({ rooms });
  const { alice, room } = await inPlaza(rig);
  rig.homeserver.pusher.duplicate = true;
  for (const text of numbers('twice')) {
    alice.say(room, text);
  }
  await eventually(() => rig.homeserver.pusher.idle && rig.mesh.delivered.length >= count);
  assert.deepEqual(heard(rig), numbers('twice'));
});

test('an answer that gets lost on its way leads to one event: the repeat has the same transaction id', async () => {
  await using rig = await openRig({ rooms });
  const { room } = await inPlaza(rig);
  await rig.hear('made the ghost', 'room:plaza');
  await eventually(() => seen(rig, room).length === 1);
  rig.homeserver.dropAnswers.push(/PUT .*\/send\/m\.room\.message\//);
  await rig.hear('once', 'room:plaza');
  await rig.hear('and on', 'room:plaza');
  await eventually(() => seen(rig, room).includes('and on'));
  assert.deepEqual(seen(rig, room), ['made the ghost', 'once', 'and on']);
});

test('a rate limit is waited for, and says so where the message waits', async () => {
  await using rig = await openRig({ rooms });
  const { room } = await inPlaza(rig);
  await rig.hear('first', 'room:plaza');
  await eventually(() => seen(rig, room).length === 1);
  const limit = new Refusal(429, 'M_LIMIT_EXCEEDED', 'Too Many Requests', { retry_after_ms: 200 });
  rig.homeserver.failures.push([/send\/m\.room\.message/, limit], [/send\/m\.room\.message/, limit]);
  await rig.hear('second', 'room:plaza');
  await eventually(() => seen(rig, room).length === 2);
  assert.equal(rig.counters.get('matrix/rate-limited'), 2);
});

test('what the homeserver refuses fails with its words, and holds nothing up', async () => {
  await using rig = await openRig({ rooms });
  const { room } = await inPlaza(rig);
  await rig.hear('first', 'room:plaza');
  await eventually(() => seen(rig, room).length === 1);
  rig.homeserver.failures.push([
    /send\/m\.room\.message/,
    new Refusal(413, 'M_TOO_LARGE', 'event too large'),
  ]);
  const id = await rig.hear('refused', 'room:plaza');
  await rig.hear('next', 'room:plaza');
  await eventually(() => seen(rig, room).includes('next'));
  // The state is written in the next group of commits, which what follows does not wait for.
  const delivery = () => rig.hub.desk.messages.get(rig.hub.owner, id).deliveries[0];
  await eventually(() => delivery()?.state === 'failed');
  assert.match(delivery()?.reason ?? '', /event too large/);
});

test('a gateway that cannot be reached by the homeserver says so in its health, and sends all the same', async () => {
  await using rig = await openRig({ rooms });
  rig.homeserver.failures.push([/\/ping$/, new Refusal(502, 'M_CONNECTION_FAILED', 'Connection refused')]);
  await rig.up();
  await eventually(() => rig.health.some(({ state }) => state === 'waiting'));
  assert.match(rig.health[0]?.reason ?? '', /cannot reach this gateway at http:\/\/127\.0\.0\.1:8080/);
  await rig.hear('out', 'room:plaza');
  await eventually(() => rig.homeserver.rooms.aliases.has('#_kos_plaza:home.test'));
  const room = rig.homeserver.rooms.aliases.get('#_kos_plaza:home.test') ?? '';
  await eventually(() => seen(rig, room).includes('out'));
});

test('a homeserver that does not know the token is told apart from one that is away', async () => {
  await using rig = await openRig();
  await rig.up();
  rig.homeserver.failures.push(
    ...Array.from(
      { length: 50 },
      () => [/./, new Refusal(401, 'M_UNKNOWN_TOKEN', 'Invalid access token passed.')] as const,
    ),
  );
  await rig.homeserver.restart();
  await eventually(() =>
    rig.hub.desk.health().failures.some(({ reason }) => /does not know the as_token/.test(reason)),
  );
});

test('a homeserver that was set up anew gets its ghosts and rooms again', async () => {
  await using rig = await openRig({ rooms });
  await inPlaza(rig);
  await rig.hear('before', 'room:plaza');
  await eventually(() => rig.counters.get('matrix/sent') === 1);
  await rig.homeserver.kill();
  rig.homeserver.forgetEverything();
  await rig.homeserver.start();
  await rig.hear('after', 'room:plaza');
  await eventually(() => {
    const room = rig.homeserver.rooms.aliases.get('#_kos_plaza:home.test') ?? '';
    return seen(rig, room).includes('after');
  });
});

test('a person who left a chat is invited again when the peer writes', async () => {
  await using rig = await openRig();
  await rig.up();
  const alice = rig.homeserver.person('alice');
  await rig.hear('hello', 'matrix:@alice:home.test');
  await eventually(() => alice.invitations().length === 1);
  const [room = ''] = alice.invitations();
  alice.join(room);
  alice.leave(room);
  await eventually(() => rig.homeserver.pusher.idle);
  await rig.hear('still there?', 'matrix:@alice:home.test');
  await eventually(() => alice.invitations().length === 1);
  assert.deepEqual(alice.invitations(), [room]);
  await eventually(() => seen(rig, room).includes('still there?'));
});

test('events that the switch cannot take now are on disk before they are answered, and come after a restart', async () => {
  await using rig = await openRig({ rooms });
  const { alice, room } = await inPlaza(rig);
  // Reading back does not find them, so that what comes can only come from the disk.
  const unread = Array.from(
    { length: 60 },
    () => [/\/messages$/, new Refusal(403, 'M_FORBIDDEN', 'no')] as const,
  );
  const broken = Array.from(
    { length: 60 },
    () => [/\/media\/download\//, new Refusal(500, 'M_UNKNOWN', 'Internal server error')] as const,
  );
  rig.homeserver.failures.push(...unread, ...broken);
  const image = rig.homeserver.upload(new Uint8Array([1, 2, 3]), 'image/png');
  alice.say(room, 'slow.png', { msgtype: 'm.image', url: image, info: { mimetype: 'image/png' } });
  for (const text of numbers('behind')) {
    alice.say(room, text);
  }
  await eventually(() => rig.homeserver.pusher.idle);
  assert.ok(rig.counters.get('matrix/inbox/kept') > count);
  await rig.stop();
  assert.equal(heard(rig).length, 0);
  rig.homeserver.failures.splice(0, Number.POSITIVE_INFINITY, ...unread);
  await rig.start();
  await eventually(() => rig.mesh.delivered.length >= count + 1);
  assert.equal(rig.mesh.delivered[0]?.message.attachments.length, 1);
  assert.deepEqual(heard(rig).slice(1), numbers('behind'));
});

test('an invitation that was never pushed is found when the homeserver is back', async () => {
  await using rig = await openRig();
  await rig.up();
  await rig.hear('so that there is a ghost', 'matrix:@alice:home.test');
  await eventually(() => rig.counters.get('matrix/sent') === 1);
  await eventually(() => rig.homeserver.pusher.idle);
  const bob = rig.homeserver.person('bob');
  rig.homeserver.pusher.loseEvery = 1;
  const room = bob.create([ghost]);
  bob.say(room, 'are you there?');
  rig.homeserver.pusher.loseEvery = 0;
  await rig.homeserver.restart();
  await eventually(() => rig.homeserver.rooms.membership(room, ghost) === 'join');
  await eventually(() => rig.mesh.delivered.length === 1);
  assert.equal(rig.mesh.delivered[0]?.message.text, 'are you there?');
});

test('a server elsewhere that gives no file and no name holds up nobody but the message, and that not for long', async () => {
  await using rig = await openRig({ rooms: { ...rooms, yard: { members: [`lxmf:${peer}`] } } });
  const { alice, room } = await inPlaza(rig);
  const yard = alice.join('#_kos_yard:home.test');
  const away = (match: RegExp) => [match, new Refusal(502, 'M_UNKNOWN', 'Failed to fetch')] as const;
  rig.homeserver.failures.push(away(/GET .*\/profile\//));
  const down = Array.from({ length: 4 }, () => away(/\/media\/download\//));
  rig.homeserver.failures.push(...down);
  const picture = { msgtype: 'm.image', url: 'mxc://away.test/abc', info: { mimetype: 'image/png' } };
  alice.say(room, 'cat.png', picture);
  alice.say(yard, 'elsewhere');
  await eventually(() => heard(rig).length === 1);
  assert.deepEqual(heard(rig), ['elsewhere']);
  alice.say(room, 'behind');
  await eventually(() => heard(rig).length === 3);
  assert.match(heard(rig)[1] ?? '', /^\(cat\.png could not be taken: .*502/);
  assert.equal(heard(rig)[2], 'behind');
  assert.ok(rig.hub.desk.health().services.every(({ name, state }) => name !== 'matrix' || state === 'up'));
  assert.equal(rig.health.filter(({ reason }) => reason?.includes('502')).length, 0);
  assert.equal(rig.homeserver.requests.filter(line => /whoami/.test(line)).length, 1, 'never begun anew');
});

test('what was never pushed of a chat that a mesh peer began is read back', async () => {
  await using rig = await openRig();
  await rig.up();
  const alice = rig.homeserver.person('alice');
  await rig.hear('hello', `matrix:${alice.userId}`);
  await eventually(() => alice.invitations().length === 1);
  const [chat = ''] = alice.invitations();
  await eventually(() => rig.homeserver.pusher.idle);
  rig.homeserver.pusher.loseEvery = 1;
  alice.join(chat);
  alice.say(chat, 'never pushed');
  rig.homeserver.pusher.loseEvery = 0;
  await rig.homeserver.restart();
  await eventually(() => heard(rig).includes('never pushed'));
  assert.equal(rig.mesh.delivered.at(-1)?.to, `lxmf:${peer}`);
});

test('what was never pushed of a room that was entered just now is read back', async () => {
  const members = [`lxmf:${peer}`];
  await using rig = await openRig({ rooms: { yard: { members } } });
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const room = rig.homeserver.rooms.create(alice.userId, { preset: 'public_chat' });
  await rig.stop();
  members.push(`matrix:${room}`);
  const polls = () => rig.homeserver.requests.filter(line => line.endsWith('/sync')).length;
  const before = polls();
  await rig.start();
  await rig.up();
  // The second poll stands until the homeserver is lost: before that a restart may be seen only by a look some minutes later.
  await eventually(() => polls() >= before + 2);
  await eventually(() => rig.homeserver.pusher.idle);
  rig.homeserver.pusher.loseEvery = 1;
  alice.say(room, 'never pushed');
  rig.homeserver.pusher.loseEvery = 0;
  await rig.homeserver.restart();
  await eventually(() => heard(rig).includes('never pushed'));
});

test('a Matrix room that was taken out of the configuration while nobody ran is left and not listened to, and works again once it is back', async () => {
  const warnings: string[] = [];
  const log = { ...silentLog, warn: (_facts: object, words: string) => void warnings.push(words) } as Log;
  const yard = { members: [`lxmf:${peer}`] };
  await using rig = await openRig({ rooms: { yard, other: { members: [`lxmf:${peer}`] } }, log });
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const bot = '@_kos_bot:home.test';
  const room = rig.homeserver.rooms.create(alice.userId, { preset: 'public_chat' });
  const again = async (members: readonly string[]) => {
    await rig.stop();
    yard.members = [`lxmf:${peer}`, ...members];
    await rig.start();
    await rig.up();
    await eventually(() => rig.homeserver.pusher.idle);
  };
  await again([`matrix:${room}`]);
  await eventually(() => rig.homeserver.rooms.membership(room, bot) === 'join');
  alice.say(room, 'while it is bridged');
  await eventually(() => heard(rig).includes('while it is bridged'));
  await rig.stop();
  yard.members.pop();
  alice.say(room, 'while nobody runs');
  await rig.start();
  await rig.up();
  await eventually(() => rig.homeserver.rooms.membership(room, bot) === 'leave');
  assert.deepEqual(
    warnings.filter(words => words.includes('member')),
    ['this Matrix room is no member of the room yard any more: it is left'],
  );
  alice.say(room, 'while it is not bridged');
  await eventually(() => rig.homeserver.pusher.idle);
  await again([`matrix:${room}`]);
  await eventually(() => rig.homeserver.rooms.membership(room, bot) === 'join');
  await eventually(() => rig.homeserver.pusher.idle);
  alice.say(room, 'bridged again');
  await eventually(() => heard(rig).includes('bridged again'));
  assert.deepEqual(heard(rig), ['bridged again']);
});

test('a Matrix room that is a member of another room than before speaks in that one', async () => {
  const [yard, other] = [{ members: [`lxmf:${peer}`] }, { members: [`lxmf:${peer}`] }];
  await using rig = await openRig({ rooms: { yard, other } });
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const room = rig.homeserver.rooms.create(alice.userId, { preset: 'public_chat' });
  for (const members of [yard.members, other.members]) {
    await rig.stop();
    yard.members.splice(1);
    members.push(`matrix:${room}`);
    await rig.start();
    await rig.up();
    await eventually(() => rig.homeserver.pusher.idle);
    const name = members === yard.members ? 'yard' : 'other';
    alice.say(room, `in the ${name}`);
    await eventually(() => rig.mesh.delivered.at(-1)?.message.to === `room:${name}`);
  }
});
