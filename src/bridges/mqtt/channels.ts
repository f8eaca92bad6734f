import { z } from 'zod';
import { deliveryStates } from '../../gateway/desk.ts';
import type { AsyncChannel } from '../asyncapi.ts';
import { exampleMessage } from '../message-example.ts';
import { messageDraftSchema, messageSchema, timeSchema } from '../schema.ts';

const hub = { hub: "the first 8 hex digits of the hub's identity hash" };
const peer = { ...hub, destination: 'an LXMF destination, 32 hex digits' };
const device = { ...hub, dev: 'the name of a device' };

/** The topics that mean something, for the AsyncAPI document. */
export function mqttChannels(): AsyncChannel[] {
  const root = 'kos/v1/{hub}';
  const { to: _, ...draft } = messageDraftSchema.shape;
  return [
    {
      id: 'mqttState',
      address: `${root}/state`,
      server: 'mqtt',
      about: 'Whether the hub is there; retained.',
      parameters: hub,
      messages: [
        {
          name: 'mqtt.state',
          summary: 'a hub that was killed says nothing: boot goes up',
          from: 'hub',
          schema: z.looseObject({ online: z.boolean(), boot: z.int(), ts: timeSchema }),
          examples: [{ online: true, boot: 12, ts: 1_790_000_000_000 }],
        },
      ],
    },
    {
      id: 'mqttTx',
      address: `${root}/mesh/{destination}/tx`,
      server: 'mqtt',
      about:
        'A message to an LXMF destination; needs messages:send. A payload that does not begin with { is its text.',
      parameters: peer,
      messages: [
        {
          name: 'mqtt.tx',
          summary: 'the body of POST /v1/messages without to',
          from: 'client',
          schema: z.strictObject(draft),
          examples: [{ text: 'the kettle is on', priority: 'high', correlation: 'tea-7' }],
        },
      ],
    },
    {
      id: 'mqttRx',
      address: `${root}/mesh/{destination}/rx`,
      server: 'mqtt',
      about: "The client's own inbox, what came from that destination; needs messages:read.",
      parameters: peer,
      messages: [
        {
          name: 'mqtt.rx',
          summary: 'a message',
          from: 'hub',
          schema: messageSchema,
          examples: [
            { ...exampleMessage, from: 'lxmf:0123456789abcdef0123456789abcdef', assurance: 'signed' },
          ],
        },
      ],
    },
    {
      id: 'mqttStatus',
      address: `${root}/mesh/status/{id}`,
      server: 'mqtt',
      about: 'How far a message of the client is, with every change of a delivery.',
      parameters: { ...hub, id: 'that of the message' },
      messages: [
        {
          name: 'mqtt.status',
          summary: 'a delivery has changed',
          from: 'hub',
          schema: z.looseObject({
            id: z.string(),
            correlation: z.string().exactOptional(),
            to: z.string(),
            state: z.enum(deliveryStates),
            reason: z.string().exactOptional(),
            at: timeSchema,
          }),
          examples: [
            {
              id: exampleMessage.id,
              correlation: 'tea-7',
              to: 'lxmf:0123456789abcdef0123456789abcdef',
              state: 'delivered',
              at: 1_790_000_002_000,
            },
          ],
        },
      ],
    },
    {
      id: 'mqttAnnounce',
      address: `${root}/mesh/announce`,
      server: 'mqtt',
      about: 'Peers that are heard; needs peers:read.',
      parameters: hub,
      messages: [
        {
          name: 'mqtt.announce',
          summary: 'a peer was heard',
          from: 'hub',
          schema: z.looseObject({
            destination: z.string(),
            name: z.string().exactOptional(),
            hops: z.int().exactOptional(),
            at: timeSchema,
          }),
          examples: [
            { destination: '0123456789abcdef0123456789abcdef', name: 'Ada', hops: 2, at: 1_790_000_000_000 },
          ],
        },
      ],
    },
    {
      id: 'mqttDeviceState',
      address: `${root}/dev/{dev}/state`,
      server: 'mqtt',
      about: 'A reading of a device, retained; becomes a message sensor.reading to room:sensors.',
      parameters: device,
      messages: [
        {
          name: 'mqtt.reading',
          summary: 'an object of values, or one value',
          from: 'client',
          schema: z.union([z.record(z.string(), z.unknown()), z.string(), z.number(), z.boolean()]),
          examples: [{ temperature: 21.5, humidity: 40 }, 21.5],
        },
      ],
    },
    {
      id: 'mqttDeviceSet',
      address: `${root}/dev/{dev}/set`,
      server: 'mqtt',
      about: 'What was sent to mqtt:dev/{dev}.',
      parameters: device,
      messages: [
        {
          name: 'mqtt.set',
          summary: 'a message',
          from: 'hub',
          schema: messageSchema,
          examples: [
            { ...exampleMessage, to: 'mqtt:dev/lamp', type: 'device.set', text: '', data: { on: true } },
          ],
        },
      ],
    },
    {
      id: 'mqttError',
      address: `${root}/err`,
      server: 'mqtt',
      about: 'A publish of the client was refused; its connection stays.',
      parameters: hub,
      messages: [
        {
          name: 'mqtt.error',
          summary: 'what was wrong with it',
          from: 'hub',
          schema: z.looseObject({ code: z.string(), topic: z.string(), ts: timeSchema, detail: z.string() }),
          examples: [
            {
              code: 'request/forbidden',
              topic: 'kos/v1/6b3f0a91/mesh/0123456789abcdef0123456789abcdef/tx',
              ts: 1_790_000_000_000,
              detail: 'needs the scope messages:send',
            },
          ],
        },
      ],
    },
  ];
}
