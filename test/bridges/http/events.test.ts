import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventSchema } from '../../../src/bridges/schema.ts';
import { foreign, openGateway, type TestGateway } from '../gateway.ts';

interface Frame {
  readonly event?: string;
  readonly id?: string;
  readonly data?: ReturnType<typeof eventSchema.parse>;
}

/** Reads a stream of Server-Sent Events; every event is checked against its schema. */
async function* listen(gateway: TestGateway, token: string, headers = {}, query = ''): AsyncGenerator<Frame> {
  using stop = {
    controller: new AbortController(),
    [Symbol.dispose]() {
      this.controller.abort();
    },
  };
  const answer = await fetch(`${gateway.url}/v1/events${query}`, {
    headers: { authorization: `Bearer ${token}`, ...headers },
    signal: stop.controller.signal,
  });
  assert.equal(answer.status, 200, await (answer.ok ? '' : answer.text()));
  assert.match(answer.headers.get('content-type') ?? '', /^text\/event-stream/);
  assert.equal(answer.headers.get('x-accel-buffering'), 'no');
  assert.equal(answer.headers.get('cache-control'), 'no-store');
  let rest = '';
  for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
    const frames = (rest + chunk).split('\n\n');
    rest = frames.pop() ?? '';
    for (const frame of frames) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(frame)?.[1];
      const data = field('data');
      yield {
        ...(field('event') && { event: field('event')! }),
        ...(field('id') && { id: field('id')! }),
        ...(data && { data: eventSchema.parse(JSON.parse(data)) }),
      };
    }
  }
}

/** The next `count` messages accepted, as text and id of the event. */
async function messages(
  frames: AsyncGenerator<Frame>,
  count: number,
): Promise<{ text: string; id: string }[]> {
  const found: { text: string; id: string }[] = [];
  while (found.length < count) {
    const { value, done } = await frames.next();
    assert.equal(done, false, 'the stream ended early');
    if (value?.event === 'message.accepted') {
      assert.equal(value.data?.cursor, value.id);
      found.push({ text: value.data?.message?.text ?? '', id: value.id ?? '' });
    }
  }
  return found;
}

test('events come as they happen, and a break is resumed from the store by Last-Event-ID', async () => {
  await using gateway = await openGateway();
  const [a, b] = await Promise.all(['a', 'b'].map(name => gateway.client(name)));
  const send = (text: string) => gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text });
  await send('before');
  const first = listen(gateway, b!);
  const opening = await first.next();
  assert.equal(typeof opening.value?.id, 'string', 'there is a place to resume from at once');
  await send('one');
  const [one] = await messages(first, 1);
  assert.equal(one?.text, 'one');
  await first.return(undefined);
  await send('two');
  await send('three');
  const second = listen(gateway, b!, { 'last-event-id': one?.id });
  assert.deepEqual(
    (await messages(second, 2)).map(({ text }) => text),
    ['two', 'three'],
  );
  await second.return(undefined);
  const third = listen(gateway, b!, {}, `?after=${opening.value?.id}`);
  assert.deepEqual(
    (await messages(third, 3)).map(({ text }) => text),
    ['one', 'two', 'three'],
  );
  await third.return(undefined);
});

test('the sender sees its deliveries change, and what is pushed is sent', async () => {
  await using gateway = await openGateway();
  const [a, b] = await Promise.all(['a', 'b'].map(name => gateway.client(name)));
  const sender = listen(gateway, a!);
  const receiver = listen(gateway, b!);
  await Promise.all([sender.next(), receiver.next()]);
  const sent = await gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text: 'x', correlation: 'mine' });
  await messages(receiver, 1);
  // The receiver asks for more, so what it had is taken.
  const more = receiver.next();
  for await (const { data } of sender) {
    if (data?.kind === 'delivery.changed' && data.delivery?.state === 'sent') {
      assert.equal(data.delivery.message, sent.body.id);
      assert.equal(data.delivery.correlation, 'mine');
      break;
    }
  }
  await gateway.listener.close();
  await more;
});

test('nobody sees events of messages between others', async () => {
  await using gateway = await openGateway();
  const [a, , c] = await Promise.all(['a', 'b', 'c'].map(name => gateway.client(name)));
  const frames = listen(gateway, c!);
  await frames.next();
  await gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text: 'private' });
  await gateway.call(a, 'POST', '/v1/messages', { to: 'app:c', text: 'for c' });
  for await (const { data } of frames) {
    assert.doesNotMatch(JSON.stringify(data ?? ''), /private|app:b/);
    if (data?.message?.text === 'for c') {
      break;
    }
  }
});

test('a stream ends when its token is revoked and when the gateway stops', async () => {
  await using gateway = await openGateway();
  const [a, b] = await Promise.all(['a', 'b'].map(name => gateway.client(name)));
  const [revoked, stopped] = [listen(gateway, a!), listen(gateway, b!)];
  await Promise.all([revoked.next(), stopped.next()]);
  await gateway.desk.clients.revoke('a');
  while (!(await revoked.next()).done) {}
  await gateway.listener.close();
  while (!(await stopped.next()).done) {}
});

test('streams that were left behind do not count', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  for (let i = 0; i < 40; i++) {
    const frames = listen(gateway, a);
    await frames.next();
    await frames.return(undefined);
  }
});

test('a cursor that is expired or means nothing is a problem before the stream begins', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const expired = await gateway.call(a, 'GET', `/v1/events?after=${foreign(gateway.desk.events.cursor)}`);
  assert.equal(expired.status, 410);
  assert.equal((await gateway.call(a, 'GET', '/v1/events?after=nonsense')).status, 400);
  const wrong = await gateway.call(a, 'GET', '/v1/events', undefined, { headers: { 'last-event-id': 'x' } });
  assert.equal(wrong.status, 400);
  assert.equal(wrong.body.errors[0].pointer, '/header/last-event-id');
});
