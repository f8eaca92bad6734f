import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { httpConfigSchema, loginTermsOf } from '../../../src/bridges/http/config.ts';
import type { LoginFile } from '../../../src/bridges/http/login-record.ts';
import { createLogins } from '../../../src/bridges/http/logins.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { ManualClock } from '../../sim/clock.ts';
import { type Answer, openGateway, type TestGateway } from '../gateway.ts';

const terms = loginTermsOf(httpConfigSchema.parse({}).sessions);
const asked = (headers: Record<string, string> = {}) => ({ headers }) as unknown as IncomingMessage;

/** As the page calls: with its cookie and its header. */
function pageOf(gateway: TestGateway, cookie: string, headers: Record<string, string> = {}) {
  return (method: string, path: string, body?: unknown): Promise<Answer> =>
    gateway.call(undefined, method, path, body, { headers: { cookie, 'kos-page': '1', ...headers } });
}

function cookieOf(answer: Answer): string {
  return answer.headers.get('set-cookie')?.split(';', 1)[0] ?? '';
}

async function logIn(gateway: TestGateway, token: string, agent = 'a browser'): Promise<string> {
  const headers = { 'user-agent': agent };
  const answer = await gateway.call(undefined, 'POST', '/v1/session', { token }, { headers });
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

test('what nobody has answered for yet is read only as far as a token is long', async () => {
  await using gateway = await openGateway();
  const many = Object.fromEntries(Array.from({ length: 2000 }, (_, n) => [`field-${n}`, 1]));
  const { status, body } = await gateway.call(undefined, 'POST', '/v1/session', { ...many, token: 'x' });
  assert.deepEqual([status, body.code], [413, 'request/too-large']);
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
  const open = () =>
    createLogins({ desk: gateway.desk, clock, random: systemRandom, log: silentLog, file, terms });
  const cookie = open().open(gateway.hub.ownerToken, asked(), '').cookie.split(';', 1)[0]!;
  assert.ok(!text!.includes(gateway.hub.ownerToken) && !text!.includes(cookie.split('=')[1]!));
  const request = asked({ cookie, 'kos-page': '1' });
  assert.equal(open().find(request, '')?.client.name, 'owner');
  ahead = 31 * 24 * 3_600_000;
  assert.equal(open().find(request, ''), undefined);
  text = '[{"id":7}]';
  assert.equal(open().find(request, ''), undefined, 'a damaged file logs everybody out and nothing worse');
});

test('browsers that are logged in are listed with when and from where, and one or all are logged out', async () => {
  await using gateway = await openGateway();
  const { ownerToken } = gateway.hub;
  const desk = pageOf(gateway, await logIn(gateway, ownerToken, 'Desk/1.0'), { 'user-agent': 'Desk/1.0' });
  const phoneCookie = await logIn(gateway, ownerToken, `Phone/2.0 ${'x'.repeat(300)}`);
  const phone = pageOf(gateway, phoneCookie);
  const reader = await gateway.client('reader', { scopes: ['messages:read'] });
  const other = pageOf(gateway, await logIn(gateway, reader));
  const listed = await desk('GET', '/v1/sessions');
  assert.equal(listed.body.cursor, null);
  const [mine, theirs] = listed.body.items;
  assert.equal(listed.body.items.length, 2, 'those of another client are none of its business');
  assert.deepEqual([mine.current, theirs.current], [true, false]);
  assert.equal(mine.userAgent, 'Desk/1.0');
  assert.match(theirs.userAgent, /^Phone\/2\.0 x+$/);
  assert.equal(theirs.userAgent.length, 256);
  for (const one of listed.body.items) {
    assert.deepEqual([one.createdFrom, one.lastUsedFrom], ['127.0.0.1', '127.0.0.1']);
    assert.ok(one.createdAt <= one.lastUsedAt && one.lastUsedAt < one.expiresAt);
    assert.ok(!phoneCookie.includes(one.id));
  }
  const token = await gateway.call(ownerToken, 'GET', '/v1/sessions');
  assert.deepEqual(
    token.body.items.map(({ current }: { current: boolean }) => current),
    [false, false],
    'by the token itself',
  );
  assert.equal((await desk('GET', '/v1/session')).body.session.id, mine.id);
  assert.equal('session' in (await gateway.call(ownerToken, 'GET', '/v1/session')).body, false);

  assert.equal((await other('DELETE', `/v1/sessions/${mine.id}`)).status, 404, "not another's");
  assert.equal((await desk('DELETE', '/v1/sessions/nonsense')).status, 400);
  const stream = await fetch(`${gateway.url}/v1/events`, {
    headers: { cookie: phoneCookie, 'kos-page': '1' },
  });
  assert.equal((await desk('DELETE', `/v1/sessions/${theirs.id}`)).status, 204);
  await stream.text();
  assert.equal((await phone('GET', '/v1/session')).status, 401);
  assert.equal((await desk('DELETE', `/v1/sessions/${theirs.id}`)).status, 404);

  const third = pageOf(gateway, await logIn(gateway, ownerToken));
  assert.deepEqual((await desk('DELETE', '/v1/sessions?keep=current')).body, { ended: 1 });
  assert.equal((await third('GET', '/v1/session')).status, 401);
  assert.equal((await desk('GET', '/v1/session')).status, 200);
  assert.equal((await desk('DELETE', '/v1/sessions?keep=all')).status, 400);
  assert.deepEqual((await desk('DELETE', '/v1/sessions')).body, { ended: 1 });
  assert.equal((await desk('GET', '/v1/session')).status, 401);
  assert.equal((await other('GET', '/v1/session')).status, 200);
});

test('a log-in is shown to end with its token where that is sooner', async () => {
  await using gateway = await openGateway();
  const expiresAt = systemClock.now() + 3_600_000;
  const page = pageOf(gateway, await logIn(gateway, await gateway.client('guest', { expiresAt })));
  assert.equal((await page('GET', '/v1/session')).body.session.expiresAt, expiresAt);
  assert.equal((await page('GET', '/v1/sessions')).body.items[0].expiresAt, expiresAt);
});

test('what is done to log-ins is on the record, with the browser that did it', async () => {
  await using gateway = await openGateway();
  const { ownerToken } = gateway.hub;
  const page = pageOf(gateway, await logIn(gateway, ownerToken));
  await logIn(gateway, ownerToken);
  const [, second] = (await page('GET', '/v1/sessions')).body.items;
  await page('DELETE', `/v1/sessions/${second.id}`);
  await page('DELETE', '/v1/sessions?keep=current');
  await page('DELETE', '/v1/session');
  await page('DELETE', '/v1/session');
  await gateway.call(undefined, 'DELETE', '/v1/session');
  await gateway.desk.audit.record({ actor: 'hub', door: 'hub', from: '', action: 'end', status: 200 });
  const { items } = (await gateway.call(ownerToken, 'GET', '/v1/audit?action=sessions')).body;
  const lines = items.map((one: Record<string, unknown>) => [one.action, one.actor, one.door, one.status]);
  assert.deepEqual(lines, [
    ['sessions.close', 'app:owner', 'page', 204],
    ['sessions.revoke', 'app:owner', 'page', 200],
    ['sessions.revoke', 'app:owner', 'page', 204],
    ['sessions.open', 'app:owner', 'page', 201],
    ['sessions.open', 'app:owner', 'page', 201],
  ]);
  assert.deepEqual(
    items.slice(1, 4).map(({ target }: { target: string }) => target),
    ['others', second.id, second.id],
  );
});

test("another site's page can neither log in, nor use a log-in, nor end one", async () => {
  await using gateway = await openGateway({ http: { cors: ['https://app.example'] } });
  const cookie = await logIn(gateway, gateway.hub.ownerToken);
  for (const headers of [
    { origin: 'https://app.example' },
    { origin: 'null' },
    { origin: 'http://evil.example', 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'none' },
  ]) {
    const other = pageOf(gateway, cookie, headers);
    for (const [method, path, body] of [
      ['GET', '/v1/sessions'],
      ['DELETE', '/v1/sessions'],
      ['DELETE', '/v1/session'],
      ['POST', '/v1/session', { token: gateway.hub.ownerToken }],
      ['POST', '/v1/messages', { to: 'app:owner', text: 'x' }],
    ] as const) {
      assert.equal(
        (await other(method, path, body)).status,
        403,
        `${method} ${path} ${JSON.stringify(headers)}`,
      );
    }
  }
  const form = await gateway.call(undefined, 'POST', '/v1/messages', 'to=app:owner&text=x', {
    headers: { cookie, 'content-type': 'application/x-www-form-urlencoded', origin: gateway.url },
  });
  assert.equal(form.status, 401, 'what a form can send is not enough');
  const own = pageOf(gateway, cookie, { origin: gateway.url, 'sec-fetch-site': 'same-origin' });
  assert.equal((await own('GET', '/v1/sessions')).body.items.length, 1, 'it is still there');
});

test('the cookie of a page that came by https goes over https alone', async () => {
  await using gateway = await openGateway();
  const { host } = new URL(gateway.url);
  for (const [origin, isSecure] of [
    [`https://${host}`, true],
    [`http://${host}`, false],
  ] as const) {
    const { headers, status } = await gateway.call(
      undefined,
      'POST',
      '/v1/session',
      { token: gateway.hub.ownerToken },
      { headers: { origin } },
    );
    assert.equal(status, 201);
    assert.equal(/; Secure(?:;|$)/.test(headers.get('set-cookie') ?? ''), isSecure, origin);
  }
});

const day = 86_400_000;

/** Log-ins on a clock of the test's own, whose file is `kept`. */
async function book(gateway: TestGateway, clock: ManualClock, kept: { text?: string; fails?: string } = {}) {
  const file: LoginFile = {
    read: () => kept.text,
    write(written) {
      if (kept.fails !== undefined) {
        throw Object.assign(new TypeError('no'), { code: kept.fails });
      }
      kept.text = written;
    },
  };
  const logins = createLogins({
    desk: gateway.desk,
    clock,
    random: systemRandom,
    log: silentLog,
    file,
    terms,
  });
  const open = (token: string) => {
    const cookie = logins.open(token, asked(), '192.0.2.1').cookie.split(';', 1)[0]!;
    return asked({ cookie, 'kos-page': '1' });
  };
  const owner = gateway.desk.clients.find('owner')!;
  return { logins, open, owner, holds: (request: IncomingMessage) => logins.find(request, '') !== undefined };
}

test('a log-in ends when it was unused for a week, however old, and after 30 days, however used', async () => {
  await using gateway = await openGateway();
  const clock = new ManualClock(Date.now());
  const { logins, open, owner, holds } = await book(gateway, clock);
  const idle = open(gateway.hub.ownerToken);
  const used = open(gateway.hub.ownerToken);
  const streaming = open(gateway.hub.ownerToken);
  const stop = logins.find(streaming, '')!.hold();
  for (let days = 0; days < 29; days += 6) {
    await clock.advance(6 * day);
    assert.equal(holds(used), days + 6 < 30, `after ${days + 6} days`);
    if (days === 6) {
      assert.ok(!holds(idle));
    }
  }
  const { ended } = logins.find(streaming, '') ?? {};
  assert.equal(ended, undefined, 'no stream outlives 30 days');
  assert.deepEqual(logins.list(owner, asked()), []);
  stop();
  const again = open(gateway.hub.ownerToken);
  const found = logins.find(again, '')!;
  const release = found.hold();
  await clock.advance(10 * day);
  assert.ok(!found.ended.aborted && holds(again), 'what is open is used');
  release();
  await clock.advance(8 * day);
  assert.ok(found.ended.aborted, 'and over by itself when nothing is');
  logins[Symbol.dispose]();
  assert.equal(clock.waiting, 0);
});

test('a clock that is set ends nobody and makes nobody live longer', async () => {
  await using gateway = await openGateway();
  const clock = new ManualClock(0);
  const { logins, open, holds } = await book(gateway, clock);
  const request = open(gateway.hub.ownerToken);
  await clock.advance(day);
  clock.set(Date.now());
  assert.ok(holds(request), 'before anybody has noticed');
  logins.clockSet();
  assert.ok(holds(request));
  await clock.advance(6 * day);
  assert.ok(holds(request));
  await clock.advance(8 * day);
  assert.ok(!holds(request));
  logins[Symbol.dispose]();
});

test('a log-in that was ended is over at once, and whoever asked hears where a full disk may bring it back', async () => {
  await using gateway = await openGateway();
  const clock = new ManualClock(Date.now());
  const kept: { text?: string; fails?: string } = {};
  const { logins, open, owner, holds } = await book(gateway, clock, kept);
  const first = open(gateway.hub.ownerToken);
  kept.fails = 'ENOSPC';
  const second = open(gateway.hub.ownerToken);
  assert.ok(holds(second), 'whoever comes to see what is wrong is let in');
  assert.throws(() => logins.end(owner, { but: undefined }), { code: 'store/full' });
  assert.ok(!holds(first) && !holds(second));
  kept.fails = 'EIO';
  const third = open(gateway.hub.ownerToken);
  assert.throws(() => logins.close(third), { code: 'store/unavailable' });
  delete kept.fails;
  await clock.advance(60_000);
  assert.deepEqual(JSON.parse(kept.text ?? ''), [], 'it is written as soon as it can be');
  logins[Symbol.dispose]();
});

test('log-ins end with the token on disk too, and 32 of a client push out no other', async () => {
  await using gateway = await openGateway();
  const clock = new ManualClock(Date.now());
  const kept: { text?: string } = {};
  const { logins, open, owner, holds } = await book(gateway, clock, kept);
  const reader = await gateway.client('reader');
  const mine = open(gateway.hub.ownerToken);
  const all = Array.from({ length: 40 }, () => open(reader));
  assert.ok(holds(mine));
  assert.deepEqual(all.map(holds), [...Array(8).fill(false), ...Array(32).fill(true)]);
  const { ended } = logins.find(all.at(-1)!, '')!;
  await gateway.desk.clients.revoke('reader');
  assert.ok(ended.aborted);
  assert.equal(JSON.parse(kept.text ?? '').length, 1);
  await gateway.desk.clients.rotate('owner', 0);
  assert.ok(!holds(mine), 'a token that was replaced and is good no more');
  assert.deepEqual(logins.list(owner, asked()), []);
  logins[Symbol.dispose]();
});

test('log-ins that an earlier version kept still hold, and when they were used outlives a restart', async () => {
  await using gateway = await openGateway();
  const clock = new ManualClock(Date.now());
  const cookie = 'a'.repeat(43);
  const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
  const token = sha256(gateway.hub.ownerToken);
  const kept = { text: JSON.stringify([{ id: sha256(cookie), token, until: clock.now() + 20 * day }]) };
  const request = asked({
    cookie: `kos-${gateway.desk.hub.id.slice(0, 8)}=${cookie}`,
    'kos-page': '1',
  });
  const first = await book(gateway, clock, kept);
  const [before] = first.logins.list(first.owner, asked());
  assert.equal(before?.createdAt, clock.now() - 10 * day);
  await clock.advance(5 * day);
  assert.ok(first.holds(request));
  first.logins[Symbol.dispose]();
  await clock.advance(5 * day);
  const second = await book(gateway, clock, kept);
  assert.ok(second.holds(request), 'used five days ago');
  await clock.advance(day);
  second.logins[Symbol.dispose]();
  assert.equal(JSON.parse(kept.text)[0].usedAt, clock.now() - day);
});
