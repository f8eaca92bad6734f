import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { loadConfig } from '../../src/config.ts';
import { GatewayError, isGatewayError } from '../../src/lib/errors.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { generateIdentity } from '../../src/mesh/reticulum/identity.ts';
import { openIdentity, transportIdentityOf } from '../../src/start/identity.ts';
import { endpointOf, listenOrMove } from '../../src/start/listening.ts';
import { keepOwnerToken, readOwnerToken, removeOwnerToken } from '../../src/start/owner-token.ts';

async function folder(t: TestContext): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'kos-start-'));
  t.after(() => rm(made, { recursive: true, force: true }));
  return made;
}

test('an identity is made once, in 64 bytes for its owner alone, and stays the same', async t => {
  const data = await folder(t);
  const first = openIdentity(data, systemRandom);
  const second = openIdentity(data, systemRandom);
  assert.deepEqual(second.hash, first.hash);
  const { size, mode } = await stat(join(data, 'identity'));
  assert.equal(size, 64);
  assert.equal(mode & 0o777, 0o600);
});

test('a hub that serves nobody else is known to other nodes by another identity each time, unless it is told to', () => {
  const own = generateIdentity(systemRandom);
  const seen = (keys: Readonly<Record<string, unknown>>) =>
    transportIdentityOf(loadConfig({ keys }), own, systemRandom).hash.toHex();
  const hash = own.hash.toHex();
  assert.equal(seen({}), hash);
  assert.notEqual(seen({ hub: { transport: false } }), hash);
  assert.notEqual(seen({ hub: { transport: false } }), seen({ hub: { transport: false } }));
  assert.equal(seen({ hub: { transport: false, staticTransportIdentity: true } }), hash);
  assert.equal(seen({ hub: { transport: false }, sharedInstance: { name: 'default' } }), hash);
});

test('an identity file of another length is refused and left alone', async t => {
  const data = await folder(t);
  await writeFile(join(data, 'identity'), 'not an identity');
  assert.throws(
    () => openIdentity(data, systemRandom),
    error => isGatewayError(error, 'store/unavailable') && /64 bytes/.test(error.message),
  );
  assert.equal(await readFile(join(data, 'identity'), 'utf8'), 'not an identity');
});

test('an owner token is kept for its owner alone until it is taken away', async t => {
  const data = await folder(t);
  keepOwnerToken(data, 'kos_0123456789abcdef');
  const file = join(data, 'owner-token');
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.equal(readOwnerToken(file), 'kos_0123456789abcdef');
  removeOwnerToken(data);
  removeOwnerToken(data);
  assert.throws(
    () => readOwnerToken(file),
    error => isGatewayError(error, 'config/invalid'),
  );
});

test('an owner token that could be guessed is refused', async t => {
  const file = join(await folder(t), 'token');
  for (const bad of ['short', 'with a space in the middle of it', '']) {
    await writeFile(file, bad);
    assert.throws(
      () => readOwnerToken(file),
      error => isGatewayError(error, 'config/invalid'),
      bad,
    );
  }
});

test('an endpoint is a host and a port, also in brackets', () => {
  assert.deepEqual(endpointOf('127.0.0.1:80'), { host: '127.0.0.1', port: 80 });
  assert.deepEqual(endpointOf('[::1]:0'), { host: '::1', port: 0 });
});

const busy = new GatewayError('bridge/unavailable', 'busy', { detail: { errno: 'EADDRINUSE' } });

test('a default port that is busy gives way to the next free one', async () => {
  const tried: number[] = [];
  await listenOrMove(
    async port => {
      tried.push(port);
      if (port < 8082) {
        throw busy;
      }
    },
    8080,
    false,
  );
  assert.deepEqual(tried, [8080, 8081, 8082]);
});

test('a chosen port that is busy, and any other failure, is an error', async () => {
  const refuse = async () => {
    throw busy;
  };
  await assert.rejects(
    listenOrMove(refuse, 8080, true),
    error => isGatewayError(error, 'bridge/unavailable') && /in use/.test(error.message),
  );
  const other = new GatewayError('bridge/unavailable', 'not allowed', { detail: { errno: 'EACCES' } });
  await assert.rejects(
    listenOrMove(
      async () => {
        throw other;
      },
      80,
      false,
    ),
    other,
  );
});
