import type { FastifyRequest } from 'fastify';
import type { Client, MessageDraft, MessageView } from '../../../gateway/desk.ts';
import type { Address } from '../../../gateway/message.ts';
import { GatewayError } from '../../../lib/errors.ts';
import { addressSchema } from '../../schema.ts';
import type { LegacyParts } from './send.ts';

/** Recipients of one request. */
export const mostRecipients = 20;

/** What a program for SMS gateways asks to be sent, and to whom. */
export interface Order {
  /** Numbers of the table, or addresses. */
  readonly numbers: readonly string[];
  /** Without `to`. */
  readonly draft: Omit<MessageDraft, 'to'>;
  /** The client's own id of it. */
  readonly key?: string | undefined;
  /** What a repeat under the key is known by, where the draft depends on when it was made. */
  readonly asked?: object;
}

/**
 * Sends one text to several, all of them or none: one commit, and each counts as a send (the first was counted with the
 * request). Throws `request/invalid` where nobody has a number, and as `Messages.postAll` does.
 */
export async function sendToAll(
  { desk, rates, config }: Pick<LegacyParts, 'desk' | 'rates' | 'config'>,
  client: Client,
  { ip }: FastifyRequest,
  { numbers, draft, key, asked }: Order,
) {
  if (numbers.length === 0 || numbers.length > mostRecipients) {
    throw new GatewayError('request/invalid', `1 to ${mostRecipients} recipients`);
  }
  const known = config.sms?.numbers ?? {};
  const addresses = numbers.map(one => {
    const address = addressFor(known, one);
    if (address === undefined) {
      throw new GatewayError('request/invalid', `to: nobody has the number ${one.slice(0, 32)}`);
    }
    return address;
  });
  for (const _ of addresses.slice(1)) {
    rates.charge(client, ip, ['sends']);
  }
  return desk.messages.postAll(
    client,
    addresses.map(to => ({ ...draft, to })),
    key,
    asked,
  );
}

type Numbers = Readonly<Record<string, Address>>;

function addressFor(numbers: Numbers, text: string): Address | undefined {
  const found = [text, `+${text}`, text.replace(/^00/, '+')].find(one => Object.hasOwn(numbers, one));
  const address = found === undefined ? text : numbers[found];
  return addressSchema.safeParse(address).success ? address : undefined;
}

/** The number a message went to: the first of the table that stands for its recipient, or the address. */
export function numberOf(numbers: Numbers, { to }: Pick<MessageView, 'to'>): string {
  return Object.entries(numbers).find(([, address]) => address === to)?.[0] ?? to;
}

/** How far a text got, in the words that gateways have for it. */
export type SmsState = 'Pending' | 'Processed' | 'Sent' | 'Delivered' | 'Failed' | 'Cancelled';

const states: Readonly<Record<MessageView['deliveries'][number]['state'], SmsState>> = {
  queued: 'Pending',
  sending: 'Processed',
  sent: 'Sent',
  delivered: 'Delivered',
  read: 'Delivered',
  failed: 'Failed',
  expired: 'Failed',
  ambiguous: 'Failed',
  cancelled: 'Cancelled',
};

/** How far one message got; what nobody gets is only kept. */
export function stateOf({ deliveries }: Pick<MessageView, 'deliveries'>): SmsState {
  return deliveries.length === 0 ? 'Processed' : together(deliveries.map(({ state }) => states[state]));
}

/** How far several got: as far as the slowest, and failed where all did. */
export function together(all: readonly SmsState[]): SmsState {
  const open = (['Pending', 'Processed', 'Sent', 'Delivered'] as const).find(state => all.includes(state));
  return open ?? (all.includes('Failed') ? 'Failed' : 'Cancelled');
}

/** Why it failed, where it did. */
export function failureOf({ deliveries }: Pick<MessageView, 'deliveries'>): string | undefined {
  return deliveries.find(({ state }) => states[state] === 'Failed')?.reason;
}
