import type { InboxItem, MessageView } from '../../gateway/desk.ts';
import type { Message } from '../../gateway/message.ts';
import { canonicalJson } from '../../lib/canonical-json.ts';
import { encodeKlp, klpOf, klpType } from '../klp.ts';
import { messageJson, messageViewJson } from '../schema.ts';
import type { Answer } from './route.ts';

export const textType = 'text/plain';

const vary = { vary: 'accept' };

/** A message in a form of these media types: JSON with its deliveries, an envelope, or lines for scripts. */
export function messageAnswer(form: string, status: number, message: MessageView, headers = {}): Answer {
  if (form === klpType) {
    return {
      status,
      headers: { ...headers, ...vary, 'content-type': klpType },
      body: encodeKlp(messageJson(message)),
    };
  }
  if (form === textType) {
    const states = message.deliveries.map(({ to, state, reason = '' }) => line(to, state, reason));
    return textAnswer(
      status,
      status === 201 ? `${message.id}\n` : lineOf(message) + states.join(''),
      headers,
    );
  }
  return { status, headers: { ...headers, ...vary }, json: messageViewJson(message) };
}

/** A page of an inbox in a form; `Kos-Cursor` says in each where to go on. */
export function inboxAnswer(form: string, items: readonly InboxItem[], cursor: string): Answer {
  const headers = { 'kos-cursor': cursor };
  if (form === textType) {
    return textAnswer(200, items.map(item => `${item.cursor}\t${lineOf(item.message)}`).join(''), headers);
  }
  if (form === klpType) {
    const envelopes = items.map(item => ({ cursor: item.cursor, message: klpOf(messageJson(item.message)) }));
    return {
      status: 200,
      headers: { ...headers, ...vary, 'content-type': klpType },
      body: canonicalJson({ cursor, items: envelopes }),
    };
  }
  return {
    status: 200,
    headers: { ...headers, ...vary },
    json: { items: items.map(item => ({ cursor: item.cursor, message: messageJson(item.message) })), cursor },
  };
}

function textAnswer(status: number, body: string, headers: Readonly<Record<string, string>>): Answer {
  return { status, headers: { ...headers, ...vary, 'content-type': `${textType}; charset=utf-8` }, body };
}

function lineOf({ id, from, title, text }: Message): string {
  return line(id, from, title === undefined ? text : `${title}: ${text}`);
}

/** Values with tabs between them; what would break the line is written as in C. */
function line(...values: readonly string[]): string {
  const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };
  return `${values.map(value => value.replaceAll(/[\\\t\n\r]/g, one => escapes[one] ?? one)).join('\t')}\n`;
}
