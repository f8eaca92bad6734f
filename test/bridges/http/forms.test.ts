import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { boundaryOf, parts } from '../../../src/bridges/http/multipart.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { openGateway } from '../gateway.ts';

const klp = 'application/vnd.klp+json';

function post(
  url: string,
  token: string,
  body: string | FormData | URLSearchParams,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${url}/v1/messages`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, ...headers },
    body,
  });
}

test('a form sends a message, empty fields are none, and the answer may be its id alone', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  const form = new URLSearchParams({
    to: 'app:b',
    text: 'tea & cake\nat 5',
    title: '',
    priority: 'high',
    thread: '',
    data: '{"n":1}',
  });
  const sent = await post(gateway.url, a, form, { accept: 'text/plain' });
  assert.equal(sent.status, 201);
  assert.match(sent.headers.get('content-type') ?? '', /^text\/plain/);
  const id = (await sent.text()).trim();
  const { body } = await gateway.call(a, 'GET', `/v1/messages/${id}`);
  assert.deepEqual(
    [body.text, body.priority, body.data, body.title],
    ['tea & cake\nat 5', 'high', { n: 1 }, undefined],
  );
  const inbox = await fetch(`${gateway.url}/v1/inbox`, {
    headers: { authorization: `Bearer ${b}`, accept: 'text/plain' },
  });
  const [cursor, ...rest] = (await inbox.text()).trimEnd().split('\t');
  assert.deepEqual(rest, [id, 'app:a', 'tea & cake\\nat 5']);
  assert.equal(inbox.headers.get('kos-cursor'), cursor);
  const shown = await fetch(`${gateway.url}/v1/messages/${id}`, {
    headers: { authorization: `Bearer ${a}`, accept: 'text/plain' },
  });
  assert.deepEqual((await shown.text()).split('\n')[0]?.split('\t'), [id, 'app:a', 'tea & cake\\nat 5']);
});

test('mistakes of a form have their places, and are one line for who asks for text', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const wrong = await post(gateway.url, a, new URLSearchParams({ to: 'nobody', colour: 'red' }));
  assert.equal(wrong.status, 400);
  const problem = (await wrong.json()) as { errors: { pointer: string }[] };
  assert.deepEqual(problem.errors.map(({ pointer }) => pointer).sort(), ['/colour', '/to']);
  const line = await post(gateway.url, a, new URLSearchParams({ to: 'nobody' }), { accept: 'text/plain' });
  assert.equal(line.status, 400);
  assert.match(await line.text(), /^request\/invalid: [^\n]+\n$/);
  const none = await post(gateway.url, a, new URLSearchParams({ to: 'app:a' }), { accept: 'image/png' });
  assert.equal(none.status, 406);
  assert.deepEqual((await gateway.call(a, 'GET', '/v1/messages')).body.items, [], 'nothing was sent');
  assert.equal((await post(gateway.url, a, 'to=x', { 'content-type': 'text/csv' })).status, 415);
});

test('data of a form is read as strictly as a JSON body, and a number that would lose digits is text', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const send = async (data: string) => {
    const answer = await post(gateway.url, a, new URLSearchParams({ to: 'app:a', text: 'x', data }));
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  for (const [data, pointer] of [
    ['{"a":1,"a":2}', '/data/a'],
    ['{"__proto__":{"admin":true}}', '/data/__proto__'],
    ['{"n":12345678901234567890}', '/data/n'],
    ['['.repeat(60_000) + ']'.repeat(60_000), '/data'],
  ] as const) {
    const { status, body } = await send(data);
    assert.equal(status, 400);
    assert.deepEqual((body.errors as { pointer: string }[])[0]?.pointer.slice(0, pointer.length), pointer);
  }
  for (const [data, kept] of [
    ['4006381333931000000123', '4006381333931000000123'],
    ['1e400', '1e400'],
    ['21.5', 21.5],
    ['{not json', '{not json'],
  ] as const) {
    assert.deepEqual((await send(data)).body.data, kept);
  }
});

test('files of a form become attachments, whatever stands in them', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const bytes = Buffer.from('\r\n--x\r\n--'.repeat(20_000));
  const form = new FormData();
  form.set('text', 'two files, 100% \ufffd');
  form.append('attachment', new Blob([bytes], { type: 'image/png' }), 'C:\\photos\\"a".png');
  form.append('attachment', new Blob([]), 'empty');
  form.set('to', 'app:a');
  const sent = await post(gateway.url, a, form);
  assert.equal(sent.status, 201, await sent.clone().text());
  const { text, attachments } = (await sent.json()) as {
    text: string;
    attachments: { name: string; mediaType: string; size: number; sha256: string }[];
  };
  assert.equal(text, 'two files, 100% \ufffd', 'a character is none that could not be read');
  assert.deepEqual(
    attachments.map(({ name, mediaType, size }) => [name, mediaType, size]),
    [
      ['"a".png', 'image/png', bytes.length],
      ['empty', 'application/octet-stream', 0],
    ],
  );
  const got = await fetch(`${gateway.url}/v1/blobs/${attachments[0]?.sha256}`, {
    headers: { authorization: `Bearer ${a}` },
  });
  assert.deepEqual(Buffer.from(await got.arrayBuffer()), bytes);
});

test('a form that ends early, has no end or too many parts is refused, and others are served', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const type = { 'content-type': 'multipart/form-data; boundary=x' };
  const part = (name: string, value: string) =>
    `--x\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
  const send = async (body: string) => (await post(gateway.url, a, body, type)).status;
  assert.equal(await send(`${part('to', 'app:a')}--x--\r\n`), 201);
  assert.equal(await send(part('to', 'app:a')), 400);
  assert.equal(await send(''), 400);
  assert.equal(await send(`${'.'.repeat(20_000)}`), 400);
  assert.equal(await send(`${part('to', 'app:a').repeat(2)}--x--`), 400, 'given twice');
  assert.equal(await send(`${part('text', 'a').repeat(70)}--x--`), 413);
  assert.equal(await send(`${part('text', 'a'.repeat(1_100_000))}--x--`), 413);
  const nameless = await post(gateway.url, a, 'x', { 'content-type': 'multipart/form-data' });
  assert.equal(nameless.status, 400);
});

test('an envelope is taken and given, with its id as the key and members of others kept', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const envelope = {
    protocol: 'klp/1.0',
    id: 'task-17',
    type: 'task',
    from: 'app:a',
    to: 'app:a',
    timestamp: Date.now() - 5000,
    ttl: 3_600_000,
    payload: { text: 'water the plants', due: 'tomorrow' },
    signature: 'abc',
  };
  const headers = { 'content-type': klp, accept: klp };
  const sent = await post(gateway.url, a, JSON.stringify(envelope), headers);
  assert.equal(sent.status, 201, await sent.clone().text());
  assert.ok(sent.headers.get('content-type')?.startsWith(klp));
  const given = (await sent.json()) as Record<string, unknown>;
  const { id, ...rest } = envelope;
  assert.deepEqual(given, {
    ...rest,
    id: given.id,
    protocol: 'klp/1',
    priority: 'normal',
    route: [],
    assurance: 'hub',
  });
  const again = await post(gateway.url, a, JSON.stringify(envelope), headers);
  assert.equal(again.headers.get('idempotency-replayed'), 'true');
  assert.equal(((await again.json()) as { id: string }).id, given.id);
  const inbox = await fetch(`${gateway.url}/v1/inbox`, {
    headers: { authorization: `Bearer ${a}`, accept: klp },
  });
  const { items } = (await inbox.json()) as { items: { message: unknown }[] };
  assert.deepEqual(
    items.map(({ message }) => message),
    [given],
  );
  const others = { ...envelope, id: 'x', from: 'app:b' };
  assert.equal((await post(gateway.url, a, JSON.stringify(others), headers)).status, 403);
  const wrong = await post(gateway.url, a, JSON.stringify({ to: 'app:a', payload: { text: 5 } }), {
    'content-type': klp,
  });
  assert.equal(
    ((await wrong.json()) as { errors: { pointer: string }[] }).errors[0]?.pointer,
    '/payload/text',
  );
});

async function* inPieces(bytes: Buffer, sizes: readonly number[]): AsyncGenerator<Buffer> {
  let at = 0;
  for (let turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

test('an envelope that counts its time from now is known again later', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const envelope = { id: 'task-18', to: 'app:a', ttl: 3_600_000, payload: { text: 'water' } };
  const send = (body: object) => post(gateway.url, a, JSON.stringify(body), { 'content-type': klp });
  const first = await send(envelope);
  assert.equal(first.status, 201);
  await sleep(5);
  const again = await send(envelope);
  assert.deepEqual([again.status, again.headers.get('idempotency-replayed')], [201, 'true']);
  assert.equal((await send({ ...envelope, ttl: 1_800_000 })).status, 422, 'another body');
});

test('what somebody wrote where members of envelopes are kept cannot keep others from reading envelopes', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  const deep = `{"kept":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
  const native = { 'klp:envelope': Buffer.from(deep).toString('base64') };
  const { status, body } = await gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text: 'hi', native });
  assert.equal(status, 201);
  for (const path of ['/v1/inbox', `/v1/messages/${body.id}`]) {
    const answer = await fetch(`${gateway.url}${path}`, {
      headers: { authorization: `Bearer ${b}`, accept: klp },
    });
    assert.equal(answer.status, 200);
    assert.match(await answer.text(), /"text":"hi"/);
  }
});

test('the parts of a form are the same however its bytes are cut', async () => {
  const content = fc.array(
    fc.record({
      name: fc.stringMatching(/^[a-z]{1,8}$/),
      value: fc.string({ unit: fc.constantFrom('\r', '\n', '-', 'x', 'a'), maxLength: 40 }),
    }),
    { minLength: 1, maxLength: 5 },
  );
  const sizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(content, sizes, async (given, cut) => {
      // The boundary is in none of the values: they have no b.
      const text = given
        .map(({ name, value }) => `--xb\r\nContent-Disposition: form-data; name=${name}\r\n\r\n${value}\r\n`)
        .join('');
      const got: { name: string; value: string }[] = [];
      for await (const { name, body } of parts(inPieces(Buffer.from(`${text}--xb--`), cut), 'xb')) {
        const pieces = await Array.fromAsync(body);
        got.push({ name, value: Buffer.concat(pieces).toString() });
      }
      assert.deepEqual(
        got,
        given.map(({ name, value }) => ({ name, value })),
      );
    }),
  );
});

test('any bytes are a form or are refused', async () => {
  const pieces = fc.constantFrom(
    '\r\n',
    '--',
    '--xb',
    'Content-Disposition: form-data; name=a',
    ':',
    'a',
    '\0',
  );
  await fc.assert(
    fc.asyncProperty(fc.array(pieces, { maxLength: 40 }), async list => {
      try {
        for await (const { body } of parts(inPieces(Buffer.from(list.join('')), [7]), 'xb')) {
          await Array.fromAsync(body);
        }
      } catch (error) {
        assert.ok(isGatewayError(error), String(error));
      }
    }),
  );
  assert.equal(boundaryOf('multipart/form-data; charset=utf-8; boundary="a b"'), 'a b');
});
