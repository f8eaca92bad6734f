import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import type { LinkEvents } from '../../../src/mesh/reticulum/link-session.ts';
import { RequestHandlers } from '../../../src/mesh/reticulum/request.ts';
import type { OfferDecision, ResourceOffer } from '../../../src/mesh/reticulum/resource-offer.ts';
import type { Commands } from '../command.ts';
import { flagOf, hex, listOf, textIf, textOf, textsOf } from '../params.ts';
import { readStreams } from './buffers.ts';
import { type Node, nodeOf } from './node.ts';
import { announcedRatchets } from './ratchets.ts';
import type { IncomingRecord } from './resource-records.ts';
import { listenerDecompressed } from './resources.ts';
import { destinationOf, type Listener, listenerOf, stateOf } from './state.ts';
import { timeoutOf, until } from './waiting.ts';

/** Bytes of the largest Resource that a listener with the strategy `app` accepts. */
const appAcceptMost = 4096;
/** Code points of the reference's API for what a destination proves. */
export const strategies = { none: 33, app: 34, all: 35 } as const;
/** What a packet begins with that a destination of the strategy `app` proves. */
const provable = 0x01;

export const commands: Commands = {
  async wire_listen(params) {
    const node = nodeOf(params);
    const resourceStrategy = textIf(params, 'resource_strategy') || 'all';
    const ratchets = flagOf(params, 'enable_ratchets', false);
    const open = flagOf(params, 'open_channel', true);
    const streamIds = listOf(params, 'buffer_stream_ids').map(Number);
    const state = stateOf(node);
    const destination: LocalDestination = new LocalDestination({
      identity: generateIdentity(node.random),
      appName: textOf(params, 'app_name'),
      aspects: textsOf(params, 'aspects'),
      proofStrategy: strategyOf(textIf(params, 'proof_strategy') || 'none'),
      explicitProofs: !state.implicitProofs,
      ratchets,
      onPacket: ({ data, prove }) => {
        listener.opportunistic.push(new Uint8Array(data));
        if (data[0] === provable) prove();
      },
    });
    const listener: Listener = {
      destination,
      handlers: new RequestHandlers(),
      packets: [],
      opportunistic: [],
      resources: [],
      links: [],
      incoming: [],
    };
    node.transport.register(destination);
    node.links.accept(destination, {
      handlers: listener.handlers,
      onLink: link => {
        listener.links.push(link);
        if (open) readStreams(link, streamIds);
        return eventsOf(node, listener, resourceStrategy);
      },
    });
    state.destinations.set(destination.key, destination);
    state.listeners.set(destination.key, listener);
    await node.transport.announce(destination);
    return {
      destination_hash: destination.key,
      identity_hash: hex(destination.identity!.hash),
      public_key: hex(destination.identity!.publicKey),
      resource_strategy: resourceStrategy,
      ...(ratchets ? announcedRatchets(node, destination) : {}),
    };
  },

  wire_set_proof_strategy(params) {
    const strategy = strategyOf(textOf(params, 'strategy').toLowerCase());
    const destination = destinationOf(params);
    destination.proofStrategy = strategy;
    return { strategy, proof_strategy: strategies[destination.proofStrategy] };
  },

  wire_set_proof_implicit(params) {
    const state = stateOf(nodeOf(params));
    state.implicitProofs = flagOf(params, 'enabled', true);
    for (const destination of state.destinations.values()) {
      destination.explicitProofs = !state.implicitProofs;
    }
    return { implicit_proof: state.implicitProofs };
  },

  async wire_link_poll(params) {
    const listener = listenerOf(params);
    await until(() => listener.packets.length > 0, timeoutOf(params, 5000));
    const packets = listener.packets.map(hex);
    listener.packets = [];
    return { packets };
  },

  async wire_opportunistic_poll(params) {
    const listener = listenerOf(params);
    await until(() => listener.opportunistic.length > 0, timeoutOf(params, 5000));
    const packets = listener.opportunistic.map(hex);
    listener.opportunistic = [];
    return { packets };
  },

  async wire_resource_poll(params) {
    const listener = listenerOf(params);
    await until(() => listener.resources.length > 0, timeoutOf(params, 30_000));
    const resources = listener.resources.map(hex);
    listener.resources = [];
    return { resources };
  },
};

/** What a listener hears of a link to it. */
function eventsOf(node: Node, listener: Listener, resourceStrategy: string): LinkEvents {
  return {
    onPacket({ data, prove }) {
      listener.packets.push(new Uint8Array(data));
      if (listener.destination.proofStrategy === 'app' && data[0] === provable) prove();
    },
    onResourceOffer: offer => decide(node, listener, resourceStrategy, offer),
  };
}

function decide(node: Node, listener: Listener, strategy: string, offer: ResourceOffer): OfferDecision {
  if (strategy === 'none') return 'ignore';
  if (strategy === 'app' && offer.size > appAcceptMost) return 'reject';
  const record: IncomingRecord = {
    offer,
    progress: 0,
    since: node.wire.lastSeq,
    data: undefined,
    metadata: undefined,
    failed: undefined,
  };
  listener.incoming.push(record);
  return {
    maxDecompressed: listenerDecompressed,
    onProgress: progress => {
      record.progress = progress;
    },
    onFailed: error => {
      record.failed = error;
    },
    onResource: resource => {
      record.data = resource.data;
      record.metadata = resource.metadata;
      listener.resources.push(resource.data);
      resource.prove();
    },
  };
}

function strategyOf(text: string): keyof typeof strategies {
  if (text !== 'none' && text !== 'app' && text !== 'all') throw new Error(`no proof strategy: ${text}`);
  return text;
}
