import { codeOf, isGatewayError } from '../../../src/lib/errors.ts';
import { Channel } from '../../../src/mesh/reticulum/channel.ts';
import type { MessageType } from '../../../src/mesh/reticulum/channel-message.ts';
import { channelTimeout } from '../../../src/mesh/reticulum/channel-sender.ts';
import { rttSlow } from '../../../src/mesh/reticulum/channel-window.ts';
import { encodeEnvelope, systemMessageTypes } from '../../../src/mesh/reticulum/channel-wire.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import { decodePacketProof } from '../../../src/mesh/reticulum/link-wire.ts';
import { contexts, decodePacket, packetHash } from '../../../src/mesh/reticulum/packet.ts';
import type { Commands, Params } from '../command.ts';
import {
  bytesIf,
  bytesOf,
  flagOf,
  hex,
  integerIf,
  integerOf,
  listOf,
  numberOf,
  textOf,
  textsOf,
} from '../params.ts';
import { benchOf } from './bench.ts';
import { inject } from './link-injectors.ts';
import { isOf, statusOf } from './links.ts';
import { type Node, nodeOf } from './node.ts';
import { pacedChannel } from './paced-channel.ts';
import { listenerOf, outLinkOf, stateOf } from './state.ts';
import { sleep, timeoutOf, until } from './waiting.ts';

/** What the suite says over a channel. */
export const suiteMessages: MessageType<Uint8Array> = {
  type: 0x0101,
  encode: bytes => bytes,
  decode: bytes => new Uint8Array(bytes),
};
/** The reference's numbers for what is wrong with a message. */
const errors = { noType: 0, invalidType: 1, linkNotReady: 3, tooBig: 5 } as const;
const chainType = 0x0707;

/** A link's channel, and what it delivered. */
interface Talk {
  readonly channel: Channel;
  received: Uint8Array[];
}

const talks = new WeakMap<Link, Talk>();
const paced = new WeakMap<Link, Channel>();
const unsigned = { sign: () => new Uint8Array(64), verify: () => false };

export const commands: Commands = {
  wire_channel_inject(params) {
    const { channel } = talkOf(outLinkOf(params));
    const injected = listOf(params, 'envelopes').map(one => {
      const envelope = one as Params;
      const sequence = integerIf(envelope, 'sequence') ?? -1;
      const raw =
        bytesIf(envelope, 'raw') ??
        encodeEnvelope({
          type: integerIf(envelope, 'msgtype') ?? suiteMessages.type,
          sequence,
          data: bytesIf(envelope, 'data') ?? new Uint8Array(0),
        });
      try {
        channel.receive(raw);
      } catch (error) {
        if (!(isGatewayError(error) && error.code.startsWith('wire/'))) throw error;
      }
      return sequence;
    });
    return { injected };
  },

  wire_channel_received(params) {
    const node = nodeOf(params);
    const id = hex(bytesOf(params, 'link_id', 16));
    const { outLinks, listeners } = stateOf(node);
    const inbound = [...listeners.values()].flatMap(({ links }) => links);
    const link = outLinks.get(id) ?? inbound.find(({ key }) => key === id);
    const talk = link && talks.get(link);
    if (talk === undefined) return { messages: [] };
    const messages = talk.received.map(hex);
    talk.received = [];
    return { messages };
  },

  wire_channel_window(params) {
    const link = outLinkOf(params);
    const { channel } = talkOf(link);
    return { ...stateOfChannel(channel), outlet_mdu: link.mdu };
  },

  async wire_channel_send(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const { channel } = talkOf(link);
    const type = integerIf(params, 'msgtype');
    if (type !== undefined && type >= systemMessageTypes) {
      return { ...refusal(() => channel.register({ ...suiteMessages, type })), sent: false };
    }
    const deadline = timeoutOf(params, 20_000);
    const data = bytesIf(params, 'data') ?? new Uint8Array(0);
    if (flagOf(params, 'fail_outlet', false)) return failed(node, link, data);
    await Promise.race([channel.ready().catch(() => {}), sleep(deadline)]);
    const sequence = channel.status.nextSequence;
    const deaf = flagOf(params, 'drop_acks', false)
      ? node.wire.deafen(raw => isProofOf(raw, link))
      : undefined;
    const result = await deliver(node, link, channel, data, deadline);
    deaf?.();
    const { nextSequence, window, largestWindow } = channel.status;
    return {
      ...result,
      ...(result.rejected ? {} : { sequence }),
      next_sequence: nextSequence,
      window,
      window_max: largestWindow,
      link_status: statusOf(link),
    };
  },

  wire_channel_register(params) {
    const kind = textOf(params, 'kind');
    const { channel } = talkOf(outLinkOf(params));
    if (kind === 'envelope_pack_no_msgtype') {
      const { rejected, error } = refusal(() =>
        encodeEnvelope({ type: Number.NaN, sequence: 0, data: new Uint8Array(0) }),
      );
      return { accepted: !rejected, error, ce_type: rejected ? errors.noType : null };
    }
    const kinds: Readonly<Record<string, object>> = {
      valid: { ...suiteMessages, type: 0x0505 },
      non_message_base: { type: 0x0303 },
      msgtype_none: { ...suiteMessages, type: undefined },
      reserved: { ...suiteMessages, type: 0xf001 },
      not_constructible: { type: 0x0404, encode: suiteMessages.encode },
    };
    const wanted = kinds[kind];
    if (wanted === undefined) throw new Error(`no such message type: ${kind}`);
    const { rejected, error } = refusal(() => channel.register(wanted as MessageType<Uint8Array>));
    return { accepted: !rejected, error, ce_type: rejected ? errors.invalidType : null };
  },

  wire_channel_envelope_pack(params) {
    const sequence = integerOf(params, 'sequence');
    const data = bytesIf(params, 'data') ?? new Uint8Array(0);
    return { raw: hex(encodeEnvelope({ type: integerOf(params, 'msgtype'), sequence, data })), sequence };
  },

  wire_channel_profile(params) {
    const rtt = numberOf(params, 'rtt');
    const bench = benchOf(nodeOf(params), outLinkOf(params), { rtt: rtt * 1000 });
    const { window, smallestWindow, largestWindow, flexibility } = new Channel(bench, unsigned).status;
    return {
      rtt,
      window,
      window_min: smallestWindow,
      window_max: largestWindow,
      window_flexibility: flexibility,
      rtt_slow: rttSlow / 1000,
    };
  },

  wire_channel_timeout_formula(params) {
    const rtt = numberOf(params, 'rtt');
    const tries = integerOf(params, 'tries');
    const depth = integerIf(params, 'ring_depth') ?? 0;
    return { timeout: channelTimeout(tries, depth, rtt * 1000) / 1000, rtt, tries, ring_depth: depth };
  },

  wire_channel_handler_chain(params) {
    const channel = new Channel(benchOf(nodeOf(params), outLinkOf(params)), unsigned);
    channel.register({ ...suiteMessages, type: chainType });
    const log: number[] = [];
    for (const [index, behaviour] of textsOf(params, 'handlers').entries()) {
      channel.add({
        take() {
          log.push(index);
          if (behaviour === 'raise') throw new Error('this taker fails');
          return behaviour === 'true';
        },
      });
    }
    channel.receive(encodeEnvelope({ type: chainType, sequence: 0, data: Uint8Array.of(1) }));
    const { nextReceived, takers } = channel.status;
    return { log, next_rx_sequence: nextReceived, handler_count: takers };
  },

  /** The proof of a delivered message comes again, and one of a message that never was. */
  async wire_channel_spurious_proof(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const { channel } = talkOf(link);
    const since = node.wire.lastSeq;
    const { delivered } = await deliver(
      node,
      link,
      channel,
      node.random.bytes(13),
      timeoutOf(params, 12_000),
    );
    const before = channel.status;
    const proof = node.wire.received.findLast(({ seq, raw }) => seq > since && isProofOf(raw, link))?.raw;
    if (proof === undefined) throw new Error('no proof came');
    const found: string[] = [];
    const again = (raw: Uint8Array) => {
      try {
        inject(node, link, raw);
      } catch (error) {
        found.push(String(error));
      }
      return channel.status.window;
    };
    const afterDuplicate = again(proof);
    const unknown = proof.slice();
    unknown.set(node.random.bytes(32), unknown.length - 96);
    again(unknown);
    const { window, outstanding } = channel.status;
    return {
      delivered,
      window_before: before.window,
      window_after_duplicate: afterDuplicate,
      window_final: window,
      tx_ring_before: before.outstanding.length,
      tx_ring_final: outstanding.length,
      link_status: statusOf(link),
      link_closed: link.state.at === 'closed',
      errors: found,
    };
  },

  async wire_channel_emit_capture(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const { channel } = talkOf(link);
    const left: Uint8Array[] = [];
    const cancel = node.wire.watch(raw => {
      if (isOf(raw, link, contexts.channel)) left.push(raw);
      return false;
    });
    const data = bytesIf(params, 'data') ?? new Uint8Array(0);
    const { delivered } = await deliver(node, link, channel, data, timeoutOf(params, 15_000));
    cancel();
    const raw = left.at(-1);
    return {
      context: raw === undefined ? null : decodePacket(raw).context,
      packet_type: raw === undefined ? null : raw[0]! & 0x03,
      packet_hash: raw === undefined ? null : hex(packetHash(raw)),
      delivered,
      channel_context: contexts.channel,
      data_context: contexts.none,
    };
  },

  /** The contexts of the packets over a listener's links that were proven, by what passed the tap. */
  wire_listener_proof_log(params) {
    const { wire } = nodeOf(params);
    const { links } = listenerOf(params);
    const proven = wire.sent.flatMap(({ raw }) => {
      const link = links.find(one => isProofOf(raw, one));
      return link === undefined ? [] : [hex(decodePacketProof(decodePacket(raw).data).packetHash)];
    });
    const byHash = new Map(wire.received.map(({ raw }) => [hex(packetHash(raw)), raw]));
    const found = proven.flatMap(hash => {
      const raw = byHash.get(hash);
      return raw === undefined ? [] : [decodePacket(raw).context];
    });
    return {
      contexts: found,
      channel_proofs: found.filter(context => context === contexts.channel).length,
      channel_context: contexts.channel,
    };
  },

  async wire_listener_channel_rx(params) {
    const listener = listenerOf(params);
    const link = await until(() => listener.links[0], 4000);
    if (link === undefined) throw new Error('no link was opened to the listener');
    const { nextReceived, nextSequence, held } = link.channel.status;
    return { next_rx_sequence: nextReceived, next_sequence: nextSequence, rx_ring: held };
  },

  /** From now on the link's channel reckons with this round trip. */
  wire_link_set_rtt(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const rtt = numberOf(params, 'rtt');
    const previous = link.rtt / 1000;
    const channel = pacedChannel(node, link, rtt * 1000);
    paced.set(link, channel);
    talks.delete(link);
    return { rtt: channel.rtt / 1000, previous };
  },
};

/** A link's channel, opened and listened to. */
export function talkOf(link: Link): Talk {
  const known = talks.get(link);
  if (known !== undefined) return known;
  const channel = paced.get(link) ?? link.channel;
  const talk: Talk = { channel, received: [] };
  channel.on(suiteMessages, message => talk.received.push(message));
  talks.set(link, talk);
  return talk;
}

export function isProofOf(raw: Uint8Array, link: Link): boolean {
  return (raw[0]! & 0x03) === 3 && isOf(raw, link, contexts.none);
}

function stateOfChannel(channel: Channel) {
  const { status } = channel;
  return {
    window: status.window,
    window_min: status.smallestWindow,
    window_max: status.largestWindow,
    window_flexibility: status.flexibility,
    next_rx_sequence: status.nextReceived,
    next_sequence: status.nextSequence,
    rx_ring: status.held,
    tx_ring: status.outstanding.length,
    tx_tries: Math.max(0, ...status.outstanding.map(({ tries }) => tries)),
    tx_envelopes: status.outstanding,
    mdu: channel.mdu,
    message_handlers: status.takers,
    medium_rate_rounds: status.mediumRounds,
    fast_rate_rounds: status.fastRounds,
  };
}

/** Sends a message and waits until it is delivered, the link is closed, or so many ms. */
async function deliver(node: Node, link: Link, channel: Channel, data: Uint8Array, timeout: number) {
  let tries = 0;
  const cancel = node.wire.watch(raw => {
    if (isOf(raw, link, contexts.channel)) tries += 1;
    return false;
  });
  let refused: unknown;
  let delivered = false;
  channel.send(suiteMessages, data).then(
    () => {
      delivered = true;
    },
    error => {
      refused = error;
    },
  );
  await until(() => delivered || refused !== undefined || link.state.at === 'closed', timeout);
  cancel();
  const code = refused === undefined ? undefined : codeOf(refused);
  const rejected = tries === 0 && (code === 'mesh/too-large' || code === 'mesh/link-closed');
  return {
    sent: !rejected,
    rejected,
    delivered,
    tries,
    ...(rejected
      ? {
          error: String((refused as Error).message),
          ce_type: code === 'mesh/too-large' ? errors.tooBig : errors.linkNotReady,
        }
      : {}),
  };
}

/** A message for a channel whose link takes none now. */
async function failed(node: Node, link: Link, data: Uint8Array) {
  const channel = new Channel({ ...benchOf(node, link), usable: false }, unsigned);
  let refused: unknown;
  await channel.send(suiteMessages, data).catch(error => {
    refused = error;
  });
  const rejected = isGatewayError(refused, 'mesh/link-closed');
  return {
    sent: !rejected,
    rejected,
    delivered: false,
    error: refused === undefined ? null : String((refused as Error).message),
    ce_type: rejected ? errors.linkNotReady : null,
    next_sequence: channel.status.nextSequence,
  };
}

function refusal(act: () => unknown): { rejected: boolean; error: string | null } {
  try {
    act();
    return { rejected: false, error: null };
  } catch (error) {
    if (codeOf(error) !== 'config/invalid') throw error;
    return { rejected: true, error: String((error as Error).message) };
  }
}
