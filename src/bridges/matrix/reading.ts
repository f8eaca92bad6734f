import type { JsonValue } from '../../gateway/message.ts';
import { type Content, type RoomEvent, record, relationsOf, text } from './events.ts';
import { textOfHtml } from './html.ts';

/** A file that an event names. */
export interface NamedFile {
  /** `mxc://server/id`. */
  readonly url: string;
  readonly name: string;
  readonly mediaType: string;
  /** Bytes, as its sender says. */
  readonly size?: number;
}

/** What a Message can take of an event; event ids are still those of the homeserver. */
export interface Reading {
  readonly type: string;
  readonly text: string;
  readonly data?: JsonValue;
  readonly file?: NamedFile;
  readonly inReplyTo?: string;
  readonly thread?: string;
}

/** What becomes of an event that is no message. */
export type Unreadable = 'encrypted' | 'unsupported' | 'nothing';

const mediaKinds: ReadonlySet<string> = new Set(['m.image', 'm.file', 'm.audio', 'm.video']);
const reactionText = 64;

/** Reads a message, an edit, a reaction or a redaction; or says why there is none to read. */
export function readMessageEvent(event: RoomEvent): Reading | Unreadable {
  const { type, content } = event;
  switch (type) {
    case 'm.room.encrypted':
      return 'encrypted';
    case 'm.reaction':
      return reaction(content);
    case 'm.room.redaction':
      return event.redacts === undefined
        ? 'nothing'
        : { type: 'chat.redaction', text: '', inReplyTo: event.redacts };
    case 'm.sticker':
      return message({ ...content, msgtype: 'm.image' }, event.sender);
    case 'm.room.message':
      return message(content, event.sender);
    default:
      return other(event);
  }
}

function reaction(content: Content): Reading | Unreadable {
  const { annotates } = relationsOf(content);
  return annotates === undefined || annotates.key === ''
    ? 'nothing'
    : { type: 'chat.reaction', text: annotates.key.slice(0, reactionText), inReplyTo: annotates.event };
}

function message(content: Content, sender: string): Reading | Unreadable {
  const { replaces, repliesTo, thread } = relationsOf(content);
  if (replaces !== undefined) {
    const said = message(withoutRelation(record(content['m.new_content'])), sender);
    return typeof said === 'string'
      ? said
      : {
          type: 'chat.edit',
          text: said.text,
          inReplyTo: replaces,
          ...(said.data ? { data: said.data } : {}),
        };
  }
  const kind = text(content.msgtype);
  if (kind === undefined) {
    // A message that was redacted before it came here has no content left.
    return Object.keys(content).length === 0 ? 'nothing' : 'unsupported';
  }
  const relation = {
    ...(repliesTo === undefined ? {} : { inReplyTo: repliesTo }),
    ...(thread === undefined ? {} : { thread }),
  };
  const body = text(content.body) ?? '';
  if (mediaKinds.has(kind)) {
    const file = fileOf(content, kind);
    if (file === 'encrypted') {
      return 'encrypted';
    }
    const named = text(content.filename);
    const caption = named !== undefined && named !== body ? said(content) : '';
    return file === undefined
      ? { type: 'chat.message', text: caption || body, ...relation }
      : { type: 'chat.message', text: caption, file, ...relation };
  }
  if (kind === 'm.location') {
    return { type: 'chat.message', ...place(content, body), ...relation };
  }
  const words = repliesTo === undefined ? said(content) : withoutQuote(said(content), content);
  return {
    type: 'chat.message',
    text: kind === 'm.emote' ? `* ${localpart(sender)} ${words}` : words,
    ...relation,
  };
}

/** Newer and unknown kinds of events say in plain text, too, what they mean. */
function other({ type, content }: RoomEvent): Reading | Unreadable {
  const poll = record(content['m.poll'] ?? content['org.matrix.msc3381.poll.start']);
  const question = record(poll.question);
  const answers = Array.isArray(poll.answers) ? poll.answers.map(answer => plain(record(answer))) : [];
  const asked = plain(question);
  if (asked !== undefined) {
    const choices = answers.flatMap(answer => (answer === undefined ? [] : [`- ${answer}`])).slice(0, 20);
    return { type: 'chat.message', text: [asked, ...choices].join('\n') };
  }
  const words = plain(content) ?? text(content.body);
  if (words !== undefined && words !== '') {
    return { type: 'chat.message', text: words };
  }
  return /^(?:m\.call\.|m\.key\.|m\.room\.|m\.space\.|com\.beeper\.|org\.kos\.)/.test(type)
    ? 'nothing'
    : 'unsupported';
}

/** The text of extensible events, in either spelling. */
function plain(content: Content): string | undefined {
  const list = content['m.text'];
  const first = Array.isArray(list) ? text(record(list[0]).body) : undefined;
  return first ?? text(content['org.matrix.msc1767.text']) ?? text(content.body);
}

/** What a person wrote: of the formatted text where there is one, because its plain form is not always readable. */
function said(content: Content): string {
  const body = text(content.body) ?? '';
  const html = text(content.formatted_body);
  if (html === undefined || content.format !== 'org.matrix.custom.html') {
    return body;
  }
  return textOfHtml(html) || body;
}

/** Without the quotation that older clients put before an answer. */
function withoutQuote(words: string, content: Content): string {
  if (content.format === 'org.matrix.custom.html' || !words.startsWith('> ')) {
    return words;
  }
  const lines = words.split('\n');
  const end = lines.findIndex(line => !line.startsWith('>'));
  return end < 0 || !/^> (?:\* )?<@[^>]+>/.test(lines[0] ?? '')
    ? words
    : lines.slice(lines[end] === '' ? end + 1 : end).join('\n');
}

function withoutRelation(content: Content): Content {
  const { 'm.relates_to': _, ...rest } = content;
  return rest;
}

function fileOf(content: Content, kind: string): NamedFile | 'encrypted' | undefined {
  const url = text(content.url);
  if (url === undefined || !/^mxc:\/\/[^/\s]+\/[A-Za-z0-9_-]+$/.test(url)) {
    return content.file === undefined ? undefined : 'encrypted';
  }
  const info = record(content.info);
  const mediaType = text(info.mimetype) ?? 'application/octet-stream';
  const size = info.size;
  return {
    url,
    name: fileName(text(content.filename) ?? text(content.body) ?? kind.slice(2)),
    mediaType: /^[\w.+-]+\/[\w.+-]+$/.test(mediaType) ? mediaType : 'application/octet-stream',
    ...(typeof size === 'number' && Number.isSafeInteger(size) && size >= 0 ? { size } : {}),
  };
}

const longestName = 200;

/** Fit to be shown and stored: no folders, no control characters, not endless, not empty. */
function fileName(name: string): string {
  const flat = name
    .replace(/[/\\]/g, '_')
    .replace(/\p{Cc}/gu, '')
    .trim()
    .slice(0, longestName);
  return flat === '' || /^\.+$/.test(flat) ? 'file' : flat;
}

function place(content: Content, body: string): { text: string; data?: JsonValue } {
  const uri = text(content.geo_uri) ?? text(record(content['m.location']).uri) ?? '';
  const found = /^geo:(-?\d{1,3}(?:\.\d+)?),(-?\d{1,3}(?:\.\d+)?)/.exec(uri);
  if (found === null) {
    return { text: body };
  }
  const [lat, lon] = [Number(found[1]), Number(found[2])];
  const named = body === '' || body.includes(uri) ? '' : `${body} `;
  return { text: `📍 ${named}${lat}, ${lon}`, data: { location: { lat, lon } } };
}

function localpart(user: string): string {
  return user.slice(1).split(':', 1)[0] ?? user;
}
