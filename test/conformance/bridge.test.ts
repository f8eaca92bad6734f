import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { commandNamed, commandNames } from './families.ts';

interface Answer {
  readonly id: string;
  readonly success: boolean;
  readonly result: Readonly<Record<string, unknown>>;
  readonly error: string;
}

/** The bridge as the suite sees it: a process that answers a line with a line. */
async function startBridge() {
  const child: ChildProcessWithoutNullStreams = spawn(process.execPath, [
    join(import.meta.dirname, 'bridge.ts'),
  ]);
  after(() => void child.kill());
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => String((await lines.next()).value);
  assert.equal(await next(), 'READY');
  const ask = async (line: string): Promise<Answer> => {
    child.stdin.write(`${line}\n`);
    return JSON.parse(await next());
  };
  return {
    ask,
    run: async (command: string, params: object = {}): Promise<Answer['result']> => {
      const answer = await ask(JSON.stringify({ id: command, command, params }));
      assert.ok(answer.success, answer.error);
      assert.equal(answer.id, command);
      return answer.result;
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
  assert.match((await bridge.ask('[1]')).error, /names a command/);
  assert.match(
    (await bridge.ask('{"id":"c","command":"sha256","params":{"data":"0"}}')).error,
    /data must be hex/,
  );
  assert.equal(await bridge.end(), 0);
});

test('every family of commands is found by the names of its commands', async () => {
  const names = await commandNames();
  assert.ok(names.length > 200);
  assert.equal(new Set(names).size, names.length);
  for (const name of names) assert.ok(await commandNamed(name), name);
});

test('a node of the bridge learns a path from an announce, and passes the announce on', async () => {
  const bridge = await startBridge();
  const { handle } = await bridge.run('behavioral_start', { enable_transport: true });
  const attach = (name: string) => bridge.run('behavioral_attach_mock_interface', { handle, name });
  const [left, right] = [await attach('left'), await attach('right')];
  const announce = await bridge.run('announce_build', {
    private_key: '07'.repeat(64),
    app_name: 'kos',
    aspects: ['test'],
    enable_ratchets: true,
  });
  assert.deepEqual(
    await bridge
      .run('announce_validate', { raw: announce.raw })
      .then(({ valid, ratchet }) => [valid, ratchet]),
    [true, announce.ratchet],
  );
  const dest = announce.destination_hash;
  await bridge.run('behavioral_inject', { handle, iface_id: left.iface_id, raw: announce.raw });
  const path = await bridge.run('behavioral_read_path_table', { handle, dest });
  assert.deepEqual([path.found, path.hops, path.receiving_interface], [true, 1, 'left']);
  await bridge.run('behavioral_set_announce_timestamp', { handle, dest, retransmit_timeout: 0 });
  await bridge.run('behavioral_force_cull', { handle });
  const passed = await bridge.run('behavioral_drain_tx', { handle, iface_id: right.iface_id });
  const packets = passed.packets as readonly string[];
  assert.equal(packets.length, 1);
  const onward = await bridge.run('packet_unpack', { raw: packets[0] });
  assert.deepEqual([onward.packet_type, onward.hops, onward.data], [1, 1, announce.announce_data]);
  assert.deepEqual(await bridge.run('behavioral_stop', { handle }), { stopped: true });
  assert.equal(await bridge.end(), 0);
});

test('what one half seals the other opens, by the keys that the bridge hands out', async () => {
  const bridge = await startBridge();
  const { public_key, hash } = await bridge.run('identity_from_private_key', {
    private_key: '09'.repeat(64),
  });
  const { ciphertext } = await bridge.run('identity_encrypt', { public_key, plaintext: 'c0ffee' });
  const opened = await bridge.run('identity_decrypt', { private_key: '09'.repeat(64), ciphertext });
  assert.equal(opened.plaintext, 'c0ffee');
  assert.equal((await bridge.run('identity_hash', { public_key })).hash, hash);
  assert.equal(
    (await bridge.run('identity_decrypt', { private_key: '08'.repeat(64), ciphertext })).plaintext,
    null,
  );
  const remembered = { packet_hash: '11'.repeat(16), destination_hash: '22'.repeat(16), app_data: null };
  const known = await bridge.run('identity_remember', { ...remembered, public_key });
  assert.deepEqual(known, { ok: true, public_key_len: 64, recalled: true });
  const short = await bridge.run('identity_remember', { ...remembered, public_key: 'ab'.repeat(63) });
  assert.equal(short.ok, false);
  assert.equal(await bridge.end(), 0);
});
