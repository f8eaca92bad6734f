import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { MessageDraft } from '../../../../gateway/desk.ts';
import { parseJson } from '../../../json.ts';
import { invalid, mistakesOf } from '../../../schema.ts';
import { jsonBytes, readText } from '../../body.ts';
import { mediaTypeOf } from '../fields.ts';
import { checkActions, parseActions } from './actions.ts';
import { type Extras, priorityOf } from './note.ts';
import { refusal } from './refusal.ts';
import { type Words, wordsOf } from './words.ts';

const flag = z.union([z.boolean(), z.string(), z.null()]).optional();
const word = z.string().nullish();

/** A notification as one JSON object. Source: docs.ntfy.sh/publish, "Publish as JSON". */
const objectSchema = z.object({
  topic: z.string(),
  message: word,
  title: word,
  priority: z.union([z.int(), z.string()]).nullish(),
  tags: z.array(z.string()).nullish(),
  click: word,
  icon: word,
  attach: word,
  filename: word,
  actions: z.union([z.array(z.unknown()), z.string()]).nullish(),
  markdown: flag,
  delay: word,
  email: word,
  call: word,
  template: flag,
  sequence_id: word,
});

/** What was asked to be published, before the body is read. */
export interface Asked {
  readonly title?: string;
  readonly message?: string;
  readonly filename?: string;
  readonly extras: Extras;
  readonly priority?: MessageDraft['priority'];
  /** The body is bytes for a program, whatever they are. */
  readonly isPush: boolean;
}

/** What a request to a topic asks for, from its headers and its query. */
export function askedIn(request: FastifyRequest): Asked {
  return askedOf(wordsOf(request.raw), mediaTypeOf(request));
}

/** The topic and the notification of a JSON body, with what its headers say besides; the body wins. */
export async function readObject(raw: IncomingMessage): Promise<{ topic: string; asked: Asked }> {
  const text = await readText(raw, jsonBytes);
  let given: unknown;
  try {
    given = parseJson(text);
  } catch (cause) {
    throw refusal(40017, (cause as Error).message);
  }
  const { value, errors } = mistakesOf(objectSchema, given);
  if (value === undefined) {
    throw invalid(errors);
  }
  const { topic, tags, actions, ...rest } = value;
  const said = new Map(
    Object.entries(rest).flatMap(([name, one]) =>
      one === null || one === undefined || one === '' ? [] : [[name.replace('_', '-'), String(one)]],
    ),
  );
  const words = wordsOf(raw);
  const both: Words = {
    text: (...names) =>
      names.map(name => said.get(name)).find(one => one !== undefined) ?? words.text(...names),
    flag: (...names) => {
      const own = names.map(name => said.get(name)).find(one => one !== undefined);
      return own === undefined ? words.flag(...names) : /^(?:1|yes|true)$/i.test(own);
    },
    list: (...names) => (tags && tags.length > 0 ? tags : words.list(...names)),
  };
  const asked = askedOf(both, '');
  const buttons = typeof actions === 'string' ? parseActions(actions) : checkActions(actions ?? []);
  return {
    topic,
    asked: { ...asked, extras: { ...asked.extras, ...(buttons.length > 0 && { actions: [...buttons] }) } },
  };
}

/** The notification that headers and the query ask for. Throws what ntfy says of what it, or this hub, cannot do. */
function askedOf(words: Words, mediaType: string): Asked {
  refuseWhatIsNot(words);
  const title = words.text('title', 't', 'ti');
  const message = words.text('message', 'm')?.replaceAll('\\n', '\n');
  const filename = words.text('filename', 'file', 'f');
  const click = words.text('click');
  const icon = addressOf(words.text('icon'), 40021);
  const attach = addressOf(words.text('attach', 'a'), 40013);
  const tags = words.list('tags', 'tag', 'ta');
  const buttons = words.text('actions', 'action');
  const level = levelOf(words.text('priority', 'prio', 'p'));
  const { priority, level: exact } = priorityOf(level ?? 3);
  const markdown = words.flag('markdown', 'md') ?? mediaType === 'text/markdown';
  const sequence = words.text('sequence-id', 'sequence_id', 'sid');
  return {
    ...(title !== undefined && { title }),
    ...(message !== undefined && { message }),
    ...(filename !== undefined && attach === undefined && { filename }),
    ...(level !== undefined && priority !== undefined && { priority }),
    isPush: words.flag('unifiedpush', 'up') === true || words.text('content-encoding') === 'aes128gcm',
    extras: {
      ...(tags.length > 0 && { tags: tags.slice(0, 32).map(one => cut(one, 256)) }),
      ...(click !== undefined && { click: cut(click, 2048) }),
      ...(icon !== undefined && { icon }),
      ...(attach !== undefined && { attach: { name: filename ?? lastOf(attach), url: attach } }),
      ...(buttons !== undefined && { actions: [...parseActions(buttons)] }),
      ...(markdown && { markdown }),
      ...(exact !== undefined && { level: exact }),
      ...(sequence !== undefined && { sequence: cut(sequence, 64) }),
    },
  };
}

function refuseWhatIsNot(words: Words): void {
  if (words.text('delay', 'at', 'in') !== undefined) {
    throw refusal(40004, 'this hub delivers at once; send it when it is due');
  }
  if (words.text('email', 'e-mail', 'mail', 'e') !== undefined) {
    throw refusal(40001);
  }
  if (words.text('call') !== undefined) {
    throw refusal(40032);
  }
  if (!/^(?:0|no|false)?$/i.test(words.text('template', 'tpl') ?? '')) {
    throw refusal(40043, 'templates are not available here');
  }
}

const levels: Readonly<Record<string, number>> = { min: 1, low: 2, default: 3, high: 4, max: 5, urgent: 5 };

/** From 1 to 5, or by its name. Throws ntfy's 40007. */
export function levelOf(text: string | undefined): number | undefined {
  if (text === undefined) {
    return undefined;
  }
  const name = text.trim().toLowerCase();
  const level = Object.hasOwn(levels, name) ? levels[name] : /^[1-5]$/.test(name) ? Number(name) : undefined;
  if (level === undefined) {
    throw refusal(40007);
  }
  return level;
}

function addressOf(text: string | undefined, code: 40013 | 40021): string | undefined {
  if (text !== undefined && (!/^https?:\/\//.test(text) || text.length > 2048)) {
    throw refusal(code);
  }
  return text;
}

function lastOf(url: string): string {
  const last = URL.parse(url)?.pathname.split('/').at(-1) ?? '';
  return last === '' ? 'attachment' : plainName(last);
}

/** The beginning of a text, with no half of a character at its end. */
function cut(text: string, most: number): string {
  return text
    .slice(0, most)
    .toWellFormed()
    .replace(/\ufffd$/, '');
}

/** A name without folders and control characters. */
export function plainName(name: string): string {
  const last = name.split(/[/\\]/).at(-1) ?? '';
  return cut(last.replaceAll(/\p{Cc}/gu, ''), 255) || 'attachment';
}
