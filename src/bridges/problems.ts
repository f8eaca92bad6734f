import { z } from 'zod';
import { codeOf, type ErrorCode, GatewayError } from '../lib/errors.ts';
import { negotiate } from './negotiate.ts';

interface Kind {
  readonly status: number;
  readonly title: string;
  /** Seconds a client should wait where nobody knows better. */
  readonly retryAfter?: number;
}

/** What each code is towards HTTP. A new code does not compile until it has a line here. */
const kinds: Readonly<Record<ErrorCode, Kind>> = {
  'wire/truncated': { status: 400, title: 'Bytes are missing' },
  'wire/malformed': { status: 400, title: 'Bytes that mean nothing' },
  'wire/unsupported': { status: 422, title: 'A form this gateway does not know' },
  'crypto/bad-signature': { status: 422, title: 'The signature does not verify' },
  'crypto/undecryptable': { status: 422, title: 'Cannot be decrypted' },
  'mesh/no-path': { status: 503, title: 'No path to the destination yet', retryAfter: 15 },
  'mesh/link-closed': { status: 503, title: 'The link closed', retryAfter: 5 },
  'mesh/too-large': { status: 413, title: 'Too large for the mesh' },
  'mesh/timeout': { status: 504, title: 'The mesh did not answer in time' },
  'mesh/rejected': { status: 502, title: 'The peer refused it' },
  'radio/offline': { status: 503, title: 'The interface is offline', retryAfter: 15 },
  'radio/device': { status: 503, title: 'The radio does not work', retryAfter: 60 },
  'bridge/rejected': { status: 502, title: 'The far side refused it' },
  'bridge/unavailable': { status: 503, title: 'Not available now', retryAfter: 5 },
  'store/full': { status: 507, title: 'The store is full', retryAfter: 60 },
  'store/unavailable': { status: 503, title: 'The store is not available', retryAfter: 5 },
  'airtime/exhausted': { status: 503, title: 'The airtime budget is used up', retryAfter: 60 },
  'config/invalid': { status: 422, title: 'The configuration has mistakes' },
  'replica/offline-miss': { status: 504, title: 'Offline, and never seen before' },
  'replica/conflict': { status: 409, title: 'Changed on both sides' },
  'replica/rejected': { status: 502, title: 'The cloud refused it' },
  'request/invalid': { status: 400, title: 'The request has mistakes' },
  'request/unauthenticated': { status: 401, title: 'A valid token is needed' },
  'request/forbidden': { status: 403, title: 'Not allowed' },
  'request/not-found': { status: 404, title: 'Not found' },
  'request/method-not-allowed': { status: 405, title: 'Not a method of this path' },
  'request/conflict': { status: 409, title: 'In conflict with what is there' },
  'request/precondition-failed': { status: 412, title: 'Changed since it was read' },
  'request/idempotency-mismatch': { status: 422, title: 'Another body under the same Idempotency-Key' },
  'request/too-large': { status: 413, title: 'Too large' },
  'request/unsupported': { status: 415, title: 'Not a media type for this' },
  'request/rate-limited': { status: 429, title: 'Too many', retryAfter: 30 },
  'request/cursor-expired': { status: 410, title: 'The cursor lies before what is kept' },
  internal: { status: 500, title: 'A fault of the gateway' },
};

/** An error as clients see it. Source: RFC 9457. */
export const problemSchema = z
  .looseObject({
    type: z.string().describe('urn:kos:problem:<code>'),
    title: z.string(),
    status: z.int().describe('the HTTP status'),
    detail: z.string(),
    code: z.string(),
    reason: z
      .enum(['unknown', 'expired', 'revoked'])
      .exactOptional()
      .describe('what is the matter with a token'),
    errors: z
      .array(z.looseObject({ pointer: z.string().describe('JSON pointer (RFC 6901)'), detail: z.string() }))
      .exactOptional()
      .describe('every mistake of the request'),
  })
  .meta({ id: 'Problem' });

export type Problem = z.output<typeof problemSchema>;

/**
 * The problem of a thrown thing. What is not a GatewayError is our fault: it says so and nothing else, never
 * a stack or a path. `status` overrides where HTTP tells more apart than the codes do (416).
 */
export function problemOf(error: unknown, status?: number): Problem {
  const code = codeOf(error);
  const kind = kinds[code];
  const known = error instanceof GatewayError && code !== 'internal' ? error : undefined;
  return {
    type: `urn:kos:problem:${code}`,
    title: kind.title,
    status: status ?? kind.status,
    detail: known?.message ?? 'the gateway failed here; its log says more',
    code,
    ...(code === 'request/unauthenticated' &&
      typeof known?.detail.reason === 'string' && {
        reason: known.detail.reason as 'unknown' | 'expired' | 'revoked',
      }),
    ...(known && known.errors.length > 0 && { errors: known.errors.map(error => ({ ...error })) }),
  };
}

/** A whole answer that tells an error, as JSON or, to whoever prefers that, as a line of text. */
export function problemAnswer(
  accept: string | undefined,
  error: unknown,
  status?: number,
): { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string } {
  const problem = problemOf(error, status);
  const form = negotiate(accept, ['application/problem+json', 'application/json', 'text/plain']);
  return form === 'text/plain'
    ? {
        status: problem.status,
        headers: { ...problemHeaders(error), 'content-type': 'text/plain; charset=utf-8' },
        body: `${problem.code}: ${problem.detail.replaceAll(/\s+/g, ' ')}\n`,
      }
    : {
        status: problem.status,
        headers: { ...problemHeaders(error), 'content-type': 'application/problem+json; charset=utf-8' },
        body: JSON.stringify(problem),
      };
}

/** Headers that go with the problem: when to come again, how to authenticate, what is allowed. */
export function problemHeaders(error: unknown): Record<string, string> {
  const code = codeOf(error);
  const detail = error instanceof GatewayError ? error.detail : {};
  const headers: Record<string, string> = {};
  const wait = typeof detail.retryAfter === 'number' ? detail.retryAfter : kinds[code].retryAfter;
  if (wait !== undefined) {
    headers['retry-after'] = String(Math.max(1, Math.ceil(wait)));
  }
  if (code === 'request/unauthenticated') {
    headers['www-authenticate'] =
      detail.token === undefined
        ? 'Bearer realm="kos"'
        : `Bearer realm="kos", error="invalid_token", error_description="${detail.token}"`;
  }
  if (code === 'request/forbidden' && typeof detail.scope === 'string') {
    headers['www-authenticate'] = `Bearer realm="kos", error="insufficient_scope", scope="${detail.scope}"`;
  }
  if (Array.isArray(detail.allow)) {
    headers.allow = detail.allow.join(', ');
  }
  return headers;
}
