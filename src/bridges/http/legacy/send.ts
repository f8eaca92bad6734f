import { z } from 'zod';
import type { Client, Desk, MessageView } from '../../../gateway/desk.ts';
import { priorities } from '../../../gateway/message.ts';
import { type Access, requireScope } from '../../access.ts';
import { addressSchema, invalid, messageViewJson, mistakesOf } from '../../schema.ts';
import type { HttpConfig } from '../config.ts';
import { type Answer, type Call, type Route, route } from '../route.ts';
import { fieldsOf } from './fields.ts';

const sendSchema = z.strictObject({
  to: addressSchema,
  text: z
    .string()
    .min(1)
    .max(256 * 1024),
  title: z.string().max(1000).exactOptional(),
  type: z.string().max(64).exactOptional(),
  priority: z.enum(priorities).exactOptional(),
  token: z.string().max(512).exactOptional(),
  key: z.string().min(1).max(255).exactOptional(),
});

export interface LegacyParts {
  readonly desk: Desk;
  readonly access: Access;
  readonly config: HttpConfig;
}

/** The client whose token stands in the `Authorization` header or among the fields, and may send. */
export function senderOf(
  { access }: Pick<LegacyParts, 'access'>,
  { request }: Pick<Call<unknown, unknown, unknown>, 'request'>,
  token: string | undefined,
): Client {
  const header = request.headers.authorization;
  const client =
    header === undefined && token !== undefined
      ? access.client(token, request.ip)
      : access.bearer(header, request.ip);
  requireScope(client, ['messages:send']);
  return client;
}

/** `OK <id>` for devices that look for a word, the message for those that ask for JSON. */
export function sentAnswer(
  { request }: Pick<Call<unknown, unknown, unknown>, 'request'>,
  message: MessageView,
): Answer {
  return request.headers.accept?.includes('application/json')
    ? { status: 200, json: messageViewJson(message) }
    : { status: 200, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: `OK ${message.id}\n` };
}

/**
 * `/v1/send`: a whole message in a query or a form, for devices that can do nothing else. Off unless the configuration
 * asks for it: a token in an address gets into the logs of whatever lies between.
 */
export function sendRoutes(parts: () => LegacyParts): Route[] {
  const handle = async (call: Call<undefined, undefined, undefined>): Promise<Answer> => {
    const { desk, access } = parts();
    const { value, errors } = mistakesOf(sendSchema, await fieldsOf(call.request));
    const token = value?.token;
    const client = senderOf({ access }, call, token);
    if (value === undefined || errors.length > 0) {
      throw invalid(errors);
    }
    const { key, token: _, ...draft } = value;
    return sentAnswer(call, (await desk.messages.post(client, draft, key)).message);
  };
  return (['GET', 'POST'] as const).map(method =>
    route({
      method,
      path: '/v1/send',
      summary: 'Send a message from a query or a form',
      tag: 'messages',
      audience: 'public',
      live: true,
      undocumented: true,
      anyQuery: true,
      ...(method === 'POST' && { body: 'raw' as const }),
      responses: { 200: { description: 'OK and the id of the message', mediaType: 'text/plain' } },
      handle: call => handle(call as unknown as Call<undefined, undefined, undefined>),
    }),
  );
}
