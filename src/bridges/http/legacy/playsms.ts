import type { FastifyRequest } from 'fastify';
import type { MessageView } from '../../../gateway/desk.ts';
import { type ErrorCode, GatewayError, isGatewayError } from '../../../lib/errors.ts';
import { problemHeaders, problemOf } from '../../problems.ts';
import type { Answer, Route } from '../route.ts';
import { fieldRoutes, fieldsOf } from './fields.ts';
import { numberOf, type SmsState, sendToAll, stateOf } from './recipients.ts';
import { type LegacyParts, senderOf } from './send.ts';

/**
 * `/index.php?app=ws`, the web services of playSMS: `u`, `h` (a token of the hub) and `op`, which is `pv` to send `msg` to
 * the numbers in `to`, or `ds` to ask how far what was sent under `queue` or `smslog_id` got. As JSON only.
 * Source: playSMS, documents/development/WEBSERVICES.md.
 */
export function playsmsRoutes(parts: LegacyParts): Route[] {
  async function perform(request: FastifyRequest): Promise<unknown> {
    const { desk, config, clock, ...rest } = parts;
    const fields = await fieldsOf(request);
    const field = (name: string) => (typeof fields[name] === 'string' ? fields[name] : '');
    const client = senderOf(rest, request, field('h'));
    if (field('app') !== 'ws' || !/^(?:|json)$/i.test(field('format'))) {
      throw new GatewayError('request/unsupported', 'only app=ws, and answers as JSON');
    }
    if (field('schedule') !== '') {
      throw new GatewayError('request/unsupported', 'schedule: what is sent goes at once');
    }
    switch (field('op')) {
      case 'pv': {
        const numbers = field('to')
          .split(/[\s,]+/)
          .filter(one => one !== '');
        const text = field('msg') + (field('footer') === '' ? '' : ` ${field('footer')}`);
        if (text.trim() === '' || numbers.length === 0) {
          throw new GatewayError('request/invalid', 'to and msg must not be empty', {
            detail: { playsms: 201 },
          });
        }
        const sent = await sendToAll({ desk, config, ...rest }, client, request, {
          numbers,
          draft: { text },
        });
        rest.counters.add('legacy/playsms/accepted');
        return {
          data: sent.messages.map(({ id }, index) => ({
            status: 'OK',
            error: '0',
            smslog_id: id,
            queue: sent.key,
            to: numbers[index],
          })),
          error_string: null,
          timestamp: Math.floor(clock.now() / 1000),
        };
      }
      case 'ds': {
        const found =
          field('queue') === ''
            ? [desk.messages.get(client, field('smslog_id'))]
            : desk.messages.postedAs(client, field('queue'));
        if (found.length === 0) {
          throw new GatewayError('request/not-found', 'nothing was sent under this queue');
        }
        return {
          data: found.map(one => statusOf(one, numberOf(config.sms?.numbers ?? {}, one))),
          status: 'OK',
          error: '0',
          error_string: null,
        };
      }
      default:
        throw new GatewayError('request/unsupported', 'op: only pv and ds');
    }
  }

  /** The service says what is wrong in its answer, and 200 beside it; where to come again is told by the status as well. */
  async function handle(request: FastifyRequest): Promise<Answer> {
    try {
      return { status: 200, json: await perform(request) };
    } catch (error) {
      if (!isGatewayError(error)) {
        throw error;
      }
      parts.counters.add(`http/refused/${error.code}`);
      const number = Number(error.detail.playsms) || (refusals[error.code] ?? 200);
      const { status } = problemOf(error);
      return {
        status: status === 429 || status >= 500 ? status : 200,
        headers: problemHeaders(error),
        json: { status: 'ERR', error: String(number), error_string: error.message },
      };
    }
  }

  return fieldRoutes('/index.php', 'Send as through playSMS', handle);
}

const refusals: Partial<Record<ErrorCode, number>> = {
  'request/unauthenticated': 100,
  'request/forbidden': 105,
  'request/unsupported': 101,
  'request/not-found': 400,
};

/** 0 waits, 1 was sent, 2 failed, 3 arrived. */
const numbers: Readonly<Record<SmsState, string>> = {
  Pending: '0',
  Processed: '0',
  Sent: '1',
  Delivered: '3',
  Failed: '2',
  Cancelled: '2',
};

function statusOf(message: MessageView, dst: string) {
  const at = message.deliveries.map(({ history }) => history.at(-1)?.at ?? 0);
  return {
    smslog_id: message.id,
    src: message.from,
    dst,
    msg: message.text,
    dt: dateOf(message.acceptedAt),
    update: dateOf(Math.max(message.acceptedAt, ...at)),
    status: numbers[stateOf(message)],
  };
}

function dateOf(at: number): string {
  return new Date(at).toISOString().slice(0, 19).replace('T', ' ');
}
