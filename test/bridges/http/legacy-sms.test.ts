import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, openGateway, type TestGateway } from '../gateway.ts';

const numbers = { '+4915112345': 'app:bob', '+4915167890': 'app:eve', '112': 'room:alerts' };
const open = () =>
  openGateway({ rooms: { alerts: { members: ['app:bob', 'app:eve'] } }, http: { sms: { numbers } } });

async function ask(gateway: TestGateway, path: string, init: RequestInit = {}) {
  const answer = await fetch(new URL(path, gateway.url), init);
  const text = await answer.text();
  const isJson = answer.headers.get('content-type')?.includes('json');
  return {
    status: answer.status,
    headers: answer.headers,
    text,
    body: isJson ? JSON.parse(text) : undefined,
  };
}

async function textsOf(gateway: TestGateway, token: string): Promise<string[]> {
  const { body } = await gateway.call(token, 'GET', '/v1/inbox?limit=200');
  return body.items.map(({ message }: { message: { text: string } }) => message.text);
}

test('an SMS for several goes to all of them or, where one number is nobody, to none', async () => {
  await using gateway = await open();
  const bob = await gateway.client('bob');
  const eve = await gateway.client('eve');
  const token = await gateway.client('alarm');
  const sms = (to: string, more = '') =>
    ask(gateway, `/cgi-bin/sendsms?username=a&password=${token}&to=${to}&text=x${more}`);
  assert.equal((await sms('4915112345+4915167890')).status, 202);
  assert.match((await sms('4915112345,999')).text, /^Bad request: .*number 999/);
  // A good address of nobody is found out when it is accepted, after the first one was looked at.
  assert.equal((await sms('4915112345,app:nobody')).status, 400);
  assert.deepEqual([await textsOf(gateway, bob), await textsOf(gateway, eve)], [['x'], ['x']]);
  for (const more of ['&coding=1', '&coding=2', '&udh=%05', '&charset=latin1']) {
    assert.equal((await sms('4915112345', more)).status, 400, more);
  }
  assert.equal((await sms('004915112345', '&coding=2&charset=UTF-8&priority=3&validity=60')).status, 202);
  const { body } = await gateway.call(bob, 'GET', '/v1/inbox?limit=200');
  const last = body.items.at(-1).message;
  assert.equal(last.priority, 'critical');
  assert.ok(Math.abs(last.expiresAt - last.acceptedAt - 3_600_000) < 60_000);
});

test('a program for SMS Gateway for Android sends, asks how far it got and calls it back', async () => {
  await using gateway = await open();
  const bob = await gateway.client('bob');
  await gateway.client('eve');
  const token = await gateway.client('alarm');
  const call = (method: string, path: string, body?: unknown, password = token) =>
    ask(gateway, `/3rdparty/v1${path}`, {
      method,
      headers: {
        authorization: `Basic ${Buffer.from(`me:${password}`).toString('base64')}`,
        'content-type': 'application/json',
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  const order = {
    id: 'order-1',
    phoneNumbers: ['+4915112345', '112'],
    textMessage: { text: 'the cellar is full' },
    priority: 100,
    ttl: 60,
    simNumber: 1,
    withDeliveryReport: true,
  };
  const sent = await call('POST', '/messages?skipPhoneValidation=true', order);
  assert.equal(sent.status, 202, sent.text);
  assert.equal(sent.headers.get('location'), '/3rdparty/v1/messages/order-1');
  assert.deepEqual(sent.body.recipients, [
    { phoneNumber: '+4915112345', state: 'Pending', error: null },
    { phoneNumber: '112', state: 'Pending', error: null },
  ]);
  assert.equal((await call('POST', '/messages', order)).body.id, 'order-1', 'a repeat is the same');
  assert.equal((await call('POST', '/messages', { ...order, ttl: 61 })).status, 409);
  const cursor = (await gateway.call(bob, 'GET', '/v1/inbox')).body.cursor;
  const states = async () =>
    (await call('GET', '/messages/order-1')).body.recipients
      .map(({ state }: { state: string }) => state)
      .join();
  // One of the room has not looked.
  await eventually(states, 'Sent,Pending');
  await gateway.call(bob, 'GET', `/v1/inbox?after=${cursor}`);
  await eventually(states, 'Delivered,Pending');
  const back = await call('DELETE', '/messages/order-1');
  assert.equal(back.status, 200);
  assert.equal(await states(), 'Delivered,Delivered', 'to bob it was, to the other it was called back');
  const picture = await call('POST', '/message', {
    phoneNumbers: ['+4915112345'],
    mmsMessage: {
      subject: 'cellar',
      text: 'see',
      attachments: [{ contentType: 'image/png', name: 'a.png', data: 'iVBORw==' }],
    },
  });
  assert.equal(picture.status, 202, picture.text);
  assert.equal((await call('GET', `/message/${picture.body.id}`)).body.state, 'Pending');
  const { body: inbox } = await gateway.call(bob, 'GET', '/v1/inbox');
  const last = inbox.items.at(-1).message;
  assert.deepEqual([last.title, last.text, last.attachments[0].mediaType], ['cellar', 'see', 'image/png']);

  const refused = [
    [{ phoneNumbers: ['+999'], message: 'x' }, 400, /number \+999/],
    [{ phoneNumbers: [], message: 'x' }, 400, /phoneNumbers/],
    [{ phoneNumbers: ['112'] }, 400, /exactly one/],
    [{ phoneNumbers: ['112'], message: 'x', textMessage: { text: 'y' } }, 400, /exactly one/],
    [{ phoneNumbers: ['112'], message: 'x', ttl: 1, validUntil: '2090-01-01T00:00:00Z' }, 400, /ttl/],
    [{ phoneNumbers: ['112'], message: 'x', scheduleAt: '2090-01-01T00:00:00Z' }, 400, /at once/],
    [{ phoneNumbers: ['112'], message: 'x', isEncrypted: true }, 400, /isEncrypted/],
    [{ phoneNumbers: ['112'], dataMessage: { data: 'eA==', port: 1 } }, 400, /data messages/],
    [[], 400, /object/],
  ] as const;
  for (const [body, status, words] of refused) {
    const answer = await call('POST', '/messages', body);
    assert.equal(answer.status, status, JSON.stringify(body));
    assert.match(answer.body.message, words);
  }
  assert.equal((await call('GET', '/messages/nothing')).status, 404);
  assert.equal((await call('GET', '/messages/order-1', undefined, 'wrong')).status, 401);
  const other = await gateway.client('other');
  assert.equal((await call('GET', '/messages/order-1', undefined, other)).status, 404);
  assert.equal((await call('GET', '/health')).body.status, 'pass');
  assert.equal((await call('GET', '/devices')).body.length, 1);
});

test('a program for playSMS sends and asks how far it got', async () => {
  await using gateway = await open();
  const bob = await gateway.client('bob');
  const token = await gateway.client('alarm');
  const call = async (query: string) => {
    const answer = await ask(gateway, `/index.php?app=ws&u=me&${query}`);
    assert.equal(answer.status, 200);
    return answer.body;
  };
  const { data, error_string } = await call(`h=${token}&op=pv&to=4915112345,112&msg=test+only`);
  assert.equal(error_string, null);
  assert.deepEqual(
    data.map(({ status, error, to }: Record<string, string>) => [status, error, to]),
    [
      ['OK', '0', '4915112345'],
      ['OK', '0', '112'],
    ],
  );
  assert.deepEqual((await textsOf(gateway, bob)).sort(), ['test only', 'test only']);
  const status = async () => {
    const [one] = (await call(`h=${token}&op=ds&smslog_id=${data[0].smslog_id}`)).data;
    return [one.status, one.dst, one.msg].join();
  };
  await eventually(status, '1,+4915112345,test only');
  assert.equal((await call(`h=${token}&op=ds&queue=${data[0].queue}`)).data.length, 2);
  for (const [query, error] of [
    ['h=wrong&op=pv&to=112&msg=x', '100'],
    ['op=pv&to=112&msg=x', '100'],
    [`h=${token}&op=pv&to=&msg=x`, '201'],
    [`h=${token}&op=pv&to=112&msg=`, '201'],
    [`h=${token}&op=pv&to=999&msg=x`, '200'],
    [`h=${token}&op=inject&to=112&msg=x`, '101'],
    [`h=${token}&op=pv&to=112&msg=x&format=xml`, '101'],
    [`h=${token}&op=pv&to=112&msg=x&schedule=2090-01-01`, '101'],
    [`h=${token}&op=ds&queue=nothing`, '400'],
  ]) {
    const answer = await call(String(query));
    assert.deepEqual([answer.status, answer.error], ['ERR', error], String(query));
  }
});

test('a file of an MMS has a name without folders and a media type, or is refused', async () => {
  await using gateway = await open();
  const bob = await gateway.client('bob');
  await gateway.client('eve');
  const token = await gateway.client('alarm');
  const send = (name: string | null, contentType: string) =>
    ask(gateway, '/3rdparty/v1/messages', {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        phoneNumbers: ['+4915112345'],
        mmsMessage: { text: 'x', attachments: [{ name, contentType, data: 'AAAA' }] },
      }),
    });
  for (const [name, type] of [
    ['../../etc/passwd', 'text/plain'],
    ['a\u0000b', 'text/plain'],
    ['a', 'x\r\nset-cookie: a=b'],
    ['a', 'é'],
  ] as const) {
    const { status, text } = await send(name, type);
    assert.equal(status, 400, text);
    assert.match(text, /mmsMessage\/attachments\/0\//);
  }
  assert.equal((await send(null, 'image/jpeg')).status, 202);
  const { body } = await gateway.call(bob, 'GET', '/v1/inbox');
  assert.deepEqual(
    body.items.map(({ message }: { message: { attachments: { name: string }[] } }) =>
      message.attachments.map(({ name }) => name),
    ),
    [['attachment-1']],
  );
});
