import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { equal, toHex } from '../../../src/lib/bytes.ts';
import type { InterfaceHandle } from '../../../src/mesh/reticulum/dispatch.ts';
import { ReverseTable } from '../../../src/mesh/reticulum/reverse-table.ts';
import { createSlotHash } from '../../../src/mesh/reticulum/slot-hash.ts';
import { ManualClock } from '../../sim/clock.ts';

const lifetime = 480_000;
const slotHash = createSlotHash(hashOf('a secret'));

function handle(name: string): InterfaceHandle {
  return { name, mtu: 500, linkMtu: 500, bitrate: 1e6, online: true };
}

/** A packet hash like any other. */
function hashOf(text: string): Uint8Array {
  return new Uint8Array(createHash('sha256').update(text).digest());
}

const out = handle('out');
const destinationHash = new Uint8Array(16).fill(7);

function fill(table: ReverseTable, receivedOn: InterfaceHandle, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, at) => {
    const hash = hashOf(`${receivedOn.name} ${at}`);
    table.add(hash, { receivedOn, sentOn: out, destinationHash });
    return hash;
  });
}

const found = (table: ReverseTable, hashes: readonly Uint8Array[]) =>
  hashes.filter(hash => table.get(hash.subarray(0, 16)) !== undefined).length;

describe('the ways back of proofs', () => {
  test('are found by what a proof is addressed to, until they are too old', async () => {
    const clock = new ManualClock();
    const table = new ReverseTable(clock, slotHash);
    const from = handle('a');
    const [hash] = fill(table, from, 1) as [Uint8Array];
    const entry = table.get(hash.subarray(0, 16));
    assert.deepEqual(entry, {
      receivedOn: from,
      sentOn: out,
      destinationHash,
      packetHash: hash,
      passed: false,
    });
    table.pass(entry!);
    assert.equal(table.get(hash.subarray(0, 16))?.passed, true);
    assert.equal(table.get(hashOf('another').subarray(0, 16)), undefined);
    assert.deepEqual(
      [...table.entries()].map(([key]) => key),
      [toHex(hash.subarray(0, 16))],
    );
    await clock.advance(lifetime);
    assert.equal(table.get(hash.subarray(0, 16)), undefined);
    assert.equal(table.size, 0);
  });

  test('of one neighbour do not push out those of others', () => {
    const table = new ReverseTable(new ManualClock(), slotHash, 1000);
    const quiet = fill(table, handle('quiet'), 200);
    fill(table, handle('loud'), 20_000);
    assert.equal(found(table, quiet), 200);
    assert.equal(table.size, 1000);
  });

  test('of many connections of one listener count as those of one interface, and give way among each other', () => {
    const table = new ReverseTable(new ManualClock(), slotHash, 1000);
    const quiet = fill(table, handle('uplink'), 300);
    const peer = fill(table, handle('server/192.0.2.1:1'), 5);
    for (let connection = 0; connection < 50; connection++) {
      fill(table, handle(`server/192.0.2.9:${connection}`), 100);
    }
    assert.equal(found(table, quiet), 300);
    assert.equal(found(table, peer), 5);
  });

  test('let a newcomer in when one neighbour has filled the table', () => {
    const table = new ReverseTable(new ManualClock(), slotHash, 1000);
    const loud = fill(table, handle('loud'), 5000);
    const late = fill(table, handle('late'), 500);
    assert.equal(found(table, late), 500);
    assert.equal(found(table, loud.slice(-500)), 500);
  });

  test('are not looked for among all whose hashes were made to begin alike', () => {
    const table = new ReverseTable(new ManualClock(), slotHash);
    const alike = (at: number) => Uint8Array.of(1, 2, 3, 4, ...hashOf(String(at)).subarray(4));
    for (let at = 0; at < 2000; at++) {
      table.add(alike(at), { receivedOn: out, sentOn: out, destinationHash });
    }
    let looks = 0;
    const counting = new Proxy(alike(2000), {
      get(hash, key) {
        looks += 1;
        return Reflect.get(hash, key);
      },
    });
    assert.equal(table.get(counting), undefined);
    assert.ok(looks < 200, `${looks} bytes of a hash were looked at`);
  });

  test('over an interface that is gone are gone', () => {
    const table = new ReverseTable(new ManualClock(), slotHash);
    const [a, b] = [handle('a'), handle('b')];
    const gone = fill(table, a, 300);
    const stay = fill(table, b, 300);
    table.dropOver(a);
    assert.equal(found(table, gone), 0);
    assert.equal(found(table, stay), 300);
    assert.equal(table.size, 300);
  });

  test('are those of a plain map with as many of the newest, whatever comes and goes', () => {
    const steps = fc.array(
      fc.oneof(
        fc.record({ what: fc.constant('add' as const), key: fc.nat(60), over: fc.nat(3) }),
        fc.record({ what: fc.constant('drop' as const), key: fc.constant(0), over: fc.nat(3) }),
      ),
      { maxLength: 400 },
    );
    fc.assert(
      fc.property(steps, made => {
        const table = new ReverseTable(new ManualClock(), slotHash, 1000);
        const handles = [0, 1, 2, 3].map(at => handle(`if${at}`));
        const model = new Map<string, InterfaceHandle>();
        for (const { what, key, over } of made) {
          const receivedOn = handles[over]!;
          if (what === 'drop') {
            table.dropOver(receivedOn);
            for (const [one, its] of model) {
              if (its === receivedOn) {
                model.delete(one);
              }
            }
          } else {
            const hash = hashOf(String(key));
            table.add(hash, { receivedOn, sentOn: out, destinationHash });
            model.set(toHex(hash), receivedOn);
          }
        }
        assert.equal(table.size, model.size);
        for (let key = 0; key <= 60; key++) {
          const hash = hashOf(String(key));
          const entry = table.get(hash.subarray(0, 16));
          assert.equal(entry?.receivedOn, model.get(toHex(hash)));
          assert.ok(entry === undefined || equal(entry.packetHash, hash));
        }
      }),
    );
  });
});
