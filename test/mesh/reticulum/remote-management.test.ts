import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../../src/lib/bytes.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { decode, type MsgpackValue } from '../../../src/lib/msgpack.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { interfaceStats } from '../../../src/mesh/reticulum/interface-stats.ts';
import { announceManagement } from '../../../src/mesh/reticulum/management-announces.ts';
import {
  answerPath,
  answerStatus,
  serveRemoteManagement,
} from '../../../src/mesh/reticulum/remote-management.ts';
import { seededRandom } from '../../sim/random.ts';
import { neighbours } from './air.ts';
import { twoNodes } from './link-nodes.ts';

const status = () => interfaceStats({ interfaces: [], uptime: 0 });
const titleOf = (name: string) => `Interface[${name}]`;

test('who is allowed is answered after it has said who it is, and nobody else is', async () => {
  await using nodes = twoNodes();
  const { a, b } = nodes;
  const friend = generateIdentity(seededRandom(11));
  const stranger = generateIdentity(seededRandom(12));
  const destination = serveRemoteManagement({
    ...b,
    allowed: new Set([toHex(friend.hash)]),
    status,
    titleOf,
  });
  await nodes.until(a.transport.requestPath(destination.hash));
  const asked = async (identity: typeof friend, path: string, data: MsgpackValue) => {
    const link = await nodes.until(nodes.open(destination));
    link.identify(identity);
    try {
      return (await nodes.until(link.request(path, data, { timeout: 5000 }))).data as MsgpackValue[];
    } finally {
      link.close();
    }
  };
  const [stats, links] = await asked(friend, '/status', [true, false]);
  assert.ok(stats instanceof Map);
  assert.equal(links, 0);
  const known = await asked(friend, '/path', ['table', null, null]);
  assert.equal(known.length, 0);
  assert.deepEqual(await asked(friend, '/path', ['rates', null]), []);
  await assert.rejects(asked(stranger, '/status', [true]), { code: 'mesh/timeout' });
});

test('whatever is asked is answered or left', () => {
  const { a } = neighbours();
  const parts = { transport: a.transport, status, titleOf };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), bytes => {
      let question: MsgpackValue;
      try {
        question = decode(bytes);
      } catch {
        return;
      }
      answerStatus(question, parts);
      answerPath(question, parts);
    }),
  );
  for (const wrong of [null, [], 'table', ['table', 'x'], ['drop', new Uint8Array(16)]]) {
    assert.equal(answerPath(wrong, parts), undefined);
  }
  assert.deepEqual(answerPath(['table', null, 2], parts), { value: [] });
});

test('the destinations of management are announced once there is somewhere to, and every six hours', async () => {
  const { a, b, clock } = neighbours();
  await a.down('a');
  const { destination } = a.serve();
  const stop = new AbortController();
  const parts = { clock, random: a.random, log: silentLog, transport: a.transport };
  const running = announceManagement([destination], parts, stop.signal);
  await clock.advance(60_000);
  assert.equal(b.announces.length, 0);
  a.up('a');
  await clock.advance(16_000);
  assert.equal(b.announces.length, 1);
  await clock.advance(6 * 3_600_000);
  assert.equal(b.announces.length, 2);
  stop.abort();
  await running;
});
