/** Characters of HTML looked at: an event has no more. */
const longestHtml = 65_536;
/** Lists in lists and quotations in quotations that still show as such. */
const deepest = 8;

const entities: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  hellip: '…',
  mdash: '—',
  ndash: '–',
};

/** Tags whose content is not for reading. */
const hidden = /^(?:mx-reply|head|template|iframe)$/;
const rawText = /^(?:script|style|title|textarea)$/;
const blocks =
  /^(?:p|div|blockquote|h[1-6]|ul|ol|li|pre|table|tr|hr|details|summary|section|article|header|footer)$/;
const marks: Readonly<Record<string, string>> = {
  b: '**',
  strong: '**',
  i: '*',
  em: '*',
  del: '~~',
  s: '~~',
  strike: '~~',
  code: '`',
};

/**
 * What HTML says, as text that reads well everywhere: emphasis as in Markdown, links with their address, lists with
 * their marks. Nothing of it is ever interpreted again; unknown tags are left out and their content stays. The time it
 * takes grows with the length and no faster, whatever somebody writes.
 */
export function textOfHtml(given: string): string {
  const html = given.slice(0, longestHtml);
  const made = new TextMaker();
  for (let at = 0; at < html.length; ) {
    const open = html.indexOf('<', at);
    if (open !== at) {
      const end = open < 0 ? html.length : open;
      made.text(decodeEntities(html.slice(at, end)));
      at = end;
      continue;
    }
    if (html.startsWith('<!--', at)) {
      const end = html.indexOf('-->', at + 4);
      at = end < 0 ? html.length : end + 3;
      continue;
    }
    const closing = html[at + 1] === '/';
    const name = tagName.exec(html.slice(at + (closing ? 2 : 1), at + longestTag))?.[0];
    if (name === undefined) {
      made.text('<');
      at += 1;
      continue;
    }
    const start = at + (closing ? 2 : 1) + name.length;
    const end = endOfTag(html, start);
    const tag = name.toLowerCase();
    if (rawText.test(tag) && !closing) {
      // Nothing in it is a tag but its own end.
      const over = html.slice(end).search(new RegExp(`</${tag}`, 'i'));
      at = over < 0 ? html.length : end + over;
      continue;
    }
    made.tag(tag, closing, html.slice(start, Math.min(end, start + longestAttributes)));
    at = end + 1;
  }
  return made.done();
}

const tagName = /^[a-zA-Z][a-zA-Z0-9-]*/;
const longestTag = 32;
const longestAttributes = 4096;

/** Where a tag's `>` is, which is none inside quotes; the end of the text where there is none. */
function endOfTag(html: string, from: number): number {
  let quote = '';
  for (let at = from; at < html.length; at++) {
    const letter = html[at] as string;
    if (quote !== '') {
      quote = letter === quote ? '' : quote;
    } else if (letter === '>') {
      return at;
    } else if (letter === '"' || letter === "'") {
      quote = letter;
    }
  }
  return html.length;
}

/** Text that must not become tags, for the HTML part of a message. */
export function htmlOfText(text: string): string {
  return text
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;')
    .replace(/\n/g, '<br>');
}

/** Gathers the text in pieces, and knows no more of what it has than its last letter. */
class TextMaker {
  readonly #parts: string[] = [];
  #last = '\n';
  /** The tag whose content is being left out, and how many of it are open. */
  #hiding: string | undefined;
  #hidingDepth = 0;
  #pre = 0;
  #quotes = 0;
  readonly #lists: { readonly ordered: boolean; count: number }[] = [];
  /** The link that is open: its address, and the first of its pieces. */
  #link: { readonly href: string; readonly at: number } | undefined;

  text(text: string): void {
    if (this.#hiding !== undefined) {
      return;
    }
    const flat = this.#pre > 0 ? text : text.replace(/\s+/g, ' ');
    const isApart = this.#last === '\n' || this.#last === ' ';
    this.#add(this.#pre === 0 && isApart ? flat.trimStart() : flat);
  }

  tag(tag: string, closing: boolean, attributes: string): void {
    if (this.#hiding !== undefined) {
      this.#hidingDepth += tag === this.#hiding ? (closing ? -1 : 1) : 0;
      if (this.#hidingDepth === 0) {
        this.#hiding = undefined;
      }
      return;
    }
    if (hidden.test(tag)) {
      if (!closing) {
        this.#hiding = tag;
        this.#hidingDepth = 1;
      }
    } else if (tag === 'br') {
      this.#add('\n');
    } else if (tag === 'hr') {
      this.#line();
      this.#add('---\n');
    } else if (tag === 'a') {
      this.#anchor(closing, attributes);
    } else if (tag === 'img' && !closing) {
      this.#add(attribute(attributes, 'alt') ?? '');
    } else if (blocks.test(tag)) {
      this.#block(tag, closing);
    } else if (Object.hasOwn(marks, tag) && this.#pre === 0) {
      this.#add(marks[tag] ?? '');
    } else if ((tag === 'td' || tag === 'th') && closing) {
      this.#add('  ');
    }
  }

  done(): string {
    return this.#parts
      .join('')
      .split('\n')
      .map(line => line.trimEnd())
      .join('\n')
      .replace(/\n{3,}/g, '\n\n')
      .trim();
  }

  #add(text: string): void {
    if (text === '') {
      return;
    }
    const quote = '> '.repeat(this.#quotes);
    for (const [index, line] of text.split('\n').entries()) {
      const begins = index > 0 || this.#last === '\n';
      this.#parts.push(`${index > 0 ? '\n' : ''}${begins && line !== '' ? quote : ''}${line}`);
    }
    this.#last = text.at(-1) ?? '';
  }

  #line(): void {
    if (this.#last !== '\n') {
      this.#parts.push('\n');
      this.#last = '\n';
    }
  }

  #block(tag: string, closing: boolean): void {
    this.#line();
    if (tag === 'blockquote') {
      this.#quotes = Math.min(Math.max(this.#quotes + (closing ? -1 : 1), 0), deepest);
    } else if (tag === 'pre') {
      this.#add('```');
      this.#line();
      this.#pre = Math.max(this.#pre + (closing ? -1 : 1), 0);
    } else if (tag === 'ul' || tag === 'ol') {
      if (closing) {
        this.#lists.pop();
      } else if (this.#lists.length < deepest) {
        this.#lists.push({ ordered: tag === 'ol', count: 0 });
      }
    } else if (tag === 'li' && !closing) {
      const list = this.#lists.at(-1);
      if (list !== undefined) {
        list.count += 1;
      }
      const indent = '  '.repeat(Math.max(this.#lists.length - 1, 0));
      this.#add(`${indent}${list?.ordered ? `${list.count}.` : '-'} `);
    } else if (/^h[1-6]$/.test(tag) && !closing) {
      this.#add(`${'#'.repeat(Number(tag[1]))} `);
    } else if (tag === 'p' && closing) {
      this.#parts.push('\n');
    }
  }

  /** A link is its text, with its address behind it where the text is another; a mention is its text. */
  #anchor(closing: boolean, attributes: string): void {
    if (!closing) {
      this.#link = { href: attribute(attributes, 'href') ?? '', at: this.#parts.length };
      return;
    }
    const link = this.#link;
    this.#link = undefined;
    if (link === undefined || !/^(?:https?|mailto|geo):/i.test(link.href)) {
      return;
    }
    const said = this.#parts.slice(link.at).join('').trim();
    if (!link.href.startsWith('https://matrix.to/') && said !== link.href) {
      this.#add(said === '' ? link.href : ` (${link.href})`);
    }
  }
}

function attribute(attributes: string, name: string): string | undefined {
  const found = new RegExp(`\\b${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)'|([^\\s"'>]+))`, 'i').exec(attributes);
  const value = found?.[1] ?? found?.[2] ?? found?.[3];
  return value === undefined ? undefined : decodeEntities(value);
}

function decodeEntities(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,8}));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) {
      return entities[name.toLowerCase()] ?? whole;
    }
    const point = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    return point > 0 && point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff)
      ? String.fromCodePoint(point)
      : '\ufffd';
  });
}
