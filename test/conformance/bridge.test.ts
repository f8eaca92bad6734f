import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';

/** The bridge as the suite sees it: a process that answers a line with a line. */
async function startBridge() {
  const child: ChildProcessWithoutNullStreams = spawn(process.execPath, [
    join(import.meta.dirname, 'bridge.ts'),
  ]);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => String((await lines.next()).value);
  assert.equal(await next(), 'READY');
  return {
    ask: async (line: string): Promise<Record<string, unknown>> => {
      child.stdin.write(`${line}\n`);
      return JSON.parse(await next());
    },
    end: async (): Promise<unknown> => {
      child.stdin.end();
      const [code] = await once(child, 'exit');
      return code;
    },
  };
}

test('the bridge answers what it cannot do in words, and ends when its input ends', async () => {
  const bridge = await startBridge();
  const unknown = await bridge.ask(JSON.stringify({ id: 'a', command: 'no_such_thing', params: {} }));
  assert.deepEqual(unknown, { id: 'a', success: false, error: 'Error: Unknown command: no_such_thing' });
  const inherited = await bridge.ask(JSON.stringify({ id: 'b', command: 'constructor' }));
  assert.equal(inherited.success, false);
  const junk = await bridge.ask('not json');
  assert.equal(junk.success, false);
  assert.match(String((await bridge.ask('[1]')).error), /names a command/);
  assert.equal(await bridge.end(), 0);
});
