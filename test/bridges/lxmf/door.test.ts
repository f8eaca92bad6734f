import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { encode } from '../../../src/lib/msgpack.ts';
import { fields } from '../../../src/mesh/lxmf/fields.ts';
import { until } from '../../gateway/fixture.ts';
import { air, openHandheld, openHub, type SimHub } from './hubs.ts';

test('a handheld is asked into a room made while the hub runs, joins and leaves it by a word', async () => {
  const ether = air();
  await using a = await openHub(ether, 'a');
  await using phone = await openHandheld(ether, 'phone');
  await phone.announce();
  const { desk, owner } = a.hub;
  await desk.rooms.create(owner, 'plaza', { members: [phone.address] });
  const asked = await until(() => phone.inbox[0], 'it was never asked');
  assert.match(asked.content, /^a asks you into the room plaza\. Write \/join here/);
  const room = a.addressOf('room:plaza');
  assert.equal(asked.from, room, 'the question comes from the room itself');
  assert.equal(await until(() => phone.heard('plaza')), room, 'the new room is announced under its name');
  await desk.messages.post(owner, { to: 'room:plaza', text: 'not yet' });
  await phone.say(room, '/join');
  await until(() => phone.inbox.find(({ content }) => content.startsWith('You are in the room plaza')));
  await desk.messages.post(owner, { to: 'room:plaza', text: 'welcome' });
  await until(() => phone.inbox.find(({ content }) => content.includes('welcome')));
  await phone.say(room, '/leave');
  await until(() => phone.inbox.find(({ content }) => content.startsWith('You have left')));
  assert.deepEqual(desk.rooms.get(owner, 'plaza').members, []);
  assert.ok(!phone.inbox.some(({ content }) => content.includes('not yet')));
});

test('what a blocked handheld sends is proven and leaves nothing, its files neither', async () => {
  const ether = air();
  await using a = await openHub(ether, 'a');
  await using phone = await openHandheld(ether, 'phone');
  await phone.announce();
  await until(() => heard(a, phone.address));
  const file = new Map([
    [fields.attachments as number | string, encode([['a.bin', new Uint8Array(300).fill(7)]])],
  ]);
  await a.hub.desk.blocks.add(phone.address);
  // It resolves with the proof.
  await phone.say(a.address, 'let me in', file);
  assert.equal(a.hub.counters.get('blocked/dropped'), 1);
  assert.deepEqual(a.all(), []);
  assert.deepEqual(await filesIn(join(a.hub.dir, 'blobs')), []);
  await a.hub.desk.blocks.remove(phone.address);
  await phone.say(a.address, 'thank you', file);
  assert.equal((await a.got('thank you')).attachments.length, 1);
});

test('the symbol and colours of a signed message are what its sender looks like, and go on as they came', async () => {
  const ether = air();
  await using a = await openHub(ether, 'a');
  await using phone = await openHandheld(ether, 'phone');
  await phone.announce();
  await until(() => heard(a, phone.address));
  const icon = encode(['antenna', Uint8Array.of(255, 0, 16), Uint8Array.of(0, 0, 0)]);
  await phone.say(a.address, 'with a face', new Map([[fields.icon as number | string, icon]]));
  const message = await a.got('with a face');
  assert.equal(message.native?.[`lxmf:${fields.icon}`], Buffer.from(icon).toString('base64'));
  await until(() => a.hub.desk.directory.get(a.hub.owner, phone.address).avatar);
  assert.deepEqual(a.hub.desk.directory.get(a.hub.owner, phone.address).avatar, {
    icon: 'antenna',
    foreground: '#ff0010',
    background: '#000000',
  });
  const wrong = encode(['<script>', Uint8Array.of(1), 'red']);
  await phone.say(a.address, 'with another', new Map([[fields.icon as number | string, wrong]]));
  await a.got('with another');
  assert.equal(a.hub.desk.directory.get(a.hub.owner, phone.address).avatar?.icon, 'antenna');
});

function heard({ hub }: SimHub, address: string) {
  return hub.desk.directory.list(hub.owner, {}).items.find(one => one.address === address);
}

async function filesIn(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  return found.filter(one => one.isFile()).map(one => one.name);
}
