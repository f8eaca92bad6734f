import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryBridge, openTestSwitch, testHub, until } from './fixture.ts';

test('each far side is named its own id of a message, also after a restart', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-ids-'));
  await using _ = { [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) };
  const [one, two, other, nobody] = ['1', '2', '3', '4'].map(digit => `lxmf:${digit.repeat(32)}`) as [
    string,
    string,
    string,
    string,
  ];
  const rooms = { hub: { members: [one, two] } };
  const before = memoryBridge();
  before.respond = async ({ id, to }) => {
    await (await before.port).remember(id, Uint8Array.of(0), `told ${to}`);
    return { state: 'delivered' };
  };
  const first = await openTestSwitch({ dir, bridges: [before], rooms });
  const { id } = await before.say({ remoteId: 'said', from: other, to: `lxmf:${testHub.lxmf}`, text: 'hi' });
  await until(() => first.store.read.openDeliveries().length === 0);
  await first.stop();

  const after = memoryBridge();
  await using hub = await openTestSwitch({ dir, bridges: [after], rooms });
  const port = await after.port;
  assert.equal(hub.store.read.openDeliveries().length, 0);
  assert.deepEqual(port.remoteIds(id, one), [`told ${one}`]);
  assert.deepEqual(port.remoteIds(id, two), [`told ${two}`]);
  assert.deepEqual(port.remoteIds(id, other), ['said']);
  assert.deepEqual(port.remoteIds(id, nobody), []);
  assert.equal(port.remoteIds(id).length, 3);
});
