import { GatewayError } from '../lib/errors.ts';

/** Nesting of arrays and objects: deeper JSON is refused before anything walks it. */
export const deepestJson = 64;

/**
 * Values in one text: each costs time wherever the whole is walked, and nobody else is served meanwhile. Two megabytes of
 * brackets are half a second of a good processor.
 */
export const mostJsonValues = 65_536;

/**
 * The value of a JSON text from outside. Stricter than `JSON.parse`: a key given twice, a key `__proto__`,
 * a number that JavaScript would change and nesting beyond `deepestJson` are refused, because readers
 * further on would disagree about them; so is what has more than `mostJsonValues`, before it is read.
 * Throws `request/invalid` with a pointer to the place where there is one.
 */
export function parseJson(text: string): unknown {
  const excess = excessOf(text);
  if (excess !== undefined) {
    throw refuse('', excess);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new GatewayError('request/invalid', 'the body is not JSON', {
      cause,
      errors: [{ pointer: '', detail: `not JSON: ${(cause as Error).message.slice(0, 200)}` }],
    });
  }
  checkKeys(text);
  return value;
}

/** What is too much about a long text, without reading it; of one that is no JSON, anything. */
function excessOf(text: string): string | undefined {
  let values = 1;
  let depth = 0;
  for (let at = text.length > mostJsonValues ? 0 : text.length; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x22: // "
        at = endOfString(text, at);
        break;
      case 0x5b: // [
      case 0x7b: // {
        values += 1;
        depth += 1;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth -= 1;
        break;
      case 0x2c: // ,
        values += 1;
    }
    if (depth > deepestJson) {
      return tooDeep;
    }
    if (values > mostJsonValues) {
      return `more than ${mostJsonValues} values`;
    }
  }
  return undefined;
}

const tooDeep = `nested more than ${deepestJson} deep`;

interface Level {
  /** The keys seen in this object so far; none in an array. */
  readonly keys: Set<string> | undefined;
  readonly pointer: string;
}

/** Walks the text of well-formed JSON once, without recursion. */
function checkKeys(text: string): void {
  const levels: Level[] = [];
  let key = '';
  let expectKey = false;
  for (let at = 0; at < text.length; at++) {
    const level = levels[levels.length - 1];
    switch (text[at]) {
      case '"': {
        const end = endOfString(text, at);
        if (expectKey && level?.keys !== undefined) {
          const raw = text.slice(at + 1, end);
          key = raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
          addKey(level.keys, key, level.pointer);
          expectKey = false;
        }
        at = end;
        break;
      }
      case '{':
      case '[': {
        if (levels.length === deepestJson) {
          throw refuse(levels[0]?.pointer ?? '', tooDeep);
        }
        const isObject = text[at] === '{';
        const pointer =
          level === undefined
            ? ''
            : `${level.pointer}/${level.keys === undefined ? '-' : escapePointer(key)}`;
        levels.push({ keys: isObject ? new Set() : undefined, pointer });
        expectKey = isObject;
        break;
      }
      case '}':
      case ']':
        levels.pop();
        expectKey = false;
        break;
      case ',':
        expectKey = level?.keys !== undefined;
        break;
      default:
        if (beginsNumber(text.charCodeAt(at))) {
          const number = numberAt(text, at);
          if (!keepsItsValue(number)) {
            const here =
              level === undefined
                ? ''
                : `${level.pointer}/${level.keys === undefined ? '-' : escapePointer(key)}`;
            throw refuse(
              here,
              `${number.slice(0, 40)}: a number beyond what JSON readers agree on; send it as text`,
            );
          }
          at += number.length - 1;
        }
    }
  }
}

/** `-`, or a digit. */
function beginsNumber(code: number): boolean {
  return code === 0x2d || (code >= 0x30 && code <= 0x39);
}

function numberAt(text: string, start: number): string {
  numberPattern.lastIndex = start;
  return numberPattern.exec(text)?.[0] ?? '';
}

const numberPattern = /-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;

/** Infinities become null and large integers lose digits in silence. */
function keepsItsValue(text: string): boolean {
  const value = Number(text);
  return Number.isFinite(value) && (!/^-?[0-9]+$/.test(text) || String(value) === text || text === '-0');
}

/** Where the string that begins here ends; beyond the text where it does not. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); ; at = text.indexOf('"', at + 1)) {
    if (at < 0) {
      return text.length;
    }
    let escapes = 0;
    while (text[at - 1 - escapes] === '\\') {
      escapes += 1;
    }
    if (escapes % 2 === 0) {
      return at;
    }
  }
}

function addKey(keys: Set<string>, key: string, pointer: string): void {
  if (key === '__proto__') {
    throw refuse(`${pointer}/${escapePointer(key)}`, 'not a key that can be used here');
  }
  if (keys.has(key)) {
    throw refuse(`${pointer}/${escapePointer(key)}`, 'given twice');
  }
  keys.add(key);
}

function refuse(pointer: string, detail: string): GatewayError {
  return new GatewayError('request/invalid', detail, { errors: [{ pointer, detail }] });
}

/** One step of a JSON pointer (RFC 6901). */
export function escapePointer(step: string): string {
  return step.replaceAll('~', '~0').replaceAll('/', '~1');
}

/** Whether a JSON value is an object. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
