import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeldMessages, holdLongest } from '../../../src/mesh/lxmf/held.ts';
import type { SignedMessage } from '../../../src/mesh/lxmf/message.ts';
import type { Arrival } from '../../../src/mesh/lxmf/receiver.ts';
import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';

test('one neighbour who writes as many that nobody knows leaves room for who comes over another interface', async () => {
  const clock = new ManualClock();
  const random = seededRandom(5);
  let given = 0;
  const held = new HeldMessages(clock, () => {
    given += 1;
  });
  const hold = (interfaceName: string) => {
    const arrival: Arrival = {
      to: random.bytes(16),
      packed: random.bytes(200),
      method: 'opportunistic',
      hops: 1,
      interfaceName,
      quality: undefined,
      patience: Number.POSITIVE_INFINITY,
      prove() {},
    };
    const message = { id: random.bytes(32), signature: random.bytes(64), source: random.bytes(16) };
    return held.hold(arrival, message as unknown as SignedMessage);
  };
  let loud = 0;
  while (hold('server/192.0.2.66:1') === 'first') {
    loud += 1;
  }
  assert.equal(loud, 128);
  for (let count = 0; count < 60; count++) {
    assert.equal(hold('lora'), 'first');
  }
  assert.equal(hold('server/192.0.2.66:1'), 'full');
  await clock.advance(holdLongest);
  assert.equal(held.size, 0);
  assert.equal(given, 188);
  assert.equal(hold('server/192.0.2.66:1'), 'first');
  held.close();
});
