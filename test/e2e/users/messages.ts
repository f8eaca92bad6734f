import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { eventually } from '../clients.ts';
import { checkEvent } from './things.ts';
import { readEvents, type Said, scopesOf, type User, type World } from './world.ts';

type Act = (user: User, n: number) => Promise<void>;

interface Sent {
  readonly id: string;
  readonly from: string;
  readonly deliveries: readonly { readonly id: string }[];
}

/** What users do with messages, deliveries and blobs, their own and those of others. */
export function messageActs(world: World): Readonly<Record<string, Act>> {
  const { pick, call, random, said, blobs, carriers, maySee, holds, byId, isOwnBusiness, expect, words } =
    world;
  const address = `lxmf:${'ab'.repeat(16)}`;
  const readers = 'messages:read';
  const places = () => [
    'app:ann',
    'app:ben',
    'app:cat',
    address,
    ...[...world.rooms.keys()].map(name => `room:${name}`),
  ];

  return {
    async post(user, n) {
      const to = pick(places());
      const mine = blobs.filter(({ by }) => by === user);
      const attached = mine.length > 0 && random.fraction() < 0.3 ? pick(mine) : undefined;
      const key = random.fraction() < 0.3 ? { 'idempotency-key': world.key(user) } : {};
      const sent = {
        to,
        text: words(`${user} says`),
        ...(n % 5 === 0 && { title: words('title'), data: { secret: words('data') } }),
        ...(n % 7 === 0 && {
          attachments: [{ name: 'inline', base64: Buffer.from(words('inline')).toString('base64') }],
        }),
        ...(attached && { attachments: [{ name: 'a', sha256: attached.sha256 }] }),
      };
      const { status, body } = await call<Sent>(user, 'POST', '/v1/messages', { headers: key, body: sent });
      expect(user, 'messages:send', status, 201, `posted to ${to}: ${JSON.stringify(body)}`);
      if (status === 201) {
        const one = world.note(body, user, to, JSON.stringify(sent), body.deliveries[0]?.id);
        if (attached) {
          carriers.getOrInsertComputed(attached.sha256, () => []).push(one);
        }
      }
    },
    async pose(user) {
      const other = pick((['ann', 'ben', 'cat'] as const).filter(name => name !== user));
      const { status } = await call(user, 'POST', '/v1/messages', {
        body: { to: 'app:cat', text: words('pose'), from: `app:${other}` },
      });
      expect(user, 'messages:send', status, 400, 'named a sender');
    },
    async get(user) {
      const one = pick(said);
      const { status } = await call(user, 'GET', `/v1/messages/${one.id}`);
      expect(user, readers, status, maySee(user, one) ? 200 : 404, `read ${JSON.stringify(one)}`);
    },
    async list(user) {
      const query = pick([
        '',
        '?peer=app:ann',
        '?peer=app:cat',
        '?type=chat.message',
        '?room=plaza',
        '?limit=200',
      ]);
      const { status, body } = await call<{ items: { id: string }[] }>(user, 'GET', `/v1/messages${query}`);
      expect(user, readers, status, 200, `listed ${query}`);
      for (const { id } of body.items ?? []) {
        isOwnBusiness(user, id, `/v1/messages${query}`);
      }
    },
    async conversations(user) {
      const { status, body } = await call<{ items: { last: { id: string } }[] }>(
        user,
        'GET',
        '/v1/conversations',
      );
      expect(user, readers, status, 200, 'conversations');
      for (const { last } of body.items ?? []) {
        isOwnBusiness(user, last.id, 'conversations');
      }
    },
    async inbox(user) {
      const form = pick(['application/json', 'text/plain', 'application/vnd.klp+json']);
      const { status, body } = await call<{ items: { message: { id: string } }[] }>(
        user,
        'GET',
        '/v1/inbox',
        {
          headers: { accept: form },
        },
      );
      expect(user, readers, status, 200, 'inbox');
      for (const { message } of (form === 'application/json' ? body.items : undefined) ?? []) {
        isOwnBusiness(user, message.id, 'inbox');
      }
    },
    async events(user) {
      // From the beginning on, or from later: also what was said to others, and under rights of before.
      const after = random.fraction() < 0.5 ? world.cursors[0] : pick(world.cursors);
      const abort = new AbortController();
      const response = await fetch(`${world.daemon.ready.http}/v1/events?after=${after}`, {
        headers: { authorization: `Bearer ${world.tokens[user]}`, accept: 'text/event-stream' },
        signal: abort.signal,
      });
      expect(user, readers, response.status, 200, 'events');
      if (response.status === 200) {
        world.exercised.add('getEvents');
        for (const event of await readEvents(response)) {
          checkEvent(world, user, scopesOf[world.roles[user]], event);
          world.cursors.push(String(event.cursor));
        }
      }
      abort.abort();
    },
    async deliveries(user) {
      const { status, body } = await call<{ items: { message: { id: string } }[] }>(
        user,
        'GET',
        '/v1/deliveries',
      );
      expect(user, readers, status, 200, 'deliveries');
      for (const { message } of body.items ?? []) {
        const { from = user } = byId.get(message.id) ?? {};
        assert.equal(from, user, `${user} saw deliveries of ${from}`);
      }
    },
    async cancel(user) {
      const one = pick(said);
      const { status } = await call(user, 'DELETE', `/v1/messages/${one.id}`);
      expect(
        user,
        'messages:send',
        status,
        one.from === user ? 200 : maySee(user, one) ? 403 : 404,
        `cancelled ${JSON.stringify(one)}`,
      );
    },
    async retry(user) {
      const there = said.filter(({ delivery }) => delivery !== undefined);
      const mine = there.filter(({ from }) => from === user);
      // Nobody answers there: what waits is what can be sent again.
      const waiting = mine.filter(({ to }) => to === address);
      const one = pick([waiting, mine].find(list => list.length > 0 && random.fraction() < 0.5) ?? there);
      const method = pick(['POST', 'DELETE']);
      const path = `/v1/deliveries/${one.delivery}${method === 'POST' ? '/retry' : ''}`;
      const { status } = await call(user, method, path);
      expect(user, 'messages:send', status, one.from === user ? [200, 409] : 404, `${method} ${path}`);
    },
    async edit(user) {
      const one = pick(said);
      const type = pick(['chat.edit', 'chat.redaction', 'chat.message']);
      const text = words('edit');
      const { status, body } = await call<Sent>(user, 'POST', '/v1/messages', {
        body: { to: one.to, type, text, inReplyTo: one.id },
      });
      const isThere = !one.to.startsWith('room:') || world.rooms.has(one.to.slice(5));
      expect(
        user,
        'messages:send',
        status,
        maySee(user, one) && isThere ? 201 : 404,
        `edited ${JSON.stringify(one)}: ${JSON.stringify(body)}`,
      );
      if (status === 201) {
        world.note(body, user, one.to, text, body.deliveries[0]?.id, {
          of: one,
          isChange: type !== 'chat.message',
        });
      }
    },
    async blob(user) {
      const bytes = words(`file of ${user}`);
      const { status } = await call(user, 'POST', '/v1/blobs', {
        raw: Buffer.from(bytes),
        headers: { 'content-type': 'application/octet-stream' },
      });
      expect(user, 'messages:send', status, 201, 'put a blob');
      if (status === 201) {
        blobs.push({ sha256: createHash('sha256').update(bytes).digest('hex'), by: user });
      }
    },
    async readBlob(user) {
      if (blobs.length === 0) {
        return;
      }
      const one = pick(blobs);
      // What another is saying just now may be on disk before the model has heard of it.
      const seen = () =>
        one.by === user || (carriers.get(one.sha256) ?? []).some(message => maySee(user, message));
      const check = async (taken: boolean, before: boolean, what: string) => {
        assert.ok(taken || !before, `${user} could not ${what} what it may see of ${one.by}`);
        if (taken) {
          await eventually(`${user} may ${what} a file of ${one.by}`, seen);
        }
      };
      if (holds(user, readers)) {
        const before = seen();
        const { status } = await call(user, 'GET', `/v1/blobs/${one.sha256}`);
        assert.ok(status === 200 || status === 404);
        await check(status === 200, before, 'read');
      }
      if (holds(user, 'messages:send')) {
        const before = seen();
        const { status, body } = await call<Sent>(user, 'POST', '/v1/messages', {
          body: { to: 'app:cat', attachments: [{ name: 'b', sha256: one.sha256 }] },
        });
        assert.ok([201, 404].includes(status));
        await check(status === 201, before, 'attach');
        if (status === 201) {
          const message: Said = world.note(body, user, 'app:cat', '');
          carriers.getOrInsertComputed(one.sha256, () => []).push(message);
        }
      }
    },
    async upload(user) {
      const bytes = Buffer.from(words(`upload of ${user}`));
      const { status, body } = await call<{ id: string }>(user, 'POST', '/v1/uploads', {
        headers: { 'upload-length': String(bytes.length), 'upload-metadata': 'filename YQ==' },
        ...(random.fraction() < 0.5 && {
          raw: bytes.subarray(0, 5),
          headers: {
            'upload-length': String(bytes.length),
            'content-type': 'application/offset+octet-stream',
          },
        }),
      });
      // Others of this user may have become too many.
      expect(user, 'messages:send', status, [201, 429], `began an upload: ${JSON.stringify(body)}`);
      if (status === 201) {
        world.uploads.push({ id: body.id, by: user });
      }
    },
    async wholeUpload(user) {
      const bytes = Buffer.from(words('whole'));
      const { status, body } = await call<{ id: string }>(user, 'POST', '/v1/uploads', {
        headers: { 'upload-length': String(bytes.length) },
      });
      expect(user, 'messages:send', status, [201, 429], 'began an upload');
      if (status === 201) {
        const headers = { 'content-type': 'application/offset+octet-stream', 'upload-offset': '0' };
        const path = `/v1/uploads/${body.id}`;
        assert.equal((await call(user, 'PATCH', path, { raw: bytes, headers })).status, 204);
        assert.equal((await call(user, 'GET', path)).status, 200);
        assert.equal((await call(user, 'DELETE', path)).status, 204);
      } else {
        // Room for the next.
        for (const one of world.uploads.filter(({ by, gone }) => by === user && gone === undefined)) {
          one.gone = true;
          await call(user, 'DELETE', `/v1/uploads/${one.id}`);
        }
      }
    },
    async useUpload(user) {
      const there = world.uploads.filter(one => one.gone === undefined);
      if (there.length === 0) {
        return;
      }
      const one = pick(there);
      const path = `/v1/uploads/${one.id}`;
      const isMine = one.by === user;
      const check = (status: number, wanted: readonly number[], what: string) =>
        expect(
          user,
          'messages:send',
          status,
          isMine ? [...wanted, 404] : 404,
          `${what} an upload of ${one.by}`,
        );
      switch (pick(['look', 'add', 'drop', 'join', 'options'])) {
        case 'look':
          check((await call(user, 'GET', path)).status, [200], 'looked at');
          break;
        case 'add': {
          const headers = {
            'content-type': 'application/offset+octet-stream',
            'upload-offset': pick(['0', '5']),
          };
          const { status } = await call(user, 'PATCH', path, {
            raw: Buffer.from(words('x').slice(0, 12)),
            headers,
          });
          check(status, [204, 409, 413], 'added to');
          break;
        }
        case 'drop': {
          const { status } = await call(user, 'DELETE', path);
          check(status, [204], 'dropped');
          if (status === 204) {
            one.gone = true;
          }
          break;
        }
        case 'join': {
          const headers = { 'upload-concat': `final;${path}` };
          check((await call(user, 'POST', '/v1/uploads', { headers })).status, [400], 'joined');
          break;
        }
        default:
          assert.equal((await call(user, 'OPTIONS', '/v1/uploads')).status, 204);
      }
    },
  };
}
