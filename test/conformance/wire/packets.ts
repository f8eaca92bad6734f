import { concat, equal } from '../../../src/lib/bytes.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { signatureLength } from '../../../src/mesh/reticulum/keys.ts';
import {
  contexts,
  decodePacket,
  encodePacket,
  hashLength,
  truncatedHash,
} from '../../../src/mesh/reticulum/packet.ts';
import type { Commands, Params } from '../command.ts';
import { bytesIf, bytesOf, hex, hexOrNull, textIf, textOf } from '../params.ts';
import { type Node, nodeOf } from './node.ts';
import { peerInterface } from './start.ts';
import { type Receipt, stateOf } from './state.ts';
import { timeoutOf, until } from './waiting.ts';

export const hashBytes = 32;
export const explicitLength = hashBytes + signatureLength;
const headerLength = 2 + hashLength + 1;

export const commands: Commands = {
  async wire_send_packet(params) {
    const node = nodeOf(params);
    const receipt = await send(params);
    const path = node.transport.path(hashOf(params));
    const waited = params.create_receipt !== false;
    return {
      sent: true,
      receipt_id: waited ? stateOf(node).receipts.add(receipt) : null,
      hops: path?.hops ?? null,
    };
  },

  async wire_send_opportunistic(params) {
    const receipt = await send(params);
    const outcome = await until(() => receipt.outcome, timeoutOf(params, 5000));
    const delivered = outcome?.at === 'delivered';
    return { sent: true, delivered, status: delivered ? 'delivered' : 'timeout' };
  },

  async wire_packet_receipt_status(params) {
    const receipt = stateOf(nodeOf(params)).receipts.of(params, 'receipt_id');
    await until(() => receipt.outcome, timeoutOf(params, 0));
    return statusOf(receipt);
  },

  async wire_send_packet_with_proof_request(params) {
    const node = nodeOf(params);
    const { implicitProofs, receipts } = stateOf(node);
    const receipt = await send(params);
    const outcome = await until(() => receipt.outcome, timeoutOf(params, 10_000));
    const hash = receipt.hash!;
    const delivered = outcome?.at === 'delivered';
    const raw = delivered ? proofOf(node, hash) : undefined;
    const proof = raw && decodePacket(raw).data;
    return {
      sent: true,
      receipt_id: receipts.add(receipt),
      hops: node.transport.path(hashOf(params))?.hops ?? null,
      delivered,
      proved: delivered,
      implicit_proof_config: implicitProofs,
      proof_data: hexOrNull(proof),
      proof_len: proof?.length ?? null,
      proof_is_implicit: proof === undefined ? null : proof.length === signatureLength,
      proof_is_explicit: proof === undefined ? null : proof.length === explicitLength,
      impl_length: signatureLength,
      expl_length: explicitLength,
      proof_raw: hexOrNull(raw),
      proved_packet_hash: hex(hash),
    };
  },

  /** A genuine packet, damaged after it was sealed. */
  async wire_send_undecryptable(params) {
    const node = nodeOf(params);
    const corruption = textIf(params, 'corruption') ?? 'ciphertext';
    let receipt: Receipt | undefined;
    const left = await node.wire.during(
      async () => {
        receipt = await send(params);
      },
      { hold: true },
    );
    const raw = left.find(one => equal(decodePacket(one).destinationHash, hashOf(params)));
    if (raw === undefined || receipt === undefined) throw new Error('no packet left');
    const damaged = corruption === 'truncate' ? raw.slice(0, headerLength) : raw.slice();
    if (corruption === 'ciphertext') damaged[damaged.length - 1]! += 1;
    const path = node.transport.path(hashOf(params));
    const iface = path && node.transport.interfaceOf(path);
    const sent = await node.transport.transmit(damaged, iface ?? 'all');
    const outcome = await until(() => receipt?.outcome, timeoutOf(params, 0));
    const delivered = outcome?.at === 'delivered';
    return {
      sent,
      receipt_id: stateOf(node).receipts.add(receipt),
      delivered,
      status: delivered ? 'delivered' : timeoutOf(params, 0) > 0 ? 'timeout' : 'pending',
    };
  },

  async wire_inject_crafted_proof(params) {
    const node = nodeOf(params);
    const variant = textOf(params, 'variant');
    const receipt = stateOf(node).receipts.of(params, 'receipt_id');
    const proof = forgery(node, variant, receipt.hash!);
    node.wire.inject(await peerInterface(node), proofPacket(receipt.hash!, proof));
    const { status, status_name, proved } = statusOf(receipt);
    return { variant, validated: proved, status, status_name, proved, proof_len: proof.length };
  },
};

/** A proof as it travels, of a packet with this hash (32 B). */
export function proofPacket(hash: Uint8Array, proof: Uint8Array): Uint8Array {
  return encodePacket({
    hops: 0,
    contextFlag: false,
    propagation: 'broadcast',
    destinationType: 'single',
    packetType: 'proof',
    destinationHash: truncatedHash(hash),
    context: contexts.none,
    data: proof,
  });
}

function forgery(node: Node, variant: string, hash: Uint8Array): Uint8Array {
  const forged = () => generateIdentity(node.random).sign(hash);
  switch (variant) {
    case 'forged_implicit':
      return forged();
    case 'forged_explicit':
      return concat(hash, forged());
    case 'wrong_hash_explicit':
      return concat(node.random.bytes(hashBytes), forged());
    case 'wrong_length_short':
      return node.random.bytes(hashBytes);
    case 'wrong_length_mid':
      return node.random.bytes(signatureLength + 1);
    case 'wrong_length_long':
      return node.random.bytes(explicitLength + 1);
    default:
      throw new Error(`no such proof: ${variant}`);
  }
}

/** The reference's states of a receipt. */
export function statusOf({ outcome }: Receipt) {
  if (outcome === undefined) return { status: 1, status_name: 'SENT', delivered: false, proved: false };
  if (outcome.at === 'delivered') {
    return { status: 2, status_name: 'DELIVERED', delivered: true, proved: true };
  }
  return outcome.code === 'store/full'
    ? { status: 255, status_name: 'CULLED', delivered: false, proved: false }
    : { status: 0, status_name: 'FAILED', delivered: false, proved: false };
}

async function send(params: Params): Promise<Receipt> {
  const { transport } = nodeOf(params);
  const hash = hashOf(params);
  const known = transport.recall(hash);
  if (known === undefined) throw new Error(`no announce of ${hex(hash)} was heard`);
  const receipt: Receipt = { hash: undefined, outcome: undefined };
  receipt.hash = await transport.send({
    destination: { identity: known.identity, hash },
    data: bytesIf(params, 'data') ?? new Uint8Array(0),
    onReceipt: outcome => {
      receipt.outcome = outcome;
    },
  });
  return receipt;
}

function proofOf(node: Node, hash: Uint8Array): Uint8Array | undefined {
  return node.wire.received.findLast(({ raw }) => {
    const proves = (raw[0]! & 0x03) === 3 && raw.length > headerLength;
    return proves && equal(decodePacket(raw).destinationHash, truncatedHash(hash));
  })?.raw;
}

function hashOf(params: Params): Uint8Array {
  return bytesOf(params, 'destination_hash', 16);
}
