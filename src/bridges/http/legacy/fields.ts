import type { FastifyRequest } from 'fastify';
import { GatewayError } from '../../../lib/errors.ts';
import { isObject, parseJson } from '../../json.ts';
import { invalid } from '../../schema.ts';
import { readText } from '../body.ts';
import { type Answer, type Route, route } from '../route.ts';

/** Bytes of a form or of a notification: as much text as a message may have, encoded. */
export const formBytes = 1024 * 1024;

/** Fields of a form or a query: nobody asks for as many, and whoever sends them is not known yet. */
const mostFields = 256;

export const formType = 'application/x-www-form-urlencoded';

/** The media type of a request's body, without parameters; empty where it says none. */
export function mediaTypeOf(request: {
  readonly headers: { readonly 'content-type'?: string | undefined };
}): string {
  return request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/** Whether a text is a media type without parameters. */
export function isMediaType(text: string): boolean {
  return /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/.test(text) && text.length <= 127;
}

/** The fields of a form. Throws `request/invalid` for too many, for a name that comes twice and for what is not UTF-8. */
export function parseForm(text: string): Record<string, string> {
  const given = text.split('&').filter(pair => pair !== '');
  if (given.length > mostFields) {
    throw new GatewayError('request/invalid', `at most ${mostFields} fields`);
  }
  const pairs = given.map(pair => {
    const at = pair.indexOf('=');
    const parts = at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
    const [raw = '', value = ''] = parts.map(part => part.replaceAll('+', ' '));
    const name = decoded(raw);
    return name === undefined ? ([raw, undefined] as const) : ([name, decoded(value)] as const);
  });
  return fieldsFrom(pairs);
}

/** Without percent signs, where what they say is UTF-8. One that says nothing stands for itself, as in every browser. */
function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part.replaceAll(/%(?![0-9a-f]{2})/gi, '%25'));
  } catch {
    return undefined;
  }
}

/** The fields of a form from their names and values, undefined where one is not UTF-8. Throws `request/invalid`, also for a name that comes twice. */
export function fieldsFrom(
  pairs: Iterable<readonly [name: string, value: string | undefined]>,
): Record<string, string> {
  const mistakes: { pointer: string; detail: string }[] = [];
  const fields: Record<string, string> = Object.create(null);
  for (const [name, value] of pairs) {
    if (name in fields || name === '__proto__') {
      mistakes.push({ pointer: `/${name.slice(0, 64)}`, detail: 'given twice, or a name that cannot be' });
    } else if (value === undefined) {
      mistakes.push({ pointer: `/${name.slice(0, 64)}`, detail: 'not UTF-8' });
    }
    fields[name] = value ?? '';
  }
  if (mistakes.length > 0) {
    throw invalid(mistakes.slice(0, 50));
  }
  return { ...fields };
}

/** What a device says in its query and, where it posts, in a form or a JSON object beside it; the body wins. */
export async function fieldsOf(request: FastifyRequest): Promise<Record<string, unknown>> {
  const at = request.url.indexOf('?');
  const query = at < 0 ? {} : parseForm(request.url.slice(at + 1));
  if (request.method === 'GET' || request.method === 'HEAD') {
    return query;
  }
  const type = mediaTypeOf(request);
  if (type !== '' && type !== formType && type !== 'application/json') {
    throw new GatewayError('request/unsupported', `send the body as ${formType} or application/json`);
  }
  const text = await readText(request.raw, formBytes);
  if (text === '') {
    return query;
  }
  const body = type === 'application/json' ? parseJson(text) : parseForm(text);
  if (!isObject(body)) {
    throw invalid([{ pointer: '', detail: 'an object is expected' }]);
  }
  return { ...query, ...body };
}

/** An operation that takes its fields from a query, a form or JSON, for GET and for POST. Not in the document: it is somebody else's interface. */
export function fieldRoutes(
  path: string,
  summary: string,
  handle: (request: FastifyRequest) => Promise<Answer>,
): Route[] {
  return (['GET', 'POST'] as const).map(method =>
    route({
      method,
      path,
      summary,
      tag: 'messages',
      audience: 'public',
      live: true,
      undocumented: true,
      anyQuery: true,
      ...(method === 'POST' && { body: 'raw' as const }),
      responses: { 200: { description: 'accepted', mediaType: 'text/plain' } },
      handle: ({ request }) => handle(request),
    }),
  );
}
