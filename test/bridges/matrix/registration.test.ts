import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import {
  checkRegistration,
  checkRegistrationFile,
  makeRegistration,
  readRegistration,
} from '../../../src/bridges/matrix/registration.ts';
import { urlOf } from '../../../src/bridges/matrix/setup.ts';
import { writeRegistration } from '../../../src/cli/matrix.ts';
import { loadConfig } from '../../../src/config.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { systemRandom } from '../../../src/lib/random.ts';

const expected = { serverName: 'home.example', url: 'http://127.0.0.1:8080' };
const good = () => parse(makeRegistration(expected, systemRandom)) as Record<string, unknown>;

function mistakesOf(changes: object): Record<string, string> {
  const { mistakes } = checkRegistration({ ...good(), ...changes }, expected);
  return Object.fromEntries(mistakes.map(({ pointer, detail }) => [pointer, detail]));
}

test('a registration that was made has nothing wrong with it, and tokens of its own every time', () => {
  const { registration, mistakes, warnings } = checkRegistration(good(), expected);
  assert.deepEqual([mistakes, warnings], [[], []]);
  assert.equal(registration?.sender_localpart, '_kos_bot');
  assert.notEqual(good().as_token, good().as_token);
});

test('what is wrong with a registration is said in words, everything at once, and no token is shown', () => {
  const secret = 'a-secret-of-some-length';
  const { mistakes } = checkRegistration(
    { id: 7, as_token: secret, hs_token: secret, url: 'ftp://x', sender_localpart: 'Bot!' },
    expected,
  );
  const lines = mistakes.map(({ pointer, detail }) => `${pointer}: ${detail}`);
  for (const wanted of [
    /^id: must be a text/,
    /^hs_token: is the same as as_token/,
    /^url: "ftp:\/\/x" is no http/,
    /^sender_localpart: may hold/,
    /^namespaces: missing/,
  ]) {
    assert.ok(
      lines.some(line => wanted.test(line)),
      `${wanted}\n${lines.join('\n')}`,
    );
  }
  assert.ok(!lines.join('\n').includes(secret));
});

test('each mistake has its own words', () => {
  const users = (regex: string, exclusive = true) => ({
    namespaces: {
      users: [{ exclusive, regex }],
      aliases: [{ exclusive: true, regex: '#_kos_.*:home\\.example' }],
      rooms: [],
    },
  });
  assert.match(mistakesOf({ url: null }).url ?? '', /never send anything here/);
  assert.match(
    mistakesOf({ url: 'http://127.0.0.1:9999' }).url ?? '',
    /listens at http:\/\/127\.0\.0\.1:8080/,
  );
  assert.match(mistakesOf({ as_token: 'short' }).as_token ?? '', /can be guessed/);
  assert.match(mistakesOf({ as_token: undefined }).as_token ?? '', /missing/);
  assert.match(mistakesOf({ as_token: 1234567890123456 }).as_token ?? '', /quotes/);
  assert.match(mistakesOf({ hs_token: 'with a space in its middle' }).hs_token ?? '', /do not fit a header/);
  assert.match(mistakesOf({ sender_localpart: 'bridge' })['namespaces.users'] ?? '', /the sender_localpart/);
  const wrongServer = mistakesOf(users('@_kos_.*:other\\.example'));
  assert.match(wrongServer['namespaces.users'] ?? '', /is serverName right/);
  assert.match(
    mistakesOf(users('@_kos_.*:home\\.example', false))['namespaces.users'] ?? '',
    /not exclusive/,
  );
  assert.match(mistakesOf(users('@.*:home\\.example'))['namespaces.users'] ?? '', /too wide/);
  assert.match(mistakesOf(users('@_kos_(:home'))['namespaces.users.0.regex'] ?? '', /no regular expression/);
  const { warnings } = checkRegistration(
    { ...good(), rate_limited: undefined, receive_ephemeral: false },
    expected,
  );
  assert.deepEqual(
    warnings.map(({ pointer }) => pointer),
    ['rate_limited', 'receive_ephemeral'],
  );
});

test('a file that is not there, not YAML or no mapping is told as such', () => {
  const dir = mkdtempSync(join(tmpdir(), 'kos-registration-'));
  try {
    const detail = (name: string, text?: string) => {
      const file = join(dir, name);
      if (text !== undefined) {
        writeFileSync(file, text);
      }
      return checkRegistrationFile(file, expected).mistakes[0]?.detail ?? '';
    };
    assert.match(detail('none'), /kosctl matrix registration/);
    assert.match(detail('broken', 'id: [kos'), /is not YAML/);
    assert.match(detail('list', '- a'), /expected keys/);
    assert.throws(
      () => readRegistration(join(dir, 'none'), expected),
      error => isGatewayError(error, 'config/invalid') && error.errors.length === 1,
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('the file is made for its owner alone, where the configuration says, and never written over by accident', () => {
  const dir = mkdtempSync(join(tmpdir(), 'kos-registration-'));
  try {
    const file = join(dir, 'kos.yaml');
    writeFileSync(
      file,
      'bridges: { matrix: { homeserver: "http://127.0.0.1:8008", serverName: home.example, registration: ./data/r.yaml } }',
    );
    const config = loadConfig({ file });
    const made = writeRegistration(config, false);
    assert.deepEqual(made, { file: join(dir, 'data', 'r.yaml'), url: 'http://127.0.0.1:8080' });
    assert.equal(statSync(made.file).mode & 0o777, 0o600);
    const { as_token } = readRegistration(made.file, expected);
    assert.throws(
      () => writeRegistration(config, false),
      error => isGatewayError(error, 'request/conflict'),
    );
    assert.equal(readRegistration(made.file, expected).as_token, as_token);
    writeRegistration(config, true);
    assert.notEqual(readRegistration(made.file, expected).as_token, as_token);
    assert.throws(
      () => writeRegistration(loadConfig({}), false),
      error => isGatewayError(error, 'config/invalid') && /bridges\.matrix/.test(error.message),
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('the url is what the configuration says, or where the gateway listens, unless any port may be taken', () => {
  const matrix = {
    homeserver: 'http://127.0.0.1:8008',
    serverName: 'home.example',
    registration: 'r.yaml',
    portals: 'server' as const,
  };
  assert.equal(urlOf(matrix, '127.0.0.1:8080'), 'http://127.0.0.1:8080');
  assert.equal(urlOf(matrix, '0.0.0.0:8080'), 'http://127.0.0.1:8080');
  assert.equal(urlOf(matrix, '[::1]:8080'), 'http://[::1]:8080');
  assert.equal(urlOf(matrix, '127.0.0.1:0'), undefined);
  assert.equal(urlOf({ ...matrix, url: 'http://kos:8080' }, '127.0.0.1:0'), 'http://kos:8080');
});
