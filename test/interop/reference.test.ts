import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { missingReference, type Peer, startPeer } from './peer.ts';

const skip = (await missingReference('1.5.7')) || (await missingReference('1.4.2'));

/** A newer peer that listens and an older one that dials it, each having heard the other's announce. */
async function pair(): Promise<AsyncDisposable & { newer: Peer; older: Peer }> {
  await using opened = new AsyncDisposableStack();
  const newer = opened.use(await startPeer({ interfaces: [{ type: 'server' }], displayName: 'Newer' }));
  const older = opened.use(
    await startPeer({
      version: '1.4.2',
      interfaces: [{ type: 'client', port: newer.port }],
      displayName: 'Older',
    }),
  );
  await older.announce();
  await newer.next('announce', heard => heard.destination === older.destination);
  await newer.announce();
  await older.next('announce', heard => heard.destination === newer.destination);
  const owned = opened.move();
  return { newer, older, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function carried(
  from: Peer,
  to: Peer,
  method: 'direct' | 'opportunistic',
  content: string,
): Promise<void> {
  const sent = await from.send({
    to: to.destination,
    content,
    title: 'Ünïcødé',
    method,
    fields: { 48: { hex: '00'.repeat(32) } },
  });
  const heard = await to.next('message', message => message.hash === sent.hash);
  assert.equal(heard.content, content);
  assert.equal(heard.title, 'Ünïcødé');
  assert.equal(heard.source, from.destination);
  assert.equal(heard.method, method);
  assert.equal(heard.verified, true);
  assert.deepEqual(heard.fields, { 48: { hex: '00'.repeat(32) } });
  assert.equal(await from.delivered(sent.hash), 'delivered');
}

describe('two reference peers of different age', { skip }, () => {
  test('deliver messages both ways, opportunistic and direct, and as a Resource', async () => {
    await using peers = await pair();
    const { newer, older } = peers;
    assert.equal(newer.version.rns, '1.5.7');
    assert.equal(older.version.rns, '1.4.2');
    for (const [from, to] of [
      [newer, older],
      [older, newer],
    ] as const) {
      await carried(from, to, 'opportunistic', 'a short one ☀');
      await carried(from, to, 'direct', 'one over a link');
      await carried(from, to, 'direct', 'twenty kilobytes '.repeat(1200));
    }
    assert.equal((await newer.received()).length, 3);
  });

  test('exchange packets, requests and Resources on a link', async () => {
    await using peers = await pair();
    const { newer, older } = peers;
    const echo = await newer.addDestination('app.echo');
    await newer.announce({ destination: echo, appData: '00' });
    await older.next('announce', heard => heard.destination === echo);

    const single = await older.packet(echo, 'app.echo', { text: 'one packet' });
    assert.equal(single.proved, true);
    assert.equal((await newer.next('packet')).data, Buffer.from('one packet').toString('hex'));

    const { link } = await older.openLink(echo, 'app.echo');
    assert.equal((await newer.next('link', event => event.state === 'established')).link, link);
    await older.identify(link);
    assert.equal((await newer.next('link', event => event.state === 'identified')).identity, older.identity);
    assert.equal((await older.sendOnLink(link, { size: 100 })).proved, true);

    assert.deepEqual((await older.request(link, '/echo', { a: { hex: '01' } })).response, {
      a: { hex: '01' },
    });
    assert.equal((await older.request(link, '/size', 5000)).size, 5000);

    const resource = await older.sendResource(link, { size: 100_000 }, { metadata: { name: 'noise' } });
    assert.equal(resource.status, 'complete');
    const got = await newer.next('resource', event => event.state === 'complete' && event.size === 100_000);
    assert.equal(got.sha256, resource.sha256);
    assert.deepEqual(got.metadata, { name: 'noise' });

    await older.closeLink(link);
    assert.equal((await newer.next('link', event => event.state === 'closed')).reason, 'initiator closed');
  });

  test('notice what is forged, and hear a repeated packet once', async () => {
    await using peers = await pair();
    const { newer, older } = peers;
    await newer.forge({ to: older.destination, kind: 'signature', content: 'not mine' });
    const forged = await older.next('message');
    assert.equal(forged.verified, false);
    assert.equal(forged.unverifiedReason, 'signature invalid');

    await newer.forge({ to: older.destination, kind: 'stranger', content: 'who am I' });
    assert.equal((await older.next('message')).unverifiedReason, 'source unknown');

    const sent = await newer.send({ to: older.destination, content: 'once', method: 'opportunistic' });
    assert.equal(await newer.delivered(sent.hash), 'delivered');
    await newer.replay({ destination: older.destination, times: 3 });
    await carried(newer, older, 'opportunistic', 'after the repeats');
    const heard = await older.received();
    assert.equal(heard.filter(message => message.hash === sent.hash).length, 1);
  });

  test('reach each other through a transport node, with and without ratchets', async () => {
    await using middle = await startPeer({ interfaces: [{ type: 'server' }], transport: true });
    const dial = [{ type: 'client', port: middle.port }] as const;
    await using plain = await startPeer({ version: '1.4.2', interfaces: dial, ratchets: false });
    await using ratcheting = await startPeer({ interfaces: dial, displayName: 'Far ☀', stampCost: 1 });

    await plain.announce();
    assert.equal(
      (await ratcheting.next('announce', heard => heard.destination === plain.destination)).hops,
      2,
    );
    assert.equal((await ratcheting.recall(plain.destination))?.ratchet, null);

    await ratcheting.announce();
    assert.equal(
      (await plain.next('announce', heard => heard.destination === ratcheting.destination)).name,
      'Far ☀',
    );
    assert.notEqual((await plain.recall(ratcheting.destination))?.ratchet, null);
    assert.equal((await plain.path(ratcheting.destination)).via, middle.transport);
    await plain.forgetPath(ratcheting.destination);
    assert.equal((await plain.requestPath(ratcheting.destination)).hops, 2);

    const sent = await plain.send({
      to: ratcheting.destination,
      content: 'stamped',
      method: 'opportunistic',
    });
    const heard = await ratcheting.next('message', message => message.hash === sent.hash);
    assert.equal(heard.stampValid, true);
    assert.notEqual(heard.ratchet, null);
  });

  test('find each other again after the connection was cut', async () => {
    await using server = await startPeer({ interfaces: [{ type: 'server' }] });
    await using client = await startPeer({
      interfaces: [{ type: 'client', port: server.port }],
      reconnectWait: 0.2,
    });
    await server.announce();
    await client.next('announce');
    assert.equal(await client.cut(), 1);
    await client.next('interface', change => change.state === 'down');
    for (let up = 0; up < 2; up += 1) await client.next('interface', change => change.state === 'up');
    await client.announce();
    await server.next('announce', heard => heard.destination === client.destination);
  });

  test('show the end of their log when they die while something is awaited', async () => {
    await using peer = await startPeer({ loglevel: 6 });
    const awaited = assert.rejects(
      peer.next('message'),
      /ended with SIGKILL.*end of the peer's log.*\[Debug\]/s,
    );
    await peer.kill();
    await awaited;
    await assert.rejects(peer.announce(), /announce on a peer that ended with SIGKILL/);
  });

  test('keep their identity over a restart and say so in an error when a command fails', async () => {
    await using first = await startPeer({ interfaces: [{ type: 'server' }] });
    const { directory, destination } = first;
    await assert.rejects(first.send({ to: '00'.repeat(16), timeout: 100 }), /no announce of 0{32} was heard/);
    await first.stop();
    await using second = await startPeer({ directory, interfaces: [{ type: 'server' }] });
    assert.equal(second.destination, destination);
  });
});
