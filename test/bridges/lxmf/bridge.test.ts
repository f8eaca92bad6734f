import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { messageId } from '../../../src/gateway/message.ts';
import { GatewayError, isGatewayError } from '../../../src/lib/errors.ts';
import { decodeMessage } from '../../../src/mesh/lxmf/message.ts';
import { type Fate, type Nodes, sound, twoNodes } from '../../mesh/reticulum/link-nodes.ts';
import { BridgeNode } from './node.ts';

interface Pair extends AsyncDisposable {
  readonly nodes: Nodes;
  readonly a: BridgeNode;
  readonly b: BridgeNode;
}

async function pair(fate: Fate = sound): Promise<Pair> {
  await using opened = new AsyncDisposableStack();
  const nodes = opened.use(twoNodes());
  nodes.fate = fate;
  const { clock } = nodes;
  const a = opened.use(new BridgeNode({ ...nodes.a, clock, displayName: 'Ann' }));
  const b = opened.use(new BridgeNode({ ...nodes.b, clock, displayName: 'Ben' }));
  await clock.advance(5000);
  const owned = opened.move();
  return { nodes, a, b, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const never = () => new AbortController().signal;

describe('the LXMF bridge', () => {
  test('announces itself, and tells who announced themselves', async () => {
    await using bridges = await pair();
    const { a, b, nodes } = bridges;
    assert.ok(a.port.up);
    assert.deepEqual(a.port.peers.get(b.address), { name: 'Ben', hops: 1 });
    assert.deepEqual(b.port.peers.get(a.address), { name: 'Ann', hops: 1 });
    assert.ok(a.port.reached.includes(b.address));
    a.port.reached.length = 0;
    await nodes.clock.advance(6 * 3_600_000);
    assert.ok(a.port.reached.includes(b.address));
    a.port.reached.length = 0;
    assert.equal(await b.bridge.announceNow(), true);
    await nodes.clock.advance(100);
    assert.deepEqual(a.port.reached, [b.address]);
  });

  test('packs an answer while it is accepted only where its peer knows by then what it answers', async () => {
    await using bridges = await pair();
    const { a, b, nodes } = bridges;
    const picture = await a.attach('a.png', 'image/png', new Uint8Array(10));
    const first = a.delivery(a.message({ to: b.address, text: 'look', attachments: [picture] }));
    const second = a.delivery(
      a.message({ to: b.address, type: 'chat.edit', text: 'look here', inReplyTo: first.message.id }),
    );
    assert.equal(a.bridge.prepare(first), undefined);
    assert.equal(a.bridge.prepare(second), undefined);
    await nodes.until(a.bridge.deliver(first, never()));
    assert.ok(a.bridge.prepare(second));
    await nodes.until(a.bridge.deliver(second, never()));
    const [seen, changed] = b.port.accepted;
    assert.equal(changed?.inReplyTo, seen?.id);
  });

  test('packs anew, before anything has left, what its sender gave an address up for', async () => {
    await using bridges = await pair();
    const { a, b, nodes } = bridges;
    const { residence } = a.bridge;
    const own = { ...residence.make(), name: 'Alice', party: 'matrix:@alice:home' };
    residence.open(own);
    a.port.residents.set(own.party, { name: own.name, addresses: [own.address] });
    const delivery = a.delivery(a.message({ to: b.address, from: own.party, text: 'hello' }));
    const { bytes } = a.bridge.prepare(delivery) ?? {};
    assert.equal(`lxmf:${bytes!.subarray(16, 32).toHex()}`, own.address);
    residence.close(own.address);
    a.port.residents.delete(own.party);
    await nodes.until(a.bridge.deliver({ ...delivery, remembered: bytes! }, never()));
    assert.equal(b.port.accepted[0]?.from, a.address);
    const later = { ...delivery, remembered: bytes!, attempt: 2 };
    await assert.rejects(a.bridge.deliver(later, never()), { code: 'bridge/rejected' });
  });

  test('carries a message, reports when it has left, and ends with its proof', async () => {
    await using bridges = await pair();
    const { a, b, nodes } = bridges;
    const message = a.message({ to: b.address, text: 'hello', title: 'T' });
    const progress = await nodes.until(a.bridge.deliver(a.delivery(message), never()));
    const [incoming] = b.port.accepted;
    assert.deepEqual(progress, { state: 'delivered', remoteId: incoming!.remoteId });
    assert.deepEqual(a.port.reports, [{ delivery: message.id, state: 'sent' }]);
    assert.equal(incoming!.text, 'hello');
    assert.equal(incoming!.title, 'T');
    assert.equal(incoming!.from, a.address);
    assert.equal(incoming!.to, b.address);
    assert.equal(incoming!.sentAt, message.sentAt);
    assert.equal(incoming!.assurance, 'signed');
    assert.equal(incoming!.urgent, true);
  });

  test('remembers the packed message before the first byte leaves, and sends the same at every attempt', async () => {
    await using bridges = await pair();
    const { a, b, nodes } = bridges;
    const sound = nodes.fate;
    nodes.fate = () => {
      assert.equal(a.port.remembered.size, 1);
      return [];
    };
    const message = a.message({ to: b.address, text: 'hello' });
    await assert.rejects(
      nodes.until(a.bridge.deliver(a.delivery(message), never())),
      error => isGatewayError(error, 'bridge/unavailable') && error.message === 'peer did not answer',
    );
    nodes.fate = sound;
    const remembered = a.port.remembered.get(message.id)!;
    const id = decodeMessage(remembered).id.toHex();
    for (const attempt of [2, 3]) {
      const again = a.delivery(message, { attempt, remembered });
      assert.equal((await nodes.until(a.bridge.deliver(again, never()))).remoteId, id);
    }
    assert.deepEqual(
      b.port.accepted.map(({ remoteId }) => remoteId),
      [id],
    );
    assert.deepEqual(b.port.repeats, [id]);
  });

  test('sends two equal texts of one millisecond as two messages', async () => {
    await using bridges = await pair();
    const { a, b, nodes } = bridges;
    const parts = { to: b.address, text: 'ok', sentAt: 1_760_000_000_123 };
    const one = a.message({ ...parts, id: `${'0'.repeat(24)}00000001` });
    const two = a.message({ ...parts, id: `${'0'.repeat(24)}f0000001` });
    await nodes.until(a.bridge.deliver(a.delivery(one), never()));
    await nodes.until(a.bridge.deliver(a.delivery(two), never()));
    assert.equal(b.port.accepted.length, 2);
    assert.deepEqual(
      b.port.accepted.map(({ sentAt }) => sentAt),
      [1_760_000_000_123, 1_760_000_000_123],
    );
  });

  test('says in words why a delivery waits', async () => {
    await using bridges = await pair();
    const { a, nodes } = bridges;
    await assert.rejects(
      nodes.until(a.send({ to: `lxmf:${'7'.repeat(32)}`, text: 'hello' })),
      error =>
        isGatewayError(error, 'bridge/unavailable') && error.retryable && error.message === 'no path yet',
    );
    assert.deepEqual(a.port.explained, ['no path yet, asking the mesh']);
    await nodes.cut();
    await assert.rejects(nodes.until(a.send({ to: bridges.b.address, text: 'hello' })), error =>
      isGatewayError(error, 'bridge/unavailable'),
    );
  });

  test('refuses what can never be delivered', async () => {
    await using bridges = await pair();
    const { a, b, nodes } = bridges;
    const gone = { name: 'x', mediaType: 'text/plain', size: 1, sha256: '0'.repeat(64) };
    for (const parts of [
      { to: 'lxmf:nobody' },
      { to: 'mqtt:topic' },
      { to: b.address, attachments: [gone] },
    ]) {
      await assert.rejects(nodes.until(a.send(parts)), error => isGatewayError(error, 'bridge/rejected'));
    }
  });

  test('proves nothing that the switch did not take', async () => {
    await using bridges = await pair();
    const { a, b, nodes } = bridges;
    b.port.accept = () =>
      Promise.reject(new GatewayError('store/full', 'the disk is full', { retryable: true }));
    await assert.rejects(nodes.until(a.send({ to: b.address, text: 'hello' })), error =>
      isGatewayError(error, 'bridge/unavailable'),
    );
  });

  test('finds the message an answer belongs to, and keeps a relation to one it does not know', async () => {
    await using bridges = await pair();
    const { a, b, nodes } = bridges;
    const question = a.message({ to: b.address, text: 'noon?' });
    await nodes.until(a.bridge.deliver(a.delivery(question), never()));
    const inReplyTo = b.port.accepted[0]!.id;
    await nodes.until(b.send({ to: a.address, text: 'yes', inReplyTo }));
    assert.equal(a.port.accepted[0]!.inReplyTo, question.id);

    const native = { 'lxmf:48': Uint8Array.of(0xc4, 32, ...new Uint8Array(32)).toBase64() };
    await nodes.until(b.send({ to: a.address, text: 'of another talk', native }));
    assert.equal(a.port.accepted[1]!.inReplyTo, undefined);
    assert.deepEqual(a.port.accepted[1]!.native, native);
  });

  test('names a message by the id that its reader knows', async () => {
    await using bridges = await pair();
    const { a, b, nodes } = bridges;
    const said = 'ab'.repeat(32);
    const told = a.message({ to: b.address, text: 'somebody said' });
    const { remoteId } = await nodes.until(a.bridge.deliver(a.delivery(told), never()));
    a.port.remoteIds = (_, to) => (to === b.address ? [remoteId!] : [said, remoteId!]);
    await nodes.until(a.send({ to: b.address, text: 'more', inReplyTo: messageId('lxmf', said) }));
    assert.equal(b.port.accepted[1]!.inReplyTo, b.port.accepted[0]!.id);
  });

  test('holds nobody up for a peer without a path, and brings the delivery back with the answer', async () => {
    await using strangers = await pair(() => []);
    const { a, b, nodes } = strangers;
    nodes.fate = sound;
    const message = a.message({ to: b.address, text: 'hello' });
    const before = nodes.clock.monotonic();
    await assert.rejects(nodes.until(a.bridge.deliver(a.delivery(message), never())), error =>
      isGatewayError(error, 'bridge/unavailable'),
    );
    assert.ok(nodes.clock.monotonic() - before <= 100);
    await nodes.clock.advance(500);
    assert.deepEqual(a.port.reached, [b.address]);
    const remembered = a.port.remembered.get(message.id)!;
    await nodes.until(a.bridge.deliver(a.delivery(message, { attempt: 2, remembered }), never()));
    assert.equal(b.port.accepted[0]?.text, 'hello');
    // Nothing had left before: no single packet was lost that a link would have to replace.
    assert.equal(a.counters.get('lxmf/sent-opportunistic'), 1);
  });

  test('names this hub in what another may pass on, and to a peer of its own apps in nothing', async () => {
    await using bridges = await pair();
    const { a, b, nodes } = bridges;
    const said = a.message({ to: 'room:plaza', text: 'to all', via: ['aa'.repeat(16)] });
    await nodes.until(a.bridge.deliver(a.delivery(said, { to: b.address }), never()));
    await nodes.until(a.send({ to: b.address, text: 'to you' }));
    assert.deepEqual(
      b.port.accepted.map(({ via }) => via),
      [['aa'.repeat(16), nodes.a.identity.hash.toHex()], undefined],
    );
  });

  test('stops when told, delivers nothing then, and runs again', async () => {
    await using opened = new AsyncDisposableStack();
    const nodes = opened.use(twoNodes());
    const a = new BridgeNode({ ...nodes.a, clock: nodes.clock });
    await nodes.clock.advance(10);
    await a[Symbol.asyncDispose]();
    await assert.rejects(a.send({ to: `lxmf:${'0'.repeat(32)}` }), error =>
      isGatewayError(error, 'bridge/unavailable'),
    );
    const stop = new AbortController();
    const again = a.bridge.run(a.port, stop.signal);
    await nodes.clock.advance(10);
    stop.abort();
    await again;
  });
});
