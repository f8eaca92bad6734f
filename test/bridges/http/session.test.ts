import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogins, type LoginFile } from '../../../src/bridges/http/session.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { type Answer, openGateway, type TestGateway } from '../gateway.ts';

/** As the page calls: with its cookie and its header. */
function pageOf(gateway: TestGateway, cookie: string, headers: Record<string, string> = {}) {
  return (method: string, path: string, body?: unknown): Promise<Answer> =>
    gateway.call(undefined, method, path, body, { headers: { cookie, 'kos-page': '1', ...headers } });
}

function cookieOf(answer: Answer): string {
  return answer.headers.get('set-cookie')?.split(';', 1)[0] ?? '';
}

async function logIn(gateway: TestGateway, token: string): Promise<string> {
  const answer = await gateway.call(undefined, 'POST', '/v1/session', { token });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return cookieOf(answer);
}

test('a browser logs in with a token, has its rights until it logs out, and never sees it again', async () => {
  await using gateway = await openGateway();
  const answer = await gateway.call(undefined, 'POST', '/v1/session', { token: gateway.hub.ownerToken });
  assert.equal(answer.status, 201);
  assert.equal(answer.body.client.name, 'owner');
  const set = answer.headers.get('set-cookie') ?? '';
  assert.match(set, /; Path=\/v1; Max-Age=\d+; HttpOnly; SameSite=Strict$/);
  assert.ok(!set.includes(gateway.hub.ownerToken) && !JSON.stringify(answer.body).includes('kos_'));
  const page = pageOf(gateway, cookieOf(answer));
  assert.equal((await page('GET', '/v1/session')).body.client.name, 'owner');
  assert.equal((await page('GET', '/v1/tokens')).status, 200);
  assert.equal((await page('POST', '/v1/messages', { to: 'app:owner', text: 'x' })).status, 201);
  const out = await page('DELETE', '/v1/session');
  assert.equal(out.status, 204);
  assert.match(out.headers.get('set-cookie') ?? '', /Max-Age=0/);
  assert.equal((await page('GET', '/v1/session')).status, 401);
  assert.equal((await page('DELETE', '/v1/session')).status, 204, 'logging out twice is no mistake');
});

test('a wrong token does not log in, and guessing locks out as it does everywhere', async () => {
  await using gateway = await openGateway();
  const answers: number[] = [];
  for (let guess = 0; guess < 11; guess++) {
    const { status, headers } = await gateway.call(undefined, 'POST', '/v1/session', {
      token: `guess-${guess}`,
    });
    answers.push(status);
    assert.equal(headers.get('set-cookie'), null);
  }
  assert.deepEqual(answers, [...Array(10).fill(401), 429]);
});

test('the cookie alone is nobody, and a page of another origin is refused', async () => {
  await using gateway = await openGateway();
  const cookie = await logIn(gateway, gateway.hub.ownerToken);
  const bare = await gateway.call(undefined, 'GET', '/v1/tokens', undefined, { headers: { cookie } });
  assert.equal(bare.status, 401, 'without the header of the page');
  const { port } = gateway.listener.address();
  for (const headers of [
    { origin: `http://127.0.0.1:${port + 1}` },
    { origin: 'http://evil.example' },
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'cross-site' },
  ]) {
    const other = pageOf(gateway, cookie, headers);
    assert.equal((await other('GET', '/v1/tokens')).status, 403, JSON.stringify(headers));
    assert.equal((await other('POST', '/v1/session', { token: gateway.hub.ownerToken })).status, 403);
  }
  const own = pageOf(gateway, cookie, { origin: gateway.url, 'sec-fetch-site': 'same-origin' });
  assert.equal((await own('GET', '/v1/tokens')).status, 200);
});

test('a log-in has the scopes of its token and ends with it', async () => {
  await using gateway = await openGateway();
  const reader = await gateway.client('reader', { scopes: ['messages:read'] });
  const page = pageOf(gateway, await logIn(gateway, reader));
  assert.equal((await page('GET', '/v1/conversations')).status, 200);
  assert.equal((await page('GET', '/v1/tokens')).status, 403);
  await gateway.desk.clients.revoke('reader');
  assert.equal((await page('GET', '/v1/conversations')).status, 401);
});

test('logging out ends the streams of that browser and of no other', async () => {
  await using gateway = await openGateway();
  const cookies = await Promise.all([1, 2].map(() => logIn(gateway, gateway.hub.ownerToken)));
  const open = (cookie: string) =>
    fetch(`${gateway.url}/v1/events`, { headers: { cookie, 'kos-page': '1' } });
  const [mine, other] = await Promise.all(cookies.map(open));
  await pageOf(gateway, cookies[0]!)('DELETE', '/v1/session');
  await mine!.text();
  const reader = other!.body!.getReader();
  await reader.read();
  await gateway.call(gateway.hub.ownerToken, 'POST', '/v1/messages', { to: 'app:owner', text: 'on' });
  assert.match(new TextDecoder().decode((await reader.read()).value), /message\.accepted|id:/);
  await reader.cancel();
});

test('log-ins lie on disk as hashes, outlive a restart, and end in time', async () => {
  await using gateway = await openGateway();
  let text: string | undefined;
  let ahead = 0;
  const file: LoginFile = {
    read: () => text,
    write(written) {
      text = written;
    },
  };
  const clock = { ...systemClock, now: () => systemClock.now() + ahead };
  const open = () => createLogins({ desk: gateway.desk, clock, random: systemRandom, file });
  const cookie = open().open(gateway.hub.ownerToken).split(';', 1)[0]!;
  assert.ok(!text!.includes(gateway.hub.ownerToken) && !text!.includes(cookie.split('=')[1]!));
  const request = { headers: { cookie, 'kos-page': '1' } } as never;
  assert.equal(open().find(request)?.client.name, 'owner');
  ahead = 31 * 24 * 3_600_000;
  assert.equal(open().find(request), undefined);
  text = '[{"id":7}]';
  assert.equal(open().find(request), undefined, 'a damaged file logs everybody out and nothing worse');
});
