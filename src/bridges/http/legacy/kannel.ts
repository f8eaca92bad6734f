import type { FastifyRequest } from 'fastify';
import type { Priority } from '../../../gateway/message.ts';
import { type ErrorCode, GatewayError, isGatewayError } from '../../../lib/errors.ts';
import { problemHeaders } from '../../problems.ts';
import type { Answer, Route } from '../route.ts';
import { fieldRoutes, fieldsOf } from './fields.ts';
import { sendToAll } from './recipients.ts';
import { type LegacyParts, senderOf } from './send.ts';

/**
 * `/cgi-bin/sendsms`, the interface that programs for SMS gateways speak: `username`, `password` (a token of the hub),
 * `to` (numbers or addresses, with spaces, commas or semicolons between them) and `text`; answers `0: Accepted for delivery`.
 * Source: the user guide of Kannel 1.5, "Using the HTTP interface to send SMS messages".
 */
export function kannelRoutes(parts: LegacyParts): Route[] {
  async function handle(request: FastifyRequest): Promise<Answer> {
    try {
      await send(request);
      parts.counters.add('legacy/kannel/accepted');
      return plain(202, '0: Accepted for delivery');
    } catch (error) {
      if (!isGatewayError(error)) {
        throw error;
      }
      parts.counters.add(`http/refused/${error.code}`);
      const [status, words] = refusals[error.code] ?? [503, 'Temporal failure, try again later.'];
      const answer = plain(status, `${words} ${status === 403 ? '' : error.message}`.trim());
      const retryAfter = problemHeaders(error)['retry-after'];
      return retryAfter === undefined
        ? answer
        : { ...answer, headers: { ...answer.headers, 'retry-after': retryAfter } };
    }
  }

  async function send(request: FastifyRequest): Promise<void> {
    const fields = await fieldsOf(request);
    const field = (...names: readonly string[]) => {
      const value = names.map(name => fields[name]).find(one => one !== undefined);
      return typeof value === 'string' ? value : undefined;
    };
    const { clock, ...rest } = parts;
    const client = senderOf(rest, request, field('password', 'pass') ?? '');
    refuseBinary(field('coding'), field('charset'), field('udh'));
    const text = field('text') ?? '';
    const numbers = (field('to') ?? '').split(/[\s,;]+/).filter(one => one !== '');
    if (text === '') {
      throw new GatewayError('request/invalid', 'text: there is none');
    }
    const minutes = Number(field('validity') ?? '');
    const priority = priorities[field('priority') ?? ''];
    await sendToAll(rest, client, request, {
      numbers,
      draft: {
        text,
        ...(priority !== undefined && { priority }),
        ...(minutes > 0 && minutes <= longestValidity && { expiresAt: clock.now() + minutes * 60_000 }),
      },
    });
  }

  return fieldRoutes('/cgi-bin/sendsms', 'Send as through an SMS gateway', handle);
}

/** Minutes: a year. */
const longestValidity = 366 * 24 * 60;

/** From 0, the lowest. */
const priorities: Readonly<Record<string, Priority>> = { 0: 'normal', 1: 'normal', 2: 'high', 3: 'critical' };

/** What is no text would be something else at the other end. Coding 0 is text, 1 is bytes, 2 is UCS-2 unless the charset says otherwise. */
function refuseBinary(coding = '', charset = '', udh = ''): void {
  const isUtf8 = /^utf-?8$/i.test(charset);
  if (!isUtf8 && (charset !== '' || coding === '2')) {
    throw new GatewayError('request/invalid', 'charset: only UTF-8');
  }
  if (!/^[02]?$/.test(coding) || udh !== '') {
    throw new GatewayError('request/invalid', 'only text: neither coding=1 nor udh');
  }
}

const refusals: Partial<Record<ErrorCode, readonly [number, string]>> = {
  'request/unauthenticated': [403, 'Authorization failed for sendsms'],
  'request/forbidden': [403, 'Authorization failed for sendsms'],
  'request/rate-limited': [403, 'Authorization failed for sendsms'],
  'request/invalid': [400, 'Bad request:'],
  'request/unsupported': [400, 'Bad request:'],
  'request/not-found': [400, 'Bad request:'],
  'request/too-large': [400, 'Bad request:'],
};

function plain(status: number, text: string): Answer {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: `${text}\n` };
}
