import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isKnown, lastModified } from '../../../src/bridges/http/validator.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { openGateway } from '../gateway.ts';

test('what was changed twice in a second is never taken for what it was after the first time', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 5000 }), { minLength: 1, maxLength: 6 }),
      fc.array(fc.integer({ min: 0, max: 8000 }), { minLength: 2, maxLength: 6 }),
      (changes, reads) => {
        const base = Date.UTC(2030, 0, 1);
        const times = changes.map(at => base + at).sort((a, b) => a - b);
        let held: { readonly date: string; readonly version: number } | undefined;
        for (const now of reads.map(at => base + at).sort((a, b) => a - b)) {
          const version = times.filter(at => at <= now).length;
          const date = lastModified(times[version - 1] ?? base - 10_000, now);
          if (held !== undefined && isKnown({ 'if-modified-since': held.date }, '"x"', date)) {
            assert.equal(held.version, version);
          }
          held = date === undefined ? held : { date, version };
        }
      },
    ),
  );
});

test('a tag wins over a time, and what is no date is as if it were not there', () => {
  const date = 'Sun, 06 Nov 1994 08:49:37 GMT';
  const known = (headers: Parameters<typeof isKnown>[0], modified: string | undefined = date) =>
    isKnown(headers, '"a"', modified);
  assert.ok(known({ 'if-modified-since': date }));
  assert.ok(known({ 'if-modified-since': 'Sunday, 06-Nov-94 08:49:38 GMT' }));
  assert.ok(!known({ 'if-modified-since': 'Sun, 06 Nov 1994 08:49:36 GMT' }));
  assert.ok(!known({ 'if-modified-since': 'yesterday' }));
  assert.ok(!known({ 'if-modified-since': date, 'if-none-match': '"b"' }));
  assert.ok(known({ 'if-modified-since': 'Sun, 06 Nov 1994 08:49:36 GMT', 'if-none-match': 'W/"a"' }));
  assert.ok(!isKnown({ 'if-modified-since': date }, '"a"', undefined));
  assert.ok(!isKnown({}, '"a"', date));
});

test('a message says when it was changed once nothing of it waits, and is spared to who knows it', async () => {
  let ahead = 0;
  const clock = { ...systemClock, now: () => systemClock.now() + ahead };
  await using gateway = await openGateway({ clock });
  const token = await gateway.client('a');
  const get = (path: string, headers: Record<string, string> = {}) =>
    gateway.call(token, 'GET', path, undefined, { headers });
  const { body } = await gateway.call(token, 'POST', '/v1/messages', { to: 'app:a', text: 'x' });
  const path = `/v1/messages/${body.id}`;
  ahead += 5000;
  assert.equal((await get(path)).headers.get('last-modified'), null, 'it waits for its reader');
  const { cursor } = (await get('/v1/inbox')).body;
  await get(`/v1/inbox?after=${encodeURIComponent(cursor)}`);
  assert.equal((await get(path)).headers.get('last-modified'), null, 'its second is not over');
  ahead += 2000;
  const first = await get(path);
  const date = first.headers.get('last-modified') ?? '';
  const last = first.body.deliveries[0].history.at(-1);
  assert.equal(last.state, 'delivered');
  assert.equal(Date.parse(date), Math.floor(last.at / 1000) * 1000);
  const spared = await get(path, { 'if-modified-since': date });
  assert.equal(spared.status, 304);
  assert.equal(spared.headers.get('last-modified'), date);
  assert.equal(spared.headers.get('etag'), first.headers.get('etag'));
  assert.equal((await get(path, { 'if-modified-since': new Date(0).toUTCString() })).status, 200);
  assert.equal((await get(path, { 'if-modified-since': date, 'if-none-match': '"other"' })).status, 200);
  const head = await gateway.call(token, 'HEAD', path, undefined, {
    headers: { 'if-modified-since': date },
  });
  assert.equal(head.status, 304);
});

test('blobs, the documents and the files of the page say when they were made', async () => {
  let ahead = 0;
  const clock = { ...systemClock, now: () => systemClock.now() + ahead };
  await using gateway = await openGateway({ clock });
  const { ownerToken: token } = gateway.hub;
  const { body } = await gateway.call(token, 'POST', '/v1/blobs', new Uint8Array([1, 2, 3]));
  const paths = [`/v1/blobs/${body.sha256}`, '/openapi.json', '/asyncapi.json', '/page/app.js'];
  const get = (path: string, headers: Record<string, string> = {}) =>
    fetch(`${gateway.url}${path}`, { headers: { authorization: `Bearer ${token}`, ...headers } });
  for (const path of paths) {
    await (await get(path)).arrayBuffer();
  }
  ahead = 3000;
  for (const path of paths) {
    const first = await get(path);
    await first.arrayBuffer();
    const date = first.headers.get('last-modified') ?? '';
    assert.ok(Number.isFinite(Date.parse(date)), path);
    const spared = await get(path, { 'if-modified-since': date });
    assert.equal(spared.status, 304, path);
    assert.equal(spared.headers.get('etag'), first.headers.get('etag'), path);
    const other = await get(path, { 'if-modified-since': date, 'if-none-match': '"other"' });
    await other.arrayBuffer();
    assert.equal(other.status, 200, path);
  }
  const date = (await get(paths[0]!)).headers.get('last-modified') ?? '';
  const part = await get(paths[0]!, { range: 'bytes=0-0', 'if-range': date });
  assert.equal(part.status, 206);
  assert.equal((await part.arrayBuffer()).byteLength, 1);
  const whole = await get(paths[0]!, { range: 'bytes=0-0', 'if-range': new Date(0).toUTCString() });
  assert.equal(whole.status, 200);
  await whole.arrayBuffer();
});
