import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { missingReference, startPeer } from '../interop/peer.ts';
import type { PeerMessage } from '../interop/wire.ts';
import { connectMqtt, eventually, mint, RestInbox, type Seen, serverEvents, WsClient } from './clients.ts';
import { startDaemon } from './daemon.ts';

/** LXMF's field for the message that is replied to. */
const replyTo = '48';

const meshed = {
  interfaces: [{ name: 'server', kind: 'tcp-server', host: '127.0.0.1', port: 0 }],
};

function portOf(address: string | undefined): number {
  return Number(address?.slice(address.lastIndexOf(':') + 1));
}

for (const version of ['1.5.7', '1.4.2'] as const) {
  test(`a Python peer (rns ${version}) talks with REST, WebSocket, MQTT and kosctl, and each answer reaches who may have it, once`, {
    skip: await missingReference(version),
  }, async () => {
    await using daemon = await startDaemon({ config: meshed });
    await using peer = await startPeer({
      version,
      displayName: 'Handheld',
      interfaces: [{ type: 'client', port: portOf(daemon.ready.interfaces.server) }],
    });
    const [rest, live, sensor, outsider] = [
      await mint(daemon, 'rest'),
      await mint(daemon, 'live'),
      await mint(daemon, 'sensor'),
      await mint(daemon, 'outsider', { rooms: [] }),
    ];
    const inbox = new RestInbox(() => daemon, rest);
    const outside = new RestInbox(() => daemon, outsider);
    const owner = new RestInbox(() => daemon, daemon.ready.ownerToken as string);
    const ws = new WsClient();
    await ws.connect(daemon, live, 'live');
    await using cleanup = new AsyncDisposableStack();
    cleanup.defer(() => ws.drop());
    const window = await connectMqtt(daemon, 'sensor', sensor);
    cleanup.defer(() => window.client.endAsync(true));

    await peer.announce();
    const address = `lxmf:${peer.destination}`;
    const known = await eventually('the peer is in the directory', async () => {
      const answer = await daemon.call<{ items: { address: string; name: string }[] }>('GET', '/v1/peers');
      return answer.body.items.find(one => one.address === address);
    });
    assert.equal(known.name, 'Handheld');
    // Whoever knows the hub's identity can tell that what it signs is true.
    await peer.next('announce', announce => announce.destination === daemon.ready.lxmf);

    const fromPeer = (text: string) => (message: { readonly content: string | null }) =>
      message.content === text;
    const first = await daemon.call<Seen>('POST', '/v1/messages', {
      token: rest,
      body: { to: address, text: 'hello mesh', title: 'first' },
    });
    assert.equal(first.status, 201);
    const firstThere = await peer.next('message', fromPeer('hello mesh'));
    assert.equal(firstThere.title, 'first');
    assert.equal(firstThere.verified, true);

    const second = await daemon.call<Seen>('POST', '/v1/messages', {
      token: rest,
      body: { to: address, text: 'and again', inReplyTo: first.body.id },
    });
    const secondThere = await peer.next('message', fromPeer('and again'));
    assert.deepEqual(secondThere.fields[replyTo], { hex: firstThere.hash });

    const send = async (content: string, more: Partial<Parameters<typeof peer.send>[0]> = {}) => {
      const sent = await peer.send({ to: daemon.ready.lxmf, content, method: 'direct', ...more });
      assert.equal(await peer.delivered(sent.hash), 'delivered', `${content.slice(0, 20)} is proven`);
      return sent as PeerMessage;
    };
    const has = (list: readonly Seen[], text: string) => list.filter(one => one.text === text);

    await send('to everybody here');
    await eventually('everybody has the answer', async () => {
      await inbox.read();
      await owner.read();
      return (
        has(inbox.seen, 'to everybody here').length > 0 &&
        has(owner.seen, 'to everybody here').length > 0 &&
        has(ws.seen, 'to everybody here').length > 0 &&
        window.seen.length > 0
      );
    });
    await send('to the asker', { replyTo: secondThere.hash });
    await eventually('the asker has the answer', async () => {
      await inbox.read();
      return has(inbox.seen, 'to the asker')[0];
    });
    assert.equal(has(inbox.seen, 'to the asker')[0]?.inReplyTo, second.body.id);
    assert.equal(has(inbox.seen, 'to the asker')[0]?.from, address);
    assert.equal(has(inbox.seen, 'to the asker')[0]?.assurance, 'signed');

    // The two other kinds of client ask, and only the one that asked is answered.
    ws.send({ op: 'send', id: 'w1', message: { to: address, text: 'asked live' } });
    const askedLive = await peer.next('message', fromPeer('asked live'));
    const base = `kos/v1/${daemon.ready.hub.slice(0, 8)}/mesh`;
    await window.client.publishAsync(`${base}/${peer.destination}/tx`, 'asked by a sensor', { qos: 1 });
    const askedBySensor = await peer.next('message', fromPeer('asked by a sensor'));
    ws.drop();
    await send('for the live one', { replyTo: askedLive.hash });
    await send('for the sensor', { replyTo: askedBySensor.hash });
    await ws.connect(daemon, live, 'live');
    await eventually('the resumed socket has its answer', () => has(ws.seen, 'for the live one').length > 0);
    await eventually('the sensor has its answer', () => window.seen.length >= 2);

    // Everything has settled: who has what, each once.
    const control = await daemon.kosctl('--json', 'inbox');
    assert.equal(control.code, 0, control.stderr);
    await inbox.read();
    await owner.read();
    await outside.read();
    const texts = (list: readonly Seen[]) => list.map(one => one.text).sort();
    assert.deepEqual(texts(inbox.seen), ['to everybody here', 'to the asker']);
    assert.deepEqual(texts(ws.seen), ['for the live one', 'to everybody here']);
    assert.deepEqual(texts(window.seen.map(one => one.message)), ['for the sensor', 'to everybody here']);
    assert.deepEqual(texts(owner.seen), ['to everybody here']);
    assert.deepEqual(texts(outside.seen), []);
    assert.ok(window.seen.every(one => one.topic === `${base}/${peer.destination}/rx`));
    assert.deepEqual(window.errors, []);
  });
}

test('kosctl inbox shows the owner an answer once, and not again', {
  skip: await missingReference('1.5.7'),
}, async () => {
  await using daemon = await startDaemon({ config: meshed });
  await using peer = await startPeer({
    interfaces: [{ type: 'client', port: portOf(daemon.ready.interfaces.server) }],
  });
  const sent = await peer.send({ to: daemon.ready.lxmf, content: 'for kosctl', method: 'opportunistic' });
  assert.equal(await peer.delivered(sent.hash), 'delivered');
  const first = await daemon.kosctl('--json', 'inbox');
  assert.equal(first.code, 0, first.stderr);
  assert.equal((JSON.parse(first.stdout) as Seen).text, 'for kosctl');
  const again = await daemon.kosctl('--json', 'inbox');
  assert.equal(again.stdout, '');
});

test('large bodies, attachments, unicode, nothing at all and unknown fields cross in both directions', {
  skip: await missingReference('1.5.7'),
}, async t => {
  await using daemon = await startDaemon({ config: meshed });
  await using peer = await startPeer({
    interfaces: [{ type: 'client', port: portOf(daemon.ready.interfaces.server) }],
  });
  await peer.announce();
  const address = `lxmf:${peer.destination}`;
  const rest = await mint(daemon, 'rest');
  const inbox = new RestInbox(() => daemon, rest);
  const long = 'Ein langer Text mit Zeilen. '.repeat(750).slice(0, 20_000);
  const file = randomBytes(200_000);
  const sha256 = createHash('sha256').update(file).digest('hex');
  const unicode = 'Grüße 👋🏽 שלום  日本語 \u0000 end';

  const post = async (body: Record<string, unknown>) => {
    const answer = await daemon.call<Seen>('POST', '/v1/messages', {
      token: rest,
      body: { to: address, ...body },
    });
    assert.equal(answer.status, 201, JSON.stringify(answer.body));
    return peer.next('message', () => true, 60_000);
  };
  const send = async (message: Partial<Parameters<typeof peer.send>[0]>) => {
    const before = inbox.seen.length;
    const sent = await peer.send({ to: daemon.ready.lxmf, method: 'direct', ...message });
    assert.equal(await peer.delivered(sent.hash, 60_000), 'delivered');
    await eventually('it is in the inbox', async () => {
      await inbox.read();
      return inbox.seen.length > before;
    });
    return inbox.seen.at(-1) as Seen;
  };

  await t.test('a body of 20 kB', async () => {
    assert.equal((await post({ text: long })).content, long);
    assert.equal((await send({ content: long })).text, long);
  });
  await t.test('an attachment of 200 kB', async () => {
    const blob = await daemon.call<{ sha256: string; size: number }>('POST', '/v1/blobs', {
      token: rest,
      raw: file,
      headers: { 'content-type': 'application/octet-stream' },
    });
    assert.equal(blob.body.sha256, sha256);
    const there = await post({ text: 'a file', attachments: [{ name: 'noise.bin', sha256 }] });
    assert.deepEqual(there.fields['5'], [['noise.bin', { hex: file.toString('hex') }]]);
    const back = await send({
      content: 'back',
      fields: { 5: [['noise.bin', { hex: file.toString('hex') }]] },
    });
    assert.equal(back.attachments[0]?.sha256, sha256);
    assert.equal(back.attachments[0]?.size, file.length);
  });
  await t.test('unicode', async () => {
    assert.equal((await post({ text: unicode, title: unicode })).content, unicode);
    const back = await send({ content: unicode, title: unicode });
    assert.equal(back.text, unicode);
    assert.equal(back.title, unicode);
  });
  await t.test('an empty body', async () => {
    assert.equal((await post({ text: '' })).content, '');
    assert.equal((await send({ content: '' })).text, '');
  });
  await t.test('a field that the gateway does not know', async () => {
    const back = await send({ content: 'odd', fields: { 153: { hex: '00ff10' } } });
    assert.equal(back.native?.['lxmf:153'], Buffer.from('c40300ff10', 'hex').toString('base64'));
    const there = await post({ text: 'odd too', native: back.native });
    assert.deepEqual(there.fields['153'], { hex: '00ff10' });
  });
});

test('every state shows as it happens on REST, SSE, WebSocket and MQTT', {
  skip: await missingReference('1.5.7'),
}, async () => {
  await using daemon = await startDaemon({ config: meshed });
  const port = portOf(daemon.ready.interfaces.server);
  const token = await mint(daemon, 'sensor');
  const window = await connectMqtt(daemon, 'sensor', token);
  const ws = new WsClient();
  await ws.connect(daemon, token, 'sensor');
  const stop = new AbortController();
  const sse: { state: string; message: string }[] = [];
  const streaming = (async () => {
    for await (const event of serverEvents(daemon, token, stop.signal)) {
      if (event.event === 'delivery.changed') {
        sse.push(event.data.delivery as { state: string; message: string });
      }
    }
  })().catch(() => {});
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => {
    stop.abort();
    await streaming;
    ws.drop();
    await window.client.endAsync(true);
  });
  const states = (list: readonly { state: string }[]) => [...new Set(list.map(one => one.state))];

  await using peer = await startPeer({ interfaces: [{ type: 'client', port }] });
  const topic = `kos/v1/${daemon.ready.hub.slice(0, 8)}/mesh/${peer.destination}/tx`;
  await peer.announce();
  await window.client.publishAsync(topic, JSON.stringify({ text: 'over mqtt', correlation: 'c-1' }), {
    qos: 1,
  });
  await peer.next('message', message => message.content === 'over mqtt');
  for (const [name, list] of [
    ['MQTT', window.statuses],
    ['WebSocket', ws.statuses],
    ['SSE', sse],
  ] as const) {
    const seen = await eventually(`delivered on ${name}`, () => {
      const all = states(list);
      return all.includes('delivered') && all;
    });
    assert.deepEqual(
      seen.filter(state => ['queued', 'sent', 'delivered'].includes(state)),
      ['queued', 'sent', 'delivered'],
      name,
    );
  }
  const status = window.statuses.at(-1) as unknown as { id: string; correlation: string; to: string };
  assert.equal(status.correlation, 'c-1');
  assert.equal(status.to, `lxmf:${peer.destination}`);
  const shown = await daemon.call<{ deliveries: { state: string; history: { state: string }[] }[] }>(
    'GET',
    `/v1/messages/${status.id}`,
    { token },
  );
  assert.equal(shown.body.deliveries[0]?.state, 'delivered');
  assert.deepEqual(
    shown.body.deliveries[0]?.history.map(one => one.state).filter(state => state !== 'sending'),
    ['queued', 'sent', 'delivered'],
  );
});

test('a message for a peer that is away waits with a reason, and is delivered within 2 s of its announce', {
  skip: await missingReference('1.5.7'),
}, async t => {
  await using daemon = await startDaemon({ config: meshed });
  const port = portOf(daemon.ready.interfaces.server);
  const rest = await mint(daemon, 'rest');
  const { mkdtemp, rm } = await import('node:fs/promises');
  const { tmpdir } = await import('node:os');
  const { join } = await import('node:path');
  const directory = await mkdtemp(join(tmpdir(), 'kos-away-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const interfaces = [{ type: 'client', port }] as const;
  const before = await startPeer({ interfaces, directory });
  await before.announce();
  const address = `lxmf:${before.destination}`;
  await eventually('it is known', async () => {
    const peers = await daemon.call<{ items: { address: string }[] }>('GET', '/v1/peers');
    return peers.body.items.some(one => one.address === address);
  });
  await before[Symbol.asyncDispose]();

  const posted = await daemon.call<Seen>('POST', '/v1/messages', {
    token: rest,
    body: { to: address, text: 'while you were away' },
  });
  const delivery = async () => {
    const answer = await daemon.call<{
      deliveries: { state: string; reason?: string; history: { state: string; at: number }[] }[];
    }>('GET', `/v1/messages/${posted.body.id}`, { token: rest });
    return answer.body.deliveries[0];
  };
  const waiting = await eventually('it waits with a reason', async () => {
    const now = await delivery();
    return now?.state === 'queued' && now.reason !== undefined && now;
  });
  t.diagnostic(`reason: ${waiting.reason}`);

  await using after = await startPeer({ interfaces, directory });
  const announced = Date.now();
  await after.announce();
  await after.next('message', message => message.content === 'while you were away');
  const done = await eventually('it is delivered', async () => {
    const now = await delivery();
    return now?.state === 'delivered' && now;
  });
  const took = (done.history.at(-1)?.at ?? Number.POSITIVE_INFINITY) - announced;
  t.diagnostic(`delivered ${took} ms after the announce`);
  assert.ok(took <= 2000, `${took} ms`);
});
