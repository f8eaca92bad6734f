import type { Client, Scope } from '../../gateway/desk.ts';
import { matches, overlap, reachesLiterals, type Topic, type Topics } from './topics.ts';

/** Who is on a connection: the holder of a token, or nobody known. */
export interface Who {
  readonly client: Client | undefined;
}

/** What a device says of itself, and so only the device may publish. */
const ownLeaves = new Set(['state', 'avail', 'hist', 'ack', 'info']);

/** Whether the client has the scope; `admin` has all. */
export function hasScope(who: Who, ...scopes: readonly Scope[]): boolean {
  const held = who.client?.scopes ?? [];
  return held.includes('admin') || scopes.some(scope => held.includes(scope));
}

/** Whether a topic is a device's own word. */
export function isOwnLeaf(leaf: string): boolean {
  return ownLeaves.has(leaf) || /^ev\/./.test(leaf);
}

/**
 * Why the topic may not be published by this client, in words, or undefined if it may. `isClient` tells
 * whether a name belongs to a token's holder: nobody without that token speaks for it.
 */
export function publishRefusal(
  who: Who,
  topic: Topic,
  retain: boolean,
  isClient: (name: string) => boolean,
): string | undefined {
  switch (topic.kind) {
    case 'tx':
      return hasScope(who, 'messages:send') ? undefined : 'needs the scope messages:send';
    case 'device': {
      const own = who.client === undefined ? !isClient(topic.device) : who.client.name === topic.device;
      if (own && isOwnLeaf(topic.leaf)) {
        return undefined;
      }
      if (!hasScope(who, 'admin')) {
        return own
          ? 'a device publishes state, avail, hist, ack, info and ev/…'
          : 'the topic of another device';
      }
      return retain && !isOwnLeaf(topic.leaf) ? 'a command is not retained' : undefined;
    }
    case 'literal':
      return hasScope(who, 'admin') ? undefined : 'outside the tree; only an admin publishes there';
    case 'rx':
    case 'status':
    case 'announce':
    case 'err':
    case 'hub':
      return 'only the hub publishes there';
    case 'unknown':
      return 'no such topic';
  }
}

/** What a client may hear from the broker: everything here is written by others and meant for all. */
function openFilters(who: Who, topics: Topics): string[] {
  if (who.client === undefined) {
    return [];
  }
  const { root } = topics;
  const own = topics.device(who.client.name, 'set/#');
  const filters = [topics.state, topics.info, `${root}/link/+`, own, topics.device(who.client.name, 'get')];
  if (hasScope(who, 'admin')) {
    return [...filters, `${root}/dev/#`];
  }
  return [...filters, ...[...ownLeaves, 'ev/#'].map(leaf => `${root}/dev/+/${leaf}`)];
}

/** What the hub says to this client alone. */
function privateFilters(who: Who, topics: Topics): string[] {
  const filters = who.client === undefined ? [] : [topics.err];
  if (hasScope(who, 'messages:read')) {
    filters.push(`${topics.root}/mesh/+/rx`);
  }
  if (hasScope(who, 'messages:read', 'messages:send')) {
    filters.push(`${topics.root}/mesh/status/+`);
  }
  if (hasScope(who, 'peers:read')) {
    filters.push(topics.announce);
  }
  return filters;
}

/** Whether the client may hear a topic that others publish. What the hub says to one client never passes here. */
export function mayHear(who: Who, topics: Topics, topic: string): boolean {
  if (topics.parse(topic).kind === 'literal') {
    return hasScope(who, 'messages:read');
  }
  return openFilters(who, topics).some(filter => matches(filter, topic));
}

/** Whether a subscription can bring the client anything; what it brings is checked again message by message. */
export function maySubscribe(who: Who, topics: Topics, filter: string): boolean {
  if (filter.startsWith('$')) {
    return false;
  }
  if (reachesLiterals(filter) && hasScope(who, 'messages:read')) {
    return true;
  }
  return [...openFilters(who, topics), ...privateFilters(who, topics)].some(open => overlap(open, filter));
}
