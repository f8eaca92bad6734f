import type { FastifyRequest } from 'fastify';
import { type ErrorCode, GatewayError, isGatewayError } from '../../../lib/errors.ts';
import { addressSchema } from '../../schema.ts';
import type { Answer, Route } from '../route.ts';
import { fieldRoutes, fieldsOf } from './fields.ts';
import { type LegacyParts, senderOf } from './send.ts';

/** Recipients of one request. */
const mostRecipients = 20;

/**
 * `/cgi-bin/sendsms`, the interface that programs for SMS gateways speak: `username`, `password` (a token of the hub),
 * `to` (numbers or addresses, with spaces, commas or semicolons between them) and `text`; answers `0: Accepted for delivery`.
 * Source: the user guide of Kannel 1.5, "Using the HTTP interface to send SMS messages".
 */
export function smsRoutes(parts: () => LegacyParts): Route[] {
  async function handle(request: FastifyRequest): Promise<Answer> {
    try {
      await send(request);
      return plain(202, '0: Accepted for delivery');
    } catch (error) {
      if (!isGatewayError(error)) {
        throw error;
      }
      const [status, words] = refusals[error.code] ?? [503, 'Temporal failure, try again later.'];
      const retryAfter = Number(error.detail.retryAfter);
      const answer = plain(status, `${words} ${status === 403 ? '' : error.message}`.trim());
      return Number.isFinite(retryAfter)
        ? { ...answer, headers: { ...answer.headers, 'retry-after': String(Math.ceil(retryAfter)) } }
        : answer;
    }
  }

  async function send(request: FastifyRequest): Promise<void> {
    const { desk, access, rates, config } = parts();
    const fields = await fieldsOf(request);
    const field = (...names: readonly string[]) => {
      const value = names.map(name => fields[name]).find(one => one !== undefined);
      return typeof value === 'string' ? value : undefined;
    };
    const client = senderOf({ access, rates }, request, field('password', 'pass') ?? '');
    if (!/^(?:|utf-?8)$/i.test(field('charset') ?? '')) {
      throw new GatewayError('request/invalid', 'charset: only UTF-8');
    }
    const text = field('text') ?? '';
    const to = (field('to') ?? '').split(/[\s,;]+/).filter(one => one !== '');
    if (text === '' || to.length === 0 || to.length > mostRecipients) {
      throw new GatewayError('request/invalid', `text, and 1 to ${mostRecipients} recipients in to`);
    }
    const numbers = config.sms?.numbers ?? {};
    const addresses = to.map(one => {
      const known = numbers[one] ?? numbers[`+${one}`] ?? one;
      if (!addressSchema.safeParse(known).success) {
        throw new GatewayError('request/invalid', `to: nobody has the number ${one.slice(0, 32)}`);
      }
      return known;
    });
    for (const _ of addresses.slice(1)) {
      rates.charge(client, request.ip, ['sends']);
    }
    for (const address of addresses) {
      await desk.messages.post(client, { to: address, text });
    }
  }

  return fieldRoutes('/cgi-bin/sendsms', 'Send as through an SMS gateway', handle);
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
