import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { parseRange } from '../../src/bridges/http/blobs.ts';
import { readJson } from '../../src/bridges/http/body.ts';
import { parseJson } from '../../src/bridges/json.ts';
import { readMessage } from '../../src/bridges/lxmf/incoming.ts';
import { decodeKlp, encodeKlp } from '../../src/bridges/lxmf/klp.ts';
import { fromNative } from '../../src/bridges/lxmf/native.ts';
import { mqttLimits } from '../../src/bridges/mqtt/config.ts';
import { readingText, readReading } from '../../src/bridges/mqtt/publish.ts';
import { peekOpening } from '../../src/bridges/mqtt/stream.ts';
import { matches, overlap, topicsOf } from '../../src/bridges/mqtt/topics.ts';
import { openingBytes, PacketScanner, readOpening } from '../../src/bridges/mqtt/wire.ts';
import { check, messageDraftSchema } from '../../src/bridges/schema.ts';
import { decodeFrame, idOf } from '../../src/bridges/ws/frames.ts';
import { drawPacket } from '../../src/cli/decode.ts';
import { formatMistakes, loadConfig } from '../../src/config.ts';
import { createCursors } from '../../src/gateway/cursor.ts';
import { utf8 } from '../../src/lib/bytes.ts';
import { isGatewayError } from '../../src/lib/errors.ts';
import { encode, Float } from '../../src/lib/msgpack.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { fields } from '../../src/mesh/lxmf/fields.ts';
import { decodeMessage } from '../../src/mesh/lxmf/message.ts';
import { decodeCall } from '../../src/start/rpc/call.ts';
import { answerChallenge, makeChallenge, provesKey } from '../../src/start/rpc/challenge.ts';
import { encodeFrame, FrameReader } from '../../src/start/rpc/frames.ts';
import { ManualClock } from '../sim/clock.ts';
import { cases } from './corpus.ts';
import type { Target } from './target.ts';

const requestCodes = /^request\//;
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8');
const json = (value: unknown) => utf8(JSON.stringify(value));

const klp = encodeKlp({
  type: 'sensor.reading',
  data: { device: 'pump', values: { t: 21.5, on: true, list: [1, 2, null] } },
  priority: 'high',
  expiresAt: 1_760_000_000_000,
  correlation: 'c-1',
  via: ['0123456789abcdef0123456789abcdef'],
});
const draft = {
  to: 'lxmf:0123456789abcdef0123456789abcdef',
  text: 'hello',
  title: 'one',
  data: { mediaType: 'text/plain', base64: 'aGVsbG8=' },
  attachments: [{ name: 'a.txt', base64: 'aGVsbG8=' }],
  priority: 'high',
  native: { 'lxmf:153': 'xAMA/xA=' },
};
const connect = Uint8Array.fromHex('101800044d51545404c2003c0001610005736d6172740003abcdef');
const stream = Uint8Array.fromHex('4002000a5002000b700200ffd0003005000161aabbc000e000');
const folder = mkdtempSync(join(tmpdir(), 'kos-fuzz-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'kos.yaml');
const plainMessage = decodeMessage(cases('lxmf')[0]?.bytes as Uint8Array);
const topics = topicsOf('0123456789abcdef0123456789abcdef');
const cursors = createCursors('beef');
const callKey = utf8('a key of sixteen');
const challenge = makeChallenge(systemRandom);

/** The fields of a message, each of the table's numbers with the same bytes. */
function everyField(raw: Uint8Array): Map<number | string, Uint8Array> {
  return new Map([...Object.values(fields), 153, 'text'].map(number => [number, raw]));
}

/** A peeked stream must give every byte again to who reads next. */
async function peek(bytes: Uint8Array): Promise<void> {
  const socket = new PassThrough();
  const { promise, resolve } = Promise.withResolvers<string>();
  peekOpening(socket, new ManualClock(), opening => resolve(opening.kind));
  const half = bytes.length >> 1;
  socket.write(bytes.subarray(0, half));
  socket.end(bytes.subarray(half));
  if (bytes.length === 0) {
    socket.resume();
  }
  const kind = await promise;
  if (kind === 'connect') {
    const again = Buffer.concat(await socket.toArray());
    if (!again.equals(bytes)) {
      throw new RangeError('the stream lost bytes');
    }
  }
  socket.destroy();
}

/** Everything that reads what clients, files and people give. */
export const edgeTargets: readonly Target[] = [
  {
    name: 'klp/1 fields',
    seeds: [...klp.values()],
    read: raw =>
      decodeKlp(
        new Map([
          [fields.customType, klp.get(fields.customType) ?? raw],
          [fields.customData, raw],
          [fields.customMeta, raw],
        ]),
      ),
  },
  {
    name: 'an LXMF message as a Message',
    seeds: [...cases('lxmf'), ...cases('lxmf-foreign')].map(one => one.bytes),
    cost: 3,
    read: bytes => JSON.stringify(readMessage(decodeMessage(bytes))),
  },
  {
    name: 'the fields of an LXMF message as a Message',
    seeds: [
      ...cases('msgpack').map(one => one.bytes),
      Uint8Array.fromHex('9192a5612e747874c403010203'),
      Uint8Array.fromHex('92a3706e67c403010203'),
      Uint8Array.fromHex(`8200c420${'ab'.repeat(32)}01a3f09f91`),
      Uint8Array.fromHex(`c420${'ab'.repeat(32)}`),
    ],
    cost: 4,
    // 30 fields with the same bytes, each kept or decoded, and shown as base64.
    cap: 8 * 1024 * 1024,
    read(raw) {
      const reading = readMessage({ ...plainMessage, fields: everyField(raw) });
      JSON.stringify(reading);
      fromNative(reading.native);
    },
  },
  {
    name: 'native fields that a client wrote',
    seeds: [json({ 'lxmf:153': 'xAMA/xA=', 'lxmf:"x"': 'wA==', 'lxmf:12': 'wA==' })],
    codes: requestCodes,
    read(bytes) {
      const value = parseJson(text(bytes));
      const entries = typeof value === 'object' && value !== null ? Object.entries(value) : [];
      fromNative(Object.fromEntries(entries.map(([name, one]) => [name, String(one)])));
    },
  },
  {
    name: 'the first bytes of an MQTT connection',
    seeds: [connect, Uint8Array.fromHex('101800064d514973647003')],
    read: bytes => readOpening(bytes.subarray(0, openingBytes), mqttLimits.packetBytes),
  },
  { name: 'an MQTT connection being peeked at', seeds: [connect], cost: 10, read: peek },
  {
    name: 'the packets of an MQTT connection',
    seeds: [stream, connect],
    codes: /^(?:wire\/|request\/too-large$)/,
    read(bytes) {
      const scanner = new PacketScanner(mqttLimits.packetBytes, () => {});
      for (let from = 0, step = 1; from < bytes.length; from += step, step = (step * 5) % 37 || 1) {
        scanner.feed(bytes.subarray(from, from + step));
      }
    },
  },
  {
    name: 'MQTT topics and filters',
    seeds: [
      'kos/v1/01234567/mesh/0123456789abcdef0123456789abcdef/tx',
      'kos/v1/01234567/dev/pump/state',
      '+/#',
      '$SYS/#',
    ].map(utf8),
    read(bytes) {
      const topic = text(bytes);
      topics.parse(topic);
      matches(topic, topic);
      overlap(topic, '+/a/#');
    },
  },
  {
    name: 'a reading of a sensor',
    seeds: [json({ t: 21.5, h: 44, _: { ts: 1_760_000_000_000 } }), utf8('21.5'), json('on')],
    codes: requestCodes,
    read: bytes => readingText(readReading('pump', bytes, 0)),
  },
  {
    name: 'a WebSocket frame',
    seeds: [
      json({ op: 'hello', token: 'x', after: 'ebeef-1' }),
      json({ op: 'subscribe', id: '1', filter: { kinds: ['peer.seen'], peers: ['app:a'], rooms: ['hub'] } }),
      json({ op: 'send', id: '1', message: draft }),
      json({ op: 'seen', cursor: 'ebeef-1' }),
    ],
    codes: requestCodes,
    cost: 3,
    read(bytes) {
      idOf(text(bytes));
      decodeFrame(text(bytes));
    },
  },
  {
    name: 'the body of an HTTP request',
    seeds: [json(draft), json([1, { a: 'b' }]), utf8('{"a":1,"a":2}')],
    codes: requestCodes,
    cost: 6,
    async read(bytes) {
      const headers = { 'content-type': 'application/json' };
      const request = Object.assign(Readable.from([Buffer.from(bytes)]), { headers });
      check(messageDraftSchema, await readJson(request as unknown as IncomingMessage));
    },
  },
  {
    name: 'a Range header',
    seeds: ['bytes=0-1', 'bytes=-5', 'bytes=7-'].map(utf8),
    read: bytes => parseRange(text(bytes), 1000),
  },
  {
    name: 'a cursor',
    seeds: ['ibeef-1', 'ebeef-zzzz', 'mbeef-0'].map(utf8),
    codes: requestCodes,
    read(bytes) {
      for (const kind of ['inbox', 'event', 'message'] as const) {
        const row = cursors.decode(kind, text(bytes));
        if (!Number.isSafeInteger(row)) {
          throw new RangeError(`row ${row}`);
        }
      }
    },
  },
  {
    name: 'the config file',
    seeds: [
      'hub: { name: Elm Street, data: ./data }\nlisten:\n  http: 127.0.0.1:8080\n',
      'interfaces:\n  - { name: a, kind: tcp-client, host: b, port: 1 }\n  - { name: a, kind: nix }\n',
      'rooms:\n  plaza:\n    members: [app:a]\n',
      'a: &a [x, x]\nb: [*a, *a]\n',
    ].map(utf8),
    codes: /^config\/invalid$/,
    // The YAML library keeps a tree of its own beside the value; the file is its owner's.
    cap: 64 * 1024 * 1024,
    cost: 30,
    read(bytes) {
      writeFileSync(file, bytes);
      refused(() => loadConfig({ file }));
    },
  },
  {
    name: 'an override of the configuration',
    seeds: ['8080', 'true', '127.0.0.1:0', '-1'].map(utf8),
    codes: /^config\/invalid$/,
    cost: 30,
    read: bytes =>
      refused(() => loadConfig({ environment: { KOS_LISTEN_HTTP: text(bytes), KOS_HUB_NAME: text(bytes) } })),
  },
  {
    name: 'kosctl decode',
    seeds: [...cases('packet'), ...cases('announce')].map(one => utf8(one.bytes.toHex())),
    read: bytes => drawPacket(text(bytes)),
  },
  {
    name: 'a call of a program of this machine',
    seeds: [
      { get: 'path_table', max_hops: 3 },
      { get: 'packet_rssi', packet_hash: new Uint8Array(32) },
      { manage: 'attach_interface', name: 'lora' },
      { blackhole_identity: new Uint8Array(16), until: new Float(1.5), reason: 'noise' },
    ].map(call => encode(new Map(Object.entries(call)))),
    read: decodeCall,
  },
  {
    name: 'what a program of this machine says before its key is proven',
    seeds: [encodeFrame(makeChallenge(systemRandom)), encodeFrame(utf8('#WELCOME#')), encodeFrame(callKey)],
    read(bytes) {
      const reader = new FrameReader();
      reader.push(bytes);
      for (let said = reader.next(256); said !== undefined; said = reader.next(256)) {
        provesKey(challenge, said, callKey);
        answerChallenge(said, callKey);
      }
    },
  },
  {
    name: 'kosctl decode, of hex',
    seeds: [...cases('packet'), ...cases('announce')].map(one => one.bytes),
    read: bytes => drawPacket(bytes.toHex()),
  },
];

/** What a refusal says to a person is made as well. */
function refused(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (isGatewayError(error)) {
      formatMistakes(error);
    }
    throw error;
  }
}
