import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settlingTime } from '../../../src/bridges/lxmf/announce-schedule.ts';
import { roundInterval, searchedMost, WaitingPeers } from '../../../src/bridges/lxmf/waiting-peers.ts';
import type { InterfaceHandle } from '../../../src/mesh/reticulum/dispatch.ts';
import { type Nodes, twoNodes } from '../../mesh/reticulum/link-nodes.ts';

const addressOf = (number: number) => `lxmf:${number.toString(16).padStart(32, '0')}`;

interface Watched {
  readonly peers: WaitingPeers;
  readonly tried: string[];
  readonly iface: InterfaceHandle & { online: boolean };
}

function watch({ clock, a }: Nodes): Watched {
  const tried: string[] = [];
  const peers = new WaitingPeers({ clock, transport: a.transport, retry: address => tried.push(address) });
  const iface = { ...({} as InterfaceHandle), name: 'tcp', online: true };
  return { peers, tried, iface };
}

test('an interface that came up brings back what waits, once it has settled', async () => {
  await using nodes = twoNodes();
  const { peers, tried, iface } = watch(nodes);
  peers.failed(addressOf(1), 'mesh/timeout');
  peers.failed(addressOf(2), 'mesh/no-path');
  peers.delivered(addressOf(1));
  peers.cameUp(iface);
  await nodes.clock.advance(settlingTime - 10);
  assert.deepEqual(tried, []);
  await nodes.clock.advance(20);
  assert.deepEqual(tried, [addressOf(2)]);
});

test('an interface that is gone again brings back nothing', async () => {
  await using nodes = twoNodes();
  const { peers, tried, iface } = watch(nodes);
  peers.failed(addressOf(1), 'mesh/no-path');
  peers.cameUp(iface);
  iface.online = false;
  await nodes.clock.advance(10 * settlingTime);
  assert.deepEqual(tried, []);
});

test('many interfaces that come and go make one round in half a minute, of a few peers', async () => {
  await using nodes = twoNodes();
  const { peers, tried, iface } = watch(nodes);
  for (let number = 0; number < 2000; number++) {
    peers.failed(addressOf(number), 'mesh/no-path');
  }
  for (let second = 0; second < 2 * (roundInterval / 1000); second++) {
    for (let count = 0; count < 20; count++) {
      peers.cameUp({ ...iface, name: `tcp ${second} ${count}` });
    }
    await nodes.clock.advance(1000);
  }
  assert.equal(tried.length, 2 * searchedMost);
  assert.equal(tried[0], addressOf(1999));
});

test('after it was stopped nothing is tried', async () => {
  await using nodes = twoNodes();
  const { peers, tried, iface } = watch(nodes);
  peers.failed(addressOf(1), 'mesh/no-path');
  peers.cameUp(iface);
  peers.stop();
  await nodes.clock.advance(10 * settlingTime);
  assert.deepEqual(tried, []);
  assert.equal(peers.failure(addressOf(1)), 'mesh/no-path');
});
