import { GatewayError } from '../../lib/errors.ts';

/**
 * The configuration file of the reference: keys with values, in sections that lie in each other. As many brackets
 * around a section's name as it lies deep:
 *
 *     [interfaces]
 *       [[uplink]]
 *         type = TCPClientInterface   # a comment
 *
 * A value is text; in quotes it may hold what else would end it. Of a list in commas the importer needs the text.
 *
 * Source: the format of ConfigObj, as the manual of Reticulum uses it.
 */
export interface RnsSection {
  readonly values: ReadonlyMap<string, string>;
  readonly sections: ReadonlyMap<string, RnsSection>;
}

interface Growing extends RnsSection {
  readonly values: Map<string, string>;
  readonly sections: Map<string, Growing>;
}

/** Characters of the longest file: the longest of those seen has some thousand. */
const longest = 1_000_000;
/** Sections in each other. */
const deepest = 8;

/** The sections of a file. Throws `config/invalid`, naming the line, for what is none. */
export function readRnsConfig(text: string): RnsSection {
  if (text.length > longest) {
    throw new GatewayError('config/invalid', `a configuration of more than ${longest} characters`);
  }
  const open: Growing[] = [emptySection()];
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    const trimmed = line.trim();
    if (trimmed === '' || trimmed.startsWith('#')) {
      continue;
    }
    if (trimmed.startsWith('[')) {
      openSection(open, trimmed, at);
      continue;
    }
    const equals = trimmed.indexOf('=');
    if (equals < 1) {
      throw wrong(at, 'neither a section nor a key with a value');
    }
    const key = unquoted(trimmed.slice(0, equals).trim());
    open.at(-1)!.values.set(key, valueIn(trimmed.slice(equals + 1).trim()));
  }
  return open[0]!;
}

function openSection(open: Growing[], line: string, at: number): void {
  const [, left = '', name = '', right = ''] = /^(\[+)([^\]]*)(\]+)\s*(?:#.*)?$/.exec(line) ?? [];
  if (left.length === 0 || left.length !== right.length) {
    throw wrong(at, 'a section has as many brackets on both sides');
  }
  if (left.length > Math.min(open.length, deepest)) {
    throw wrong(at, 'a section that lies in none');
  }
  open.length = left.length;
  const section = emptySection();
  open.at(-1)!.sections.set(unquoted(name.trim()), section);
  open.push(section);
}

/** The value before a comment, without its quotes. */
function valueIn(text: string): string {
  const quoted = /^(["'])(.*?)\1\s*(?:#.*)?$/.exec(text);
  return quoted ? quoted[2]! : text.replace(/\s*#.*$/, '');
}

function unquoted(text: string): string {
  return /^(["'])(.*)\1$/.exec(text)?.[2] ?? text;
}

function emptySection(): Growing {
  return { values: new Map(), sections: new Map() };
}

function wrong(at: number, why: string): GatewayError {
  return new GatewayError('config/invalid', `line ${at + 1}: ${why}`);
}
