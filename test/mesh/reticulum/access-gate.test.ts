import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { systemClock } from '../../../src/lib/clock.ts';
import { createSignatureThreads, type SignatureThreads } from '../../../src/lib/signature-threads.ts';
import { AccessCode } from '../../../src/mesh/reticulum/access-code.ts';
import { AccessGate } from '../../../src/mesh/reticulum/access-gate.ts';
import { until } from '../../contract/interface.ts';
import { ManualClock } from '../../sim/clock.ts';

const code = new AccessCode({ networkName: 'net', passphrase: 'pass', size: 16 });
const other = new AccessCode({ networkName: 'net', passphrase: 'other', size: 16 });

function packet(number: number): Uint8Array {
  return new Uint8Array(100).fill(number, 2);
}

/** Threads that finish when they are told to, the last first. */
function unruly(): SignatureThreads & { finish(): void; readonly given: number } {
  const real = createSignatureThreads();
  const waiting: (() => void)[] = [];
  let given = 0;
  return {
    hasRoom: true,
    get given() {
      return given;
    },
    sign(key, message, done) {
      given += 1;
      real.sign(key, message, signature => waiting.push(() => done(signature)));
    },
    verify: real.verify,
    finish() {
      for (const one of waiting.splice(0).reverse()) {
        one();
      }
    },
  };
}

describe('the access codes of an interface', () => {
  test('of a packet that comes alone are made and checked at once', () => {
    const gate = new AccessGate(new ManualClock(), unruly());
    let opened: Uint8Array | undefined;
    void gate.open(code, code.seal(packet(1)), one => {
      opened = one;
    });
    assert.deepEqual(opened, packet(1));
    assert.equal(
      gate.seal(code, packet(2), sealed => {
        assert.deepEqual(sealed, code.seal(packet(2)));
        return true;
      }),
      true,
    );
  });

  test('of many are checked by threads, and the packets go on in the order in which they came', async () => {
    const threads = unruly();
    const gate = new AccessGate(new ManualClock(), threads);
    const numbers = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    const opened: (Uint8Array | undefined)[] = [];
    for (const number of numbers) {
      const sealed = (number === 5 ? other : code).seal(packet(number));
      void gate.open(code, sealed, one => void opened.push(one));
    }
    void gate.open(code, new Uint8Array(3), one => void opened.push(one));
    assert.ok(threads.given > 5);
    await until(() => {
      threads.finish();
      return opened.length === 11;
    });
    const expected = numbers.map(number => (number === 5 ? undefined : packet(number)));
    assert.deepEqual(opened, [...expected, undefined]);
  });

  test('of many are made by threads, and the packets leave in the order in which they came', async () => {
    const threads = unruly();
    const gate = new AccessGate(new ManualClock(), threads);
    const left: Uint8Array[] = [];
    const taken = [0, 1, 2, 3, 4, 5].map(number =>
      gate.seal(code, packet(number), sealed => {
        left.push(sealed);
        return number !== 3;
      }),
    );
    assert.ok(threads.given > 3);
    await until(() => {
      threads.finish();
      return left.length === 6;
    });
    assert.deepEqual(
      left,
      [0, 1, 2, 3, 4, 5].map(number => code.seal(packet(number))),
    );
    assert.deepEqual(await Promise.all(taken), [true, true, true, false, true, true]);
  });

  test('make whoever brings too many wait, and what is behind a packet that has to wait', async () => {
    const threads = unruly();
    const gate = new AccessGate(new ManualClock(), threads);
    const held = Promise.withResolvers<void>();
    let opened = 0;
    let wait: unknown;
    for (let number = 0; number < 80; number++) {
      wait = gate.open(code, code.seal(packet(number)), () => {
        opened += 1;
        return opened === 3 ? held.promise : undefined;
      });
    }
    assert.ok(wait instanceof Promise);
    for (let round = 0; round < 50; round++) {
      threads.finish();
      await turn();
    }
    assert.equal(opened, 3);
    held.resolve();
    await until(() => {
      threads.finish();
      return opened === 80;
    });
    await wait;
  });

  test('are the same by the threads of the machine, and where these have no room', async () => {
    const gate = new AccessGate(systemClock, createSignatureThreads());
    const opened: (Uint8Array | undefined)[] = [];
    const sealed = Array.from({ length: 200 }, (_, number) => code.seal(packet(number)));
    for (const one of sealed) {
      void gate.open(code, one, packet => void opened.push(packet));
    }
    await until(() => opened.length === 200);
    assert.deepEqual(
      opened,
      sealed.map((_, number) => packet(number)),
    );
  });
});
