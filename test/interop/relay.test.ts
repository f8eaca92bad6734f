import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fromHex, toHex } from '../../src/lib/bytes.ts';
import { AccessCode } from '../../src/mesh/reticulum/access-code.ts';
import { until } from '../contract/interface.ts';
import type { ReferenceVersion } from '../venv.ts';
import { Node } from './node.ts';
import { missingReference, startPeer } from './peer.ts';

const pairs: readonly (readonly [ReferenceVersion, ReferenceVersion])[] = [
  ['1.5.7', '1.5.7'],
  ['1.4.2', '1.5.7'],
];

for (const [one, other] of pairs) {
  const skip = (await missingReference(one)) || (await missingReference(other));

  describe(`a node of ours between rns ${one} and rns ${other}`, { skip, timeout: 120_000 }, () => {
    test('carries announces, packets with proofs, links, resources and messages both ways', async () => {
      await using hub = new Node(true);
      const port = await hub.listen();
      const client = { type: 'client', port } as const;
      await using a = await startPeer({
        version: one,
        interfaces: [client],
        displayName: 'A',
        ratchets: true,
      });
      await using b = await startPeer({
        version: other,
        interfaces: [client],
        displayName: 'B',
        ratchets: true,
      });
      await until(() => [...hub.transport.interfaces()].filter(({ online }) => online).length === 3);
      await a.announce();
      const heard = await b.next('announce', ({ destination }) => destination === a.destination);
      assert.equal(heard.destination, a.destination);
      const path = await b.path(a.destination);
      assert.equal(path.hops, 2);
      assert.equal(path.via, toHex(hub.transport.identity.hash));

      const echo = await b.addDestination('app.echo', { ratchets: true });
      await b.announce({ destination: echo });
      await a.next('announce', ({ destination }) => destination === echo);
      assert.equal((await a.packet(echo, 'app.echo', { hex: '0102' })).proved, true);

      const { link } = await a.openLink(echo, 'app.echo');
      assert.equal((await a.sendOnLink(link, { hex: 'aa'.repeat(300) })).proved, true);
      assert.deepEqual((await a.request(link, '/echo', 'over two hops')).response, 'over two hops');
      const sent = await a.sendResource(link, { hex: 'ab'.repeat(300_000) }, { compress: false });
      assert.equal(sent.status, 'complete');
      await a.closeLink(link);

      const there = await b.send({ to: a.destination, content: 'from b', method: 'opportunistic' });
      assert.equal(await b.delivered(there.hash), 'delivered');
      await b.announce();
      await a.next('announce', ({ destination }) => destination === b.destination);
      const back = await a.send({ to: b.destination, content: 'x'.repeat(20_000), method: 'direct' });
      assert.equal(await a.delivered(back.hash), 'delivered');
      assert.deepEqual(
        (await b.received()).map(({ content }) => content),
        ['x'.repeat(20_000)],
      );
      assert.equal(hub.counters.get('crypto/bad-signature'), 0);
    });

    test('keeps two networks with access codes apart, and joins those who know both', async () => {
      await using hub = new Node(true);
      const code = (networkName: string) => ({
        accessCode: new AccessCode({ networkName, passphrase: 'correct horse', size: 16 }),
      });
      const port = await hub.listen(code('elm'));
      const client = (network_name: string) =>
        ({ type: 'client', port, options: { network_name, passphrase: 'correct horse' } }) as const;
      await using a = await startPeer({ version: one, interfaces: [client('elm')] });
      await using b = await startPeer({ version: other, interfaces: [client('elm')], displayName: 'B' });
      await using stranger = await startPeer({ version: one, interfaces: [client('oak')] });
      await until(() => [...hub.transport.interfaces()].filter(({ online }) => online).length === 4);
      await stranger.announce();
      await b.announce();
      await a.next('announce', ({ destination }) => destination === b.destination);
      const sent = await a.send({ to: b.destination, content: 'x'.repeat(5000), method: 'direct' });
      assert.equal(await a.delivered(sent.hash), 'delivered');
      assert.equal(hub.transport.path(fromHex(stranger.destination)), undefined);
      assert.ok(hub.counters.get('access-code/refused') > 0);
      assert.deepEqual(await stranger.announces(), []);
    });

    test('answers for a destination that it knows, and searches for one that it does not', async () => {
      await using hub = new Node(true);
      const port = await hub.listen();
      const client = { type: 'client', port } as const;
      await using a = await startPeer({ version: one, interfaces: [client] });
      await a.announce();
      await until(() => hub.transport.path(fromHex(a.destination)) !== undefined);
      await using late = await startPeer({ version: other, interfaces: [client] });
      const found = await late.requestPath(a.destination);
      assert.equal(found.known, true);
      assert.equal(found.hops, 2);
    });
  });
}
