import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { JsonValue, Message } from '../../src/gateway/message.ts';
import {
  fill,
  readTemplate,
  type TemplateFacts,
  templateLimits,
  templateShape,
} from '../../src/gateway/template.ts';

const message: Message = {
  id: '0'.repeat(32),
  type: 'sensor.reading',
  from: 'mqtt:dev/pump-1',
  to: 'room:sensors',
  sentAt: Date.UTC(2026, 10, 27, 14, 5, 9),
  acceptedAt: 1_800_000_000_000,
  expiresAt: 1_900_000_000_000,
  priority: 'normal',
  text: 'plain words',
  attachments: [],
  via: [],
  assurance: 'hub',
  data: {
    device: 'pump-1',
    values: { temperature: 21.456, name: 'é', deep: { list: [1, 2] }, nothing: null },
  },
};
const facts: TemplateFacts = {
  message,
  hub: { id: 'ab'.repeat(16), name: 'Elm Street' },
  nameOf: address => (address === 'mqtt:dev/pump-1' ? 'Pump' : address),
};

function words(source: string, changed: Partial<Message> = {}): string {
  const read = readTemplate(source);
  assert.ok('template' in read, 'mistake' in read ? read.mistake : '');
  return fill(read.template, { ...facts, message: { ...message, ...changed } });
}

test('a template says what the message has at its places, through its filters', () => {
  for (const [source, said] of [
    ['Temperature {data.values.temperature|round:1} °C at {from.name}', 'Temperature 21.5 °C at Pump'],
    ['{data.values.temperature|round|unit:°C}', '21 °C'],
    ['{text|upper} {type} {priority|default:x}', 'PLAIN WORDS sensor.reading normal'],
    ['{data.values.none|default:no reading}', 'no reading'],
    ['{data.values.none}{data.values.nothing}{title}', ''],
    ['{data.values.none|unit:°C}', ''],
    ['{data.values.deep.list.1} of {data.values.deep}', '2 of {"list":[1,2]}'],
    ['{sentAt|date:iso}', '2026-11-27T14:05:09.000Z'],
    ['{from.id} {from.address} {to.name} {hub.name}', 'dev/pump-1 mqtt:dev/pump-1 sensors Elm Street'],
    ['{{not a place}} {{{text}}}', '{not a place} {plain words}'],
    ['{data.constructor}{data.__proto__}{data.values.toString}', ''],
    ['{text|round:2}|{text|date}', 'plain words|plain words'],
    ['{data.values.name|upper|lower}', 'é'],
  ] as const) {
    assert.equal(words(source), said, source);
  }
  assert.match(words('{sentAt|date}'), /^2026-11-2[678] \d\d:\d\d$/);
  assert.match(words('{sentAt|date:day} {sentAt|date:time}'), /^2026-11-2[678] \d\d:\d\d$/);
});

test('a template with a mistake is refused with its place', () => {
  for (const [source, mistake] of [
    ['Hello {text', /^character 7: \{ without \}/],
    ['Hello }', /^character 7: \} without \{/],
    ['{nothing}', /^character 1: "nothing" is none of id, text/],
    ['ab {from}', /^character 4: "from": from has address, name, id/],
    ['{text.length}', /text has no parts/],
    ['{text|shout}', /"shout" is none of the filters round, upper/],
    ['{text|round:9}', /round:9 is wrong: decimals from 0 to 6/],
    ['{text|upper:x}', /upper takes no value/],
    ['{text|default}', /default needs a value/],
    ['{data.a b}', /names with dots/],
    ['{data.a.b.c.d.e.f.g.h}', /8 at most/],
    ['{text|upper|upper|upper|upper|upper|upper|upper|upper|upper}', /8 filters at most/],
    ['{id}'.repeat(33), /32 placeholders at most/],
    ['x'.repeat(1001), /1000 characters at most/],
    ['{}', /"" is none of/],
    ['{text|default:{x}', /\{ inside of a placeholder/],
    ['{ text}', /" text" is none of/],
  ] as const) {
    const read = readTemplate(source);
    assert.ok('mistake' in read, source);
    assert.match(read.mistake, mistake);
  }
});

test('whatever a template and a message hold, what comes out is bounded and whole, and nothing is thrown', () => {
  const path = fc.oneof(
    fc.constantFrom(
      'text',
      'title',
      'data',
      'data.a',
      'data.a.b',
      'data.0',
      'sentAt',
      'from.name',
      'author.name',
    ),
    fc.string({ maxLength: 20 }),
  );
  const filter = fc.oneof(
    fc.constantFrom(
      'round',
      'round:3',
      'upper',
      'lower',
      'default:x',
      'date',
      'date:time',
      'unit:m',
      'date:iso',
    ),
    fc.string({ maxLength: 10 }),
  );
  const placeholder = fc
    .tuple(path, fc.array(filter, { maxLength: 4 }))
    .map(([one, filters]) => `{${[one, ...filters].join('|')}}`);
  const source = fc
    .array(fc.oneof(placeholder, fc.constantFrom('é', '🌡️', '\ud83c', '{{', '}}', '\n', 'words ')), {
      maxLength: 12,
    })
    .map(parts => parts.join(''));
  fc.assert(
    fc.property(source, fc.jsonValue({ maxDepth: 2 }), fc.string({ maxLength: 100 }), (text, data, body) => {
      const read = readTemplate(text);
      const isFew = text.split('{').length <= templateLimits.placeholders;
      assert.ok(!isFew || templateShape.test(text) === 'template' in read, 'the shape tells the same');
      if ('mistake' in read) {
        assert.ok(read.mistake.length < 400);
        return;
      }
      const said = fill(read.template, {
        ...facts,
        message: { ...message, text: body, data: data as JsonValue },
      });
      assert.ok(said.length <= templateLimits.output);
    }),
    { numRuns: 300 },
  );
});

test('what comes out is cut between characters', () => {
  const long = '🌡️'.repeat(3000);
  for (const text of [`a${long}`, `ab${long}`]) {
    const said = words('{text}{text}{text}{text}{text}', { text });
    assert.ok(said.length <= templateLimits.output);
    assert.ok(said.isWellFormed());
  }
});

test('a template without braces says itself, and doubled braces are one each', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), text => {
      assert.equal(words(text.replaceAll('{', '{{').replaceAll('}', '}}')), text);
    }),
  );
});
