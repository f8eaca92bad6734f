import type { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import type { ReceiptOutcome } from '../../../src/mesh/reticulum/receipts.ts';
import type { RequestHandlers } from '../../../src/mesh/reticulum/request.ts';
import type { Params } from '../command.ts';
import { createHandles } from '../handles.ts';
import { bytesOf, hex } from '../params.ts';
import { type Node, nodeOf } from './node.ts';
import type { IncomingRecord } from './resource-records.ts';
import { until } from './waiting.ts';

/** A destination that takes links, and what has come to it. */
export interface Listener {
  readonly destination: LocalDestination;
  readonly handlers: RequestHandlers;
  /** Data of packets over links, of packets without one, and of whole Resources; drained by the suite. */
  packets: Uint8Array[];
  opportunistic: Uint8Array[];
  resources: Uint8Array[];
  /** Those that were opened to it, the oldest first. */
  readonly links: Link[];
  readonly incoming: IncomingRecord[];
}

/** A packet that waits for its proof. */
export interface Receipt {
  /** 32 B; undefined where it went over a link. */
  hash: Uint8Array | undefined;
  outcome: ReceiptOutcome | undefined;
}

/** What the suite's commands of one node speak of. */
export interface State {
  readonly destinations: Map<string, LocalDestination>;
  readonly listeners: Map<string, Listener>;
  /** By link id: those that were opened from here. */
  readonly outLinks: Map<string, Link>;
  readonly receipts: ReturnType<typeof createHandles<Receipt>>;
  /** Whether proofs are the signature alone. */
  implicitProofs: boolean;
}

const states = new WeakMap<Node, State>();

export function stateOf(node: Node): State {
  let state = states.get(node);
  if (state === undefined) {
    state = {
      destinations: new Map(),
      listeners: new Map(),
      outLinks: new Map(),
      receipts: createHandles<Receipt>('receipt'),
      implicitProofs: !node.settings.explicitProofs,
    };
    states.set(node, state);
  }
  return state;
}

export function destinationOf(params: Params): LocalDestination {
  const hash = hex(bytesOf(params, 'destination_hash', 16));
  const destination = stateOf(nodeOf(params)).destinations.get(hash);
  if (destination === undefined) throw new Error(`no destination ${hash} is registered`);
  return destination;
}

export function listenerOf(params: Params): Listener {
  const hash = hex(bytesOf(params, 'destination_hash', 16));
  const listener = stateOf(nodeOf(params)).listeners.get(hash);
  if (listener === undefined) throw new Error(`nothing listens at ${hash}`);
  return listener;
}

/** A link that was opened from here. */
export function outLinkOf(params: Params): Link {
  const id = hex(bytesOf(params, 'link_id', 16));
  const link = stateOf(nodeOf(params)).outLinks.get(id);
  if (link === undefined) throw new Error(`no link ${id} was opened here`);
  return link;
}

/** A link that was opened from here or to a listener here, which may hear of it a little later. */
export async function linkOf(params: Params): Promise<Link> {
  const id = hex(bytesOf(params, 'link_id', 16));
  const { outLinks, listeners } = stateOf(nodeOf(params));
  const find = () =>
    outLinks.get(id) ?? [...listeners.values()].flatMap(({ links }) => links).find(({ key }) => key === id);
  const link = await until(find, 3000);
  if (link === undefined) throw new Error(`no link ${id}`);
  return link;
}

/** The listener that a link was opened to. */
export function listenerOfLink(params: Params, link: Link): Listener {
  const { listeners } = stateOf(nodeOf(params));
  const listener = [...listeners.values()].find(({ links }) => links.includes(link));
  if (listener === undefined) throw new Error('the link was not opened to a listener here');
  return listener;
}
