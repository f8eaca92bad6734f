import { createHmac } from 'node:crypto';
import type { Random } from '../../lib/random.ts';

/**
 * Secrets and signatures of webhooks.
 *
 *     whsec_<base64 of the key>
 *     webhook-signature: v1,<base64 of HMAC-SHA256(key, "<webhook-id>.<webhook-timestamp>.<body>")> v1,…
 *
 * Source: Standard Webhooks 1.0.0, “Signature scheme”, “Webhook headers”.
 */
export interface Secret {
  /** As it is shown to its owner, once. */
  readonly text: string;
  readonly createdAt: number;
  /** ms epoch up to which it is used; undefined for the newest. */
  readonly until?: number;
}

const prefix = 'whsec_';
/** Bytes of a key: what the standard asks for, and what HMAC-SHA256 takes without hashing it first. */
const leastKey = 24;
const mostKey = 64;
const mintedKey = 32;

export function mintSecret(random: Random): string {
  return prefix + random.bytes(mintedKey).toBase64();
}

/** The key of a secret; undefined for what is none. */
export function keyOf(text: string): Uint8Array | undefined {
  if (!text.startsWith(prefix)) {
    return undefined;
  }
  try {
    const key = Uint8Array.fromBase64(text.slice(prefix.length), { lastChunkHandling: 'strict' });
    return key.length >= leastKey && key.length <= mostKey ? key : undefined;
  } catch {
    return undefined;
  }
}

/** The secrets that sign at this time. */
export function secretsAt(secrets: readonly Secret[], now: number): readonly Secret[] {
  return secrets.filter(({ until }) => until === undefined || until > now);
}

/** The headers that prove to an endpoint who calls. The id holds no full stop. */
export function signedHeaders(
  secrets: readonly Secret[],
  id: string,
  body: Uint8Array,
  now: number,
): Record<string, string> {
  const timestamp = String(Math.floor(now / 1000));
  const signatures = secretsAt(secrets, now).map(({ text }) => {
    const mac = createHmac('sha256', keyOf(text) ?? new Uint8Array());
    return `v1,${mac.update(`${id}.${timestamp}.`).update(body).digest('base64')}`;
  });
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.join(' '),
  };
}
