import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startNotesOrigin } from './notes.ts';
import { startWeatherOrigin } from './weather.ts';

const alice = { authorization: 'Bearer token-alice', 'content-type': 'application/json' };
const post = (body: unknown, more: Record<string, string> = {}) => ({
  method: 'POST',
  headers: { ...alice, ...more },
  body: JSON.stringify(body),
});

test('the weather origin confirms what is unchanged and tells languages apart', async () => {
  await using weather = await startWeatherOrigin();
  const url = `${weather.url}/v1/stations/harbour/forecast`;
  const first = await fetch(url, { headers: { 'accept-language': 'de' } });
  assert.equal(first.headers.get('vary'), 'Accept-Language');
  assert.match(await first.text(), /bewölkt/);
  const etag = first.headers.get('etag') as string;
  const again = await fetch(url, { headers: { 'accept-language': 'de', 'if-none-match': etag } });
  assert.equal(again.status, 304);
  weather.turn();
  const later = await fetch(url, { headers: { 'accept-language': 'de', 'if-none-match': etag } });
  assert.equal(later.status, 200);
  await later.text();
});

test('the notes origin does once what has one key, and refuses another body under it', async () => {
  await using notes = await startNotesOrigin();
  const url = `${notes.url}/v1/notes`;
  const first = await fetch(url, post({ title: 'a' }, { 'idempotency-key': 'k' }));
  assert.equal(first.status, 201);
  const body = (await first.json()) as { id: string };
  const again = await fetch(url, post({ title: 'a' }, { 'idempotency-key': 'k' }));
  assert.deepEqual(await again.json(), body);
  assert.equal((await fetch(url, post({ title: 'b' }, { 'idempotency-key': 'k' }))).status, 422);
  assert.deepEqual(notes.effects, [`POST ${body.id}`]);
  assert.equal(notes.notes('bob').length, 0);
});

test('the notes origin refuses a change of a version that is not there any more', async () => {
  await using notes = await startNotesOrigin();
  const { id } = notes.add('alice', { title: 'old' });
  const url = `${notes.url}/v1/notes/${id}`;
  const etag = (await fetch(url, { headers: alice })).headers.get('etag') as string;
  notes.edit('alice', id, { title: 'changed elsewhere' });
  const put = await fetch(url, { ...post({ title: 'mine' }, { 'if-match': etag }), method: 'PUT' });
  assert.equal(put.status, 412);
  assert.equal(notes.notes()[0]?.title, 'changed elsewhere');
});

test('an origin can be broken in every way and mended again', async () => {
  await using notes = await startNotesOrigin();
  const url = `${notes.url}/v1/notes`;
  notes.fault({ kind: 'lose-response' }, { times: 1 });
  await assert.rejects(fetch(url, post({ title: 'lost' })));
  assert.equal(notes.notes().length, 1, 'the write was done all the same');
  notes.fault({ kind: 'captive' }, { times: 1 });
  assert.match(await (await fetch(url)).text(), /Room number/);
  notes.fault({ kind: 'status', status: 429, retryAfter: 7 }, { times: 1 });
  assert.equal((await fetch(url)).headers.get('retry-after'), '7');
  for (const kind of ['hang', 'hang-body'] as const) {
    notes.fault({ kind }, { times: 1 });
    const waiting = fetch(url, { headers: alice, signal: AbortSignal.timeout(300) });
    await assert.rejects(waiting.then(response => response.text()));
  }
  await notes.kill();
  await assert.rejects(fetch(url));
  await notes.revive();
  assert.equal((await fetch(url, { headers: alice })).status, 200);
});
