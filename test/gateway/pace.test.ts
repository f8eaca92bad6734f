import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createPace } from '../../src/gateway/pace.ts';
import { createRoutes } from '../../src/gateway/routes.ts';
import { Counters } from '../../src/lib/counters.ts';
import { ManualClock } from '../sim/clock.ts';

test('whoever comes when, no more than so many of each pass in any such time, and a place comes back a sixteenth late at most', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 16, 17, 40, 1000),
      fc.array(fc.record({ wait: fc.nat(40), who: fc.constantFrom('a', 'b'), undo: fc.boolean() }), {
        maxLength: 300,
      }),
      (count, comings) => {
        const rate = { count, per: 320 };
        const pace = createPace(rate, 8);
        const passed: Record<string, number[]> = { a: [], b: [] };
        let now = 0;
        for (const { wait, who, undo } of comings) {
          now += wait;
          const times = passed[who] ?? [];
          const within = (per: number) => times.filter(at => now - at < per).length;
          const has = pace.hasPlace(who, now);
          const giveBack = pace.take(who, now);
          assert.equal(has, giveBack !== undefined);
          if (giveBack === undefined) {
            assert.ok(within(count > 16 ? 340 : 320) >= count, 'left out only where the rate is full');
          } else if (undo) {
            giveBack();
          } else {
            assert.ok(within(320) < count, 'within the rate');
            times.push(now);
          }
          assert.ok(pace.size.notes <= 2 * 17);
        }
      },
    ),
  );
});

test('a thousand in each time take no more room than sixteen, and what has passed longest ago goes first', () => {
  const pace = createPace({ count: 1000, per: 16_000 }, 100);
  for (let n = 0; n < 100_000; n++) {
    pace.take(`mqtt:${'long/'.repeat(200)}${n % 200}`, n);
    assert.ok(pace.size.keys <= 100);
  }
  assert.ok(pace.size.notes <= 100 * 17);
});

test('senders that are invented for one rule push out nobody of another, and a rule that is gone takes no room', () => {
  const clock = new ManualClock();
  const rule = (from: string, to: string) => ({ from, to: [to], maxRate: '1/h' });
  const [loud, quiet] = [rule('mqtt:loud/#', 'app:a'), rule('mqtt:quiet/#', 'app:b')];
  const routes = createRoutes({ clock, counters: new Counters(), rules: [loud, quiet] });
  const pass = (from: string, route: number, address: string) =>
    routes.admit(from, [{ bridge: 'app', address, route }]).recipients.length === 1;
  assert.ok(pass('mqtt:quiet/1', 1, 'app:b'));
  for (let n = 0; n < 10_000; n++) {
    pass(`mqtt:loud/${n}`, 0, 'app:a');
  }
  assert.ok(!pass('mqtt:quiet/1', 1, 'app:b'), 'it is remembered');
  routes.replace([quiet]);
  assert.ok(!pass('mqtt:quiet/1', 0, 'app:b'), 'under another number, too');
});
