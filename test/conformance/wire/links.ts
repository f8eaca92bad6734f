import { codeOf, isGatewayError } from '../../../src/lib/errors.ts';
import { Identity } from '../../../src/mesh/reticulum/identity.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import { keepaliveAnswer, linkMode } from '../../../src/mesh/reticulum/link-wire.ts';
import { contexts, decodePacket } from '../../../src/mesh/reticulum/packet.ts';
import type { Commands, Params } from '../command.ts';
import { bytesIf, bytesOf, hex, integerOf, numberIf } from '../params.ts';
import { type Node, nodeOf } from './node.ts';
import { linkOf, listenerOf, outLinkOf, stateOf } from './state.ts';
import { twinOf } from './twin.ts';
import { timeoutOf, until } from './waiting.ts';

const statusNames = ['PENDING', 'HANDSHAKE', 'ACTIVE', 'STALE', 'CLOSED'] as const;
/** The reference knows three reasons; a lost interface is a link that nobody closed. */
const reasonNames = { 1: 'TIMEOUT', 2: 'INITIATOR_CLOSED', 3: 'DESTINATION_CLOSED' } as const;

export const commands: Commands = {
  async wire_link_open(params) {
    const node = nodeOf(params);
    const hash = bytesOf(params, 'destination_hash', 16);
    const known = node.transport.recall(hash);
    if (known === undefined) throw new Error(`no announce of ${hex(hash)} was heard`);
    const signal = AbortSignal.timeout(timeoutOf(params, 10_000));
    const link = await node.links.open(hash, { identity: known.identity, signal });
    stateOf(node).outLinks.set(link.key, link);
    return { link_id: link.key };
  },

  wire_link_send(params) {
    void outLinkOf(params).send(bytesIf(params, 'data') ?? new Uint8Array(0));
    return { sent: true };
  },

  async wire_send_link_data(params) {
    const { receipts } = stateOf(nodeOf(params));
    const link = outLinkOf(params);
    if (!link.usable) return { sent: false, receipt_id: null };
    const receipt = { hash: undefined, outcome: undefined as undefined | object };
    void link.send(bytesIf(params, 'data') ?? new Uint8Array(0), {
      onReceipt: outcome => {
        receipt.outcome = outcome;
      },
    });
    return { sent: true, receipt_id: receipts.add(receipt as Parameters<typeof receipts.add>[0]) };
  },

  async wire_send_over_closed_link(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const data = bytesIf(params, 'data');
    let refused: unknown;
    const left = await node.wire.during(() =>
      link.send(data?.length ? data : node.random.bytes(11)).catch(error => {
        refused = error;
      }),
    );
    return {
      link_status: statusOf(link),
      link_status_name: statusNames[statusOf(link)],
      sent: !isGatewayError(refused, 'mesh/link-closed'),
      bytes_transmitted: left
        .filter(raw => hex(raw).includes(link.key))
        .reduce((sum, raw) => sum + raw.length, 0),
    };
  },

  async wire_send_oversize_link_packet(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const size = integerOf(params, 'size');
    const about = { size, mtu: link.mtu, mdu: link.mdu, packet_mtu: link.mtu };
    let refused: unknown;
    const left = await node.wire.during(() => {
      void link.send(node.random.bytes(size)).catch(error => {
        refused = error;
      });
    });
    if (isGatewayError(refused, 'mesh/too-large')) {
      return { ...about, sent: false, rejected: true, error: refused.message, raw_len: null };
    }
    const raw = left.find(one => hex(one).includes(link.key));
    return { ...about, sent: raw !== undefined, rejected: false, error: null, raw_len: raw?.length ?? null };
  },

  wire_link_status: params => snapshot(nodeOf(params), outLinkOf(params)),

  async wire_link_await_status(params) {
    const link = outLinkOf(params);
    const target = params.target_status;
    const wanted =
      typeof target === 'string'
        ? (statusNames as readonly string[]).indexOf(target.toUpperCase())
        : integerOf(params, 'target_status');
    if (wanted < 0) throw new Error(`no link status: ${target}`);
    const reached = await until(() => statusOf(link) >= wanted, timeoutOf(params, 15_000));
    return { ...snapshot(nodeOf(params), link), reached: reached === true };
  },

  async wire_listener_link_status(params) {
    const listener = listenerOf(params);
    const link = await until(() => listener.links.at(-1), timeoutOf(params, 0));
    if (link === undefined) return { found: false, link_count: 0 };
    return { ...snapshot(nodeOf(params), link), found: true, link_count: listener.links.length };
  },

  wire_link_teardown(params) {
    outLinkOf(params).close();
    return { torn_down: true };
  },

  /**
   * What the reference changes in its link is changed on the medium here: as long as the interval says, no question
   * of this link leaves, and where the link is not to go stale over that, each is answered as its peer would.
   */
  wire_link_set_watchdog(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const keepalive = numberIf(params, 'keepalive_s');
    const stale = numberIf(params, 'stale_time_s');
    const { state } = link;
    const own = 'keepalive' in state ? state.keepalive / 1000 : 0;
    if (keepalive !== undefined && keepalive > own) {
      const answer = twinOf(link.id, node.wire, node.random).packet(
        contexts.keepalive,
        Uint8Array.of(keepaliveAnswer),
        { clear: true },
      );
      const isKept = stale !== undefined && stale > 2 * own;
      const cancel = node.wire.watch(raw => {
        const isAsking = isKeepaliveOf(raw, link);
        if (isAsking && isKept) {
          node.clock.after(1, () => node.wire.inject(link.iface.name, answer));
        }
        return isAsking;
      });
      node.clock.after(keepalive * 1000, cancel);
    }
    return { keepalive_s: keepalive ?? own, stale_time_s: stale ?? 2 * own };
  },

  async wire_link_mtu(params) {
    const link = await linkOf(params);
    const status = statusOf(link);
    return { mtu: link.mtu, mdu: link.mdu, mode: linkMode, status, status_name: statusNames[status] };
  },

  wire_link_identify(params) {
    const identity = new Identity(bytesOf(params, 'private_key', 64));
    outLinkOf(params).identify(identity);
    return { identified: true, identity_hash: hex(identity.hash) };
  },

  async wire_link_identify_pending(params) {
    const node = nodeOf(params);
    const hash = bytesOf(params, 'destination_hash', 16);
    const identity = new Identity(bytesOf(params, 'private_key', 64));
    const known = node.transport.recall(hash);
    if (known === undefined) throw new Error(`no announce of ${hex(hash)} was heard`);
    const before = new Set(node.links.all());
    let crashed = false;
    let link: Link | undefined;
    const left = await node.wire.during(
      () => {
        node.links.open(hash, { identity: known.identity }).catch(() => {});
        link = [...node.links.all()].find(one => !before.has(one));
        try {
          link?.identify(identity);
        } catch (error) {
          crashed = codeOf(error) !== 'mesh/link-closed';
        }
      },
      { hold: true },
    );
    if (link === undefined) throw new Error('no link was opened');
    const status = statusOf(link);
    link.close();
    return {
      crashed,
      identify_packet_sent: left.some(raw => decodePacket(raw).context === contexts.linkIdentify),
      status,
      status_name: statusNames[status],
      initiator: link.role === 'initiator',
    };
  },

  async wire_last_keepalive(params) {
    const node = nodeOf(params);
    const link = await linkOf(params);
    const last = node.wire.sent.findLast(({ raw }) => isKeepaliveOf(raw, link));
    return { payload: last === undefined ? null : hex(decodePacket(last.raw).data) };
  },
};

export function statusOf(link: Link): number {
  return ['pending', 'handshake', 'active', 'stale', 'closed'].indexOf(link.state.at);
}

export function statusName(link: Link): string {
  return statusNames[statusOf(link)]!;
}

function reasonOf({ state, role }: Link): keyof typeof reasonNames | undefined {
  if (state.at !== 'closed') return undefined;
  switch (state.reason) {
    case 'timeout':
    case 'lost':
      return 1;
    case 'here':
      return role === 'initiator' ? 2 : 3;
    case 'there':
      return role === 'initiator' ? 3 : 2;
  }
}

/** A link's life as the suite reads it. */
export function snapshot(node: Node, link: Link) {
  const { state } = link;
  const status = statusOf(link);
  const reason = reasonOf(link);
  const open = state.at === 'active' || state.at === 'stale' ? state : undefined;
  const ago = (then: number | undefined) =>
    then === undefined ? null : Math.round(node.clock.monotonic() - then);
  const asked = open && open.lastKeepalive > open.activatedAt ? open.lastKeepalive : undefined;
  const identified = link.role === 'responder' ? link.remote : undefined;
  return {
    status,
    status_name: statusNames[status],
    teardown_reason: reason ?? null,
    teardown_reason_name: reason === undefined ? null : reasonNames[reason],
    no_inbound_for_ms: ago(open?.lastInbound),
    last_keepalive_ago_ms: ago(asked),
    keepalive_s: open === undefined ? null : open.keepalive / 1000,
    stale_time_s: open === undefined ? null : (2 * open.keepalive) / 1000,
    rtt: open === undefined ? null : open.rtt / 1000,
    mtu: state.at === 'active' ? link.mtu : null,
    mdu: state.at === 'active' ? link.mdu : null,
    mode: linkMode,
    remote_identity_hash: identified === undefined ? null : hex(identified.hash),
    remote_identified: identified !== undefined,
  };
}

export function isKeepaliveOf(raw: Uint8Array, link: Link): boolean {
  try {
    const packet = decodePacket(raw);
    return packet.context === contexts.keepalive && hex(packet.destinationHash) === link.key;
  } catch {
    return false;
  }
}

export function isOf(raw: Uint8Array, link: Link, context: number): boolean {
  try {
    const packet = decodePacket(raw);
    return packet.context === context && hex(packet.destinationHash) === link.key;
  } catch {
    return false;
  }
}

export function destinationHashOf(params: Params): Uint8Array {
  return bytesOf(params, 'destination_hash', 16);
}
