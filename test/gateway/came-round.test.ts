import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Address, mostHubs } from '../../src/gateway/message.ts';
import {
  type MemoryBridge,
  memoryBridge,
  openTestSwitch,
  type TestSwitch,
  testHub,
  until,
} from './fixture.ts';

interface FarHub {
  readonly address: Address;
  readonly hub: TestSwitch;
  readonly bridge: MemoryBridge;
}

/** Hubs that have each other in the rooms `hub` and `plaza`, and pass on what they get as the LXMF bridge does. */
async function hubsInACircle(count: number, stack: AsyncDisposableStack): Promise<FarHub[]> {
  const names = Array.from({ length: count }, (_, at) => (at + 1).toString(16).repeat(32));
  const members = names.map(name => `lxmf:${name}`);
  const hubs = new Map<Address, FarHub>();
  let sent = 0;
  for (const name of names) {
    const address = `lxmf:${name}`;
    const bridge = memoryBridge();
    const others = { members: members.filter(member => member !== address) };
    const id = `00${name.slice(2)}`;
    const hub = stack.use(
      await openTestSwitch({
        hub: { ...testHub, id, lxmf: name },
        rooms: { hub: others, plaza: others },
        bridges: [bridge],
      }),
    );
    bridge.respond = async ({ to, message }) => {
      sent += 1;
      assert.ok(sent < 100, 'the message circulates');
      await hubs.get(to)!.bridge.say({
        remoteId: `sent ${sent}`,
        from: address,
        to,
        text: message.text,
        via: [...message.via, id],
      });
      return { state: 'delivered' };
    };
    hubs.set(address, { address, hub, bridge });
  }
  return [...hubs.values()];
}

test('what is said in a room of hubs that have each other in theirs ends, and is heard by all of them', async () => {
  await using stack = new AsyncDisposableStack();
  const hubs = await hubsInACircle(3, stack);
  const [first] = hubs;
  await first!.hub.desk.messages.post(first!.hub.owner, { to: 'room:plaza', text: 'hello' });
  // Once by each way round.
  await until(() => first!.hub.counters.get('accept/came-round') === 2);
  await until(() => hubs.every(({ hub }) => hub.store.read.openDeliveries().length === 0));
  for (const { hub } of hubs.slice(1)) {
    const { items } = await hub.desk.inbox.read(hub.owner, {});
    assert.ok(items.some(({ message }) => message.text === 'hello'));
  }
  const { items } = await first!.hub.desk.inbox.read(first!.hub.owner, {});
  assert.deepEqual(items, []);
});

test('what passed as many hubs as it may is read here and goes no further', async () => {
  const bridge = memoryBridge();
  const far = `lxmf:${'5'.repeat(32)}`;
  await using hub = await openTestSwitch({ rooms: { hub: { members: [far] } }, bridges: [bridge] });
  const via = Array.from({ length: mostHubs }, (_, at) => at.toString(16).padStart(32, '1'));
  const to = `lxmf:${testHub.lxmf}`;
  await bridge.say({ remoteId: 'too far', to, text: 'from far away', via });
  await bridge.say({ remoteId: 'near', to, text: 'from next door', via: via.slice(1) });
  const { items } = await hub.desk.inbox.read(hub.owner, {});
  assert.deepEqual(
    items.map(({ message }) => message.text),
    ['from far away', 'from next door'],
  );
  await until(() => bridge.delivered.length > 0);
  assert.deepEqual(
    bridge.delivered.map(({ message }) => message.text),
    ['from next door'],
  );
});
