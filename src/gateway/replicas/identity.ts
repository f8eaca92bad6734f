import { createHmac } from 'node:crypto';
import type { ReplicaDefinition } from './definition.ts';
import { type Fields, joined } from './fields.ts';

/** Who asks, as far as a replica tells people apart. Nothing of a credential is in it but hashes under the hub's key. */
export interface Asker {
  /** Hash of the credentials: their own partition where no claim says whose they are. */
  readonly hash: string;
  /** The partition a claim in the credentials speaks of, once the service has taken them. */
  readonly claimed?: string;
  /** Whether there are credentials at all. */
  readonly credentials: boolean;
}

/** Finds out who asks. `key` is the hub's, 32 bytes. */
export function createAskers(definition: ReplicaDefinition, key: Uint8Array): (headers: Fields) => Asker {
  const { partition, subject } = definition.identity;
  // A claim is read from the token, so that this is always one of what tells people apart where there are claims.
  const names = [
    ...new Set([
      ...partition.map(name => name.toLowerCase()),
      ...(subject === undefined ? [] : ['authorization']),
    ]),
  ];
  const hash = (...parts: readonly string[]) =>
    createHmac('sha256', key)
      .update(JSON.stringify([definition.id, ...parts]))
      .digest('hex')
      .slice(0, 32);
  const nobody: Asker = { hash: hash('anonymous'), credentials: false };
  /** The last ones, so that a page of requests is hashed once. */
  const recent = new Map<string, Asker>();

  return headers => {
    const values = names.map(name => joined(headers, name)?.trim() ?? '');
    if (values.every(value => value === '')) {
      return nobody;
    }
    const seen = JSON.stringify(values);
    const known = recent.get(seen);
    if (known !== undefined) {
      return known;
    }
    // Of several lines nobody knows which one the service believes: they speak for nobody.
    const claim =
      subject === undefined ? undefined : claimOf(joined(headers, 'authorization'), subject.jwtClaim);
    // What else tells people apart stays in it: the service may have taken that, and not looked at the token.
    const beside = names
      .map((name, at) => `${name}: ${values[at]}`)
      .filter((_, at) => names[at] !== 'authorization' && values[at] !== '');
    const asker: Asker = {
      hash: hash('credentials', ...values),
      credentials: true,
      ...(claim !== undefined && { claimed: hash('subject', claim, ...beside) }),
    };
    if (recent.size >= mostRecent) {
      recent.clear();
    }
    recent.set(seen, asker);
    return asker;
  };
}

const mostRecent = 256;

/**
 * Issuer and claim of a JWT, unverified: it only says whose the token claims to be.
 *
 * Source: RFC 7519 §3, §4.1.1.
 */
function claimOf(authorization: string | undefined, claim: string): string | undefined {
  const payload = /^Bearer\s+[\w-]+\.([\w-]+)\.[\w-]*$/i.exec(authorization ?? '')?.[1];
  if (payload === undefined || payload.length > 16_384) {
    return undefined;
  }
  try {
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Record<string, unknown>;
    const value = claims[claim];
    return typeof value === 'string' || typeof value === 'number'
      ? JSON.stringify([String(claims.iss ?? ''), value])
      : undefined;
  } catch {
    return undefined;
  }
}
