import { concat } from '../../../src/lib/bytes.ts';
import { codeOf } from '../../../src/lib/errors.ts';
import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { keyLength } from '../../../src/mesh/reticulum/keys.ts';
import { establishmentPerHop, keepaliveOf } from '../../../src/mesh/reticulum/link.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import {
  decodeLinkRequest,
  encodeLinkRequest,
  encodeLinkRequestProof,
  encodeSignalling,
  linkMode,
  signallingLength,
} from '../../../src/mesh/reticulum/link-wire.ts';
import { decodePacket, encodePacket, hashLength, packetMtu } from '../../../src/mesh/reticulum/packet.ts';
import { tokenKeyLength } from '../../../src/mesh/reticulum/token.ts';
import type { Commands } from '../command.ts';
import { flagOf, hex, integerIf, integerOf, textOf } from '../params.ts';
import {
  asideOf,
  askForLink,
  linkProofPacket,
  proofPart,
  provenLink,
  signedPart,
  strangerOf,
} from './aside.ts';
import { statusName, statusOf } from './links.ts';
import { type Node, nodeOf } from './node.ts';
import { linkProof } from './proofs.ts';
import { outLinkOf } from './state.ts';
import { sleep, until } from './waiting.ts';

const keysLength = 2 * keyLength;
const modes = [0, 1, 2, 3, 4, 5, 6, 7];
/** A mode that this stack does not speak: AES-256 in GCM. */
const otherMode = 2;
const reservedMode = 3;

export const commands: Commands = {
  async wire_link_request_payload(params) {
    const { link, request } = await askForLink(nodeOf(params), 'link-payload');
    const { data } = decodePacket(request);
    const { encryptionKey, signingKey, mtu } = decodeLinkRequest(data);
    link.close();
    return {
      request_data_hex: hex(data),
      pub_bytes: hex(encryptionKey),
      sig_pub_bytes: hex(signingKey),
      signalling_bytes: hex(data.subarray(keysLength)),
      mtu,
      mode: linkMode,
      len: data.length,
      ecpubsize: keysLength,
      link_mtu_size: signallingLength,
      reticulum_mtu: packetMtu,
    };
  },

  wire_link_signalling_bytes(params) {
    const node = nodeOf(params);
    const mtu = integerOf(params, 'mtu');
    const mode = integerOf(params, 'mode');
    const enabled = modes.filter(one => readsMode(node, one));
    const all = encodeSignalling(-1);
    const mtuBits = ((all[0]! & 0x1f) << 16) | (all[1]! << 8) | all[2]!;
    const raised = !enabled.includes(mode);
    return {
      mtu,
      mode,
      signalling_bytes: raised ? null : hex(encodeSignalling(mtu)),
      raised,
      mtu_bytemask: mtuBits,
      mode_bytemask: 0xff ^ (mtuBits >> 16),
      enabled_modes: enabled,
      mode_default: linkMode,
      link_mtu_size: signallingLength,
    };
  },

  /** A link request with a payload of the suite's choice, to a destination that takes links. */
  async wire_inject_crafted_link_request(params) {
    const node = nodeOf(params);
    const variant = textOf(params, 'variant');
    const owner = served(node, 'lr-validate', true);
    const data = await requestData(node, variant);
    await request(node, owner, data, integerIf(params, 'hops') ?? 0);
    const link = linkTo(node, owner);
    const state = link?.state;
    // Monotonic times are fractions: what is left of them is less than a microsecond.
    const timeout =
      state && 'deadline' in state ? Math.round((state.deadline - state.requestedAt) * 1000) / 1e6 : null;
    const { mtu } = link ?? {};
    link?.close();
    return {
      variant,
      data_len: data.length,
      accepted: link !== undefined,
      inbound_link_created: link !== undefined,
      establishment_timeout: timeout,
      mode: link === undefined ? null : linkMode,
      mtu: mtu ?? null,
      establishment_timeout_per_hop: establishmentPerHop / 1000,
      keepalive: keepaliveOf(Number.POSITIVE_INFINITY) / 1000,
    };
  },

  async wire_link_accept_gate(params) {
    const node = nodeOf(params);
    const accepts = flagOf(params, 'accepts', true);
    const owner = served(node, 'accept-gate', accepts);
    const before = linksTo(node, owner).length;
    await request(node, owner, await requestData(node, 'valid67'), 0);
    const after = linksTo(node, owner);
    for (const link of after) link.close();
    return {
      accepts,
      links_before: before,
      links_after: after.length,
      link_created: after.length > before,
    };
  },

  async wire_link_type_gate(params) {
    const node = nodeOf(params);
    const { link } = await askForLink(node, 'link-type-gate');
    link.close();
    const refused = (destination: LocalDestination) => {
      try {
        node.links.accept(destination, { onLink: () => ({}) });
        return { raised: false, error: null, link_created: true };
      } catch (error) {
        return { raised: true, error: String((error as Error).message), link_created: false };
      }
    };
    const nameless = { appName: 'conformance', aspects: ['link-type-gate'] };
    return {
      single: { raised: false, error: null, link_created: true },
      plain: refused(new LocalDestination(nameless)),
      group: refused(new LocalDestination({ ...nameless, groupKey: node.random.bytes(tokenKeyLength) })),
    };
  },

  /** A link request proof of the suite's choice, by somebody whose keys the test holds. */
  async wire_inject_crafted_lrproof(params) {
    const node = nodeOf(params);
    const variant = textOf(params, 'variant');
    const asked = await askForLink(node, 'lrproof');
    const { link, destination } = asked;
    const part = proofPart(node, variant === 'mode_mismatch');
    const signed = signedPart(asked, part);
    const signer = variant === 'forged_signature' ? generateIdentity(node.random) : destination.identity!;
    const signature = signer.sign(variant === 'wrong_signed_data' ? node.random.bytes(96) : signed);
    let data = encodeLinkRequestProof({ ...part, signature });
    if (variant === 'wrong_size') data = data.subarray(0, data.length - 1);
    if (variant === 'mode_mismatch') {
      const at = data.length - signallingLength;
      data[at] = (data[at]! & 0x1f) | (otherMode << 5);
    }
    if (variant === 'non_pending') link.close();
    (await asideOf(node)).say(linkProofPacket(link, data));
    await until(() => link.state.at !== 'pending', 300);
    const activated = link.usable;
    const status = { status: statusOf(link), status_name: statusName(link) };
    const mtu = activated ? link.mtu : null;
    link.close();
    return { variant, activated, ...status, mtu, mode: linkMode };
  },

  /** How this node answers a link request. */
  async wire_capture_lrproof_frame(params) {
    const node = nodeOf(params);
    const aside = await asideOf(node);
    const owner = served(node, 'lrproof-shape', true);
    const before = aside.heard.length;
    await request(node, owner, await requestData(node, 'valid67'), 0);
    const raw = aside.heard.slice(before).find(one => decodePacket(one).packetType === 'proof');
    const link = linkTo(node, owner);
    if (raw === undefined || link === undefined) throw new Error('no link request proof left');
    const packet = decodePacket(raw);
    link.close();
    return {
      raw: hex(raw),
      flags: raw[0]!,
      link_id: link.key,
      packet_type: raw[0]! & 0x03,
      context: packet.context,
      expected_link_dest_type: 3,
      truncated_hashlength: hashLength,
    };
  },

  async wire_link_teardown_emission(params) {
    const node = nodeOf(params);
    const active = outLinkOf(params);
    const { link: pending } = await askForLink(node, 'teardown-emit');
    const closes = async (link: Link) => {
      const left = await node.wire.during(() => link.close());
      return left.filter(raw => hex(decodePacket(raw).destinationHash) === link.key).length;
    };
    const pendingClosed = await closes(pending);
    const before = statusName(active);
    return {
      pending_linkclose_emitted: pendingClosed,
      active_linkclose_emitted: await closes(active),
      active_status_before: before,
    };
  },

  /** A proof of a packet over a link, of the suite's choice, by the other end whose keys the test holds. */
  async wire_inject_crafted_link_proof(params) {
    const node = nodeOf(params);
    return linkProof(node, await provenLink(node, 'link-proof'), textOf(params, 'variant'));
  },
};

/** A destination of the node's, served or not. */
function served(node: Node, aspect: string, accepts: boolean): LocalDestination {
  const owner = strangerOf(node, `${aspect}-${hex(node.random.bytes(4))}`);
  node.transport.register(owner);
  node.links.accept(owner, { onLink: () => ({}) });
  owner.acceptsLinks = accepts;
  return owner;
}

/** The payload of a genuine link request, cut or spoilt as the suite wishes. */
async function requestData(node: Node, variant: string): Promise<Uint8Array> {
  const { link, request: raw } = await askForLink(node, 'lr-base');
  link.close();
  const data = new Uint8Array(decodePacket(raw).data);
  switch (variant) {
    case 'valid64':
      return data.subarray(0, keysLength);
    case 'valid67':
      return data;
    case 'size_63':
      return data.subarray(0, 63);
    case 'size_66':
      return data.subarray(0, 66);
    case 'size_0':
      return data.subarray(0, 0);
    case 'bad_mode':
      data[keysLength] = reservedMode << 5;
      return data;
    default:
      throw new Error(`no such link request: ${variant}`);
  }
}

/** Sends a link request to a destination of the node's; it has come over `hops`. */
async function request(node: Node, owner: LocalDestination, data: Uint8Array, hops: number): Promise<void> {
  const whole = encodePacket({
    hops: Math.max(0, hops - 1),
    contextFlag: false,
    propagation: 'broadcast',
    destinationType: 'single',
    packetType: 'link-request',
    destinationHash: owner.hash,
    context: 0,
    data,
  });
  (await asideOf(node)).say(whole);
  await sleep(30);
}

function linksTo(node: Node, owner: LocalDestination): Link[] {
  return [...node.links.all()].filter(({ destinationHash }) => hex(destinationHash) === owner.key);
}

function linkTo(node: Node, owner: LocalDestination): Link | undefined {
  return linksTo(node, owner)[0];
}

/** Whether a link request of this mode is read. */
function readsMode(node: Node, mode: number): boolean {
  const request = encodeLinkRequest({
    encryptionKey: node.random.bytes(keyLength),
    signingKey: node.random.bytes(keyLength),
    mtu: packetMtu,
    signalled: true,
  });
  const data = concat(request);
  data[keysLength] = (data[keysLength]! & 0x1f) | (mode << 5);
  try {
    decodeLinkRequest(data);
    return true;
  } catch (error) {
    if (codeOf(error) !== 'wire/unsupported') throw error;
    return false;
  }
}
