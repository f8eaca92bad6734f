import { GatewayError } from '../../lib/errors.ts';

/** Why there is no answer. */
export type OriginFailure =
  | 'refused'
  | 'dns'
  | 'blocked'
  | 'connect'
  | 'tls'
  | 'headers'
  | 'idle'
  | 'reset'
  | 'malformed'
  | 'captive'
  | 'busy'
  | 'aborted';

/** An answer that did not come, or stopped. */
export function failed(cause: OriginFailure, message: string, sent: boolean, error?: unknown): GatewayError {
  return new GatewayError('bridge/unavailable', `the service: ${message}`, {
    retryable: true,
    detail: { cause, sent },
    ...(error !== undefined && { cause: error }),
  });
}

/** Why there was no answer, of an error of `send` or of a body. */
export function failureOf(error: unknown): OriginFailure {
  const cause = error instanceof GatewayError ? error.detail.cause : undefined;
  return typeof cause === 'string' ? (cause as OriginFailure) : 'reset';
}

/** Whether a failure says that nobody is there, so that one is enough. */
export function isGrave(cause: OriginFailure): boolean {
  return ['refused', 'dns', 'blocked', 'connect', 'tls', 'captive'].includes(cause);
}

/** What an error of Node's client means. */
export function explain(error: NodeJS.ErrnoException, connected: boolean): [OriginFailure, string] {
  if (error instanceof GatewayError) {
    return [failureOf(error), error.message.replace(/^the service: /, '')];
  }
  const code = error.code ?? '';
  if (
    code === 'ECONNREFUSED' ||
    code === 'EHOSTUNREACH' ||
    code === 'ENETUNREACH' ||
    code === 'EADDRNOTAVAIL'
  ) {
    return ['refused', `nobody answers there (${code})`];
  }
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN' || code === 'EAI_FAIL' || code === 'ENODATA') {
    return ['dns', `its name cannot be looked up (${code})`];
  }
  if (code === 'ETIMEDOUT' && !connected) {
    return ['connect', 'no connection'];
  }
  if (/^(?:ERR_TLS|ERR_SSL|CERT_|DEPTH_|UNABLE_|SELF_SIGNED|ERR_OSSL|EPROTO|INVALID_|HOSTNAME_)/.test(code)) {
    return ['tls', `its certificate or TLS is not good (${code})`];
  }
  if (code.startsWith('HPE_')) {
    return ['malformed', `what it says is not HTTP (${code})`];
  }
  return connected
    ? ['reset', `the connection broke (${code || error.message})`]
    : ['refused', `no connection (${code})`];
}
