import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempDisposable, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { backupCommands } from '../../src/cli/backup.ts';

/** Makes a backup of whatever answers; gives what was printed, and the files that are there then. */
async function backupOf(answer: RequestListener, file = 'hub.age') {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'kos-cli-backup-'));
  const at = (name: string) => join(folder.path, name);
  await writeFile(at('token'), 'kos_token');
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const printed: string[] = [];
  const run = backupCommands.get('backup')?.run({
    words: [at(file)],
    json: false,
    options: { url: `http://127.0.0.1:${port}`, recipient: 'age1x' },
    config: undefined,
    environment: { KOS_TOKEN_FILE: at('token') },
    signal: new AbortController().signal,
    out: async text => void printed.push(text),
  });
  try {
    await run;
    return { printed, made: await readFile(at(file), 'utf8') };
  } finally {
    server.closeAllConnections();
    server.close();
    const names = (await readdir(folder.path)).filter(name => name.endsWith('.part'));
    assert.deepEqual(names, [], 'nothing half made is left');
  }
}

const estimate = { 'kos-estimated-size': '5' };

test('a backup is what the gateway sends, to its end', async () => {
  const { printed, made } = await backupOf((request, response) => {
    assert.deepEqual([request.method, request.url], ['POST', '/v1/backup']);
    assert.equal(request.headers.authorization, 'Bearer kos_token');
    response.writeHead(200, estimate).end('bytes');
  });
  assert.equal(made, 'bytes');
  assert.match(printed.join(), /hub\.age: 5 bytes/);
});

test('whatever else answers is told of in words, and no file is left', async () => {
  const problem = { title: 'Conflict', detail: 'another one', errors: [{ pointer: '/a', detail: 'wrong' }] };
  const cases: readonly (readonly [RequestListener, { code: string; message: RegExp }])[] = [
    [
      (_, response) => response.writeHead(502).end('<html>'),
      { code: 'wire/malformed', message: /is not JSON: is this a kOS gateway/ },
    ],
    [
      (_, response) => response.writeHead(200).end('<html>'),
      { code: 'wire/malformed', message: /is no backup: is this a kOS gateway/ },
    ],
    [(_, response) => response.writeHead(404).end(), { code: 'bridge/rejected', message: /^status 404$/ }],
    [
      (_, response) => response.writeHead(409).end(JSON.stringify(problem)),
      { code: 'bridge/rejected', message: /^another one\n {2}\/a: wrong$/ },
    ],
    [
      (_, response) => response.writeHead(200, estimate).write('by', () => response.destroy()),
      { code: 'bridge/unavailable', message: /^no answer from http:/ },
    ],
    [request => request.socket.destroy(), { code: 'bridge/unavailable', message: /^no answer from http:/ }],
  ];
  for (const [answer, wanted] of cases) {
    await assert.rejects(backupOf(answer), wanted);
  }
  await assert.rejects(
    backupOf((_, response) => response.writeHead(200, estimate).end('bytes'), 'none/hub.age'),
    { code: 'store/unavailable', message: /hub\.age\.part cannot be written: ENOENT/ },
  );
});
