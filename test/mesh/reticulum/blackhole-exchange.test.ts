import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { Blackhole } from '../../../src/mesh/reticulum/blackhole.ts';
import {
  followBlackholes,
  publishBlackhole,
  pullBlackhole,
} from '../../../src/mesh/reticulum/blackhole-exchange.ts';
import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { RequestHandlers } from '../../../src/mesh/reticulum/request.ts';
import { twoNodes } from './link-nodes.ts';
import { MemoryStorage } from './memory-storage.ts';

function blackholeOf(clock: Clock, own: Uint8Array, sources: Uint8Array[] = []): Blackhole {
  const counters = new Counters();
  return new Blackhole({ clock, log: silentLog, counters, storage: new MemoryStorage(), own, sources });
}

const bad = new Uint8Array(16).fill(0xba);
const worse = new Uint8Array(16).fill(0xbb);

test('a list is pulled from who publishes it, again every hour, and changes with it', async () => {
  await using nodes = twoNodes();
  const { a, b, clock } = nodes;
  const theirs = blackholeOf(clock, b.identity.hash);
  const ours = blackholeOf(clock, a.identity.hash, [b.identity.hash]);
  publishBlackhole({ ...b, clock, blackhole: theirs });
  await theirs.add(bad, { reason: 'floods', until: clock.now() + 86_400_000 });
  const stop = new AbortController();
  const parts = { ...a, clock, log: silentLog, blackhole: ours };
  const following = followBlackholes([b.identity.hash], parts, stop.signal);
  await clock.advance(30_000);
  const [entry] = ours.entries();
  assert.deepEqual(entry?.identityHash, bad);
  assert.deepEqual([entry.source, entry.origin], [b.identity.hash, b.identity.hash]);
  assert.equal(entry.reason, 'floods');
  assert.equal(entry.until, theirs.get(bad)?.until);
  await theirs.remove(bad);
  await theirs.add(worse);
  await clock.advance(3_600_000);
  assert.deepEqual(
    ours.entries().map(({ identityHash }) => identityHash),
    [worse],
  );
  assert.equal(a.links.size, 0, 'the link is closed');
  stop.abort();
  await following;
});

test('a source that does not answer keeps what it said, and is asked again after five minutes', async () => {
  await using nodes = twoNodes();
  const { a, b, clock } = nodes;
  const ours = blackholeOf(clock, a.identity.hash, [b.identity.hash]);
  await ours.replace(b.identity.hash, [
    { identityHash: bad, origin: b.identity.hash, until: undefined, reason: undefined },
  ]);
  const stop = new AbortController();
  const parts = { ...a, clock, log: silentLog, blackhole: ours };
  const following = followBlackholes([b.identity.hash], parts, stop.signal);
  await clock.advance(60_000);
  assert.equal(a.counters.get('blackhole/list-not-had'), 1);
  assert.equal(ours.has(bad), true);
  publishBlackhole({ ...b, clock, blackhole: blackholeOf(clock, b.identity.hash) });
  await clock.advance(400_000);
  assert.equal(ours.has(bad), false);
  stop.abort();
  await following;
});

test('an answer that is no list is refused', async () => {
  await using nodes = twoNodes();
  const { a, b } = nodes;
  const destination = new LocalDestination({
    identity: b.identity,
    appName: 'rnstransport',
    aspects: ['info', 'blackhole'],
  });
  const handlers = new RequestHandlers();
  handlers.add({ path: '/list', allow: 'all', respond: () => ({ value: [1, 2, 3] }) });
  b.transport.register(destination);
  b.links.accept(destination, { onLink: () => ({}), handlers });
  const pulled = nodes.until(pullBlackhole(b.identity.hash, a, new AbortController().signal));
  await assert.rejects(pulled, { code: 'wire/malformed' });
});

test('a list too long for the medium it is asked for over is not answered', async () => {
  await using nodes = twoNodes({ bitrate: 3000 });
  const { a, b, clock } = nodes;
  const theirs = blackholeOf(clock, b.identity.hash);
  publishBlackhole({ ...b, clock, blackhole: theirs });
  const pull = () => nodes.until(pullBlackhole(b.identity.hash, a, new AbortController().signal));
  await theirs.add(bad, { reason: 'x'.repeat(200) });
  assert.equal((await pull()).length, 1);
  for (let at = 0; at < 60; at++) {
    await theirs.add(new Uint8Array(16).fill(at + 60), { reason: 'x'.repeat(250) });
  }
  await assert.rejects(pull(), { code: 'mesh/timeout' });
  assert.equal(b.counters.get('blackhole/asked-too-much'), 1);
});
