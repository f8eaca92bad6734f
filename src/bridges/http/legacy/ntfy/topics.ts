import type { Client, Desk } from '../../../../gateway/desk.ts';
import type { Address, Message } from '../../../../gateway/message.ts';
import { GatewayError, isGatewayError } from '../../../../lib/errors.ts';
import type { HttpConfig } from '../../config.ts';
import { refusal } from './refusal.ts';

/** Source: ntfy, server/server.go `topicRegex`: what its clients take for one. */
const topicShape = /^[-_A-Za-z0-9]{1,64}$/;

/** A topic, and whom it stands for. */
export interface Topic {
  readonly name: string;
  readonly address: Address;
}

export type Topics = NonNullable<HttpConfig['ntfy']>['topics'];

/** The topic of a path: whom the configuration names, or the room of its name. Throws ntfy's 40009. */
export function topicOf(name: string, topics: Topics): Topic {
  if (!topicShape.test(name)) {
    throw refusal(40009);
  }
  const address = Object.hasOwn(topics, name) ? (topics[name] as Address) : `room:${roomOf(name)}`;
  return { name, address };
}

/** Names of rooms have neither capitals nor underscores. */
function roomOf(name: string): string {
  return name
    .toLowerCase()
    .replaceAll('_', '-')
    .replace(/^-+(?=.)/, '');
}

/** Several, with commas between them: one for each whom they stand for, however often and under what names it is there. */
export function topicsOf(names: string, topics: Topics): readonly Topic[] {
  const all = names.split(',').filter(one => one !== '');
  if (all.length === 0) {
    throw refusal(40009);
  }
  const found = new Map<Address, Topic>();
  for (const name of all) {
    const topic = topicOf(name, topics);
    found.getOrInsert(topic.address, topic);
  }
  return [...found.values()];
}

/**
 * Throws `request/forbidden` unless the client may read the topic: a room it is in, what is sent to itself, or anything
 * for an admin. A room that is not there is the same to it, so that nobody learns what there is.
 */
export function requireReadable(desk: Desk, client: Client, { name, address }: Topic): void {
  const isAdmin = client.scopes.includes('admin');
  if (!address.startsWith('room:')) {
    if (isAdmin || address === `app:${client.name}`) {
      return;
    }
    throw new GatewayError('request/forbidden', `forbidden: the topic ${name} is not yours to read`);
  }
  try {
    desk.rooms.get(client, address.slice('room:'.length));
  } catch (error) {
    throw isGatewayError(error, 'request/not-found')
      ? new GatewayError('request/forbidden', `forbidden: you are in no room ${name.toLowerCase()}`, {
          cause: error,
        })
      : error;
  }
}

/** The topic a message was said in, if any of these. */
export function topicFor(topics: readonly Topic[], message: Pick<Message, 'to'>): Topic | undefined {
  return topics.find(({ address }) => address === message.to);
}
