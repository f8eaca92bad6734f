import { createCipheriv, createHmac } from 'node:crypto';
import { concat, toHex } from '../../src/lib/bytes.ts';
import { decompress } from '../../src/lib/bzip2/decompress.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { decode, decodePrefix, encode } from '../../src/lib/msgpack.ts';
import { decodeDeliveryAnnounce, decodePropagationAnnounce } from '../../src/mesh/lxmf/announce.ts';
import { decodeMessage, verifyMessage, withDestination } from '../../src/mesh/lxmf/message.ts';
import { rawList, rawMap, rawValue } from '../../src/mesh/lxmf/raw-value.ts';
import { AccessCode } from '../../src/mesh/reticulum/access-code.ts';
import { decodeAnnounce, emittedAt, verifyAnnounce } from '../../src/mesh/reticulum/announce.ts';
import { decodeBlackholeList, encodeBlackholeList } from '../../src/mesh/reticulum/blackhole-wire.ts';
import { streamMessages } from '../../src/mesh/reticulum/buffer-reader.ts';
import { decodeEnvelope, encodeEnvelope } from '../../src/mesh/reticulum/channel-wire.ts';
import { decodeDiscovered, encodeDiscovered } from '../../src/mesh/reticulum/discovered.ts';
import {
  decodeDiscovery,
  decodeNotice,
  discoveryKey,
  splitStamped,
} from '../../src/mesh/reticulum/discovery-wire.ts';
import { decodeChunk, encodeChunk } from '../../src/mesh/reticulum/hash-journal.ts';
import { decodeIdentity, Identity, PublicIdentity } from '../../src/mesh/reticulum/identity.ts';
import { exchange, importPrivate, importPublic } from '../../src/mesh/reticulum/keys.ts';
import { decodeKnown, encodeKnown } from '../../src/mesh/reticulum/known.ts';
import {
  decodeIdentification,
  decodeLinkRequest,
  decodeLinkRequestProof,
  decodePacketProof,
  decodeRequest,
  decodeResponse,
  decodeRtt,
  linkIdOf,
} from '../../src/mesh/reticulum/link-wire.ts';
import { decodePacket, encodePacket, packetHash } from '../../src/mesh/reticulum/packet.ts';
import { decodePath, encodePath } from '../../src/mesh/reticulum/path-codec.ts';
import { decodePathRequest, encodePathRequest } from '../../src/mesh/reticulum/path-request.ts';
import { decodeRatchets, encodeRatchets } from '../../src/mesh/reticulum/ratchet.ts';
import { startReceiver } from '../../src/mesh/reticulum/resource-receiver.ts';
import {
  decodeAdvertisement,
  decodeCancel,
  decodeHashmapUpdate,
  decodePartRequest,
  decodeResourceProof,
  encodeAdvertisement,
  longestTransfer,
  splitMetadata,
} from '../../src/mesh/reticulum/resource-wire.ts';
import { openToken } from '../../src/mesh/reticulum/token.ts';
import { decodeTunnelSynthesis, encodeTunnelSynthesis } from '../../src/mesh/reticulum/tunnel-wire.ts';
import { decodeTunnel, encodeTunnel } from '../../src/mesh/reticulum/tunnels.ts';
import { AirtimeLedger } from '../../src/radio/airtime.ts';
import { HdlcDeframer } from '../../src/radio/framing/hdlc.ts';
import { KissDeframer } from '../../src/radio/framing/kiss.ts';
import { decodeToken, isTokenOf } from '../../src/radio/lan/group.ts';
import { beforeOpen, deviceStep } from '../../src/radio/rnode/device.ts';
import { ManualClock } from '../sim/clock.ts';
import { seededRandom } from '../sim/random.ts';
import { cases, hexIn, plaintexts } from './corpus.ts';
import type { Target } from './target.ts';

const casesOf = (page: string, kind: string) =>
  cases(page).flatMap(({ bytes, value }) => (value.kind === kind ? [bytes] : []));
const bytesOf = (page: string) => cases(page).map(one => one.bytes);
const announced = bytesOf('announce');
const packets = [...bytesOf('packet'), ...announced, ...bytesOf('path-request'), ...bytesOf('proof')];
const messages = bytesOf('lxmf');
const identity = new Identity(bytesOf('identity')[0] as Uint8Array);
const key = new Uint8Array(64).fill(5);
const place = '0123456789abcdef0123456789abcdef';
const ratchet = new Uint8Array(32).fill(9);
const sealedCodes = /^(?:wire\/|crypto\/undecryptable$)/;

const accessCode = new AccessCode({ networkName: 'elm', size: 16 });
const known = encodeKnown({
  destinationHash: Uint8Array.fromHex(place),
  identity: identity.public,
  nameHash: new Uint8Array(10),
  appData: new Uint8Array(20),
  ratchet,
  ratchetHeard: 1,
  heard: systemClock.now(),
  packetHash: new Uint8Array(32),
  announce: concat(identity.public.publicKey, new Uint8Array(10 + 10 + 64 + 20)),
  announceHasRatchet: false,
  used: true,
});
const path = encodePath({
  destinationHash: Uint8Array.fromHex(place),
  hops: 2,
  nextHop: new Uint8Array(16),
  interfaceName: 'lan',
  heard: 1,
  expires: 2,
  packetHash: new Uint8Array(32),
  emitted: 1,
  blobs: Uint8Array.fromHex('00112233445566778899'),
  unresponsive: false,
} as Parameters<typeof encodePath>[0]);

/** A token whose code is right and whose blocks, padding and all, may be anything. */
function withMac(bytes: Uint8Array): Uint8Array {
  const iv = new Uint8Array(16);
  const blocks = bytes.subarray(0, bytes.length - (bytes.length % 16));
  const cipher = createCipheriv('aes-256-cbc', key.subarray(32), iv).setAutoPadding(false);
  const signed = Buffer.concat([iv, cipher.update(blocks), cipher.final()]);
  const mac = createHmac('sha256', key.subarray(0, 32)).update(signed).digest();
  return new Uint8Array(Buffer.concat([signed, mac]));
}

const someFacts = splitStamped(decodeDiscovery(bytesOf('discovery')[0]!).payload).facts;
const someFound = {
  key: toHex(discoveryKey(decodeNotice(someFacts))),
  notice: decodeNotice(someFacts),
  facts: someFacts,
  networkId: new Uint8Array(16),
  value: 16,
  hops: 1,
  discovered: 1e12,
  heard: 1e12,
  heardCount: 3,
};

/** Everything that decodes what came over the air or lies in the mesh's store. */
export const meshTargets: readonly Target[] = [
  {
    name: 'an announced interface',
    seeds: bytesOf('discovery'),
    read: bytes => decodeNotice(splitStamped(decodeDiscovery(bytes).payload).facts),
  },
  {
    name: 'an announced interface in the store',
    seeds: [encodeDiscovered(someFound)],
    read: bytes => decodeDiscovered(someFound.key, bytes),
  },
  {
    name: 'a blackhole list',
    seeds: [
      encodeBlackholeList([
        {
          identityHash: new Uint8Array(16),
          origin: new Uint8Array(16).fill(1),
          until: 1e12,
          reason: 'floods',
        },
      ]),
    ],
    read: bytes => decodeBlackholeList(bytes, new Uint8Array(16)),
  },
  {
    name: 'a discovery datagram on a LAN',
    seeds: bytesOf('lan'),
    read: bytes => isTokenOf(decodeToken(bytes), 'reticulum', 'fe80::1'),
  },
  {
    name: 'a packet',
    seeds: packets,
    read(bytes) {
      const packet = decodePacket(bytes);
      encodePacket(packet);
      packetHash(bytes);
    },
  },
  {
    name: 'an announce',
    seeds: announced,
    cost: 3,
    codes: sealedCodes,
    read(bytes) {
      const packet = decodePacket(bytes);
      const announce = decodeAnnounce(packet);
      emittedAt(announce.randomBlob);
      verifyAnnounce(packet, announce, new PublicIdentity(announce.publicKey));
      decodeDeliveryAnnounce(announce.appData);
      decodePropagationAnnounce(announce.appData);
    },
  },
  {
    name: 'the keys of an announce, to seal for them',
    seeds: [identity.public.publicKey, new Uint8Array(64), new Uint8Array(64).fill(255)],
    codes: sealedCodes,
    cost: 4,
    read: bytes =>
      new PublicIdentity(bytes).encrypt(new Uint8Array(20), {
        bytes: n => new Uint8Array(n).fill(7),
        fraction: () => 0,
      }),
  },
  {
    name: 'the app data of an announce',
    seeds: bytesOf('lxmf-announce-data'),
    read(bytes) {
      decodePropagationAnnounce(bytes);
      decodeDeliveryAnnounce(bytes);
    },
  },
  { name: 'a token', seeds: bytesOf('token'), codes: sealedCodes, read: bytes => openToken(key, bytes) },
  {
    name: 'a token sealed with the right key',
    seeds: [new Uint8Array(16), new Uint8Array(32).fill(16)],
    codes: sealedCodes,
    read: bytes => openToken(key, withMac(bytes)),
  },
  {
    name: 'what is sealed for an Identity',
    seeds: [...bytesOf('encryption'), new Uint8Array(96), new Uint8Array(96).fill(255)],
    codes: sealedCodes,
    cost: 3,
    read: bytes => identity.open(bytes),
  },
  { name: 'an identity file', seeds: bytesOf('identity'), cost: 4, read: bytes => decodeIdentity(bytes) },
  {
    name: 'stored ratchets',
    seeds: [encodeRatchets([{ created: 1, privateKey: ratchet }])],
    read: bytes => decodeRatchets(bytes),
  },
  {
    name: 'a packet behind an access code',
    seeds: bytesOf('access-code').filter(({ length }) => length < 1000),
    read: bytes => accessCode.open(bytes),
    codes: /^(?:wire\/|crypto\/bad-signature$)/,
  },
  { name: 'a stored destination', seeds: [known], read: bytes => decodeKnown(place, bytes) },
  { name: 'a stored path', seeds: [path], read: bytes => decodePath(place, bytes) },
  {
    name: 'a stored tunnel',
    seeds: [encodeTunnel({ expires: 1_760_000_000_000 })],
    read: bytes => decodeTunnel(`${place}${place}`, bytes),
  },
  {
    name: 'who comes over a connection',
    seeds: [encodeTunnelSynthesis(identity, 'uplink', seededRandom(3))],
    read: bytes => decodeTunnelSynthesis(bytes),
    codes: /^(?:wire\/|crypto\/bad-signature$)/,
  },
  {
    name: 'stored packet hashes',
    seeds: [encodeChunk({ order: 7, hashes: new Uint8Array(80).fill(5), used: 80 })],
    read: bytes => decodeChunk('07', bytes),
  },
  {
    name: 'a path request',
    seeds: bytesOf('path-request').map(bytes => decodePacket(bytes).data),
    read: bytes => encodePathRequest(decodePathRequest(bytes)),
  },
  {
    name: 'a proof',
    seeds: bytesOf('proof').map(bytes => decodePacket(bytes).data),
    read: bytes => decodePacketProof(bytes),
  },
  {
    name: 'a link request',
    seeds: plaintexts('link', /^link request$/),
    codes: sealedCodes,
    cost: 4,
    read(bytes) {
      const request = decodeLinkRequest(bytes);
      const packet = encodePacket({ ...decodePacket(packets[0] as Uint8Array), data: bytes });
      linkIdOf(packet, bytes.length);
      exchange(importPrivate('x25519', ratchet), importPublic('x25519', request.encryptionKey));
    },
  },
  {
    name: 'a link request proof',
    seeds: plaintexts('link', /^link request proof$/),
    read: bytes => decodeLinkRequestProof(bytes),
  },
  { name: 'an RTT', seeds: plaintexts('link', /rtt/i), read: bytes => decodeRtt(bytes) },
  {
    name: 'an identification',
    seeds: plaintexts('link', /identify/),
    read: bytes => decodeIdentification(bytes),
  },
  { name: 'a request', seeds: plaintexts('link', /^request/), read: bytes => decodeRequest(bytes) },
  { name: 'a response', seeds: plaintexts('link', /^response/), read: bytes => decodeResponse(bytes) },
  {
    name: 'an envelope of a Channel',
    seeds: casesOf('channel', 'envelope'),
    read: bytes => encodeEnvelope(decodeEnvelope(bytes)),
  },
  {
    name: 'a chunk of a stream',
    seeds: casesOf('channel', 'stream'),
    codes: /^(?:wire\/|mesh\/too-large$)/,
    read: bytes => streamMessages.decode(bytes),
  },
  {
    name: 'a Resource advertisement',
    seeds: bytesOf('resource'),
    // The caller agrees to so many bytes before the receiver takes them.
    cap: 3 * longestTransfer,
    read(bytes) {
      const advertisement = decodeAdvertisement(bytes);
      encodeAdvertisement(advertisement);
      startReceiver(advertisement, 500, 1000, 4, 0);
    },
  },
  {
    name: 'a part request',
    seeds: plaintexts('resource-transfer', /^request$/),
    read: bytes => decodePartRequest(bytes),
  },
  {
    name: 'a hashmap update',
    seeds: plaintexts('resource-transfer', /^hashmap update$/),
    read: bytes => decodeHashmapUpdate(bytes),
  },
  {
    name: 'a Resource proof',
    seeds: plaintexts('resource-transfer', /^proof$/),
    read: bytes => decodeResourceProof(bytes),
  },
  {
    name: 'a Resource cancel',
    seeds: plaintexts('resource-transfer', /cancel$/),
    read: bytes => decodeCancel(bytes),
  },
  {
    name: 'the metadata of a Resource',
    seeds: [Uint8Array.fromHex('0000038101a16101020304'), Uint8Array.fromHex('000001c0')],
    read: bytes => splitMetadata(bytes),
  },
  {
    name: 'an LXMF message',
    seeds: [...messages, ...bytesOf('lxmf-foreign')],
    cost: 2,
    read: bytes => verifyMessage(decodeMessage(bytes), identity.public),
  },
  {
    name: 'an opportunistic LXMF message',
    seeds: cases('lxmf-opportunistic').map(one => hexIn(one, 'plaintext')),
    read: bytes => decodeMessage(withDestination(new Uint8Array(16), bytes)),
  },
  {
    name: 'msgpack',
    seeds: bytesOf('msgpack'),
    read(bytes) {
      decodePrefix(bytes);
      encode(decode(bytes));
    },
  },
  {
    name: 'a raw msgpack value',
    seeds: bytesOf('msgpack'),
    read(bytes) {
      rawList(bytes, 0, 'value');
      rawMap(bytes, 0, 'value');
      rawValue(bytes, 0, 'value');
    },
  },
  {
    name: 'bzip2',
    seeds: bytesOf('bzip2').filter(bytes => bytes.length < 1000),
    codes: /^(?:wire\/|mesh\/too-large$)/,
    // Working memory of the largest block, and the output up to its limit with its growing room.
    cap: 16 * 1024 * 1024,
    cost: 6,
    read: bytes => decompress(bytes, { limit: 1024 * 1024 }),
  },
  {
    name: 'what an RNode says, in any pieces',
    seeds: [
      'c00846c0500156c0c04880c04981c0',
      'c00133d3e608c0020001e848c0c0030ec00408c00505c00b0000c00c03e8c00601c00601c0',
      'c02341c02434c0000102db00dcddc0c025000102030405060708090a0bc0900400c0',
    ].map(hex => Uint8Array.fromHex(hex)),
    read(bytes) {
      const settings = {
        frequency: 869_525_000,
        bandwidth: 125_000,
        spreadingFactor: 8,
        codingRate: 5,
        txPower: 14,
      };
      const deframer = new KissDeframer();
      let [state] = deviceStep(beforeOpen, { on: 'opened' }, settings, 0);
      for (let from = 0, step = 1; from < bytes.length; from += step, step = (step * 5) % 37 || 1) {
        for (const frame of deframer.feed(bytes.subarray(from, from + step))) {
          [state] = deviceStep(state, { on: 'frame', frame }, settings, from);
        }
      }
    },
  },
  {
    name: 'an airtime ledger on disk',
    seeds: [
      Uint8Array.fromHex(`01${'07'.repeat(16)}408f400000000000427999999999999a40c3880000000000000004b0`),
    ],
    read: bytes =>
      new AirtimeLedger(
        { key: '6c', limit: 0.1 },
        { clock: new ManualClock(), store: { load: () => bytes, save: async () => {} } },
      ).view(1),
  },
  {
    name: 'the HDLC deframer',
    seeds: [
      ...bytesOf('hdlc'),
      Uint8Array.from({ length: 3000 }, (_, at) => (at % 40 === 0 ? 0x7e : at % 11)),
    ],
    cap: 4 * 500,
    read(bytes) {
      const deframer = new HdlcDeframer({ maxFrame: 500 });
      for (let from = 0, step = 1; from < bytes.length; from += step, step = (step * 7) % 61 || 1) {
        for (const packet of deframer.feed(bytes.slice(from, from + step))) {
          if (packet.length > 500) {
            throw new RangeError(`a frame of ${packet.length} bytes`);
          }
        }
      }
    },
  },
];
