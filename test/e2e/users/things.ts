import assert from 'node:assert/strict';
import { eventually } from '../clients.ts';
import { callHttp } from '../daemon.ts';
import { shown } from './oracle.ts';
import { names, type User, type Window, type World } from './world.ts';

type Act = (user: User, n: number) => Promise<void>;

const eventScopes: Readonly<Record<string, string>> = {
  'peer.seen': 'peers:read',
  'path.changed': 'mesh:read',
  'link.changed': 'mesh:read',
  'interface.changed': 'mesh:read',
  'health.changed': 'mesh:read',
};

/** Webhooks, rooms, log-ins, sockets, peers, and what old devices speak. */
export function otherActs(world: World): Readonly<Record<string, Act>> {
  const { pick, call, random, expect, holds, webhooks, rooms, words, daemon, tokens } = world;

  const hook = (user: User, path: string) => `http://127.0.0.1:${world.receiver.port}/${user}/${path}`;
  const anyHook = () => {
    const there = webhooks.filter(one => one.gone === undefined);
    return there.length === 0 ? undefined : pick(there);
  };
  /** An act on a webhook that others must not know of. */
  const onHook = async (
    user: User,
    method: string,
    more: string,
    body: unknown,
    wanted: readonly number[],
  ): Promise<void> => {
    const one = anyHook();
    if (one !== undefined) {
      const { status, body: got } = await call<{ secret?: string }>(
        user,
        method,
        `/v1/webhooks/${one.id}${more}`,
        {
          ...(body !== undefined && { body }),
        },
      );
      // Another may have taken it away meanwhile.
      const fine = one.by === user ? [...wanted, 404] : [404];
      expect(user, 'messages:read', status, fine, `${method} ${more} of a webhook of ${one.by}`);
      if (status < 300 && got?.secret !== undefined) {
        world.secrets.add(got.secret);
      }
      if (status === 204) {
        one.gone = true;
      }
    }
  };

  const login = (user: User) =>
    callHttp<{ client: { name: string } }>(daemon.ready.http, 'POST', '/v1/session', {
      headers: { 'kos-page': '1' },
      body: { token: tokens[user] },
    });

  return {
    async hook(user, n) {
      const { status, body } = await call<{ id: string; secret: string }>(user, 'POST', '/v1/webhooks', {
        body: { url: hook(user, String(n)), description: words('hook'), acknowledge: n % 2 === 0 },
      });
      // 16 at most, of a client.
      expect(user, 'messages:read', status, [201, 409, 429, 507], `made a webhook: ${JSON.stringify(body)}`);
      if (status === 201) {
        webhooks.push({ id: body.id, by: user, secret: body.secret });
        world.secrets.add(body.secret);
      }
    },
    async hooks(user) {
      const { status, body } = await call<{ items: { client: string; url: string }[] }>(
        user,
        'GET',
        '/v1/webhooks',
      );
      expect(user, 'messages:read', status, 200, 'webhooks');
      for (const { client, url } of body.items ?? []) {
        assert.ok(client === user && url.includes(`/${user}/`), `${user} saw the webhook of ${client}`);
      }
    },
    hookGet: user => onHook(user, 'GET', '', undefined, [200]),
    hookPatch: user => onHook(user, 'PATCH', '', { description: words('hook') }, [200]),
    hookTest: user => onHook(user, 'POST', '/test', undefined, [200, 409, 429]),
    hookReplay: user => onHook(user, 'POST', '/replay', { since: Date.now() - 1000 }, [200]),
    hookRotate: user => onHook(user, 'POST', '/rotate-secret', {}, [200]),
    hookDelete: user => onHook(user, 'DELETE', '', undefined, [204]),

    async rooms(user) {
      await world.alone(async () => {
        const { status, body } = await call<{ items: { name: string }[] }>(user, 'GET', '/v1/rooms');
        expect(user, 'messages:read', status, 200, 'rooms');
        const mine = [...rooms].filter(([, members]) => members.has(user)).map(([name]) => name);
        if (status === 200) {
          assert.deepEqual(body.items.map(({ name }) => name).sort(), mine.sort());
        }
        const name = pick(['hub', 'nowhere', ...rooms.keys()]);
        const one = await call(user, 'GET', `/v1/rooms/${name}`);
        expect(user, 'messages:read', one.status, mine.includes(name) ? 200 : 404, `room ${name}`);
      });
    },
    async changeRoom(user) {
      await world.alone(async () => {
        const name = pick(['tower', 'cellar', 'attic', 'hub', 'plaza']);
        const before = rooms.get(name);
        const mayRead = before?.has(user) === true;
        const other = pick(names);
        const path = `/v1/rooms/${name}`;
        const check = (status: number, wanted: number | readonly number[], what: string) =>
          expect(
            user,
            'rooms:write',
            status,
            wanted,
            `${what} ${name}, whose members are ${[...(before ?? [])]}`,
          );
        // The plaza is the configuration's and by tokens: its members stay.
        const kinds =
          name === 'plaza' || name === 'hub' ? ['drop'] : ['make', 'put', 'patch', 'add', 'leave', 'drop'];
        const kind = pick(kinds);
        if (kind === 'make' || (kind === 'put' && before === undefined)) {
          const { status } = await (kind === 'make'
            ? call(user, 'POST', '/v1/rooms', { body: { name, members: [`app:${other}`] } })
            : call(user, 'PUT', path, { body: { members: [`app:${other}`] } }));
          // The name of a room in which something was said is not given to anybody but an admin.
          check(status, before === undefined ? [201, 409] : 409, 'made');
          if (status === 201) {
            rooms.set(name, new Set([other, user]));
          }
        } else if (kind === 'put' || kind === 'patch') {
          const method = kind === 'put' ? 'PUT' : 'PATCH';
          const { status } = await call(user, method, path, {
            body: { members: [`app:${other}`, `app:${user}`] },
          });
          check(status, mayRead ? 200 : kind === 'put' ? 409 : 404, kind);
          if (status === 200) {
            rooms.set(name, new Set([other, user]));
          }
        } else if (kind === 'add' || kind === 'leave') {
          const method = kind === 'add' ? 'PUT' : 'DELETE';
          const { status } = await call(user, method, `${path}/members/app:${other}`);
          const isIn = before?.has(other) === true;
          check(status, !mayRead ? 404 : kind === 'add' ? 200 : isIn ? 204 : 404, kind);
          if (status === 200) {
            before?.add(other);
          } else if (status === 204) {
            before?.delete(other);
          }
        } else {
          const { status } = await call(user, 'DELETE', path);
          const isKept = name === 'plaza' || name === 'hub';
          check(status, mayRead ? (isKept ? 403 : 204) : 404, 'dropped');
          if (status === 204) {
            rooms.delete(name);
          }
        }
      });
    },

    async login(user) {
      await world.beside(async () => {
        const opened = await login(user);
        assert.equal(opened.status, 201, JSON.stringify(opened.body));
        world.exercised.add('postSession');
        assert.equal(opened.body.client.name, user);
        const cookie = String(opened.headers['set-cookie']).split(';', 1)[0] ?? '';
        world.secrets.add(cookie.slice(cookie.indexOf('=') + 1));
        const page = { cookie, 'kos-page': '1' };
        const by = <T>(method: string, path: string, headers: Record<string, string>) =>
          callHttp<T>(daemon.ready.http, method, path, { headers });
        const me = await by<{ client: { name: string } }>('GET', '/v1/session', page);
        assert.deepEqual([me.status, me.body.client?.name], [200, user]);
        assert.equal((await by('GET', '/v1/session', { cookie })).status, 401, 'a cookie alone is nothing');
        const strange = { ...page, origin: 'http://evil.example' };
        assert.equal((await by('GET', '/v1/me', strange)).status, 403);
        assert.equal((await by('GET', '/v1/tokens', page)).status, 403);
        assert.equal((await by('DELETE', '/v1/session', page)).status, 204);
        world.exercised.add('deleteSession');
        assert.equal((await by('GET', '/v1/session', page)).status, 401, 'it has logged out');
        const { body } = await call<{ client: { name: string } }>(user, 'GET', '/v1/session');
        assert.equal(body.client.name, user);
      });
    },
    async logins(user) {
      await world.alone(async () => {
        const [mine, other] = [user, pick(names.filter(name => name !== user))];
        for (const one of [mine, other]) {
          const opened = await login(one);
          assert.equal(opened.status, 201);
          const cookie = String(opened.headers['set-cookie']).split(';', 1)[0] ?? '';
          world.secrets.add(cookie.slice(cookie.indexOf('=') + 1));
        }
        type Page = { items: { id: string }[] };
        const theirs = (await call<Page>(other, 'GET', '/v1/sessions')).body.items;
        const own = (await call<Page>(mine, 'GET', '/v1/sessions')).body.items;
        assert.ok(own.length > 0 && own.every(({ id }) => theirs.every(one => one.id !== id)));
        assert.equal((await call(mine, 'DELETE', `/v1/sessions/${theirs[0]?.id}`)).status, 404);
        assert.equal((await call(mine, 'DELETE', `/v1/sessions/${own[0]?.id}`)).status, 204);
        assert.equal((await call(mine, 'DELETE', '/v1/sessions')).status, 200);
        const left = (await call<Page>(other, 'GET', '/v1/sessions')).body.items;
        assert.deepEqual(left, theirs, 'those of others stay');
      });
    },
    async self(user) {
      const { status, body } = await call<{ name: string; role: string }>(user, 'GET', '/v1/me');
      assert.deepEqual([status, body.name, body.role], [200, user, world.roles[user]]);
    },

    async speak(user, n) {
      const window =
        pick(world.windows.filter(one => one.user === user && !one.isClosed)) ?? (await world.open(user));
      const id = `ws-${n}`;
      const to = pick(['app:ann', 'app:ben', 'app:cat', 'room:plaza']);
      const text = words('ws');
      world.oracle.wrote(user, text);
      const answer = async (frame: Record<string, unknown>, ops: readonly string[]) => {
        window.socket.send(JSON.stringify(frame));
        return await eventually(
          `${JSON.stringify(frame)} of ${user} is answered`,
          () =>
            window.frames.find(one => one.id === frame.id && ops.includes(String(one.op))) ??
            (window.isClosed ? { op: 'closed' } : undefined),
        );
      };
      const sent = await answer({ op: 'send', id, message: { to, text } }, ['ack', 'error']);
      if (sent.op === 'ack') {
        assert.ok(holds(user, 'messages:send'), `${user} sent without the right`);
        world.note(sent.message as { id: string; from: string }, user, to, text);
      } else if (sent.op === 'error') {
        assert.ok(!holds(user, 'messages:send'), JSON.stringify(sent));
      }
      const filter = pick([
        {},
        { kinds: ['message.accepted'] },
        { rooms: ['plaza', 'tower'] },
        { peers: ['app:cat'] },
      ]);
      const shown = await answer({ op: 'subscribe', id: `s-${n}`, filter }, ['subscribed', 'error']);
      const isFull = (shown.problem as { code: string } | undefined)?.code === 'request/rate-limited';
      assert.ok(
        shown.op === 'closed' || isFull || (shown.op === 'subscribed') === holds(user, 'messages:read'),
        JSON.stringify(shown),
      );
      if (random.fraction() < 0.5 && shown.op === 'subscribed') {
        const last = window.frames.findLast(({ op }) => op === 'event');
        if (last !== undefined) {
          window.socket.send(JSON.stringify({ op: 'seen', cursor: last.cursor }));
        }
        await answer({ op: 'unsubscribe', id: `s-${n}` }, ['unsubscribed', 'error']);
      }
      if (window.frames.length > 3000) {
        checkWindow(world, window);
        window.socket.terminate();
      }
    },
    async peers(user) {
      const { status } = await call(user, 'GET', '/v1/peers');
      expect(user, 'peers:read', status, 200, 'peers');
      const one = await call(user, 'GET', '/v1/peers/lxmf:00112233445566778899aabbccddeeff');
      expect(user, 'peers:read', one.status, [200, 404], 'a peer');
    },
    async meshLists(user) {
      const list = pick(['interfaces', 'paths', 'links', 'announces', 'rates', 'transit', 'discovered']);
      const { status } = await call(user, 'GET', `/v1/mesh/${list}`);
      expect(user, 'mesh:read', status, 200, list);
      expect(user, 'mesh:read', (await call(user, 'GET', '/v1/replicas')).status, 200, 'replicas');
      expect(user, 'metrics', (await call(user, 'GET', '/metrics')).status, 200, 'metrics');
    },
    async status(user) {
      const { status, body } = await call(user, 'GET', '/v1/status');
      expect(user, 'mesh:read', status, 200, 'status');
      for (const text of world.secrets) {
        assert.ok(!JSON.stringify(body).includes(text));
      }
      for (const path of [
        '/healthz',
        '/readyz',
        '/openapi.json',
        '/asyncapi.json',
        '/docs',
        '/docs/docs.js',
      ]) {
        await call(user, 'GET', path);
      }
    },

    async legacy(user, n) {
      const to = pick(['app:ann', 'app:ben', 'app:cat']);
      const text = words('legacy');
      const query = new URLSearchParams({ to, text, ...(n % 3 === 0 && { key: world.key(user) }) });
      world.oracle.wrote(user, text);
      const by = async <T = string>(
        method: string,
        path: string,
        headers: Record<string, string>,
        raw?: string,
      ) => {
        const answer = await callHttp<T>(daemon.ready.http, method, path, {
          headers: { accept: 'text/plain', ...headers },
          ...(raw !== undefined && { raw: Buffer.from(raw) }),
        });
        world.oracle.hears(user, JSON.stringify(answer.body), `${method} ${path.split('?', 1)[0]}`, 'answer');
        return answer;
      };
      const token = tokens[user];
      const form = { 'content-type': 'application/x-www-form-urlencoded' };
      switch (pick(['get', 'post', 'sms', 'ntfy', 'poll'])) {
        case 'get':
        case 'post': {
          const isGet = random.fraction() < 0.5;
          const answer = isGet
            ? await by('GET', `/v1/send?${query}&token=${token}`, {})
            : await by('POST', '/v1/send', form, `${query}&token=${token}`);
          expect(user, 'messages:send', answer.status, 200, 'send');
          const id = /^OK ([0-9a-f]{32})/.exec(answer.body)?.[1];
          if (id !== undefined) {
            world.note({ id }, user, to, text);
          }
          break;
        }
        case 'sms': {
          const answer = await by('GET', `/cgi-bin/sendsms?username=${user}&password=${token}&${query}`, {});
          expect(user, 'messages:send', answer.status, 202, 'sms');
          if (answer.status === 202) {
            // It is told no id.
            const got = new Set(names.filter(name => to === `app:${name}`));
            world.oracle.carries({ id: 'an sms', from: user, to, delivery: undefined, got }, text);
          }
          break;
        }
        case 'ntfy': {
          const basic = `Basic ${Buffer.from(`:${token}`).toString('base64')}`;
          world.secrets.add(basic.slice(6));
          const title = words('title');
          world.oracle.wrote(user, title);
          const headers = { accept: '*/*', authorization: basic, title };
          const answer = await by<{ id?: string }>('POST', '/ntfy/plaza', headers, text);
          expect(user, 'messages:send', answer.status, 200, 'ntfy');
          if (answer.body.id !== undefined) {
            world.note({ id: answer.body.id }, user, 'room:plaza', text + title);
          }
          break;
        }
        default: {
          const room = pick(['plaza', 'tower', 'attic']);
          const { status, body } = await by(
            'GET',
            `/ntfy/${room}/json?poll=1&auth=${Buffer.from(`Bearer ${token}`).toString('base64url')}`,
            {},
          );
          expect(
            user,
            'messages:read',
            status,
            world.inRoom(user, `room:${room}`) ? 200 : 403,
            `polled ${room}`,
          );
          for (const line of status === 200 ? body.toString().split('\n').filter(Boolean) : []) {
            const { id } = (typeof body === 'string' ? JSON.parse(line) : body) as { id: string };
            world.isOwnBusiness(user, id, 'ntfy');
          }
        }
      }
    },
  };
}

/** All that came over a socket was for its user, under the rights it was opened with. */
export function checkWindow(world: World, { user, scopes, frames }: Window): void {
  for (const frame of frames) {
    if (frame.op === 'event') {
      checkEvent(world, user, scopes, frame);
    } else {
      world.oracle.hears(user, JSON.stringify(frame), 'a frame', 'answer');
    }
  }
}

/** An event was for this user, under these rights. */
export function checkEvent(
  world: World,
  user: User,
  scopes: readonly string[],
  event: Record<string, unknown>,
): void {
  assert.ok(scopes.includes('messages:read'), `${user} has events without the right to read`);
  const text = JSON.stringify(event);
  const message =
    (event.message as { id: string } | undefined)?.id ?? (event.delivery as { message: string })?.message;
  if (message !== undefined) {
    const known = world.byId.get(message);
    assert.ok(
      known === undefined || known.from === user || known.got.has(user),
      `${user} got ${text.slice(0, 300)} of ${shown(known)}`,
    );
  }
  const needed = eventScopes[String(event.kind)];
  assert.ok(needed === undefined || scopes.includes(needed), `${user} got ${event.kind}`);
  world.oracle.hears(user, text, 'an event', 'event');
}
