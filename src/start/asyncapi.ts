import { z } from 'zod';
import { type AsyncChannel, asyncapiDocument } from '../bridges/asyncapi.ts';
import { exampleMessage } from '../bridges/message-example.ts';
import { mqttChannels } from '../bridges/mqtt/channels.ts';
import { eventSchema } from '../bridges/schema.ts';
import { wsChannel } from '../bridges/ws/channel.ts';

/** The AsyncAPI document of all that the hub says and hears without being asked one by one. */
export function asyncapi(version: string): Record<string, unknown> {
  return asyncapiDocument([wsChannel(), ...mqttChannels(), webhooks], version);
}

const webhooks: AsyncChannel = {
  id: 'webhooks',
  address: null,
  about:
    'What is posted to the URLs of webhooks (POST /v1/webhooks), signed as Standard Webhooks has it: webhook-id, webhook-timestamp, webhook-signature.',
  messages: [
    {
      name: 'webhook.event',
      summary: 'something happened; type is the kind of the event',
      from: 'hub',
      schema: z.looseObject({
        type: z.string(),
        timestamp: z.string().describe('ISO 8601'),
        data: z.union([eventSchema, z.record(z.string(), z.unknown())]),
      }),
      examples: [
        {
          type: 'message.accepted',
          timestamp: '2026-09-21T14:13:20.250Z',
          data: {
            cursor: 'e5c1f-16',
            at: 1_790_000_000_250,
            kind: 'message.accepted',
            message: exampleMessage,
          },
        },
      ],
    },
  ],
};
