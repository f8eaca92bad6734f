import type { z } from 'zod';
import { type Json, jsonSchema } from './json-schema.ts';

/** One kind of message that goes over a channel. */
export interface AsyncMessage {
  readonly name: string;
  readonly summary: string;
  /** Who sends it. */
  readonly from: 'hub' | 'client';
  readonly schema: z.ZodType;
  /** What it looks like: at least one. */
  readonly examples: readonly [unknown, ...unknown[]];
  /** Where it is not JSON. */
  readonly contentType?: string;
}

/** A place where messages go without being asked for one by one. */
export interface AsyncChannel {
  readonly id: string;
  /** Null where each client says its own. */
  readonly address: string | null;
  readonly server?: keyof typeof servers;
  readonly about: string;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly messages: readonly AsyncMessage[];
}

const servers = {
  http: { host: 'localhost:8080', protocol: 'ws', description: 'listen.http' },
  mqtt: { host: 'localhost:1883', protocol: 'mqtt', protocolVersion: '3.1.1', description: 'listen.mqtt' },
} as const;

/**
 * The AsyncAPI 3.0 document: what OpenAPI has no place for. `send` is what the hub sends.
 * Source: AsyncAPI specification 3.0.0.
 */
export function asyncapiDocument(channels: readonly AsyncChannel[], version: string): Json {
  const schemas: Json = {};
  const messages: Json = {};
  const operations: Json = {};
  const places: Json = {};
  for (const channel of channels) {
    const names = channel.messages.map(message => {
      messages[message.name] = {
        name: message.name,
        summary: message.summary,
        contentType: message.contentType ?? 'application/json',
        payload: jsonSchema(message.schema, message.from === 'hub' ? 'output' : 'input', schemas),
        examples: message.examples.map(payload => ({ payload })),
      };
      return message.name;
    });
    places[channel.id] = {
      address: channel.address,
      description: channel.about,
      ...(channel.server !== undefined && { servers: [{ $ref: `#/servers/${channel.server}` }] }),
      messages: Object.fromEntries(names.map(name => [name, { $ref: `#/components/messages/${name}` }])),
      ...(channel.parameters && {
        parameters: Object.fromEntries(
          Object.entries(channel.parameters).map(([name, description]) => [name, { description }]),
        ),
      }),
    };
    for (const [from, action] of [
      ['hub', 'send'],
      ['client', 'receive'],
    ] as const) {
      const said = channel.messages.filter(message => message.from === from);
      if (said.length > 0) {
        operations[`${action}${channel.id.charAt(0).toUpperCase()}${channel.id.slice(1)}`] = {
          action,
          channel: { $ref: `#/channels/${channel.id}` },
          messages: said.map(({ name }) => ({ $ref: `#/channels/${channel.id}/messages/${name}` })),
        };
      }
    }
  }
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'kOS gateway, as it happens',
      version,
      description: 'WebSocket, MQTT and webhooks; REST is in the OpenAPI document beside it.',
      license: { name: 'MIT' },
    },
    defaultContentType: 'application/json',
    servers,
    channels: places,
    operations,
    components: {
      messages,
      schemas: Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1))),
    },
  };
}
