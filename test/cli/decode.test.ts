import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { drawPacket } from '../../src/cli/decode.ts';
import { isGatewayError } from '../../src/lib/errors.ts';

const vectors = JSON.parse(readFileSync(new URL('../vectors/packet.json', import.meta.url), 'utf8')) as {
  cases: { name: string; bytes: string }[];
};

test('every packet of the reference is drawn, with its destination in the text', () => {
  for (const { bytes, name } of vectors.cases) {
    const drawing = drawPacket(bytes);
    assert.match(String(drawing.fields['destination hash']), /^[0-9a-f]{32}$/, name);
    assert.ok(drawing.text.includes(String(drawing.fields['packet hash'])));
  }
});

test('hex with spaces is read, and what is no packet says why', () => {
  const [first] = vectors.cases;
  const spaced = (first?.bytes ?? '').replace(/(..)/g, '$1 ');
  assert.equal(drawPacket(spaced).text, drawPacket(first?.bytes ?? '').text);
  assert.throws(
    () => drawPacket('00'),
    error => isGatewayError(error, 'wire/truncated'),
  );
  assert.throws(
    () => drawPacket('xyz'),
    error => isGatewayError(error, 'wire/malformed'),
  );
});
