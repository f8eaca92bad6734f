import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { missingReference, type Peer, startPeer } from '../interop/peer.ts';
import { type MatrixHub, startMatrixHub } from '../synapse/hub.ts';
import { type Person, type SeenEvent, startPerson } from '../synapse/person.ts';
import { missingSynapse } from '../synapse/server.ts';
import { eventually, mint, RestInbox, type Seen } from './clients.ts';
import { callHttp, type Daemon, startDaemon } from './daemon.ts';

/*
 * One homeserver, one gateway beside it, and on the mesh a Python LXMF peer and a second gateway with an app. Alice is
 * the person of the gateway, Bob another one on the homeserver.
 */

/** LXMF's fields. */
const imageField = '6';
const replyTo = '48';
const reaction = '64';

/** The smallest PNG. */
const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

const skip = (await missingSynapse()) || (await missingReference('1.5.7'));

describe('people on a real homeserver, and the mesh', { skip }, () => {
  const stack = new AsyncDisposableStack();
  let hub: MatrixHub;
  let far: Daemon;
  let peer: Peer;
  let alice: Person;
  let bob: Person;
  /** The plaza in Matrix, and its LXMF destination. */
  let plaza: string;
  let plazaOnMesh: string;

  const ghost = (destination: string) => `@_kos_${destination}:${hub.synapse.serverName}`;
  /** Waits for what arrives at the peer. */
  const heard = (ends: string) =>
    peer.next('message', message => message.content?.endsWith(ends) === true, 60_000);

  before(
    async () => {
      peer = stack.use(
        await startPeer({ interfaces: [{ type: 'server' }], displayName: 'Handheld', retryWait: 1 }),
      );
      hub = stack.use(
        await startMatrixHub({
          config: {
            hub: { name: 'Near' },
            interfaces: [
              { name: 'peer', kind: 'tcp-client', host: '127.0.0.1', port: peer.port },
              { name: 'server', kind: 'tcp-server', host: '127.0.0.1', port: 0 },
            ],
            rooms: { plaza: { members: [`lxmf:${peer.destination}`] } },
          },
          matrix: { invite: '@alice:home.test' },
        }),
      );
      const port = Number(hub.daemon().ready.interfaces.server?.split(':').at(-1));
      far = stack.use(
        await startDaemon({
          config: {
            hub: { name: 'Far' },
            log: 'warn',
            interfaces: [{ name: 'uplink', kind: 'tcp-client', host: '127.0.0.1', port }],
          },
        }),
      );
      await hub.joined();
      alice = stack.use(await startPerson(hub.synapse, 'alice'));
      bob = stack.use(await startPerson(hub.synapse, 'bob'));
      plaza = await alice.join('#_kos_plaza:home.test');
      await bob.join('#_kos_plaza:home.test');
      const rooms = await hub
        .daemon()
        .call<{ residents: { party: string; addresses: string[] }[] }>('GET', '/v1/status');
      plazaOnMesh = rooms.body.residents
        .find(one => one.party === 'room:plaza')
        ?.addresses[0]?.slice(5) as string;
      await peer.announce();
      await eventually('the peer is known', async () => {
        const peers = await hub.daemon().call<{ items: { address: string }[] }>('GET', '/v1/peers');
        return peers.body.items.some(one => one.address === `lxmf:${peer.destination}`);
      });
      await peer.requestPath(plazaOnMesh);
    },
    { timeout: 240_000 },
  );
  after(() => stack.disposeAsync(), { timeout: 30_000 });

  it('carries a room both ways: each side reads who wrote, and answers with the relation', async () => {
    const asked = await alice.send(plaza, 'is anybody on the hill?');
    const there = await heard('is anybody on the hill?');
    assert.equal(there.source, plazaOnMesh);
    assert.equal(there.verified, true);
    assert.match(there.content ?? '', /^alice/i, 'a plain client reads the author');
    const answer = await peer.send({
      to: plazaOnMesh,
      content: 'I am',
      method: 'direct',
      replyTo: there.hash,
    });
    assert.equal(await peer.delivered(answer.hash), 'delivered');
    for (const person of [alice, bob]) {
      const seen = await person.text('I am');
      assert.equal(seen.roomId, plaza);
      assert.equal(seen.sender, ghost(peer.destination));
      assert.equal(seen.content['m.relates_to']['m.in_reply_to'].event_id, asked);
    }
    const replied = await bob.reply(plaza, (await bob.text('I am')).event_id, 'good to hear');
    const back = await heard('good to hear');
    assert.deepEqual(back.fields[replyTo], { hex: answer.hash });
    assert.match(back.content ?? '', /^bob/i);
    await alice.event('what Bob wrote, once', event => event.event_id === replied);
  });

  it('shows the ghost of a peer under its announced name', async () => {
    const profile = await alice.call<{ displayname: string }>(
      'GET',
      `/v3/profile/${encodeURIComponent(ghost(peer.destination))}`,
    );
    assert.equal(profile.displayname, 'Handheld');
  });

  it('shows the sender in a room that it was accepted, and then that it was delivered', async () => {
    const sent = await alice.send(plaza, 'do you see it?');
    assert.equal((await alice.receipt(sent)).userId, '@_kos_bot:home.test');
    await heard('do you see it?');
    await status(alice, sent, 'SUCCESS');
  });

  it('opens a direct chat when a peer writes to the hub first, and again the other way', async () => {
    const first = await peer.send({ to: hub.daemon().ready.lxmf, content: 'hello Alice', method: 'direct' });
    assert.equal(await peer.delivered(first.hash), 'delivered');
    const room = await alice.invitation(ghost(peer.destination));
    await alice.join(room);
    assert.equal((await alice.text('hello Alice')).roomId, room);
    const sent = await alice.send(room, 'hello Handheld');
    const back = await heard('hello Handheld');
    assert.match(back.content ?? '', /^alice/i, 'it comes from the hub, and so names who wrote');
    assert.equal((await alice.receipt(sent)).userId, ghost(peer.destination), 'read when it has it');
    await status(alice, sent, 'SUCCESS');

    // An answer to what she wrote comes into the same chat, with the relation.
    const answer = await peer.send({
      to: back.source,
      content: 'hello again',
      method: 'direct',
      replyTo: back.hash,
    });
    assert.equal(await peer.delivered(answer.hash), 'delivered');
    const again = await alice.text('hello again');
    assert.equal(again.roomId, room);
    assert.equal(again.content['m.relates_to']['m.in_reply_to'].event_id, sent);
  });

  it('opens a direct chat when a person invites a ghost that nobody has seen yet', async () => {
    const room = await bob.createDirect(ghost(peer.destination));
    await bob.member(room, ghost(peer.destination));
    const sent = await bob.send(room, 'it is Bob');
    const there = await heard('it is Bob');
    const answer = await peer.send({
      to: there.source,
      content: 'hi Bob',
      method: 'direct',
      replyTo: there.hash,
    });
    assert.equal(await peer.delivered(answer.hash), 'delivered');
    const seen = await bob.text('hi Bob');
    assert.equal(seen.roomId, room);
    assert.equal(seen.content['m.relates_to']['m.in_reply_to'].event_id, sent);
    assert.equal(
      alice.events.filter(event => event.content.body === 'hi Bob').length,
      0,
      'and is for him alone',
    );
  });

  it('gives a person who wants it an address of their own, and peers write to it by name', async () => {
    const bot = await bob.createDirect('@_kos_bot:home.test');
    await bob.member(bot, '@_kos_bot:home.test');
    await bob.send(bot, 'identity on');
    const own = await peer.next('announce', announce => /bob/i.test(announce.name ?? ''), 60_000);
    const sent = await peer.send({ to: own.destination, content: 'to Bob by name', method: 'direct' });
    assert.equal(await peer.delivered(sent.hash), 'delivered');
    const seen = await bob.text('to Bob by name');
    await bob.reply(seen.roomId, seen.event_id, 'Bob himself');
    const back = await heard('Bob himself');
    assert.equal(back.source, own.destination);
    assert.deepEqual(back.fields[replyTo], { hex: sent.hash });
  });

  it('carries edits, reactions and redactions from Matrix to a plain LXMF client as it can read them', async () => {
    const sent = await alice.send(plaza, 'the meeting is at 6');
    const there = await heard('the meeting is at 6');
    await alice.edit(plaza, sent, 'the meeting is at 7');
    const edited = await heard('the meeting is at 7');
    assert.match(edited.content ?? '', /✏️|edit/i);
    await alice.react(plaza, sent, '👍');
    const reacted = await peer.next('message', message => reaction in message.fields, 60_000);
    assert.deepEqual(reacted.fields[reaction], {
      0: { hex: there.hash },
      1: { hex: Buffer.from('👍').toString('hex') },
    });
    await alice.redact(plaza, sent);
    const redacted = await peer.next(
      'message',
      message => /message removed/.test(message.content ?? ''),
      60_000,
    );
    assert.equal(redacted.source, plazaOnMesh);
  });

  it('shows a reaction and an image of a plain LXMF client as such, and hands images on to it', async () => {
    const sent = await alice.send(plaza, 'look here');
    const there = await heard('look here');
    const reacted = await peer.send({
      to: plazaOnMesh,
      content: '',
      method: 'direct',
      fields: { [reaction]: { 0: { hex: there.hash }, 1: { hex: Buffer.from('❤️').toString('hex') } } },
    });
    assert.equal(await peer.delivered(reacted.hash), 'delivered');
    const shown = await alice.event(
      'the reaction',
      event => event.type === 'm.reaction' && event.sender === ghost(peer.destination),
    );
    assert.deepEqual(shown.content['m.relates_to'], { rel_type: 'm.annotation', event_id: sent, key: '❤️' });

    const picture = await peer.send({
      to: plazaOnMesh,
      content: 'the view',
      method: 'direct',
      fields: { [imageField]: ['png', { hex: png.toString('hex') }] },
    });
    assert.equal(await peer.delivered(picture.hash), 'delivered');
    const image = await alice.event('the image', event => event.content.msgtype === 'm.image');
    assert.equal(image.sender, ghost(peer.destination));
    assert.equal(image.content.info.mimetype, 'image/png');
    assert.deepEqual(await alice.download(image.content.url as string), png);

    await bob.sendImage(plaza, png, 'from-bob.png', 'image/png');
    const back = await peer.next('message', message => imageField in message.fields, 60_000);
    assert.deepEqual(back.fields[imageField], ['png', { hex: png.toString('hex') }]);
  });

  it('joins an app behind another hub with the room: replies, edits, reactions, redactions and files, both ways', async () => {
    const token = await mint(far, 'board', { identity: 'own' });
    const inbox = new RestInbox(() => far, token);
    const post = async (body: Record<string, unknown>) => {
      const answer = await callHttp<Seen>(far.ready.http, 'POST', '/v1/messages', { token, body });
      assert.equal(answer.status, 201, JSON.stringify(answer.body));
      return answer.body;
    };
    const arrives = (what: string, wanted: (message: Seen) => boolean) =>
      eventually(
        what,
        async () => {
          await inbox.read(1);
          return inbox.seen.find(wanted);
        },
        60_000,
      );
    const to = `lxmf:${plazaOnMesh}`;
    await eventually('the far hub knows the room', async () => {
      const peers = await far.call<{ items: { address: string }[] }>('GET', '/v1/peers');
      return peers.body.items.some(one => one.address === to);
    });
    const sha256 = createHash('sha256').update(png).digest('hex');
    const posted = await post({ to, text: 'from the far side' });
    const seen = await alice.text('from the far side', 60_000);
    assert.equal(seen.roomId, plaza);

    await alice.reply(plaza, seen.event_id, 'heard over here');
    const answer = await arrives('the answer', message => message.text.endsWith('heard over here'));
    assert.equal(answer.inReplyTo, posted.id);

    await post({ to, type: 'chat.edit', text: 'from the far side of the hill', inReplyTo: posted.id });
    const edit = await alice.event(
      'the edit',
      event => event.content['m.new_content']?.body === 'from the far side of the hill',
    );
    assert.deepEqual(edit.content['m.relates_to'], { rel_type: 'm.replace', event_id: seen.event_id });
    assert.equal(edit.sender, seen.sender);

    await post({ to, type: 'chat.reaction', text: '🎉', inReplyTo: answer.id });
    await alice.event(
      'the reaction',
      event => event.type === 'm.reaction' && event.content['m.relates_to'].key === '🎉',
    );
    await post({
      to,
      text: 'a picture of it',
      attachments: [{ name: 'hill.png', mediaType: 'image/png', base64: png.toString('base64') }],
    });
    const image = await alice.event(
      'the image',
      event => event.content.msgtype === 'm.image' && event.sender === seen.sender,
    );
    assert.equal(
      createHash('sha256')
        .update(await alice.download(image.content.url as string))
        .digest('hex'),
      sha256,
    );

    await post({ to, type: 'chat.redaction', text: '', inReplyTo: posted.id });
    await alice.event('the redaction', event => redacts(event) === seen.event_id);
  });

  it('says in an encrypted room that it cannot read it, once and where the person sees it', async () => {
    const room = await bob.createRoom({
      is_direct: true,
      preset: 'trusted_private_chat',
      invite: [ghost(peer.destination)],
      encrypted: true,
    });
    await bob.member(room, ghost(peer.destination));
    await bob.sendEvent(room, 'm.room.encrypted', {
      algorithm: 'm.megolm.v1.aes-sha2',
      ciphertext: 'unreadable',
      sender_key: 'x',
      device_id: 'x',
      session_id: 'x',
    });
    const notice = await bob.event(
      'the notice',
      event => event.roomId === room && /encrypted/i.test(String(event.content.body)),
    );
    assert.equal(notice.sender, ghost(peer.destination));
  });

  it('names what it cannot deliver to the sender, and why it waits', async () => {
    const nobody = '0123456789abcdef0123456789abcdef';
    const room = await bob.createDirect(ghost(nobody));
    await bob.member(room, ghost(nobody));
    const sent = await bob.send(room, 'is there anybody?');
    const waits = await status(bob, sent, 'PENDING');
    assert.match(String(waits.content.message), /path/);
  });
});

function redacts(event: SeenEvent): string | undefined {
  return event.type === 'm.room.redaction' ? (event.redacts ?? (event.content.redacts as string)) : undefined;
}

/** Waits for the state that the sender's client shows beside an event. */
function status(person: Person, eventId: string, wanted: string): Promise<SeenEvent> {
  return person.event(
    `the status ${wanted}`,
    event =>
      event.type === 'com.beeper.message_send_status' &&
      event.content.status === wanted &&
      event.content['m.relates_to'].event_id === eventId,
    60_000,
  );
}
