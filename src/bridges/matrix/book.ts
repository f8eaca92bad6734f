import type { SQLInputValue } from 'node:sqlite';
import type { Address } from '../../gateway/message.ts';
import { openSideDatabase } from '../../gateway/store/side-database.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { matrixLimits } from './config.ts';

/** A user of ours on the homeserver, and whom it stands for. */
export interface GhostRow {
  readonly localpart: string;
  readonly address: Address;
  /** Its display name as the homeserver has it. */
  readonly name: string;
}

/**
 * What a room is to the bridge: the portal of a room of the configuration (`peer` is that room's name), a direct chat of a
 * person with a ghost (`peer` is the ghost's localpart), or of a person with the bot.
 */
export interface RoomRow {
  readonly id: string;
  readonly kind: 'portal' | 'direct' | 'bot';
  readonly peer: string;
  /** The person of a direct chat, or empty. */
  readonly person: string;
  /** That person's membership as last heard: `join`, `invite`, `leave`. */
  readonly membership: string;
  readonly encrypted: boolean;
  /** Up to here the room was read back; empty before the first time. */
  readonly token: string;
}

export interface InboxRow {
  readonly seq: number;
  readonly room: string;
  /** JSON of the event. */
  readonly body: string;
}

/** A message event that we sent, whose read receipt is waited for. */
export interface SentRow {
  readonly event: string;
  readonly room: string;
  readonly delivery: string;
}

/** What the bridge must know again after the process was killed. */
export interface Book extends Disposable {
  ghost(localpart: string): GhostRow | undefined;
  ghosts(): number;
  /** The localparts of so many of them. */
  ghostNames(limit: number): readonly string[];
  keepGhost(ghost: GhostRow): void;
  forgetGhost(localpart: string): void;
  room(id: string): RoomRow | undefined;
  rooms(): readonly RoomRow[];
  roomOf(kind: RoomRow['kind'], peer: string, person?: string): RoomRow | undefined;
  keepRoom(room: RoomRow): void;
  forgetRoom(id: string): void;
  /** Moves what is known of a room to the one that takes its place. */
  moveRoom(id: string, to: string): void;
  get(key: string): string | undefined;
  set(key: string, value: string): void;
  /** Gives the rows; on disk, against power cuts too, once `synced` has resolved after it. */
  keepEvents(events: readonly { readonly room: string; readonly body: string }[]): readonly number[];
  synced(): Promise<void>;
  /** In the order they came. */
  events(): readonly InboxRow[];
  forgetEvent(seq: number): void;
  keepSent(sent: SentRow): void;
  /** Takes out what was sent to the room up to this event; nothing where the event is not known. */
  takeSentUpTo(room: string, event: string): readonly SentRow[];
}

const schema = `
  CREATE TABLE IF NOT EXISTS ghost (localpart TEXT PRIMARY KEY, address TEXT NOT NULL, name TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS room (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, peer TEXT NOT NULL, person TEXT NOT NULL,
    membership TEXT NOT NULL, encrypted INTEGER NOT NULL, token TEXT NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS room_peer ON room (kind, peer, person);
  CREATE TABLE IF NOT EXISTS fact (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS inbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, room TEXT NOT NULL, body TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS sent (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL UNIQUE, room TEXT NOT NULL, delivery TEXT NOT NULL
  );
`;

/**
 * The book in a SQLite file of its own. What was acknowledged to the homeserver and waits here is written with an
 * fsync; everything else without, because the homeserver knows it too. A broken file is put aside, never removed.
 */
export function openBook(file: string, parts: { readonly clock: Clock; readonly log: Log }): Book {
  const side = openSideDatabase({
    file,
    schema,
    name: 'the book of the Matrix bridge',
    now: parts.clock.now(),
    onAside: aside =>
      parts.log.error({ file: aside }, 'the book of the Matrix bridge is broken and was put aside'),
  });
  const { database, guarded } = side;
  const statement = (sql: string) => {
    const prepared = database.prepare(sql);
    return {
      run: (...values: SQLInputValue[]) => guarded(() => prepared.run(...values)),
      get: (...values: SQLInputValue[]) => guarded(() => prepared.get(...values)),
      all: (...values: SQLInputValue[]) => guarded(() => prepared.all(...values)),
    };
  };
  const ghost = statement('SELECT localpart, address, name FROM ghost WHERE localpart = ?');
  const ghostCount = statement('SELECT count(*) AS count FROM ghost');
  const ghostNames = statement('SELECT localpart FROM ghost LIMIT ?');
  const keepGhost = statement('INSERT OR REPLACE INTO ghost VALUES (?, ?, ?)');
  const dropGhost = statement('DELETE FROM ghost WHERE localpart = ?');
  const room = statement('SELECT * FROM room WHERE id = ?');
  const rooms = statement('SELECT * FROM room ORDER BY id');
  const roomOf = statement('SELECT * FROM room WHERE kind = ? AND peer = ? AND person = ? LIMIT 1');
  const keepRoom = statement('INSERT OR REPLACE INTO room VALUES (?, ?, ?, ?, ?, ?, ?)');
  const dropRoom = statement('DELETE FROM room WHERE id = ?');
  const moveRoom = statement("UPDATE OR REPLACE room SET id = ?2, token = '', encrypted = 0 WHERE id = ?1");
  const fact = statement('SELECT value FROM fact WHERE key = ?');
  const keepFact = statement('INSERT OR REPLACE INTO fact VALUES (?, ?)');
  const addEvent = database.prepare('INSERT INTO inbox (room, body) VALUES (?, ?)');
  const events = statement('SELECT seq, room, body FROM inbox ORDER BY seq');
  const dropEvent = statement('DELETE FROM inbox WHERE seq = ?');
  const addSent = statement('INSERT OR IGNORE INTO sent (event, room, delivery) VALUES (?, ?, ?)');
  const trimSent = statement('DELETE FROM sent WHERE seq <= (SELECT max(seq) FROM sent) - ?');
  const upTo = statement(
    `SELECT event, room, delivery FROM sent
     WHERE room = ?1 AND seq <= (SELECT seq FROM sent WHERE room = ?1 AND event = ?2) ORDER BY seq`,
  );
  const dropUpTo = statement(
    'DELETE FROM sent WHERE room = ?1 AND seq <= (SELECT seq FROM sent WHERE room = ?1 AND event = ?2)',
  );
  return {
    ghost: localpart => ghost.get(localpart) as GhostRow | undefined,
    ghosts: () => Number(ghostCount.get()?.count ?? 0),
    ghostNames: limit => ghostNames.all(limit).map(row => String(row.localpart)),
    keepGhost: row => void keepGhost.run(row.localpart, row.address, row.name),
    forgetGhost: localpart => void dropGhost.run(localpart),
    room: id => roomRow(room.get(id)),
    rooms: () => rooms.all().flatMap(row => roomRow(row) ?? []),
    roomOf: (kind, peer, person = '') => roomRow(roomOf.get(kind, peer, person)),
    keepRoom: row =>
      void keepRoom.run(row.id, row.kind, row.peer, row.person, row.membership, +row.encrypted, row.token),
    forgetRoom: id => void dropRoom.run(id),
    moveRoom: (id, to) => void moveRoom.run(id, to),
    get: key => fact.get(key)?.value as string | undefined,
    set: (key, value) => void keepFact.run(key, value),
    keepEvents: list =>
      guarded(() => {
        database.exec('BEGIN IMMEDIATE');
        try {
          const seqs = list.map(({ room: of, body }) => Number(addEvent.run(of, body).lastInsertRowid));
          database.exec('COMMIT');
          return seqs;
        } catch (error) {
          database.exec('ROLLBACK');
          throw error;
        }
      }),
    synced: side.synced,
    events: () => events.all() as unknown as readonly InboxRow[],
    forgetEvent: seq => void dropEvent.run(seq),
    keepSent(row) {
      addSent.run(row.event, row.room, row.delivery);
      trimSent.run(matrixLimits.receipts);
    },
    takeSentUpTo(of, event) {
      const taken = upTo.all(of, event) as unknown as readonly SentRow[];
      dropUpTo.run(of, event);
      return taken;
    },
    [Symbol.dispose]: () => side[Symbol.dispose](),
  };
}

function roomRow(row: Readonly<Record<string, unknown>> | undefined): RoomRow | undefined {
  return row === undefined ? undefined : ({ ...row, encrypted: row.encrypted === 1 } as unknown as RoomRow);
}
