import type { Message } from '../../gateway/message.ts';

/**
 * When the message was sent, in s, moved by a part of a millisecond that its delivery decides: two
 * equal texts of the same millisecond would otherwise be one message to their receiver. Rounding gives
 * the millisecond back.
 */
export function timestampOf(message: Message, deliveryId: string): number {
  const fraction = Number.parseInt(deliveryId.slice(-8), 16) / 2 ** 32;
  return (message.sentAt + (Number.isFinite(fraction) ? fraction : 0) * 0.45) / 1000;
}

/**
 * When a message expires by our clock. The sender's may be hours off ours: how long it gave the message is what it
 * meant, and what was proven to it must be seen by somebody here.
 */
export function expiryHere(
  sentAt: number | undefined,
  expiresAt: number | undefined,
  now: number,
): { readonly expiresAt?: number } {
  const lifetime = sentAt === undefined || expiresAt === undefined ? 0 : expiresAt - sentAt;
  return lifetime > 0 ? { expiresAt: now + lifetime } : {};
}
