import { concat, equal } from '../../../src/lib/bytes.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import { encodeIdentification, identificationSigned } from '../../../src/mesh/reticulum/link-wire.ts';
import { contexts, decodePacket, packetHash } from '../../../src/mesh/reticulum/packet.ts';
import type { Commands } from '../command.ts';
import { bytesIf, bytesOf, hex, hexOrNull, textIf, textOf } from '../params.ts';
import { asideOf } from './aside.ts';
import { isKeepaliveOf, statusName, statusOf } from './links.ts';
import { type Node, nodeOf } from './node.ts';
import { linkOf, listenerOfLink } from './state.ts';
import { type Twin, twinOf } from './twin.ts';
import { sleep, until } from './waiting.ts';

/** Where the sealed part of a link packet begins: after flags, hops, link id and context. */
const bodyAt = 19;
const settle = 50;

export const commands: Commands = {
  async wire_inject_tampered_link_data(params) {
    const node = nodeOf(params);
    const link = await linkOf(params);
    const listener = listenerOfLink(params, link);
    const corruption = textIf(params, 'corruption') ?? 'none';
    const before = listener.packets.length;
    const raw = twin(node, link).packet(contexts.none, bytesIf(params, 'data') ?? node.random.bytes(16));
    const over = corruption === 'foreign_interface' ? (await asideOf(node)).name : link.iface.name;
    node.wire.inject(over, tampered(raw, corruption));
    await sleep(settle);
    return {
      corruption,
      unpacked: true,
      delivered: listener.packets.length > before,
      link_active: link.state.at === 'active',
      status_name: statusName(link),
    };
  },

  async wire_inject_closed_link_data(params) {
    const node = nodeOf(params);
    const link = await linkOf(params);
    const listener = listenerOfLink(params, link);
    const raw = twin(node, link).packet(contexts.none, node.random.bytes(16));
    const before = listener.packets.length;
    const over = link.iface.name;
    link.close();
    node.wire.inject(over, raw);
    await sleep(settle);
    return {
      delivered_before: false,
      delivered: listener.packets.length > before,
      status_name: statusName(link),
      link_closed: link.state.at === 'closed',
    };
  },

  async wire_send_forged_link_close(params) {
    const node = nodeOf(params);
    const link = await linkOf(params);
    const forged = bytesOf(params, 'forged_id');
    const before = statusOf(link);
    inject(node, link, twin(node, link).packet(contexts.linkClose, forged));
    await sleep(settle);
    return {
      torn_down: link.state.at === 'closed',
      status_before: before,
      status_after: statusOf(link),
      status_name_after: statusName(link),
      forged_id: hex(forged),
      real_link_id: link.key,
    };
  },

  async wire_send_keepalive_probe(params) {
    const node = nodeOf(params);
    const link = await linkOf(params);
    const value = bytesIf(params, 'value') ?? Uint8Array.of(0xff);
    const before = { status: statusOf(link), inbound: inboundOf(link), used: link.usedAt };
    // A moment must have passed since whatever came last, for it to be seen that this is later.
    await sleep(5);
    const raw = twin(node, link).packet(contexts.keepalive, value, { clear: true });
    const left = await node.wire.during(() => inject(node, link, raw));
    const answer = left.find(one => isKeepaliveOf(one, link));
    return {
      response: hexOrNull(answer && decodePacket(answer).data),
      answered: answer !== undefined,
      initiator: link.role === 'initiator',
      last_inbound_advanced: inboundOf(link) > before.inbound,
      last_data_advanced: link.usedAt > before.used,
      status_before: before.status,
      status_after: statusOf(link),
    };
  },

  async wire_inject_crafted_link_identify(params) {
    const node = nodeOf(params);
    const link = await linkOf(params);
    const variant = textOf(params, 'variant');
    const claimed = generateIdentity(node.random);
    const { publicKey } = claimed;
    const signer = variant === 'forged_signature' ? generateIdentity(node.random) : claimed;
    const signed =
      variant === 'wrong_signed_data' ? node.random.bytes(96) : identificationSigned(link.id, publicKey);
    const body = encodeIdentification({ publicKey, signature: signer.sign(signed) });
    const shortened = variant === 'wrong_length' ? body.subarray(0, 96) : body;
    inject(node, link, twin(node, link).packet(contexts.linkIdentify, shortened));
    await sleep(settle);
    const remote = link.role === 'responder' ? link.remote : undefined;
    return {
      variant,
      claimed_identity_hash: hex(claimed.hash),
      remote_identity_after: hexOrNull(link.remote?.hash),
      adopted: link.remote !== undefined && equal(link.remote.hash, claimed.hash),
      initiator: link.role === 'initiator',
      identified: remote !== undefined,
    };
  },

  async wire_link_phy_stats_gate(params) {
    const node = nodeOf(params);
    const link = await linkOf(params);
    const stored = { rssi: -42, snr: 7, q: 83 };
    const hear = async () => {
      const raw = twin(node, link).packet(contexts.none, node.random.bytes(8));
      node.wire.inject(link.iface.name, raw, stored);
      await until(() => false, 10);
      const { rssi, snr, q } = link.quality ?? {};
      return { rssi: rssi ?? null, snr: snr ?? null, q: q ?? null };
    };
    // Here it is noted unless somebody says otherwise.
    link.tracksQuality = false;
    const off = await hear();
    link.tracksQuality = true;
    const on = await hear();
    link.tracksQuality = false;
    return { stored, off, on, off_again: await hear() };
  },

  /** What a link holds of keys. */
  async wire_link_key_material(params) {
    const link = await linkOf(params);
    const { held } = link;
    return {
      status: statusOf(link),
      status_name: statusName(link),
      derived_key_present: held.key,
      shared_key_present: held.shared,
      prv_present: held.pair,
      pub_present: held.pair,
    };
  },
};

export function twin(node: Node, link: Link): Twin {
  return twinOf(link.id, node.wire, node.random);
}

/** Hands the link a packet as if the other end had sent it. */
export function inject(node: Node, link: Link, raw: Uint8Array): void {
  node.transport.forget(packetHash(raw));
  node.wire.inject(link.iface.name, raw);
}

function tampered(raw: Uint8Array, corruption: string): Uint8Array {
  const bytes = concat(raw);
  switch (corruption) {
    case 'none':
    case 'foreign_interface':
      return bytes;
    case 'ciphertext':
      bytes[bodyAt + 4]! += 1;
      return bytes;
    case 'hmac':
      bytes[bytes.length - 1]! += 1;
      return bytes;
    case 'truncate':
      return bytes.subarray(0, bytes.length - 1);
    default:
      throw new Error(`no such corruption: ${corruption}`);
  }
}

function inboundOf({ state }: Link): number {
  return 'lastInbound' in state ? state.lastInbound : 0;
}
