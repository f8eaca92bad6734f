import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GatewayEvent } from '../../src/gateway/desk.ts';
import type { LinkChange } from '../../src/mesh/reticulum/links.ts';
import type { Path } from '../../src/mesh/reticulum/path-table.ts';
import type { TransitLink, TransitLinkChange } from '../../src/mesh/reticulum/transit-links.ts';
import type { PathChange } from '../../src/mesh/reticulum/ways.ts';
import { namedPerMinute, tellMeshChanges } from '../../src/start/mesh-events.ts';
import { ManualClock } from '../sim/clock.ts';

// biome-ignore lint/suspicious/noExplicitAny: events are looked at, not used.
type Json = any;

function watch() {
  const clock = new ManualClock();
  const told: Json[] = [];
  let onPath = (_: PathChange): void => {};
  let onLink = (_: LinkChange): void => {};
  let onTransit = (_: TransitLinkChange): void => {};
  const stop = tellMeshChanges({
    clock,
    transport: {
      onPath(listener) {
        onPath = listener;
        return () => {};
      },
      onTransitLink(listener) {
        onTransit = listener;
        return () => {};
      },
    },
    links: {
      onChange(listener) {
        onLink = listener;
        return () => {};
      },
    },
    publish: (_: string, members: Pick<GatewayEvent, 'path' | 'link'>) =>
      told.push(members.path ?? members.link),
  });
  return {
    clock,
    told,
    path: (change: PathChange) => onPath(change),
    link: (change: LinkChange) => onLink(change),
    transit: (change: TransitLinkChange) => onTransit(change),
    stop,
  };
}

const destinationHash = new Uint8Array(16).fill(1);
const way = (hops: number, interfaceName = 'lan', next = 2): Path => ({
  destinationHash,
  hops,
  nextHop: new Uint8Array(16).fill(next),
  interfaceName,
  packetHash: new Uint8Array(32),
  heard: 1,
  expires: 2,
});

test('a way that is learnt, changes or is forgotten is an event; one that is only heard again is none', () => {
  const { told, path } = watch();
  path({ destinationHash, path: way(1), before: undefined });
  path({ destinationHash, path: way(1), before: way(1) });
  path({ destinationHash, path: way(2), before: way(1) });
  path({ destinationHash, path: way(2, 'lora'), before: way(2) });
  path({ destinationHash, path: way(2, 'lora', 3), before: way(2, 'lora') });
  path({ destinationHash, path: undefined, before: way(2, 'lora', 3) });
  assert.deepEqual(
    told.map(({ change, hops, interface: name }) => [change, hops, name]),
    [
      ['learnt', 1, 'lan'],
      ['changed', 2, 'lan'],
      ['changed', 2, 'lora'],
      ['changed', 2, 'lora'],
      ['forgotten', undefined, undefined],
    ],
  );
});

test('a link that opens and closes is two events, with why it closed', () => {
  const { told, link } = watch();
  const one = {
    key: '0'.repeat(32),
    destinationHash,
    role: 'initiator',
    iface: { name: 'lan' },
    hops: 1,
  } as unknown as LinkChange['link'];
  link({ link: one });
  link({ link: one, closed: 'timeout' });
  assert.deepEqual(
    told.map(({ change, reason, interface: name }) => [change, reason, name]),
    [
      ['opened', undefined, 'lan'],
      ['closed', 'timeout', 'lan'],
    ],
  );
});

test('a link between others is told with both its interfaces', () => {
  const { told, transit, stop } = watch();
  const over = (name: string) => ({ name, mtu: 500, linkMtu: 500, bitrate: 1000, online: true });
  const link: TransitLink = {
    key: 'ab'.repeat(16),
    receivedOn: over('server/192.0.2.1:5'),
    takenHops: 2,
    sentOn: over('uplink'),
    remainingHops: 3,
    destinationHash,
    proven: true,
    until: 0,
  };
  transit({ link, closed: undefined });
  transit({ link, closed: 'silent' });
  const facts = {
    id: 'ab'.repeat(16),
    destination: '01'.repeat(16),
    role: 'transit',
    interface: 'server/192.0.2.1:5',
    onward: 'uplink',
    hops: 5,
  };
  assert.deepEqual(told, [
    { ...facts, change: 'opened' },
    { ...facts, change: 'closed', reason: 'silent' },
  ]);
  stop();
});

test('a flood is told by name up to its bound and then as counts once a minute, and calm begins anew', async () => {
  const { clock, told, path, stop } = watch();
  for (let n = 0; n < 100_000; n++) {
    path({ destinationHash, path: way(1), before: undefined });
  }
  path({ destinationHash, path: undefined, before: way(1) });
  assert.equal(told.length, namedPerMinute);
  await clock.advance(60_000);
  assert.deepEqual(told.at(-1), {
    change: 'many',
    counts: { learnt: 100_000 - namedPerMinute, forgotten: 1 },
  });
  path({ destinationHash, path: way(1), before: undefined });
  assert.equal(told.at(-1).change, 'learnt');
  await clock.advance(120_000);
  assert.equal(told.length, namedPerMinute + 2, 'a calm minute says nothing');
  stop();
  assert.equal(clock.waiting, 0);
});
