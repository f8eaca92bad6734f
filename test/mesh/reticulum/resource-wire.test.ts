import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { concat, fromHex, toHex } from '../../../src/lib/bytes.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import type { Random } from '../../../src/lib/random.ts';
import { contexts, decodePacket, encodePacket, packetHash } from '../../../src/mesh/reticulum/packet.ts';
import {
  type ReceiverEffect,
  startReceiver,
  stepReceiver,
} from '../../../src/mesh/reticulum/resource-receiver.ts';
import {
  openSegment,
  partOf,
  sealSegment,
  segmentHashes,
} from '../../../src/mesh/reticulum/resource-segment.ts';
import { type SenderEffect, startSender, stepSender } from '../../../src/mesh/reticulum/resource-sender.ts';
import {
  decodeAdvertisement,
  decodeCancel,
  decodeHashmapUpdate,
  decodePartRequest,
  decodeResourceProof,
  encodeAdvertisement,
  encodeHashmapUpdate,
  encodeMetadata,
  encodePartRequest,
  encodeResourceProof,
  partSize,
  segmentSize,
  splitMetadata,
} from '../../../src/mesh/reticulum/resource-wire.ts';
import { openToken, sealToken } from '../../../src/mesh/reticulum/token.ts';
import { fill } from './link-nodes.ts';

type Named = string | { readonly fill: string; readonly length: number };

interface Value {
  readonly [field: string]: unknown;
  readonly data: Named;
  readonly sealed: string | { readonly sha256: string };
}

interface Case {
  readonly name: string;
  readonly bytes: string;
  readonly value: Value;
}

const load = (name: string): Case[] =>
  JSON.parse(readFileSync(join(import.meta.dirname, `../../vectors/${name}.json`), 'utf8')).cases;
const hex = (value: unknown) => fromHex(value as string);
const named = (data: Named) => (typeof data === 'string' ? hex(data) : fill(data.fill, data.length));
const advertisements = load('resource');
const transfer = load('resource-transfer');

const codecs: Record<string, (body: Uint8Array) => Uint8Array> = {
  advertisement: body => encodeAdvertisement(decodeAdvertisement(body)),
  request: body => encodePartRequest(decodePartRequest(body)),
  'hashmap update': body => encodeHashmapUpdate(decodeHashmapUpdate(body)),
  proof: body => encodeResourceProof(decodeResourceProof(body)),
  'initiator cancel': decodeCancel,
  'receiver cancel': decodeCancel,
};

/** Gives what it was told to, in order. */
function scripted(...draws: Uint8Array[]): Random {
  return { bytes: () => draws.shift()!, fraction: () => 0 };
}

/** The data of a case's segment, with its metadata. */
function segmentData(value: Value): Uint8Array {
  const metadata = value.metadata === null ? undefined : hex(value.metadata);
  const prefix = metadata
    ? concat(Uint8Array.of(0, metadata.length >> 8, metadata.length & 0xff), metadata)
    : new Uint8Array(0);
  const whole = concat(prefix, named(value.data));
  const index = value.segmentIndex as number;
  return whole.subarray((index - 1) * segmentSize, index * segmentSize);
}

/** The whole segment as a case seals it; `packed` where it travels compressed. */
function sealed({ value }: Case) {
  const key = hex(value.derivedKey);
  const data = segmentData(value);
  const sealer = {
    seal: (plaintext: Uint8Array, ahead?: Uint8Array) => sealToken(key, plaintext, hex(value.iv), ahead),
    open: (token: Uint8Array) => openToken(key, token),
  };
  const packed = value.compressed ? sealer.open(hex(value.sealed)).subarray(4) : data;
  const facts = {
    dataSize: value.dataSize as number,
    segment: value.segmentIndex as number,
    segments: value.totalSegments as number,
    originalHash: value.segmentIndex === 1 ? undefined : hex(value.originalHash),
    requestId: value.requestId === null ? undefined : hex(value.requestId),
    flags: {
      compressed: value.compressed as boolean,
      split: value.split as boolean,
      request: value.isRequest as boolean,
      response: value.isResponse as boolean,
      metadata: value.hasMetadata as boolean,
    },
  };
  const random = scripted(hex(value.prefix), hex(value.randomHash));
  return {
    data,
    sealer,
    segment: sealSegment(data, packed, facts, (value.sdu as number) + 36, sealer, random),
  };
}

describe('a Resource’s advertisement, as the reference makes it', () => {
  for (const one of advertisements) {
    test(`${one.name}: decodes and encodes to the same bytes`, () => {
      const decoded = decodeAdvertisement(hex(one.bytes));
      assert.equal(toHex(encodeAdvertisement(decoded)), one.bytes);
      assert.equal(decoded.transferSize, one.value.transferSize);
      assert.equal(decoded.dataSize, one.value.dataSize);
      assert.equal(decoded.parts, one.value.parts);
      assert.equal(decoded.segment, one.value.segmentIndex);
      assert.equal(toHex(decoded.hashmap), one.value.hashmap);
      assert.equal(decoded.flags.metadata, one.value.hasMetadata);
    });

    test(`${one.name}: the same data is sealed, cut and hashed to the same advertisement`, () => {
      const { data, sealer, segment } = sealed(one);
      assert.equal(toHex(encodeAdvertisement(segment.advertisement)), one.bytes);
      assert.equal(toHex(segment.hashmap), one.value.wholeHashmap);
      assert.equal(toHex(segment.expectedProof), one.value.expectedProof);
      const opened = openSegment(segment.advertisement, segment.sealed, sealer);
      assert.equal(opened.length, one.value.compressed ? opened.length : data.length);
      const hashes = segmentHashes(data, hex(one.value.randomHash));
      assert.equal(toHex(hashes.hash), one.value.hash);
      assert.equal(toHex(hashes.proof), one.value.expectedProof);
    });
  }

  test('metadata stands before the data, its length in three bytes', () => {
    const one = advertisements.find(({ name }) => name === 'with metadata')!;
    const { metadata, content } = splitMetadata(segmentData(one.value));
    assert.equal(toHex(content), one.value.data);
    assert.equal(toHex(encodeMetadata(metadata).subarray(3)), one.value.metadata);
  });

  test('parts are the link’s MTU less 36 bytes', () => {
    assert.equal(partSize(500), 464);
    assert.equal(partSize(16_384), 16_348);
  });
});

describe('packets of a transfer, as the reference makes them', () => {
  for (const [index, { name, bytes, value }] of transfer.entries()) {
    test(`${name} (packet ${index}): opens, decodes and encodes to the same bytes`, () => {
      const packet = decodePacket(hex(bytes));
      assert.equal(toHex(packetHash(hex(bytes))), value.hash);
      const key = hex(value.derivedKey);
      const body = value.iv === null ? packet.data : openToken(key, packet.data);
      assert.equal(toHex(body), value.plaintext);
      const again = (codecs[value.kind as string] ?? (same => same))(body);
      assert.equal(toHex(again), value.plaintext);
      const data = value.iv === null ? again : sealToken(key, again, hex(value.iv));
      assert.equal(toHex(encodePacket({ ...packet, data })), bytes);
    });
  }

  const whole = transfer.filter(({ value }) => value.scenario === 'transfer');

  test('our receiver asks for the same parts in the same order and proves with the same bytes', () => {
    const advertised = decodeAdvertisement(hex(whole[0]!.value.plaintext));
    const [state, first] = startReceiver(advertised, 500, 1_000_000, 4, 0);
    const pending: ReceiverEffect[] = [...first];
    let now = 0;
    for (const { value } of whole.slice(1)) {
      now += 300; // neither a fast nor a very slow link: the vector was made with time standing still
      const body = hex(value.plaintext);
      if (value.kind === 'request') {
        const request = pending.find(effect => effect.do === 'request');
        assert.equal(request?.do === 'request' && toHex(request.body), value.plaintext);
        pending.length = 0;
      } else if (value.kind === 'part') {
        pending.push(...stepReceiver(state, { on: 'part', data: body }, now));
      } else if (value.kind === 'hashmap update') {
        pending.push(...stepReceiver(state, { on: 'hashmap', ...decodeHashmapUpdate(body) }, now));
      } else {
        const { hash, proof } = decodeResourceProof(body);
        const key = hex(value.derivedKey);
        const data = openSegment(advertised, state.sealed, {
          open: token => openToken(key, token),
          seal: (token, ahead) => (ahead === undefined ? token : concat(ahead, token)),
        });
        const hashes = segmentHashes(data, advertised.randomHash);
        assert.equal(toHex(hash), toHex(hashes.hash));
        assert.equal(toHex(proof), toHex(hashes.proof));
      }
    }
    assert.equal(state.at, 'assembling');
  });

  test('our sender answers with the same parts and the same hashmap update', () => {
    const { value } = whole[0]!;
    const advertised = decodeAdvertisement(hex(value.plaintext));
    const parts = whole.filter(one => one.value.kind === 'part').map(one => hex(one.value.plaintext));
    const key = hex(value.derivedKey);
    const token = concat(...parts);
    const segment = sealSegment(
      named(value.data),
      named(value.data),
      {
        dataSize: advertised.dataSize,
        segment: 1,
        segments: 1,
        originalHash: undefined,
        requestId: undefined,
        flags: advertised.flags,
      },
      500,
      { seal: () => token, open: sealedBytes => sealedBytes },
      scripted(openToken(key, token).subarray(0, 4), advertised.randomHash),
    );
    const [state, first] = startSender(segment, 10, 1000, 0);
    assert.equal(first[0]?.do, 'advertise');
    assert.equal(toHex(encodeAdvertisement(segment.advertisement)), value.plaintext);
    const pending: SenderEffect[] = [];
    for (const { value: sent } of whole.slice(1)) {
      const body = hex(sent.plaintext);
      if (sent.kind === 'request') {
        pending.push(...stepSender(state, { on: 'request', request: decodePartRequest(body) }, 5));
      } else if (sent.kind === 'proof') {
        stepSender(state, { on: 'proof', proof: decodeResourceProof(body).proof }, 6);
      } else {
        const wanted = sent.kind === 'part' ? 'part' : 'hashmap';
        const at = pending.findIndex(effect => effect.do === wanted);
        const [effect] = pending.splice(at, 1);
        const made =
          effect?.do === 'part'
            ? partOf(segment, effect.index)
            : effect?.do === 'hashmap'
              ? effect.body
              : body;
        assert.equal(toHex(made), sent.plaintext);
      }
    }
    assert.equal(state.at, 'done');
    assert.deepEqual(
      pending.filter(effect => effect.do !== 'progress'),
      [],
    );
  });
});

describe('bytes that are no Resource', () => {
  for (const [kind, codec] of Object.entries(codecs)) {
    const { value } = transfer.find(one => one.value.kind === kind)!;
    const body = hex(value.plaintext);
    const whole = (length: number) => kind === 'request' && length >= 33 && (length - 33) % 4 === 0;

    test(`${kind}: every truncation is wire/truncated`, () => {
      for (let length = 0; length < body.length; length++) {
        if (!whole(length)) {
          assert.throws(
            () => codec(body.subarray(0, length)),
            (error: unknown) => isGatewayError(error, 'wire/truncated'),
            `at ${length}`,
          );
        }
      }
    });

    test(`${kind}: any change decodes or throws wire/*`, () => {
      fc.assert(
        fc.property(
          fc.nat(body.length - 1),
          fc.nat(255),
          fc.uint8Array({ maxLength: 40 }),
          (at, byte, other) => {
            const changed = Uint8Array.from(body);
            changed[at] = byte;
            for (const bytes of [changed, other]) {
              try {
                codec(bytes);
              } catch (error) {
                assert.ok(isGatewayError(error) && error.code.startsWith('wire/'), String(error));
              }
            }
          },
        ),
      );
    });
  }

  test('a sealed segment above three mebibytes is refused before anything is allocated', () => {
    const { bytes } = advertisements[0]!;
    const advertisement = { ...decodeAdvertisement(hex(bytes)), transferSize: 3 * segmentSize + 1 };
    assert.throws(() => decodeAdvertisement(encodeAdvertisement(advertisement)), { code: 'wire/malformed' });
  });

  test('how many parts there are follows from the size, whatever is said of it', () => {
    const advertisement = decodeAdvertisement(hex(advertisements[0]!.bytes));
    const [genuine] = startReceiver(advertisement, 500, 1000, 4, 0);
    const [tampered] = startReceiver({ ...advertisement, parts: advertisement.parts + 5 }, 500, 1000, 4, 0);
    assert.equal(tampered.hashes.length, genuine.hashes.length);
    assert.equal(tampered.advertisement.parts, advertisement.parts);
  });

  test('contexts of Resources are the reference’s', () => {
    const seen = Object.fromEntries(transfer.map(({ value }) => [value.kind, value.context]));
    assert.deepEqual(seen, {
      advertisement: contexts.resourceAdvertisement,
      request: contexts.resourceRequest,
      part: contexts.resource,
      'hashmap update': contexts.resourceHashmapUpdate,
      proof: contexts.resourceProof,
      'initiator cancel': contexts.resourceInitiatorCancel,
      'receiver cancel': contexts.resourceReceiverCancel,
    });
  });
});
