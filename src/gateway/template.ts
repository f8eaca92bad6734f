import type { HubFacts } from './desk.ts';
import { type Address, type Message, nameOf, schemeOf } from './message.ts';

/**
 * A small language by which a rule words a message anew: `Temperature {data.values.t|round:1|unit:°C} at {from.name}`.
 *
 *     text         as it stands; `{{` and `}}` are one brace each
 *     {path}       what the message has there; nothing where it has nothing
 *     {path|f|g:x} the same through filters, from left to right
 *
 * There are no loops, no conditions and no code, and what comes out is bounded, whatever the message holds.
 */
export interface Template {
  readonly parts: readonly Part[];
}

type Part = string | Placeholder;

interface Placeholder {
  readonly path: readonly [root: string, ...rest: string[]];
  readonly filters: readonly { readonly name: FilterName; readonly argument: string | undefined }[];
}

/** What a template is filled from. */
export interface TemplateFacts {
  readonly message: Message;
  readonly hub: Pick<HubFacts, 'id' | 'name'>;
  readonly nameOf: (address: Address) => string;
}

/** Characters of a template, placeholders in it, filters of each, names of a path, and characters of what comes out. */
export const templateLimits = {
  source: 1000,
  placeholders: 32,
  filters: 8,
  path: 8,
  value: 1000,
  output: 4000,
};

type Value = unknown;

interface Filter {
  /** Whether it takes an argument: `needed`, `maybe` or `none`. */
  readonly takes: 'needed' | 'maybe' | 'none';
  readonly argument?: { readonly shape: RegExp; readonly is: string };
  readonly apply: (value: Value, argument: string | undefined) => Value;
}

const filters = {
  /** A number with so many decimals, 0 without; anything else as it is. */
  round: {
    takes: 'maybe',
    argument: { shape: /^[0-6]$/, is: 'decimals from 0 to 6' },
    apply(value, decimals = '0') {
      const number = numberOf(value);
      return number === undefined || Math.abs(number) >= 1e15 ? value : number.toFixed(Number(decimals));
    },
  },
  upper: { takes: 'none', apply: value => shown(value).toUpperCase() },
  lower: { takes: 'none', apply: value => shown(value).toLowerCase() },
  /** Instead of nothing. */
  default: { takes: 'needed', apply: (value, words) => (shown(value) === '' ? words : value) },
  /** ms since 1970, by the clock on the wall; anything else as it is. */
  date: {
    takes: 'maybe',
    argument: { shape: /^(?:day|time|iso)$/, is: 'day, time or iso' },
    apply: (value, form) => dateOf(value, form),
  },
  /** The unit behind what is there; nothing behind nothing. */
  unit: {
    takes: 'needed',
    apply: (value, unit) => (shown(value) === '' ? '' : `${shown(value)} ${unit}`),
  },
} satisfies Record<string, Filter>;

type FilterName = keyof typeof filters;

const roots = [
  'id',
  'text',
  'title',
  'type',
  'priority',
  'sentAt',
  'acceptedAt',
  'data',
  'from',
  'to',
  'hub',
  'author',
];
/** Roots that are not one value but have these. */
const members: Readonly<Record<string, readonly string[]>> = {
  from: ['address', 'name', 'id'],
  to: ['address', 'name', 'id'],
  hub: ['id', 'name'],
  author: ['name'],
};

/** What a template looks like, but for the number of its placeholders. */
export const templateShape = shapeOf();

function shapeOf(): RegExp {
  const name = '\\.[^\\s.|{}]{1,64}';
  const whole = roots.filter(root => root !== 'data' && members[root] === undefined);
  const parted = Object.entries(members).map(([root, names]) => `${root}\\.(?:${names.join('|')})`);
  const path = [...whole, `data(?:${name}){0,${templateLimits.path - 1}}`, ...parted].join('|');
  const words = '[^|{}]*';
  const filter = `round(?::[0-6])?|upper|lower|default:${words}|date(?::(?:day|time|iso))?|unit:${words}`;
  const placeholder = `\\{(?:${path})(?:\\|(?:${filter})){0,${templateLimits.filters}}\\}`;
  return new RegExp(`^(?:[^{}]|\\{\\{|\\}\\}|${placeholder})*$`);
}

/** Reads a template; `mistake` says what is wrong with it and where. */
export function readTemplate(source: string): { readonly template: Template } | { readonly mistake: string } {
  if (source.length > templateLimits.source) {
    return { mistake: `${templateLimits.source} characters at most` };
  }
  const parts: Part[] = [];
  let words = '';
  let placeholders = 0;
  for (let at = 0; at < source.length; ) {
    const sign = source[at];
    if ((sign === '{' || sign === '}') && source[at + 1] === sign) {
      words += sign;
      at += 2;
    } else if (sign === '}') {
      return { mistake: `character ${at + 1}: } without {; }} is a brace` };
    } else if (sign === '{') {
      const end = source.indexOf('}', at);
      if (end < 0) {
        return { mistake: `character ${at + 1}: { without }; {{ is a brace` };
      }
      const read = readPlaceholder(source.slice(at + 1, end));
      placeholders += 1;
      if (typeof read === 'string') {
        return { mistake: `character ${at + 1}: ${read}` };
      }
      if (placeholders > templateLimits.placeholders) {
        return { mistake: `${templateLimits.placeholders} placeholders at most` };
      }
      if (words !== '') {
        parts.push(words);
        words = '';
      }
      parts.push(read);
      at = end + 1;
    } else {
      words += sign;
      at += 1;
    }
  }
  return { template: { parts: words === '' ? parts : [...parts, words] } };
}

/** A placeholder, or what is wrong with it. */
function readPlaceholder(inside: string): Placeholder | string {
  if (inside.includes('{')) {
    return '{ inside of a placeholder';
  }
  const [path = '', ...rest] = inside.split('|');
  const [root = '', ...names] = path.split('.');
  if (!roots.includes(root)) {
    return `${quoted(root)} is none of ${roots.join(', ')}`;
  }
  if (names.length >= templateLimits.path || names.some(name => !/^\S{1,64}$/.test(name))) {
    return `${quoted(path)}: names with dots between them, ${templateLimits.path} at most`;
  }
  const wanted = members[root];
  if (wanted !== undefined && (names.length !== 1 || !wanted.includes(names[0]!))) {
    return `${quoted(path)}: ${root} has ${wanted.join(', ')}`;
  }
  if (wanted === undefined && root !== 'data' && names.length > 0) {
    return `${quoted(path)}: ${root} has no parts`;
  }
  if (rest.length > templateLimits.filters) {
    return `${templateLimits.filters} filters at most`;
  }
  const found: Placeholder['filters'][number][] = [];
  for (const one of rest) {
    const colon = one.indexOf(':');
    const name = colon < 0 ? one : one.slice(0, colon);
    const argument = colon < 0 ? undefined : one.slice(colon + 1);
    const mistake = filterMistake(name, argument);
    if (mistake !== undefined) {
      return mistake;
    }
    found.push({ name: name as FilterName, argument });
  }
  return { path: [root, ...names], filters: found };
}

function filterMistake(name: string, argument: string | undefined): string | undefined {
  if (!Object.hasOwn(filters, name)) {
    return `${quoted(name)} is none of the filters ${Object.keys(filters).join(', ')}`;
  }
  const { takes, argument: shape } = filters[name as FilterName] as Filter;
  if (takes === 'needed' && argument === undefined) {
    return `${name} needs a value: ${name}:…`;
  }
  if (takes === 'none' && argument !== undefined) {
    return `${name} takes no value`;
  }
  return argument !== undefined && shape !== undefined && !shape.shape.test(argument)
    ? `${name}:${argument} is wrong: ${shape.is}`
    : undefined;
}

/** The words of a template for one message. */
export function fill(template: Template, facts: TemplateFacts): string {
  let words = '';
  for (const part of template.parts) {
    words += typeof part === 'string' ? part : filled(part, facts);
    if (words.length > templateLimits.output) {
      break;
    }
  }
  return whole(words, templateLimits.output);
}

function filled({ path, filters: through }: Placeholder, facts: TemplateFacts): string {
  let value = valueAt(path, facts);
  for (const { name, argument } of through) {
    value = (filters[name] as Filter).apply(value, argument);
  }
  return whole(shown(value), templateLimits.value);
}

function valueAt(
  [root, ...names]: Placeholder['path'],
  { message, hub, nameOf: called }: TemplateFacts,
): Value {
  switch (root) {
    case 'from':
    case 'to': {
      const address = message[root];
      return names[0] === 'address' ? address : names[0] === 'id' ? nameOf(address) : nameIn(address, called);
    }
    case 'hub':
      return names[0] === 'id' ? hub.id : hub.name;
    case 'author':
      return message.author?.name;
    case 'data':
      return names.reduce<Value>(
        (value, name) =>
          typeof value === 'object' && value !== null && Object.hasOwn(value, name)
            ? (value as Record<string, unknown>)[name]
            : undefined,
        message.data,
      );
    default:
      return message[root as 'id' | 'text' | 'title' | 'type' | 'priority' | 'sentAt' | 'acceptedAt'];
  }
}

function nameIn(address: Address, called: (address: Address) => string): string {
  return schemeOf(address) === 'room' ? nameOf(address) : called(address);
}

/** A value as it is read: without control characters, which no reader of a line expects. */
function shown(value: Value): string {
  if (value === undefined || value === null) {
    return '';
  }
  const text =
    typeof value === 'object' ? (JSON.stringify(value) ?? '') : String(value as string | number | boolean);
  return text
    .slice(0, templateLimits.output)
    .replace(/[\p{Cc}\p{Cs}]/gu, sign => (sign === '\n' ? sign : ' '));
}

function numberOf(value: Value): number | undefined {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined;
}

function dateOf(value: Value, form: string | undefined): Value {
  const at = numberOf(value);
  const date = new Date(at ?? Number.NaN);
  const year = date.getFullYear();
  if (Number.isNaN(year) || year < 0 || year > 9999) {
    return value;
  }
  if (form === 'iso') {
    return date.toISOString();
  }
  const two = (part: number) => String(part).padStart(2, '0');
  const day = `${String(year).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return form === 'day' ? day : form === 'time' ? time : `${day} ${time}`;
}

/** The beginning of a text that does not end inside of a character. */
function whole(text: string, limit: number): string {
  return text.length <= limit ? text : text.slice(0, limit).replace(/[\ud800-\udbff]$/, '');
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}
