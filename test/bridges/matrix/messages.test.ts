import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isGatewayError } from '../../../src/lib/errors.ts';
import type { FakeEvent } from '../../sim/homeserver.ts';
import { eventually, ghost, openRig, peer, type Rig } from './rig.ts';

const rooms = { plaza: { members: [`lxmf:${peer}`] } };

/** Alice in the portal of the plaza. */
async function inPlaza(rig: Rig) {
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const room = alice.join('#_kos_plaza:home.test');
  const delivered = async (count: number) => {
    await eventually(
      () => rig.mesh.delivered.length === count,
      `not ${count} but ${rig.mesh.delivered.length}`,
    );
    return rig.mesh.delivered.at(-1)!.message;
  };
  const shown = async (count: number): Promise<FakeEvent> => {
    await eventually(() => rig.homeserver.shown(room).length >= count);
    return rig.homeserver.shown(room)[count - 1]!;
  };
  return { alice, room, delivered, shown };
}

test('formatted text becomes readable text, and the words of an emote say whose they are', async () => {
  await using rig = await openRig({ rooms });
  const { alice, room, delivered } = await inPlaza(rig);
  alice.say(room, 'x', {
    format: 'org.matrix.custom.html',
    formatted_body:
      '<p>see <a href="https://a.example/x">this</a>, it is <strong>hot</strong> &amp; <script>if (a < b) alert(1)</script>new</p>',
  });
  assert.equal((await delivered(1)).text, 'see this (https://a.example/x), it is **hot** & new');
  alice.say(room, 'waves', { msgtype: 'm.emote' });
  assert.equal((await delivered(2)).text, '* alice waves');
});

test('an answer, an edit, a reaction and a redaction name the message they are about, to the mesh', async () => {
  await using rig = await openRig({ rooms });
  const { alice, room, delivered } = await inPlaza(rig);
  const first = alice.say(room, 'first');
  const told = await delivered(1);
  alice.say(room, '> <@alice:home.test> first\n\nsecond', {
    'm.relates_to': { 'm.in_reply_to': { event_id: first.event_id } },
  });
  const answer = await delivered(2);
  assert.deepEqual([answer.text, answer.inReplyTo, answer.type], ['second', told.id, 'chat.message']);
  alice.say(room, '* first!', {
    'm.new_content': { msgtype: 'm.text', body: 'first!' },
    'm.relates_to': { rel_type: 'm.replace', event_id: first.event_id },
  });
  const edit = await delivered(3);
  assert.deepEqual([edit.text, edit.inReplyTo, edit.type], ['first!', told.id, 'chat.edit']);
  alice.send(room, 'm.reaction', {
    'm.relates_to': { rel_type: 'm.annotation', event_id: first.event_id, key: '👍' },
  });
  const reaction = await delivered(4);
  assert.deepEqual([reaction.text, reaction.inReplyTo, reaction.type], ['👍', told.id, 'chat.reaction']);
  alice.send(room, 'm.room.redaction', { redacts: first.event_id }, { redacts: first.event_id });
  const redaction = await delivered(5);
  assert.deepEqual([redaction.text, redaction.inReplyTo, redaction.type], ['', told.id, 'chat.redaction']);
});

test('an answer, an edit, a reaction and a redaction from the mesh are what they are in Matrix, too', async () => {
  await using rig = await openRig({ rooms });
  const { room, shown } = await inPlaza(rig);
  const id = await rig.hear('typo', 'room:plaza');
  const first = await shown(1);
  await rig.hear('fixed', 'room:plaza', { type: 'chat.edit', inReplyTo: id });
  const edit = await shown(2);
  assert.equal(edit.content['m.new_content'].body, 'fixed');
  assert.deepEqual(edit.content['m.relates_to'], { rel_type: 'm.replace', event_id: first.event_id });
  await rig.hear('🛰', 'room:plaza', {
    type: 'chat.reaction',
    inReplyTo: id,
    from: `lxmf:${'bb'.repeat(16)}`,
  });
  const reactions = () => rig.homeserver.rooms.events(room).filter(({ type }) => type === 'm.reaction');
  await eventually(() => reactions().length === 1);
  assert.deepEqual(reactions()[0]?.content['m.relates_to'], {
    rel_type: 'm.annotation',
    event_id: first.event_id,
    key: '🛰',
  });
  await rig.hear('', 'room:plaza', { type: 'chat.redaction', inReplyTo: id });
  await eventually(() => Object.keys(first.content).length === 0);
});

test("what is another's message is not edited or removed, but said in words", async () => {
  await using rig = await openRig({ rooms });
  const { alice, room, delivered, shown } = await inPlaza(rig);
  alice.say(room, 'mine');
  const { id } = await delivered(1);
  await rig.hear('not yours', 'room:plaza', { type: 'chat.edit', inReplyTo: id });
  assert.equal((await shown(2)).content.body, '✏️ not yours');
  await rig.hear('', 'room:plaza', { type: 'chat.redaction', inReplyTo: id });
  assert.equal((await shown(3)).content.body, '(removed this message)');
  assert.equal((await shown(1)).content.body, 'mine');
});

test('an image goes both ways with its bytes, its name and its caption', async () => {
  await using rig = await openRig({ rooms });
  const { alice, room, delivered, shown } = await inPlaza(rig);
  const bytes = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 1, 2, 3]);
  alice.say(room, 'the hill at dawn', {
    msgtype: 'm.image',
    filename: 'hill.png',
    url: rig.homeserver.upload(bytes, 'image/png'),
    info: { mimetype: 'image/png', size: bytes.length },
  });
  const message = await delivered(1);
  assert.equal(message.text, 'the hill at dawn');
  assert.deepEqual(
    message.attachments.map(({ name, mediaType, size }) => [name, mediaType, size]),
    [['hill.png', 'image/png', bytes.length]],
  );
  const { sha256 } = message.attachments[0]!;
  const port = await rig.mesh.port;
  assert.deepEqual(new Uint8Array(await port.blobs.read(sha256)), bytes);
  await rig.hear('seen from here', 'room:plaza', {
    attachments: [{ name: 'back.png', mediaType: 'image/png', size: bytes.length, sha256 }],
  });
  assert.equal((await shown(2)).content.body, 'seen from here');
  const image = await shown(3);
  assert.equal(image.content.msgtype, 'm.image');
  assert.equal(image.content.body, 'back.png');
  const file = rig.homeserver.media.get(String(image.content.url).split('/').at(-1) ?? '');
  assert.deepEqual([file?.mediaType, new Uint8Array(file!.bytes)], ['image/png', bytes]);
});

test('a file that is not there any more, or too large, is a line in the message, and the message comes', async () => {
  await using rig = await openRig({ rooms });
  const { alice, room, delivered } = await inPlaza(rig);
  alice.say(room, 'gone.txt', { msgtype: 'm.file', url: 'mxc://home.test/nothing', info: {} });
  assert.match((await delivered(1)).text, /^\(gone\.txt could not be taken: /);
  alice.say(room, 'big.iso', {
    msgtype: 'm.file',
    url: 'mxc://home.test/nothing',
    info: { size: 700 * 1024 * 1024 },
  });
  assert.match((await delivered(2)).text, /big\.iso is larger than/);
});

test('what the mesh has no form for reads well: a place, a poll, a sticker, an event from the future', async () => {
  await using rig = await openRig({ rooms });
  const { alice, room, delivered } = await inPlaza(rig);
  alice.say(room, 'here', { msgtype: 'm.location', geo_uri: 'geo:48.85,2.35;u=20' });
  const place = await delivered(1);
  assert.equal(place.text, '📍 here 48.85, 2.35');
  assert.deepEqual(place.data, { location: { lat: 48.85, lon: 2.35 } });
  alice.send(room, 'm.poll.start', {
    'm.poll': { question: { 'm.text': [{ body: 'Lunch?' }] }, answers: [{ 'm.text': [{ body: 'soup' }] }] },
  });
  assert.equal((await delivered(2)).text, 'Lunch?\n- soup');
  alice.send(room, 'm.sticker', {
    body: 'wave',
    url: rig.homeserver.upload(new Uint8Array([1]), 'image/webp'),
    info: {},
  });
  assert.equal((await delivered(3)).attachments.length, 1);
  alice.send(room, 'org.example.hologram', { 'm.text': [{ body: 'a hologram of a cat' }] });
  assert.equal((await delivered(4)).text, 'a hologram of a cat');
});

test('fractions, huge integers, lone surrogates and NULs reach Matrix in a form it takes', async () => {
  await using rig = await openRig({ rooms });
  const { shown } = await inPlaza(rig);
  await rig.hear('', 'room:plaza', {
    type: 'sensor.reading',
    from: 'mqtt:dev/greenhouse',
    data: { device: 'greenhouse', values: { t: 21.5, big: 2 ** 60 }, at: 1 },
  });
  const reading = await shown(1);
  assert.equal(reading.content.msgtype, 'm.notice');
  assert.equal(reading.content.body, 'greenhouse: t 21.5, big 1152921504606847000');
  assert.equal(JSON.parse(reading.content['org.kos.data']).values.t, 21.5);
  await rig.hear(`half \ud83d of a face\0`, 'room:plaza', { title: 'a \udc00 title' });
  assert.equal((await shown(2)).content.body, 'a \ufffd title\nhalf \ufffd of a face');
});

test('a text that no event holds is shown in its beginning, and whole as a file', async () => {
  await using rig = await openRig({ rooms });
  const { shown } = await inPlaza(rig);
  const long = 'päge '.repeat(20_000);
  await rig.hear(long, 'room:plaza');
  assert.match((await shown(1)).content.body, /the whole text is in the file below/);
  const { content } = await shown(2);
  assert.equal(content.msgtype, 'm.file');
  const file = rig.homeserver.media.get(String(content.url).split('/').at(-1) ?? '');
  assert.equal(file?.bytes.toString(), long);
});

test('an encrypted room is answered with a notice that people see, once', async () => {
  await using rig = await openRig();
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const room = alice.create([ghost]);
  await eventually(() => rig.homeserver.rooms.membership(room, ghost) === 'join');
  alice.send(room, 'm.room.encryption', { algorithm: 'm.megolm.v1.aes-sha2' }, { state_key: '' });
  alice.send(room, 'm.room.encrypted', { algorithm: 'm.megolm.v1.aes-sha2', ciphertext: 'x' });
  alice.send(room, 'm.room.encrypted', { algorithm: 'm.megolm.v1.aes-sha2', ciphertext: 'y' });
  await eventually(() => rig.counters.get('matrix/event/encrypted') === 2);
  const notices = rig.homeserver.shown(room);
  assert.equal(notices.length, 1);
  assert.match(notices[0]?.content.body, /encrypted, and the gateway cannot read it/);
  assert.equal(rig.mesh.delivered.length, 0);
});

test('an app has a ghost of its own, and is answered in the chat with it', async () => {
  await using rig = await openRig();
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const { client } = await rig.hub.client('notice-board');
  await rig.hub.desk.messages.post(client, { to: 'matrix:@alice:home.test', text: 'market at noon' });
  await eventually(() => alice.invitations().length === 1);
  const [room = ''] = alice.invitations();
  alice.join(room);
  alice.say(room, 'thanks');
  let inbox = await rig.hub.desk.inbox.read(client, {});
  for (let turn = 0; turn < 500 && inbox.items.length === 0; turn++) {
    inbox = await rig.hub.desk.inbox.read(client, { wait: 100 });
  }
  assert.deepEqual(
    inbox.items.map(({ message }) => [message.from, message.text]),
    [['matrix:@alice:home.test', 'thanks']],
  );
});

test('an address that no Matrix user, room or alias can have is nobody, and says so at once', async () => {
  await using rig = await openRig();
  await rig.up();
  for (const to of [
    'matrix:alice',
    'matrix:@ü:home.test',
    'matrix:@a b:home.test',
    'matrix:@alice',
    `matrix:@${'a'.repeat(250)}:home.test`,
    'matrix:#no server',
    'matrix:',
  ]) {
    await assert.rejects(
      rig.hub.desk.messages.post(rig.hub.owner, { to, text: 'x' }),
      error => isGatewayError(error, 'request/not-found'),
      to,
    );
  }
});

test('who speaks in a room that passes it on stands before the text', async () => {
  await using rig = await openRig({ rooms });
  const { shown } = await inPlaza(rig);
  await rig.hear('from the other hub', 'room:plaza', { author: { name: 'Carol' } });
  assert.equal((await shown(1)).content.body, 'Carol: from the other hub');
});

test('an answer in a portal to somebody who spoke there is not told to them once more', async () => {
  await using rig = await openRig({ rooms });
  const { alice, room, delivered, shown } = await inPlaza(rig);
  alice.say(room, 'who is there?');
  const { id } = await delivered(1);
  await rig.hear('I am', 'room:plaza', { inReplyTo: id });
  assert.equal((await shown(2)).content.body, 'I am');
  await eventually(() => rig.hub.desk.health().queued === 0);
  assert.deepEqual(alice.invitations(), []);
});

test('what waits behind the message it answers finds it, however soon it follows, and an edit goes into what waits', async () => {
  await using rig = await openRig({ rooms });
  const { room, shown } = await inPlaza(rig);
  await rig.homeserver.kill();
  await eventually(() => rig.hub.desk.health().failures.some(({ name }) => name === 'matrix'));
  for (let n = 0; n < 10; n++) {
    const id = await rig.hear(`typo ${n}`, 'room:plaza');
    await rig.hear(`answer ${n}`, 'room:plaza', { inReplyTo: id });
    await rig.hear(`fixed ${n}`, 'room:plaza', { type: 'chat.edit', inReplyTo: id });
  }
  await rig.homeserver.start();
  await shown(20);
  const events = rig.homeserver.shown(room);
  for (let n = 0; n < 10; n++) {
    const [first, second] = events.slice(2 * n);
    assert.equal(first?.content.body, `fixed ${n}`);
    assert.equal(second?.content['m.relates_to']?.['m.in_reply_to']?.event_id, first?.event_id);
  }
  await eventually(() => rig.hub.desk.health().queued === 0);
  assert.equal(rig.homeserver.shown(room).length, 20);
});

test('words that claim to replace what somebody else said are no edit', async () => {
  await using rig = await openRig({ rooms });
  const { alice, room, delivered } = await inPlaza(rig);
  const mallory = rig.homeserver.person('mallory');
  mallory.join(room);
  const said = alice.say(room, 'yes');
  const told = await delivered(1);
  mallory.say(room, '* no', {
    'm.new_content': { msgtype: 'm.text', body: 'no' },
    'm.relates_to': { rel_type: 'm.replace', event_id: said.event_id },
  });
  const forged = await delivered(2);
  assert.deepEqual(
    [forged.type, forged.text, forged.inReplyTo, forged.from],
    ['chat.message', '✏️ no', told.id, 'matrix:@mallory:home.test'],
  );
});

test('what a room of another hub passes on is changed only for the author who said it, and goes on to name them', async () => {
  await using rig = await openRig({ rooms });
  const { shown } = await inPlaza(rig);
  const yard = { from: `lxmf:${'cc'.repeat(16)}`, author: { name: 'Ann' } };
  const id = await rig.hear('tpyo', 'room:plaza', yard);
  const first = await shown(1);
  assert.equal(first.content.body, 'Ann: tpyo');
  await rig.hear('typo', 'room:plaza', { ...yard, type: 'chat.edit', inReplyTo: id });
  const edit = await shown(2);
  assert.equal(edit.content['m.new_content'].body, 'Ann: typo');
  const mallory = { ...yard, author: { name: 'Mallory' } };
  await rig.hear('nonsense', 'room:plaza', { ...mallory, type: 'chat.edit', inReplyTo: id });
  const forged = await shown(3);
  assert.equal(forged.content.body, 'Mallory: ✏️ nonsense');
  assert.equal(forged.content['m.relates_to'].rel_type, undefined);
  await rig.hear('', 'room:plaza', { ...mallory, type: 'chat.redaction', inReplyTo: id });
  assert.equal((await shown(4)).content.body, 'Mallory: (removed this message)');
});

test('what comes back from another gateway in the same Matrix room ends here', async () => {
  await using rig = await openRig({ rooms });
  const { alice, room, delivered, shown } = await inPlaza(rig);
  const hub = rig.hub.desk.hub.id;
  const far = 'ab'.repeat(16);
  await rig.hear('from the mesh', 'room:plaza', { from: `lxmf:${'cc'.repeat(16)}`, via: [far] });
  assert.deepEqual((await shown(1)).content['org.kos.message'].via, [far, hub]);
  await delivered(1);
  const theirs = `@_kos_${'dd'.repeat(16)}:far.test`;
  const say = (sender: string, text: string, via: readonly string[]) =>
    rig.homeserver.rooms.add(
      room,
      {
        type: 'm.room.message',
        sender,
        content: { msgtype: 'm.text', body: text, 'org.kos.message': { id: 'x', from: 'y', type: 'z', via } },
      },
      true,
    );
  say(theirs, 'from the mesh', [hub, far]);
  say(theirs, 'new to us', [far]);
  assert.equal((await delivered(2)).text, 'new to us');
  assert.deepEqual(rig.mesh.delivered.at(-1)?.message.via, [far]);
  // People may copy an event of ours with all that is in it: their words are theirs.
  say(alice.userId, 'copied', [hub]);
  assert.equal((await delivered(3)).text, 'copied');
});
