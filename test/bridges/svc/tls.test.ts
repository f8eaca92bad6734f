import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { get, startHub, until } from './hub.ts';

/** A key and a certificate of its own for a name, by openssl. */
function certificate(t: TestContext, name: string): { readonly key: string; readonly cert: string } {
  const dir = mkdtempSync(join(tmpdir(), 'kos-tls-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const [key, cert] = [join(dir, 'key'), join(dir, 'cert')];
  execFileSync(
    'openssl',
    `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=${name} -addext subjectAltName=${name} -keyout ${key} -out ${cert}`.split(
      ' ',
    ),
    { stdio: 'ignore' },
  );
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
}

async function startSecure(t: TestContext, { key, cert }: { readonly key: string; readonly cert: string }) {
  let asked = 0;
  const server = createServer({ key, cert }, (_request, response) => {
    asked += 1;
    response.end('secret');
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', () => resolve()));
  t.after(() => server.close());
  return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, asked: () => asked };
}

test('a service with a certificate nobody vouches for is not spoken to, and the answer says why', async t => {
  const origin = await startSecure(t, certificate(t, 'IP:127.0.0.1'));
  const hub = await startHub(t, origin.url);
  const got = await get(`${hub.url}/x`, { headers: { Authorization: 'Bearer secret' } });
  assert.ok(got.status === 502 || got.status === 504 || got.status === 401, String(got.status));
  await until(() => hub.view('api').link === 'offline', 'offline');
  assert.match(
    hub.view('api').reason ?? '',
    /certificate or TLS is not good \(DEPTH_ZERO_SELF_SIGNED_CERT\)/,
  );
  const next = await get(`${hub.url}/x`);
  assert.equal(next.status, 504);
  assert.match(next.text, /certificate/);
  assert.equal(origin.asked(), 0);
});

test('the authority a definition names is enough, and another one than that is not', async t => {
  const own = certificate(t, 'IP:127.0.0.1');
  const origin = await startSecure(t, own);
  const hub = await startHub(t, origin.url, {
    upstream: '  caFile: ./ca.pem',
    files: { 'ca.pem': own.cert },
  });
  assert.equal((await get(`${hub.url}/x`)).text, 'secret');
  const other = certificate(t, 'IP:127.0.0.1');
  const wrong = await startHub(t, origin.url, {
    upstream: '  caFile: ./ca.pem',
    files: { 'ca.pem': other.cert },
  });
  assert.notEqual((await get(`${wrong.url}/x`)).status, 200);
});

test('a certificate of another name is not good, whoever signed it', async t => {
  const own = certificate(t, 'DNS:elsewhere.example');
  const origin = await startSecure(t, own);
  const hub = await startHub(t, origin.url, {
    upstream: '  caFile: ./ca.pem',
    files: { 'ca.pem': own.cert },
  });
  assert.notEqual((await get(`${hub.url}/x`)).status, 200);
  await until(() => hub.view('api').link === 'offline', 'offline');
  assert.match(hub.view('api').reason ?? '', /ERR_TLS_CERT_ALTNAME_INVALID/);
});

test('a file with a secret or an authority that cannot be read is told by its name at the start', async t => {
  for (const upstream of ['  caFile: ./nowhere.pem', '  inject: [{ name: X-Key, file: ./nowhere }]']) {
    await assert.rejects(
      startHub(t, 'https://127.0.0.1:9/', { upstream }),
      error => isGatewayError(error, 'config/invalid') && /nowhere/.test(error.errors[0]?.detail ?? ''),
    );
  }
  await assert.rejects(
    startHub(t, 'https://127.0.0.1:9/', { more: 'guard: { tokenFile: ./short }', files: { short: 'abc' } }),
    error => isGatewayError(error, 'config/invalid') && /16 to 256/.test(error.errors[0]?.detail ?? ''),
  );
});
