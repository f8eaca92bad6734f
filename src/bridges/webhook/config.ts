import { isIP } from 'node:net';
import { z } from 'zod';

const cidr = z
  .string()
  .max(64)
  .refine(
    text => networkOf(text) !== undefined,
    'an address or a network, such as 192.168.1.0/24 or fd00::/8',
  );

/** `bridges.webhook` of the configuration. */
export const webhookConfigSchema = z.strictObject({
  allowPrivate: z
    .array(cidr)
    .max(64)
    .default([])
    .describe('networks that are not of the public internet and may be called, over http as well'),
  caFile: z
    .string()
    .min(1)
    .optional()
    .describe('PEM file of authorities that are believed beside those of the system'),
  disableAfter: z
    .int()
    .min(1)
    .max(30)
    .default(5)
    .describe('days without a success after which an endpoint is not tried any more'),
});

export type WebhookConfig = z.output<typeof webhookConfigSchema>;

/** Address and prefix length of a network; a bare address is a network of one. */
export function networkOf(
  text: string,
): { readonly address: string; readonly bits: number; readonly family: 'ipv4' | 'ipv6' } | undefined {
  const [address = '', length, more] = text.split('/');
  const family = isIP(address);
  const most = family === 4 ? 32 : 128;
  const bits = length === undefined ? most : /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN;
  if (family === 0 || more !== undefined || address.includes('%') || !(bits <= most)) {
    return undefined;
  }
  return { address, bits, family: family === 4 ? 'ipv4' : 'ipv6' };
}

/** Every bound of webhooks; docs/limits.md has the reasons. ms and bytes. */
export const webhookLimits = {
  perClient: 16,
  perHub: 128,
  /** From the beginning of an attempt to the head of the answer. */
  timeout: 15_000,
  /** For looking a name up. */
  lookup: 5000,
  /** Head of an answer, and what of its body is let through so that the connection can be used again. */
  headBytes: 16 * 1024,
  drainBytes: 64 * 1024,
  /** Attempts at once: in all, of endpoints that failed or were slow, of one client. */
  slots: 32,
  doubtful: 8,
  perClientSlots: 4,
  /** An answer later than this makes an endpoint a doubtful one. */
  slow: 5000,
  /** The first wait between attempts, and the longest. */
  firstRetry: 2000,
  longestRetry: 10 * 60_000,
  /** How long an endpoint may ask to be left alone for. */
  longestRetryAfter: 24 * 60 * 60_000,
  /** Attempts that are remembered. */
  attempts: 20,
  /** Events read at once. */
  batch: 32,
  /** How long a secret is used beside its successor where nobody says, and how many are. */
  grace: 24 * 60 * 60_000,
  secrets: 3,
  /** Between two writes of where it stands while there was nothing to send. */
  idleWrite: 10_000,
  /** In vain for so long is said in the health of the hub. */
  notable: 60 * 60_000,
};

export type WebhookLimits = Readonly<typeof webhookLimits>;
