import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Daemon, startDaemon } from './daemon.ts';

const ada = `lxmf:${'a1'.repeat(16)}`;

test('rooms, rules, names and blocks made while it ran are there after a kill, over a file that knows nothing of them', async () => {
  const config = { rooms: { plaza: { members: ['app:owner'] } } };
  await using first = await startDaemon({ config });
  const token = first.ready.ownerToken!;
  const kosctl = async (daemon: Daemon, ...words: string[]) => {
    const { code, stdout, stderr } = await daemon.kosctl(...words);
    assert.equal(code, 0, `${words.join(' ')}: ${stderr}`);
    return stdout;
  };
  const write = async (method: string, path: string, body: object = {}) => {
    const answer = await first.call(method, path, { token, body });
    assert.ok(answer.status < 300, JSON.stringify(answer.body));
  };
  const made = await kosctl(first, 'room', 'add', 'yard', 'mqtt:yard', '--open');
  const address = /lxmf:[0-9a-f]{32}/.exec(made)?.[0];
  assert.ok(address, made);
  await write('PATCH', '/v1/rooms/plaza', { members: ['app:owner', ada], consent: 'given' });
  const words = 'template.text={data.values.t|round:1|unit:°C} at {from.id}';
  await kosctl(first, 'route', 'add', 'warm', 'from=mqtt:dev/#', `to=[${ada}]`, 'maxRate=1/10m', words);
  await write('PATCH', `/v1/peers/${encodeURIComponent(ada)}`, { name: 'Ada', trust: 'trusted' });
  await write('PUT', `/v1/blocks/${encodeURIComponent('matrix:@*:spam.example')}`, { reason: 'spam' });
  await first.kill();
  await using second = await startDaemon({ config, data: first.data });
  assert.match(
    await kosctl(second, 'room', 'show', 'yard'),
    new RegExp(`^yard {2}api, open {2}${address}\n {2}mqtt:yard {2}api`),
  );
  const read = async <T>(path: string) => (await second.call<T>('GET', path, { token })).body;
  const room = await read<{ memberStates: object[]; changed: boolean }>('/v1/rooms/plaza');
  assert.ok(room.changed);
  const states = [
    { address: 'app:owner', source: 'config' },
    { address: ada, name: 'Ada', source: 'api', consent: 'given' },
  ];
  assert.deepEqual(
    room.memberStates.map(({ trouble: _, ...state }: { trouble?: object }) => state),
    states,
  );
  assert.match(
    await kosctl(second, 'route', 'test', 'mqtt:dev/pump', 'sensor.reading', '{"values":{"t":21.46}}'),
    new RegExp(`rules: warm\n {2}${ada} {2}warm: 21.5 °C at dev/pump`),
  );
  const peer = await read<{ name: string; trust: string }>(`/v1/peers/${encodeURIComponent(ada)}`);
  assert.deepEqual([peer.name, peer.trust], ['Ada', 'trusted']);
  assert.equal((await read<{ items: object[] }>('/v1/blocks')).items.length, 1);
});
