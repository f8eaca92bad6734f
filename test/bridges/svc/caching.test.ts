import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { ManualClock } from '../../sim/clock.ts';
import { get, startHub, startOrigin } from './hub.ts';

/** An origin that counts what it is asked, probes apart. */
function counting(handle: (request: IncomingMessage, response: ServerResponse, count: number) => void) {
  let count = 0;
  return (request: IncomingMessage, response: ServerResponse) => {
    if (request.url === '/v1/') {
      response.end();
      return;
    }
    count += 1;
    handle(request, response, count);
  };
}

test('a fresh answer is given without asking, with its Age; a stale one is confirmed, and sent as it was confirmed', async t => {
  const clock = new ManualClock(Date.now());
  const date = () => new Date(clock.now()).toUTCString();
  const origin = await startOrigin(
    t,
    counting((request, response, count) => {
      if (request.headers['if-none-match'] === '"1"') {
        response
          .writeHead(304, { ETag: '"1"', 'Cache-Control': 'max-age=10', 'X-Count': count, Date: date() })
          .end();
      } else {
        response
          .writeHead(200, { ETag: '"1"', 'Cache-Control': 'max-age=10', 'X-Count': count, Date: date() })
          .end('body');
      }
    }),
  );
  const hub = await startHub(t, origin.url, { clock });
  assert.match(String((await get(`${hub.url}/x`)).headers['cache-status']), /fwd=uri-miss; fwd-status=200/);
  await clock.advance(4000);
  const fresh = await get(`${hub.url}/x`);
  assert.deepEqual([fresh.headers['x-count'], fresh.headers.age], ['1', '4']);
  assert.match(String(fresh.headers['cache-status']), /^kos; hit; ttl=[56]$/);
  await clock.advance(8000);
  const confirmed = await get(`${hub.url}/x`);
  assert.deepEqual([confirmed.status, confirmed.text, confirmed.headers['x-count']], [200, 'body', '2']);
  assert.match(String(confirmed.headers['cache-status']), /fwd=stale; fwd-status=304; stored/);
  assert.equal((await get(`${hub.url}/x`)).headers['x-count'], '2');
});

test('without a copy the whole is asked for, and the client’s own condition is answered here', async t => {
  const origin = await startOrigin(
    t,
    counting((request, response) => {
      assert.equal(request.headers['if-none-match'], undefined);
      response.writeHead(200, { ETag: '"1"', 'Cache-Control': 'max-age=60' }).end('body');
    }),
  );
  const hub = await startHub(t, origin.url);
  await get(`${hub.url}/x`, { headers: { 'If-None-Match': '"1"' } });
  const again = await get(`${hub.url}/x`, { headers: { 'If-None-Match': '"1"' } });
  assert.deepEqual([again.status, again.headers.etag, again.body.length], [304, '"1"', 0]);
});

test('each language has its own copy, and all of them are asked about at once', async t => {
  const clock = new ManualClock(Date.now());
  const origin = await startOrigin(
    t,
    counting((request, response) => {
      const language = String(request.headers['accept-language']);
      if (request.headers['if-none-match'] !== undefined) {
        assert.equal(request.headers['if-none-match'], '"de", "en"');
        response
          .writeHead(304, { ETag: `"${language}"`, Vary: 'Accept-Language', 'Cache-Control': 'max-age=5' })
          .end();
        return;
      }
      response
        .writeHead(200, { ETag: `"${language}"`, Vary: 'Accept-Language', 'Cache-Control': 'max-age=5' })
        .end(language);
    }),
  );
  const hub = await startHub(t, origin.url, { clock });
  const ask = (language: string) => get(`${hub.url}/x`, { headers: { 'Accept-Language': language } });
  assert.deepEqual(
    [(await ask('de')).text, (await ask('en')).text, (await ask('de')).text],
    ['de', 'en', 'de'],
  );
  assert.equal(origin.requests.filter(({ url }) => url === '/v1/x').length, 2);
  await clock.advance(10_000);
  assert.equal((await ask('en')).text, 'en');
});

test('ranges are served from a whole that is stored, parts that are stored are joined, and 416 where there is nothing', async t => {
  const whole = 'abcdefghij';
  const origin = await startOrigin(
    t,
    counting((request, response) => {
      const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
      const headers = { ETag: '"1"', 'Cache-Control': 'max-age=60' };
      if (match === null) {
        response.writeHead(200, headers).end(whole);
        return;
      }
      const [first, last] = match.slice(1).map(Number) as [number, number];
      response
        .writeHead(206, { ...headers, 'Content-Range': `bytes ${first}-${last}/10` })
        .end(whole.slice(first, last + 1));
    }),
  );
  const hub = await startHub(t, origin.url);
  const part = (path: string, range: string) => get(hub.url + path, { headers: { Range: `bytes=${range}` } });
  assert.equal((await part('/p', '0-4')).text, 'abcde');
  assert.equal((await part('/p', '1-3')).text, 'bcd');
  assert.equal(origin.requests.filter(({ url }) => url === '/v1/p').length, 1);
  assert.equal((await part('/p', '5-9')).text, 'fghij');
  const all = await get(`${hub.url}/p`);
  assert.deepEqual([all.status, all.text], [200, whole]);
  assert.equal(origin.requests.filter(({ url }) => url === '/v1/p').length, 2);
  const outside = await part('/p', '10-12');
  assert.deepEqual([outside.status, outside.headers['content-range']], [416, 'bytes */10']);
  const several = await part('/p', '0-1,4-5');
  assert.deepEqual([several.status, several.text], [200, whole]);
});

test('a write that goes through puts its URL, what it names and the list it belongs to in doubt; a failed one does not', async t => {
  const origin = await startOrigin(
    t,
    counting((request, response, count) => {
      if (request.method === 'GET') {
        response
          .writeHead(200, { 'Cache-Control': 'max-age=600', ETag: '"x"', 'X-Count': count })
          .end('body');
        return;
      }
      request.resume();
      const status = request.headers['x-status'] === undefined ? 200 : Number(request.headers['x-status']);
      response.writeHead(status, { Location: '/v1/notes/2' }).end();
    }),
  );
  const hub = await startHub(t, origin.url, {
    more: "resources: [{ collection: /notes, item: '/notes/{id}' }]",
  });
  const paths = ['/notes/1', '/notes/2', '/notes?page=2', '/other'];
  const hits = async () => {
    const states: boolean[] = [];
    for (const path of paths) {
      states.push(/^kos; hit/.test(String((await get(hub.url + path)).headers['cache-status'])));
    }
    return states;
  };
  await hits();
  assert.deepEqual(await hits(), [true, true, true, true]);
  await get(`${hub.url}/notes/1`, { method: 'PUT', payload: 'x', headers: { 'X-Status': '409' } });
  assert.deepEqual(await hits(), [true, true, true, true]);
  await get(`${hub.url}/notes/1`, { method: 'PUT', payload: 'x' });
  assert.deepEqual(await hits(), [false, false, false, true]);
  await get(`${hub.url}/notes/1`, { method: 'DELETE' });
  await origin.kill();
  assert.equal((await get(`${hub.url}/notes/1`)).status, 502, 'what was deleted does not come back');
});

test('two users never see each other’s answers, and nobody sees the answers of a user without being one', async t => {
  const origin = await startOrigin(
    t,
    counting((request, response) => {
      const who = request.headers.authorization ?? request.headers.cookie ?? 'nobody';
      response.writeHead(200, { 'Cache-Control': 'max-age=600' }).end(who);
    }),
  );
  const hub = await startHub(t, origin.url);
  for (const headers of [
    {},
    { Authorization: 'Bearer a' },
    { Authorization: 'Bearer b' },
    { Cookie: 's=1' },
    { Cookie: 's=2' },
  ]) {
    const wanted = headers.Authorization ?? headers.Cookie ?? 'nobody';
    for (let time = 0; time < 2; time++) {
      assert.equal((await get(`${hub.url}/me`, { headers })).text, wanted);
    }
  }
  assert.equal(origin.requests.filter(({ url }) => url === '/v1/me').length, 5);
  await origin.kill();
  assert.equal((await get(`${hub.url}/me`, { headers: { Authorization: 'Bearer a' } })).text, 'Bearer a');
  await get(`${hub.url}/gone`);
  const stranger = await get(`${hub.url}/me`, { headers: { Authorization: 'Bearer c' } });
  assert.ok(stranger.status === 401 || stranger.status === 502);
});

test('a cookie that is set goes to the one whose answer it came with, and is not set again later', async t => {
  const origin = await startOrigin(
    t,
    counting((_request, response) => {
      response.writeHead(200, { 'Cache-Control': 'max-age=600', 'Set-Cookie': 's=1' }).end('x');
    }),
  );
  const hub = await startHub(t, origin.url);
  const ask = () => get(`${hub.url}/x`, { headers: { Authorization: 'Bearer a' } });
  assert.deepEqual((await ask()).headers['set-cookie'], ['s=1']);
  const hit = await ask();
  assert.match(String(hit.headers['cache-status']), /^kos; hit/);
  assert.equal(hit.headers['set-cookie'], undefined);
});

test('whatever several users ask in whatever order, online and off, each sees only what is theirs', async t => {
  const origin = await startOrigin(
    t,
    counting((request, response, count) => {
      const [, who = 'nobody'] = (request.headers.authorization ?? '').split(' ');
      const control = ['max-age=600', 'no-cache', 'private', 'public, max-age=600', 'max-age=0'][count % 5];
      request.resume();
      response.writeHead(200, { 'Cache-Control': control, ETag: `"${count}"` }).end(`of ${who}`);
    }),
  );
  const hub = await startHub(t, origin.url);
  const users = ['alice', 'bob', 'carol', 'nobody'];
  let seed = 7;
  const pick = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * below);
  };
  let answered = 0;
  for (let turn = 0; turn < 30; turn++) {
    hub.desk.force('api', pick(3) === 0);
    await Promise.all(
      Array.from({ length: 10 }, async () => {
        const who = users[pick(4)] ?? 'nobody';
        const headers = who === 'nobody' ? {} : { Authorization: `Bearer ${who}` };
        const method = pick(5) === 0 ? 'PUT' : 'GET';
        const got = await get(`${hub.url}/${pick(4)}`, {
          method,
          headers,
          ...(method === 'PUT' && { payload: 'x' }),
        });
        if (got.status === 200) {
          answered += 1;
          assert.equal(got.text, `of ${who}`);
        }
      }),
    );
  }
  assert.ok(answered > 100, String(answered));
});

test('a renewed token keeps its user’s replica once the service took it; a forged one gets nothing of it', async t => {
  const token = (sub: string, n: number) =>
    `Bearer ${['{"alg":"none"}', JSON.stringify({ iss: 'me', sub, n }), 'x'].map(part => Buffer.from(part).toString('base64url')).join('.')}`;
  const good = new Set([token('alice', 1), token('alice', 2)]);
  const origin = await startOrigin(
    t,
    counting((request, response) => {
      if (request.url === '/v1/open') {
        response.writeHead(200, { 'Cache-Control': 'max-age=600' }).end('for everybody');
      } else if (good.has(request.headers.authorization ?? '')) {
        response.writeHead(200, { 'Cache-Control': 'max-age=0' }).end('secret of alice');
      } else {
        response.writeHead(401).end('who?');
      }
    }),
  );
  const hub = await startHub(t, origin.url, {
    more: 'identity: { subject: { jwtClaim: sub, proof: /proof } }',
  });
  const ask = (path: string, authorization: string) =>
    get(hub.url + path, { headers: { Authorization: authorization } });
  assert.equal((await ask('/me', token('alice', 1))).text, 'secret of alice');
  const forged = token('alice', 666);
  assert.equal((await ask('/open', forged)).text, 'for everybody');
  assert.equal((await ask('/open', token('alice', 2))).text, 'for everybody');
  await origin.kill();
  assert.equal((await ask('/me', token('alice', 2))).text, 'secret of alice');
  assert.equal((await ask('/me', token('alice', 1))).text, 'secret of alice');
  assert.equal((await ask('/me', forged)).status, 401);
});

test('a forged token beside credentials of one’s own opens nobody else’s replica', async t => {
  const token = (sub: string, n: number) =>
    `Bearer ${['{"alg":"none"}', JSON.stringify({ iss: 'me', sub, n }), 'x'].map(part => Buffer.from(part).toString('base64url')).join('.')}`;
  const good = token('alice', 1);
  const mallory = token('mallory', 1);
  const origin = await startOrigin(
    t,
    counting((request, response) => {
      // As there are: a session counts before a token, and of several lines the last one.
      const said = request.headersDistinct.authorization?.at(-1);
      if (request.headers.cookie === 'session=mallory' || said === mallory) {
        response.writeHead(200, { 'Cache-Control': 'max-age=600' }).end('of mallory');
      } else if (said === good) {
        response.writeHead(200, { 'Cache-Control': 'max-age=600' }).end('secret of alice');
      } else {
        response.writeHead(401).end('who?');
      }
    }),
  );
  const hub = await startHub(t, origin.url, {
    more: 'identity: { subject: { jwtClaim: sub, proof: /proof } }',
  });
  const forged = token('alice', 666);
  const ways = [
    ['Authorization', forged, 'Cookie', 'session=mallory'],
    ['Authorization', forged, 'Authorization', mallory],
  ];
  const ask = (headers: string[]) => get(`${hub.url}/me`, { headers: ['Host', 'hub', ...headers] });
  assert.equal((await ask(['Authorization', good])).text, 'secret of alice');
  for (const headers of ways) {
    assert.equal((await ask(headers)).text, 'of mallory', 'while the service answers');
  }
  await origin.kill();
  for (const headers of ways) {
    assert.notEqual((await ask(headers)).text, 'secret of alice');
  }
  assert.equal((await ask(['Authorization', good])).text, 'secret of alice');
});

test('a token the service refuses is served nothing any more, offline neither', async t => {
  let refused = false;
  const origin = await startOrigin(
    t,
    counting((_request, response) => {
      response.writeHead(refused ? 401 : 200, { 'Cache-Control': 'max-age=0' }).end('mine');
    }),
  );
  const hub = await startHub(t, origin.url);
  const ask = () => get(`${hub.url}/me`, { headers: { Authorization: 'Bearer a' } });
  assert.equal((await ask()).status, 200);
  refused = true;
  assert.equal((await ask()).status, 401);
  hub.desk.force('api', true);
  assert.equal((await ask()).status, 401);
});

test('how long ago a token was good says whether it is served offline', async t => {
  const clock = new ManualClock(Date.now());
  const origin = await startOrigin(
    t,
    counting((_request, response) => response.writeHead(200, {}).end('mine')),
  );
  const hub = await startHub(t, origin.url, { clock, more: 'identity: { offlineAuthFor: 1h }' });
  const ask = () => get(`${hub.url}/me`, { headers: { Authorization: 'Bearer a' } });
  await ask();
  hub.desk.force('api', true);
  assert.equal((await ask()).status, 200);
  await clock.advance(2 * 3_600_000);
  assert.equal((await ask()).status, 401);
});

test('offline an answer is served until it is as old as the definition says', async t => {
  const clock = new ManualClock(Date.now());
  const origin = await startOrigin(
    t,
    counting((_request, response) => response.writeHead(200, {}).end('x')),
  );
  const hub = await startHub(t, origin.url, { clock, more: 'defaults: { read: { offline: 2d } }' });
  await get(`${hub.url}/x`);
  hub.desk.force('api', true);
  await clock.advance(86_400_000);
  const got = await get(`${hub.url}/x`);
  assert.deepEqual([got.status, got.headers.age], [200, '86400']);
  await clock.advance(2 * 86_400_000);
  assert.equal((await get(`${hub.url}/x`)).status, 504);
});

test('only-if-cached asks nobody; bypass keeps nothing; what is too large only passes through', async t => {
  const origin = await startOrigin(
    t,
    counting((request, response) => {
      response
        .writeHead(200, { 'Cache-Control': 'max-age=600' })
        .end(request.url === '/v1/large' ? 'x'.repeat(3000) : 'y');
    }),
  );
  const hub = await startHub(t, origin.url, {
    more: 'storage: { maxEntry: 2KiB }\nroutes: [{ match: { path: /live }, read: { mode: bypass } }]',
  });
  assert.equal((await get(`${hub.url}/x`, { headers: { 'Cache-Control': 'only-if-cached' } })).status, 504);
  assert.equal((await get(`${hub.url}/large`)).body.length, 3000);
  await get(`${hub.url}/live`);
  assert.equal(hub.view('api').cached.entries, 0);
});

test('offline an item is found in a list that was read; a complete list tells that one is not there', async t => {
  const origin = await startOrigin(
    t,
    counting((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json' }).end('[{"id":"1","text":"one"}]');
    }),
  );
  const hub = await startHub(t, origin.url, {
    writes: true,
    more: "resources: [{ collection: /notes, item: '/notes/{id}', complete: true }, { collection: /tags, item: '/tags/{id}' }]",
  });
  await get(`${hub.url}/notes`);
  await get(`${hub.url}/tags`);
  hub.desk.force('api', true);
  const row = await get(`${hub.url}/notes/1`);
  assert.deepEqual([row.status, JSON.parse(row.text)], [200, { id: '1', text: 'one' }]);
  assert.equal(row.headers['replica-state'], 'stale');
  assert.equal((await get(`${hub.url}/notes/2`)).status, 404);
  assert.equal((await get(`${hub.url}/tags/1`)).status, 200);
  assert.equal((await get(`${hub.url}/tags/2`)).status, 504);
  assert.equal((await get(`${hub.url}/elsewhere`)).status, 504);
});

test('a service tells how it is, what is queued by the one who asks, and what holds for each path', async t => {
  const origin = await startOrigin(
    t,
    counting((_request, response) => response.writeHead(200, {}).end('x')),
  );
  const hub = await startHub(t, origin.url);
  await get(`${hub.url}/x`);
  const health = JSON.parse((await get(`${hub.url}/_replica/health`)).text) as Record<string, unknown>;
  assert.deepEqual([health.id, health.link], ['api', 'online']);
  assert.deepEqual(JSON.parse((await get(`${hub.url}/_replica/queue`)).text), { items: [] });
  const policy = JSON.parse((await get(`${hub.url}/_replica/policy`)).text) as { items: unknown[] };
  assert.equal(policy.items.length, 2);
  assert.equal((await get(`${hub.url}/_replica/queue/abc`)).status, 404);
  assert.equal((await get(`${hub.url}/_replica/nothing`)).status, 404);
  const post = await get(`${hub.url}/_replica/health`, { method: 'POST' });
  assert.deepEqual([post.status, post.headers.allow], [405, 'GET, HEAD']);
});
