import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { startNotesOrigin } from '../sim/origins/notes.ts';
import { ensurePython } from '../venv.ts';
import { eventually } from './clients.ts';
import { startNotesReplica } from './notes-replica.ts';

const run = promisify(execFile);

const queueIs = (replica: Awaited<ReturnType<typeof startNotesReplica>>, length: number) => async () =>
  (await replica.call('GET', '/_replica/queue')).body.items.length === length;

/** Read through the gateway, as often as a busy machine needs until it finds the service. */
const warm = (replica: Awaited<ReturnType<typeof startNotesReplica>>, path: string, token = 'token-alice') =>
  eventually(
    `${path} is read`,
    async () => (await replica.call('GET', path, undefined, { token })).status === 200,
    60_000,
  );

test('with the cloud gone, writes are visible at once, survive kill -9 and are replayed once, in order, when it returns', async () => {
  await using origin = await startNotesOrigin();
  const [kept, gone, fought] = ['kept', 'gone', 'fought over'].map(title => origin.add('alice', { title }));
  assert.ok(kept && gone && fought);
  await using replica = await startNotesReplica(origin);
  await warm(replica, '/notes');
  await warm(replica, '/notes', 'token-bob');
  for (const { id } of [kept, gone, fought]) {
    await warm(replica, `/notes/${id}`);
  }
  await origin.kill();

  const made = await replica.call(
    'POST',
    '/notes',
    { title: 'made' },
    { headers: { 'idempotency-key': 'one' } },
  );
  assert.equal(made.status, 201, JSON.stringify(made.body));
  assert.equal(made.headers['replica-state'], 'queued');
  assert.equal(made.headers.location, `/svc/notes/notes/${made.body.id}`);
  const status = /<(\/svc\/notes[^>]*)>; rel="status"/.exec(String(made.headers.link))?.[1];
  assert.ok(status, String(made.headers.link));
  assert.equal((await replica.call('GET', status.slice('/svc/notes'.length))).body.state, 'queued');
  assert.equal((await replica.call('PUT', `/notes/${kept.id}`, { title: 'put' })).status, 200);
  assert.equal((await replica.call('DELETE', `/notes/${gone.id}`)).status, 204);
  assert.equal((await replica.call('PUT', `/notes/${fought.id}`, { title: 'mine' })).status, 200);

  const see = async () => {
    const list = await replica.call('GET', '/notes');
    assert.equal(list.status, 200, JSON.stringify(list.body));
    assert.deepEqual(
      list.body.items.map((note: { title: string }) => note.title),
      ['made', 'mine', 'put'],
    );
    assert.equal((await replica.call('GET', `/notes/${made.body.id}`)).body.title, 'made');
    assert.equal((await replica.call('GET', `/notes/${kept.id}`)).body.title, 'put');
    assert.equal((await replica.call('GET', `/notes/${gone.id}`)).status, 404);
    const bob = await replica.call('GET', '/notes', undefined, { token: 'token-bob' });
    assert.deepEqual(bob.body.items, [], 'another user sees nothing of it');
    assert.deepEqual(
      (await replica.call('GET', '/_replica/queue', undefined, { token: 'token-bob' })).body.items,
      [],
    );
  };
  await see();
  await replica.killAndRestart();
  await see();
  const again = await replica.call(
    'POST',
    '/notes',
    { title: 'made' },
    { headers: { 'idempotency-key': 'one' } },
  );
  assert.equal(again.body.id, made.body.id, 'a repeat under the key is the same note');

  origin.edit('alice', fought.id, { title: 'theirs' });
  await origin.revive();
  await eventually(
    'all are delivered but the one that is held',
    async () => {
      const { items } = (await replica.call('GET', '/_replica/queue')).body;
      return items.length === 1 && items[0].state === 'conflict';
    },
    60_000,
  );
  const real = origin.notes().find(note => note.title === 'made');
  assert.deepEqual(origin.effects, [`POST ${real?.id}`, `PUT ${kept.id}`, `DELETE ${gone.id}`]);
  const [row] = (await replica.call('GET', '/_replica/queue')).body.items;
  assert.equal(row.state, 'conflict');
  assert.equal(JSON.parse(row.conflict.theirs).title, 'theirs');
  assert.equal(JSON.parse(row.conflict.mine).title, 'mine');
  assert.equal(
    origin.notes().find(note => note.id === fought.id)?.title,
    'theirs',
    'held, not lost and not overwritten',
  );
  assert.equal(
    (await replica.call('GET', `/notes/${made.body.id}`)).body.id,
    real?.id,
    'the provisional address answers',
  );

  const decide = (token: string) =>
    replica.call('POST', `/_replica/queue/${row.id}/mine`, undefined, { token });
  assert.equal((await decide('token-bob')).status, 404, 'nobody else decides about it');
  assert.equal((await decide('token-alice')).status, 200);
  await eventually('mine goes over theirs', queueIs(replica, 0), 60_000);
  assert.equal(origin.notes().find(note => note.id === fought.id)?.title, 'mine');
});

test("schemathesis' stateful phase, with its coverage and fuzzing phases, over the gateway's copy of the notes API with the cloud gone has no finding", {
  timeout: 400_000,
}, async t => {
  const python = await ensurePython({
    title: 'schemathesis 4.32.5',
    folder: join('py', 'schemathesis-4.32.5'),
    requirements: 'test/e2e/requirements-schemathesis.txt',
    minor: 10,
    tests: 'The tests of a replica against its OpenAPI document',
  });
  if (python === undefined) {
    t.skip('no schemathesis');
    return;
  }
  await using origin = await startNotesOrigin();
  await using replica = await startNotesReplica(origin);
  await warm(replica, '/notes');
  await origin.kill();
  assert.equal((await replica.call('POST', '/notes', { title: 'the first finds out' })).status, 201);
  const drive = async (phases: string, examples: number) => {
    const { stdout } = await run(
      python,
      [
        '-m',
        'schemathesis.cli',
        '--config-file',
        join(import.meta.dirname, 'schemathesis.toml'),
        'run',
        join(import.meta.dirname, '../../replicas/notes.openapi.yaml'),
        '--url',
        replica.url(),
        '--header',
        'Authorization: Bearer token-alice',
        '--phases',
        phases,
        '--mode',
        'positive',
        '--max-examples',
        String(examples),
        '--seed',
        '1',
        '--checks',
        'ensure_resource_availability,use_after_free,response_schema_conformance,status_code_conformance,content_type_conformance,positive_data_acceptance,not_a_server_error',
        '--no-color',
      ],
      { timeout: 300_000, maxBuffer: 64 * 1024 * 1024, cwd: replica.daemon().data },
    ).catch((error: { stdout?: string; message: string }) => {
      throw new Error(`schemathesis has findings:\n${error.stdout?.slice(-6000) ?? error.message}`);
    });
    const [, cases, passed] = /(\d+) generated, (\d+) passed/.exec(stdout) ?? [];
    t.diagnostic(
      stdout
        .split('\n')
        .filter(line => /generated|Scenarios|passed/i.test(line))
        .join(' | ')
        .trim(),
    );
    assert.ok(!/no test cases/i.test(stdout), stdout);
    assert.ok(Number(cases) >= 100, `it tried something: ${stdout.slice(-2000)}`);
    assert.equal(passed, cases);
  };
  await drive('stateful', 60);
  await drive('coverage,fuzzing', 20);
  assert.equal(
    origin.seen.filter(({ method }) => method !== 'GET').length,
    0,
    'the cloud was away all the time',
  );
});
