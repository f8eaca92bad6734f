import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { missingReference, startPeer } from '../interop/peer.ts';
import { eventually } from './clients.ts';
import { startDaemon } from './daemon.ts';

const kosctl = fileURLToPath(new URL('../../bin/kosctl.js', import.meta.url));

test('kosctl shows, sends, reads, mints and ends tokens over the control socket', async () => {
  await using daemon = await startDaemon();
  const run = async (...words: string[]) => {
    const { code, stdout, stderr } = await daemon.kosctl(...words);
    assert.equal(code, 0, `${words.join(' ')}: ${stderr}`);
    return stdout;
  };
  assert.match(await run('status'), /ready\nlxmf:[0-9a-f]{32}\ntransport: on\n/);
  const id = (await run('send', 'app:owner', 'a', 'note')).trim();
  assert.match(id, /^[0-9a-f]{32}$/);
  assert.match(await run('inbox'), /app:owner {2}a note\n$/);
  assert.equal(await run('inbox'), '');
  assert.match(await run('token', 'create', 'board', '--rooms', ''), /^kos_\S+\n$/);
  assert.match(await run('token', 'list'), /board .*rooms -/);
  await run('token', 'set', 'board', '--role', 'reader', '--expires', '2099-01-01');
  assert.match(
    await run('token', 'show', 'board'),
    /board .*reader messages:read.*until 2099.*\nnever used\n$/,
  );
  assert.match(await run('token', 'rotate', 'board', '--grace', '0'), /^kos_\S+\n$/);
  assert.match(await run('token', 'owner', '--rotate'), /^kos_\S+\n$/);
  await run('token', 'revoke', 'board');
  assert.equal(await run('session', 'list'), 'no browser is logged in\n');
  const token = (await run('token', 'owner', '--rotate')).trim();
  const logIn = () =>
    fetch(`${daemon.ready.http}/v1/session`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': 'Firefox/140.0' },
      body: JSON.stringify({ token }),
    });
  assert.deepEqual(
    (await Promise.all([logIn(), logIn(), logIn()])).map(({ status }) => status),
    [201, 201, 201],
  );
  const [session = ''] = (await run('session', 'list')).split(' ');
  assert.match(
    await run('session', 'list'),
    /^[0-9a-f]{32} {2}used .* from 127\.0\.0\.1 .*Firefox\/140\.0\n/,
  );
  assert.equal(await run('session', 'end', session), 'ended\n');
  assert.equal(await run('session', 'end', 'all'), '2 ended\n');
  assert.match(
    await run('audit', '--action', 'tokens'),
    /app:owner \(control\) {2}tokens\.rotate board {2}done\n/,
  );
  assert.match(await run('token', 'list'), /board .*revoked/);
  assert.match(await run('config', 'show'), /"listen"/);
  assert.equal((JSON.parse(await run('--json', 'status')) as { ready: boolean }).ready, true);
  assert.equal(await run('peers'), 'nobody yet\n');
  assert.equal(await run('announce'), 'announced\n');
});

test('kosctl shows interfaces, paths, links and announces as the hub knows them', async () => {
  await using near = await startDaemon({
    config: { interfaces: [{ name: 'server', kind: 'tcp-server', host: '127.0.0.1', port: 0 }] },
  });
  const run = async (...words: string[]) => {
    const { code, stdout, stderr } = await near.kosctl(...words);
    assert.equal(code, 0, `${words.join(' ')}: ${stderr}`);
    return stdout;
  };
  assert.equal(await run('paths'), 'no way is known\n');
  assert.equal(await run('links'), 'none is open\n');
  assert.equal(await run('announces'), 'nothing was heard yet\n');
  const port = Number(near.ready.interfaces.server?.split(':').at(-1));
  await using far = await startDaemon({
    config: { interfaces: [{ name: 'uplink', kind: 'tcp-client', host: '127.0.0.1', port }] },
  });
  await eventually('the other hub is heard', async () => (await run('peers')).includes(far.ready.lxmf));
  assert.match(await run('interfaces'), /^server +tcp-server +10 Mbit\/s .* up\n {2}server\/\S+ +peer /m);
  assert.match(
    await run('paths'),
    new RegExp(`^${far.ready.lxmf} {2}1 hop.* a neighbour .* over server/`, 'm'),
  );
  assert.match(await run('announces'), new RegExp(`^${far.ready.lxmf} {2}identity ${far.ready.hub} `, 'm'));
  await run('send', `lxmf:${far.ready.lxmf}`, 'x'.repeat(1000));
  assert.match(
    await eventually(
      'the link is there',
      async () => (await run('links')).includes('active') && run('links'),
    ),
    /^[0-9a-f]{32} {2}initiator/m,
  );
  const listed = JSON.parse(await run('--json', 'paths')) as { destination: string }[];
  assert.ok(listed.some(({ destination }) => destination === far.ready.lxmf));
});

test('kosctl says what is wrong: 1 where it failed, 2 where it was used wrongly', async () => {
  await using daemon = await startDaemon();
  const unknown = await daemon.kosctl('send', 'room:nowhere', 'x');
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /there is no room nowhere/);
  for (const words of [['fly'], ['send', 'app:owner'], ['token', 'create'], ['--colour']]) {
    const wrong = await daemon.kosctl(...words);
    assert.equal(wrong.code, 2, words.join(' '));
    assert.notEqual(wrong.stderr, '');
  }
  const data = daemon.data;
  await daemon.stop();
  const gone = await daemon.kosctl('--data', data, 'status');
  assert.equal(gone.code, 1);
  assert.match(gone.stderr, /is the gateway running/);
});

test('a reader that closes early loses no message: what it did not take is shown again', async () => {
  await using daemon = await startDaemon();
  const count = 120;
  for (let number = 0; number < count; number++) {
    const answer = await daemon.call('POST', '/v1/messages', {
      body: { to: 'app:owner', text: `${number} ${'x'.repeat(2000)}` },
    });
    assert.equal(answer.status, 201);
  }
  const child = spawn(process.execPath, [kosctl, '--data', daemon.data, '--json', 'inbox'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  await once(child.stdout, 'data');
  child.stdout.destroy();
  await once(child, 'exit');
  assert.equal(errors, '');
  const rest = await daemon.kosctl('--json', 'inbox');
  assert.match(rest.stdout, /"text":"119 x/);
  const shown = rest.stdout.split('\n').filter(line => line !== '').length;
  assert.ok(shown >= count - 60, `${shown} of ${count} are left`);
});

test('what comes from the air cannot pass for another line, and what nobody vouches for is marked', {
  skip: await missingReference('1.5.7'),
}, async () => {
  await using daemon = await startDaemon({
    config: { interfaces: [{ name: 'server', kind: 'tcp-server', host: '127.0.0.1', port: 0 }] },
  });
  const address = daemon.ready.interfaces.server ?? '';
  const port = Number(address.slice(address.lastIndexOf(':') + 1));
  await using peer = await startPeer({ interfaces: [{ type: 'client', port }] });
  const sent = await peer.send({
    to: daemon.ready.lxmf,
    content: 'hello\n2026-01-01T00:00:00.000Z  lxmf:victim  pay\u001b[2Jme\u202e',
    method: 'direct',
  });
  assert.equal(await peer.delivered(sent.hash), 'delivered');
  const out = await eventually('it is in the inbox', async () => {
    const { stdout } = await daemon.kosctl('inbox');
    return stdout !== '' && stdout;
  });
  const lines = out.trimEnd().split('\n');
  assert.equal(lines.length, 2);
  assert.match(lines[1] ?? '', /^ {4}\| 2026/);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what must not be there
  assert.doesNotMatch(out, /[\u001b\u202e]/);
});
