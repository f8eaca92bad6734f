import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { utf8 } from '../../../src/lib/bytes.ts';
import { LocalDestination, type Received } from '../../../src/mesh/reticulum/destination.ts';
import { decodeIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { decodePacket, encodePacket } from '../../../src/mesh/reticulum/packet.ts';
import { groupMdu } from '../../../src/mesh/reticulum/sender.ts';
import { generateTokenKey, sealToken } from '../../../src/mesh/reticulum/token.ts';
import { neighbours, settled } from './air.ts';
import { bytesOf, hexOf, vectors } from './vectors.ts';

interface GroupValue {
  readonly app: string;
  readonly aspects: readonly string[];
  readonly privateKey: string;
  readonly groupKey: string;
  readonly destinationHash: string;
  readonly draws: readonly string[];
  readonly plaintext: string;
}

describe('a group', () => {
  for (const { name, bytes, value } of vectors<GroupValue>('group')) {
    test(`is written to as the reference does, with ${name}`, () => {
      const key = bytesOf(value.groupKey);
      const identity = decodeIdentity(bytesOf(value.privateKey));
      const group = new LocalDestination({
        identity,
        appName: value.app,
        aspects: value.aspects,
        groupKey: key,
      });
      assert.equal(group.kind, 'group');
      assert.equal(group.key, value.destinationHash);
      const packet = decodePacket(bytesOf(bytes));
      assert.equal(packet.destinationType, 'group');
      assert.equal(hexOf(group.open(packet.data, undefined).plaintext), value.plaintext);
      const data = sealToken(key, bytesOf(value.plaintext), bytesOf(value.draws[0]!));
      assert.equal(hexOf(encodePacket({ ...packet, data })), bytes);
    });
  }

  test('hears what is sealed with its key, from neighbours only', async () => {
    const { a, b, air } = neighbours();
    const groupKey = generateTokenKey(a.random);
    const received: Received[] = [];
    const options = { appName: 'app', aspects: ['group'], groupKey };
    const group = new LocalDestination({ ...options, onPacket: packet => received.push(packet) });
    b.transport.register(group);
    await a.transport.sendGroup({ hash: group.hash, key: groupKey }, utf8('to everybody'));
    await settled();
    assert.deepEqual(
      received.map(({ data }) => data),
      [utf8('to everybody')],
    );
    await a.transport.sendGroup({ hash: group.hash, key: generateTokenKey(a.random) }, utf8('not for us'));
    await settled();
    assert.equal(b.counters.get('crypto/undecryptable'), 1);
    const passedOn = air.packets[0]!.slice();
    passedOn[1] = 1;
    air.carry(passedOn);
    await settled();
    assert.equal(b.counters.get('wire/malformed'), 1);
    assert.equal(received.length, 1);
  });

  test('takes neither links nor ratchets, is not announced, and has no other keys than 64 or 32 bytes', async () => {
    const { a } = neighbours();
    const options = { identity: a.transport.identity, appName: 'app', aspects: ['group'] };
    const groupKey = generateTokenKey(a.random);
    for (const wrong of [{ acceptsLinks: true }, { ratchets: true }, { groupKey: new Uint8Array(63) }]) {
      assert.throws(() => new LocalDestination({ ...options, groupKey, ...wrong }), {
        code: 'config/invalid',
      });
    }
    const group = new LocalDestination({ ...options, groupKey });
    a.transport.register(group);
    await assert.rejects(a.transport.announce(group), { code: 'config/invalid' });
    const to = { hash: group.hash, key: groupKey };
    await assert.rejects(a.transport.sendGroup(to, new Uint8Array(groupMdu + 1)), { code: 'mesh/too-large' });
    assert.equal(await a.transport.sendGroup(to, new Uint8Array(groupMdu)), true);
  });
});
