import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mqttLimits } from '../../../src/bridges/mqtt/config.ts';
import { type KeptPacket, Persistence } from '../../../src/bridges/mqtt/persistence.ts';
import { Counters } from '../../../src/lib/counters.ts';

const packetOf = (payload: Uint8Array, change: Partial<KeptPacket> = {}): KeptPacket => ({
  cmd: 'publish',
  topic: 't',
  payload,
  qos: 1,
  retain: false,
  ...change,
});

async function open(sessions: readonly string[]) {
  const counters = new Counters();
  const persistence = new Persistence({ counters, onRetained() {}, onReleased() {} });
  for (const id of sessions) {
    await persistence.addSubscriptions({ id }, [{ topic: 't', qos: 1 }]);
  }
  const queue = async (id: string) => (await persistence.outgoingStream({ id }).toArray()) as KeptPacket[];
  const bytes = async (id: string) => (await queue(id)).reduce((sum, { payload }) => sum + payload.length, 0);
  const enqueue = (clientId: string, packet: KeptPacket) =>
    persistence.outgoingEnqueue({ clientId, qos: 1 }, packet);
  return { counters, persistence, queue, bytes, enqueue };
}

const large = new Uint8Array(200 * 1024);

test('what waits for an absent session is bounded in bytes, and there is room again once it was taken', async () => {
  const { counters, persistence, queue, bytes, enqueue } = await open(['a']);
  for (let counter = 0; counter < 10; counter++) {
    await enqueue('a', packetOf(large, { brokerId: 'b', brokerCounter: counter }));
  }
  assert.ok((await bytes('a')) <= mqttLimits.queueBytes);
  const kept = (await queue('a')).length;
  assert.equal(counters.get('mqtt.queue.dropped'), 10 - kept);
  const sent = packetOf(large, { brokerId: 'b', brokerCounter: 0, messageId: 1 });
  await persistence.outgoingUpdate({ id: 'a' }, sent);
  await persistence.outgoingClearMessageId({ id: 'a' }, sent);
  await enqueue('a', packetOf(large));
  assert.equal((await queue('a')).length, kept);
});

test('the queues of all sessions together are bounded in bytes, and a session that ends makes room', async () => {
  const ids = Array.from({ length: 100 }, (_, index) => `s${index}`);
  const { persistence, bytes, enqueue } = await open(ids);
  const fill = async (id: string) => {
    for (let counter = 0; counter < 6; counter++) {
      await enqueue(id, packetOf(large));
    }
  };
  let total = 0;
  for (const id of ids) {
    await fill(id);
    total += await bytes(id);
  }
  assert.ok(total <= mqttLimits.queuesBytes);
  assert.equal(await bytes('s99'), 0);
  await persistence.cleanSubscriptions({ id: 's0' });
  await fill('s99');
  assert.ok((await bytes('s99')) > 0);
});

test('a kept message does not hold on to what it was read with', async () => {
  const { queue, enqueue } = await open(['a']);
  const read = Buffer.alloc(100_000);
  await enqueue('a', packetOf(read.subarray(10, 20)));
  const [kept] = await queue('a');
  assert.equal(kept?.payload.buffer === read.buffer, false);
});

test('of a QoS 2 publish only the packet id is kept, and the oldest go beyond the bound', async () => {
  const { persistence } = await open(['a']);
  const client = { id: 'a' };
  for (let messageId = 1; messageId <= mqttLimits.inboundHandshakes + 1; messageId++) {
    await persistence.incomingStorePacket(client, packetOf(large, { qos: 2, messageId }));
  }
  assert.deepEqual(await persistence.incomingGetPacket(client, packetOf(large, { messageId: 2 })), {
    messageId: 2,
  });
  await assert.rejects(persistence.incomingGetPacket(client, packetOf(large, { messageId: 1 })));
});

test('a PUBREL in the place of its publish gives back the room of the payload', async () => {
  const { persistence, queue, enqueue } = await open(['a']);
  for (let counter = 1; counter <= 5; counter++) {
    await enqueue('a', packetOf(large, { brokerId: 'b', brokerCounter: counter }));
    const sent = packetOf(large, { brokerId: 'b', brokerCounter: counter, messageId: counter });
    await persistence.outgoingUpdate({ id: 'a' }, sent);
    // The library's PUBREL has neither topic nor payload.
    await persistence.outgoingUpdate({ id: 'a' }, { cmd: 'pubrel', messageId: counter } as KeptPacket);
  }
  for (let counter = 6; counter <= 10; counter++) {
    await enqueue('a', packetOf(large, { brokerId: 'b', brokerCounter: counter }));
  }
  assert.equal((await queue('a')).length, 10);
});
