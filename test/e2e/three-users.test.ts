import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { seededRandom } from '../sim/random.ts';
import { eventually, WsClient } from './clients.ts';
import { startDaemon } from './daemon.ts';

/*
 * Three clients with different rights do 10,000 random things, among them everything that is none of their business. A
 * model beside them says who may see what; the log is read to its end for what must not be in it.
 */

const operations = Number(process.env.OPERATIONS ?? 10_000);
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1_000_000));

const users = {
  ann: { scopes: ['messages:read', 'messages:send', 'peers:read'], rooms: ['plaza'] },
  ben: { scopes: ['messages:send'], rooms: ['plaza'] },
  cat: { scopes: ['messages:read', 'messages:send'], rooms: [] },
} as const;
type User = keyof typeof users;
const names = Object.keys(users) as User[];

interface Said {
  readonly id: string;
  readonly from: User | 'owner';
  readonly to: string;
  readonly delivery: string | undefined;
}

const address = `lxmf:${'ab'.repeat(16)}`;

test(`no read or write of three users crosses in ${operations} random operations, and the log holds no secret`, {
  timeout: 400_000,
}, async t => {
  t.diagnostic(`SEED=${seed}`);
  const random = seededRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random.fraction() * list.length)] as T;
  await using daemon = await startDaemon({ config: { log: 'trace', rooms: { plaza: { members: [] } } } });
  let log = '';
  daemon.process.stderr?.on('data', chunk => {
    log += String(chunk);
  });

  const tokens = {} as Record<User, string>;
  for (const name of names) {
    const { status, body } = await daemon.call<{ token: string }>('POST', '/v1/tokens', {
      body: { name, ...users[name] },
    });
    assert.equal(status, 201, JSON.stringify(body));
    tokens[name] = body.token;
  }
  const said: Said[] = [];
  const byId = new Map<string, Said>();
  const blobs: { readonly sha256: string; readonly by: User; readonly bytes: string }[] = [];
  /** Users whose messages carry a blob, by its hash: whoever sees one of them may read it. */
  const carriers = new Map<string, Said[]>();
  const texts: string[] = [];

  const mayRead = (user: User) => (users[user].scopes as readonly string[]).includes('messages:read');
  const maySee = (user: User, { from, to }: Said) =>
    from === user ||
    (mayRead(user) &&
      (to === `app:${user}` ||
        (to.startsWith('room:') && (users[user].rooms as readonly string[]).includes(to.slice(5)))));
  const call = <T>(user: User, method: string, path: string, options: object = {}) =>
    daemon.call<T>(method, path, { ...options, token: tokens[user] });
  const isOwnBusiness = (user: User, id: string, where: string) => {
    const message = byId.get(id);
    assert.ok(message === undefined || maySee(user, message), `${user} saw ${id} in ${where}`);
  };

  const ops: Readonly<Record<string, (user: User, n: number) => Promise<void>>> = {
    async post(user, n) {
      const text = `words of ${user} number ${n} ${random.bytes(8).reduce((hex, byte) => hex + byte.toString(16), '')}`;
      const to = pick(['app:ann', 'app:ben', 'app:cat', 'room:plaza', address]);
      const mine = blobs.filter(({ by }) => by === user);
      const attached = mine.length > 0 && random.fraction() < 0.3 ? pick(mine) : undefined;
      const draft = {
        to,
        text,
        ...(attached && { attachments: [{ name: 'a', sha256: attached.sha256 }] }),
      };
      const { status, body } = await call<{ id: string; deliveries: { id: string }[] }>(
        user,
        'POST',
        '/v1/messages',
        { body: draft },
      );
      assert.ok(status === 201 || status === 429, `${status} ${JSON.stringify(body)}`);
      if (status !== 201) {
        return;
      }
      texts.push(text);
      const one: Said = { id: body.id, from: user, to, delivery: body.deliveries[0]?.id };
      said.push(one);
      byId.set(one.id, one);
      if (attached) {
        carriers.getOrInsertComputed(attached.sha256, () => []).push(one);
      }
    },
    async get(user) {
      const one = pick(said);
      const { status } = await call(user, 'GET', `/v1/messages/${one.id}`);
      assert.equal(
        status,
        !mayRead(user) ? 403 : maySee(user, one) ? 200 : 404,
        `${user} ${JSON.stringify(one)}`,
      );
    },
    async list(user) {
      const query = pick(['', '?peer=app:ann', '?peer=app:cat', '?type=chat.message', '?room=plaza']);
      const { status, body } = await call<{ items: { id: string }[] }>(user, 'GET', `/v1/messages${query}`);
      assert.ok(mayRead(user) ? status === 200 : status === 403, `${status}`);
      for (const { id } of body.items ?? []) {
        isOwnBusiness(user, id, `/v1/messages${query}`);
      }
    },
    async conversations(user) {
      const { body } = await call<{ items: { last: { id: string } }[] }>(user, 'GET', '/v1/conversations');
      for (const { last } of body.items ?? []) {
        isOwnBusiness(user, last.id, 'conversations');
      }
    },
    async inbox(user) {
      const { status, body } = await call<{ items: { message: { id: string } }[] }>(user, 'GET', '/v1/inbox');
      assert.equal(status, mayRead(user) ? 200 : 403);
      for (const { message } of body.items ?? []) {
        isOwnBusiness(user, message.id, 'inbox');
      }
    },
    async deliveries(user) {
      const { body } = await call<{ items: { message: { id: string } }[] }>(user, 'GET', '/v1/deliveries');
      for (const { message } of body.items ?? []) {
        assert.equal(byId.get(message.id)?.from ?? user, user, 'deliveries of others');
      }
    },
    async cancel(user) {
      const one = pick(said);
      const { status } = await call(user, 'DELETE', `/v1/messages/${one.id}`);
      const expected = one.from === user ? [200] : maySee(user, one) ? [403] : [404];
      assert.ok(expected.includes(status), `${user} cancelled ${JSON.stringify(one)}: ${status}`);
    },
    async retry(user) {
      const one = pick(said);
      if (one.delivery !== undefined) {
        const method = pick(['POST', 'DELETE']);
        const path = `/v1/deliveries/${one.delivery}${method === 'POST' ? '/retry' : ''}`;
        const { status } = await call(user, method, path);
        assert.ok(
          one.from === user ? [200, 409].includes(status) : status === 404,
          `${user} ${method}: ${status}`,
        );
      }
    },
    async edit(user) {
      const one = pick(said);
      const { status } = await call(user, 'POST', '/v1/messages', {
        body: { to: one.to, type: 'chat.edit', text: 'changed', inReplyTo: one.id },
      });
      assert.ok(
        maySee(user, one) ? [201, 429].includes(status) : status === 404,
        `${user} edited: ${status}`,
      );
    },
    async blob(user, n) {
      const bytes = `file ${n} of ${user}`;
      const { status } = await call(user, 'POST', '/v1/blobs', {
        raw: Buffer.from(bytes),
        headers: { 'content-type': 'application/octet-stream' },
      });
      assert.equal(status, 201);
      blobs.push({ sha256: createHash('sha256').update(bytes).digest('hex'), by: user, bytes });
      texts.push(bytes);
    },
    async readBlob(user) {
      const one = blobs.length > 0 ? pick(blobs) : undefined;
      if (one !== undefined) {
        // What another is saying just now may be on disk before the model has heard of it.
        const seen = () =>
          one.by === user || (carriers.get(one.sha256) ?? []).some(message => maySee(user, message));
        const before = seen();
        const check = async (taken: boolean, what: string) => {
          assert.ok(taken || !before, `${user} could not ${what} what it may see of ${one.by}`);
          if (taken) {
            await eventually(`${user} may ${what} a file of ${one.by}`, seen);
          }
        };
        const { status } = await call(user, 'GET', `/v1/blobs/${one.sha256}`);
        assert.ok(status === 200 || status === 404);
        await check(status === 200, 'read');
        const borrowed = await call<{ id: string }>(user, 'POST', '/v1/messages', {
          body: { to: 'app:cat', attachments: [{ name: 'b', sha256: one.sha256 }] },
        });
        assert.ok([201, 404, 429].includes(borrowed.status));
        if (borrowed.status !== 429) {
          await check(borrowed.status === 201, 'attach');
        }
        if (borrowed.status === 201) {
          const message: Said = { id: borrowed.body.id, from: user, to: 'app:cat', delivery: undefined };
          byId.set(message.id, message);
          carriers.getOrInsertComputed(one.sha256, () => []).push(message);
        }
      }
    },
    async forbidden(user) {
      const [method, path, body] = pick([
        ['GET', '/v1/tokens', undefined],
        ['GET', `/v1/tokens/${pick(names)}`, undefined],
        ['PATCH', `/v1/tokens/${pick(names)}`, { role: 'owner' }],
        ['POST', `/v1/tokens/${pick(names)}/rotate`, {}],
        ['DELETE', `/v1/tokens/${pick(names)}`, undefined],
        ['GET', '/v1/audit', undefined],
        ['GET', '/v1/config', undefined],
        ['PUT', '/v1/log', { level: 'debug' }],
        ['POST', '/v1/tokens', { name: 'mine', scopes: ['admin'] }],
        ['POST', '/v1/mesh/announce', {}],
        ['GET', '/v1/mesh/paths', undefined],
        ['GET', '/metrics', undefined],
      ] as const);
      const { status } = await call(user, method, path, body === undefined ? {} : { body });
      assert.equal(status, 403, `${user} ${method} ${path}`);
    },
    async self(user) {
      const { status, body } = await call<{ name: string; scopes: string[] }>(user, 'GET', '/v1/me');
      assert.deepEqual([status, body.name, body.scopes], [200, user, [...users[user].scopes]]);
    },
    async pose(user) {
      const other = pick(names.filter(name => name !== user));
      const { status } = await call(user, 'POST', '/v1/messages', {
        body: { to: 'app:cat', text: 'x', from: `app:${other}` },
      });
      assert.equal(status, 400, 'a body that names its sender');
    },
  };

  const windows = await Promise.all(
    names.filter(mayRead).map(async name => {
      const ws = new WsClient();
      await ws.connect(daemon, tokens[name], name);
      return { name, ws };
    }),
  );
  await ops.post?.('ann', -1);
  const kinds = Object.keys(ops);
  const weights = [...kinds, 'post', 'post', 'get', 'get'];
  let done = 0;
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      while (done < operations) {
        done += 1;
        await ops[pick(weights)]?.(pick(names), done);
      }
    }),
  );
  const last = await call<{ id: string }>('ann', 'POST', '/v1/messages', {
    body: { to: 'app:cat', text: 'the end' },
  });
  const catWindow = windows.find(({ name }) => name === 'cat');
  await eventually('the stream has come to the end', () =>
    catWindow?.ws.seen.some(({ id }) => id === last.body.id),
  );
  for (const { name, ws } of windows) {
    for (const { id } of ws.seen) {
      isOwnBusiness(name, id, 'the WebSocket');
    }
    ws.drop();
  }
  assert.equal(await daemon.stop(), 0);
  for (const secret of [...Object.values(tokens), daemon.ready.ownerToken ?? 'none', ...texts]) {
    assert.ok(!log.includes(secret), `the log holds ${secret}`);
  }
});
