import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse, stringify } from 'yaml';
import { eventually } from './clients.ts';
import { startDaemon } from './daemon.ts';

const server = (name: string, more: object = {}) => ({
  name,
  kind: 'tcp-server',
  host: '127.0.0.1',
  port: 0,
  ...more,
});

test('interfaces come, change and go by kosctl and by SIGHUP, and what lies over the others stays', async () => {
  await using near = await startDaemon({ config: { interfaces: [server('one')] } });
  const port = Number(near.ready.interfaces.one?.split(':').at(-1));
  await using far = await startDaemon({
    config: { interfaces: [{ name: 'uplink', kind: 'tcp-client', host: '127.0.0.1', port }] },
  });
  const run = async (...words: string[]) => {
    const { code, stdout, stderr } = await near.kosctl(...words);
    assert.equal(code, 0, `${words.join(' ')}: ${stderr}`);
    return stdout;
  };
  const list = async <T>(what: string) =>
    (await near.call<{ items: T[] }>('GET', `/v1/mesh/${what}`)).body.items;
  const states = async () =>
    Object.fromEntries(
      (await list<{ name: string; state: string }>('interfaces')).map(({ name, state }) => [name, state]),
    );
  const pathOver = async () =>
    (await list<{ destination: string }>('paths')).some(path => path.destination === far.ready.lxmf);
  await eventually('the other hub is heard', pathOver);

  assert.match(
    await run('interface', 'add', 'two', 'tcp-server', 'host=127.0.0.1', 'port=0'),
    /^two {2}tcp-server {2}up/,
  );
  assert.match(
    await run('interface', 'set', 'one', 'mode=gateway', 'announce.cap=5'),
    /^one {2}tcp-server {2}up/,
  );
  assert.match(await run('interface', 'detach', 'two'), /stopped: detached/);
  assert.match(await run('interface', 'attach', 'two'), /up/);
  const refused = await near.kosctl('interface', 'set', 'one', 'mode=loud');
  assert.deepEqual([refused.code, /\/mode: "loud" is wrong/.test(refused.stderr)], [1, true], refused.stderr);

  const file = join(near.data, '..', 'kos.yaml');
  const config = parse(await readFile(file, 'utf8'));
  await writeFile(
    file,
    stringify({ ...config, hub: { name: 'Oak' }, interfaces: [server('one'), server('three')] }),
  );
  near.process.kill('SIGHUP');
  await eventually('the file is taken over', async () => (await states()).three === 'up');
  assert.equal((await near.call<{ hub: { name: string } }>('GET', '/v1/status')).body.hub.name, 'Oak');
  assert.equal((await states()).two, 'up', 'what the API added is beside what the file names');
  assert.equal(
    JSON.parse(await run('interface', 'show', 'one')).config.mode,
    'gateway',
    'and what it changed',
  );

  await writeFile(file, 'interfaces: [{ name: one, kind: pigeon }]');
  near.process.kill('SIGHUP');
  await eventually('the mistakes are in the log', async () => near.stderr().includes('interfaces.0.kind'));
  const mistaken = await near.kosctl('config', 'reload');
  assert.deepEqual([mistaken.code, /interfaces\.0\.kind/.test(mistaken.stderr)], [1, true], mistaken.stderr);
  await eventually('who had the file read again is on the record', async () => {
    const { body } = await near.call<{ items: { door: string; status: number }[] }>(
      'GET',
      '/v1/audit?action=config.reload',
    );
    return (
      body.items
        .map(({ door, status }) => `${door} ${status}`)
        .sort()
        .join() === 'control 422,hub 200,hub 422'
    );
  });

  assert.equal(await run('log', 'debug'), 'debug\n');

  assert.ok(await pathOver());
  assert.doesNotMatch(far.stderr(), /service down/, 'its connection was not closed');
  await run('interface', 'remove', 'two');
  assert.equal((await states()).two, undefined);
});
