import { z } from 'zod';
import { parseJson } from '../../../json.ts';
import { refusal } from './refusal.ts';

const words = z.record(z.string().max(64), z.string().max(2048));

/** A button of a notification: it is carried and shown, and nothing is done with it here. */
export const actionSchema = z.object({
  id: z.string().max(64).optional(),
  action: z.enum(['view', 'broadcast', 'http', 'copy']),
  label: z.string().min(1).max(256),
  clear: z.boolean().default(false),
  url: z.string().max(2048).optional(),
  method: z.string().max(16).optional(),
  headers: words.optional(),
  body: z.string().max(4096).optional(),
  intent: z.string().max(256).optional(),
  extras: words.optional(),
  value: z.string().max(2048).optional(),
});

export type Action = z.output<typeof actionSchema>;

/** Buttons of one notification, and characters of the text that asks for them: more than a header has, where they usually stand. */
const mostActions = 3;
const longestText = 32 * 1024;
const kinds = actionSchema.shape.action.options;
const yes = ['true', 'yes', '1'];
const no = ['false', 'no', '0'];

/**
 * The buttons that a header or a query asks for: a JSON array, or the short form `view, Open, https://…, clear=true; …`.
 * Throws ntfy's 40018. Source: docs.ntfy.sh/publish, "Action buttons".
 */
export function parseActions(text: string): readonly Action[] {
  refuseLong(text);
  const trimmed = text.trim();
  return checkActions(trimmed.startsWith('[') ? parseJson(trimmed) : readShort(trimmed));
}

/** The same from what is JSON already. */
export function checkActions(given: unknown): readonly Action[] {
  refuseLong(JSON.stringify(given));
  const { data, error } = z.array(z.unknown()).max(mostActions).safeParse(given);
  if (error) {
    throw refusal(40018, `a list of at most ${mostActions}`);
  }
  return data.map(one => {
    const action = actionSchema.safeParse(withoutNulls(one));
    if (!action.success) {
      throw refusal(40018, z.prettifyError(action.error).slice(0, 300));
    }
    const { action: kind, url, method = '', body } = action.data;
    if (!url && (kind === 'view' || kind === 'http')) {
      throw refusal(40018, `parameter 'url' is required for action '${kind}'`);
    }
    if (kind === 'http' && /^(?:get|head)$/i.test(method) && body) {
      throw refusal(40018, `parameter 'body' cannot be set if method is ${method.toUpperCase()}`);
    }
    return { ...action.data, ...(method !== '' && { method: method.toUpperCase() }) };
  });
}

/** A body may have two million characters of it, and each would be looked at several times. */
function refuseLong(text: string): void {
  if (text.length > longestText) {
    throw refusal(40018, `at most ${longestText} characters`);
  }
}

/** Clients send what they have not as null, and the kind in any case. */
function withoutNulls(one: unknown): unknown {
  if (typeof one !== 'object' || one === null) {
    return one;
  }
  const entries = Object.entries(one).filter(([, value]) => value !== null);
  return Object.fromEntries(
    entries.map(([key, value]) => [key, key === 'action' ? String(value).toLowerCase() : value]),
  );
}

/** One member: what stands before its `=`, if anything, and its value. */
interface Section {
  readonly key: string;
  readonly value: string;
  /** An action ends with it. */
  readonly last: boolean;
}

function readShort(text: string): unknown[] {
  const actions: unknown[] = [];
  let action = newAction();
  let place = 0;
  for (const section of sections(text)) {
    put(action, place, section);
    place += 1;
    if (section.last) {
      actions.push(action);
      action = newAction();
      place = 0;
    }
    if (actions.length > mostActions) {
      break;
    }
  }
  return actions;
}

type Draft = Record<string, unknown> & { headers?: Record<string, string>; extras?: Record<string, string> };

function newAction(): Draft {
  return {};
}

function put(action: Draft, place: number, { key: given, value }: Section): void {
  const key = given === '' ? positional(action, place) : given;
  const dotted = /^(headers|extras)\.(.+)$/.exec(key);
  if (dotted !== null) {
    const group = dotted[1] as 'headers' | 'extras';
    action[group] ??= {};
    action[group][dotted[2] as string] = value;
    return;
  }
  const name = key.toLowerCase();
  if (name === 'clear') {
    const word = value.toLowerCase();
    if (!yes.includes(word) && !no.includes(word)) {
      throw refusal(40018, `parameter 'clear' cannot be '${value.slice(0, 32)}'`);
    }
    action.clear = yes.includes(word);
    return;
  }
  if (!['action', 'label', 'url', 'method', 'body', 'intent', 'value'].includes(name)) {
    throw refusal(40018, `key '${key.slice(0, 32)}' unknown`);
  }
  action[name] = value;
}

/** What a member without a name is, by its place. */
function positional(action: Draft, place: number): string {
  const kind = String(action.action ?? '').toLowerCase();
  const third = kind === 'view' || kind === 'http' ? 'url' : kind === 'copy' ? 'value' : '';
  const key = ['action', 'label', third][place] ?? '';
  if (key === '' || (place > 0 && !(kinds as readonly string[]).includes(kind))) {
    throw refusal(40018, `term ${place + 1} unknown`);
  }
  return key;
}

/** Reads `key=value`, with or without quotes, up to each comma or semicolon. */
function* sections(text: string): Generator<Section> {
  let rest = text.trimStart();
  while (rest !== '') {
    const key = /^([-.\w]+)\s*=\s*/.exec(rest);
    rest = key === null ? rest : rest.slice(key[0].length);
    const quoted = /^"((?:[^"\\]|\\.)*)"\s*|^'((?:[^'\\]|\\.)*)'\s*/.exec(rest);
    if (quoted === null && /^["']/.test(rest)) {
      throw refusal(40018, 'unexpected end of input inside quotes');
    }
    const plain = quoted === null ? (/^[^,;]*/.exec(rest)?.[0] ?? '') : quoted[0];
    rest = rest.slice(plain.length);
    const mark = rest.slice(0, 1);
    if (mark !== '' && mark !== ',' && mark !== ';') {
      throw refusal(40018, `unexpected character '${mark}'`);
    }
    rest = rest.slice(1).trimStart();
    const inside = quoted?.[1] ?? quoted?.[2];
    const quote = quoted?.[1] === undefined ? "'" : '"';
    yield {
      key: key?.[1] ?? '',
      value: inside === undefined ? plain.trim() : inside.replaceAll(`\\${quote}`, quote),
      last: mark !== ',' || rest === '',
    };
  }
}
