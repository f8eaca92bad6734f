import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../../src/lib/clock.ts';
import { type Note, startNotesOrigin } from '../../sim/origins/notes.ts';
import { eventually, openBench } from './bench.ts';

const queueEmpty = (bench: Awaited<ReturnType<typeof openBench>>) => () =>
  bench.writes.verbs.queue('notes').length === 0;

test('online, a write goes to the service at once, with a key, and its answer comes back', async () => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({ url: origin.url });
  const made = await bench.write('POST', '/notes', { title: 'now' });
  assert.equal(made.status, 201);
  assert.equal(made.header('replica-state'), undefined);
  assert.equal(origin.notes()[0]?.id, made.body.id);
  assert.ok(origin.seen[0]?.headers['idempotency-key']);
  const wrong = await bench.write('POST', '/notes', { title: '' });
  assert.equal(wrong.status, 400, 'its refusal too');
  assert.equal(bench.writes.verbs.queue('notes').length, 0, 'and nothing of it is kept');
});

test('offline, POST, PUT, PATCH and DELETE are answered as the service would, and seen at once in item and list', async () => {
  await using origin = await startNotesOrigin();
  const [kept, gone] = [origin.add('alice', { title: 'kept' }), origin.add('alice', { title: 'gone' })];
  await using bench = await openBench({ url: origin.url });
  await bench.read('/notes');
  await bench.read(`/notes/${kept.id}`);
  await origin.kill();
  bench.link('offline');

  const made = await bench.write('POST', '/notes', { title: 'made offline', tags: ['x'] });
  assert.equal(made.status, 201);
  assert.equal(made.header('replica-state'), 'queued');
  assert.equal(made.header('location'), `/v1/notes/${made.body.id}`);
  const put = await bench.write('PUT', `/notes/${kept.id}`, { title: 'put offline' });
  assert.equal(put.status, 200);
  assert.equal(put.body.createdAt, kept.createdAt);
  const edited = await bench.write('PATCH', `/notes/${made.body.id}`, { text: 'and edited' });
  assert.equal(edited.body.title, 'made offline');
  assert.equal((await bench.write('DELETE', `/notes/${gone.id}`)).status, 204);

  const list = await bench.read('/notes');
  assert.deepEqual(
    list.body.items.map(({ title, text }: { title: string; text: string }) => [title, text]),
    [
      ['made offline', 'and edited'],
      ['put offline', ''],
    ],
  );
  assert.equal(list.body.total, 2);
  assert.equal(list.header('replica-state'), 'projected');
  assert.equal(list.header('replica-pending'), '4');
  assert.equal((await bench.read(`/notes/${made.body.id}`)).body.text, 'and edited');
  assert.equal((await bench.read(`/notes/${gone.id}`)).status, 404);
  assert.equal((await bench.write('PUT', `/notes/${gone.id}`, { title: 'back' })).status, 404);
  const tagged = await bench.read('/notes?tag=x');
  assert.deepEqual(tagged.body.items.length, 1, 'a declared filter is evaluated here');
  const tag = (await bench.read(`/notes/${kept.id}`)).header('etag');
  assert.match(tag ?? '', /^"hub-/);
  assert.equal(
    (await bench.read(`/notes/${kept.id}`, { headers: { 'if-none-match': tag as string } })).status,
    304,
  );

  await origin.revive();
  bench.link('online');
  await eventually('the queue drains', queueEmpty(bench));
  const real = origin.notes().find(note => note.title === 'made offline');
  assert.equal(real?.text, 'and edited');
  assert.deepEqual(origin.effects, [
    `POST ${real?.id}`,
    `PUT ${kept.id}`,
    `PATCH ${real?.id}`,
    `DELETE ${gone.id}`,
  ]);
  const after = await bench.read(`/notes/${made.body.id}`);
  assert.equal(after.body.id, real?.id, 'the provisional address still answers');
  const listed = await bench.read('/notes');
  assert.deepEqual(listed.body.items.map(({ id }: { id: string }) => id).sort(), [kept.id, real?.id].sort());
  assert.equal(listed.header('replica-state'), undefined, 'what is confirmed is not projected any more');
});

test('what was delivered stays visible until the service is read again, and is not shown twice', async () => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({ url: origin.url });
  await bench.read('/notes');
  bench.link('offline');
  const made = await bench.write('POST', '/notes', { title: 'new' });
  bench.link('online');
  await eventually('it is delivered', queueEmpty(bench));
  bench.link('offline');
  const list = await bench.read('/notes');
  assert.deepEqual(
    list.body.items.map(({ id }: { id: string }) => id),
    [origin.notes()[0]?.id],
    'the stored list is older than the delivery',
  );
  assert.equal((await bench.read(`/notes/${made.body.id}`)).body.id, origin.notes()[0]?.id);
});

test('another user sees nothing of what waits', async () => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({ url: origin.url });
  await bench.read('/notes');
  await bench.read('/notes', { token: 'token-bob' });
  bench.link('offline');
  const made = await bench.write('POST', '/notes', { title: 'secret' });
  assert.equal((await bench.read('/notes', { token: 'token-bob' })).body.items.length, 0);
  assert.equal((await bench.read(`/notes/${made.body.id}`, { token: 'token-bob' })).status, 404);
  const [row] = bench.writes.verbs.queue('notes', bench.partition());
  assert.ok(row);
  assert.deepEqual(bench.writes.verbs.queue('notes', bench.partition('token-bob')), []);
  assert.equal(bench.writes.verbs.operation('notes', row.id, bench.partition('token-bob')), undefined);
  assert.equal(bench.writes.verbs.queue('notes').length, 1, 'the owner sees all');
  assert.equal(
    (await bench.write('PUT', `/notes/${made.body.id}`, { title: 'mine now' }, { token: 'token-bob' }))
      .status,
    404,
  );
});

test('a client key gives one answer; another body under it is refused', async () => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({ url: origin.url, at: 'offline' });
  const key = { headers: { 'Idempotency-Key': '"abc"' } };
  const first = await bench.write('POST', '/notes', { title: 'once' }, key);
  const again = await bench.write('POST', '/notes', { title: 'once' }, key);
  assert.equal(again.body.id, first.body.id);
  assert.equal(again.header('idempotency-replayed'), 'true');
  await assert.rejects(bench.write('POST', '/notes', { title: 'other' }, key), {
    code: 'request/idempotency-mismatch',
  });
  assert.equal(bench.writes.verbs.queue('notes').length, 1);
  bench.link('online');
  await eventually('it is delivered', queueEmpty(bench));
  assert.equal(origin.seen.find(({ method }) => method === 'POST')?.headers['idempotency-key'], 'abc');
  const late = await bench.write('POST', '/notes', { title: 'once' }, key);
  assert.equal(late.body.id, origin.notes()[0]?.id, 'after delivery the answer is the real one');
  assert.equal(origin.notes().length, 1);
});

test('a body the document forbids is refused now, and a failed precondition too', async () => {
  await using origin = await startNotesOrigin();
  const note = origin.add('alice', { title: 'old' });
  await using bench = await openBench({ url: origin.url });
  const etag = (await bench.read(`/notes/${note.id}`)).header('etag') as string;
  bench.link('offline');
  const wrong = await bench.write('POST', '/notes', { titel: 'typo' });
  assert.equal(wrong.status, 400);
  assert.equal(wrong.body.type, 'urn:kos:problem:request/invalid');
  assert.ok(wrong.body.errors.length > 0);
  assert.equal((await bench.write('POST', '/notes', undefined)).status, 400);
  const nobody = await bench.write('POST', '/notes', { title: 'whose?' }, { token: '' });
  assert.equal(nobody.status, 401);
  const ifMatch = (tag: string) => ({ headers: { 'If-Match': tag } });
  assert.equal(
    (await bench.write('PUT', `/notes/${note.id}`, { title: 'a' }, ifMatch('"other"'))).status,
    412,
  );
  const put = await bench.write('PUT', `/notes/${note.id}`, { title: 'a' }, ifMatch(etag));
  assert.equal(put.status, 200);
  assert.equal(
    (await bench.write('PUT', `/notes/${note.id}`, { title: 'b' }, ifMatch(etag))).status,
    412,
    'it has changed here',
  );
  const next = await bench.write(
    'PUT',
    `/notes/${note.id}`,
    { title: 'b' },
    ifMatch(put.header('etag') as string),
  );
  assert.equal(next.status, 200);
  assert.equal(bench.writes.verbs.queue('notes').length, 2);
  bench.link('online');
  await eventually('both are delivered', queueEmpty(bench));
  assert.equal(origin.notes()[0]?.title, 'b');
});

test('a version that was only seen here goes to the service under its own tag, and not over a newer one', async () => {
  await using origin = await startNotesOrigin();
  const note = origin.add('alice', { title: 'old' });
  await using bench = await openBench({ url: origin.url });
  await bench.read(`/notes/${note.id}`);
  bench.link('offline');
  const put = await bench.write('PUT', `/notes/${note.id}`, { title: 'mine' });
  const tag = put.header('etag') as string;
  bench.link('online');
  await eventually('it is delivered', queueEmpty(bench));
  const next = await bench.write(
    'PUT',
    `/notes/${note.id}`,
    { title: 'next' },
    { headers: { 'If-Match': tag } },
  );
  assert.equal(next.status, 200);
  assert.match(origin.seen.at(-1)?.headers['if-match'] ?? '', /^"[0-9a-f]{16}"$/);
  const create = await bench.write(
    'PUT',
    `/notes/${note.id}`,
    { title: 'x' },
    { headers: { 'If-None-Match': '*' } },
  );
  assert.ok(create.status === 200 || create.status === 412);
  assert.equal(
    origin.seen.at(-1)?.headers['if-none-match'],
    '*',
    'conditions of the client reach the service',
  );
  origin.edit('alice', note.id, { title: 'elsewhere' });
  await bench.read(`/notes/${note.id}`);
  const late = await bench.write(
    'PUT',
    `/notes/${note.id}`,
    { title: 'late' },
    { headers: { 'If-Match': tag } },
  );
  assert.equal(late.status, 412);
  assert.equal(origin.notes()[0]?.title, 'elsewhere');
});

test('Prefer: respond-async and an unknown item are answered honestly', async () => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({ url: origin.url, at: 'offline' });
  const async = await bench.write(
    'POST',
    '/notes',
    { title: 'later' },
    { headers: { Prefer: 'respond-async' } },
  );
  assert.equal(async.status, 202);
  assert.match(async.header('location') ?? '', /^\/v1\/notes\//);
  const unknown = await bench.write('PUT', '/notes/3e0c7c0a-0000-7000-8000-000000000000', { title: 'x' });
  assert.equal(unknown.status, 504);
  assert.equal(bench.writes.verbs.queue('notes').length, 1);
});

test('a change made elsewhere is a conflict: held, with both versions, and a person decides', async () => {
  await using origin = await startNotesOrigin();
  const [a, b] = [origin.add('alice', { title: 'a' }), origin.add('alice', { title: 'b' })];
  await using bench = await openBench({ url: origin.url });
  for (const { id } of [a, b]) {
    await bench.read(`/notes/${id}`);
  }
  bench.link('offline');
  for (const { id } of [a, b]) {
    await bench.write('PUT', `/notes/${id}`, { title: 'mine' });
    await bench.write('PUT', `/notes/${id}`, { title: 'mine again' });
    origin.edit('alice', id, { title: 'theirs' });
  }
  const other = await bench.write('POST', '/notes', { title: 'unrelated' });
  bench.link('online');
  await eventually('the unrelated one goes on', () =>
    origin.notes().some(({ title }) => title === 'unrelated'),
  );
  assert.ok(other);
  const rows = await eventually('both are held', () => {
    const queue = bench.writes.verbs.queue('notes');
    return queue.length === 4 && queue.filter(({ state }) => state === 'conflict').length === 2 && queue;
  });
  assert.deepEqual(
    rows.map(({ state }) => state),
    ['conflict', 'blocked', 'conflict', 'blocked'],
  );
  assert.deepEqual(bench.writes.verbs.counts('notes'), { waiting: 0, blocked: 2, conflicts: 2 });
  const [first, , second] = rows;
  assert.equal(JSON.parse(first?.conflict?.theirs ?? '{}').title, 'theirs');
  assert.equal(JSON.parse(first?.conflict?.mine ?? '{}').title, 'mine');
  assert.equal(JSON.parse(first?.conflict?.base ?? '{}').title, 'a');
  assert.deepEqual(
    origin
      .notes()
      .map(({ title }) => title)
      .sort(),
    ['theirs', 'theirs', 'unrelated'],
    'nothing was overwritten',
  );
  assert.equal(
    (await bench.read(`/notes/${a.id}`)).body.title,
    'mine again',
    'and the user still sees what they wrote',
  );

  await bench.writes.verbs.resolve('notes', first?.id ?? '', 'mine');
  await eventually(
    'mine goes over theirs, and what follows after it',
    () => origin.notes().find(({ id }) => id === a.id)?.title === 'mine again',
  );
  await assert.rejects(bench.writes.verbs.resolve('notes', second?.id ?? '', 'sent'), {
    code: 'request/conflict',
  });
  await bench.writes.verbs.resolve('notes', second?.id ?? '', 'theirs');
  const left = await eventually('the one after it meets theirs itself', () => {
    const queue = bench.writes.verbs.queue('notes');
    return queue.length === 1 && queue[0]?.state === 'conflict' && queue[0];
  });
  await bench.writes.verbs.resolve('notes', left.id, 'discard');
  assert.equal((await bench.read(`/notes/${b.id}`)).body.title, 'theirs');
});

test('a refused write is parked with its dependants, and the others go on', async () => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({
    url: origin.url,
    at: 'offline',
    definition: definition => ({ ...definition, openapi: { document: 'x', validate: 'off' as const } }),
  });
  const bad = await bench.write('POST', '/notes', { title: 'x'.repeat(500) });
  assert.equal(bad.status, 202, 'the service would not answer that');
  const id = bad.header('location')?.split('/').at(-1);
  await bench.write('PATCH', `/notes/${id}`, { text: 'edited' });
  const child = await bench.write('POST', '/notes', { title: 'child', parent: id });
  await bench.write('POST', '/notes', { title: 'good' });
  bench.link('online');
  await eventually('the good one goes on', () => bench.writes.verbs.queue('notes').length === 3);
  assert.equal(origin.notes()[0]?.title, 'good');
  const rows = bench.writes.verbs.queue('notes');
  assert.deepEqual(
    rows.map(({ state }) => state),
    ['rejected', 'blocked', 'blocked'],
  );
  assert.ok(child);
  await bench.writes.verbs.resolve('notes', rows[0]?.id ?? '', 'discard');
  assert.equal(bench.writes.verbs.queue('notes').length, 0, 'what cannot be without it goes with it');
});

test('ids that the service gives replace provisional ones in later paths and bodies', async () => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({ url: origin.url, at: 'offline' });
  const parent = await bench.write('POST', '/notes', { title: 'parent' });
  await bench.write('POST', '/notes', { title: 'child', parent: parent.body.id });
  await bench.write('DELETE', `/notes/${parent.body.id}`);
  bench.link('online');
  await eventually('all are delivered', queueEmpty(bench));
  const created = origin.effects[0]?.split(' ')[1];
  assert.equal(origin.notes()[0]?.parent, created);
  assert.deepEqual(
    origin.effects.map(effect => effect.split(' ')[0]),
    ['POST', 'POST', 'DELETE'],
  );
  assert.equal(origin.effects[2], `DELETE ${created}`);
});

test('a lost answer is asked for again under the same key, once at a service that knows keys', async () => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({ url: origin.url, at: 'offline' });
  await bench.write('POST', '/notes', { title: 'once' });
  origin.fault({ kind: 'lose-response' }, { times: 2 });
  bench.link('online');
  await eventually('it is delivered', queueEmpty(bench));
  assert.equal(origin.notes().length, 1);
  const keys = origin.seen.map(({ headers }) => headers['idempotency-key']);
  assert.equal(keys.length, 3);
  assert.equal(new Set(keys).size, 1);
});

test('409 to a repeat under the key means that the first is under way, and not that somebody else was there', async () => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({ url: origin.url, at: 'offline' });
  await bench.write('POST', '/notes', { title: 'slow' });
  origin.fault({ kind: 'lose-response' }, { times: 1 });
  bench.link('online');
  await eventually('it was done unheard', () => origin.effects.length === 1);
  origin.fault({ kind: 'status', status: 409 }, { times: 2 });
  await eventually('it is delivered', queueEmpty(bench));
  assert.equal(origin.notes().length, 1);
});

test('where the service knows no keys, a lost answer is ambiguous and held, until a person says', async () => {
  await using origin = await startNotesOrigin({ idempotency: false });
  await using bench = await openBench({
    url: origin.url,
    at: 'offline',
    definition: withWrite({ idempotency: { by: 'none' } }),
  });
  await bench.write('POST', '/notes', { title: 'perhaps' });
  await bench.write('POST', '/notes', { title: 'after' });
  origin.fault({ kind: 'lose-response' }, { times: 1 });
  bench.link('online');
  // Its answer is on disk, and not only on its way: what is seen at the origin may still be under way here.
  await eventually('the next one goes on', () => bench.writes.verbs.queue('notes').length === 1);
  assert.ok(origin.notes().some(({ title }) => title === 'after'));
  const [row] = bench.writes.verbs.queue('notes');
  assert.equal(row?.state, 'ambiguous');
  await assert.rejects(bench.writes.verbs.retry('notes', row?.id ?? ''), { code: 'request/conflict' });
  await bench.writes.verbs.resolve('notes', row?.id ?? '', 'sent');
  assert.equal(origin.notes().length, 2);
  assert.equal(bench.writes.verbs.queue('notes').length, 0);
});

test('502 and 504 of a gateway in between leave in doubt what the service knows no key of', async () => {
  for (const status of [502, 504]) {
    await using origin = await startNotesOrigin({ idempotency: false });
    await using bench = await openBench({
      url: origin.url,
      at: 'offline',
      definition: withWrite({ idempotency: { by: 'none' } }),
    });
    await bench.write('POST', '/notes', { title: 'perhaps' });
    origin.fault({ kind: 'status', status }, { times: 1 });
    bench.link('online');
    await eventually('it is held', () => bench.writes.verbs.queue('notes')[0]?.state === 'ambiguous');
    assert.equal(origin.seen.length, 1);
  }
});

test('where it is declared, the list tells whether a lost creation was done', async () => {
  await using origin = await startNotesOrigin({ idempotency: false });
  await using bench = await openBench({
    url: origin.url,
    definition: withWrite({ idempotency: { by: 'none' }, onAmbiguous: 'probe' }),
  });
  await bench.read('/notes');
  bench.link('offline');
  const made = await bench.write('POST', '/notes', { title: 'done, unheard' });
  origin.fault({ kind: 'lose-response' }, { times: 1 });
  bench.link('online');
  await eventually('it is found', queueEmpty(bench));
  assert.equal(origin.notes().length, 1);
  assert.equal((await bench.read(`/notes/${made.body.id}`)).body.id, origin.notes()[0]?.id);
});

test('a token that is not taken any more holds its writes until a good one is seen', async () => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({ url: origin.url, at: 'offline' });
  await bench.write('POST', '/notes', { title: 'one' });
  await bench.write('POST', '/notes', { title: 'two' });
  origin.revoke('token-alice');
  bench.link('online');
  await eventually('it is held', () => bench.writes.verbs.queue('notes')[0]?.state === 'needs-auth');
  assert.equal(origin.seen.length, 1, 'and the lane with it');
  origin.allow('token-alice', 'alice');
  bench.credentials('token-alice');
  await eventually('both are delivered', queueEmpty(bench));
  assert.deepEqual(
    origin.notes().map(({ title }) => title),
    ['two', 'one'],
  );
});

test('429 and 503 are tried again, not before the service asks for it', async () => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({ url: origin.url, at: 'offline' });
  await bench.write('POST', '/notes', { title: 'patient' });
  origin.fault({ kind: 'status', status: 429, retryAfter: 1 }, { times: 1 });
  bench.link('online');
  const row = await eventually('it waits', () =>
    bench.writes.verbs.queue('notes').find(({ nextAt }) => nextAt !== undefined),
  );
  assert.equal(row.state, 'queued');
  assert.ok((row.nextAt ?? 0) >= row.createdAt + 900);
  await eventually('it is delivered', queueEmpty(bench));
  assert.equal(origin.notes().length, 1);
});

test('a write during an outage that nobody has noticed yet is kept; one that hangs is answered in time', async () => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({
    url: origin.url,
    definition: definition => ({
      ...definition,
      defaults: { ...definition.defaults, read: { patience: 200 } },
    }),
  });
  origin.fault({ kind: 'status', status: 503 }, { times: 1 });
  const refused = await bench.write('POST', '/notes', { title: 'during a 503' });
  assert.equal(refused.status, 201);
  assert.equal(refused.header('replica-state'), 'queued');
  await eventually('it is delivered', queueEmpty(bench));
  origin.fault({ kind: 'captive' }, { times: 1 });
  assert.equal(
    (await bench.write('POST', '/notes', { title: 'in a hotel' })).header('replica-state'),
    'queued',
  );
  await eventually('it is delivered', queueEmpty(bench));
  origin.fault({ kind: 'hang' }, { times: 1 });
  const hung = await bench.write('POST', '/notes', { title: 'hung' });
  assert.equal(hung.header('replica-state'), 'queued');
  assert.equal((await bench.read('/notes')).body.items[0].title, 'hung');
  await eventually('it is delivered', queueEmpty(bench));
  assert.equal(origin.notes().length, 3);
});

test('what is queued survives a restart, projection and provisional ids with it', async () => {
  await using origin = await startNotesOrigin();
  const dir = await mkdtemp(join(tmpdir(), 'kos-writes-'));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rm(dir, { recursive: true, force: true }));
  let id: string;
  {
    await using bench = await openBench({ url: origin.url, dir, at: 'offline' });
    id = (await bench.write('POST', '/notes', { title: 'kept over night' })).body.id;
    await bench.write('PATCH', `/notes/${id}`, { text: 'still here' });
  }
  {
    await using bench = await openBench({ url: origin.url, dir, at: 'offline' });
    assert.equal((await bench.read(`/notes/${id}`)).body.text, 'still here');
    bench.link('online');
    await eventually('it is delivered', queueEmpty(bench));
  }
  await using bench = await openBench({ url: origin.url, dir });
  assert.equal((await bench.read(`/notes/${id}`)).body.id, origin.notes()[0]?.id);
  assert.equal(origin.notes()[0]?.text, 'still here');
  assert.equal(origin.effects.length, 2);
});

test('the queue is bounded: a write too many is refused and not kept', async () => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({ url: origin.url, at: 'offline', limits: { perPartition: 2 } });
  await bench.write('POST', '/notes', { title: '1' });
  await bench.write('POST', '/notes', { title: '2' });
  await assert.rejects(bench.write('POST', '/notes', { title: '3' }), { code: 'store/full' });
  assert.equal(
    (await bench.write('POST', '/notes', { title: 'of another' }, { token: 'token-bob' })).status,
    201,
  );
});

test('provisional ids are bounded: the oldest are forgotten, but not what a waiting write names', async () => {
  await using origin = await startNotesOrigin();
  let ahead = 0;
  const clock = { ...systemClock, now: () => systemClock.now() + ahead };
  const limits = { idsPerPartition: 2 };
  await using bench = await openBench({ url: origin.url, at: 'offline', clock, limits });
  const made: string[] = [];
  for (const title of ['1', '2', '3', '4', '5']) {
    made.push((await bench.write('POST', '/notes', { title })).body.id);
  }
  const known = () =>
    made.map(
      id =>
        bench.writes.projection.resolve('notes', bench.partition(), `/notes/${id}`).path !== `/notes/${id}`,
    );
  bench.link('online');
  await eventually('all are delivered', queueEmpty(bench));
  assert.deepEqual(known(), [true, true, true, true, true]);
  bench.link('offline');
  await bench.write('PATCH', `/notes/${made[1]}`, { text: 'named by its first name' });
  ahead = 11 * 60 * 1000;
  // Anything that happens has it look whether it is time to sweep.
  bench.link('offline');
  await eventually('some are forgotten', () => bench.store.outbox.countGiven() < 5);
  assert.deepEqual(known(), [false, true, false, true, true]);
  bench.link('online');
  await eventually('it is delivered', queueEmpty(bench));
  assert.equal(origin.notes().find(({ title }) => title === '2')?.text, 'named by its first name');
});

test('writes that were delivered give way when they take too much room', async () => {
  await using origin = await startNotesOrigin();
  let ahead = 0;
  const clock = { ...systemClock, now: () => systemClock.now() + ahead };
  await using bench = await openBench({ url: origin.url, clock, limits: { overBytes: 20_000 } });
  const ids: string[] = [];
  for (let n = 0; n < 12; n++) {
    const key = `key-${n}`;
    const made = await bench.write(
      'POST',
      '/notes',
      { title: 'long', text: 'x'.repeat(4000) },
      { headers: { 'Idempotency-Key': key } },
    );
    ids.push(made.body.id);
  }
  const kept = () => bench.store.outbox.operations();
  ahead = 61_000;
  bench.link('online');
  await eventually('the oldest are gone', () => kept().reduce((sum, { bytes }) => sum + bytes, 0) <= 20_000);
  assert.ok(kept().length >= 2, 'and not all');
});

test('a place nobody can decode names the new item as it stands', async () => {
  await using origin = await startNotesOrigin({ location: '/v1/notes/50%' });
  await using bench = await openBench({
    url: origin.url,
    at: 'offline',
    definition: definition => ({
      ...withWrite({ idempotency: { by: 'none' } })(definition),
      resources: definition.resources.map(each => ({ ...each, id: { ...each.id, source: ['location'] } })),
    }),
  });
  await bench.write('POST', '/notes', { title: 'odd' });
  bench.link('online');
  await eventually('it is delivered', queueEmpty(bench));
  assert.equal(origin.notes().length, 1);
});

test('a clock that is set back does not let what was delivered cover what the service says since', async () => {
  await using origin = await startNotesOrigin();
  let ahead = 24 * 60 * 60 * 1000;
  const clock = { ...systemClock, now: () => systemClock.now() + ahead };
  const began = clock.now();
  await using bench = await openBench({ url: origin.url, at: 'offline', clock });
  await bench.write('POST', '/notes', { title: 'tomorrow' });
  bench.link('online');
  await eventually('it is delivered', queueEmpty(bench));
  ahead = 0;
  await bench.writes.shift(began, -24 * 60 * 60 * 1000);
  origin.edit('alice', origin.notes()[0]?.id as string, { title: 'today' });
  assert.equal((await bench.read('/notes')).body.items[0].title, 'today');
});

test('neither tokens nor texts can be read on the disk', async () => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({ url: origin.url, at: 'offline' });
  await bench.write('POST', '/notes', { title: 'a very secret title' });
  const { readFile } = await import('node:fs/promises');
  const bytes = Buffer.concat(
    await Promise.all(
      ['replica-outbox.db', 'replica-outbox.db-wal'].map(name => readFile(join(bench.dir, name))),
    ),
  ).toString('latin1');
  assert.ok(bytes.includes('/notes'));
  assert.ok(!bytes.includes('secret title') && !bytes.includes('token-alice'));
});

test('a queue sealed with another key is held and said, and hides nothing else', async () => {
  await using origin = await startNotesOrigin();
  const dir = await mkdtemp(join(tmpdir(), 'kos-writes-'));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rm(dir, { recursive: true, force: true }));
  {
    await using bench = await openBench({ url: origin.url, dir, at: 'offline' });
    await bench.write('POST', '/notes', { title: 'sealed' });
  }
  await using bench = await openBench({ url: origin.url, dir, key: new Uint8Array(32).fill(8) });
  await eventually('it is held', () => bench.writes.verbs.queue('notes')[0]?.state === 'rejected');
  assert.match(bench.writes.verbs.queue('notes')[0]?.reason ?? '', /another key/);
  assert.equal((await bench.write('POST', '/notes', { title: 'goes on' })).status, 201);
  assert.equal(origin.notes()[0]?.title, 'goes on');
});

test('changes of different members are merged where the route lets them, over the version of the service', async () => {
  await using origin = await startNotesOrigin();
  const note = origin.add('alice', { title: 'old', text: 'old' });
  await using bench = await openBench({
    url: origin.url,
    definition: withWrite({ conflict: 'merge', merge: { '/tags': 'union' } }),
  });
  await bench.read(`/notes/${note.id}`);
  bench.link('offline');
  await bench.write('PUT', `/notes/${note.id}`, { title: 'mine', text: 'old', tags: ['a'] });
  origin.edit('alice', note.id, { text: 'theirs', tags: ['b'] });
  bench.link('online');
  await eventually('it is delivered', queueEmpty(bench));
  const [now] = origin.notes();
  assert.deepEqual([now?.title, now?.text, now?.tags], ['mine', 'theirs', ['b', 'a']]);
  const keys = origin.seen
    .filter(({ method }) => method === 'PUT')
    .map(({ headers }) => headers['idempotency-key']);
  assert.equal(new Set(keys).size, 2, 'another request has another key');
});

test('where the service has no ETags, an item is compared before it is changed', async () => {
  await using origin = await startNotesOrigin({ etags: false });
  const [same, changed] = ['same', 'changed'].map(title => origin.add('alice', { title }));
  assert.ok(same && changed);
  await using bench = await openBench({ url: origin.url });
  for (const { id } of [same, changed]) {
    await bench.read(`/notes/${id}`);
  }
  bench.link('offline');
  for (const { id } of [same, changed]) {
    await bench.write('PUT', `/notes/${id}`, { title: 'mine' });
  }
  origin.edit('alice', changed.id, { title: 'theirs' });
  bench.link('online');
  await eventually('one is held', () => {
    const rows = bench.writes.verbs.queue('notes');
    return rows.length === 1 && rows[0]?.state === 'conflict';
  });
  assert.deepEqual(
    origin.notes().map(({ title }) => title),
    ['theirs', 'mine'],
  );
});

test('with an order of its own for each item, one that hangs holds up no other', async () => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({
    url: origin.url,
    at: 'offline',
    definition: definition => ({ ...definition, order: 'resource' as const }),
  });
  await bench.write('POST', '/notes', { title: 'hangs' });
  await bench.write('POST', '/notes', { title: 'passes' });
  origin.fault({ kind: 'hang' }, { times: 1 });
  bench.link('online');
  await eventually('the other passes', () => origin.notes().length === 1);
  await eventually('and it follows', queueEmpty(bench));
  assert.equal(origin.notes().length, 2);
});

test('whatever is written offline, what was shown then is what the service has after the replay', async () => {
  const step = fc.record({
    what: fc.constantFrom('POST', 'PUT', 'PATCH', 'DELETE'),
    which: fc.nat(10),
    title: fc.stringMatching(/^[a-z]{1,8}$/),
    more: fc.option(fc.record({ tags: fc.subarray(['x', 'y']), status: fc.constantFrom('open', 'done') }), {
      nil: undefined,
    }),
  });
  const plain = (notes: readonly Note[]) =>
    notes.map(({ title, text, tags, status }) => JSON.stringify([title, text, tags, status])).sort();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async steps => {
      await using origin = await startNotesOrigin();
      const live = ['one', 'two'].map(title => origin.add('alice', { title }).id);
      await using bench = await openBench({ url: origin.url });
      await bench.read('/notes');
      bench.link('offline');
      for (const { what, which, title, more } of steps) {
        const id = live[which % Math.max(1, live.length)];
        if (what === 'POST') {
          live.push((await bench.write('POST', '/notes', { title, ...more })).body.id);
        } else if (id !== undefined) {
          const body = what === 'DELETE' ? undefined : { title, ...more };
          const done = await bench.write(what, `/notes/${id}`, body);
          assert.ok(done.status < 300, `${what} ${done.status}`);
          if (what === 'DELETE') {
            live.splice(live.indexOf(id), 1);
          }
        }
      }
      const shown = (await bench.read('/notes')).body;
      bench.link('online');
      await eventually('all are delivered', queueEmpty(bench));
      assert.deepEqual(plain(shown.items), plain(origin.notes()));
      assert.equal(shown.total, origin.notes().length);
      assert.deepEqual(plain((await bench.read('/notes')).body.items), plain(origin.notes()));
    }),
    { numRuns: 10 },
  );
});

function withWrite(write: Record<string, unknown>) {
  return (definition: Parameters<NonNullable<Parameters<typeof openBench>[0]['definition']>>[0]) => ({
    ...definition,
    routes: definition.routes.map(route => ({ ...route, write: { ...route.write, ...write } as never })),
  });
}
