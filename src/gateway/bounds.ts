import { GatewayError } from '../lib/errors.ts';
import type { Bridge, Incoming } from './bridge.ts';
import type { Limits } from './limits.ts';
import { isTime, type Message } from './message.ts';

/** Characters of a name, a type, a title, an id: what nobody needs longer. */
const longestWord = 1024;

/** Why a bridge cannot carry the message, if it cannot. */
export function excess(
  message: Pick<Message, 'text' | 'attachments'>,
  bridge: Bridge | undefined,
): { pointer: string; reason: string } | undefined {
  if (bridge === undefined) {
    return undefined;
  }
  const { textBytes, attachmentBytes } = bridge.carries;
  if (Buffer.byteLength(message.text) > textBytes) {
    return { pointer: '/text', reason: `${bridge.name} carries ${textBytes} bytes of text at most` };
  }
  const bytes = message.attachments.reduce((sum, { size }) => sum + size, 0);
  return bytes > attachmentBytes
    ? {
        pointer: '/attachments',
        reason: `${bridge.name} carries ${attachmentBytes} bytes of attachments at most`,
      }
    : undefined;
}

/** Throws `request/invalid` or `request/too-large` for what no message may be. */
export function checkBounds(incoming: Incoming, limits: Limits): void {
  if (Buffer.byteLength(incoming.text) > limits.textBytes) {
    throw refusal('request/too-large', '/text', `${limits.textBytes} bytes at most`);
  }
  for (const part of ['data', 'native'] as const) {
    const value = incoming[part];
    if (value !== undefined && Buffer.byteLength(JSON.stringify(value)) > limits.dataBytes) {
      throw refusal('request/too-large', `/${part}`, `${limits.dataBytes} bytes at most`);
    }
  }
  if ((incoming.author?.name.length ?? 0) > longestWord) {
    throw refusal('request/too-large', '/author', `${longestWord} characters at most`);
  }
  if ((incoming.attachments?.length ?? 0) > limits.attachments) {
    throw refusal('request/too-large', '/attachments', `${limits.attachments} at most`);
  }
  for (const word of [
    'remoteId',
    'from',
    'to',
    'type',
    'title',
    'thread',
    'correlation',
    'inReplyTo',
  ] as const) {
    if ((incoming[word]?.length ?? 0) > longestWord) {
      throw refusal('request/too-large', `/${word}`, `${longestWord} characters at most`);
    }
  }
  for (const time of ['sentAt', 'expiresAt'] as const) {
    if (!isTime(incoming[time] ?? 0)) {
      throw refusal('request/invalid', `/${time}`, 'milliseconds since 1970, a whole number');
    }
  }
  if (!/^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/.test(incoming.type)) {
    throw refusal('request/invalid', '/type', 'lower-case words with dots between them');
  }
}

/** A refusal of one member of what was given. */
export function refusal(
  code: 'request/invalid' | 'request/conflict' | 'request/not-found' | 'request/too-large',
  pointer: string,
  detail: string,
): GatewayError {
  return new GatewayError(code, `${pointer.slice(1)}: ${detail}`, { errors: [{ pointer, detail }] });
}
