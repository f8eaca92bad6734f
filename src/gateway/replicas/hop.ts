import { GatewayError } from '../../lib/errors.ts';
import { type Fields, joined, listOf } from './fields.ts';

/** Fields of one connection. Source: RFC 9110 §7.6.1, and what was used before it. */
const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-authentication-info',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/** Fields that mean something end to end: a Connection that names one would have us drop what the other side needs. */
const endToEnd: ReadonlySet<string> = new Set([
  'authorization',
  'cache-control',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'cookie',
  'etag',
  'expires',
  'host',
  'if-match',
  'if-none-match',
  'last-modified',
  'location',
  'range',
  'set-cookie',
  'vary',
]);

/**
 * The fields that go on to the other side: without those of this connection and those Connection names. Throws
 * `request/invalid` where it names one that means something end to end.
 */
export function forwardable(fields: Fields): Fields {
  const named = listOf(joined(fields, 'connection')).map(name => name.toLowerCase());
  const wrong = named.find(name => endToEnd.has(name));
  if (wrong !== undefined) {
    throw new GatewayError('request/invalid', `Connection must not name ${wrong}`);
  }
  return fields.filter(([name]) => {
    const lower = name.toLowerCase();
    return !hopByHop.has(lower) && !named.includes(lower);
  });
}
