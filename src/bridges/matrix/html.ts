/** Characters of HTML looked at: an event has no more. */
const longestHtml = 65_536;
/** Lists inside lists that are still indented. */
const deepestList = 8;

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
const hidden = /^(?:script|style|mx-reply|head|title|template|iframe)$/;
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
 * their marks. Nothing of it is ever interpreted again; unknown tags are left out and their content stays.
 */
export function textOfHtml(html: string): string {
  const made = new TextMaker();
  const token =
    /<!--[\s\S]*?(?:-->|$)|<(\/?)([a-zA-Z][a-zA-Z0-9-]*)((?:"[^"]*"|'[^']*'|[^"'>])*)>?|([^<]+|<)/g;
  for (const [, closing, tag, attributes, text] of html.slice(0, longestHtml).matchAll(token)) {
    if (text !== undefined) {
      made.text(decodeEntities(text));
    } else if (tag !== undefined) {
      made.tag(tag.toLowerCase(), closing === '/', attributes ?? '');
    }
  }
  return made.done();
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

class TextMaker {
  #out = '';
  /** The tag whose content is being left out, and how many of it are open. */
  #hiding: string | undefined;
  #hidingDepth = 0;
  #pre = 0;
  #quotes = 0;
  readonly #lists: { readonly ordered: boolean; count: number }[] = [];
  readonly #links: { readonly href: string; readonly at: number }[] = [];

  text(text: string): void {
    if (this.#hiding !== undefined) {
      return;
    }
    if (this.#pre > 0) {
      this.#add(text);
      return;
    }
    const flat = text.replace(/\s+/g, ' ');
    this.#add(/(?:^|\n| )$/.test(this.#out) || this.#out === '' ? flat.trimStart() : flat);
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
      return;
    }
    if (tag === 'br') {
      this.#add('\n');
    } else if (tag === 'hr') {
      this.#line();
      this.#add('---');
      this.#line();
    } else if (tag === 'a') {
      this.#link(closing, attributes);
    } else if (tag === 'img' && !closing) {
      this.#add(attribute(attributes, 'alt') ?? '');
    } else if (blocks.test(tag)) {
      this.#block(tag, closing);
    } else if (marks[tag] !== undefined && this.#pre === 0) {
      this.#add(marks[tag]);
    } else if ((tag === 'td' || tag === 'th') && closing) {
      this.#add('  ');
    }
  }

  done(): string {
    return this.#out
      .replace(/[ \t]+\n/g, '\n')
      .replace(/\n{3,}/g, '\n\n')
      .trim();
  }

  #add(text: string): void {
    const quote = '> '.repeat(this.#quotes);
    if (quote !== '' && text !== '' && (this.#out === '' || this.#out.endsWith('\n'))) {
      this.#out += quote;
    }
    this.#out += quote === '' ? text : text.replaceAll('\n', `\n${quote}`);
  }

  #line(): void {
    this.#out = this.#out.replace(/[ \t]+$/, '');
    if (this.#out !== '' && !this.#out.endsWith('\n')) {
      this.#out += '\n';
    }
  }

  #block(tag: string, closing: boolean): void {
    this.#line();
    if (tag === 'blockquote') {
      this.#quotes = Math.min(Math.max(this.#quotes + (closing ? -1 : 1), 0), deepestList);
    } else if (tag === 'pre') {
      this.#add('```');
      this.#out += '\n';
      this.#pre = Math.max(this.#pre + (closing ? -1 : 1), 0);
    } else if (tag === 'ul' || tag === 'ol') {
      if (closing) {
        this.#lists.pop();
      } else if (this.#lists.length < deepestList) {
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
      this.#out += this.#out === '' ? '' : '\n';
    }
  }

  /** A link is its text, with its address behind it where the text is another; a mention is its text. */
  #link(closing: boolean, attributes: string): void {
    if (!closing) {
      this.#links.push({ href: attribute(attributes, 'href') ?? '', at: this.#out.length });
      return;
    }
    const link = this.#links.pop();
    if (link === undefined || !/^(?:https?|mailto|geo):/i.test(link.href)) {
      return;
    }
    const said = this.#out.slice(link.at).trim();
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
