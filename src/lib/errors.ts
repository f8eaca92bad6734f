/** Every way a thing can go wrong here. A code is the metric label, the log key and the problem type at the edges. */
export const errorCodes = [
  'wire/truncated',
  'wire/malformed',
  'wire/unsupported',
  'crypto/bad-signature',
  'crypto/undecryptable',
  'mesh/no-path',
  'mesh/link-closed',
  'mesh/too-large',
  'mesh/timeout',
  'mesh/rejected',
  'radio/offline',
  'radio/device',
  'bridge/rejected',
  'bridge/unavailable',
  'store/full',
  'store/unavailable',
  'airtime/exhausted',
  'config/invalid',
  'replica/offline-miss',
  'replica/conflict',
  'replica/rejected',
  'request/invalid',
  'request/unauthenticated',
  'request/forbidden',
  'request/not-found',
  'request/method-not-allowed',
  'request/conflict',
  'request/precondition-failed',
  'request/idempotency-mismatch',
  'request/too-large',
  'request/unsupported',
  'request/rate-limited',
  'request/cursor-expired',
  'internal',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** One mistake in something given from outside: a JSON pointer (RFC 6901) to it and what is wrong. */
export interface FieldError {
  readonly pointer: string;
  readonly detail: string;
}

export interface GatewayErrorOptions {
  /** Trying the same again later may work. */
  readonly retryable?: boolean;
  /** Facts for logs and callers: never payloads, never keys. */
  readonly detail?: Readonly<Record<string, unknown>>;
  readonly errors?: readonly FieldError[];
  readonly cause?: unknown;
}

/** The only error this program throws on purpose; anything else that reaches a supervisor is a bug. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly detail: Readonly<Record<string, unknown>>;
  readonly errors: readonly FieldError[];

  constructor(code: ErrorCode, message: string, options: GatewayErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.detail = options.detail ?? {};
    this.errors = options.errors ?? [];
  }
}

/** Whether `error` is one of ours, and of one of `codes` where any are given. */
export function isGatewayError(error: unknown, ...codes: ErrorCode[]): error is GatewayError {
  return error instanceof GatewayError && (codes.length === 0 || codes.includes(error.code));
}

/** The code of any thrown thing: `internal` where it is not one of ours. */
export function codeOf(error: unknown): ErrorCode {
  return error instanceof GatewayError ? error.code : 'internal';
}
