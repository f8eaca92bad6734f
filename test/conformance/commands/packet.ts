import { systemRandom } from '../../../src/lib/random.ts';
import { shortestAccessCode } from '../../../src/mesh/reticulum/access-code.ts';
import { destinationHash, nameHash, nameHashLength } from '../../../src/mesh/reticulum/destination.ts';
import { generateIdentity, publicKeyLength } from '../../../src/mesh/reticulum/identity.ts';
import { signatureLength } from '../../../src/mesh/reticulum/keys.ts';
import { linkMdu } from '../../../src/mesh/reticulum/link-wire.ts';
import {
  contexts,
  type DestinationType,
  decodePacket,
  encodePacket,
  encryptedMdu,
  hashLength,
  header1Length,
  header2Length,
  type Packet,
  type PacketType,
  packetHash,
  packetMdu,
  packetMtu,
  sha256,
  travelsClear,
} from '../../../src/mesh/reticulum/packet.ts';
import {
  generateTokenKey,
  sealToken,
  tokenBlockLength,
  tokenIvLength,
  tokenOverhead,
} from '../../../src/mesh/reticulum/token.ts';
import type { Commands, Params } from '../command.ts';
import { bytesIf, bytesOf, hex, hexOrNull, integerIf, textIf } from '../params.ts';

/** The words of the stack in the order of the code points of the wire. */
const packetTypes: readonly PacketType[] = ['data', 'announce', 'link-request', 'proof'];
const destinationTypes: readonly DestinationType[] = ['single', 'group', 'plain', 'link'];
const name = nameHash('conformance.packet');
const bits = 8;
const accessCodeFlag = 0x80;

function fieldsOf(raw: Uint8Array) {
  const packet = decodePacket(raw);
  return {
    flags: raw[0],
    hops: packet.hops,
    header_type: packet.transportId === undefined ? 0 : 1,
    context_flag: packet.contextFlag ? 1 : 0,
    transport_type: packet.propagation === 'transport' ? 1 : 0,
    destination_type: destinationTypes.indexOf(packet.destinationType),
    packet_type: packetTypes.indexOf(packet.packetType),
    destination_hash: hex(packet.destinationHash),
    transport_id: hexOrNull(packet.transportId),
    context: packet.context,
    data: hex(packet.data),
    hash: hex(packetHash(raw)),
  };
}

/** A destination of a kind, and what a packet for it carries. */
function destinationOf(kind: string): { hash: Uint8Array; seal: (data: Uint8Array) => Uint8Array } {
  if (kind === 'plain') return { hash: destinationHash(name), seal: data => data };
  const identity = generateIdentity(systemRandom);
  const hash = destinationHash(name, identity.hash);
  if (kind === 'single') return { hash, seal: data => identity.public.encrypt(data, systemRandom) };
  if (kind !== 'group') throw new Error(`unsupported dest_type: ${kind}`);
  const key = generateTokenKey(systemRandom);
  return { hash, seal: data => sealToken(key, data, systemRandom.bytes(tokenIvLength)) };
}

/** A packet of ours, not larger than every medium carries. */
function encode(packet: Packet): Uint8Array {
  const raw = encodePacket(packet);
  if (raw.length > packetMtu) throw new Error(`a packet of ${raw.length} bytes, at most ${packetMtu}`);
  return raw;
}

function typeOf(params: Params, otherwise: number): PacketType {
  const index = integerIf(params, 'packet_type') ?? otherwise;
  const type = packetTypes[index];
  if (type === undefined) throw new Error(`there is no packet type ${index}`);
  return type;
}

/**
 * Who sends a packet does not choose the node that carries it on: the path table does. Only an announce leaves with
 * the id of the node that passes it on, which is why nothing else is made with one here.
 */
function transportIdOf(params: Params, type: PacketType): Uint8Array {
  if (type !== 'announce')
    throw new Error(`a ${type} packet of ours takes its transport id from the path table`);
  const id = bytesIf(params, 'transport_id');
  // The reference's words: here a packet has header type 2 exactly when it has a transport id.
  if (id === undefined) throw new Error('Packet with header type 2 must have a transport ID');
  return id;
}

function build(params: Params): { readonly raw: Uint8Array; readonly data: Uint8Array } {
  const kind = textIf(params, 'dest_type') ?? 'plain';
  const packetType = typeOf(params, 0);
  const header = String(params.header_type ?? 1).replace('HEADER_', '');
  if (header !== '1' && header !== '2') throw new Error(`unsupported header_type: ${header}`);
  const { hash, seal } = destinationOf(kind);
  const data = bytesIf(params, 'data') ?? new Uint8Array(0);
  const context = integerIf(params, 'context') ?? contexts.none;
  const body = packetType === 'data' && !travelsClear(context) ? seal(data) : data;
  const raw = encode({
    hops: integerIf(params, 'hops') ?? 0,
    transportId: header === '2' ? transportIdOf(params, packetType) : undefined,
    contextFlag: integerIf(params, 'context_flag') === 1,
    propagation: integerIf(params, 'transport_type') === 1 ? 'transport' : 'broadcast',
    destinationType: destinationTypes.find(one => one === kind)!,
    packetType,
    destinationHash: hash,
    context,
    data: body,
  });
  return { raw, data: body };
}

const dataTo = (kind: DestinationType, destination: Uint8Array, data: Uint8Array): Packet => ({
  hops: 0,
  contextFlag: false,
  propagation: 'broadcast',
  destinationType: kind,
  packetType: 'data',
  destinationHash: destination,
  context: contexts.none,
  data,
});

export const commands: Commands = {
  packet_build: params => {
    const { raw, data } = build(params);
    // What has no data is made, and read by nobody.
    return { raw: hex(raw), ...(data.length === 0 ? { hash: hex(packetHash(raw)) } : fieldsOf(raw)) };
  },
  packet_unpack: params => {
    const raw = bytesOf(params, 'raw');
    try {
      return { unpacked: true, ...fieldsOf(raw) };
    } catch {
      return { unpacked: false };
    }
  },
  packet_hash: params => {
    const raw = bytesOf(params, 'raw');
    // An access code's flag is no part of the hash, so that a sealed packet's is asked for as well.
    const open = raw.slice();
    open[0] = (open[0] ?? 0) & ~accessCodeFlag;
    decodePacket(open);
    return { hash: hex(packetHash(raw)) };
  },
  packet_build_raw_header2: params => {
    try {
      const { raw } = build({
        ...params,
        packet_type: integerIf(params, 'packet_type') ?? packetTypes.indexOf('announce'),
        dest_type: 'single',
        header_type: 2,
        // Where the suite says nothing of its data, it is a byte.
        data: textIf(params, 'data') || '00',
      });
      return { raw: hex(raw), raw_len: raw.length };
    } catch (error) {
      const { name, message } = error as Error;
      return { error: message, error_type: name };
    }
  },
  // Sending again what was not proven seals it again.
  packet_resend_observe: params => {
    const kind = destinationTypes.find(one => one === (textIf(params, 'dest_type') ?? 'single'))!;
    const { hash, seal } = destinationOf(kind);
    const data = bytesIf(params, 'data') ?? Uint8Array.of(0);
    const [first, second] = [encode(dataTo(kind, hash, seal(data))), encode(dataTo(kind, hash, seal(data)))];
    return {
      raw_1: hex(first),
      hash_1: hex(packetHash(first)),
      raw_2: hex(second),
      hash_2: hex(packetHash(second)),
    };
  },
  packet_constants: () => ({
    mtu: packetMtu,
    header_minsize: header1Length,
    header_maxsize: header2Length,
    mdu: packetMdu,
    ifac_min_size: shortestAccessCode,
    packet_mdu: packetMdu,
    packet_plain_mdu: packetMdu,
    packet_encrypted_mdu: encryptedMdu,
    link_mdu: linkMdu(packetMtu),
    hashlength: sha256(new Uint8Array(0)).length * bits,
    siglength: signatureLength * bits,
    truncated_hashlength: hashLength * bits,
    keysize: publicKeyLength * bits,
    name_hash_length: nameHashLength * bits,
    token_overhead: tokenOverhead,
    aes128_blocksize: tokenBlockLength,
  }),
  packet_context_constants: () => ({
    NONE: contexts.none,
    RESOURCE: contexts.resource,
    RESOURCE_ADV: contexts.resourceAdvertisement,
    RESOURCE_REQ: contexts.resourceRequest,
    RESOURCE_HMU: contexts.resourceHashmapUpdate,
    RESOURCE_PRF: contexts.resourceProof,
    RESOURCE_ICL: contexts.resourceInitiatorCancel,
    RESOURCE_RCL: contexts.resourceReceiverCancel,
    CACHE_REQUEST: contexts.cacheRequest,
    REQUEST: contexts.request,
    RESPONSE: contexts.response,
    PATH_RESPONSE: contexts.pathResponse,
    COMMAND: contexts.command,
    COMMAND_STATUS: contexts.commandStatus,
    CHANNEL: contexts.channel,
    KEEPALIVE: contexts.keepalive,
    LINKIDENTIFY: contexts.linkIdentify,
    LINKCLOSE: contexts.linkClose,
    LINKPROOF: contexts.linkProof,
    LRRTT: contexts.linkRtt,
    LRPROOF: contexts.linkRequestProof,
  }),
};
