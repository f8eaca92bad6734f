import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBridge, openTestSwitch } from './fixture.ts';

const peer = `lxmf:${'a'.repeat(32)}`;

test('the inbox row of an event is found by halves, whatever lies between', async () => {
  await using hub = await openTestSwitch({ bridges: [memoryBridge()] });
  await hub.client('other');
  const { read } = hub.store;
  for (let n = 0; n < 40; n++) {
    await hub.desk.messages.post(hub.owner, { to: n % 3 === 0 ? 'app:owner' : 'app:other', text: `${n}` });
  }
  const events = read.eventsAfter(0, 1000);
  const rows = read
    .inboxAfter({ recipient: 'app:owner', seq: 0, now: 0, limit: 1000, unreadOnly: false })
    .map(({ seq, message }) => ({
      seq,
      event: events.find(one => one.kind === 'message.accepted' && one.message === message?.id)?.seq ?? 0,
    }));
  assert.equal(rows.length, 14);
  for (let event = 0; event <= read.newestEvent() + 1; event++) {
    const expected = rows.findLast(row => row.event <= event)?.seq ?? 0;
    assert.equal(read.inboxRowAt('app:owner', event), expected, `event ${event}`);
  }
});

test('what was said with a peer is listed from both sides once, newest first, page by page', async () => {
  const lxmf = memoryBridge();
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  await lxmf.port;
  const { client } = await hub.client('sensor');
  for (let n = 0; n < 30; n++) {
    const type = n % 5 === 0 ? 'sensor.reading' : 'chat.message';
    if (n % 2 === 0) {
      await lxmf.say({
        remoteId: `${n}`,
        from: peer,
        to: n % 4 === 0 ? 'app:owner' : 'app:sensor',
        text: `${n}`,
        type,
      });
    } else {
      await hub.desk.messages.post(n % 3 === 0 ? client : hub.owner, { to: peer, text: `${n}`, type });
    }
    await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'beside' });
  }
  const walk = (query: Parameters<typeof hub.desk.messages.list>[1], whose = hub.owner) => {
    const texts: string[] = [];
    let after: string | null | undefined;
    do {
      const page = hub.desk.messages.list(whose, { ...query, ...(after && { after }) });
      texts.push(...page.items.map(({ text }) => text));
      after = page.cursor;
    } while (after !== null);
    return texts;
  };
  const all = Array.from({ length: 30 }, (_, n) => 29 - n);
  assert.deepEqual(walk({ peer, limit: 7 }), all.map(String));
  const readings = all.filter(n => n % 5 === 0);
  assert.deepEqual(walk({ peer, type: 'sensor.reading', limit: 2 }), readings.map(String));
  assert.deepEqual(walk({ peer, type: 'event.nothing' }), []);
  // An app sees what it said and what came for it.
  const its = all.filter(n => (n % 2 === 0 ? n % 4 !== 0 : n % 3 === 0));
  assert.deepEqual(walk({ peer, limit: 3 }, client), its.map(String));
});

test('conversations are walked to their end in bounded steps, also by who may see little of what there is', async () => {
  const lxmf = memoryBridge();
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  await lxmf.port;
  const { client } = await hub.client('quiet');
  await hub.desk.messages.post(client, { to: peer, text: 'long ago' });
  await Promise.all(
    Array.from({ length: 5000 }, (_, n) =>
      hub.desk.messages.post(hub.owner, { to: 'app:owner', text: `${n}` }),
    ),
  );
  const found: string[] = [];
  let pages = 0;
  let after: string | null | undefined;
  do {
    const page = hub.desk.messages.conversations(client, after ? { after } : {});
    found.push(...page.items.map(({ address }) => address));
    after = page.cursor;
    pages += 1;
  } while (after !== null);
  assert.deepEqual(found, [peer]);
  assert.ok(pages > 1 && pages < 5, `${pages} pages`);
});
