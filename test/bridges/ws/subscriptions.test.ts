import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { currentAsyncapi } from '../../../tools/asyncapi.ts';
import { eventually, openGateway, type TestGateway } from '../gateway.ts';
import { assertDescribed, bearer, dial, type Frame, isAck, isError, isHello, isMessage } from './dial.ts';

const accepted = { kinds: ['message.accepted'] };
const isSubscribed = (frame: Frame) => frame.op === 'subscribed';
const isUnsubscribed = (frame: Frame) => frame.op === 'unsubscribed';

function poster(gateway: TestGateway, token: string) {
  return async (to: string, text: string, type = 'chat.message'): Promise<string> => {
    const { status, body } = await gateway.call(token, 'POST', '/v1/messages', { to, text, type });
    assert.equal(status, 201);
    return body.id;
  };
}

test('a subscription is answered before any event that it shows, and says when it takes the place of another', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  const post = poster(gateway, a);
  await post('app:b', 'waiting already');
  using socket = dial(gateway, bearer(b));
  socket.say({ op: 'hello' });
  const hello = await socket.until(isHello);
  socket.say({ op: 'subscribe', id: 's', filter: accepted });
  const answer = await socket.until(() => true);
  assert.deepEqual(answer, { op: 'subscribed', id: 's', cursor: hello.cursor });
  const event = await socket.until(isMessage);
  socket.say({ op: 'subscribe', id: 's', filter: { ...accepted, types: ['test.other'] } });
  const replaced = await socket.until(isSubscribed);
  assert.equal(replaced.replaced, true);
  assert.equal(gateway.desk.events.isAfter(event.cursor, replaced.cursor), false);
  await post('app:b', 'not wanted');
  await post('app:b', 'wanted', 'test.other');
  assert.equal((await socket.until(isMessage)).message.text, 'wanted');
});

test('what is not subscribed any longer is not shown, and is not marked as sent', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  const post = poster(gateway, a);
  using socket = dial(gateway, bearer(b));
  socket.say({ op: 'hello' });
  socket.say({ op: 'subscribe', id: 'chat', filter: { types: ['chat.message'] } });
  socket.say({ op: 'subscribe', id: 'alarm', filter: { types: ['alarm.fire'] } });
  await socket.until(isSubscribed);
  await post('app:b', 'one');
  await socket.until(isMessage);
  socket.say({ op: 'unsubscribe', id: 'chat' });
  const over = await socket.until(isUnsubscribed);
  assert.equal(over.id, 'chat');
  const quiet = await post('app:b', 'two');
  await post('app:b', 'three', 'alarm.fire');
  assert.equal((await socket.until(isMessage)).message.text, 'three');
  const { body } = await gateway.call(a, 'GET', `/v1/messages/${quiet}`);
  assert.equal(body.deliveries[0].state, 'queued');
});

test('while nothing is subscribed the stream stands still, and the next subscription goes on from there', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  const post = poster(gateway, a);
  using socket = dial(gateway, bearer(b));
  socket.say({ op: 'hello' });
  socket.say({ op: 'subscribe', id: 'first', filter: accepted });
  await post('app:b', 'one');
  const one = await socket.until(isMessage);
  socket.say({ op: 'unsubscribe', id: 'first' });
  await socket.until(isUnsubscribed);
  const two = await post('app:b', 'two');
  await post('app:b', 'three');
  // Whatever the hub would have pushed meanwhile lies before the answer to this.
  socket.say({ op: 'send', id: 'fence', message: { to: 'app:a', text: 'fence' } });
  const seen: Frame[] = [];
  await socket.until(frame => {
    seen.push(frame);
    return isAck(frame);
  });
  assert.deepEqual(seen.filter(isMessage), []);
  assert.equal((await gateway.call(a, 'GET', `/v1/messages/${two}`)).body.deliveries[0].state, 'queued');
  socket.say({ op: 'subscribe', id: 'second', filter: accepted });
  const again = await socket.until(isSubscribed);
  assert.equal(gateway.desk.events.isAfter(one.cursor, again.cursor), false);
  assert.equal((await socket.until(isMessage)).message.text, 'two');
  assert.equal((await socket.until(isMessage)).message.text, 'three');
  await eventually(
    async () => (await gateway.call(a, 'GET', `/v1/messages/${two}`)).body.deliveries[0].state,
    'sent',
  );
});

test('a subscription that is not there cannot be ended, and a filter that is wrong leaves the one before', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const writer = await gateway.client('writer', { scopes: ['messages:send'] });
  using socket = dial(gateway, bearer(a));
  socket.say({ op: 'hello' });
  socket.say({ op: 'unsubscribe', id: 'never' });
  const refused = await socket.until(isError);
  assert.deepEqual([refused.id, refused.problem.code], ['never', 'request/not-found']);
  socket.say({ op: 'subscribe', id: 's', filter: accepted });
  await socket.until(isSubscribed);
  socket.say({ op: 'subscribe', id: 's', filter: { kinds: [] } });
  assert.equal((await socket.until(isError)).id, 's');
  await poster(gateway, writer)('app:a', 'as before');
  assert.equal((await socket.until(isMessage)).message.text, 'as before');
});

test('subscriptions are answered in the order in which they were asked for, refusals too', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  using socket = dial(gateway, bearer(a));
  socket.say({ op: 'hello' });
  await socket.until(isHello);
  socket.say({ op: 'unsubscribe', id: 's' });
  socket.say({ op: 'subscribe', id: 's' });
  socket.say({ op: 'subscribe', id: 's', filter: { types: [] } });
  socket.say({ op: 'unsubscribe', id: 's' });
  const answers: string[] = [];
  while (answers.length < 4) {
    answers.push((await socket.until(({ id }) => id === 's')).op);
  }
  assert.deepEqual(answers, ['error', 'subscribed', 'error', 'unsubscribed']);
});

test('a place that was given back can be taken again', async () => {
  await using gateway = await openGateway({ ws: { subscriptions: 2 } });
  const a = await gateway.client('a');
  using socket = dial(gateway, bearer(a));
  socket.say({ op: 'hello' });
  for (const id of ['one', 'two', 'three']) {
    socket.say({ op: 'subscribe', id });
  }
  const full = await socket.until(isError);
  assert.deepEqual([full.id, full.problem.code], ['three', 'request/rate-limited']);
  socket.say({ op: 'unsubscribe', id: 'one' });
  socket.say({ op: 'subscribe', id: 'three' });
  await socket.until(isUnsubscribed);
  assert.equal((await socket.until(isSubscribed)).id, 'three');
});

/*
 * The types of messages are colours, and a filter shows some of them. Whatever is subscribed, replaced and ended while
 * messages pour in: what a client saw is what the filters show that were acknowledged around each event.
 */
const colours = ['red', 'green', 'blue'] as const;
const step = fc.record({
  id: fc.constantFrom('x', 'y'),
  colours: fc.option(fc.subarray([...colours], { minLength: 1 }), { nil: undefined }),
  posts: fc.array(fc.constantFrom(...colours), { maxLength: 8 }),
});

test('between two filters no event is lost and none comes twice, however fast they change', async () => {
  await using gateway = await openGateway({ ws: { slack: 2048 } });
  const a = await gateway.client('a');
  let turn = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 10 }), async steps => {
      turn += 1;
      const reader = await gateway.client(`reader-${turn}`);
      const post = poster(gateway, a);
      using socket = dial(gateway, bearer(reader));
      socket.say({ op: 'hello' });
      const frames: Frame[] = [await socket.until(isHello)];
      const posted: { id: string; colour: string }[] = [];
      const posting: Promise<void>[] = [];
      for (const { id, colours: wanted, posts } of steps) {
        socket.say(
          wanted === undefined
            ? { op: 'unsubscribe', id }
            : { op: 'subscribe', id, filter: { ...accepted, types: wanted.map(colour => `t.${colour}`) } },
        );
        for (const colour of posts) {
          posting.push(
            post(`app:reader-${turn}`, 'x'.repeat(500), `t.${colour}`).then(message => {
              posted.push({ id: message, colour });
            }),
          );
        }
        await new Promise(resolve => setImmediate(resolve));
      }
      await Promise.all(posting);
      // The last filter shows an end, which comes after all that was posted before it.
      socket.say({ op: 'subscribe', id: 'end', filter: { ...accepted, types: ['t.end'] } });
      await post(`app:reader-${turn}`, 'the end', 't.end');
      await socket.until(frame => {
        frames.push(frame);
        return isMessage(frame) && frame.message.type === 't.end';
      });
      const inOrder = (await gateway.call(reader, 'GET', '/v1/inbox?limit=200')).body.items.map(
        ({ message }: { message: { id: string } }) => message.id,
      );
      assert.equal(inOrder.length, posted.length + 1);
      assert.deepEqual(
        frames.filter(isMessage).map(({ message }) => message.id),
        expected(gateway, frames, steps),
      );
    }),
    { numRuns: 10, endOnFailure: true },
  );

  /** What the acknowledgements say must have come, from the events themselves. */
  function expected(
    hub: TestGateway,
    frames: Frame[],
    steps: readonly { id: string; colours?: readonly string[] | undefined }[],
  ) {
    const client = hub.desk.clients.find(`reader-${turn}`);
    assert.ok(client);
    const changes = frames.filter(frame => isSubscribed(frame) || isUnsubscribed(frame) || isError(frame));
    assert.equal(changes.length, steps.length + 1, 'each change is answered, in order');
    const filters = new Map<string, readonly string[]>();
    const shown: string[] = [];
    let next = 0;
    const apply = (change: Frame) => {
      if (isSubscribed(change)) {
        filters.set(change.id, next < steps.length ? (steps[next]?.colours ?? []) : ['end']);
      } else if (isUnsubscribed(change)) {
        filters.delete(change.id);
      }
    };
    for (let cursor: string = frames[0].cursor; ; ) {
      const page = hub.desk.events.read(client, cursor, 100);
      for (const { kind, message, cursor: at } of page.items) {
        // Filters count after the cursor of their acknowledgement.
        for (; next < changes.length; next++) {
          if (!isError(changes[next]) && !hub.desk.events.isAfter(at, changes[next].cursor)) {
            break;
          }
          apply(changes[next]);
        }
        const colour = message?.type.slice(2) ?? '';
        if (kind === 'message.accepted' && filters.values().some(wanted => wanted.includes(colour))) {
          shown.push(message?.id ?? '');
        }
      }
      if (page.cursor === cursor) {
        return shown;
      }
      cursor = page.cursor;
    }
  }
});

test('a session with every kind of frame is what the AsyncAPI document says, both ways', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  using socket = dial(gateway);
  const said = new Set<string>();
  const heard = new Set<string>();
  const say = (frame: Frame) => {
    assertDescribed(frame, 'client');
    said.add(`ws.client.${frame.op}`);
    socket.say(frame);
  };
  const until = (check: (frame: Frame) => boolean) =>
    socket.until(frame => {
      // What the hub says is checked as it comes.
      heard.add(`ws.hub.${frame.op}`);
      return check(frame);
    });
  say({ op: 'hello', token: a, form: 'json' });
  await until(isHello);
  say({ op: 'subscribe', id: 'all' });
  say({
    op: 'subscribe',
    id: 'some',
    filter: { kinds: ['message.accepted'], peers: ['app:a'], rooms: ['hub'] },
  });
  say({ op: 'send', id: 'one', message: { to: 'app:a', text: 'hi', data: { n: 1 }, priority: 'high' } });
  say({ op: 'send', id: 'one', message: { to: 'app:a', text: 'hi', data: { n: 1 }, priority: 'high' } });
  await until(frame => isAck(frame) && frame.replayed === true);
  say({ op: 'send', id: 'two', envelope: { to: 'app:a', payload: { text: 'hello' } } });
  const { cursor } = await until(frame => isMessage(frame) && frame.message.text === 'hello');
  say({ op: 'seen', cursor });
  say({ op: 'send', id: 'three', message: { to: 'app:nobody', text: 'x' } });
  await until(isError);
  await until(frame => frame.kind === 'delivery.changed' && frame.delivery.state === 'delivered');
  say({ op: 'unsubscribe', id: 'some' });
  await until(isUnsubscribed);
  const { channels } = JSON.parse(currentAsyncapi());
  assert.deepEqual([...said, ...heard].sort(), Object.keys(channels.ws.messages).sort());
});

test('what a document of AsyncAPI refuses of a client the hub refuses too', () => {
  for (const frame of [
    { op: 'unsubscribe' },
    { op: 'unsubscribe', id: 'x', filter: {} },
    { op: 'send', id: 'x' },
    { op: 'send', id: 'x', message: { to: 'app:a' }, envelope: { to: 'app:a' } },
    { op: 'subscribe', id: 'x', filter: { kinds: ['weather'] } },
  ]) {
    assert.throws(() => assertDescribed(frame, 'client'), JSON.stringify(frame));
  }
});
