import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { silentLog } from '../../src/lib/log.ts';
import { encode } from '../../src/lib/msgpack.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { RpcServer } from '../../src/start/rpc/server.ts';
import { missingPackage } from '../package.ts';

const run = promisify(execFile);

/** Those Pythons of this machine that can be started, with their versions: their libraries prove keys in different ways. */
async function pythons(): Promise<readonly (readonly [string, string])[]> {
  const names = ['python3', ...Array.from({ length: 9 }, (_, at) => `python3.${at + 8}`)];
  const found = new Map<string, string>();
  for (const name of names) {
    const version = await run(name, ['--version']).catch(() => undefined);
    if (version !== undefined) {
      found.set(version.stdout.trim(), name);
    }
  }
  return [...found];
}

const found = await pythons();

/** Calls by the library that programs of the reference use, and prints the answer or the failure. */
const script = `
import sys
from multiprocessing.connection import Client
try:
    connection = Client(("127.0.0.1", int(sys.argv[1])), family="AF_INET", authkey=bytes.fromhex(sys.argv[2]))
    connection.send_bytes(b"\\x81\\xa3get\\xaalink_count")
    print(connection.recv_bytes().hex())
except Exception as error:
    print(type(error).__name__)
`;

describe('the key between programs and their instance', {
  skip: missingPackage('python3', found.length > 0),
}, () => {
  for (const [version, python] of found) {
    test(`is proven both ways with ${version}`, async () => {
      const counters = new Counters();
      const key = systemRandom.bytes(32);
      const stop = new AbortController();
      const server = new RpcServer({
        clock: systemClock,
        random: systemRandom,
        log: silentLog,
        counters,
        listen: { host: '127.0.0.1', port: 0 },
        where: '127.0.0.1',
        key,
        answer: async call => encode(call.on),
      });
      const ready = Promise.withResolvers<void>();
      const running = server.run(ready.resolve, stop.signal);
      await ready.promise;
      try {
        const call = async (by: Uint8Array) =>
          (await run(python, ['-c', script, String(server.port), by.toHex()])).stdout.trim();
        assert.equal(await call(key), Buffer.from(encode('link-count')).toString('hex'));
        assert.equal(await call(new Uint8Array(32)), 'AuthenticationError');
        assert.deepEqual([counters.get('rpc/calls'), counters.get('rpc/wrong-key')], [1, 1]);
      } finally {
        stop.abort();
        await running;
      }
    });
  }
});
