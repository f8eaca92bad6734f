import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { utf8 } from '../../../src/lib/bytes.ts';
import { AccessCode } from '../../../src/mesh/reticulum/access-code.ts';
import { ManualClock } from '../../sim/clock.ts';
import { Air, settled, TestNode } from './air.ts';
import { bytesOf, vectors } from './vectors.ts';

interface Value {
  readonly networkName: string | null;
  readonly passphrase: string | null;
  readonly size: number;
  readonly packet: string;
}

function codeOf({ networkName, passphrase, size }: Value): AccessCode {
  return new AccessCode({
    size,
    networkName: networkName ?? undefined,
    passphrase: passphrase ?? undefined,
  });
}

describe('an access code', () => {
  for (const { name, bytes, value } of vectors<Value>('access-code')) {
    test(`of ${name} is what the reference makes, and opens`, () => {
      const code = codeOf(value);
      assert.equal(code.seal(bytesOf(value.packet)).toHex(), bytes);
      assert.equal(code.open(bytesOf(bytes)).toHex(), value.packet);
    });
  }

  test('opens nothing that was cut, changed, never sealed or sealed for others', () => {
    const [one] = vectors<Value>('access-code');
    const code = codeOf(one!.value);
    const sealed = bytesOf(one!.bytes);
    for (let length = 0; length < sealed.length; length++) {
      assert.throws(() => code.open(sealed.subarray(0, length)), {
        code: length < 19 + code.size ? 'wire/truncated' : 'crypto/bad-signature',
      });
    }
    for (let at = 0; at < sealed.length; at++) {
      const changed = new Uint8Array(sealed);
      changed[at] = changed[at]! ^ 1;
      assert.throws(() => code.open(changed), { code: 'crypto/bad-signature' });
    }
    assert.throws(() => code.open(bytesOf('08'.repeat(60))), { code: 'crypto/bad-signature' });
    const other = new AccessCode({ networkName: 'other', size: code.size });
    assert.throws(() => other.open(sealed), { code: 'crypto/bad-signature' });
  });

  test('needs a name or a passphrase, and a size', () => {
    assert.throws(() => new AccessCode({ size: 16 }), { code: 'config/invalid' });
    assert.throws(() => new AccessCode({ networkName: 'a', size: 65 }), { code: 'config/invalid' });
  });
});

test('two networks on one medium do not hear each other, and one without a code hears neither', async () => {
  const clock = new ManualClock();
  const air = new Air();
  const join = (name: string, networkName?: string) => {
    const node = new TestNode({ clock });
    node.use(
      air.join(name),
      networkName === undefined ? {} : { accessCode: new AccessCode({ networkName, size: 16 }) },
    );
    return node;
  };
  const [a, b, c, open] = [join('a', 'elm'), join('b', 'elm'), join('c', 'oak'), join('open')];
  const { destination } = a!.serve({ appData: () => utf8('elm only') });
  await a!.transport.announce(destination);
  await settled();
  assert.equal(b!.announces.length, 1);
  assert.equal(c!.announces.length, 0);
  assert.equal(c!.counters.get('access-code/refused'), 1);
  assert.equal(open!.announces.length, 0);
  assert.equal(open!.counters.get('wire/unsupported'), 1);
  const spoken = open!.serve({ aspects: ['two'] });
  await open!.transport.announce(spoken.destination);
  await settled();
  assert.equal(b!.announces.length, 1);
  assert.equal(b!.counters.get('access-code/refused'), 1);
});

test('who sends what is of another network waits its turn, as the others do for a signature', async () => {
  const clock = new ManualClock();
  const node = new TestNode({ clock });
  const station = new Air().join('closed');
  node.use(station, { accessCode: new AccessCode({ networkName: 'n', size: 16 }) });
  const stranger = new AccessCode({ networkName: 'other', size: 16 });
  const packet = stranger.seal(new Uint8Array(200).fill(1));
  const asked = Array.from({ length: 100 }, () => station.port!.receive(packet.slice()));
  assert.equal(node.counters.get('access-code/refused'), 100);
  assert.equal(asked[98], undefined);
  assert.ok(asked[99] instanceof Promise);
  await clock.advance(1);
  await asked[99];
});
