import { exampleMessage } from '../message-example.ts';
import type { clientFrames } from './frames.ts';

type Examples = readonly [unknown, ...unknown[]];

/** Frames of clients as the document shows them. */
export const clientExamples: Readonly<Record<keyof typeof clientFrames, Examples>> = {
  hello: [{ op: 'hello' }, { op: 'hello', token: 'kos_…', after: 'e5c1f-16', form: 'json' }],
  subscribe: [
    { op: 'subscribe', id: 'in', filter: { kinds: ['message.accepted'], rooms: ['hub'] } },
    { op: 'subscribe', id: 'all' },
  ],
  unsubscribe: [{ op: 'unsubscribe', id: 'in' }],
  send: [
    { op: 'send', id: 'order-18', message: { to: 'app:notice-board', text: 'two teas' } },
    { op: 'send', id: 'order-19', envelope: { to: 'app:notice-board', payload: { text: 'two more' } } },
  ],
  seen: [{ op: 'seen', cursor: 'e5c1f-16' }],
};

const delivery = {
  id: 'ffeeddccbbaa99887766554433221100',
  to: 'app:notice-board',
  bridge: 'app',
  state: 'queued',
  attempts: 0,
  history: [{ state: 'queued', at: exampleMessage.acceptedAt }],
} as const;

/** Frames of the hub. */
export const hubExamples = {
  hello: [
    { op: 'hello', hub: '00112233445566778899aabbccddeeff', cursor: 'e5c1f-15', client: 'app:notice-board' },
  ],
  subscribed: [
    { op: 'subscribed', id: 'in', cursor: 'e5c1f-15' },
    { op: 'subscribed', id: 'in', cursor: 'e5c1f-17', replaced: true },
  ],
  unsubscribed: [{ op: 'unsubscribed', id: 'in', cursor: 'e5c1f-17' }],
  ack: [{ op: 'ack', id: 'order-18', message: { ...exampleMessage, deliveries: [delivery] } }],
  event: [
    {
      op: 'event',
      cursor: 'e5c1f-16',
      at: exampleMessage.acceptedAt,
      kind: 'message.accepted',
      message: exampleMessage,
    },
    {
      op: 'event',
      cursor: 'e5c1f-17',
      at: 1_790_000_002_000,
      kind: 'delivery.changed',
      delivery: { ...delivery, message: exampleMessage.id, state: 'sent' },
    },
  ],
  error: [
    {
      op: 'error',
      id: 'order-20',
      problem: {
        type: 'urn:kos:problem:request/not-found',
        title: 'Not found',
        status: 404,
        detail: 'there is no app:nobody',
        code: 'request/not-found',
      },
    },
  ],
} as const satisfies Readonly<Record<string, Examples>>;
