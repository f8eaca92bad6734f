import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Address } from '../../../src/gateway/message.ts';
import { fromHex } from '../../../src/lib/bytes.ts';
import { encode } from '../../../src/lib/msgpack.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { fields } from '../../../src/mesh/lxmf/fields.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { until } from '../../gateway/fixture.ts';
import { air, openHandheld, openHub, type SimHub } from './hubs.ts';

const alice = 'matrix:@alice:home';
const matrixRoom = 'matrix:!plaza:home';

/** Hub A with people in Matrix, hub B with an app of its own; the app knows the room by its address. */
async function twoHubs(appRooms: readonly string[] = []) {
  await using stack = new AsyncDisposableStack();
  const ether = air();
  const a = stack.use(
    await openHub(ether, 'Hub A', { rooms: { plaza: { members: [matrixRoom, 'mqtt:plaza'] } } }),
  );
  const b = stack.use(await openHub(ether, 'Hub B', { rooms: { yard: { members: [] } } }));
  const { client } = await b.hub.client('board', { identity: 'own', rooms: appRooms });
  const owned = stack.move();
  return { ether, a, b, board: client, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Alice says something in the Matrix room of the plaza. */
const inPlaza = (a: SimHub, remoteId: string, parts: object) =>
  a.matrix.say({ remoteId, from: alice, to: 'room:plaza', origin: matrixRoom, ...parts });

const inboxOf = async (b: SimHub, client: Parameters<SimHub['hub']['desk']['inbox']['read']>[0]) =>
  (await b.hub.desk.inbox.read(client, { after: b.hub.desk.inbox.acknowledged(client) })).items.map(
    item => item.message,
  );

describe('residents of two hubs', () => {
  test('an app writes to a room of another hub, and the answer of a person there reaches it once, as such', async () => {
    await using hubs = await twoHubs();
    const { a, b, board } = hubs;
    const { post } = b.hub.desk.messages;
    const asked = await post(board, { to: a.addressOf('room:plaza'), text: 'who has the key?' });
    const heard = await a.got('who has the key?');
    assert.equal(heard.to, 'room:plaza');
    assert.equal(heard.from, b.addressOf('app:board'));
    assert.equal(heard.assurance, 'signed');
    assert.equal(heard.author, undefined);
    await until(() => a.matrix.delivered.length === 1 && a.mqtt.delivered.length === 1);
    assert.equal((await a.matrix.port).nameOf(heard.from), 'board');

    await inPlaza(a, '$1', { text: 'I do', inReplyTo: heard.id });
    const answer = await b.got('I do');
    assert.equal(answer.to, 'app:board');
    assert.equal(answer.from, a.addressOf('room:plaza'));
    assert.equal(answer.inReplyTo, asked.message.id);
    assert.deepEqual(answer.author, { name: 'alice' });
    assert.deepEqual(
      (await inboxOf(b, board)).map(({ id }) => id),
      [answer.id],
    );
    assert.deepEqual(a.matrix.delivered.length, 1, 'nothing goes back to where it was said');
    await until(() =>
      a.hub.desk.messages
        .get(a.hub.owner, a.all().at(-1)!.id)
        .deliveries.every(({ state }) => state === 'delivered'),
    );

    await post(board, { to: a.addressOf('room:plaza'), text: 'thanks', inReplyTo: answer.id });
    const thanks = await a.got('thanks');
    assert.equal(thanks.inReplyTo, a.all().find(({ text }) => text === 'I do')?.id);
  });

  test('an edit, a reaction and a removal find the message they are about, on both sides', async () => {
    await using hubs = await twoHubs();
    const { a, b, board } = hubs;
    const { post } = b.hub.desk.messages;
    const plaza = a.addressOf('room:plaza');
    const asked = await post(board, { to: plaza, text: 'noon?' });
    const heard = await a.got('noon?');
    const said = await inPlaza(a, '$1', { text: 'yse', inReplyTo: heard.id });
    const answer = await b.got('yse');
    await inPlaza(a, '$2', { type: 'chat.edit', text: 'yes', inReplyTo: said.id });
    await inPlaza(a, '$3', { type: 'chat.reaction', text: '👍', inReplyTo: heard.id });
    await inPlaza(a, '$4', { type: 'chat.redaction', text: '', inReplyTo: said.id });
    const told = await until(() => b.all().length >= 5 && b.all().slice(2));
    assert.deepEqual(
      told.map(({ type, text, inReplyTo, to, author }) => ({
        type,
        text,
        inReplyTo,
        to,
        author: author?.name,
      })),
      [
        { type: 'chat.edit', text: 'yes', inReplyTo: answer.id, to: 'app:board', author: 'alice' },
        { type: 'chat.reaction', text: '👍', inReplyTo: asked.message.id, to: 'app:board', author: 'alice' },
        { type: 'chat.redaction', text: '', inReplyTo: answer.id, to: 'app:board', author: 'alice' },
      ],
    );
    await post(board, { to: plaza, type: 'chat.edit', text: 'at noon?', inReplyTo: asked.message.id });
    await post(board, { to: plaza, type: 'chat.reaction', text: '🎉', inReplyTo: answer.id });
    await post(board, { to: plaza, type: 'chat.redaction', inReplyTo: asked.message.id });
    const back = await until(() => a.all().length >= 8 && a.all().slice(5));
    assert.deepEqual(
      back.map(({ type, text, inReplyTo, to }) => ({ type, text, inReplyTo, to })),
      [
        { type: 'chat.edit', text: 'at noon?', inReplyTo: heard.id, to: 'room:plaza' },
        { type: 'chat.reaction', text: '🎉', inReplyTo: said.id, to: 'room:plaza' },
        { type: 'chat.redaction', text: '', inReplyTo: heard.id, to: 'room:plaza' },
      ],
    );
  });

  test('pictures, files and an end of usefulness cross both ways', async () => {
    await using hubs = await twoHubs();
    const { a, b, board } = hubs;
    const bytes = new Uint8Array(2000).fill(7);
    const image = { name: 'a.png', mediaType: 'image/png', base64: bytes.toBase64() };
    const notes = {
      name: 'notes.txt',
      mediaType: 'text/plain',
      base64: Buffer.from('hi').toString('base64'),
    };
    const expiresAt = Date.now() + 3_600_000;
    await b.hub.desk.messages.post(board, {
      to: a.addressOf('room:plaza'),
      text: 'look',
      attachments: [image, notes],
      expiresAt,
    });
    const heard = await a.got('look');
    assert.deepEqual(heard.attachments.map(({ mediaType, size }) => [mediaType, size]).sort(), [
      ['image/png', 2000],
      ['text/plain', 2],
    ]);
    assert.ok(Math.abs(heard.expiresAt - expiresAt) < 60_000);
    const { sha256 } = await a.hub.desk.blobs.put(bytes);
    await inPlaza(a, '$1', {
      text: 'nice',
      inReplyTo: heard.id,
      expiresAt,
      attachments: [{ name: 'b.jpg', mediaType: 'image/jpeg', size: bytes.length, sha256 }],
    });
    const answer = await b.got('nice');
    assert.deepEqual(
      answer.attachments.map(({ mediaType, sha256: hash }) => [mediaType, hash]),
      [['image/jpeg', sha256]],
    );
    assert.ok(Math.abs(answer.expiresAt - expiresAt) < 60_000);
  });

  test('rooms that have each other as members are one conversation, told once to everybody', async () => {
    await using stack = new AsyncDisposableStack();
    const ether = air();
    const first = await openHub(ether, 'Hub A', { rooms: { plaza: { members: [] } } });
    const plaza = first.addressOf('room:plaza');
    stack.use(first);
    const b = stack.use(await openHub(ether, 'Hub B', { rooms: { yard: { members: [plaza, matrixRoom] } } }));
    const { client } = await b.hub.client('board', { rooms: ['yard'] });
    const { client: ann } = await first.hub.client('ann', { rooms: ['plaza'] });
    const asked = await b.hub.desk.messages.post(client, { to: 'room:yard', text: 'hello there' });
    const heard = await first.got('hello there');
    assert.deepEqual(
      [heard.to, heard.from, heard.author],
      ['room:plaza', b.addressOf('room:yard'), { name: 'board' }],
    );
    await first.hub.desk.messages.post(ann, {
      to: 'room:plaza',
      text: 'hello yourself',
      inReplyTo: heard.id,
    });
    const answer = await b.got('hello yourself');
    assert.deepEqual([answer.to, answer.from, answer.inReplyTo], ['room:yard', plaza, asked.message.id]);
    assert.deepEqual(answer.author, { name: 'ann' });
    assert.deepEqual(
      (await inboxOf(b, client)).map(({ text }) => text),
      ['hello yourself'],
    );
    await until(() => b.matrix.delivered.length === 2);
    assert.equal(first.all().length, 2);
    assert.equal(b.all().length, 2);
  });

  test('rooms that are both in the other say everything once, and whose word it is who spoke', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'kos-mutual-'));
    await using stack = new AsyncDisposableStack();
    stack.defer(() => rm(dir, { recursive: true, force: true }));
    const ether = air();
    const identity = generateIdentity(systemRandom);
    const before = await openHub(ether, 'Hub A', { dir, identity, rooms: { plaza: { members: [] } } });
    const plaza = before.addressOf('room:plaza');
    await before[Symbol.asyncDispose]();
    const handheld = stack.use(await openHandheld(ether, 'Ben'));
    const b = stack.use(
      await openHub(ether, 'Hub B', { rooms: { yard: { members: [plaza, handheld.address] } } }),
    );
    const yard = b.addressOf('room:yard');
    const a = stack.use(
      await openHub(ether, 'Hub A', { dir, identity, rooms: { plaza: { members: [yard, matrixRoom] } } }),
    );
    assert.equal(a.addressOf('room:plaza'), plaza);
    await b.lxmf.announceNow();
    await handheld.announce();
    await inPlaza(a, '$1', { text: 'hello yard' });
    const heard = await b.got('hello yard');
    assert.deepEqual([heard.from, heard.author, heard.via.length], [plaza, { name: 'alice' }, 1]);
    const [first] = await until(() => handheld.inbox.length === 1 && handheld.inbox);
    assert.equal(first!.content, 'alice (plaza): hello yard');
    await handheld.say(yard, 'hello plaza');
    const back = await a.got('hello plaza');
    assert.deepEqual([back.from, back.author], [yard, { name: 'Ben' }]);
    await until(() => a.matrix.delivered.length === 1);
    await new Promise(resolve => setTimeout(resolve, 200));
    assert.deepEqual(
      [a.all().length, b.all().length, handheld.inbox.length, a.matrix.delivered.length],
      [2, 2, 1, 1],
    );
  });

  test("a sensor's reading is readable on a handheld, and whole for an app at another hub", async () => {
    await using stack = new AsyncDisposableStack();
    const ether = air();
    const b = stack.use(await openHub(ether, 'Hub B'));
    const { client } = await b.hub.client('board', { identity: 'own' });
    const handheld = stack.use(await openHandheld(ether, 'Ben'));
    const a = stack.use(
      await openHub(ether, 'Hub A', {
        routes: [
          {
            from: 'mqtt:dev/#',
            type: 'sensor.reading',
            to: [handheld.address, b.addressOf('app:board')],
            priority: 'bulk',
            maxRate: '1/10m',
          },
        ],
      }),
    );
    const data = { device: 'pump-1', values: { temperature: 21.5, humidity: 40 }, at: 1_760_000_000_000 };
    const reading = (remoteId: string) =>
      a.mqtt.say({
        remoteId,
        from: 'mqtt:dev/pump-1',
        to: 'room:sensors',
        type: 'sensor.reading',
        text: 'pump-1: temperature 21.5, humidity 40',
        data,
        assurance: 'hub',
      });
    await reading('1');
    const [read] = await until(() => handheld.inbox.length > 0 && handheld.inbox);
    assert.equal(read!.content, 'pump-1: temperature 21.5, humidity 40');
    assert.equal(read!.from, a.address);
    const whole = await until(() => b.all()[0]);
    assert.deepEqual([whole.type, whole.to, whole.data], ['sensor.reading', 'app:board', data]);
    assert.equal((await inboxOf(b, client)).length, 1);
    await reading('2');
    assert.equal(a.hub.counters.get('routes/over-rate'), 2);
    assert.deepEqual(a.hub.desk.messages.list(a.hub.owner, {}).items[0]?.deliveries, []);
    assert.deepEqual(
      a.hub.desk.routes.list().map(({ passed, leftOut }) => ({ passed, leftOut })),
      [{ passed: 2, leftOut: 2 }],
    );
  });
});

describe('residents and a plain LXMF client', () => {
  test('it hears them by name, writes to them, and is answered by them', async () => {
    await using stack = new AsyncDisposableStack();
    const ether = air();
    const handheld = stack.use(await openHandheld(ether, 'Ben'));
    const a = stack.use(await openHub(ether, 'Hub A', { rooms: { plaza: { members: [matrixRoom] } } }));
    await handheld.announce();
    await (await a.matrix.port).host(alice, { name: 'Alice' });
    const aliceThere = await until(() => handheld.heard('Alice'));
    assert.equal(aliceThere, a.addressOf(alice));
    assert.equal(await until(() => handheld.heard('plaza')), a.addressOf('room:plaza'));

    await handheld.say(aliceThere, 'hello Alice');
    const heard = await a.got('hello Alice');
    assert.equal(heard.to, alice);
    await until(() => a.matrix.delivered.some(({ to }) => to === alice));
    await a.matrix.say({
      remoteId: '$1',
      from: alice,
      to: handheld.address,
      origin: 'matrix:!dm:home',
      text: 'hello Ben',
      inReplyTo: heard.id,
    });
    const [first] = await until(() => handheld.inbox.length === 1 && handheld.inbox);
    assert.deepEqual([first!.from, first!.content], [aliceThere, 'hello Ben']);
    assert.equal(first!.message.fields.has(fields.customType), false, 'nothing but what she said');
    assert.equal(first!.message.fields.has(fields.replyTo), true);

    const plaza = a.addressOf('room:plaza');
    await handheld.say(plaza, 'is anybody there?');
    const question = await a.got('is anybody there?');
    await inPlaza(a, '$2', { text: 'I am', inReplyTo: question.id });
    await until(() => handheld.inbox.length === 2);
    assert.deepEqual([handheld.inbox[1]!.from, handheld.inbox[1]!.content], [plaza, 'Alice: I am']);
    const replyTo = encode(fromHex(handheld.inbox[1]!.id, 32));
    await handheld.say(plaza, 'good', new Map([[fields.replyTo, replyTo]]));
    const good = await a.got('good');
    assert.equal(good.inReplyTo, a.all().find(({ text }) => text === 'I am')?.id);

    await inPlaza(a, '$3', { type: 'chat.edit', text: 'I was', inReplyTo: good.inReplyTo });
    await inPlaza(a, '$4', { type: 'chat.redaction', text: '', inReplyTo: good.inReplyTo });
    await until(() => handheld.inbox.length === 4);
    assert.deepEqual(
      handheld.inbox.slice(2).map(({ content }) => content),
      ['Alice: (edited) I was', 'Alice: (message removed)'],
    );
  });

  test("an answer to the hub's own address is for whoever asked, and everything else for the hub's room", async () => {
    await using stack = new AsyncDisposableStack();
    const ether = air();
    const handheld = stack.use(await openHandheld(ether, 'Ben'));
    const a = stack.use(await openHub(ether, 'Hub A'));
    await handheld.announce();
    await a.matrix.say({ remoteId: '$1', from: 'matrix:@eve:home', to: handheld.address, text: 'Eve here' });
    const [first] = await until(() => handheld.inbox.length === 1 && handheld.inbox);
    assert.deepEqual([first!.from, first!.content], [a.address, 'eve: Eve here']);
    await handheld.say(
      a.address as Address,
      'Ben here',
      new Map([[fields.replyTo, encode(fromHex(first!.id, 32))]]),
    );
    assert.equal((await a.got('Ben here')).to, 'matrix:@eve:home');
    await handheld.say(a.address, 'to nobody in particular');
    assert.equal((await a.got('to nobody in particular')).to, 'room:hub');
  });
});
