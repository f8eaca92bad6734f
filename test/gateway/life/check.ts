import assert from 'node:assert/strict';
import type { Message } from '../../../src/gateway/message.ts';
import type { DeliveryRow } from '../../../src/gateway/store/delivery-table.ts';
import type { FarSide } from './far-side.ts';
import type { Hub } from './hub.ts';
import { type HubName, hubNames, type World } from './world.ts';

/*
 * What must hold when a life is over and everybody was well for long enough: order, once, no echo, nothing lost,
 * every end told truly, and every far side knows the words that were meant last.
 */

type Row = DeliveryRow &
  Pick<Message, 'from' | 'to' | 'type' | 'text' | 'inReplyTo'> & { readonly said: number };

/** Why the outbox calls something back by itself, because another message says it all. */
const folded =
  /before it left$|which had not left yet$|takes back had not left yet$|there is nothing to send$|^its message has not arrived there: /;

export function check(world: World): void {
  for (const name of hubNames) {
    const hub = world.hubs[name];
    const rows = rowsOf(hub);
    for (const row of rows) {
      world.count(`ended ${row.state}`);
      checkEnd(world, hub, row);
    }
    for (const side of world.sides.values()) {
      checkOrder(world, hub, side, rows);
      checkOnce(world, hub, side);
      checkWords(world, side, rows);
    }
    checkInbox(world, hub, rows);
    checkSaid(world, hub, rows);
    checkList(world, hub, rows);
  }
  for (const [remoteId, { hub, id }] of world.spoken) {
    if (id !== undefined) {
      // What a blocked address says is taken and dropped.
      const known = world.hubs[hub].process?.store.read.knownAs(remoteId.split(' ')[0] ?? '', remoteId);
      assert.ok(known === undefined || known.message === id, `${remoteId} has another id`);
    }
  }
}

function rowsOf({ disk }: Hub): readonly Row[] {
  const rows = disk.database
    .prepare(
      `SELECT d.*, m.id AS message, m.seq AS said, m.body FROM deliveries d JOIN messages m ON m.seq = d.message ORDER BY d.seq`,
    )
    .all() as unknown as (Row & { readonly body: string })[];
  return rows.map(({ body, ...row }) => {
    const { from, to, type, text, inReplyTo } = JSON.parse(body) as Message;
    return { ...row, from, to, type, text, ...(inReplyTo && { inReplyTo }) };
  });
}

function checkEnd(world: World, hub: Hub, row: Row): void {
  const what = `${hub.name}: ${world.short(row.id)}, ${JSON.stringify(row.text)} to ${world.short(row.recipient)}, is ${row.state} (${row.reason})`;
  assert.notEqual(row.recipient, row.from === row.to ? '' : row.from, `${what}: who said it`);
  if (row.bridge === 'app') {
    return;
  }
  assert.equal(row.underway, 0, `${what} and under way`);
  const side = world.sides.get(row.recipient);
  const known = world.known(row.id);
  const hasHeard = side?.heard.some(({ delivery }) => delivery === row.id) === true;
  switch (row.state) {
    case 'delivered':
    case 'read':
      assert.ok(hasHeard, `${what} and was never heard`);
      return;
    case 'sent':
      assert.ok(known.left > 0, `${what} and never left`);
      return;
    case 'failed':
      assert.match(row.code ?? '', /^(bridge\/rejected|internal)$/, what);
      assert.ok(known.attempts > 0, `${what} and was never tried`);
      return;
    case 'expired':
      // A clock that was set back makes what was over look early.
      assert.ok(
        world.jumps > 0 || row.expires_at <= (hub.process?.clock.now() ?? 0),
        `${what} before its time`,
      );
      return;
    case 'ambiguous':
      assert.equal(row.bridge, 'sms', what);
      return;
    case 'cancelled':
      assert.ok(
        folded.test(row.reason ?? '') ||
          world.calledBack.has(row.id) ||
          world.calledBack.has(row.message) ||
          world.societies[hub.name as HubName].mayCallBack(row.to, row.recipient),
        `${what}, which nobody wanted`,
      );
      return;
    default:
      assert.fail(`${what}: nobody works at it`);
  }
}

/** What was accepted first for an address is heard first, but for what somebody had sent again later. */
function checkOrder(world: World, hub: Hub, side: FarSide, rows: readonly Row[]): void {
  const seqs = new Map(rows.map(row => [row.id, row.seq]));
  const first = new Map<string, number>();
  for (const [at, { delivery, hub: from }] of side.heard.entries()) {
    if (from === hub.name) {
      first.getOrInsert(delivery, at);
    }
  }
  let newest = -1;
  let newestId = '';
  for (const id of first.keys()) {
    const seq = seqs.get(id);
    assert.ok(seq !== undefined, `${side.address} heard ${id}, which is not kept`);
    if (world.known(id).asked > 0) {
      continue;
    }
    // Where several may be under way, one that is lost is overtaken by those behind it.
    if (seq < newest && (world.options.window === 1 || !side.canTell || world.known(id).left < 2)) {
      assert.fail(
        `${hub.name}: ${world.short(side.address)} heard ${world.short(id)} after ${world.short(newestId)}, which was accepted later`,
      );
    }
    if (seq > newest) {
      newest = seq;
      newestId = id;
    }
  }
}

function checkOnce(world: World, hub: Hub, side: FarSide): void {
  const times = new Map<string, number>();
  for (const { delivery, hub: from } of side.heard) {
    if (from === hub.name) {
      times.set(delivery, (times.get(delivery) ?? 0) + 1);
    }
  }
  for (const [id, count] of times) {
    const most = 1 + world.known(id).asked;
    assert.ok(
      count <= most,
      `${hub.name}: ${world.short(side.address)} heard ${world.short(id)} ${count} times`,
    );
  }
}

/** Everybody shows the words that were meant last, but where somebody called some back, or they ended in vain. */
function checkWords(world: World, side: FarSide, rows: readonly Row[]): void {
  const mine = rows.filter(({ recipient }) => recipient === side.address);
  for (const row of mine) {
    if (row.type !== 'chat.message') {
      continue;
    }
    const group = [row, ...mine.filter(one => one.inReplyTo === row.message && one.from === row.from)];
    const isWhole = group.every(
      ({ state, reason, id }) =>
        world.known(id).asked === 0 &&
        (state === 'delivered' || state === 'read' || (state === 'cancelled' && folded.test(reason ?? ''))),
    );
    const changes = rows.filter(one => one.inReplyTo === row.message && one.type !== 'chat.message');
    const told = new Set(group.map(({ message }) => message));
    const first = group.findIndex(({ type }) => type === 'chat.redaction');
    // What is edited after it was taken back means nothing in particular.
    const isOdd = first >= 0 && group.slice(first).some(({ type }) => type === 'chat.edit');
    // Where several may be under way, a change that is lost is overtaken by the next one.
    const isMixed = world.options.window > 1 && group.some(({ id }) => world.known(id).left > 1);
    if (
      isOdd ||
      isMixed ||
      !isWhole ||
      changes.some(({ message }) => !told.has(message)) ||
      schemeIsHub(world, side)
    ) {
      continue;
    }
    const last = group.toSorted((a, b) => a.seq - b.seq).at(-1) ?? row;
    const words = last.type === 'chat.redaction' ? undefined : last.text;
    assert.equal(
      side.shown.get(row.message),
      words,
      `${world.short(side.address)} does not show what ${JSON.stringify(row.text)} means`,
    );
  }
}

function schemeIsHub(world: World, side: FarSide): boolean {
  return hubNames.some(name => side.address === `lxmf:${world.hubs[name].options.lxmf}`);
}

/** An app that goes on where it was has read everything once and in order, but what ran out of time. */
function checkInbox(world: World, hub: Hub, rows: readonly Row[]): void {
  const { got } = world.readers[hub.name as 'near' | 'far'];
  const mine = rows.filter(({ recipient }) => recipient === 'app:app');
  const places = got.map(id => mine.findIndex(({ message }) => message === id));
  for (const [at, place] of places.entries()) {
    assert.ok(place > (places[at - 1] ?? -1), `${hub.name}: the app read ${got[at]} twice, or out of order`);
  }
  const read = new Set(got);
  // A clock that was set back makes what was over look as if it was not.
  const now = (hub.process?.clock.now() ?? 0) + (world.jumps > 0 ? 86_400_000 : 0);
  const missed = mine.filter(
    row => !read.has(row.message) && row.expires_at > now && !/^(?:cancelled|expired)$/.test(row.state),
  );
  assert.deepEqual(
    missed.map(({ text, state }) => `${text} ${state}`),
    [],
    `${hub.name}: the app was not given everything`,
  );
}

/** What was acknowledged is kept, once, and what was not is not there twice either. */
function checkSaid(world: World, hub: Hub, rows: readonly Row[]): void {
  const bodies = hub.disk.database.prepare('SELECT id, body FROM messages').all() as {
    id: string;
    body: string;
  }[];
  const messages = bodies.map(({ body }) => JSON.parse(body) as Message);
  const there = new Set(messages.map(({ id }) => id));
  for (const said of world.said) {
    if (said.hub === hub.name) {
      assert.ok(said.id !== undefined || said.refused !== undefined, `${said.key} has no answer`);
      assert.ok(said.id === undefined || there.has(said.id), `${said.key} was accepted and is gone`);
      assert.ok(
        said.id === undefined ||
          !world.sides.has(said.draft.to) ||
          rows.some(({ message, recipient }) => message === said.id && recipient === said.draft.to),
        `${said.key} was accepted and goes nowhere`,
      );
    }
  }
  const words = messages.filter(({ type }) => type === 'chat.message').map(({ text }) => text);
  // What ended in vain at the other hub may have come in after all before somebody had it sent again.
  const { heard = [] } = world.sides.get(`lxmf:${hub.options.lxmf}`) ?? {};
  const again = new Set(
    heard.flatMap(({ delivery, text }) => (world.known(delivery).asked > 0 ? [text] : [])),
  );
  const twice = words.filter((text, at) => words.indexOf(text) !== at && !again.has(text));
  assert.deepEqual(twice, [], `${hub.name} has something twice`);
}

/** What a person is shown of what came to nothing is what there is. */
function checkList({ counts }: World, { process, name }: Hub, rows: readonly Row[]): void {
  assert.ok(process);
  for (const state of ['ambiguous', 'failed', 'expired'] as const) {
    const { items } = process.desk.deliveries.list(process.owner, { state, limit: 200 });
    const shown: readonly string[] = items.map(({ id }) => id);
    const meant = rows.filter(row => row.state === state && row.bridge !== 'app').map(({ id }) => id);
    assert.deepEqual(shown, meant.toReversed(), `${name}: what is ${state} is not what is shown as that`);
  }
  counts.messages = (counts.messages ?? 0) + rows.length;
}
