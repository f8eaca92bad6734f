import { type ErrorCode, GatewayError, isGatewayError } from '../../../../lib/errors.ts';
import { problemHeaders, problemOf } from '../../../problems.ts';
import type { Answer } from '../../route.ts';

/** What ntfy says by a number of its own: the first three digits are the HTTP status. */
export type Refusal = keyof typeof words;

const words = {
  40001: 'e-mail notifications are not enabled',
  40004: 'invalid delay parameter: unable to parse delay',
  40007: 'invalid priority parameter',
  40008: 'invalid since parameter',
  40009: 'invalid request: topic invalid',
  40011: 'invalid request: message must be UTF-8 encoded',
  40013: 'invalid request: attachment URL is invalid',
  40016: 'invalid request: client not using the websocket protocol',
  40017: 'invalid request: request body must be message JSON',
  40018: 'invalid request: actions invalid',
  40021: 'invalid request: icon URL is invalid',
  40032: 'invalid request: calling is disabled',
  40043: 'invalid request: could not parse template',
} as const;

/** A refusal in the words of ntfy, with ours behind them where there is more to say. */
export function refusal(code: Refusal, more?: string): GatewayError {
  return new GatewayError('request/invalid', more === undefined ? words[code] : `${words[code]}: ${more}`, {
    detail: { ntfy: code },
  });
}

const numbers: Partial<Record<ErrorCode, number>> = {
  'request/unauthenticated': 40101,
  'request/forbidden': 40301,
  'request/not-found': 40401,
  'request/too-large': 41301,
  'mesh/too-large': 41301,
  'request/rate-limited': 42901,
};

/** An error as ntfy's clients read it. What is no refusal of ours is thrown again. */
export function refusalAnswer(error: unknown): Answer {
  if (!isGatewayError(error)) {
    throw error;
  }
  const { status, detail } = problemOf(error);
  // ntfy knows neither of them; its clients know 400.
  const http = status === 415 || status === 422 ? 400 : status;
  const code = Number(error.detail.ntfy) || (numbers[error.code] ?? http * 100);
  const mistakes = error.errors.map(one => `${one.pointer.slice(1)}: ${one.detail}`);
  const said = mistakes.length > 0 ? `invalid request: ${mistakes.join('; ')}` : detail;
  return {
    status: http,
    headers: { ...problemHeaders(error), 'content-type': 'application/json' },
    body: `${JSON.stringify({ code, http, error: said })}\n`,
  };
}
