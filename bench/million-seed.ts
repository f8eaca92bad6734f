/**
 * A data folder with a million messages, as a busy hub has it after some days: rooms, peers, apps with inboxes,
 * readings, and as many events as are kept. Made through the store's own verbs, in large transactions that are not
 * synced; once, under `.cache`. What has changed in the tables since is changed by the daemon that opens a copy of it.
 */
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { defaultLimits } from '../src/gateway/limits.ts';
import type { Message } from '../src/gateway/message.ts';
import { openWritable } from '../src/gateway/store/database.ts';
import { gatewayVerbs } from '../src/gateway/store/gateway-verbs.ts';
import type { PackedDelivery } from '../src/gateway/store/new-delivery.ts';
import { type AcceptArgs, packAccept } from '../src/gateway/store/packed-accept.ts';
import { gatewaySchema } from '../src/gateway/store/schema.ts';

/** What is in it, by names a bench asks for. */
export const million = {
  messages: 1_000_000,
  rooms: 20,
  peers: 1000,
  apps: 8,
  /** Types besides `chat.message` and `sensor.reading`: one in a thousand. */
  rareType: 'command.result',
  room: (n: number) => `plaza${n}`,
  app: (n: number) => `app${n}`,
  peer: (n: number) => `lxmf:${(n + 1).toString(16).padStart(32, 'a')}`,
} as const;

/** Of what lies in it. */
const version = 1;
const day = 24 * 60 * 60 * 1000;
/** Messages of one transaction. */
const batch = 20_000;
/** The part of each inbox that nobody has read yet. */
const unreadShare = 0.02;

/** The folder, and s it took to make where it was not there. */
export function seededMillion(cache: string): { readonly dir: string; readonly took: number | undefined } {
  const dir = join(cache, `million-${version}`);
  if (existsSync(dir)) {
    return { dir, took: undefined };
  }
  const began = performance.now();
  const half = `${dir}.${process.pid}`;
  mkdirSync(half, { recursive: true, mode: 0o700 });
  seed(join(half, 'gateway.db'));
  renameSync(half, dir);
  return { dir, took: (performance.now() - began) / 1000 };
}

function seed(path: string): void {
  const database = openWritable({ path, schema: gatewaySchema, limit: 8 * 1024 ** 3 });
  database.exec('PRAGMA synchronous = OFF');
  const verbs = gatewayVerbs(database);
  const now = Date.now();
  for (let first = 0; first < million.messages; first += batch) {
    database.exec('BEGIN IMMEDIATE');
    for (let n = first; n < first + batch; n++) {
      verbs.accept(packAccept(acceptOf(n, now)));
    }
    // As many as the sweep would leave.
    database.exec(
      `DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - ${defaultLimits.eventCount - 1000}`,
    );
    database.exec('COMMIT');
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  }
  database.exec(`
    INSERT OR REPLACE INTO meta (key, value)
      SELECT 'eventsForgotten', CAST(min(seq) - 1 AS TEXT) FROM events;
    INSERT INTO inbox_marks (recipient, acknowledged)
      SELECT recipient, max(seq) FROM deliveries WHERE bridge = 'app' AND state = 'delivered' GROUP BY recipient;
  `);
  database.close();
}

function acceptOf(n: number, now: number): AcceptArgs {
  const id = hash(n);
  const at = now - 6 * day + Math.floor((n * 6 * day) / million.messages) - 1000;
  const what = partsOf(n);
  const message: Message = {
    id,
    sentAt: at,
    acceptedAt: at,
    expiresAt: now + 20 * day,
    priority: 'normal',
    text: `message ${n} ${'of many words '.repeat(n % 9)}`,
    attachments: [],
    via: [],
    assurance: 'hub',
    ...what.message,
  };
  const unread = n > million.messages * (1 - unreadShare);
  const deliveries = what.to.map((recipient, place): PackedDelivery => {
    const bridge = recipient.slice(0, recipient.indexOf(':'));
    const state = bridge === 'app' && unread ? 'queued' : 'delivered';
    const steps = state === 'queued' ? ['queued'] : ['queued', 'sending', 'sent', 'delivered'];
    return [
      at.toString(16).padStart(12, '0') + hash(n * 4 + place).slice(0, 20),
      bridge,
      recipient,
      2,
      message.expiresAt,
      state,
      null,
      null,
      bridge === 'app' ? 0 : 1,
      JSON.stringify(steps.map(step => ({ state: step, at }))),
    ];
  });
  return {
    scheme: message.from.slice(0, message.from.indexOf(':')),
    remoteId: `${message.from}/${n}`,
    message,
    body: JSON.stringify(message),
    deliveries,
    audience: [message.from, ...what.to].filter(address => address.startsWith('app:')),
    blobs: [],
  };
}

function partsOf(n: number): { message: Pick<Message, 'type' | 'from' | 'to'>; to: string[] } {
  const app = `app:${million.app(n % million.apps)}`;
  // Few peers say much, many a little.
  const peer = million.peer(Math.floor(million.peers * ((n * 7919) % 1000) ** 2 * 1e-6));
  const type = n % 1000 === 7 ? million.rareType : 'chat.message';
  switch (n % 10) {
    case 0:
    case 1:
    case 2:
      return { message: { type, from: peer, to: `lxmf:${'f'.repeat(32)}` }, to: [app] };
    case 3:
    case 4: {
      const room = `room:${million.room(Math.floor(n / 10) % million.rooms)}`;
      return { message: { type, from: peer, to: room }, to: [app, million.peer(n % million.peers)] };
    }
    case 5:
    case 6:
    case 7:
      return { message: { type, from: app, to: peer }, to: [peer] };
    default:
      return {
        message: { type: 'sensor.reading', from: `mqtt:sensors/${n % 200}`, to: 'room:sensors' },
        to: [],
      };
  }
}

/** 32 hex digits that look like chance and are the same each time. */
function hash(n: number): string {
  let text = '';
  let state = (n + 1) >>> 0;
  for (let word = 0; word < 4; word++) {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9 + word) >>> 0;
    state = Math.imul(state ^ (state >>> 12), 0x297a2d39) >>> 0;
    text += ((state ^ (state >>> 15)) >>> 0).toString(16).padStart(8, '0');
  }
  return text;
}

if (import.meta.main) {
  console.log(seededMillion(join(import.meta.dirname, '../.cache/bench')));
}
