import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { missingProgram } from '../../package.ts';
import { openHub } from './hub.ts';

const skip = missingProgram('mosquitto_pub', 'mosquitto-clients', '--help');
const run = promisify(execFile);
const peer = 'ab'.repeat(16);

test('mosquitto_pub writes to the mesh and mosquitto_sub hears the answer', { skip }, async () => {
  await using hub = await openHub();
  const token = await hub.token('board', ['mqtt', 'messages:send', 'messages:read']);
  const login = ['-h', '127.0.0.1', '-p', String(hub.port), '-u', 'board', '-P', token, '-q', '1'];
  const listener = spawn('mosquitto_sub', [...login, '-v', '-t', `${hub.topics.root}/#`, '-i', 'screen']);
  const lines = createInterface(listener.stdout)[Symbol.asyncIterator]();
  const next = async (part: string): Promise<string> => {
    for (;;) {
      const { value, done } = await lines.next();
      assert.ok(done !== true, `mosquitto_sub ended before ${part}`);
      if (String(value).includes(part)) {
        return String(value);
      }
    }
  };
  await next('/state ');
  await run('mosquitto_pub', [...login, '-t', hub.tx(peer), '-m', 'hello from MQTT']);
  const { message } = await hub.mesh.next();
  assert.equal(message.text, 'hello from MQTT');
  assert.match(await next('"state":"queued"'), new RegExp(`/mesh/status/${message.id} `));
  await hub.mesh.say(peer, 'hello back', { inReplyTo: message.id });
  assert.match(await next('/rx '), /"text":"hello back"/);
  listener.kill();
  await once(listener, 'close');
});

test('mosquitto_sub with MQTT 5 is told that its protocol version is not supported', { skip }, async () => {
  await using hub = await openHub();
  const token = await hub.token('board', ['mqtt']);
  const words = ['-h', '127.0.0.1', '-p', String(hub.port), '-u', 'board', '-P', token];
  await assert.rejects(run('mosquitto_sub', [...words, '-V', 'mqttv5', '-t', '#']), /[Uu]nsupported/);
});
