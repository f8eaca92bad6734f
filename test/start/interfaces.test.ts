import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { silentLog } from '../../src/lib/log.ts';
import { frame } from '../../src/radio/framing/hdlc.ts';
import { createInterface } from '../../src/start/interfaces.ts';
import { until } from '../contract/interface.ts';
import { MemoryStorage } from '../mesh/reticulum/memory-storage.ts';

test('broken frames that a configured client hears are among the hub’s counters', async () => {
  const server = createServer(socket => {
    socket.on('error', () => {});
    socket.write(Buffer.concat([Buffer.from('7e007d007e', 'hex'), frame(new Uint8Array(40).fill(1))]));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const counters = new Counters();
  const { port } = server.address() as AddressInfo;
  const client = createInterface(
    {
      kind: 'tcp-client',
      name: 'uplink',
      enabled: true,
      mode: 'full',
      outgoing: true,
      host: '127.0.0.1',
      port,
    },
    { clock: systemClock, counters, log: silentLog, storage: new MemoryStorage() },
  );
  const stop = new AbortController();
  let received = 0;
  const run = client.run({ ready() {}, attach() {}, receive: () => void received++ }, stop.signal);
  await until(() => received === 1);
  assert.deepEqual(counters.snapshot(), { 'wire/malformed': 1 });
  stop.abort();
  await run;
  server.close();
});
