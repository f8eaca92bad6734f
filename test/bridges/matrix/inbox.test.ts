import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openBook } from '../../../src/bridges/matrix/book.ts';
import { matrixLimits } from '../../../src/bridges/matrix/config.ts';
import { type RoomEvent, readEvent } from '../../../src/bridges/matrix/events.ts';
import { createInbox } from '../../../src/bridges/matrix/inbox.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { GatewayError, isGatewayError } from '../../../src/lib/errors.ts';
import { silentLog } from '../../../src/lib/log.ts';

const parts = { clock: systemClock, log: silentLog };

function event(id: string, room = '!r'): RoomEvent {
  return readEvent({
    event_id: `$${id}`,
    room_id: room,
    type: 'm.room.message',
    sender: '@a:b',
    content: {},
  })!;
}

/** An inbox on a file that several of them open one after the other. */
function workshop() {
  const dir = mkdtempSync(join(tmpdir(), 'kos-inbox-'));
  const file = join(dir, 'matrix.db');
  return {
    file,
    dir,
    open() {
      const book = openBook(file, parts);
      const counters = new Counters();
      return { book, counters, inbox: createInbox({ ...parts, counters, book }) };
    },
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** Works through an inbox until it is empty; gives the ids in their order. */
async function workOff(inbox: ReturnType<typeof createInbox>): Promise<string[]> {
  const taken: string[] = [];
  const stop = new AbortController();
  const done = inbox.run(async ({ id }) => void taken.push(id), stop.signal);
  while (inbox.size > 0) {
    await systemClock.sleep(2);
  }
  stop.abort();
  await done;
  return taken;
}

test('while nobody works, what is offered is on disk, and the next process takes it in its order', async () => {
  using shop = workshop();
  const first = shop.open();
  await first.inbox.offer([event('1'), event('2', '!s'), event('3')]);
  await first.inbox.offer([event('3'), event('4')]);
  assert.equal(first.counters.get('matrix/inbox/kept'), 4);
  // As a kill would leave it: nothing is closed in good order.
  first.book[Symbol.dispose]();
  const second = shop.open();
  assert.equal(second.inbox.size, 4);
  assert.deepEqual((await workOff(second.inbox)).sort(), ['$1', '$2', '$3', '$4']);
  second.book[Symbol.dispose]();
  const third = shop.open();
  assert.equal(third.inbox.size, 0);
  third.book[Symbol.dispose]();
});

test('what is taken at once is never written, and a repeat of it is nothing', async () => {
  using shop = workshop();
  const { inbox, book, counters } = shop.open();
  const taken: string[] = [];
  const stop = new AbortController();
  const done = inbox.run(async ({ id }) => void taken.push(id), stop.signal);
  await inbox.offer([event('1'), event('2')]);
  await inbox.offer([event('2'), event('3')]);
  assert.deepEqual(taken, ['$1', '$2', '$3']);
  assert.equal(counters.get('matrix/inbox/kept'), 0);
  stop.abort();
  await done;
  book[Symbol.dispose]();
});

test('what is read back goes before what came since, page after page, and keeps its order', async () => {
  using shop = workshop();
  const { inbox, book } = shop.open();
  await inbox.offer([event('7')]);
  const pass = Symbol('pass');
  await inbox.insert('!r', [event('1'), event('2'), event('3')], pass);
  await inbox.offer([event('8'), event('6')]);
  await inbox.insert('!r', [event('4'), event('5'), event('6'), event('7')], pass);
  assert.deepEqual(await workOff(inbox), ['$1', '$2', '$3', '$4', '$5', '$6', '$7', '$8']);
  book[Symbol.dispose]();
});

test('a store that cannot take an event now is asked again, and what cannot be taken ever holds nothing up', async () => {
  using shop = workshop();
  const { inbox, book, counters } = shop.open();
  const taken: string[] = [];
  let failures = 1;
  const stop = new AbortController();
  const done = inbox.run(async ({ id }) => {
    if (id === '$poison') {
      throw new GatewayError('internal', 'a bug');
    }
    if (id === '$1' && failures-- > 0) {
      throw new GatewayError('store/full', 'full', { retryable: true });
    }
    taken.push(id);
  }, stop.signal);
  await inbox.offer([event('poison'), event('1'), event('2')]);
  assert.equal(counters.get('matrix/inbox/kept'), 2);
  while (inbox.size > 0) {
    await systemClock.sleep(5);
  }
  assert.deepEqual(taken, ['$1', '$2']);
  assert.deepEqual(book.events(), []);
  stop.abort();
  await done;
  book[Symbol.dispose]();
});

test('a full inbox takes nothing more, so that the homeserver keeps it', async () => {
  using shop = workshop();
  const { inbox, book } = shop.open();
  const many = Array.from({ length: matrixLimits.inboxEvents }, (_, index) => event(`${index}`));
  await inbox.offer(many);
  await assert.rejects(inbox.offer([event('more')]), error => isGatewayError(error, 'store/full'));
  book[Symbol.dispose]();
});

test('a broken book is put aside and not thrown away', () => {
  using shop = workshop();
  writeFileSync(
    shop.file,
    'this is no database at all, and never was one, whatever its name says'.repeat(20),
  );
  const { book } = shop.open();
  book.set('a', 'b');
  assert.equal(book.get('a'), 'b');
  book[Symbol.dispose]();
  assert.ok(readdirSync(shop.dir).some(name => name.startsWith('matrix.db.damaged-')));
});

test('what waits is acknowledged once it is synced, also where it is offered again before that', async () => {
  using shop = workshop();
  const book = openBook(shop.file, parts);
  let fails = true;
  const synced = () =>
    fails
      ? Promise.reject(new GatewayError('store/unavailable', 'no disk', { retryable: true }))
      : book.synced();
  const inbox = createInbox({ ...parts, counters: new Counters(), book: { ...book, synced } });
  await assert.rejects(inbox.offer([event('1')]), { code: 'store/unavailable' });
  await assert.rejects(inbox.offer([event('1')]), { code: 'store/unavailable' });
  fails = false;
  await inbox.offer([event('1')]);
  assert.equal(book.events().length, 1);
  book[Symbol.dispose]();
});
