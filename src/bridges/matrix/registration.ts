import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { toHex } from '../../lib/bytes.ts';
import { type FieldError, GatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import { botLocalpart, portalAlias, prefix } from './mxid.ts';

/**
 * An appservice registration: what the homeserver reads to know this bridge, and what both know each other by.
 * Source: Matrix specification v1.19, “Application Service API › Registration”.
 */
export interface Registration {
  readonly id: string;
  readonly url: string;
  /** What the gateway shows the homeserver. */
  readonly as_token: string;
  /** What the homeserver shows the gateway. */
  readonly hs_token: string;
  readonly sender_localpart: string;
}

/** What a registration must agree with. */
export interface Expected {
  readonly serverName: string;
  /** Where the configuration says the homeserver reaches the gateway; undefined where it says nothing firm. */
  readonly url?: string | undefined;
}

export interface Findings {
  readonly registration?: Registration;
  /** What keeps the bridge from working. */
  readonly mistakes: readonly FieldError[];
  /** What makes it work less well. */
  readonly warnings: readonly FieldError[];
}

const tokenBytes = 32;
const shortestToken = 16;

/** A new registration with fresh tokens, as the text of its file. */
export function makeRegistration(expected: Expected & { readonly url: string }, random: Random): string {
  const server = expected.serverName.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const token = () => toHex(random.bytes(tokenBytes));
  const quoted = (regex: string) => `'${regex.replaceAll("'", "''")}'`;
  return [
    '# How the homeserver and the kOS gateway know each other. Both read this file; keep it from everybody else.',
    '# Synapse: list it under app_service_config_files in homeserver.yaml, and restart Synapse.',
    'id: kos',
    `url: ${JSON.stringify(expected.url)}`,
    `as_token: ${token()}`,
    `hs_token: ${token()}`,
    `sender_localpart: ${botLocalpart}`,
    'rate_limited: false',
    'receive_ephemeral: true',
    'namespaces:',
    '  users:',
    `    - { exclusive: true, regex: ${quoted(`@${prefix}.*:${server}`)} }`,
    '  aliases:',
    `    - { exclusive: true, regex: ${quoted(`#${prefix}.*:${server}`)} }`,
    '  rooms: []',
    '',
  ].join('\n');
}

/** Reads and checks a registration file. Throws `config/invalid` with every mistake in words. */
export function readRegistration(file: string, expected: Expected): Registration {
  const { registration, mistakes } = checkRegistrationFile(file, expected);
  if (registration === undefined || mistakes.length > 0) {
    throw new GatewayError('config/invalid', `${mistakes.length} mistake(s) in the registration ${file}`, {
      errors: mistakes,
    });
  }
  return registration;
}

/** Everything that is wrong with a registration file, in words; it never throws. */
export function checkRegistrationFile(file: string, expected: Expected): Findings {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const why =
      code === 'ENOENT'
        ? 'is not there: make it with kosctl matrix registration'
        : code === 'EACCES'
          ? 'may not be read by the user that runs the gateway'
          : `cannot be read (${code})`;
    return { mistakes: [{ pointer: file, detail: why }], warnings: [] };
  }
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 0 });
  } catch (cause) {
    const line = (cause as Error).message.split('\n')[0] ?? '';
    return { mistakes: [{ pointer: file, detail: `is not YAML: ${line}` }], warnings: [] };
  }
  return checkRegistration(value, expected);
}

/** What is wrong with the content of a registration, key by key. Tokens are never shown. */
export function checkRegistration(value: unknown, expected: Expected): Findings {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return {
      mistakes: [{ pointer: '(file)', detail: 'expected keys such as id:, url: and as_token:' }],
      warnings: [],
    };
  }
  const keys = value as Readonly<Record<string, unknown>>;
  const mistakes: FieldError[] = [];
  const warnings: FieldError[] = [];
  const wrong = (pointer: string, detail: string) => void mistakes.push({ pointer, detail });
  const text = (key: string): string | undefined => {
    const given = keys[key];
    if (given === undefined || given === null) {
      wrong(key, 'missing');
      return undefined;
    }
    if (typeof given !== 'string' || given === '') {
      wrong(key, 'must be a text: put it in quotes');
      return undefined;
    }
    return given;
  };
  const id = text('id');
  const as_token = token('as_token');
  const hs_token = token('hs_token');
  if (as_token !== undefined && as_token === hs_token) {
    wrong('hs_token', 'is the same as as_token: each side needs a secret of its own');
  }
  const sender_localpart = text('sender_localpart');
  if (sender_localpart !== undefined && !/^[a-z0-9._=/+-]+$/.test(sender_localpart)) {
    wrong('sender_localpart', 'may hold a-z, 0-9 and . _ = / + - only');
  }
  const url = checkUrl();
  checkNamespaces();
  if (keys.rate_limited !== false) {
    warnings.push({
      pointer: 'rate_limited',
      detail: 'is not false: the homeserver slows the messages of mesh peers down',
    });
  }
  if (keys.receive_ephemeral !== true) {
    warnings.push({ pointer: 'receive_ephemeral', detail: 'is not true: read receipts do not come' });
  }
  const whole =
    id !== undefined &&
    url !== undefined &&
    as_token !== undefined &&
    hs_token !== undefined &&
    sender_localpart !== undefined;
  return {
    ...(whole ? { registration: { id, url, as_token, hs_token, sender_localpart } } : {}),
    mistakes,
    warnings,
  };

  function token(key: string): string | undefined {
    const given = text(key);
    if (given === undefined) {
      return undefined;
    }
    if (given.length < shortestToken) {
      wrong(key, `is shorter than ${shortestToken} characters: it can be guessed`);
    } else if (!/^[!-~]+$/.test(given)) {
      wrong(key, 'holds spaces or letters beyond ASCII, which do not fit a header');
    }
    return given;
  }

  function checkUrl(): string | undefined {
    if (keys.url === null) {
      wrong('url', 'is null: the homeserver would never send anything here');
      return undefined;
    }
    const given = text('url');
    const parsed = given === undefined ? undefined : URL.parse(given);
    if (given === undefined) {
      return undefined;
    }
    if (!parsed || !/^https?:$/.test(parsed.protocol)) {
      wrong('url', `${JSON.stringify(given)} is no http:// or https:// URL`);
    } else if (expected.url !== undefined && URL.parse(expected.url)?.origin !== parsed.origin) {
      wrong('url', `says ${parsed.origin}, but the gateway listens at ${expected.url}`);
    }
    return given;
  }

  function checkNamespaces(): void {
    const given = keys.namespaces;
    if (typeof given !== 'object' || given === null || Array.isArray(given)) {
      wrong('namespaces', given === undefined ? 'missing' : 'must hold users:, aliases: and rooms:');
      return;
    }
    const spaces = given as Readonly<Record<string, unknown>>;
    const { serverName } = expected;
    const users = regexes('users', spaces.users);
    const aliases = regexes('aliases', spaces.aliases);
    if (users !== undefined) {
      const ghost = `@${prefix}${'0123456789abcdef'.repeat(2)}:${serverName}`;
      covered('namespaces.users', users, ghost, 'the users of mesh peers');
      if (sender_localpart !== undefined) {
        covered('namespaces.users', users, `@${sender_localpart}:${serverName}`, 'the sender_localpart');
      }
      if (users.some(({ exclusive, regex }) => exclusive && regex.test(`@alice:${serverName}`))) {
        wrong(
          'namespaces.users',
          `is too wide: it takes @alice:${serverName} and everybody else away from the homeserver`,
        );
      }
    }
    if (aliases !== undefined) {
      covered('namespaces.aliases', aliases, `#${portalAlias('plaza')}:${serverName}`, 'the portal rooms');
    }
  }

  function regexes(
    space: string,
    given: unknown,
  ): readonly { readonly exclusive: boolean; readonly regex: RegExp }[] | undefined {
    const pointer = `namespaces.${space}`;
    if (!Array.isArray(given)) {
      wrong(pointer, given === undefined || given === null ? 'missing' : 'must be a list');
      return undefined;
    }
    const found: { exclusive: boolean; regex: RegExp }[] = [];
    for (const [index, entry] of given.entries()) {
      const source: unknown = entry?.regex;
      if (typeof source !== 'string') {
        wrong(`${pointer}.${index}`, 'has no regex');
        continue;
      }
      try {
        // The homeserver matches from the beginning, and not necessarily to the end.
        found.push({ exclusive: entry.exclusive === true, regex: new RegExp(`^(?:${source})`) });
      } catch {
        wrong(`${pointer}.${index}.regex`, `${JSON.stringify(source)} is no regular expression`);
      }
    }
    return found;
  }

  function covered(
    pointer: string,
    spaces: readonly { readonly exclusive: boolean; readonly regex: RegExp }[],
    example: string,
    what: string,
  ): void {
    const fitting = spaces.filter(({ regex }) => regex.test(example));
    if (fitting.length === 0) {
      wrong(pointer, `no regex covers ${what} (${example}): is serverName right?`);
    } else if (!fitting.some(({ exclusive }) => exclusive)) {
      wrong(pointer, `the regex for ${what} is not exclusive: others could take their names`);
    }
  }
}
