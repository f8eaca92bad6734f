import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readMessage } from '../../../src/bridges/lxmf/incoming.ts';
import { encodeKlp } from '../../../src/bridges/lxmf/klp.ts';
import {
  audioMode,
  audioOf,
  fileName,
  imageOf,
  imageType,
  mediaTypeOf,
} from '../../../src/bridges/lxmf/media.ts';
import { composeMessage, type OutgoingFile } from '../../../src/bridges/lxmf/outgoing.ts';
import { defaultLimits } from '../../../src/gateway/limits.ts';
import {
  defaultLifetime,
  type JsonValue,
  latestTime,
  type Message,
  mostHubs,
} from '../../../src/gateway/message.ts';
import { fromHex, toHex, utf8 } from '../../../src/lib/bytes.ts';
import { encode, Float, type MsgpackValue } from '../../../src/lib/msgpack.ts';
import { audioModes, fields } from '../../../src/mesh/lxmf/fields.ts';
import { decodeMessage, type LxmfMessage } from '../../../src/mesh/lxmf/message.ts';
import { vectors } from '../../mesh/reticulum/vectors.ts';

const sixteen = new Uint8Array(16);
const target = 'ab'.repeat(32);
const hub = 'fe'.repeat(16);

function lxmf(
  content: string,
  values: readonly (readonly [number | string, MsgpackValue])[] = [],
): LxmfMessage {
  return {
    destination: sixteen,
    source: sixteen,
    timestamp: 1_760_000_000.25,
    title: new Uint8Array(),
    content: utf8(content),
    fields: new Map(values.map(([key, value]) => [key, encode(value)])),
  };
}

function message(parts: Partial<Message> = {}): Message {
  return {
    id: '0'.repeat(32),
    type: 'chat.message',
    from: 'app:test',
    to: `lxmf:${'0'.repeat(32)}`,
    sentAt: 1_760_000_000_000,
    acceptedAt: 1_760_000_000_000,
    expiresAt: 1_760_000_000_000 + defaultLifetime,
    priority: 'normal',
    text: '',
    attachments: [],
    via: [],
    assurance: 'hub',
    ...parts,
  };
}

function file(name: string, mediaType: string, bytes = Uint8Array.of(1, 2)): OutgoingFile {
  return { attachment: { name, mediaType, size: bytes.length, sha256: 'ff'.repeat(32) }, bytes };
}

/** What a peer of ours reads of a message of ours. */
function carried(parts: Partial<Message>, files: readonly OutgoingFile[] = [], relatedTo?: string) {
  const content = composeMessage(message(parts), files, relatedTo, hub);
  return readMessage({ ...lxmf(''), ...content });
}

describe('reading a message', () => {
  test('takes text, title and time', () => {
    const reading = readMessage({ ...lxmf('hello ☀'), title: utf8('title') });
    assert.deepEqual(reading, {
      type: 'chat.message',
      text: 'hello ☀',
      title: 'title',
      files: [],
      sentAt: 1_760_000_000_250,
    });
  });

  test('takes no time from a clock that knows none', () => {
    for (const timestamp of [0, -5, Number.NaN, Number.POSITIVE_INFINITY, 1e300]) {
      assert.equal(readMessage({ ...lxmf(''), timestamp }).sentAt, undefined);
    }
  });

  test('takes files, a picture and a recording, with names fit to be shown', () => {
    const reading = readMessage(
      lxmf('', [
        [
          fields.attachments,
          [
            ['../a.txt', Uint8Array.of(1)],
            [utf8('b.bin'), Uint8Array.of(2)],
          ],
        ],
        [fields.image, ['jpg', Uint8Array.of(3)]],
        [fields.audio, [audioModes.codec2_1200, Uint8Array.of(4)]],
      ]),
    );
    assert.deepEqual(
      reading.files.map(({ name, mediaType }) => [name, mediaType]),
      [
        ['.._a.txt', 'text/plain'],
        ['b.bin', 'application/octet-stream'],
        ['image.jpg', 'image/jpeg'],
        ['audio.c2', 'audio/vnd.lxmf; mode=4'],
      ],
    );
    assert.equal(reading.native, undefined);
  });

  test('takes relations, and a reaction as its own type', () => {
    const reply = readMessage(
      lxmf('yes', [
        [fields.replyTo, fromHex(target)],
        [fields.replyQuote, utf8('noon?')],
        [fields.thread, fromHex('cd'.repeat(32))],
      ]),
    );
    assert.deepEqual(reply.relation, { id: target, field: fields.replyTo });
    assert.deepEqual(reply.data, { quote: 'noon?' });
    assert.equal(reply.thread, 'cd'.repeat(32));

    const reaction = readMessage(
      lxmf('', [
        [
          fields.reaction,
          new Map<MsgpackValue, MsgpackValue>([
            [0, fromHex(target)],
            [1, utf8('👍')],
          ]),
        ],
      ]),
    );
    assert.equal(reaction.type, 'chat.reaction');
    assert.equal(reaction.text, '👍');
    assert.deepEqual(reaction.relation, { id: target, field: fields.reaction });
  });

  test('keeps fields that have another shape than theirs, or no member, byte for byte', () => {
    const strange: (readonly [number | string, MsgpackValue])[] = [
      [fields.attachments, 'no list'],
      [fields.image, [1, 2]],
      [fields.replyTo, Uint8Array.of(1)],
      [fields.customType, 'somebody else’s'],
      [fields.telemetry, Uint8Array.of(9)],
      [300, null],
      ['named', -1],
    ];
    const original = lxmf('', strange);
    const reading = readMessage(original);
    assert.deepEqual(reading.files, []);
    assert.deepEqual(
      Object.entries(reading.native!),
      [...original.fields].map(([key, raw]) => [`lxmf:${JSON.stringify(key)}`, raw.toBase64()]),
    );
    const again = composeMessage(message({ native: reading.native! }), [], undefined, hub);
    assert.deepEqual([...again.fields], [...original.fields]);
  });

  test('of the reference never fails and loses no field but the ticket', () => {
    for (const { name, bytes } of vectors('lxmf')) {
      const original = decodeMessage(fromHex(bytes));
      const reading = readMessage(original);
      const native = Object.keys(reading.native ?? {}).length;
      const read = original.fields.size - native;
      assert.ok(native === 0 || read >= 0, name);
      assert.equal(reading.native?.['lxmf:12'], undefined, name);
    }
  });
});

describe('a message of ours', () => {
  test('that LXMF has fields for uses no custom ones', () => {
    const { fields: made } = composeMessage(
      message({ text: 'hi', title: 'T', thread: 'cd'.repeat(16), data: { quote: 'before' } }),
      [file('a.bin', 'application/octet-stream'), file('b.png', 'image/png'), file('c.ogg', 'audio/ogg')],
      target,
      hub,
    );
    assert.deepEqual(
      [...made.keys()].sort((a, b) => Number(a) - Number(b)),
      [fields.attachments, fields.image, fields.audio, fields.thread, fields.replyTo, fields.replyQuote],
    );
  });

  test('with two pictures lists them as files', () => {
    const { files } = carried({}, [file('a.png', 'image/png'), file('b.jpg', 'image/jpeg')]);
    assert.deepEqual(
      files.map(({ name, mediaType }) => [name, mediaType]),
      [
        ['a.png', 'image/png'],
        ['b.jpg', 'image/jpeg'],
      ],
    );
  });

  test('carries what LXMF has no field for, and plain clients can read it', () => {
    const data = { device: 'pump', values: { temperature: 21.5, runs: true }, at: 1 };
    const parts = {
      type: 'sensor.reading',
      data,
      priority: 'critical' as const,
      expiresAt: 1_760_000_060_000,
      correlation: 'c-1',
      thread: 'not a hash',
      via: ['aa'.repeat(16)],
    };
    const made = composeMessage(message(parts), [], undefined, hub);
    assert.equal(
      new TextDecoder().decode(made.content),
      'sensor.reading: device pump, values (temperature 21.5, runs true), at 1',
    );
    const { text, files, sentAt, ...read } = carried({ ...parts, to: 'room:plaza' });
    assert.deepEqual(read, { ...parts, via: [...parts.via, hub] });
    assert.equal(text, '');
  });

  test('names the hubs it passed where it may come round, and nowhere else', () => {
    const via = ['aa'.repeat(16)];
    assert.deepEqual(carried({ to: 'room:plaza' }).via, [hub]);
    assert.deepEqual(carried({ from: `lxmf:${'1'.repeat(32)}`, to: 'room:hub', via }).via, [...via, hub]);
    assert.deepEqual(carried({ from: `lxmf:${'1'.repeat(32)}`, via }).via, [...via, hub]);
    assert.equal(carried({ from: 'matrix:@eve:home' }).via, undefined);
    assert.equal(carried({ via }).via, undefined);
    const many = Array.from({ length: 40 }, (_, at) => at.toString(16).padStart(32, '0'));
    assert.equal(carried({ to: 'room:plaza', via: many }).via?.length, mostHubs);
  });

  test('keeps bytes with a media type as bytes', () => {
    const data = { mediaType: 'application/cbor', base64: 'AAEC' };
    assert.deepEqual(carried({ type: 'event.raw', data }).data, data);
  });

  test('that reacts is a reaction where the peer knows the message, and text where not', () => {
    const known = carried({ type: 'chat.reaction', text: '👍' }, [], target);
    assert.deepEqual(
      { type: known.type, text: known.text, relation: known.relation },
      { type: 'chat.reaction', text: '👍', relation: { id: target, field: fields.reaction } },
    );
    assert.equal(known.native, undefined);
    const unknown = carried({ type: 'chat.reaction', text: '👍' });
    assert.equal(unknown.type, 'chat.reaction');
    assert.equal(unknown.text, '👍');
    assert.equal(unknown.relation, undefined);
  });

  test('that leaves under another name says who spoke, and another hub takes that off the text', () => {
    for (const parts of [
      { text: 'hello ☀' },
      { text: '' },
      { type: 'chat.edit', text: 'hello, all' },
      { type: 'chat.redaction' },
      { type: 'chat.reaction', text: '👍' },
      { type: 'event.alarm', data: { level: 3 } },
    ]) {
      const made = composeMessage(message({ to: 'room:plaza', ...parts }), [], target, hub, 'Zoë ☕');
      assert.ok(new TextDecoder().decode(made.content).startsWith('Zoë ☕: '));
      const read = readMessage({ ...lxmf(''), ...made });
      assert.deepEqual(read.author, { name: 'Zoë ☕' });
      assert.equal(read.text, parts.text ?? '');
      assert.equal(read.type, parts.type ?? 'chat.message');
    }
    const edit = composeMessage(message({ type: 'chat.edit', text: 'noon' }), [], target, hub);
    assert.equal(new TextDecoder().decode(edit.content), '(edited) noon');
    assert.deepEqual(readMessage({ ...lxmf(''), ...edit }).text, 'noon');
  });

  test('that says nonsense about its author or its beginning is read whole', () => {
    const read = (content: string, author: MsgpackValue, lead: MsgpackValue) =>
      readMessage(
        lxmf(content, [
          [fields.customType, 'klp/1'],
          [
            fields.customMeta,
            new Map([
              ['author', author],
              ['lead', lead],
            ] as [string, MsgpackValue][]),
          ],
        ]),
      );
    for (const lead of [0, -1, 1, 2, 99, 2 ** 40, 1.5, 'x', null, new Float(2)]) {
      assert.equal(read('☀ hello', 'A', lead).text, '☀ hello', String(lead));
    }
    assert.equal(read('☀ hello', 'A', 3).text, ' hello');
    assert.equal(read('☀', 'A', 3).text, '');
    assert.deepEqual(read('x', 'A\nB\u202eC', 0).author, { name: 'A BC' });
    for (const author of ['', ' \n', 7, null, '\u0000']) {
      assert.equal(read('x', author, 0).author, undefined);
    }
    assert.equal([...(read('x', '☀'.repeat(200), 0).author?.name ?? '')].length, 64);
  });

  test('that removes another says so', () => {
    const made = composeMessage(message({ type: 'chat.redaction' }), [], target, hub);
    assert.equal(new TextDecoder().decode(made.content), '(message removed)');
    const read = readMessage({ ...lxmf(''), ...made });
    assert.deepEqual(
      { type: read.type, text: read.text, relation: read.relation?.id },
      { type: 'chat.redaction', text: '', relation: target },
    );
  });

  test('takes from a client no field that is broken, not ours, or a ticket', () => {
    const native = {
      'lxmf:12': encode([1, sixteen]).toBase64(),
      'lxmf:7': '!!!',
      'lxmf:8': Uint8Array.of(0x01, 0x02).toBase64(),
      'lxmf:9': Uint8Array.of(0xc4, 0x09).toBase64(),
      'matrix:1': 'AA==',
      'lxmf:10': 'AQ==',
    };
    const { fields: made } = composeMessage(message({ native }), [], undefined, hub);
    assert.deepEqual([...made], [[10, Uint8Array.of(1)]]);
  });

  test('comes back as it was, whatever JSON its data is', () => {
    fc.assert(
      fc.property(fc.jsonValue(), data => {
        const json = JSON.parse(JSON.stringify(data)) as JsonValue;
        assert.deepEqual(carried({ type: 'event.any', data: json }).data, json);
      }),
    );
  });
});

test('custom fields of any bytes are read or left alone', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.uint8Array({ maxLength: 60 }), (data, meta) => {
      readMessage({
        ...lxmf(''),
        fields: new Map([
          [fields.customType, encode('klp/1')],
          [fields.customData, data],
          [fields.customMeta, meta],
        ]),
      });
    }),
  );
});

describe('of a stranger', () => {
  const withMeta = (meta: Readonly<Record<string, MsgpackValue>>) =>
    readMessage(
      lxmf('hi', [
        [fields.customType, 'klp/1'],
        [fields.customMeta, new Map(Object.entries(meta))],
      ]),
    );

  test('a time that no clock says is left out, so that the store can hold every time there is', () => {
    const times = [1e16, 2n ** 63n, 2 ** 53, latestTime + 1, new Float(1e300), new Float(Number.NaN)];
    for (const expires of [...times, new Float(0.4), 0, -1, 'soon', null, []]) {
      assert.equal(withMeta({ expires }).expiresAt, undefined, String(expires));
    }
    assert.equal(withMeta({ expires: new Float(1.4) }).expiresAt, 1);
    assert.equal(withMeta({ expires: latestTime }).expiresAt, latestTime);
    for (const timestamp of [Number.NaN, Number.POSITIVE_INFINITY, 1e308, 1e15, -1, 0, 1e-9]) {
      assert.equal(readMessage({ ...lxmf('hi'), timestamp }).sentAt, undefined, String(timestamp));
    }
  });

  test('the list of hubs is bounded, and holds hashes only', () => {
    const hubs = Array.from({ length: 40 }, (_, at) => new Uint8Array(16).fill(at));
    assert.equal(withMeta({ via: hubs }).via?.length, mostHubs);
    assert.deepEqual(withMeta({ via: [new Uint8Array(15), 'aa', 7, hubs[1]!] }).via, [toHex(hubs[1]!)]);
    assert.equal(withMeta({ via: 'aa' }).via, undefined);
    assert.equal(withMeta({ priority: 'now' }).priority, undefined);
  });

  test('more files than the switch takes leave a message that can be read', () => {
    const list = (count: number) =>
      Array.from({ length: count }, (_, at) => [`${at}.txt`, Uint8Array.of(at)]);
    const reading = readMessage(
      lxmf('photos', [
        [fields.attachments, list(40)],
        [fields.image, ['jpg', Uint8Array.of(3)]],
      ]),
    );
    assert.equal(reading.files.length, defaultLimits.attachments);
    assert.equal(reading.files.at(-1)?.name, 'image.jpg');
    assert.equal(reading.text, 'photos\n(9 more files were left out)');
    assert.equal(reading.native, undefined);
    const most = readMessage(lxmf('', [[fields.attachments, list(defaultLimits.attachments)]]));
    assert.equal(most.files.length, defaultLimits.attachments);
    assert.equal(most.text, '');
  });
});

test('a part that says nothing takes no field', () => {
  assert.equal(encodeKlp({}).size, 0);
});

test('names and media types find each other', () => {
  assert.equal(mediaTypeOf('A.JPEG'), 'image/jpeg');
  assert.equal(mediaTypeOf('constructor'), 'application/octet-stream');
  assert.deepEqual(imageOf('image/webp'), { name: 'image.webp', mediaType: 'image/webp' });
  assert.equal(imageType('image/jpeg'), 'jpg');
  assert.equal(imageType('image/svg+xml'), undefined);
  for (const mode of Object.values(audioModes)) {
    assert.equal(audioMode(audioOf(mode).mediaType), mode);
  }
  assert.equal(fileName('a/b\\c\u0000'), 'a_b_c');
  assert.equal(fileName('..'), 'file');
});
