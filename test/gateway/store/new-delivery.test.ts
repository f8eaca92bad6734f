import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { deliveryEvent, viewOf } from '../../../src/gateway/store/delivery-table.ts';
import {
  type NewDeliveryRow,
  newDeliveryBody,
  packDelivery,
} from '../../../src/gateway/store/new-delivery.ts';

test('the first event of a delivery says of it what one that is read back says', () => {
  const words = fc.string({ unit: 'binary' });
  const row = fc.record<NewDeliveryRow>({
    id: fc.constant('0'.repeat(32)),
    message: fc.constant('1'.repeat(32)),
    bridge: fc.constantFrom('app', 'matrix'),
    recipient: words,
    priority: fc.constant(2),
    expires_at: fc.constant(5),
    state: fc.constantFrom('queued', 'failed'),
    reason: fc.option(words),
    code: fc.option(fc.constant('mesh/too-large')),
    attempts: fc.nat(3),
    underway: fc.constant(0),
    next_at: fc.constant(null),
    history: fc
      .array(fc.record({ state: fc.constant('queued'), at: fc.nat(), reason: words }))
      .map(steps => JSON.stringify(steps)),
  });
  fc.assert(
    fc.property(row, fc.option(words), (delivery, correlation) => {
      const message = {
        id: delivery.message,
        from: 'app:a',
        ...(correlation === null ? {} : { correlation }),
      };
      assert.equal(
        newDeliveryBody(packDelivery(delivery), message.id, correlation),
        deliveryEvent(delivery, viewOf(delivery), message, 1).body,
      );
    }),
  );
});
