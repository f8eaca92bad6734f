import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MatrixRefusal, startPerson } from '../synapse/person.ts';
import { missingSynapse, startSynapse, synapseVersion } from '../synapse/server.ts';

test('a person registers with the real homeserver, makes a room, and another joins and receives; a kill keeps it all', {
  skip: await missingSynapse(),
}, async t => {
  t.diagnostic(`matrix-synapse ${synapseVersion}`);
  await using server = await startSynapse();
  await using alice = await startPerson(server, 'alice');
  await using bob = await startPerson(server, 'bob');
  assert.equal(alice.userId, `@alice:${server.serverName}`);

  const room = await alice.createRoom({ name: 'Plaza', invite: [bob.userId] });
  assert.equal(await bob.invitation(alice.userId), room);
  await bob.join(room);
  await alice.member(room, bob.userId);
  const hello = await alice.send(room, 'hello');
  assert.equal((await bob.text('hello')).event_id, hello);

  const answer = await bob.reply(room, hello, 'hello yourself');
  const seen = await alice.text('hello yourself');
  assert.equal(seen.event_id, answer);
  assert.equal(seen.content['m.relates_to']['m.in_reply_to'].event_id, hello);
  await alice.react(room, answer, '👍');
  await bob.event(
    'the reaction',
    event => event.type === 'm.reaction' && event.content['m.relates_to'].key === '👍',
  );
  await bob.edit(room, answer, 'hello, Alice');
  await alice.event('the edit', event => event.content['m.new_content']?.body === 'hello, Alice');
  await bob.redact(room, answer);
  await alice.event('the redaction', event => event.type === 'm.room.redaction');

  const picture = Buffer.from('not quite a picture');
  await bob.sendImage(room, picture, 'picture.png', 'image/png');
  const image = await alice.event('the image', event => event.content.msgtype === 'm.image');
  assert.deepEqual(await alice.download(image.content.url as string), picture);
  await assert.rejects(
    alice.join('!nowhere'),
    error => error instanceof MatrixRefusal && error.status >= 400,
  );

  await server.kill();
  const whileAway = bob.send(room, 'written while it was away');
  await server.restart();
  await whileAway;
  await alice.text('written while it was away');
  const texts = (await alice.timeline(room))
    .filter(event => event.type === 'm.room.message')
    .map(event => event.content.body);
  assert.deepEqual(texts.filter(text => text === 'hello' || text === 'written while it was away').length, 2);
});
