import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { toHex } from '../../../src/lib/bytes.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import { contexts, decodePacket } from '../../../src/mesh/reticulum/packet.ts';
import { type IncomingRequest, RequestHandlers } from '../../../src/mesh/reticulum/request.ts';
import { fill, type Nodes, twoNodes } from './link-nodes.ts';

interface Served {
  readonly link: Link;
  readonly there: Link;
  readonly handlers: RequestHandlers;
  readonly asked: IncomingRequest[];
}

/** A link to a destination that answers `/echo` with what it was sent. */
async function served(nodes: Nodes, maxRequestSize?: number): Promise<Served> {
  const handlers = new RequestHandlers();
  const asked: IncomingRequest[] = [];
  handlers.add({
    path: '/echo',
    allow: 'all',
    respond(request) {
      asked.push(request);
      return { value: request.data };
    },
  });
  let there: Link | undefined;
  const destination = await nodes.serve({
    handlers,
    ...(maxRequestSize === undefined ? {} : { maxRequestSize }),
    onLink: link => {
      there = link;
      return {};
    },
  });
  const link = await nodes.until(nodes.open(destination));
  await nodes.clock.advance(5);
  return { link, there: there!, handlers, asked };
}

const sentAs = (nodes: Nodes, context: number) =>
  nodes.packets.filter(({ packet }) => decodePacket(packet).context === context).length;

describe('requests over a link', () => {
  test('a small one is a packet each way, answered when the reference would be listening', async () => {
    await using nodes = twoNodes();
    const { link, asked } = await served(nodes);
    const { data, took } = await nodes.until(link.request('/echo', ['a', 1, null]));
    assert.deepEqual(data, ['a', 1, null]);
    assert.equal(took, 12);
    assert.equal(asked[0]?.path, '/echo');
    assert.equal(asked[0]?.remote, undefined);
    assert.equal(sentAs(nodes, contexts.resourceAdvertisement), 0);
  });

  test('large ones go as Resources, either way', async () => {
    await using nodes = twoNodes();
    const { link, handlers } = await served(nodes);
    const large = fill('large', 100_000);
    const progress: number[] = [];
    const { data } = await nodes.until(
      link.request('/echo', large, { onProgress: part => progress.push(part) }),
    );
    assert.deepEqual(Buffer.from(data as Uint8Array), Buffer.from(large));
    assert.equal(progress.at(-1), 1);
    assert.equal(sentAs(nodes, contexts.resourceAdvertisement), 2);
    handlers.add({
      path: '/size',
      allow: 'all',
      respond: ({ data: size }) => ({ value: fill('answer', size as number) }),
    });
    const sized = await nodes.until(link.request('/size', 50_000));
    assert.equal((sized.data as Uint8Array).length, 50_000);
  });

  test('a file comes with its metadata', async () => {
    await using nodes = twoNodes();
    const { link, handlers } = await served(nodes);
    const file = fill('file', 3_000_000);
    handlers.add({ path: '/file', allow: 'all', respond: () => ({ file, metadata: 'name' }) });
    const response = await nodes.until(link.request('/file'));
    assert.deepEqual(Buffer.from(response.file!), Buffer.from(file));
    assert.equal(response.metadata, 'name');
  });

  test('a path for a list of Identities answers those that have identified, and is silent to others', async () => {
    await using nodes = twoNodes();
    const { link, handlers } = await served(nodes);
    const friend = generateIdentity(nodes.a.random);
    handlers.add({
      path: '/mine',
      allow: new Set([toHex(friend.hash)]),
      respond: () => ({ value: 'for you' }),
    });
    handlers.add({ path: '/off', allow: 'none', respond: () => ({ value: 'never' }) });
    await assert.rejects(nodes.until(link.request('/mine')), { code: 'mesh/timeout' });
    link.identify(friend);
    assert.equal((await nodes.until(link.request('/mine'))).data, 'for you');
    await assert.rejects(nodes.until(link.request('/off')), { code: 'mesh/timeout' });
    assert.equal(nodes.b.counters.get('request/not-allowed'), 2);
  });

  test('an unknown path, no answer and a handler that fails are a time-out', async () => {
    await using nodes = twoNodes();
    const { link, handlers } = await served(nodes);
    handlers.add({ path: '/nothing', allow: 'all', respond: () => undefined });
    handlers.add({ path: '/broken', allow: 'all', respond: () => Promise.reject(new TypeError('broken')) });
    for (const path of ['/nowhere', '/nothing', '/broken']) {
      await assert.rejects(nodes.until(link.request(path, null, { timeout: 700 })), {
        code: 'mesh/timeout',
      });
    }
    assert.equal(nodes.b.counters.get('request/unknown-path'), 1);
    assert.equal(nodes.b.counters.get('request/unanswered'), 1);
  });

  test('sizes are bounded on both sides', async () => {
    await using nodes = twoNodes();
    const { link, asked } = await served(nodes, 20_000);
    await assert.rejects(nodes.until(link.request('/echo', fill('large', 30_000))), {
      code: 'mesh/rejected',
    });
    assert.equal(asked.length, 0);
    const small = fill('small', 19_000);
    await assert.rejects(nodes.until(link.request('/echo', small, { maxResponseSize: 18_000 })), {
      code: 'mesh/too-large',
    });
    await assert.rejects(nodes.until(link.request('/echo', fill('x', 500), { maxResponseSize: 100 })), {
      code: 'mesh/too-large',
    });
  });

  test('a destination without handlers takes no request Resources', async () => {
    await using nodes = twoNodes();
    const destination = await nodes.serve({ onLink: () => ({}) });
    const link = await nodes.until(nodes.open(destination));
    await assert.rejects(nodes.until(link.request('/echo', fill('large', 30_000))), {
      code: 'mesh/timeout',
    });
    assert.equal(nodes.b.counters.get('resource/ignored') > 0, true);
  });

  test('closing the link or giving up ends what waits', async () => {
    await using nodes = twoNodes();
    const { link, handlers } = await served(nodes);
    handlers.add({ path: '/slow', allow: 'all', respond: () => new Promise(() => {}) });
    const stop = new AbortController();
    const given = link.request('/slow', null, { signal: stop.signal });
    const closed = link.request('/slow');
    await nodes.clock.advance(5);
    stop.abort(new Error('not wanted'));
    await assert.rejects(given, /not wanted/);
    link.close();
    await assert.rejects(closed, { code: 'mesh/link-closed' });
    await assert.rejects(link.request('/slow'), { code: 'mesh/link-closed' });
  });

  test('the destination’s side can ask too, where the initiator serves', async () => {
    await using nodes = twoNodes();
    const handlers = new RequestHandlers();
    handlers.add({ path: '/who', allow: 'all', respond: () => ({ value: 'the initiator' }) });
    let there: Link | undefined;
    const destination = await nodes.serve({
      onLink: link => {
        there = link;
        return {};
      },
    });
    await nodes.until(nodes.open(destination, { handlers }));
    await nodes.clock.advance(5);
    assert.equal((await nodes.until(there!.request('/who'))).data, 'the initiator');
  });
});
