import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { AirtimeLedger, type AirtimeStore, type AirtimeUse } from '../../src/radio/airtime.ts';
import { ManualClock } from '../sim/clock.ts';

const hour = 3_600_000;

function memoryStore(): AirtimeStore & { saved: number; value: Uint8Array | undefined; fail: boolean } {
  return {
    saved: 0,
    value: undefined,
    fail: false,
    load() {
      return this.value;
    },
    async save(_, value) {
      if (this.fail) {
        throw new RangeError('disk');
      }
      this.saved += 1;
      this.value = value.slice();
    },
  };
}

const ledgerOf = (clock: ManualClock, store?: AirtimeStore, limit = 0.1) =>
  new AirtimeLedger({ key: '6c', limit }, { clock, store });

describe('an airtime ledger', () => {
  test('grants an hour its budget and says until when the rest waits', async () => {
    const clock = new ManualClock();
    const ledger = ledgerOf(clock);
    for (let i = 0; i < 6; i++) {
      await ledger.take(60_000, 'answer');
    }
    await assert.rejects(ledger.take(1, 'answer'), { code: 'airtime/exhausted', retryable: true });
    const { until, ...view } = ledger.view(1);
    assert.deepEqual(view, {
      shortPercent: 2400,
      longPercent: 10,
      limitPercent: 10,
      usedMs: 360_000,
      budgetMs: 360_000,
    });
    assert.ok(until !== undefined && until >= clock.now() + hour && until <= clock.now() + hour + 120_000);
    const { delay } = ledger.wait(1000, 'answer')!;
    await clock.advance(delay! - 1);
    assert.notEqual(ledger.wait(1000, 'answer'), undefined);
    await clock.advance(1);
    assert.equal(ledger.wait(1000, 'answer'), undefined);
    assert.equal(ledger.view(1).until, undefined);
  });

  test('keeps room for what is urgent: bulk fills half of it, and answers have the last of it', async () => {
    const ledger = ledgerOf(new ManualClock());
    const fill = async (urgency: 'bulk' | 'normal' | 'high' | 'critical' | 'answer') => {
      for (;;) {
        try {
          await ledger.take(1000, urgency);
        } catch {
          return Math.round(ledger.view(1).usedMs / 1000);
        }
      }
    };
    assert.equal(await fill('bulk'), 180);
    assert.equal(await fill('normal'), 306);
    assert.equal(await fill('high'), 331);
    assert.equal(await fill('critical'), 349);
    assert.equal(await fill('answer'), 360);
  });

  test('lets others have no more than their part, and us whatever they leave', async () => {
    const ledger = ledgerOf(new ManualClock());
    const fill = async (use: AirtimeUse) => {
      for (let taken = 0; ; taken++) {
        try {
          await ledger.take(1000, use);
        } catch {
          return taken;
        }
      }
    };
    assert.equal(await fill('hearsay'), 72);
    assert.equal(await fill('relayed'), 144 - 72);
    assert.equal(await fill('hearsay'), 0);
    assert.equal(await fill('bulk'), 180 - 144);
    assert.equal(await fill('normal'), 306 - 180);
    assert.equal(await fill('answer'), 360 - 306);
    assert.ok(ledger.wait(1000, 'relayed')!.delay! > 0);
    assert.deepEqual(ledger.wait(150_000, 'relayed'), { delay: undefined });
  });

  test('lets others have what is there where we use little, and nothing where we need it', async () => {
    const ledger = ledgerOf(new ManualClock());
    await ledger.take(250_000, 'normal');
    await ledger.take(50_000, 'relayed');
    await assert.rejects(ledger.take(10_000, 'relayed'), { code: 'airtime/exhausted' });
    await assert.rejects(ledger.take(1, 'hearsay'), { code: 'airtime/exhausted' });
    await ledger.take(50_000, 'answer');
  });

  test('says of what is larger than the budget that it never fits', () => {
    assert.deepEqual(ledgerOf(new ManualClock()).wait(200_000, 'bulk'), { delay: undefined });
  });

  test('never holds anything where the law sets no limit, but counts', async () => {
    const ledger = ledgerOf(new ManualClock(), undefined, 1);
    await ledger.take(2 * hour, 'bulk');
    assert.equal(ledger.view(1).longPercent, 200);
    assert.equal(ledger.wait(hour, 'bulk'), undefined);
  });

  test('within any hour, whatever is asked for and when, less than the budget is granted', async () => {
    const asks = fc.array(fc.tuple(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 0, max: 300_000 })), {
      minLength: 50,
      maxLength: 300,
    });
    await fc.assert(
      fc.asyncProperty(asks, fc.array(fc.nat(300)), async (list, restarts) => {
        const clock = new ManualClock();
        const store = memoryStore();
        let ledger = ledgerOf(clock, store, 0.01);
        const granted: { at: number; ms: number }[] = [];
        for (const [index, [ms, pause]] of list.entries()) {
          await clock.advance(pause);
          if (restarts.includes(index)) {
            ledger = ledgerOf(clock, store, 0.01);
          }
          try {
            await ledger.take(ms, 'answer');
            granted.push({ at: clock.now(), ms });
          } catch {}
        }
        for (const { at } of granted) {
          const sum = granted
            .filter(one => one.at > at - hour && one.at <= at)
            .reduce((all, { ms }) => all + ms, 0);
          assert.ok(sum <= 36_000, `${sum} ms within an hour`);
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe('an airtime ledger on disk', () => {
  test('is written before the sending, not at every packet, and never knows less after a crash', async () => {
    const clock = new ManualClock();
    const store = memoryStore();
    const ledger = ledgerOf(clock, store);
    let used = 0;
    for (let i = 0; i < 100; i++) {
      await ledger.take(400, 'answer');
      used += 400;
      const after = ledgerOf(clock, store).view(1).usedMs;
      assert.ok(after >= used && after <= used + 2000, `${after} known of ${used}`);
      await clock.advance(3000);
    }
    assert.ok(store.saved < 40, `${store.saved} writes`);
  });

  test('counts nothing and lets nothing be sent where it cannot be written', async () => {
    const store = memoryStore();
    store.fail = true;
    const ledger = ledgerOf(new ManualClock(), store);
    await assert.rejects(ledger.take(400, 'answer'), RangeError);
    assert.equal(ledger.view(1).usedMs, 0);
  });

  test('takes the whole budget for used where it cannot be read', () => {
    const store = memoryStore();
    store.value = Uint8Array.of(1, 2, 3);
    assert.equal(ledgerOf(new ManualClock(), store).view(1).usedMs, 360_000);
  });

  test('is not fooled by a wall clock that was set, back or forth', async () => {
    const store = memoryStore();
    const clock = new ManualClock();
    const bootId = new Uint8Array(16).fill(7);
    const machineAt = (uptime: number) => ({ bootId, uptime: () => uptime });
    const first = new AirtimeLedger({ key: '6c', limit: 0.1 }, { clock, store, machine: machineAt(1000) });
    await first.take(90_000, 'answer');
    for (const start of [1_000_000, 2_000_000_000_000]) {
      const parts = { clock: new ManualClock(start), store, machine: machineAt(5000) };
      assert.equal(new AirtimeLedger({ key: '6c', limit: 0.1 }, parts).view(1).usedMs, 92_000);
    }
    const rebooted = { bootId: new Uint8Array(16).fill(8), uptime: () => 10 };
    const earlier = { clock: new ManualClock(1_000_000), store, machine: rebooted };
    assert.equal(new AirtimeLedger({ key: '6c', limit: 0.1 }, earlier).view(1).usedMs, 92_000);
    const later = { clock: new ManualClock(clock.now() + 2 * hour), store, machine: rebooted };
    assert.equal(new AirtimeLedger({ key: '6c', limit: 0.1 }, later).view(1).usedMs, 0);
  });
});
