import type { Message } from '../gateway/message.ts';

/** A message as the documents of the API show one. */
export const exampleMessage: Message = {
  id: '00112233445566778899aabbccddeeff',
  type: 'chat.message',
  from: 'app:till',
  to: 'app:notice-board',
  sentAt: 1_790_000_000_000,
  acceptedAt: 1_790_000_000_250,
  expiresAt: 1_790_604_800_250,
  priority: 'normal',
  text: 'two teas',
  attachments: [],
  via: [],
  assurance: 'hub',
};
