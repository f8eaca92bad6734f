import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openGateway } from '../gateway.ts';

test('an endpoint with a certificate of a house authority is believed where the configuration names that, and nowhere else', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'kos-hook-tls-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
  const words = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=hook -addext subjectAltName=DNS:hook.home,IP:127.0.0.1 -keyout ${key} -out ${cert}`;
  execFileSync('openssl', words.split(' '), { stdio: 'ignore' });
  let asked = 0;
  const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (request, response) => {
    asked += 1;
    request.resume().on('end', () => response.writeHead(204).end());
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const attempt = async (caFile: string | undefined, host: string) => {
    await using gateway = await openGateway({
      webhook: {
        allowPrivate: ['127.0.0.0/8'],
        lookup: (_, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]),
        ...(caFile !== undefined && { caFile }),
      },
    });
    const { ownerToken } = gateway.hub;
    const url = `https://${host}:${port}/`;
    const made = await gateway.call(ownerToken, 'POST', '/v1/webhooks', { url, enabled: false });
    return (await gateway.call(ownerToken, 'POST', `/v1/webhooks/${made.body.id}/test`)).body;
  };
  assert.equal((await attempt(undefined, 'hook.home')).code, 'tls');
  assert.equal(asked, 0);
  assert.equal((await attempt(cert, 'hook.home')).state, 'delivered');
  assert.equal((await attempt(cert, '127.0.0.1')).state, 'delivered');
  assert.equal((await attempt(cert, 'other.home')).code, 'tls');
  assert.equal(asked, 2);
  await assert.rejects(attempt(key, 'hook.home'), { code: 'config/invalid' });
  await assert.rejects(attempt(join(dir, 'none'), 'hook.home'), { code: 'config/invalid' });
});
