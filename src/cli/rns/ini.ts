import { GatewayError } from '../../lib/errors.ts';

/** A section of a config file of the reference: keys, and sections inside it, in the order in which they stand. */
export interface Section {
  readonly name: string;
  readonly values: ReadonlyMap<string, string | readonly string[]>;
  readonly sections: ReadonlyMap<string, Section>;
}

interface Open extends Section {
  readonly values: Map<string, string | readonly string[]>;
  readonly sections: Map<string, Open>;
}

/** Bytes, lines and depth of a file that is read. */
const limits = { bytes: 1024 * 1024, lines: 20_000, depth: 4 };

/**
 * Reads the form that the reference's config files have (ConfigObj): `[section]`, `[[section in it]]`, `key = value`,
 * lists with commas, quotes, texts over several lines in three quotes, `#` for comments. Throws `config/invalid` with
 * the number of the line.
 *
 * Source: the ConfigObj 5 documentation, “The Config File Format”; checked against files that RNS 1.5.7 reads.
 */
export function parseIni(text: string): Section {
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/);
  if (text.length > limits.bytes || lines.length > limits.lines) {
    throw wrong(1, `more than ${limits.bytes} bytes or ${limits.lines} lines`);
  }
  const root = section('');
  const path: Open[] = [root];
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] as string;
    if (/^\s*(?:#.*)?$/.test(line)) {
      continue;
    }
    const heading = /^\s*(\[+)\s*(.*?)\s*(\]+)\s*(?:#.*)?$/.exec(line);
    if (heading !== null) {
      const [, open = '', name = '', close = ''] = heading;
      const depth = open.length;
      if (depth !== close.length || depth > path.length || depth > limits.depth || name === '') {
        throw wrong(at + 1, 'brackets that do not match, or a section inside none');
      }
      const inner = section(unquoted(name));
      const outer = path[depth - 1] as Open;
      if (outer.sections.has(inner.name)) {
        throw wrong(at + 1, `a second section ${inner.name}`);
      }
      outer.sections.set(inner.name, inner);
      path.splice(depth, path.length, inner);
      continue;
    }
    const pair = /^\s*((?:"[^"]*"|'[^']*'|[^'"=][^=]*?))\s*=\s*(.*)$/.exec(line);
    if (pair === null) {
      throw wrong(at + 1, 'neither a section nor key = value');
    }
    const key = unquoted(pair[1] as string);
    const { values } = path.at(-1) as Open;
    if (values.has(key)) {
      throw wrong(at + 1, `a second ${key}`);
    }
    const quotes = /^("""|''')/.exec(pair[2] as string)?.[0];
    if (quotes === undefined) {
      values.set(key, readValue(pair[2] as string, at + 1));
      continue;
    }
    const first = at;
    let long = (pair[2] as string).slice(3);
    while (!long.includes(quotes)) {
      at += 1;
      if (at >= lines.length) {
        throw wrong(first + 1, 'three quotes that do not end');
      }
      long += `\n${lines[at]}`;
    }
    values.set(key, long.slice(0, long.indexOf(quotes)));
  }
  return root;
}

function section(name: string): Open {
  return { name, values: new Map(), sections: new Map() };
}

/** One value, or a list where there is a comma outside quotes. */
function readValue(text: string, line: number): string | readonly string[] {
  const parts: string[] = [];
  let rest = text.trim();
  let isList = false;
  while (rest !== '' && !rest.startsWith('#')) {
    const [whole, double, single, plain] = /^(?:"([^"]*)"|'([^']*)'|([^,#"'][^,#]*))\s*/.exec(rest) ?? [];
    if (whole === undefined && !rest.startsWith(',')) {
      throw wrong(line, 'quotes that do not end');
    }
    if (whole !== undefined) {
      parts.push(double ?? single ?? (plain as string).trim());
      rest = rest.slice(whole.length);
    }
    if (rest.startsWith(',')) {
      isList = true;
      rest = rest.slice(1).trimStart();
    } else if (rest !== '' && !rest.startsWith('#')) {
      throw wrong(line, 'something after the closing quote');
    }
  }
  return isList ? parts : (parts[0] ?? '');
}

function unquoted(text: string): string {
  const [, double, single] = /^(?:"([^"]*)"|'([^']*)')$/.exec(text) ?? [];
  return double ?? single ?? text;
}

function wrong(line: number, detail: string): GatewayError {
  return new GatewayError('config/invalid', `line ${line}: ${detail}`, {
    errors: [{ pointer: `line ${line}`, detail }],
  });
}
