import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type NotesOrigin, startNotesOrigin } from '../../sim/origins/notes.ts';
import { type Got, get, startHub, type TestHub, until } from './hub.ts';

const folder = join(import.meta.dirname, '..', '..', '..', 'replicas');

/** The shipped notes definition in front of a notes service that can be broken. */
async function start(t: TestContext): Promise<{ origin: NotesOrigin; hub: TestHub }> {
  const origin = await startNotesOrigin();
  t.after(() => origin[Symbol.asyncDispose]());
  const shipped = await readFile(join(folder, 'notes.replica.yaml'), 'utf8');
  const text = shipped.replace(
    'url: https://notes.example/v1',
    `url: ${origin.url}/v1\n  allowPrivate: true`,
  );
  const files = { 'notes.openapi.yaml': await readFile(join(folder, 'notes.openapi.yaml'), 'utf8') };
  const hub = await startHub(t, origin.url, { definition: { id: 'notes', text }, files, writes: true });
  return { origin, hub };
}

function client(hub: { readonly url: string }, token = 'token-alice') {
  return (method: string, path: string, body?: unknown): Promise<Got> => {
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    return get(hub.url + path, {
      method,
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': type },
      ...(body !== undefined && { payload: JSON.stringify(body) }),
    });
  };
}

const titles = ({ text }: Got) =>
  (JSON.parse(text) as { items: { title: string }[] }).items.map(({ title }) => title);

test('offline a note is made, changed and removed, seen at once by its author alone, and all of it reaches the cloud once, in order', async t => {
  const { origin, hub } = await start(t);
  const kept = origin.add('alice', { title: 'kept' });
  const doomed = origin.add('alice', { title: 'doomed' });
  const alice = client(hub);
  const bob = client(hub, 'token-bob');
  assert.equal((await alice('GET', '/notes')).status, 200);
  assert.equal((await bob('GET', '/notes')).status, 200);
  for (const { id } of [kept, doomed]) {
    assert.equal((await alice('GET', `/notes/${id}`)).status, 200);
  }
  await origin.kill();
  const made = await alice('POST', '/notes', { title: 'made offline' });
  assert.equal(made.status, 201);
  assert.equal(made.headers['replica-state'], 'queued');
  const location = String(made.headers.location).replace('/svc/notes', '');
  assert.equal((JSON.parse((await alice('GET', location)).text) as { title: string }).title, 'made offline');
  const patched = await alice('PATCH', `/notes/${kept.id}`, { title: 'changed offline' });
  assert.equal(patched.status, 200);
  assert.equal((await alice('DELETE', `/notes/${doomed.id}`)).status, 204);
  assert.equal((await alice('PATCH', location, { text: 'and edited' })).status, 200);
  const list = await alice('GET', '/notes');
  assert.deepEqual(titles(list).sort(), ['changed offline', 'made offline']);
  assert.match(String(list.headers['cache-status']), /detail=projected/);
  assert.equal((await alice('GET', `/notes/${doomed.id}`)).status, 404);
  assert.deepEqual(titles(await bob('GET', '/notes')), []);
  assert.equal(hub.desk.queue('notes').length >= 3, true);
  assert.deepEqual(JSON.parse((await bob('GET', '/_replica/queue')).text), { items: [] });

  await origin.revive();
  await until(() => hub.desk.queue('notes').length === 0, 'everything was delivered');
  assert.deepEqual(
    origin
      .notes('alice')
      .map(({ title, text }) => `${title}: ${text}`)
      .sort(),
    [`changed offline: ${kept.text}`, 'made offline: and edited'],
  );
  const again = await alice('GET', location);
  assert.deepEqual(
    [again.status, (JSON.parse(again.text) as { title: string }).title],
    [200, 'made offline'],
  );
  assert.equal(new Set(origin.effects).size, origin.effects.length, 'nothing took effect twice');
});

test('who only ever writes is known by that when the service has gone', async t => {
  const { origin, hub } = await start(t);
  const alice = client(hub);
  const stranger = client(hub, 'token-mallory');
  assert.equal((await alice('POST', '/notes', { title: 'online' })).status, 201);
  assert.equal((await stranger('POST', '/notes', { title: 'refused' })).status, 401);
  await origin.kill();
  await alice('POST', '/notes', { title: 'finds out' });
  await until(() => hub.view('notes').link === 'offline', 'offline');
  const kept = await alice('POST', '/notes', { title: 'offline' });
  assert.deepEqual([kept.status, kept.headers['replica-state']], [201, 'queued']);
  assert.equal((await stranger('POST', '/notes', { title: 'refused' })).status, 401);
});

test('a write whose token was refused goes on when that token is good again', async t => {
  const { origin, hub } = await start(t);
  const alice = client(hub);
  await alice('GET', '/notes');
  await origin.kill();
  assert.equal((await alice('POST', '/notes', { title: 'patient' })).status, 201);
  origin.revoke('token-alice');
  await origin.revive();
  await until(() => hub.desk.queue('notes')[0]?.state === 'needs-auth', 'it is held');
  origin.allow('token-alice', 'alice');
  assert.equal((await alice('GET', '/notes')).status, 200);
  await until(() => hub.desk.queue('notes').length === 0, 'it is delivered');
  assert.deepEqual(
    origin.notes('alice').map(({ title }) => title),
    ['patient'],
  );
});

test('a change made elsewhere meanwhile is held and shown, and a person decides', async t => {
  const { origin, hub } = await start(t);
  const note = origin.add('alice', { title: 'first' });
  const alice = client(hub);
  await alice('GET', `/notes/${note.id}`);
  await origin.kill();
  assert.equal((await alice('PUT', `/notes/${note.id}`, { title: 'mine' })).status, 200);
  origin.edit('alice', note.id, { title: 'theirs' });
  await origin.revive();
  await until(() => hub.desk.queue('notes')[0]?.state === 'conflict', 'the conflict is seen');
  assert.equal(hub.desk.list()[0]?.queue.conflicts, 1);
  assert.equal(origin.notes('alice')[0]?.title, 'theirs');
  const [row] = hub.desk.queue('notes');
  await hub.desk.resolve('notes', row?.id ?? '', 'mine');
  await until(() => origin.notes('alice')[0]?.title === 'mine', 'mine was sent');
});

test('many large writes at once are told to come again, and take no more memory than they may', async t => {
  const { hub } = await start(t);
  const head = (length: number) =>
    `POST /svc/notes/notes HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer token-alice\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;
  const most = 1024 * 1024;
  const part = Buffer.alloc(most - 1, 0x20);
  const slow = new Set<Socket>();
  t.after(() => {
    for (const socket of slow) {
      socket.destroy();
    }
  });
  const alice = client(hub);
  await until(async () => {
    // One after the other: of several that arrive together all may be told to come again.
    const socket = connect(hub.port, '127.0.0.1');
    slow.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => slow.delete(socket));
    socket.write(head(most));
    await new Promise<void>(resolve => socket.write(part, () => resolve()));
    return (
      slow.size > 31 &&
      (await alice('POST', '/notes', { title: 'small', text: 'x'.repeat(4000) })).status === 429
    );
  }, 'there is no room for more');
  for (const socket of slow) {
    socket.destroy();
  }
  await until(
    async () =>
      (await alice('POST', '/notes', { title: 'there is room', text: 'x'.repeat(4000) })).status === 201,
    'there is room again',
  );
});
