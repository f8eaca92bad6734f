import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually, type Seen } from '../e2e/clients.ts';
import { startDaemon } from '../e2e/daemon.ts';
import { missingSocat } from '../sim/rnode-pty.ts';
import { missingReference, startPeer } from './peer.ts';

/*
 * SerialInterface, KISSInterface and PipeInterface of the reference on one end of a line, ours on the other: two
 * pseudo-terminals joined by socat, or two programs joined by a socket. What a green run does not claim: that a line of
 * copper, or the air between two TNCs, does the same.
 */
const skip = missingSocat() || (await missingReference('1.5.7'));

/** Two devices that are the ends of one line. */
async function line(
  folder: string,
  name: string,
): Promise<{ near: string; far: string; socat: ChildProcess }> {
  const [near, far] = [join(folder, `${name}-near`), join(folder, `${name}-far`)];
  const socat = spawn('socat', [`pty,link=${near},rawer,ignoreeof`, `pty,link=${far},rawer,ignoreeof`], {
    stdio: 'ignore',
  });
  await eventually(`${name} is there`, () => existsSync(near) && existsSync(far));
  return { near, far, socat };
}

test('a serial line, a TNC and a pipe carry messages between the reference and the gateway, both ways', {
  skip,
  timeout: 180_000,
}, async t => {
  const folder = await mkdtemp(join(tmpdir(), 'kos-wired-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const wire = await line(folder, 'wire');
  const tnc = await line(folder, 'tnc');
  t.after(async () => {
    for (const { socat } of [wire, tnc]) {
      if (socat.exitCode === null && socat.signalCode === null) {
        socat.kill();
        await once(socat, 'exit');
      }
    }
  });
  const meeting = join(folder, 'meeting');
  await using daemon = await startDaemon({
    config: {
      interfaces: [
        { name: 'wire', kind: 'serial', port: wire.near, speed: 115_200 },
        { name: 'tnc', kind: 'kiss', port: tnc.near, speed: 115_200, bitrate: 38_400 },
        { name: 'child', kind: 'pipe', command: ['socat', '-', `UNIX-LISTEN:${meeting}`] },
      ],
    },
  });
  await eventually('the program listens', () => existsSync(meeting));
  const peers = await Promise.all([
    startPeer({
      interfaces: [{ type: 'serial', options: { port: wire.far, speed: 115_200 } }],
      retryWait: 2,
    }),
    startPeer({ interfaces: [{ type: 'kiss', options: { port: tnc.far, speed: 115_200 } }], retryWait: 2 }),
    startPeer({
      interfaces: [{ type: 'pipe', options: { command: `socat - UNIX-CONNECT:${meeting}` } }],
      retryWait: 2,
    }),
  ]);
  await using stack = new AsyncDisposableStack();
  for (const peer of peers) {
    stack.use(peer);
  }
  const over = ['wire', 'tnc', 'child'];
  await Promise.all(
    peers.map(async (peer, at) => {
      const address = `lxmf:${peer.destination}`;
      await eventually(`${over[at]}: the peer is heard`, async () => {
        await peer.announce();
        await new Promise(resolve => setTimeout(resolve, 1000));
        const { status, body } = await daemon.call('GET', `/v1/mesh/paths?destination=${peer.destination}`);
        const [path] = (body as { items: { interface: string }[] }).items;
        return status === 200 && path?.interface === over[at];
      });
      const text = `${over[at]}: \u007e\u007d ${'x'.repeat(700)}`;
      const { status } = await daemon.call('POST', '/v1/messages', { body: { to: address, text } });
      assert.equal(status, 201);
      await eventually(`${over[at]}: the reference has it`, async () =>
        (await peer.received()).some(one => one.content === text),
      );
      await eventually(`${over[at]}: the gateway is heard`, async () => {
        await daemon.call('POST', '/v1/mesh/announce');
        await new Promise(resolve => setTimeout(resolve, 1000));
        return peer.events.some(one => one.event === 'announce' && one.destination === daemon.ready.lxmf);
      });
      await peer.send({ to: daemon.ready.lxmf, content: `back over ${over[at]}`, method: 'direct' });
      await eventually(`${over[at]}: the gateway has the answer`, async () => {
        const { body } = await daemon.call<{ items: Seen[] }>('GET', '/v1/messages?room=hub&limit=200');
        return body.items.some(one => one.text === `back over ${over[at]}`);
      });
    }),
  );
});
