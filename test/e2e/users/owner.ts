import assert from 'node:assert/strict';
import { eventually } from '../clients.ts';
import { callHttp } from '../daemon.ts';
import { names, type Role, scopesOf, type User, type World } from './world.ts';

type Act = (user: User, n: number) => Promise<void>;

/** What the owner does, beside the users or to them. */
export function ownerActs(world: World): Readonly<Record<string, Act>> {
  const { owner, pick, words, secrets, tokens, roles, daemon } = world;
  const hash = 'ab'.repeat(16);

  async function ok(
    method: string,
    path: string,
    body?: unknown,
    wanted: readonly number[] = [200, 201, 204],
  ) {
    const answer = await owner<Record<string, unknown>>(method, path, body === undefined ? {} : { body });
    assert.ok(
      wanted.includes(answer.status),
      `owner ${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`,
    );
    return answer.body;
  }
  const asWith = (token: string) => callHttp(daemon.ready.http, 'GET', '/v1/me', { token });
  /** Sockets of a user end, whatever was opened before. */
  const ended = (user: User) =>
    eventually(`the sockets of ${user} are closed`, () =>
      world.windows.every(window => window.user !== user || window.isClosed),
    );

  return {
    async role(user) {
      await world.alone(async () => {
        const role = pick(Object.keys(scopesOf) as Role[]);
        const changed = await ok('PATCH', `/v1/tokens/${user}`, { role });
        assert.deepEqual(changed.scopes, scopesOf[role]);
        roles[user] = role;
        await ended(user);
      });
    },
    async rotate(user) {
      await world.alone(async () => {
        const before = tokens[user];
        const grace = world.random.fraction() < 0.5 ? 0 : 600;
        const body =
          world.random.fraction() < 0.5
            ? await ok('POST', `/v1/tokens/${user}/rotate`, { grace })
            : (await world.call<{ token: string }>(user, 'POST', '/v1/me/rotate', { body: { grace } })).body;
        tokens[user] = String(body.token);
        secrets.add(tokens[user]);
        assert.notEqual(tokens[user], before);
        assert.equal((await asWith(before)).status, grace === 0 ? 401 : 200);
        if (grace === 0) {
          await ended(user);
        }
      });
    },
    async guest(_user, n) {
      const name = `guest-${n}`;
      const expiresAt = Date.now() + 3000;
      const { token } = await ok('POST', '/v1/tokens', { name, role: 'member', rooms: [], expiresAt });
      const guest = String(token);
      secrets.add(guest);
      const early = await asWith(guest);
      assert.ok(early.status === 200 || Date.now() >= expiresAt);
      await ok('GET', `/v1/tokens/${name}`);
      if (n % 2 === 0) {
        await ok('DELETE', `/v1/tokens/${name}`);
        const { status, body } = await asWith(guest);
        assert.deepEqual([status, (body as { reason?: string }).reason], [401, 'revoked']);
      } else {
        await eventually('the token of a guest expires', async () => (await asWith(guest)).status === 401);
        await ok('DELETE', `/v1/tokens/${name}`);
      }
    },
    async clients() {
      const body = await owner('GET', '/v1/tokens');
      const text = JSON.stringify([body.body, (await owner('GET', '/v1/tokens/ann')).body]);
      for (const secret of secrets) {
        assert.ok(!text.includes(secret), 'a token is shown once');
      }
    },
    async audit() {
      const { status, body } = await owner<{ items: { actor: string }[] }>('GET', '/v1/audit?limit=200');
      assert.equal(status, 200);
      assertClean(world, JSON.stringify(body), 'the audit log');
      assert.ok(body.items.some(({ actor }) => actor === 'app:owner'));
    },
    async say() {
      const [to, text] = [pick(['app:ann', 'app:cat']), words('owner')];
      const { body } = await owner<{ id: string; from: string; deliveries: { id: string }[] }>(
        'POST',
        '/v1/messages',
        { body: { to, text } },
      );
      world.note(body, 'owner', to, text, body.deliveries[0]?.id);
    },
    async routes(_user, n) {
      // None of them matches anything that is said.
      const rule = { from: 'mqtt:dev/never', to: ['app:cat'] };
      const id = `rule-${n}`;
      await ok('POST', '/v1/routes', { id, ...rule });
      await ok('GET', '/v1/routes');
      await ok('GET', `/v1/routes/${id}`);
      await ok('PUT', `/v1/routes/${id}`, rule);
      await ok('PATCH', `/v1/routes/${id}`, { enabled: false });
      await ok('POST', '/v1/route-test', { message: { from: 'mqtt:dev/never', text: words('trial') } });
      await ok('DELETE', `/v1/routes/${id}`);
    },
    async blocks(_user, n) {
      const pattern = `lxmf:${n.toString(16).padStart(32, '0')}`;
      await ok('PUT', `/v1/blocks/${pattern}`, { reason: words('reason') });
      await ok('GET', '/v1/blocks');
      await ok('GET', `/v1/blocks/${pattern}`);
      await ok('DELETE', `/v1/blocks/${pattern}`);
      await ok('PATCH', `/v1/peers/${pattern}`, { name: `peer ${n}`, trust: 'trusted' });
      await ok('GET', `/v1/peers/${pattern}`);
      await ok('PATCH', `/v1/peers/${pattern}`, { name: null, trust: null });
    },
    async roomReset(_user, n) {
      const name = `temporary-${n}`;
      await ok('PUT', `/v1/rooms/${name}`, { members: [] });
      await ok('PUT', `/v1/rooms/${name}/members/app:owner`);
      await ok('PATCH', `/v1/rooms/${name}`, { open: true });
      await ok('DELETE', `/v1/rooms/${name}/members/app:owner`);
      await ok('POST', `/v1/rooms/${name}/reset`);
      await ok('POST', '/v1/rooms', { name });
      await ok('DELETE', `/v1/rooms/${name}`);
    },
    async mesh(_user, n) {
      await ok('POST', '/v1/mesh/announce');
      await ok('GET', '/v1/mesh/blackhole');
      await ok('POST', '/v1/mesh/blackhole', { identity: hash, reason: words('reason') });
      await ok('DELETE', `/v1/mesh/blackhole/${hash}`, undefined, [204, 404]);
      await ok('DELETE', `/v1/mesh/paths?nextHop=${hash}`);
      await ok('DELETE', `/v1/mesh/paths/${hash}`, undefined, [204, 404]);
      const phrase = words('phrase');
      const name = `link-${n}`;
      const entry = { name, kind: 'tcp-server', host: '127.0.0.1', port: 0, access: { passphrase: phrase } };
      const made = await owner('POST', '/v1/mesh/interfaces', { body: entry });
      const path = `/v1/mesh/interfaces/${name}`;
      if (made.status !== 201) {
        delete (entry as { access?: unknown }).access;
        await ok('POST', '/v1/mesh/interfaces', entry);
      }
      const shown = await ok('GET', path);
      assertClean(world, JSON.stringify(shown), 'an interface');
      await ok('PATCH', path, { mode: 'gateway' });
      await ok('POST', `${path}/reload`);
      await ok('POST', `${path}/detach`);
      await ok('POST', `${path}/attach`);
      await ok('DELETE', path);
      await ok('POST', '/v1/mesh/interfaces', entry);
      await ok('POST', `${path}/reset`);
    },
    async nobodyThere() {
      await ok('POST', '/v1/mesh/probe', { destination: hash, timeout: 100 }, [503, 504]);
    },
    async settings() {
      const config = await ok('GET', '/v1/config');
      assertClean(world, JSON.stringify(config), 'the configuration');
      await ok('POST', '/v1/config/reload');
      await ok('GET', '/v1/log');
      await ok('PUT', '/v1/log', { level: 'trace' });
      await ok('GET', '/v1/status');
    },
    async backup() {
      const passphrase = words('passphrase');
      const { status, headers } = await owner('POST', '/v1/backup', { body: { passphrase, blobs: false } });
      assert.ok(status === 200 || status === 409, `${status} ${headers['content-type']}`);
    },
    async forbidden(user) {
      const path = pick([
        ...names.flatMap(name => [
          ['GET', `/v1/tokens/${name}`],
          ['PATCH', `/v1/tokens/${name}`, { role: 'owner' }],
          ['POST', `/v1/tokens/${name}/rotate`, {}],
          ['DELETE', `/v1/tokens/${name}`],
        ]),
        ['GET', '/v1/audit'],
        ['GET', '/v1/audit?actor=app:owner'],
        ['POST', '/v1/tokens', { name: 'mine', role: 'owner' }],
        ['PUT', '/v1/log', { level: 'silent' }],
        ['POST', '/v1/backup', { passphrase: words('phrase') }],
        ['POST', '/v1/rooms/plaza/reset'],
        ['DELETE', '/v1/blocks/lxmf:*'],
      ] as [string, string, object?][]);
      const [method, url, body] = path;
      const { status } = await world.call(user, method, url, body === undefined ? {} : { body });
      assert.equal(status, 403, `${user} ${method} ${url}`);
    },
  };
}

/** No secret and no word of anybody is in a text. */
export function assertClean(world: World, text: string, where: string): void {
  for (const secret of world.secrets) {
    assert.ok(!text.includes(secret), `${where} holds the secret ${secret}`);
  }
  const around = (at: number) => text.slice(Math.max(0, at - 300), at + 100);
  const found = /marker-[0-9a-f]{16}/.exec(text);
  if (found && where !== 'an interface' && where !== 'the configuration') {
    assert.fail(`${where} holds the words ${around(found.index)}`);
  }
  // The same in base64, at any of its three places.
  for (const shift of [0, 1, 2]) {
    const whole = Buffer.from(`${'-'.repeat(shift)}marker-`);
    const inner = whole
      .toString('base64')
      .slice(Math.ceil((shift * 8) / 6), Math.floor((whole.length * 8) / 6));
    const at = text.indexOf(inner);
    assert.ok(at < 0, `${where} holds base64 of words: ${around(at)}`);
  }
}
