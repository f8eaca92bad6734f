import { GatewayError } from '../lib/errors.ts';

/** Nesting of arrays and objects: deeper JSON is refused before anything walks it. */
export const deepestJson = 64;

/**
 * The value of a JSON text from outside. Stricter than `JSON.parse`: a key given twice, a key `__proto__`,
 * a number that JavaScript would change and nesting beyond `deepestJson` are refused, because readers
 * further on would disagree about them.
 * Throws `request/invalid` with a pointer to the place where there is one.
 */
export function parseJson(text: string): unknown {
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
    const level = levels.at(-1);
    switch (text[at]) {
      case '"': {
        const end = endOfString(text, at);
        if (expectKey && level?.keys !== undefined) {
          key = JSON.parse(text.slice(at, end + 1)) as string;
          addKey(level.keys, key, level.pointer);
          expectKey = false;
        }
        at = end;
        break;
      }
      case '{':
      case '[': {
        if (levels.length === deepestJson) {
          throw refuse(levels[0]?.pointer ?? '', `nested more than ${deepestJson} deep`);
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

function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); ; at = text.indexOf('"', at + 1)) {
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
