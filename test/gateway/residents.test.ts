import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Residence } from '../../src/gateway/bridge.ts';
import type { Address } from '../../src/gateway/message.ts';
import { isGatewayError } from '../../src/lib/errors.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { ManualClock } from '../sim/clock.ts';
import { type MemoryBridge, memoryBridge, openTestSwitch, type TestSwitch } from './fixture.ts';

/** A far side that gives addresses, and what it serves. */
function residing(): MemoryBridge & { readonly served: Map<Address, string> } {
  const served = new Map<Address, string>();
  const residence: Residence = {
    make() {
      const key = systemRandom.bytes(64);
      return { address: `lxmf:${key.toHex().slice(0, 32)}`, key };
    },
    open: ({ address, name, key }) => {
      assert.ok(address.endsWith(key.toHex().slice(0, 32)));
      served.set(address, name);
    },
    close: address => served.delete(address),
  };
  return Object.assign(memoryBridge(), { residence, served });
}

async function folder(): Promise<{ dir: string } & AsyncDisposable> {
  const dir = await mkdtemp(join(tmpdir(), 'kos-residents-'));
  return { dir, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) };
}

test('a room, an app and a person have addresses that outlive a restart, and are written to there', async () => {
  await using at = await folder();
  const rooms = { plaza: { members: ['app:ann'] } };
  let before: ReadonlyMap<Address, string>;
  let appAddress: Address;
  {
    const lxmf = residing();
    const matrix = memoryBridge('matrix');
    await using hub = await openTestSwitch({ dir: at.dir, rooms, bridges: [lxmf, matrix] });
    const made = await hub.client('ann', { identity: 'own' });
    appAddress = made.addresses?.[0] as Address;
    const port = await matrix.port;
    await port.host('matrix:@al:home', { name: '  Al\nice ' });
    await port.host('matrix:@al:home', { name: 'Alice' });
    assert.deepEqual(port.residentOf('matrix:@al:home')?.name, 'Alice');
    before = new Map(lxmf.served);
    assert.deepEqual([...before.values()].sort(), ['Alice', 'ann', 'plaza']);
    assert.deepEqual(hub.desk.clients.list().find(({ name }) => name === 'ann')?.addresses, [appAddress]);
  }
  const lxmf = residing();
  const matrix = memoryBridge('matrix');
  await using hub = await openTestSwitch({ dir: at.dir, rooms, bridges: [lxmf, matrix] });
  await lxmf.port;
  assert.deepEqual(new Map(lxmf.served), before);
  const [plaza] = hub.desk.rooms.list(hub.owner).find(({ name }) => name === 'plaza')?.addresses ?? [];
  await lxmf.say({ remoteId: '1', to: plaza as Address, text: 'to the room' });
  await lxmf.say({ remoteId: '2', to: appAddress, text: 'to the app' });
  const { addresses } = hub.desk.residents().find(({ party }) => party === 'matrix:@al:home') ?? {};
  await lxmf.say({ remoteId: '3', to: addresses?.[0] as Address, text: 'to Alice' });
  const told = hub.desk.messages.list(hub.owner, {}).items.map(({ to, text, deliveries }) => ({
    to,
    text,
    reached: deliveries.map(one => one.to),
  }));
  assert.deepEqual(told.reverse(), [
    { to: 'room:plaza', text: 'to the room', reached: ['app:ann'] },
    { to: 'app:ann', text: 'to the app', reached: ['app:ann'] },
    { to: 'matrix:@al:home', text: 'to Alice', reached: ['matrix:@al:home'] },
  ]);
});

test('whoever gives up its address is not written to any more, and has the same one when it comes back', async () => {
  const lxmf = residing();
  const matrix = memoryBridge('matrix');
  await using _ = await openTestSwitch({ bridges: [lxmf, matrix] });
  const port = await matrix.port;
  await port.host('matrix:@al:home', { name: 'Alice' });
  const [address] = port.residentOf('matrix:@al:home')?.addresses ?? [];
  await port.host('matrix:@al:home', undefined);
  await port.host('matrix:@al:home', undefined);
  assert.equal(lxmf.served.size, 0);
  assert.equal(port.residentOf('matrix:@al:home'), undefined);
  await port.host('matrix:@al:home', { name: 'Alice' });
  assert.deepEqual(port.residentOf('matrix:@al:home')?.addresses, [address]);
  await assert.rejects(port.host('app:ann', { name: 'Ann' }), error =>
    isGatewayError(error, 'request/invalid'),
  );
});

test('a revoked client takes its address and its key with it', async () => {
  const lxmf = residing();
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  const { addresses } = await hub.client('ann', { identity: 'own' });
  await hub.desk.clients.revoke('ann');
  assert.equal(lxmf.served.size, 0);
  assert.deepEqual(hub.store.read.residents(), []);
  await lxmf.say({ remoteId: '1', to: addresses?.[0] as Address });
  assert.equal(hub.desk.messages.list(hub.owner, {}).items[0]?.to, addresses?.[0]);
});

test('so many have an address and no more, and nothing is made of who has none', async () => {
  const lxmf = residing();
  await using hub = await openTestSwitch({ bridges: [lxmf], limits: { residents: 2 } });
  await hub.client('one', { identity: 'own' });
  await hub.client('two', { identity: 'own' });
  await assert.rejects(hub.client('three', { identity: 'own' }), error =>
    isGatewayError(error, 'store/full'),
  );
  await hub.client('three');
  await hub.desk.clients.revoke('one');
  await hub.client('four', { identity: 'own' });
  assert.deepEqual([...lxmf.served.values()], ['two', 'four']);
});

test('a room that is not configured any more has no address, and the same one when it is again', async () => {
  await using at = await folder();
  const addressOfPlaza = async (rooms: Record<string, { members: string[] }>) => {
    const lxmf = residing();
    await using _ = await openTestSwitch({ dir: at.dir, rooms, bridges: [lxmf] });
    await lxmf.port;
    return [...lxmf.served.keys()];
  };
  const first = await addressOfPlaza({ plaza: { members: [] } });
  assert.equal(first.length, 1);
  assert.deepEqual(await addressOfPlaza({}), []);
  assert.deepEqual(await addressOfPlaza({ plaza: { members: [] } }), first);
});

test('whose bridge is not there, or whose token has run out, is not to be written to', async () => {
  await using at = await folder();
  const clock = new ManualClock();
  const served = async (
    bridges: (lxmf: MemoryBridge) => readonly MemoryBridge[],
    work?: (hub: TestSwitch) => Promise<void>,
  ) => {
    const lxmf = residing();
    await using hub = await openTestSwitch({ dir: at.dir, clock, bridges: bridges(lxmf) });
    await lxmf.port;
    await work?.(hub);
    return [...lxmf.served].map(([address, name]) => `${name} ${address}`).sort();
  };
  const matrix = memoryBridge('matrix');
  const first = await served(
    lxmf => [lxmf, matrix],
    async hub => {
      await (await matrix.port).host('matrix:@al:home', { name: 'Alice' });
      await hub.client('ann', { identity: 'own', expiresAt: clock.now() + 90_000 });
    },
  );
  assert.equal(first.length, 2);
  assert.deepEqual(
    await served(lxmf => [lxmf]),
    first.filter(name => name.startsWith('ann')),
  );
  assert.deepEqual(await served(lxmf => [lxmf, memoryBridge('matrix')]), first);
  await clock.advance(100_000);
  assert.deepEqual(
    await served(lxmf => [lxmf, memoryBridge('matrix')]),
    first.filter(name => name.startsWith('Alice')),
  );
  // The clock was wrong, and the token is good after all.
  clock.set(-100_000);
  assert.deepEqual(await served(lxmf => [lxmf, memoryBridge('matrix')]), first);
});
