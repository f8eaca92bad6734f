import { concat } from '../../../src/lib/bytes.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { signatureLength } from '../../../src/mesh/reticulum/keys.ts';
import { contexts, encodePacket, maxHops, packetHash } from '../../../src/mesh/reticulum/packet.ts';
import { Receipts, receiptsMost } from '../../../src/mesh/reticulum/receipts.ts';
import type { Commands } from '../command.ts';
import { hex, integerIf, numberIf, textIf, textOf } from '../params.ts';
import { type Asked, announceOf, asideOf, strangerOf } from './aside.ts';
import { type Node, nodeOf } from './node.ts';
import { explicitLength, hashBytes, proofPacket, statusOf } from './packets.ts';
import type { Receipt } from './state.ts';
import { sleep, until } from './waiting.ts';

const packetTypes = { data: 0, announce: 1, linkRequest: 2, proof: 3 } as const;

export const commands: Commands = {
  /** A proof of a single packet, of the suite's choice, by a receiver whose keys the test holds. */
  async wire_inject_single_proof_format(params) {
    const node = nodeOf(params);
    const variant = textOf(params, 'variant');
    const aside = await asideOf(node);
    const destination = strangerOf(node, 'proof-format');
    const identity = destination.identity!;
    aside.say(announceOf(node, destination));
    await until(() => node.transport.path(destination.hash), 2000);
    const receipt: Receipt = { hash: undefined, outcome: undefined };
    const hash = await node.transport.send({
      destination: { identity: identity.public, hash: destination.hash },
      data: node.random.bytes(20),
      onReceipt: outcome => {
        receipt.outcome = outcome;
      },
    });
    const proofs: Readonly<Record<string, () => Uint8Array>> = {
      valid_explicit: () => concat(hash, identity.sign(hash)),
      valid_implicit: () => identity.sign(hash),
      forged_explicit: () => concat(hash, generateIdentity(node.random).sign(hash)),
      wrong_hash_explicit: () => concat(node.random.bytes(hashBytes), identity.sign(hash)),
    };
    const proof = proofs[variant]?.();
    if (proof === undefined) throw new Error(`no such proof: ${variant}`);
    aside.say(proofPacket(hash, proof));
    return report(variant, receipt, proof);
  },

  /** Whether anything waits for a proof of what is sent, by what it is. */
  async wire_packet_receipt_generation(params) {
    const node = nodeOf(params);
    const type = integerIf(params, 'packet_type') ?? packetTypes.data;
    const context = integerIf(params, 'context') ?? contexts.none;
    const destType = textIf(params, 'dest_type') ?? 'single';
    const before = node.transport.sizes().receipts ?? 0;
    const left = await node.wire.during(() => send(node, type, destType, context));
    return {
      dest_type: destType,
      context,
      packet_type: type,
      sent: left.length > 0,
      has_receipt: (node.transport.sizes().receipts ?? 0) > before,
      create_receipt_flag: true,
    };
  },

  async wire_packet_receipt_timeout(params) {
    const node = nodeOf(params);
    const destination = strangerOf(node, 'receipt-timeout');
    const { hash } = destination;
    const receipt: Receipt = { hash: undefined, outcome: undefined };
    const sendOne = () =>
      node.transport.send({
        destination: { identity: destination.identity!.public, hash },
        data: node.random.bytes(12),
        onReceipt: outcome => {
          receipt.outcome = outcome;
        },
      });
    // What else a first packet sets going, such as that its hash is stored some day, is set going by one before it.
    await sendOne();
    const asked = node.clock.watch();
    await sendOne();
    const firstHop = node.transport.firstHopTimeout(hash) / 1000;
    const perHop = node.transport.firstHopTimeout(node.random.bytes(16)) / 1000;
    // The time-out of the receipt is by far the longest that sending a packet asks the clock for.
    const timeout = Math.max(...asked()) / 1000;
    const forced = numberIf(params, 'force_timeout');
    return {
      timeout,
      status: statusOf(receipt).status,
      is_link: false,
      default_per_hop_timeout: perHop,
      timeout_per_hop: perHop,
      pathfinder_m: maxHops,
      hops_to: node.transport.path(hash)?.hops ?? maxHops,
      first_hop_timeout: firstHop,
      is_connected_to_shared: false,
      status_sent: 1,
      ...(forced === undefined ? {} : await given(node, forced)),
    };
  },
};

/** What becomes of a proof of a link packet, of the suite's choice. */
export async function linkProof(node: Node, { link, destination }: Asked, variant: string) {
  const aside = await asideOf(node);
  const receipt: Receipt = { hash: undefined, outcome: undefined };
  const before = aside.heard.length;
  void link.send(node.random.bytes(20), {
    onReceipt: outcome => {
      receipt.outcome = outcome;
    },
  });
  const sent = await until(() => aside.heard[before], 2000);
  if (sent === undefined) throw new Error('no packet left over the link');
  const hash = packetHash(sent);
  const sign = () => destination.identity!.sign(hash);
  const proofs: Readonly<Record<string, () => Uint8Array>> = {
    valid_explicit: () => concat(hash, sign()),
    implicit_valid_sig: sign,
    implicit_random: () => node.random.bytes(signatureLength),
    wrong_length_short: () => node.random.bytes(hashBytes),
  };
  const proof = proofs[variant]?.();
  if (proof === undefined) throw new Error(`no such proof: ${variant}`);
  aside.say(
    encodePacket({
      hops: 0,
      contextFlag: false,
      propagation: 'broadcast',
      destinationType: 'link',
      packetType: 'proof',
      destinationHash: link.id,
      context: contexts.none,
      data: proof,
    }),
  );
  const said = await report(variant, receipt, proof);
  link.close();
  return said;
}

async function report(variant: string, receipt: Receipt, proof: Uint8Array) {
  await until(() => receipt.outcome, 300);
  const { status, status_name, proved } = statusOf(receipt);
  return {
    variant,
    validated: proved,
    status,
    status_name,
    proof_len: proof.length,
    expl_length: explicitLength,
    impl_length: signatureLength,
  };
}

async function send(node: Node, type: number, destType: string, context: number): Promise<void> {
  const { transport, links, random } = node;
  const destination = strangerOf(node, `receipt-gen-${hex(random.bytes(4))}`);
  const { hash } = destination;
  const identity = destination.identity!.public;
  switch (type) {
    case packetTypes.data:
      if (destType === 'plain') await transport.sendPlain(hash, random.bytes(12));
      else
        await transport.send({
          destination: { identity, hash },
          data: random.bytes(12),
          context,
          onReceipt: () => {},
        });
      break;
    case packetTypes.announce:
      transport.register(destination);
      await transport.announce(destination);
      break;
    case packetTypes.linkRequest:
      (await asideOf(node)).say(announceOf(node, destination));
      await until(() => transport.path(hash), 2000);
      links.open(hash, { identity }).catch(() => {});
      break;
    default:
      await transport.transmit(proofPacket(random.bytes(hashBytes), random.bytes(signatureLength)), 'all');
  }
}

/** How a receipt ends that waits as long as given; -1 is the reference's word for one that is given up. */
async function given(node: Node, timeout: number) {
  const receipts = new Receipts(node.clock);
  const receipt: Receipt = { hash: undefined, outcome: undefined };
  const pending = (hash: Uint8Array, conclude: (outcome: Receipt['outcome'] & object) => void) => ({
    hash,
    timeout: timeout < 0 ? 60_000 : timeout * 1000,
    verify: () => false,
    conclude,
  });
  receipts.add(
    pending(node.random.bytes(hashBytes), outcome => {
      receipt.outcome = outcome;
    }),
  );
  if (timeout < 0) {
    for (let more = 0; more < receiptsMost; more++)
      receipts.add(pending(node.random.bytes(hashBytes), () => {}));
  }
  await until(() => receipt.outcome, 2000);
  const { status } = statusOf(receipt);
  receipts.close();
  await sleep(0);
  return { forced_timeout: timeout, forced_status: status, status_culled: 255, status_failed: 0 };
}
