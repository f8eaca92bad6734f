import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GatewayError, isGatewayError } from '../../../src/lib/errors.ts';
import { holdLongest, searchOver } from '../../../src/mesh/lxmf/held.ts';
import { withoutDestination } from '../../../src/mesh/lxmf/message.ts';
import { idleLongest } from '../../../src/mesh/lxmf/peer-links.ts';
import { chooseMethod, type SendProgress } from '../../../src/mesh/lxmf/sender.ts';
import { settled } from '../reticulum/link-nodes.ts';
import { type LxmfNodes, twoRouters } from './nodes.ts';

const textOf = (content: Uint8Array) => new TextDecoder().decode(content);
const long = 'a message that fits no single packet. '.repeat(60);
const huge = 'a message that needs a Resource. '.repeat(8000);

/** Both have heard of each other. */
async function acquainted(): Promise<LxmfNodes> {
  const routers = twoRouters();
  await routers.a.announce();
  await routers.b.announce();
  return routers;
}

describe('a message to a peer that is known', () => {
  test('goes in a single packet where it fits, and is delivered when the peer has taken it', async () => {
    await using routers = await acquainted();
    const { a, b, nodes } = routers;
    const progress: SendProgress['at'][] = [];
    const packed = a.pack(b.local.hash, 'hello');
    const sent = a.send(packed, { onProgress: ({ at }) => progress.push(at) });
    assert.equal(await nodes.until(sent), 'delivered');
    const [received] = b.inbox;
    assert.equal(textOf(received!.message.content), 'hello');
    assert.equal(received!.id, packed.id.toHex());
    assert.equal(received!.assurance, 'signed');
    assert.equal(received!.method, 'opportunistic');
    assert.equal(received!.hops, 1);
    assert.deepEqual(progress, ['sent']);
    assert.equal(a.links.size, 0);
  });

  test('goes over a link where it does not fit, and the next one over the same link', async () => {
    await using routers = await acquainted();
    const { a, b, nodes } = routers;
    const progress: SendProgress['at'][] = [];
    const onProgress = ({ at }: SendProgress) => progress.push(at);
    await nodes.until(a.send(a.pack(b.local.hash, long), { onProgress }));
    await nodes.until(a.send(a.pack(b.local.hash, 'short'), { onProgress }));
    assert.deepEqual(
      b.inbox.map(({ method }) => method),
      ['direct', 'direct'],
    );
    assert.deepEqual(progress, ['opening-link', 'sent', 'sent']);
    assert.equal(a.counters.get('lxmf/link-opened'), 1);
  });

  test('goes as a Resource where it is larger than a packet of the link', async () => {
    await using routers = await acquainted();
    const { a, b, nodes } = routers;
    const progress: SendProgress['at'][] = [];
    const sent = a.send(a.pack(b.local.hash, huge), { onProgress: ({ at }) => progress.push(at) });
    assert.equal(await nodes.until(sent), 'delivered');
    assert.equal(textOf(b.inbox[0]!.message.content), huge);
    assert.equal(a.counters.get('lxmf/sent-resource'), 1);
    assert.deepEqual(progress, ['opening-link', 'sent']);
  });

  test('is answered over the link it came by, once the sender is identified', async () => {
    await using routers = await acquainted();
    const { a, b, nodes } = routers;
    await nodes.until(a.send(a.pack(b.local.hash, long)));
    await nodes.clock.advance(50);
    await nodes.until(b.send(b.pack(a.local.hash, 'answer')));
    await nodes.until(b.send(b.pack(a.local.hash, huge)));
    assert.deepEqual(
      a.inbox.map(({ method }) => method),
      ['direct', 'direct'],
    );
    assert.equal(b.counters.get('lxmf/link-opened'), 0);
    assert.equal(a.links.size, 1);
  });

  test('opens one link however many wait for it', async () => {
    await using routers = await acquainted();
    const { a, b, nodes } = routers;
    const sent = Array.from({ length: 5 }, (_, at) => a.send(a.pack(b.local.hash, `${at} ${long}`)));
    await nodes.until(Promise.all(sent));
    assert.equal(b.inbox.length, 5);
    assert.equal(a.counters.get('link/requested'), 1);
  });

  test('closes its link after ten minutes without another', async () => {
    await using routers = await acquainted();
    const { a, b, nodes } = routers;
    await nodes.until(a.send(a.pack(b.local.hash, long)));
    await nodes.clock.advance(idleLongest - 1000);
    assert.equal(a.links.size, 1);
    await nodes.until(a.send(a.pack(b.local.hash, 'still there')));
    await nodes.clock.advance(idleLongest - 1000);
    assert.equal(a.links.size, 1);
    await nodes.clock.advance(2000);
    assert.equal(a.links.size, 0);
    assert.equal(b.links.size, 0);
  });

  test('is sent over a fresh link at once where the idle one proves dead', async () => {
    await using routers = await acquainted();
    const { a, b, nodes } = routers;
    await nodes.until(a.send(a.pack(b.local.hash, long)));
    for (const link of b.links.all()) {
      link.lost();
    }
    assert.equal(await nodes.until(a.send(a.pack(b.local.hash, `${long} again`))), 'delivered');
    assert.equal(b.inbox.length, 2);
    assert.equal(a.counters.get('lxmf/dead-link'), 1);
    assert.equal(a.counters.get('lxmf/link-opened'), 2);
  });

  test('is not delivered while the peer has not taken it', async () => {
    await using routers = await acquainted();
    const { a, b, nodes } = routers;
    b.take = () => Promise.reject(new Error('the disk is full'));
    for (const text of ['short', long]) {
      await assert.rejects(nodes.until(a.send(a.pack(b.local.hash, text))), error =>
        isGatewayError(error, 'mesh/timeout'),
      );
    }
    assert.equal(b.counters.get('internal') > 1, true);
  });

  test('that its receiver refuses for good is refused to the sender where a Resource can say so', async () => {
    await using routers = await acquainted();
    const { a, b, nodes } = routers;
    b.take = () => Promise.reject(new GatewayError('request/not-found', 'nobody has that address'));
    await assert.rejects(nodes.until(a.send(a.pack(b.local.hash, huge))), error =>
      isGatewayError(error, 'mesh/rejected'),
    );
  });

  test('is given up with the reason of the signal', async () => {
    await using routers = await acquainted();
    const { a, b, nodes } = routers;
    nodes.fate = () => [];
    for (const text of ['short', long]) {
      const stop = new AbortController();
      const sent = a.send(a.pack(b.local.hash, text), { signal: stop.signal });
      sent.catch(() => {});
      await nodes.clock.advance(100);
      const reason = new Error('cancelled');
      stop.abort(reason);
      await assert.rejects(sent, error => error === reason);
    }
  });

  test('that got no answer is sent anew when the peer announces itself', async () => {
    for (const text of ['short', long]) {
      await using routers = await acquainted();
      const { a, b, nodes } = routers;
      const sound = nodes.fate;
      nodes.fate = () => [];
      const sent = a.send(a.pack(b.local.hash, text));
      await nodes.clock.advance(3000);
      nodes.fate = sound;
      await b.announce();
      await nodes.clock.advance(100);
      assert.equal(b.inbox.length, 1);
      assert.equal(await nodes.until(sent), 'delivered');
      assert.equal(a.counters.get('lxmf/restarted'), 1);
    }
  });
});

describe('a message to a peer that is not known', () => {
  test('finds the path first', async () => {
    await using routers = twoRouters();
    const { a, b, nodes } = routers;
    const progress: SendProgress['at'][] = [];
    const sent = a.send(a.pack(b.local.hash, 'hello'), { onProgress: ({ at }) => progress.push(at) });
    assert.equal(await nodes.until(sent), 'delivered');
    assert.deepEqual(progress, ['searching-path', 'sent']);
  });

  test('says so when nobody knows the way', async () => {
    await using routers = twoRouters();
    const { a, nodes } = routers;
    await assert.rejects(nodes.until(a.send(a.pack(new Uint8Array(16).fill(7), 'hello'))), error =>
      isGatewayError(error, 'mesh/no-path'),
    );
  });
});

describe('a message from a sender nobody has heard of', () => {
  test('is verified when the path request brings its announce, and only then taken', async () => {
    await using routers = twoRouters();
    const { a, b, nodes } = routers;
    await b.announce();
    assert.equal(b.transport.recall(a.local.hash), undefined);
    const sent = a.send(a.pack(b.local.hash, 'hello'));
    assert.equal(await nodes.until(sent), 'delivered');
    assert.equal(b.inbox[0]!.assurance, 'signed');
    assert.equal(b.router.held, 0);
  });

  /** a's destination is taken away, so that nobody answers for it; what it packed is sent all the same. */
  async function unknownSender(routers: LxmfNodes) {
    const { a, b, nodes } = routers;
    await b.announce();
    const { packed } = a.pack(b.local.hash, 'who am I');
    a.router.withdraw(a.local);
    const outcomes: string[] = [];
    const send = async (bytes = packed) => {
      await a.transport.send({
        destination: { identity: b.identity.public, hash: b.local.hash },
        data: withoutDestination(bytes),
        timeout: 200_000,
        onReceipt: ({ at }) => outcomes.push(at),
      });
      await nodes.clock.advance(20);
    };
    await send();
    return { packed, outcomes, send };
  }

  test('is taken unverified and proven after a minute', async () => {
    await using routers = twoRouters();
    const { b, nodes } = routers;
    const { outcomes } = await unknownSender(routers);
    await nodes.clock.advance(holdLongest - 1000);
    assert.equal(b.inbox.length, 0);
    assert.equal(b.router.held, 1);
    assert.deepEqual(outcomes, []);
    await nodes.clock.advance(2000);
    assert.equal(b.inbox[0]!.assurance, 'unverified');
    assert.deepEqual(outcomes, ['delivered']);
  });

  test('is taken as soon as it comes again after the search is over, and every copy is proven', async () => {
    await using routers = twoRouters();
    const { b, nodes } = routers;
    const { outcomes, send } = await unknownSender(routers);
    await nodes.clock.advance(searchOver / 2);
    await send();
    assert.equal(b.inbox.length, 0);
    await nodes.clock.advance(searchOver);
    await send();
    assert.equal(b.inbox.length, 1);
    assert.equal(b.inbox[0]!.assurance, 'unverified');
    assert.deepEqual(outcomes, ['delivered', 'delivered', 'delivered']);
  });

  test('is checked when it announces itself later, and a forgery beside it is dropped', async () => {
    await using routers = twoRouters();
    const { a, b, nodes } = routers;
    const { packed, outcomes, send } = await unknownSender(routers);
    const forged = packed.slice();
    forged[40]! ^= 1;
    await send(forged);
    assert.equal(b.router.held, 2);
    a.router.serve(a.local);
    await a.announce();
    await nodes.clock.advance(100);
    assert.deepEqual(
      b.inbox.map(({ assurance }) => assurance),
      ['signed'],
    );
    assert.equal(b.counters.get('crypto/bad-signature'), 1);
    assert.deepEqual(outcomes, ['delivered']);
    assert.equal(b.router.held, 0);
  });
});

test('a forged message of a known sender is dropped, counted and not proven', async () => {
  await using routers = await acquainted();
  const { a, b, nodes } = routers;
  const { packed, id } = a.pack(b.local.hash, 'hello');
  packed[40]! ^= 1;
  await assert.rejects(nodes.until(a.send({ packed, id })), error => isGatewayError(error, 'mesh/timeout'));
  assert.equal(b.inbox.length, 0);
  assert.equal(b.counters.get('crypto/bad-signature'), 1);
});

describe('a Resource that is neither proven nor refused gives back the room it took', () => {
  /** What a sends to b over a link it has opened, as a Resource. */
  async function sendOverLink({ a, b, nodes }: LxmfNodes, packed: Uint8Array): Promise<void> {
    const link = await nodes.until(a.links.open(b.local.hash, { identity: b.identity.public }));
    link.sendResource(packed).catch(() => {});
    await nodes.clock.advance(2000);
  }

  test('where its signature is wrong', async () => {
    await using routers = await acquainted();
    const { a, b } = routers;
    const { packed } = a.pack(b.local.hash, huge);
    packed[40]! ^= 1;
    await sendOverLink(routers, packed);
    assert.equal(b.counters.get('crypto/bad-signature'), 1);
    assert.equal(b.budget.used, 0);
  });

  test('where its receiver cannot take it now', async () => {
    await using routers = await acquainted();
    const { a, b } = routers;
    b.take = () => Promise.reject(new GatewayError('store/full', 'no room', { retryable: true }));
    await sendOverLink(routers, a.pack(b.local.hash, huge).packed);
    assert.equal(b.counters.get('store/full'), 1);
    assert.equal(b.budget.used, 0);
  });

  test('where its sender is unknown and it came again, or the node stops', async () => {
    await using routers = twoRouters();
    const { a, b } = routers;
    await b.announce();
    a.router.withdraw(a.local);
    const { packed } = a.pack(b.local.hash, huge);
    await sendOverLink(routers, packed);
    const once = b.budget.used;
    assert.ok(once > 0);
    for (let repeat = 0; repeat < 3; repeat++) {
      await sendOverLink(routers, packed);
    }
    assert.equal(b.router.held, 1);
    assert.equal(b.budget.used, once);
    b.router.close();
    assert.equal(b.budget.used, 0);
  });

  test('where no more are held', async () => {
    await using routers = twoRouters();
    const { a, b } = routers;
    await b.announce();
    a.router.withdraw(a.local);
    const large = 'x'.repeat(6 * 1024 * 1024);
    for (let count = 0; count < 3; count++) {
      await sendOverLink(routers, a.pack(b.local.hash, `${count}${large}`).packed);
    }
    assert.equal(b.router.held, 2);
    assert.equal(b.counters.get('store/full'), 1);
    assert.ok(b.budget.used < 3 * large.length);
  });
});

test('a message that comes over an open link for a destination that is served no more is not taken', async () => {
  await using routers = await acquainted();
  const { a, b, nodes } = routers;
  await nodes.until(a.send(a.pack(b.local.hash, long)));
  b.router.withdraw(b.local);
  const stop = new AbortController();
  const sent = a.router.send(a.pack(b.local.hash, 'late').packed, { signal: stop.signal });
  sent.catch(() => {});
  await nodes.clock.advance(1000);
  assert.equal(b.inbox.length, 1);
  assert.equal(b.counters.get('lxmf/not-served'), 1);
  stop.abort();
  b.router.serve(b.local);
});

test('a message that names another destination than it came to is dropped', async () => {
  await using routers = await acquainted();
  const { a, b, nodes } = routers;
  await nodes.until(a.send(a.pack(b.local.hash, long)));
  const [link] = a.links.all();
  const { packed } = a.pack(new Uint8Array(16).fill(9), 'for another');
  await assert.rejects(nodes.until(link!.send(packed)));
  assert.equal(b.inbox.length, 1);
  assert.equal(b.counters.get('lxmf/for-another'), 1);
});

test('what is no message is counted by its code and harms nothing', async () => {
  await using routers = await acquainted();
  const { a, b, nodes } = routers;
  await a.transport.send({
    destination: { identity: b.identity.public, hash: b.local.hash },
    data: new Uint8Array(90).fill(0xc1),
  });
  await nodes.clock.advance(20);
  assert.equal(b.counters.get('wire/malformed'), 1);
  assert.equal(await nodes.until(a.send(a.pack(b.local.hash, 'hello'))), 'delivered');
});

test('a repeat is handed on and proven again', async () => {
  await using routers = await acquainted();
  const { a, b, nodes } = routers;
  const packed = a.pack(b.local.hash, 'hello');
  await nodes.until(a.send(packed));
  await nodes.until(a.send(packed));
  assert.deepEqual(
    b.inbox.map(({ id }) => id),
    [packed.id.toHex(), packed.id.toHex()],
  );
  await settled();
});

test('the method follows the link, the size, the ratchet and what failed before', () => {
  const facts = { length: 100, linkOpen: false, ratchet: true, again: false };
  assert.equal(chooseMethod(facts), 'opportunistic');
  assert.equal(chooseMethod({ ...facts, length: 399 }), 'opportunistic');
  assert.equal(chooseMethod({ ...facts, length: 400 }), 'direct');
  assert.equal(chooseMethod({ ...facts, linkOpen: true }), 'direct');
  assert.equal(chooseMethod({ ...facts, ratchet: false }), 'direct');
  assert.equal(chooseMethod({ ...facts, again: true }), 'direct');
});
