import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Params, Result } from '../command.ts';
import { close, commands } from './family.ts';

const folder = mkdtempSync(join(tmpdir(), 'kos-wire-'));
after(async () => {
  await close();
  rmSync(folder, { recursive: true });
});

const run = async (name: string, params: Params): Promise<Result> => await commands[`wire_${name}`]!(params);
const named = { app_name: 'conformance', aspects: ['family'] };

test('nodes on a pipe, on TCP and between them link with each other', async () => {
  const [there, back] = [join(folder, 'there'), join(folder, 'back')];
  execFileSync('mkfifo', [there, back]);
  const relay = await run('start_pipe_tcp_relay', { read_fifo: there, write_fifo: back });
  const leaf = await run('start_pipe_peer', { read_fifo: back, write_fifo: there });
  const far = await run('start_tcp_client', { target_host: '127.0.0.1', target_port: relay.port });
  const { destination_hash } = await run('listen', { handle: leaf.handle, ...named });
  const path = await run('poll_path', { handle: far.handle, destination_hash, timeout_ms: 10_000 });
  assert.deepEqual(path, { found: true, hops: 2 });
  const { link_id } = await run('link_open', { handle: far.handle, destination_hash, ...named });
  await run('link_send', { handle: far.handle, link_id, data: 'c0ffee' });
  const { packets } = await run('link_poll', { handle: leaf.handle, destination_hash, timeout_ms: 5000 });
  assert.deepEqual(packets, ['c0ffee']);
  for (const { handle } of [leaf, far, relay])
    assert.deepEqual(await run('stop', { handle }), { stopped: true });
  assert.deepEqual(await run('stop', { handle: leaf.handle }), { stopped: false });
});

test('a program reaches others by the node that it uses, and hides behind it', async () => {
  const shared = { share_instance: true, share_instance_type: 'tcp' };
  const instance = await run('start_tcp_server', shared);
  const program = await run('start_local_client', { shared_instance_port: instance.shared_instance_port });
  const far = await run('start_tcp_client', { target_host: '127.0.0.1', target_port: instance.port });
  const { destination_hash } = await run('announce', { handle: program.handle, ...named });
  const path = await run('poll_path', { handle: far.handle, destination_hash, timeout_ms: 10_000 });
  assert.deepEqual(path, { found: true, hops: 1 });
  const posture = await run('transport_enabled', { handle: program.handle });
  assert.equal(posture.is_connected_to_shared_instance, true);
  for (const { handle } of [program, far, instance]) await run('stop', { handle });
});

test('a node is not started with what is no identity hash', async () => {
  for (const sources of [['00'], ['zz'.repeat(16)]])
    await assert.rejects(() => run('start_tcp_server', { blackhole_sources: sources }));
});
