import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIni, type Section } from '../../../src/cli/rns/ini.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';

/** As a plain tree. */
function plain(section: Section): object {
  return {
    ...Object.fromEntries(section.values),
    ...Object.fromEntries([...section.sections].map(([name, inner]) => [name, plain(inner)])),
  };
}

test('sections, keys, comments, quotes, lists and long texts are read', () => {
  const text = `
# a comment
top = 1   # another
[reticulum]   # and one
  enable_transport = Yes
  "quoted key" = 'it is "so"'
  empty =
  none = ""
[interfaces]
  [[Default Interface]]
    devices = eth0, "wlan0, really" , usb0
    one_of_a_list = a,
    passphrase = "a # b = c"
    url = http://x/?a=b
    [[[inner]]]
    x = 1
  [[Second]]
    text = """first
  second"""
[logging]
loglevel = 4`;
  assert.deepEqual(plain(parseIni(text)), {
    top: '1',
    reticulum: { enable_transport: 'Yes', 'quoted key': 'it is "so"', empty: '', none: '' },
    interfaces: {
      'Default Interface': {
        devices: ['eth0', 'wlan0, really', 'usb0'],
        one_of_a_list: ['a'],
        passphrase: 'a # b = c',
        url: 'http://x/?a=b',
        inner: { x: '1' },
      },
      Second: { text: 'first\n  second' },
    },
    logging: { loglevel: '4' },
  });
});

test('what makes no sense is told with its line', () => {
  for (const [text, line] of [
    ['[a\n', 1],
    ['[a]\n[[[b]]]\n', 2],
    ['[a]\nx = 1\nx = 2\n', 3],
    ['[a]\n[b]\n[a]\n', 3],
    ['just words\n', 1],
    ['x = "open\n', 1],
    ['\nx = """never\nends\n', 2],
    ['x = "a" b\n', 1],
    ['[]\n', 1],
  ] as const) {
    assert.throws(
      () => parseIni(text),
      error => isGatewayError(error, 'config/invalid') && error.errors[0]?.pointer === `line ${line}`,
      text,
    );
  }
});

test('any text is read or refused, and one that is too large is refused', () => {
  const pieces = fc.constantFrom(
    '[',
    ']',
    '[[',
    ']]',
    '=',
    '"',
    "'",
    '"""',
    '#',
    ',',
    '\n',
    ' ',
    'a',
    'b = c',
    '__proto__',
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(pieces, fc.string({ maxLength: 8 })), { maxLength: 60 }), parts => {
      try {
        parseIni(parts.join(''));
      } catch (error) {
        assert.ok(isGatewayError(error, 'config/invalid'), String(error));
      }
    }),
  );
  assert.throws(
    () => parseIni('a'.repeat(2_000_000)),
    error => isGatewayError(error, 'config/invalid'),
  );
  assert.throws(
    () => parseIni('\n'.repeat(30_000)),
    error => isGatewayError(error, 'config/invalid'),
  );
});
