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

test('rules made while hubs run that lead to each other end after one round', async () => {
  await using stack = new AsyncDisposableStack();
  const hubs = await hubsInACircle(2, stack);
  for (const { hub, address } of hubs) {
    await hub.desk.rooms.change(hub.owner, 'hub', { members: ['app:owner'] });
    const to = hubs.filter(one => one.address !== address).map(one => one.address);
    for (const from of ['lxmf:#', 'app:*']) {
      await hub.desk.routes.create(undefined, { from, room: 'hub', to });
    }
  }
  const [first, second] = hubs;
  await first!.hub.desk.messages.post(first!.hub.owner, { to: 'room:hub', text: 'round and round' });
  await until(() => second!.hub.desk.messages.list(second!.hub.owner, {}).items.length === 1);
  await until(() => hubs.every(({ hub }) => hub.store.read.openDeliveries().length === 0));
  assert.equal(first!.hub.desk.messages.list(first!.hub.owner, {}).items.length, 1);
  assert.deepEqual(
    second!.hub.desk.messages.list(second!.hub.owner, {}).items[0]?.deliveries.map(({ to }) => to),
    ['app:owner'],
    'not back to where it came from',
  );
});

test('a rule that feeds itself says nothing twice: not to its own topic, and not through a room', async () => {
  const mqtt = memoryBridge('mqtt');
  const pump = 'mqtt:dev/pump';
  await using hub = await openTestSwitch({ bridges: [mqtt] });
  const { routes } = hub.desk;
  await routes.create('self', { from: 'mqtt:#', to: [pump, 'room:sensors', 'room:hub', 'mqtt:plaza'] });
  await routes.create('other', { from: 'mqtt:#', to: ['mqtt:plaza', pump, 'mqtt:dev/other'] });
  await hub.desk.rooms.addMember(hub.owner, 'sensors', pump);
  const say = (from: string, remoteId: string) =>
    mqtt.say({ from, remoteId, to: 'room:sensors', type: 'sensor.reading', data: { values: {} } });
  await say(pump, '1');
  await until(() => mqtt.delivered.length === 2);
  assert.deepEqual(mqtt.delivered.map(({ to }) => to).sort(), ['mqtt:dev/other', 'mqtt:plaza']);
  // What it makes of the reading comes back under its own id, as a broker that echoes would send it: it is known.
  await say(pump, '1');
  await say('mqtt:dev/other', '2');
  await until(() => mqtt.delivered.length === 4);
  assert.deepEqual(
    mqtt.delivered
      .slice(2)
      .map(({ to }) => to)
      .sort(),
    [pump, 'mqtt:plaza'],
  );
});
