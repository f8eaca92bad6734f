import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { fromHex, toHex } from '../../../src/lib/bytes.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { silentLog } from '../../../src/lib/log.ts';
import type { Random } from '../../../src/lib/random.ts';
import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import type { InterfaceHandle } from '../../../src/mesh/reticulum/dispatch.ts';
import { hkdf } from '../../../src/mesh/reticulum/hkdf.ts';
import { decodeIdentity, PublicIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../../src/mesh/reticulum/incoming-budget.ts';
import { exchange, importPrivate, importPublic } from '../../../src/mesh/reticulum/keys.ts';
import {
  decodeIdentification,
  decodeLinkRequest,
  decodeLinkRequestProof,
  decodePacketProof,
  decodeRequest,
  decodeResponse,
  decodeRtt,
  encodeIdentification,
  encodeLinkRequest,
  encodeLinkRequestProof,
  encodePacketProof,
  encodeRequest,
  encodeResponse,
  encodeRtt,
  encodeSignalling,
  identificationSigned,
  linkIdOf,
  linkMdu,
  linkRequestProofSigned,
} from '../../../src/mesh/reticulum/link-wire.ts';
import { Links } from '../../../src/mesh/reticulum/links.ts';
import { decodePacket, encodePacket, packetHash } from '../../../src/mesh/reticulum/packet.ts';
import { pathHash } from '../../../src/mesh/reticulum/request.ts';
import { openToken, sealToken } from '../../../src/mesh/reticulum/token.ts';
import { ManualClock } from '../../sim/clock.ts';
import { settled } from './link-nodes.ts';

interface Case {
  readonly name: string;
  readonly bytes: string;
  readonly value: Readonly<Record<string, unknown>> & { readonly scenario: string; readonly kind: string };
}

const file = join(import.meta.dirname, '../../vectors/link.json');
const cases: Case[] = JSON.parse(readFileSync(file, 'utf8')).cases;
const hex = (value: unknown) => fromHex(value as string);
const of = (scenario: string, kind: string) =>
  cases.find(one => one.value.scenario === scenario && one.value.kind === kind)!;
const full = ['mtu 500', 'mtu 508', 'mtu 1064', 'mtu 16384'];

const codecs: readonly [RegExp, (body: Uint8Array) => Uint8Array][] = [
  [/^link request$/, body => encodeLinkRequest(decodeLinkRequest(body))],
  [/^link request proof$/, body => encodeLinkRequestProof(decodeLinkRequestProof(body))],
  [/^link rtt$/, body => encodeRtt(decodeRtt(body))],
  [/^link identify$/, body => encodeIdentification(decodeIdentification(body))],
  [/^proof of /, body => encodePacketProof(decodePacketProof(body))],
  [/^request /, body => encodeRequest(decodeRequest(body))],
  [/^response /, body => encodeResponse(decodeResponse(body))],
];
/** Lengths at which a shorter body is whole as well: keys without signalling. */
const wholeShorter: Record<string, number> = { 'link request': 64, 'link request proof': 96 };

/** Gives what it was told to, in order. */
function scripted(...draws: Uint8Array[]): Random {
  return {
    bytes(length) {
      const next = draws.shift();
      assert.equal(next?.length, length);
      return next!;
    },
    fraction: () => 0,
  };
}

const iface: InterfaceHandle = {
  name: 'wire',
  mtu: 262_144,
  linkMtu: 16_384,
  bitrate: 10_000_000,
  online: true,
};

function linksWith(random: Random, clock: ManualClock, linkMtu: number) {
  const sent: Uint8Array[] = [];
  const links = new Links({
    transport: {
      transmit: async packet => {
        sent.push(packet as Uint8Array);
        return true;
      },
      path: destinationHash => ({
        destinationHash,
        hops: 1,
        nextHop: destinationHash,
        interfaceName: 'wire',
        heard: 0,
        expires: 0,
        packetHash: new Uint8Array(32),
      }),
      interfaceOf: () => ({ ...iface, linkMtu }),
      firstHopTimeout: () => 6000,
      use: () => {},
      remember: () => {},
      forget: () => {},
      onInterface: () => () => {},
    },
    clock,
    random,
    log: silentLog,
    counters: new Counters(),
    budget: new IncomingBudget(),
  });
  return { links, sent };
}

function inbound(raw: Uint8Array, linkMtu = iface.linkMtu) {
  const packet = decodePacket(raw);
  return {
    packet: { ...packet, hops: packet.hops + 1 },
    raw,
    hash: packetHash(raw),
    key: toHex(packet.destinationHash),
    interfaceName: 'wire',
    iface: { ...iface, linkMtu },
  };
}

describe('packets of a link, as the reference makes them', () => {
  for (const { name, bytes, value } of cases.filter(one => full.includes(one.value.scenario))) {
    test(`${name}: decodes, opens and encodes to the same bytes`, () => {
      const raw = hex(bytes);
      const packet = decodePacket(raw);
      assert.equal(toHex(packetHash(raw)), value.hash);
      const key = hex(of(value.scenario, 'link request').value.derivedKey);
      const sealed = value.iv !== null;
      const body = sealed ? openToken(key, packet.data) : packet.data;
      assert.equal(toHex(body), value.plaintext);
      const codec = codecs.find(([kind]) => kind.test(value.kind));
      const again = codec ? codec[1](body) : body;
      assert.equal(toHex(again), value.plaintext);
      const data = sealed ? sealToken(key, again, hex(value.iv)) : again;
      assert.equal(toHex(encodePacket({ ...packet, data })), bytes);
    });
  }

  for (const [kind, codec] of codecs) {
    const one = cases.find(({ value }) => value.scenario === 'mtu 500' && kind.test(value.kind))!;
    test(`${one.value.kind}: every truncation is wire/truncated`, () => {
      const body = hex(one.value.plaintext);
      for (let length = 0; length < body.length; length++) {
        if (length !== wholeShorter[one.value.kind]) {
          assert.throws(
            () => codec(body.subarray(0, length)),
            (error: unknown) => isGatewayError(error, 'wire/truncated'),
            `at ${length}`,
          );
        }
      }
    });

    test(`${one.value.kind}: any bytes decode or throw wire/*`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
          try {
            codec(bytes);
          } catch (error) {
            assert.ok(isGatewayError(error) && error.code.startsWith('wire/'), String(error));
          }
        }),
      );
    });
  }
});

describe('what a link is agreed on', () => {
  for (const scenario of full) {
    const request = of(scenario, 'link request').value;
    const proof = of(scenario, 'link request proof').value;

    test(`${scenario}: link id, MTU, MDU and key are the reference’s`, () => {
      const raw = hex(of(scenario, 'link request').bytes);
      const packet = decodePacket(raw);
      const decoded = decodeLinkRequest(packet.data);
      assert.equal(toHex(linkIdOf(raw, packet.data.length)), request.linkId);
      assert.equal(decoded.mtu, request.mtu);
      assert.equal(linkMdu(decoded.mtu), request.mdu);
      assert.equal(toHex(encodeSignalling(decoded.mtu)), request.signalling);
      const shared = exchange(
        importPrivate('x25519', hex(request.initiatorEncryptionPrivate)),
        importPublic('x25519', hex(request.responderEncryptionPublic)),
      );
      assert.equal(toHex(hkdf(shared, 64, hex(request.linkId))), request.derivedKey);
    });

    test(`${scenario}: the proof’s signature covers what the reference signs`, () => {
      const decoded = decodeLinkRequestProof(hex(proof.plaintext));
      const identity = decodeIdentity(hex(request.responderPrivateKey)).public;
      const signed = linkRequestProofSigned(hex(request.linkId), identity.publicKey.subarray(32), decoded);
      assert.equal(toHex(signed), proof.signed);
      assert.ok(identity.verify(decoded.signature, signed));
    });

    test(`${scenario}: as responder, sends the reference’s proof`, async () => {
      const random = scripted(hex(request.responderEncryptionPrivate));
      const { links, sent } = linksWith(random, new ManualClock(), request.mtu as number);
      const identity = decodeIdentity(hex(request.responderPrivateKey));
      const destination = new LocalDestination({ identity, appName: 'a', aspects: [] });
      links.accept(destination, { onLink: () => ({}) });
      links.linkRequest(inbound(hex(of(scenario, 'link request').bytes), request.mtu as number), destination);
      assert.equal(toHex(sent[0]!), of(scenario, 'link request proof').bytes);
    });

    test(`${scenario}: as initiator, sends the reference’s request and RTT`, async () => {
      const rtt = of(scenario, 'link rtt');
      const clock = new ManualClock();
      const random = scripted(
        hex(request.initiatorEncryptionPrivate),
        hex(request.initiatorSigningPrivate),
        hex(rtt.value.iv),
      );
      const { links, sent } = linksWith(random, clock, request.mtu as number);
      const identity = decodeIdentity(hex(request.responderPrivateKey)).public;
      const opening = links.open(hex(request.destinationHash), { identity });
      await settled();
      assert.equal(toHex(sent[0]!), of(scenario, 'link request').bytes);
      await clock.advance((rtt.value.rtt as number) * 1000);
      links.linkProof(inbound(hex(of(scenario, 'link request proof').bytes), request.mtu as number));
      const link = await opening;
      assert.equal(toHex(sent[1]!), rtt.bytes);
      assert.equal(link.mdu, request.mdu);
    });
  }

  test('an identification is signed over link id and public key', () => {
    const { value } = of('mtu 500', 'link identify');
    const decoded = decodeIdentification(hex(value.plaintext));
    const identity = new PublicIdentity(decoded.publicKey);
    assert.equal(toHex(identity.hash), value.identityHash);
    assert.ok(identity.verify(decoded.signature, identificationSigned(hex(value.linkId), decoded.publicKey)));
  });

  test('a request without signalling is a link of 500 bytes', () => {
    const { bytes, value } = of('without signalling', 'link request');
    const packet = decodePacket(hex(bytes));
    assert.equal(decodeLinkRequest(packet.data).mtu, 500);
    assert.equal(toHex(linkIdOf(hex(bytes), packet.data.length)), value.linkId);
  });

  test('a request has the same link id after a transport node has taken its header off', () => {
    const { bytes, value } = of('through a transport node', 'link request');
    const packet = decodePacket(hex(bytes));
    assert.equal(toHex(linkIdOf(hex(bytes), packet.data.length)), value.linkId);
    assert.equal(toHex(linkIdOf(hex(value.direct), packet.data.length)), value.linkId);
  });

  test('another mode than AES-256-CBC is wire/unsupported', () => {
    for (const mode of [0, 2, 3, 4, 5, 6, 7]) {
      const body = new Uint8Array(67).fill(1);
      body[64] = mode << 5;
      body[65] = 0x40;
      assert.throws(() => decodeLinkRequest(body), { code: 'wire/unsupported' });
    }
  });

  test('an MTU that no medium has is wire/malformed', () => {
    const body = new Uint8Array(67).fill(1);
    body.set(encodeSignalling(499), 64);
    assert.throws(() => decodeLinkRequest(body), { code: 'wire/malformed' });
  });

  test('requests name their path by its hash', () => {
    const { value } = of('mtu 500', 'request with a map');
    assert.equal(toHex(pathHash(value.path as string)), value.pathHash);
    assert.equal(decodeRequest(hex(value.plaintext)).requestedAt, (value.requestedAt as number) * 1000);
  });
});
